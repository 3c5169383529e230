"""A ledger file as one end of a copy (`copying`)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from largesse.ledger import encoding, sqlite_file
from largesse.ledger.copying import Head, Piece
from largesse.ledger.model import Account
from largesse.ledger.sqlite_verify import SqliteReader, open_reader
from largesse.ledger.threads import FileThread


class SqliteStore:
    """See `copying.Store`. Made by `open_source`."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def read(self) -> contextlib.AbstractAsyncContextManager[SqliteReader]:
        return open_reader(self._path, asyncio.get_running_loop())


@contextlib.asynccontextmanager
async def open_source(path: Path) -> AsyncIterator[SqliteStore]:
    """
    A ledger file to copy from.

    Raises:
        Rejected: ledger_not_ours, ledger_newer, ledger_copy_unfinished.
        LedgerUnavailable: it cannot be opened.
    """
    thread = FileThread("ledger-copy", asyncio.get_running_loop())
    try:
        await thread.open(lambda: sqlite_file.connect_reader(path))
        await thread.call(lambda: sqlite_file.check_format(thread.db, path))
        yield SqliteStore(path)
    finally:
        await thread.close()


@contextlib.asynccontextmanager
async def open_target(path: Path) -> AsyncIterator["SqliteTarget"]:
    """
    A ledger file to copy to, made where there is none.

    Raises:
        Rejected: ledger_not_ours, ledger_newer.
        LedgerUnavailable: it cannot be opened or written.
    """
    thread = FileThread("ledger-copy", asyncio.get_running_loop())
    try:
        await thread.open(lambda: sqlite_file.connect_writer(path, copying=True))
        yield SqliteTarget(path, thread)
    finally:
        await thread.close()


class SqliteTarget:
    """See `copying.Target`. Made by `open_target`."""

    def __init__(self, path: Path, thread: FileThread) -> None:
        self.name = str(path)
        self._path = path
        self._thread = thread

    def read(self) -> contextlib.AbstractAsyncContextManager[SqliteReader]:
        return open_reader(self._path, asyncio.get_running_loop())

    async def head(self) -> Head:
        query = "SELECT sequence, hash FROM batches ORDER BY sequence DESC LIMIT 1"
        row = await self._thread.call(lambda: self._thread.db.execute(query).fetchone())
        return Head() if row is None else Head(*row)

    async def is_unfinished(self) -> bool:
        query = "PRAGMA application_id"
        row = await self._thread.call(lambda: self._thread.db.execute(query).fetchone())
        return bool(row[0] == sqlite_file.COPYING_ID)

    async def begin(self) -> None:
        # Lost power may cost the newest batches of a copy, never their order: the next run goes on
        # from what is there.
        await self._mark(sqlite_file.COPYING_ID, "NORMAL")

    async def write(self, pieces: Sequence[Piece]) -> None:
        def write_all() -> None:
            for piece in pieces:
                made = [encoding.encode_account(a) for a in piece.decision.new_accounts]
                sqlite_file.write(self._thread.db, piece.batch, made, is_whole=False)

        await self._thread.call(write_all)

    async def write_totals(self, accounts: Sequence[Account]) -> None:
        rows = [encoding.encode_account(account) for account in accounts]
        await self._thread.call(lambda: sqlite_file.write_accounts(self._thread.db, rows))

    async def finish(self) -> None:
        await self._thread.call(
            lambda: self._thread.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        )
        await self._mark(sqlite_file.APPLICATION_ID, "FULL")

    async def _mark(self, application_id: int, synchronous: str) -> None:
        def mark() -> None:
            db = self._thread.db
            db.execute(f"PRAGMA synchronous = {synchronous}")
            if db.execute("PRAGMA application_id").fetchone()[0] != application_id:
                db.execute(f"PRAGMA application_id = {application_id}")

        await self._thread.call(mark)
