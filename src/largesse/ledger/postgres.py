"""
The engine for several processes and hosts: one PostgreSQL, group commit, one row that orders all.

Each process has one connection that posts, with one batch in flight. A batch is decided with
`rules.py` from what memory holds, and written on the condition that the row `head` is still the
batch before it. While nobody else writes, that is all there is to it, and the next batch is decided
while one is written. When somebody else did, the process takes the head's row first, learns from
the batches in between what it no longer knows, decides again, and writes.

So batches have one order, timestamps rise in the order of commits, and `changes()` has no holes.

An error that may pass (a lost connection, a restart, a deadlock) is met with a new connection. The
head's row, once taken, says what became of the batch in doubt: no transaction of ours can still be
on its way, for it would need that row in the state in which it was.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Self, TypeVar
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
import msgspec
import structlog

from largesse.clock import Clock
from largesse.errors import Rejected
from largesse.ledger import (
    PAGE_MAX,
    AccountFilter,
    LedgerUnavailable,
    Problem,
    QueryFilter,
    Total,
    batching,
    deciding,
    postgres_head,
    postgres_query,
    postgres_rows,
    rules,
    verify,
)
from largesse.ledger.batching import Request, RequestQueue
from largesse.ledger.deciding import Decision
from largesse.ledger.model import (
    Account,
    AccountOutcome,
    Chain,
    Change,
    Posted,
    Refused,
    Result,
)
from largesse.ledger.postgres_copy import refuse_unfinished
from largesse.ledger.postgres_head import Head
from largesse.ledger.postgres_reader import open_reader
from largesse.ledger.postgres_rows import Writing
from largesse.ledger.postgres_server import (
    CLOSE_SECONDS_MAX,
    FAILURES,
    Connection,
    check_migrated,
    connect,
    is_passing,
    let_go,
    migrate,
)
from largesse.ledger.recent import RecentChanges, RecentIds

__all__ = ["PostgresLedger", "migrate"]

T = TypeVar("T")
_log = structlog.get_logger()

ACCOUNTS_CACHED_MAX = 200_000
EXPIRIES_BATCH_MAX = 1_000
AHEAD_CHAINS_MIN = 128
"""While a batch is in flight the next is decided if so many chains wait; fewer wait and are more."""
ANSWERED_AT_ONCE_MAX = 64
"""More callers are told in several turns of the loop, or the next batch would stand still meanwhile."""
READERS_MAX = 4
"""Connections of one process that read, beside the one that posts."""
RETRY_SECONDS_MAX = 30
"""How long a request is tried again before its caller is told that nothing is known of it."""
RETRY_SECONDS_MAX_CLOSING = 5
EXPIRY_LOOK_SECONDS = 5
"""How often an idle process looks for pending transfers that others made and that run out."""
_NEVER = 2**63 - 1


class _Prepared(msgspec.Struct, frozen=True):
    """A decided batch. Without `writing` it only answers, if the head is still (sequence, hash)."""

    requests: list[Request]
    decision: Decision
    sequence: int
    hash: bytes
    writing: Writing | None


class PostgresLedger:
    """See `largesse.ledger.Ledger`. Made by `open`."""

    def __init__(self, url: str, clock: Clock, *, allow_unsafe: bool) -> None:
        self._url = url
        self._clock = clock
        self._allow_unsafe = allow_unsafe
        self._loop = asyncio.get_running_loop()
        self._writer = uuid4().bytes
        self._queue = RequestQueue(self._loop)
        self._connection: Connection | None = None
        self._readers: Any = None
        self._again: list[Request] = []
        self._in_doubt: _Prepared | None = None
        self._writing: asyncio.Task[None] | None = None
        self._unanswered: list[Request] = []
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._trouble_since: float | None = None
        self._pause = 0.0
        self._looked_at = self._loop.time()
        self._next_expiry = _NEVER
        self._forget()

    @classmethod
    async def open(cls, url: str, clock: Clock, *, allow_unsafe: bool = False) -> Self:
        """
        Connect to a ledger that `migrate` made.

        `allow_unsafe` accepts a server that may lose what it has acknowledged.

        Raises:
            Rejected: database_unreachable, database_password_wrong, database_missing,
                database_too_old, database_unsafe, database_not_allowed, ledger_not_migrated,
                ledger_not_ours, ledger_newer, ledger_copy_unfinished.
        """
        ledger = cls(url, clock, allow_unsafe=allow_unsafe)
        await ledger._connected()
        ledger._readers = await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=READERS_MAX,
            connect=ledger._connect_reader,
            reset=_leave_as_it_is,
        )
        ledger._task = asyncio.create_task(ledger._run(), name="ledger")
        return ledger

    async def _connect_reader(self, *_: object, **__: object) -> Connection:
        return await connect(self._url, allow_unsafe=self._allow_unsafe)

    # What is asked ---------------------------------------------------------------------------

    async def create_accounts(self, accounts: Sequence[Account]) -> list[AccountOutcome]:
        self._refuse_when_closing()
        return await self._queue.ask_accounts(accounts)

    async def create_transfers(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes] = ()
    ) -> list[Result]:
        rules.assert_askable(chains)
        self._refuse_when_closing()
        return await self._queue.ask_chains(chains, balances_of)

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise LedgerUnavailable("the ledger is closing")

    async def lookup_accounts(self, account_ids: Iterable[bytes]) -> list[Account | None]:
        wanted = list(account_ids)
        found = await self._read(lambda db: postgres_rows.accounts(db, wanted))
        return [found.get(id) for id in wanted]

    async def lookup_transfers(self, transfer_ids: Iterable[bytes]) -> list[Posted | None]:
        wanted = list(transfer_ids)
        found = await self._read(lambda db: postgres_rows.transfers(db, wanted))
        return [found.get(id) for id in wanted]

    async def lookup_refused(self, transfer_ids: Iterable[bytes]) -> list[Refused | None]:
        wanted = list(transfer_ids)
        found = await self._read(lambda db: postgres_rows.refused(db, wanted))
        return [found.get(id) for id in wanted]

    async def account_transfers(self, account_id: bytes, filter: AccountFilter) -> list[Posted]:
        return await self._read(
            lambda db: postgres_rows.account_transfers(db, account_id, filter),
        )

    async def changes(self, after: int, limit: int = PAGE_MAX) -> list[Change]:
        assert limit > 0
        # Others may have written since, so that nothing in memory does not mean that nothing is new.
        recent = None if self._closing else self._changes.after(after, limit)
        if recent:
            return recent
        return await self._read(lambda db: postgres_rows.changes(db, after, limit))

    async def query_transfers(self, filter: QueryFilter) -> list[Posted]:
        return await self._search(postgres_query.transfers, filter)

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        return await self._search(postgres_query.accounts, filter)

    async def _search(
        self, function: Callable[[Connection, QueryFilter], Awaitable[T]], filter: QueryFilter
    ) -> T:
        """On a connection of its own: it may take long, and nobody's look-up waits for that."""
        if self._closing:
            raise LedgerUnavailable("the ledger is closing")
        try:
            connection = await connect(self._url, allow_unsafe=self._allow_unsafe)
            try:
                return await function(connection, filter)
            finally:
                await let_go(connection)
        except FAILURES as problem:
            raise LedgerUnavailable(_name(problem)) from problem

    def verify(self) -> AsyncIterator[Problem | Total | int]:
        return verify.verify(open_reader(self._url), "the ledger")

    async def _read(self, function: Callable[[Connection], Awaitable[T]]) -> T:
        """Ask on a connection beside the one that posts; again, where the error may pass."""
        deadline = self._loop.time() + RETRY_SECONDS_MAX
        pause = 0.0
        while True:
            if self._closing:
                raise LedgerUnavailable("the ledger is closing")
            try:
                async with self._readers.acquire() as connection:
                    return await function(connection)
            except FAILURES as problem:
                if not is_passing(problem) or self._loop.time() > deadline:
                    raise LedgerUnavailable(_name(problem)) from problem
            await asyncio.sleep(pause)
            pause = _longer(pause)

    async def close(self) -> None:
        """Answer what waits, then let go of the connections."""
        if self._closing:
            return
        self._closing = True
        self._queue.wake_up()
        assert self._task is not None
        await self._task
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await self._readers.close()
        except FAILURES:
            self._readers.terminate()
        if self._connection is not None:
            await let_go(self._connection)

    # The one loop that decides ---------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._tell()
            if self._writing is not None and self._writing.done():
                await self._written()
            elif self._writing is not None and self._queue.chains_waiting < AHEAD_CHAINS_MIN:
                # The end of the batch in flight wakes us too.
                await self._queue.wait(None, AHEAD_CHAINS_MIN)
            elif not self._has_work():
                if self._closing:
                    break
                await self._idle()
            elif self._alone and not (self._again or self._expiry_is_due()):
                await self._turn()
            else:
                await self._turn_under_lock()

    def _has_work(self) -> bool:
        has_requests = bool(self._queue or self._again)
        return has_requests or self._in_doubt is not None or self._expiry_is_due()

    def _expiry_is_due(self) -> bool:
        return self._next_expiry <= self._now() and not self._closing

    def _now(self) -> int:
        """The next timestamp, later than any before it whatever the clock says."""
        return max(self._last + 1, self._clock.now())

    async def _idle(self) -> None:
        """Until somebody asks, or something runs out; now and then a look at what others made."""
        seconds: float = EXPIRY_LOOK_SECONDS
        if self._next_expiry != _NEVER:
            # Never a busy loop, also when this clock stands still.
            due = (self._next_expiry - self._now()) / rules.SECOND
            seconds = min(seconds, max(due, 0.05))
        await self._queue.wait(seconds)
        if self._queue or self._loop.time() - self._looked_at < EXPIRY_LOOK_SECONDS:
            return
        self._looked_at = self._loop.time()
        try:
            connection = await self._connected()
            self._next_expiry = await postgres_head.next_expiry(connection) or _NEVER
            # What was away is back: whoever asks from here on has all his time.
            self._trouble_since, self._pause = None, 0.0
        except Exception as problem:
            await self._trouble(problem)

    async def _turn(self) -> None:
        """
        While nobody else writes: decide what waits from memory, and write it behind the last batch.
        """
        requests = self._queue.take()
        try:
            prepared = await self._prepare(requests)
        except Exception as problem:
            self._put_back(requests)
            await self._trouble(problem)
            return
        await self._written()
        if prepared is None or not self._alone:
            self._undo(prepared)
            self._put_back(requests)
            return
        self._writing = asyncio.create_task(self._write(prepared))
        self._writing.add_done_callback(lambda _: self._queue.wake_up())
        # It is on its way before the last batch is answered and the next one decided.
        await asyncio.sleep(0)

    async def _prepare(self, requests: list[Request]) -> _Prepared | None:
        """The batch as memory decides it; None where the batch before it was not written."""
        wanted, wanted_accounts = self._recent.missing(requests, self._accounts)
        if wanted or wanted_accounts:
            await self._written()
            await self._tell()
            if not self._alone:
                return None
            wanted, wanted_accounts = self._missing(requests)
        state = await self._load(wanted, wanted_accounts)
        return self._decide(state, requests, [], self._now())

    async def _write(self, prepared: _Prepared) -> None:
        """Write a batch that was decided from memory, and answer it, if memory was right."""
        connection = self._connection
        try:
            if prepared.writing is not None:
                is_right = await postgres_rows.write_alone(
                    connection, prepared.writing, self._writer
                )
            else:
                head = await postgres_head.read(connection)
                is_right = (head.sequence, head.hash) == (prepared.sequence, prepared.hash)
        except Exception as problem:
            self._in_doubt = prepared
            await self._trouble(problem)
            return
        if is_right:
            self._answer(prepared)
            return
        self._alone = False
        self._undo(prepared)
        self._put_back(prepared.requests)

    async def _written(self) -> None:
        """Wait for the batch in flight."""
        if self._writing is not None:
            await self._writing
            self._writing = None

    def _answer(self, prepared: _Prepared) -> None:
        """The batch is there: a few are told so at once, many by the loop, behind the next batch."""
        self._trouble_since, self._pause = None, 0.0
        self._changes.keep(prepared.decision.changes)
        if len(prepared.requests) > ANSWERED_AT_ONCE_MAX:
            self._unanswered += prepared.requests
        else:
            batching.answer(prepared.requests)

    async def _tell(self) -> None:
        """Answer those whose batch is there, while the next one is on its way."""
        while self._unanswered:
            first = self._unanswered[:ANSWERED_AT_ONCE_MAX]
            del self._unanswered[:ANSWERED_AT_ONCE_MAX]
            batching.answer(first)
            await asyncio.sleep(0)

    async def _turn_under_lock(self) -> None:
        """Take the head's row, learn what others wrote, then decide and write what waits."""
        await self._written()
        await self._tell()
        prepared: _Prepared | None = None
        requests: list[Request] = []
        try:
            connection = await self._connected()
            await connection.execute(postgres_rows.BEGIN)
            head = await postgres_head.lock(connection)
            await self._resolve_doubt(connection)
            await self._catch_up(connection, head)
            now = self._now()
            is_due = self._expiry_is_due()
            due = await postgres_head.due(connection, now, EXPIRIES_BATCH_MAX) if is_due else []
            # All that has run out is given back before anybody is decided, in batches of its own
            # where it is much.
            if len(due) < EXPIRIES_BATCH_MAX:
                requests, self._again = self._again or self._queue.take(), []
            wanted, wanted_accounts = self._missing(requests)
            state = await self._load(wanted.union(due), wanted_accounts)
            prepared = self._decide(state, requests, due, now)
            if prepared.writing is not None:
                is_right = await postgres_rows.write(connection, prepared.writing, self._writer)
                assert is_right
            if is_due:
                self._next_expiry = await postgres_head.next_expiry(connection) or _NEVER
            await connection.execute("COMMIT")
        except Exception as problem:
            if prepared is not None:
                self._in_doubt = prepared
            else:
                self._put_back(requests)
            await self._trouble(problem)
            return
        self._answer(prepared)

    def _put_back(self, requests: list[Request]) -> None:
        """To be decided again, before everything that was asked later."""
        for request in requests:
            request.results = []
        self._again += requests

    # Trouble ---------------------------------------------------------------------------------

    async def _trouble(self, problem: Exception) -> None:
        """
        Something did not work, and memory may be wrong: begin again on a new connection.

        Whoever waits is told so where the problem will not pass by itself, or did not in time.
        """
        self._disconnect()
        self._forget()
        now = self._loop.time()
        if self._trouble_since is None:
            self._trouble_since = now
        limit = RETRY_SECONDS_MAX_CLOSING if self._closing else RETRY_SECONDS_MAX
        passes = is_passing(problem)
        _log.warning("ledger_trouble", problem=_name(problem), passes=passes)
        if not passes or now - self._trouble_since > limit:
            waiting, self._again = self._again, []
            if self._in_doubt is not None:
                waiting, self._in_doubt = self._in_doubt.requests + waiting, None
            if passes:
                while self._queue:
                    waiting += self._queue.take()
            batching.fail(waiting, LedgerUnavailable(_name(problem)))
        await asyncio.sleep(self._pause)
        self._pause = _longer(self._pause)

    async def _resolve_doubt(self, connection: Connection) -> None:
        """
        Under the lock: was the batch committed whose answer did not come?

        Where it was, its callers get the answer that they would have had; otherwise they are
        decided again, and no attempt of the first try can still come in between.
        """
        prepared, self._in_doubt = self._in_doubt, None
        if prepared is None:
            return
        writing = prepared.writing
        try:
            is_there = writing is not None and await postgres_head.has(
                connection, writing.batch.sequence, writing.batch.hash, self._writer
            )
        except BaseException:
            self._in_doubt = prepared
            raise
        if is_there:
            batching.answer(prepared.requests)
            return
        later, self._again = self._again, []
        self._put_back(prepared.requests)
        self._again += later

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._forget()
            connection = await connect(self._url, allow_unsafe=self._allow_unsafe)
            try:
                await check_migrated(connection, self._url)
                await refuse_unfinished(connection, self._url)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    # Memory ----------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Nothing is known; the next turn takes the head's row and begins from there."""
        self._alone = False
        self._sequence, self._hash, self._last = -1, b"", 0
        self._accounts: dict[bytes, Account] = {}
        self._recent = RecentIds()
        self._changes = RecentChanges(_NEVER)
        self._next_expiry = _NEVER

    async def _catch_up(self, connection: Connection, head: Head) -> None:
        """Make memory that of the head: nothing to do where nobody else wrote."""
        self._alone = (self._sequence, self._hash) == (head.sequence, head.hash)
        if self._alone:
            return
        since = await postgres_head.since(connection, self._sequence, self._hash)
        if since is None:
            self._accounts.clear()
            floor, ahead = await postgres_head.known_ids(connection, self._clock.now())
            self._recent = RecentIds(floor, ahead)
            next_expiry = await postgres_head.next_expiry(connection)
        else:
            self._recent.keep(since.known, self._clock.now())
            next_expiry = since.next_expiry
            if since.touched is None:
                self._accounts.clear()
            else:
                for account_id in since.touched:
                    self._accounts.pop(account_id, None)
        self._next_expiry = next_expiry or _NEVER
        self._changes = RecentChanges(head.last_timestamp)
        self._sequence, self._hash, self._last = head.sequence, head.hash, head.last_timestamp

    def _missing(self, requests: list[Request]) -> tuple[set[bytes], set[bytes]]:
        """What must be loaded for these requests, while no batch is in flight."""
        if len(self._accounts) > ACCOUNTS_CACHED_MAX:
            self._accounts.clear()
        return self._recent.missing(requests, self._accounts)

    async def _load(self, wanted: set[bytes], wanted_accounts: set[bytes]) -> rules.State:
        """What the rules need of the database, beside what memory holds."""
        loaded = await postgres_head.load(self._connection, wanted, wanted_accounts)
        for account_id, account in loaded.accounts.items():
            self._accounts.setdefault(account_id, account)
        return rules.State(
            accounts=self._accounts,
            transfers=loaded.transfers,
            refused=loaded.refused,
            pendings=loaded.pendings,
        )

    def _decide(
        self, state: rules.State, requests: list[Request], due: list[bytes], now: int
    ) -> _Prepared:
        """Decide the requests as the next batch; memory is then what it will be after it."""
        decision = deciding.decide(state, requests, due, now)
        if not decision.events:
            return _Prepared(requests, decision, self._sequence, self._hash, None)
        batch = deciding.close_batch(state, decision, self._sequence + 1, self._hash)
        writing = postgres_rows.prepare(batch, self._hash, decision, self._accounts)
        known = [posted.transfer.id for posted in decision.created]
        known += [refusal.transfer_id for refusal in decision.refused]
        self._recent.keep(known, decision.first_timestamp)
        if state.expiries:
            self._next_expiry = min(self._next_expiry, state.expiries[0][0])
        self._sequence, self._hash = batch.sequence, batch.hash
        self._last = decision.last_timestamp
        return _Prepared(requests, decision, self._sequence, self._hash, writing)

    def _undo(self, prepared: _Prepared | None) -> None:
        """Forget what memory holds of a batch that was not written, behind the last one that was."""
        if prepared is None or prepared.writing is None:
            return
        for account_id in prepared.writing.batch.touched:
            self._accounts.pop(account_id, None)
        if prepared.sequence <= self._sequence:
            self._sequence = prepared.sequence - 1
            self._hash = prepared.writing.previous_hash


async def _leave_as_it_is(connection: Connection) -> None:
    """A reader's settings stay when it goes back to the others."""


def _longer(pause: float) -> float:
    return min(1.0, pause * 2 or 0.05)


def _name(problem: BaseException) -> str:
    """What a problem is called where a person reads it: never with an address or a password."""
    return problem.code if isinstance(problem, Rejected) else type(problem).__name__
