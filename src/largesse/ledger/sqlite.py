"""
The embedded engine: one file, one process, one writer thread, group commit.

Three steps, as in TigerBeetle: *load* what the waiting chains name and memory does not hold,
*decide* them all with `rules.py` on the event loop, *write* the whole batch with one statement in
the writer thread. While one batch is written the next is decided. Nobody is answered before the
disk has said yes (WAL, `synchronous=FULL`). No waiting to fill a batch: it takes what is there.

Memory holds the accounts in use, the ids of recent transfers and the newest changes, for those who
follow them; nothing else. Every id above
`_floor` that the file knows is among the recent ones, so a new time-ordered id needs no look-up.
Ids that are recent, or not above the floor, are looked up in the file first; that look-up runs in
the writer's thread, behind every batch decided before, so it sees them all.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from largesse import ids
from largesse.clock import Clock
from largesse.errors import Rejected
from largesse.ledger import (
    CHAINS_WAITING_MAX,
    PAGE_MAX,
    AccountFilter,
    LedgerUnavailable,
    Problem,
    encoding,
    rules,
    sqlite_file,
)
from largesse.ledger.history import balance_of, walk
from largesse.ledger.model import (
    Account,
    AccountFlags,
    AccountOutcome,
    Chain,
    Change,
    ChangeKind,
    Outcome,
    Posted,
    Refused,
    Result,
    TransferFlags,
)
from largesse.ledger.sqlite_file import Batch, Loaded, Start
from largesse.ledger.sqlite_verify import verify
from largesse.ledger.threads import FileThread

T = TypeVar("T")

BATCH_CHAINS_MAX = 512
BATCH_TRANSFERS_MAX = 4_096
"""
A batch takes no further request when it holds so many chains or transfers. Not more, so that a
thousand callers make two batches: one is decided while the other is written (decision 0004).
"""
REQUEST_TRANSFERS_MAX = 2_048
"""A larger call is cut into requests of about this size, so a batch stays below the row numbers."""
BATCHES_IN_FLIGHT_MAX = 2
"""One being written, one decided and next in line."""
RECENT_IDS_MAX = 65_536
"""Ids in the younger of the two generations that memory holds, about 6 MiB."""
ACCOUNTS_CACHED_MAX = 200_000
EXPIRIES_BATCH_MAX = 1_000
CHANGES_KEPT_MAX = 16_384
"""The newest changes, kept for those who follow them; of gifts about 20 MiB, and a second's worth."""

_CLOSED = int(AccountFlags.CLOSED)
_TWO_PHASE = int(
    TransferFlags.PENDING
    | TransferFlags.POST_PENDING_TRANSFER
    | TransferFlags.VOID_PENDING_TRANSFER
)
_CREATED = Outcome.CREATED


class _Request:
    """One call that waits for its answer."""

    __slots__ = ("accounts", "balances_of", "chains", "future", "results")

    def __init__(
        self,
        chains: Sequence[Chain],
        balances_of: Sequence[bytes],
        accounts: Sequence[Account],
        future: "asyncio.Future[Any]",
    ) -> None:
        self.chains = chains
        self.balances_of = balances_of
        self.accounts = accounts
        self.future = future
        self.results: list[Any] = []


