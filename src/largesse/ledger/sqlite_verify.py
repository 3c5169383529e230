"""The SQLite file as `reading.Reader` shows it: one snapshot, read in a thread of its own."""

import asyncio
import contextlib
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from largesse.ledger import Problem, Total, encoding, sqlite_accounts, sqlite_file
from largesse.ledger import verify as verification
from largesse.ledger.model import Account, Posted
from largesse.ledger.reading import ACCOUNTS_AT_ONCE, EVENTS_AT_ONCE, Counts, StoredBatch
from largesse.ledger.rules import Pending, PendingStatus
from largesse.ledger.threads import FileThread

T = TypeVar("T")


def verify(path: Path, loop: asyncio.AbstractEventLoop) -> AsyncIterator[Problem | Total | int]:
    """See `Ledger.verify`."""
    return verification.verify(open_reader(path, loop), path.name)


@contextlib.asynccontextmanager
async def open_reader(path: Path, loop: asyncio.AbstractEventLoop) -> AsyncIterator["SqliteReader"]:
    """
    Read one moment of the file, beside the engine that writes it.

    Raises:
        LedgerUnavailable: it cannot be opened.
    """
    thread = FileThread("ledger-reading", loop)
    try:
        await thread.open(lambda: sqlite_file.connect_reader(path))
        # The first look takes the snapshot.
        await thread.call(lambda: thread.db.executescript("BEGIN; SELECT 1 FROM batches LIMIT 1;"))
        yield SqliteReader(thread)
    finally:
        await thread.close()


class SqliteReader:
    """See `reading.Reader`. Made by `open_reader`."""

    def __init__(self, thread: FileThread) -> None:
        self._thread = thread
        self._moved: sqlite_accounts.Moved | None = None

    async def counts(self) -> Counts:
        return await self._read(
            lambda db: Counts(
                *(
                    db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                    for table in ("accounts", "transfers", "refused", "pendings")
                )
            )
        )

    async def batches(self, after: int) -> list[StoredBatch]:
        return await self._read(lambda db: _batches(db, after))

    async def transfers(self, transfer_ids: Sequence[bytes]) -> dict[bytes, Posted]:
        return await self._read(lambda db: dict(_transfers(db, transfer_ids)))

    async def accounts(self, account_ids: Sequence[bytes]) -> dict[bytes, Account]:
        def found(db: sqlite_file.Connection) -> dict[bytes, Account]:
            moved = self._move_forward(db)
            rows = dict(_accounts(db, account_ids))
            return {id: moved.accounts.get(id, account) for id, account in rows.items()}

        return await self._read(found)

    async def pendings(self, transfer_ids: Sequence[bytes]) -> dict[bytes, Pending]:
        return await self._read(lambda db: dict(_pendings(db, transfer_ids)))

    async def refused(self, transfer_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self._read(lambda db: dict(sqlite_file.rows(db, "refused", transfer_ids)))

    async def accounts_after(self, account_id: bytes) -> list[tuple[bytes, Account | None]]:
        def page(db: sqlite_file.Connection) -> list[tuple[bytes, Account | None]]:
            moved = self._move_forward(db)
            rows = db.execute(
                "SELECT id, record FROM accounts WHERE id > ? ORDER BY id LIMIT ?",
                (account_id, ACCOUNTS_AT_ONCE),
            )
            return [(id, _newest(id, record, moved)) for id, record in rows]

        return await self._read(page)

    async def open_pendings(self) -> list[Pending]:
        def page(db: sqlite_file.Connection) -> list[Pending]:
            rows = db.execute(
                "SELECT id, expires_at, resolved_at FROM pendings WHERE status = ?",
                (int(PendingStatus.PENDING),),
            )
            return [Pending(row[0], PendingStatus.PENDING, row[1], row[2]) for row in rows]

        return await self._read(page)

    async def oddities(self) -> list[tuple[str, str]]:
        query = "SELECT min(n), max(n), count(*) FROM numbers"
        numbers = await self._read(lambda db: db.execute(query).fetchone())
        odd = await self._read(sqlite_accounts.what_is_odd)
        if numbers != (0, encoding.ROWS_MAX - 1, encoding.ROWS_MAX):
            odd.append(("the row numbers that batches are cut by are not whole", "numbers"))
        return odd

    def _move_forward(self, db: sqlite_file.Connection) -> sqlite_accounts.Moved:
        """Rows are written late: those that are behind are shown as their batches leave them."""
        if self._moved is None:
            self._moved = sqlite_accounts.move_forward(db)
        return self._moved

    async def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        return await self._thread.call(lambda: function(self._thread.db))


def _batches(db: sqlite_file.Connection, after: int) -> list[StoredBatch]:
    found: list[StoredBatch] = []
    events = 0
    for row in db.execute(
        "SELECT sequence, first_timestamp, last_timestamp, events, hash FROM batches"
        " WHERE sequence > ? ORDER BY sequence",
        (after,),
    ):
        batch = StoredBatch(*row)
        found.append(batch)
        events += len(batch.events) // encoding.EVENT_SIZE
        if events >= EVENTS_AT_ONCE:
            break
    return found


def _transfers(
    db: sqlite_file.Connection, wanted: Sequence[bytes]
) -> Iterator[tuple[bytes, Posted]]:
    decode = encoding.decode_posted
    for id, record in sqlite_file.rows(db, "transfers", wanted):
        try:
            yield id, decode(id, record)
        except struct.error:
            continue


def _accounts(
    db: sqlite_file.Connection, wanted: Sequence[bytes]
) -> Iterator[tuple[bytes, Account]]:
    for id, record in sqlite_file.rows(db, "accounts", wanted):
        account = _account(id, record)
        if account is not None:
            yield id, account


def _newest(id: bytes, record: bytes, moved: sqlite_accounts.Moved) -> Account | None:
    """The account as the newest batch left it; None where its row does not lead there."""
    if id in moved.doubtful:
        return None
    return moved.accounts.get(id) or _account(id, record)


def _account(id: bytes, record: bytes) -> Account | None:
    try:
        return encoding.decode_account(id, record)
    except struct.error:
        return None


def _pendings(
    db: sqlite_file.Connection, wanted: Sequence[bytes]
) -> Iterator[tuple[bytes, Pending]]:
    for id in wanted:
        with contextlib.suppress(ValueError):  # A status that there is not.
            yield from sqlite_file.pending_rows(db, [id])
