"""
The embedded engine: one file, one process, one writer thread, group commit.

Three steps, as in TigerBeetle: *load* what the waiting chains name and memory does not hold,
*decide* them all with `rules.py` on the event loop, *write* the whole batch with one statement in
the writer thread. While one batch is written the next is decided. Nobody is answered before the
disk has said yes (WAL, `synchronous=FULL`). No waiting to fill a batch: it takes what is there.

Memory holds the accounts in use, the ids of recent transfers and the newest changes, for those who
follow them (`recent.py`); nothing else. Ids that may be known are looked up in the file first; that
look-up runs in the writer's thread, behind every batch decided before, so it sees them all.

Account rows are written late (`sqlite_accounts.py`): those that are behind their batches are always
in memory, so an account is looked up there first, and answered when its batch is on the disk.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from largesse.clock import Clock
from largesse.ledger import (
    PAGE_MAX,
    AccountFilter,
    LedgerUnavailable,
    Problem,
    QueryFilter,
    Total,
    batching,
    deciding,
    encoding,
    rules,
    sqlite_accounts,
    sqlite_file,
    sqlite_query,
)
from largesse.ledger.batching import Request, RequestQueue
from largesse.ledger.deciding import Batch, Decision
from largesse.ledger.history import walk
from largesse.ledger.model import (
    Account,
    AccountOutcome,
    Chain,
    Change,
    Posted,
    Refused,
    Result,
)
from largesse.ledger.recent import RecentChanges, RecentIds
from largesse.ledger.sqlite_file import Loaded, Start
from largesse.ledger.sqlite_verify import verify
from largesse.ledger.threads import FileThread

T = TypeVar("T")

BATCHES_IN_FLIGHT_MAX = 2
"""One being written, one decided and next in line."""
ACCOUNTS_CACHED_MAX = 200_000
ACCOUNTS_BEHIND_MAX = 150_000
"""When the rows of more accounts are behind their batches, all of them are written with the next."""
EXPIRIES_BATCH_MAX = 1_000


class Writing(msgspec.Struct, frozen=True):
    """
    A batch without its hash, and what that covers.

    `accounts` are the account rows that are written with it: all that are behind, or some.
    """

    batch: Batch
    content: bytes
    accounts: list[bytes]
    is_whole: bool


class SqliteLedger:
    """See `largesse.ledger.Ledger`. Made by `open`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._writer = FileThread("ledger-writer", self._loop)
        self._reader = FileThread("ledger-reader", self._loop)
        self._queue = RequestQueue(self._loop)
        self._in_flight = 0
        self._stale = False
        self._write_failed = False
        self._closing = False
        self._answered: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._sequence, self._hash, self._last = 0, bytes(32), 0
        self._adopt(Start(), {})

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
        if self._closing:
            raise LedgerUnavailable("the ledger is closing")
        wanted = list(account_ids)
        if not self._stale:
            try:
                return await self._lookup_accounts(wanted)
            except LedgerUnavailable:
                if self._closing:
                    raise
        # What memory holds was never written: what the file says is the newest there is.
        return await self._read(sqlite_accounts.find, wanted)

    async def _lookup_accounts(self, wanted: list[bytes]) -> list[Account | None]:
        """All as they are at one moment; answered when everything until then is on the disk."""
        accounts = self._accounts
        rows: dict[bytes, Account | None] = {}
        while missing := [id for id in wanted if id not in accounts and id not in rows]:
            found = await self._read(sqlite_file.find_accounts, missing)
            if accounts is not self._accounts:
                # Meanwhile accounts were let go of, which the rows may be behind of.
                accounts, rows = self._accounts, {}
                continue
            rows.update(zip(missing, found, strict=True))
        if self._stale:
            raise LedgerUnavailable("a batch could not be written")
        newest = [accounts.get(id) for id in wanted]
        copies = [
            rows[id] if account is None else msgspec.structs.replace(account)
            for id, account in zip(wanted, newest, strict=True)
        ]
        if self._in_flight:
            await self._writer.call(self._assert_written)
        return copies

    def _assert_written(self) -> None:
        """In the writer's thread, behind every batch that was decided before."""
        if self._write_failed:
            raise LedgerUnavailable("a batch could not be written")

    async def lookup_transfers(self, transfer_ids: Iterable[bytes]) -> list[Posted | None]:
        return await self._read(sqlite_file.find_transfers, list(transfer_ids))

    async def lookup_refused(self, transfer_ids: Iterable[bytes]) -> list[Refused | None]:
        return await self._read(sqlite_file.find_refused, list(transfer_ids))

    async def account_transfers(self, account_id: bytes, filter: AccountFilter) -> list[Posted]:
        [account] = await self.lookup_accounts([account_id])
        if account is None:
            return []

        def page(db: sqlite_file.Connection) -> list[Posted]:
            with sqlite_file.snapshot(db):
                return walk(lambda id: sqlite_file.find_transfers(db, [id])[0], account, filter)

        return await self._read(page)

    async def changes(self, after: int, limit: int = PAGE_MAX) -> list[Change]:
        assert limit > 0
        recent = None if self._closing else self._changes.after(after, limit)
        if recent is None:
            return await self._read(sqlite_file.changes, after, limit)
        return recent

    async def query_transfers(self, filter: QueryFilter) -> list[Posted]:
        return await self._search(sqlite_query.transfers, filter)

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        found = await self._search(sqlite_query.accounts, filter)
        # What is searched for never changes, but the totals may be newer than the rows.
        newest = await self.lookup_accounts([account.id for account in found])
        return [account for account in newest if account is not None]

    async def _search(
        self, function: Callable[[sqlite_file.Connection, QueryFilter], T], filter: QueryFilter
    ) -> T:
        """In a thread of its own: it may read the whole file, and nobody's look-up waits for that."""
        if self._closing:
            raise LedgerUnavailable("the ledger is closing")
        thread = FileThread("ledger-search", self._loop)
        try:
            await thread.open(lambda: sqlite_file.connect_reader(self._path))
            return await thread.call(lambda: function(thread.db, filter))
        finally:
            await thread.close()

    def verify(self) -> AsyncIterator[Problem | Total | int]:
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
        self._queue.wake_up()
        assert self._task is not None
        await self._task
        if not self._stale:
            await self._write_behind()
        await self._reader.close()
        await self._writer.close()

    async def _write_behind(self) -> None:
        """Leave a file in which every account's row says its newest totals."""
        rows = self._rows_behind(all=True)
        # Without it nothing is lost: the next start moves the rows forward.
        with contextlib.suppress(LedgerUnavailable):
            await self._writer.call(lambda: sqlite_file.write_accounts(self._writer.db, rows))

    # The one loop that decides ---------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    break
                await self._queue.wait(self._next_expiry_seconds())
            while self._in_flight >= BATCHES_IN_FLIGHT_MAX:
                await self._wait_for_answer()
            if self._queue or self._expiry_is_due():
                await self._turn()
        while self._in_flight:
            await self._wait_for_answer()

    async def _wait_for_answer(self) -> None:
        self._answered = self._loop.create_future()
        await self._answered

    def _next_expiry_seconds(self) -> float | None:
        if not self._expiries:
            return None
        # Never a busy loop, also when this clock stands still.
        return max((self._expiries[0][0] - self._clock.now()) / rules.SECOND, 0.05)

    def _expiry_is_due(self) -> bool:
        return bool(self._expiries) and self._expiries[0][0] <= self._clock.now()

    async def _turn(self) -> None:
        """Take what waits, load what it needs, decide it, hand it to the writer."""
        requests: list[Request] = []
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
                requests = self._queue.take()
            state = await self._load(requests, due)
            decision = deciding.decide(state, requests, due, now)
            writing = self._close_batch(state, decision)
        except Exception as problem:
            # Memory may be half changed, by a lost disk or by a broken assertion of ours.
            self._stale = True
            batching.fail(requests or self._queue.take(), problem)
            return
        self._in_flight += 1
        self._writer.submit(
            lambda: self._write(writing),
            lambda _, problem: self._answer(requests, decision.changes, problem),
        )

    def _close_batch(self, state: rules.State, decision: Decision) -> Writing | None:
        """What is to be written, None where nothing is."""
        self._last = max(self._last, decision.last_timestamp)
        if not decision.events:
            return None
        self._sequence += 1
        batch, content = deciding.lay_out(state, decision, self._sequence)
        known = [posted.transfer.id for posted in decision.created]
        known += [refusal.transfer_id for refusal in decision.refused]
        self._recent.keep(known, decision.first_timestamp)
        behind, slices = self._behind, sqlite_accounts.SLICES
        for id in batch.touched:
            # As `slice_of` has it, on the path of every gift.
            behind[id[1] * slices >> 8].add(id)
        # A new account has a row from its first moment.
        made = []
        for account in decision.new_accounts:
            behind[sqlite_accounts.slice_of(account.id)].discard(account.id)
            made.append(encoding.encode_account(account))
        turn = behind[self._sequence % sqlite_accounts.SLICES]
        is_whole = (
            sum(map(len, behind)) > ACCOUNTS_BEHIND_MAX or len(made) + len(turn) > encoding.ROWS_MAX
        )
        rows = self._rows_behind(all=is_whole)
        return Writing(batch, content, made + rows, is_whole)

    def _rows_behind(self, *, all: bool) -> list[bytes]:
        """Rows of the accounts of every slice, or of the one whose turn it is; they are behind no more."""
        slices = range(sqlite_accounts.SLICES)
        turn = self._sequence % sqlite_accounts.SLICES
        rows: list[bytes] = []
        for slice in slices if all else slices[turn : turn + 1]:
            rows += [encoding.encode_account(self._accounts[id]) for id in self._behind[slice]]
            self._behind[slice] = set()
        return rows

    def _write(self, writing: Writing | None) -> None:
        """In the writer's thread. What follows a failed batch was decided on sand: it fails too."""
        if self._write_failed:
            raise LedgerUnavailable("an earlier batch could not be written")
        try:
            if writing is not None:
                # Hashed here: it is done without the interpreter's lock, beside the next decision.
                hash = deciding.chained_hash(self._hash, writing.content)
                batch = msgspec.structs.replace(writing.batch, hash=hash)
                sqlite_file.write(
                    self._writer.db, batch, writing.accounts, is_whole=writing.is_whole
                )
                self._hash = hash
        except BaseException:
            self._write_failed = True
            raise

    def _answer(
        self, requests: list[Request], changes: list[Change], problem: BaseException | None
    ) -> None:
        self._in_flight -= 1
        if problem is not None:
            # What memory holds may now be ahead of the file.
            self._stale = True
            batching.fail(requests, problem)
        else:
            self._changes.keep(changes)
            batching.answer(requests)
        if self._answered is not None:
            self._answered.set_result(None)
            self._answered = None

    # Load ------------------------------------------------------------------------------------

    async def _reload(self) -> None:
        """Begin again from the file."""
        now = self._clock.now()
        db = self._writer.db
        self._adopt(
            await self._writer.call(lambda: sqlite_file.start(db, now)),
            await self._writer.call(lambda: sqlite_accounts.newest(db)),
        )
        self._stale = self._write_failed = False

    def _adopt(self, start: Start, accounts: dict[bytes, Account]) -> None:
        self._accounts = accounts
        # The accounts whose rows are behind their batches, by slice.
        self._behind: list[set[bytes]] = [set() for _ in range(sqlite_accounts.SLICES)]
        for id in accounts:
            self._behind[sqlite_accounts.slice_of(id)].add(id)
        self._recent = RecentIds(start.floor, start.ahead)
        self._expiries = start.expiries
        self._sequence = start.sequence
        # The hash of the newest batch that was written: from here on the writer's thread's own.
        self._hash = start.hash
        self._last = start.last_timestamp
        self._changes = RecentChanges(start.last_timestamp)

    async def _load(self, requests: list[Request], due: list[bytes]) -> rules.State:
        """What the rules need to decide these requests."""
        if len(self._accounts) > ACCOUNTS_CACHED_MAX and not self._in_flight:
            self._accounts = {id: self._accounts[id] for slice in self._behind for id in slice}
        wanted, wanted_accounts = self._recent.missing(requests, self._accounts)
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