class SqliteLedger:
    """See `largesse.ledger.Ledger`. Made by `open`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._writer = FileThread("ledger-writer", self._loop)
        self._reader = FileThread("ledger-reader", self._loop)
        self._waiting: deque[_Request] = deque()
        self._chains_waiting = 0
        self._in_flight = 0
        self._stale = False
        self._write_failed = False
        self._closing = False
        self._wake: asyncio.Future[None] | None = None
        self._answered: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._adopt(Start())

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> Self:
        """
        Open the file, or make it where there is none.

        Raises:
            Rejected: ledger_not_ours, ledger_newer.
            LedgerUnavailable: the file cannot be opened or written.
        """
        ledger = cls(path, clock)
        try:
            await ledger._writer.open(lambda: sqlite_file.connect_writer(path))
            await ledger._reader.open(lambda: sqlite_file.connect_reader(path))
            await ledger._reload()
        except BaseException:
            await ledger._writer.close()
            await ledger._reader.close()
            raise
        ledger._task = asyncio.create_task(ledger._run(), name="ledger")
        return ledger

    # What is asked ---------------------------------------------------------------------------

    async def create_accounts(self, accounts: Sequence[Account]) -> list[AccountOutcome]:
        size = REQUEST_TRANSFERS_MAX
        slices = [accounts[n : n + size] for n in range(0, len(accounts), size)]
        self._admit(len(slices))
        requests = [self._ask((), (), each) for each in slices]
        return [outcome for request in requests for outcome in await request]

    async def create_transfers(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes] = ()
    ) -> list[Result]:
        rules.assert_askable(chains)
        self._admit(len(chains))
        if len(chains) == 1:
            results: list[Result] = await self._ask(chains, balances_of, ())
            return results
        requests = [self._ask(each, balances_of, ()) for each in _slices(chains)]
        return [result for request in requests for result in await request]

    def _admit(self, size: int) -> None:
        if self._closing:
            raise LedgerUnavailable("the ledger is closing")
        if self._chains_waiting and self._chains_waiting + size > CHAINS_WAITING_MAX:
            raise Rejected("ledger_busy", waiting=self._chains_waiting)

    def _ask(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes], accounts: Sequence[Account]
    ) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = self._loop.create_future()
        self._chains_waiting += len(chains) or 1
        self._waiting.append(_Request(chains, balances_of, accounts, future))
        if self._wake is not None:
            self._wake_up()
        return future

    async def lookup_accounts(self, account_ids: Iterable[bytes]) -> list[Account | None]:
        return await self._read(sqlite_file.find_accounts, list(account_ids))

    async def lookup_transfers(self, transfer_ids: Iterable[bytes]) -> list[Posted | None]:
        return await self._read(sqlite_file.find_transfers, list(transfer_ids))

    async def lookup_refused(self, transfer_ids: Iterable[bytes]) -> list[Refused | None]:
        return await self._read(sqlite_file.find_refused, list(transfer_ids))

    async def account_transfers(self, account_id: bytes, filter: AccountFilter) -> list[Posted]:
        def page(db: sqlite_file.Connection) -> list[Posted]:
            with sqlite_file.snapshot(db):
                [account] = sqlite_file.find_accounts(db, [account_id])
                if account is None:
                    return []
                return walk(lambda id: sqlite_file.find_transfers(db, [id])[0], account, filter)

        return await self._read(page)

    async def changes(self, after: int, limit: int = PAGE_MAX) -> list[Change]:
        assert limit > 0
        if self._closing or after < self._changes_begin:
            return await self._read(sqlite_file.changes, after, limit)
        newer: list[Change] = []
        for change in reversed(self._changes):
            if change.timestamp <= after:
                break
            newer.append(change)
        return newer[: -limit - 1 : -1]

    def verify(self) -> AsyncIterator[Problem | int]:
        return verify(self._path, self._loop)

    async def _read(self, function: Callable[..., T], *arguments: object) -> T:
        if self._closing:
            raise LedgerUnavailable("the ledger is closing")
        return await self._reader.call(lambda: function(self._reader.db, *arguments))

    async def close(self) -> None:
        """Answer what waits, then let go of the file."""
        if self._closing:
            return
        self._closing = True
        self._wake_up()
        assert self._task is not None
        await self._task
        await self._reader.close()
        await self._writer.close()

    # The one loop that decides ---------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                if self._closing:
                    break
                await self._wait_for_work()
            while self._in_flight >= BATCHES_IN_FLIGHT_MAX:
                await self._wait_for_answer()
            if self._waiting or self._expiry_is_due():
                await self._turn()
        while self._in_flight:
            await self._wait_for_answer()

    async def _wait_for_work(self) -> None:
        self._wake = self._loop.create_future()
        delay = self._next_expiry_seconds()
        handle = None if delay is None else self._loop.call_later(delay, self._wake_up)
        await self._wake
        if handle is not None:
            handle.cancel()

    async def _wait_for_answer(self) -> None:
        self._answered = self._loop.create_future()
        await self._answered

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None

    def _next_expiry_seconds(self) -> float | None:
        if not self._expiries:
            return None
        # Never a busy loop, also when this clock stands still.
        return max((self._expiries[0][0] - self._clock.now()) / rules.SECOND, 0.05)

    def _expiry_is_due(self) -> bool:
        return bool(self._expiries) and self._expiries[0][0] <= self._clock.now()

    async def _turn(self) -> None:
        """Take what waits, load what it needs, decide it, hand it to the writer."""
        requests: list[_Request] = []
        try:
            if self._stale:
                while self._in_flight:
                    await self._wait_for_answer()
                await self._reload()
            now = max(self._last + 1, self._clock.now())
            due = rules.take_due(self._expiries, now, EXPIRIES_BATCH_MAX)
            # All that has run out is given back before anybody is decided, in batches of its own
            # where it is much.
            if len(due) < EXPIRIES_BATCH_MAX:
                requests = self._take()
            state = await self._load(requests, due)
            batch, changes = self._decide(state, requests, due, now)
        except Exception as problem:
            # Memory may be half changed, by a lost disk or by a broken assertion of ours.
            self._stale = True
            _fail(requests or self._take(), problem)
            return
        self._in_flight += 1
        self._writer.submit(
            lambda: self._write(batch),
            lambda _, problem: self._answer(requests, changes, problem),
        )

    def _write(self, batch: Batch) -> None:
        """In the writer's thread. What follows a failed batch was decided on sand: it fails too."""
        if self._write_failed:
            raise LedgerUnavailable("an earlier batch could not be written")
        try:
            sqlite_file.write(self._writer.db, batch)
        except BaseException:
            self._write_failed = True
            raise

    def _take(self) -> list[_Request]:
        waiting = self._waiting
        requests: list[_Request] = []
        chains = transfers = 0
        while waiting and chains < BATCH_CHAINS_MAX and transfers < BATCH_TRANSFERS_MAX:
            request = waiting.popleft()
            requests.append(request)
            chains += len(request.chains) or 1
            transfers += sum(map(len, request.chains)) + len(request.accounts)
        self._chains_waiting -= chains
        return requests

    def _answer(
        self, requests: list[_Request], changes: list[Change], problem: BaseException | None
    ) -> None:
        self._in_flight -= 1
        if problem is not None:
            # What memory holds may now be ahead of the file.
            self._stale = True
            _fail(requests, problem)
        else:
            self._keep_changes(changes)
            for request in requests:
                if not request.future.done():
                    request.future.set_result(request.results)
        if self._answered is not None:
            self._answered.set_result(None)
            self._answered = None

    def _keep_changes(self, changes: list[Change]) -> None:
        """Keep what is on the disk now; whoever is further behind than that reads the file."""
        kept = self._changes
        kept.extend(changes)
        for _ in range(len(kept) - CHANGES_KEPT_MAX):
            self._changes_begin = kept.popleft().timestamp

    # Load ------------------------------------------------------------------------------------

    async def _reload(self) -> None:
        """Begin again from the file."""
        now = self._clock.now()
        self._adopt(await self._writer.call(lambda: sqlite_file.start(self._writer.db, now)))
        self._stale = self._write_failed = False

    def _adopt(self, start: Start) -> None:
        self._accounts: dict[bytes, Account] = {}
        self._recent: set[bytes] = set(start.ahead)
        self._less_recent: set[bytes] = set()
        self._floor = start.floor
        self._expiries = start.expiries
        self._sequence = start.sequence
        self._hash = start.hash
        self._last = start.last_timestamp
        # Committed changes later than `_changes_begin`, all of them.
        self._changes: deque[Change] = deque()
        self._changes_begin = start.last_timestamp

    async def _load(self, requests: list[_Request], due: list[bytes]) -> rules.State:
        """What the rules need to decide these requests."""
        if len(self._accounts) > ACCOUNTS_CACHED_MAX and not self._in_flight:
            self._accounts.clear()
        wanted, wanted_accounts = self._missing(requests)
        wanted.update(due)
        loaded = Loaded()
        if wanted or wanted_accounts:
            loaded = await self._writer.call(
                lambda: sqlite_file.load(self._writer.db, wanted, wanted_accounts)
            )
            for account_id, account in loaded.accounts.items():
                # Memory is newer than the file while a batch is on its way there.
                self._accounts.setdefault(account_id, account)
        return rules.State(
            accounts=self._accounts,
            transfers=loaded.transfers,
            refused=loaded.refused,
            pendings=loaded.pendings,
            expiries=self._expiries,
        )

    def _missing(self, requests: list[_Request]) -> tuple[set[bytes], set[bytes]]:
        recent, less_recent, floor = self._recent, self._less_recent, self._floor
        accounts = self._accounts
        wanted: set[bytes] = set()
        wanted_accounts: set[bytes] = set()
        for request in requests:
            for account in request.accounts:
                if account.id not in accounts:
                    wanted_accounts.add(account.id)
            for chain in request.chains:
                for t in chain:
                    id = t.id
                    if id <= floor or id in recent or id in less_recent:
                        wanted.add(id)
                    if t.pending_id != ids.ZERO:
                        wanted.add(t.pending_id)
                    if t.debit_account_id not in accounts:
                        wanted_accounts.add(t.debit_account_id)
                    if t.credit_account_id not in accounts:
                        wanted_accounts.add(t.credit_account_id)
            for account_id in request.balances_of:
                if account_id not in accounts:
                    wanted_accounts.add(account_id)
        wanted_accounts.discard(ids.ZERO)
        return wanted, wanted_accounts

    # Decide ----------------------------------------------------------------------------------

    def _decide(
        self, state: rules.State, requests: list[_Request], due: list[bytes], now: int
    ) -> tuple[Batch, list[Change]]:
        """The batch, and its changes for when it is on the disk."""
        events: list[bytes] = []
        changes: list[Change] = []
        created: list[Posted] = []
        new_accounts: list[Account] = []
        refused: list[Refused] = []
        timestamp = now
        for transfer_id in due:
            if rules.expire(state, transfer_id, timestamp):
                events += (encoding.EVENT_EXPIRED, transfer_id)
                ran_out = (state.transfers[transfer_id],)
                changes.append(Change(timestamp, ChangeKind.EXPIRED, ran_out))
                timestamp += 1
        expired = events[1::2]
        for request in requests:
            for account in request.accounts:
                outcome = rules.create_account(state, account, timestamp)
                request.results.append(outcome)
                if outcome is AccountOutcome.CREATED:
                    is_closed = account.flags & _CLOSED
                    kind = encoding.EVENT_CLOSED_ACCOUNT if is_closed else encoding.EVENT_ACCOUNT
                    events += (kind, account.id)
                    new = state.accounts[account.id]
                    new_accounts.append(new)
                    as_created = sqlite_file.as_created(new, kind)
                    changes.append(Change(timestamp, ChangeKind.ACCOUNT, account=as_created))
                    timestamp += 1
            for chain in request.chains:
                timestamp = _decide_chain(
                    state, request, chain, timestamp, created, changes, events, refused
                )
        self._last = max(self._last, timestamp - 1)
        batch = self._close_batch(state, events, created, new_accounts, refused, expired, now)
        self._keep_recent(created, refused, now)
        return batch, changes

    def _close_batch(
        self,
        state: rules.State,
        events: list[bytes],
        created: list[Posted],
        new_accounts: list[Account],
        refused: list[Refused],
        expired: list[bytes],
        now: int,
    ) -> Batch:
        if not events:
            return Batch()
        touched = {account.id for account in new_accounts}
        pending_ids = list(expired)
        for transfer_id in expired:
            p = state.transfers[transfer_id].transfer
            touched.add(p.debit_account_id)
            touched.add(p.credit_account_id)
        for posted in created:
            t = posted.transfer
            touched.add(t.debit_account_id)
            touched.add(t.credit_account_id)
            if t.flags & _TWO_PHASE:
                pending_ids.append(t.id if t.pending_id == ids.ZERO else t.pending_id)
        assert len(created) <= encoding.ROWS_MAX
        assert len(touched) <= encoding.ROWS_MAX
        self._sequence += 1
        accounts = state.accounts
        batch = Batch(
            sequence=self._sequence,
            first_timestamp=now,
            last_timestamp=self._last,
            events=b"".join(events),
            transfers=b"".join([encoding.encode_posted(posted) for posted in created]),
            accounts=b"".join([encoding.encode_account(accounts[id]) for id in touched]),
            refused=[(r.transfer_id, sqlite_file.encode_refused(r)) for r in refused],
            pendings=[state.pendings[id] for id in dict.fromkeys(pending_ids)],
        )
        creations = [encoding.encode_account_creation(a, _CLOSED) for a in new_accounts]
        expiries = [
            transfer_id + state.pendings[transfer_id].resolved_at.to_bytes(8, "big")
            for transfer_id in expired
        ]
        self._hash = batch_hash(self._hash, batch, creations, expiries)
        return msgspec.structs.replace(batch, hash=self._hash)

    def _keep_recent(self, created: list[Posted], refused: list[Refused], now: int) -> None:
        """Note the ids of this batch; let go of the older generation, and raise the floor to it."""
        recent = self._recent
        recent.update([posted.transfer.id for posted in created])
        recent.update([refusal.transfer_id for refusal in refused])
        if len(recent) < RECENT_IDS_MAX:
            return
        # Ids with a time still to come stay, or they would lift the floor above the present.
        to_come = (now // 1_000_000 + 1).to_bytes(6, "big")
        leaving = [id for id in self._less_recent if id < to_come]
        self._floor = max(self._floor, max(leaving, default=ids.ZERO))
        self._recent = {id for id in self._less_recent if id >= to_come}
        self._less_recent = recent


def _decide_chain(
    state: rules.State,
    request: _Request,
    chain: Chain,
    timestamp: int,
    created: list[Posted],
    changes: list[Change],
    events: list[bytes],
    refused: list[Refused],
) -> int:
    """Decide one chain and note its result; returns the next free timestamp."""
    known_refused = len(state.refused)
    outcome = rules.create_chain(state, chain, timestamp, created)
    answered_at = timestamp
    if outcome is _CREATED:
        kind = encoding.EVENT_CHAIN_HEAD
        for transfer in chain:
            events.append(kind)
            events.append(transfer.id)
            kind = encoding.EVENT_CHAIN_REST
        timestamp += len(chain)
        posted = tuple(created[-len(chain) :])
        changes.append(Change(timestamp - 1, ChangeKind.CHAIN, posted))
    elif outcome is Outcome.EXISTS:
        answered_at = state.transfers[chain[0].id].timestamp
    elif len(state.refused) > known_refused:
        refusal = next(reversed(state.refused.values()))
        events += (encoding.EVENT_REFUSED, refusal.transfer_id)
        refused.append(refusal)
        timestamp = refusal.timestamp + 1
    accounts = state.accounts
    balances = tuple(
        [
            balance_of(accounts[account_id]) if account_id in accounts else None
            for account_id in request.balances_of
        ]
    )
    request.results.append(Result(outcome, answered_at, balances))
    return timestamp


def batch_hash(
    previous: bytes, batch: Batch, creations: Sequence[bytes], expiries: Sequence[bytes]
) -> bytes:
    """SHA-256 over the hash before it and everything that the batch did."""
    head = encoding.encode_batch_head(batch.sequence, batch.first_timestamp, batch.last_timestamp)
    parts = [previous, head, batch.events, *creations]
    parts += [batch.transfers, *expiries]
    parts += [part for row in batch.refused for part in row]
    return sha256(b"".join(parts)).digest()


def _slices(chains: Sequence[Chain]) -> list[list[Chain]]:
    """Cut a large call into requests; none is more than one chain above the size aimed at."""
    slices: list[list[Chain]] = []
    size = REQUEST_TRANSFERS_MAX
    for chain in chains:
        if size >= REQUEST_TRANSFERS_MAX:
            slices.append([])
            size = 0
        slices[-1].append(chain)
        size += len(chain)
    return slices


def _fail(requests: list[_Request], problem: BaseException) -> None:
    for request in requests:
        if not request.future.done():
            request.future.set_exception(LedgerUnavailable(str(problem)))
        # A caller that went away must not leave an error that nobody read.
        with contextlib.suppress(asyncio.CancelledError):
            request.future.exception()
