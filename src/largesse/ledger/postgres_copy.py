"""A ledger in PostgreSQL as one end of a copy (`copying`)."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

from largesse.errors import Rejected
from largesse.ledger import LedgerUnavailable, postgres_rows
from largesse.ledger.copying import Head, Piece
from largesse.ledger.model import Account
from largesse.ledger.postgres_reader import PostgresReader, open_reader
from largesse.ledger.postgres_server import FAILURES, Connection, check_migrated, connect
from largesse.settings import database_facts

_WRITE_TOTALS = """
    UPDATE ledger.accounts a SET flags = u.flags,
        debits_pending = u.debits_pending, debits_posted = u.debits_posted,
        credits_pending = u.credits_pending, credits_posted = u.credits_posted,
        last_transfer_id = u.last_transfer_id
    FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                $7::uuid[])
        AS u (id, flags, debits_pending, debits_posted, credits_pending, credits_posted,
              last_transfer_id)
    WHERE a.id = u.id"""


class PostgresStore:
    """See `copying.Store`. Made by `open_source`."""

    def __init__(self, url: str) -> None:
        self.name = str(database_facts(url)["database"])
        self._url = url

    def read(self) -> contextlib.AbstractAsyncContextManager[PostgresReader]:
        return open_reader(self._url)


async def refuse_unfinished(connection: Connection, url: str) -> None:
    """
    See that no copy into this ledger is under way, or was left in its middle.

    Raises:
        Rejected: ledger_copy_unfinished.
    """
    if await _is_unfinished(connection):
        raise Rejected("ledger_copy_unfinished", file=str(database_facts(url)["database"]))


async def _is_unfinished(connection: Connection) -> bool:
    return await connection.fetchval("SELECT to_regclass('ledger.copying')") is not None


@contextlib.asynccontextmanager
async def open_source(url: str) -> AsyncIterator[PostgresStore]:
    """
    A ledger to copy from, while processes may go on writing it.

    Raises:
        Rejected: as `postgres_server.connect` and `check_migrated`; ledger_copy_unfinished.
    """
    connection = await connect(url, allow_unsafe=True)
    try:
        await check_migrated(connection, url)
        await refuse_unfinished(connection, url)
    finally:
        await connection.close()
    yield PostgresStore(url)


@contextlib.asynccontextmanager
async def open_target(url: str, *, allow_unsafe: bool = False) -> AsyncIterator["PostgresTarget"]:
    """
    A ledger to copy to, whose tables `postgres.migrate` made.

    Raises:
        Rejected: as `postgres_server.connect` and `check_migrated`.
    """
    connection = await connect(url, allow_unsafe=allow_unsafe)
    try:
        await check_migrated(connection, url)
        yield PostgresTarget(url, connection)
    finally:
        connection.terminate()


class PostgresTarget:
    """See `copying.Target`. Made by `open_target`."""

    def __init__(self, url: str, connection: Connection) -> None:
        self.name = str(database_facts(url)["database"])
        self._url = url
        self._connection = connection

    def read(self) -> contextlib.AbstractAsyncContextManager[PostgresReader]:
        return open_reader(self._url)

    async def head(self) -> Head:
        with _unavailable():
            query = "SELECT sequence, hash FROM ledger.head"
            return Head(*await self._connection.fetchrow(query))

    async def is_unfinished(self) -> bool:
        with _unavailable():
            return await _is_unfinished(self._connection)

    async def begin(self) -> None:
        with _unavailable():
            await self._connection.execute(
                "CREATE TABLE IF NOT EXISTS ledger.copying"
                " (since timestamptz NOT NULL DEFAULT now());"
                # A lost server costs the newest batches of a copy, never their order.
                "SET synchronous_commit = off"
            )

    async def write(self, pieces: Sequence[Piece]) -> None:
        with _unavailable():
            is_written = await self._write(pieces)
        if not is_written:
            raise Rejected("ledger_copy_differs", difference="somebody else writes into the target")

    async def _write(self, pieces: Sequence[Piece]) -> bool:
        """All of them in one transaction; False where the head is not the batch before the first."""
        transaction = self._connection.transaction()
        await transaction.start()
        for piece in pieces:
            writing = postgres_rows.prepare(
                piece.batch, piece.previous_hash, piece.decision, piece.accounts
            )
            if not await postgres_rows.write(self._connection, writing, None):
                await transaction.rollback()
                return False
        await transaction.commit()
        return True

    async def write_totals(self, accounts: Sequence[Account]) -> None:
        rows = [
            (
                account.id,
                account.flags,
                account.debits_pending,
                account.debits_posted,
                account.credits_pending,
                account.credits_posted,
                account.last_transfer_id,
            )
            for account in accounts
        ]
        with _unavailable():
            await self._connection.execute(_WRITE_TOTALS, *zip(*rows, strict=True))

    async def finish(self) -> None:
        with _unavailable():
            # This commit waits for the disk, and so for all that were made before it.
            await self._connection.execute("SET synchronous_commit = on")
            await self._connection.execute("DROP TABLE IF EXISTS ledger.copying")
            await self._connection.execute("ANALYZE ledger.accounts, ledger.transfers")


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise LedgerUnavailable(str(error) or type(error).__name__) from error
