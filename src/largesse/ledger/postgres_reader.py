"""The ledger in a PostgreSQL as `reading.Reader` shows it: one moment, on a connection of its own."""

import contextlib
import struct
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec

from largesse.ledger import LedgerUnavailable, encoding, postgres_rows
from largesse.ledger.model import Account, Posted
from largesse.ledger.postgres_server import FAILURES, Connection, check_migrated, connect, let_go
from largesse.ledger.reading import ACCOUNTS_AT_ONCE, EVENTS_AT_ONCE, Counts, StoredBatch
from largesse.ledger.rules import Pending, PendingStatus


@contextlib.asynccontextmanager
async def open_reader(url: str) -> AsyncIterator["PostgresReader"]:
    """
    Read one moment of the ledger, beside the engines that write it.

    Raises:
        LedgerUnavailable: it cannot be read.
    """
    with _unavailable():
        # Whoever looks at a ledger may do so on a server that nobody should write to.
        connection = await connect(url, allow_unsafe=True)
    try:
        with _unavailable():
            await check_migrated(connection, url)
            # A count or a page of a large ledger takes its time.
            await connection.execute("SET statement_timeout = 0; SET max_parallel_workers = 0")
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # What we do between two pages is no idleness.
            await connection.execute("SET idle_in_transaction_session_timeout = 0")
        yield PostgresReader(connection)
    finally:
        await let_go(connection)


class PostgresReader:
    """See `reading.Reader`. Made by `open_reader`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def counts(self) -> Counts:
        query = (
            "SELECT (SELECT count(*) FROM ledger.accounts), (SELECT count(*) FROM ledger.transfers),"
            " (SELECT count(*) FROM ledger.refused), (SELECT count(*) FROM ledger.pendings)"
        )
        with _unavailable():
            return Counts(*await self._connection.fetchrow(query, timeout=_NO_LIMIT))

    async def batches(self, after: int) -> list[StoredBatch]:
        with _unavailable():
            return await postgres_rows.batches_behind(
                self._connection, "sequence", after, EVENTS_AT_ONCE
            )

    async def transfers(self, transfer_ids: Sequence[bytes]) -> dict[bytes, Posted]:
        with _unavailable():
            found = await postgres_rows.transfers(self._connection, transfer_ids)
        return {id: posted for id, posted in found.items() if _is_whole(posted)}

    async def accounts(self, account_ids: Sequence[bytes]) -> dict[bytes, Account]:
        with _unavailable():
            found = await postgres_rows.accounts(self._connection, account_ids)
        return {id: account for id, account in found.items() if _whole(account)}

    async def pendings(self, transfer_ids: Sequence[bytes]) -> dict[bytes, Pending]:
        query = (
            "SELECT id, status, expires_at, resolved_at FROM ledger.pendings"
            " WHERE id = ANY($1::uuid[]) AND status BETWEEN 1 AND 4 AND resolved_at >= 0"
        )
        with _unavailable():
            rows = await self._connection.fetch(query, list(transfer_ids))
        return {row[0]: Pending(row[0], PendingStatus(row[1]), row[2], row[3]) for row in rows}

    async def refused(self, transfer_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        query = (
            'SELECT id, outcome, "timestamp", available, record FROM ledger.refused'
            " WHERE id = ANY($1::uuid[])"
        )
        with _unavailable():
            rows = await self._connection.fetch(query, list(transfer_ids))
        found: dict[bytes, bytes] = {}
        for id, outcome, timestamp, available, record in rows:
            with contextlib.suppress(msgspec.MsgspecError):
                said = encoding.decode_refused(record)
                # The columns are for people; one that was edited is a damaged row.
                if (said.outcome, said.timestamp, said.available) == (
                    outcome,
                    timestamp,
                    available,
                ):
                    found[id] = record
        return found

    async def accounts_after(self, account_id: bytes) -> list[tuple[bytes, Account | None]]:
        with _unavailable():
            rows = await postgres_rows.accounts_after(
                self._connection, account_id, ACCOUNTS_AT_ONCE
            )
        return [(account.id, _whole(account)) for account in rows]

    async def open_pendings(self) -> list[Pending]:
        query = "SELECT id, expires_at, resolved_at FROM ledger.pendings WHERE status = 1"
        with _unavailable():
            rows = await self._connection.fetch(query, timeout=_NO_LIMIT)
        return [Pending(row[0], PendingStatus.PENDING, row[1], row[2]) for row in rows]

    async def oddities(self) -> list[tuple[str, str]]:
        query = """
            SELECT count(*) FROM ledger.head h
            LEFT JOIN ledger.batches b USING (sequence)
            WHERE h.sequence = (SELECT coalesce(max(sequence), 0) FROM ledger.batches)
            AND h.hash = coalesce(b.hash, decode(repeat('00', 32), 'hex'))
            AND h.last_timestamp = coalesce(b.last_timestamp, 0)"""
        with _unavailable():
            whole = await self._connection.fetchval(query)
        return [] if whole == 1 else [("it is not the last of the batches", "head")]


_NO_LIMIT = 24 * 3_600
"""Seconds. How long a statement over everything may take."""


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise LedgerUnavailable(str(error) or type(error).__name__) from error


def _is_whole(posted: Posted) -> bool:
    """Whether its numbers are those that a transfer may have, so that it can be hashed."""
    try:
        encoding.encode_posted(posted)
    except struct.error:
        return False
    return True


def _whole(account: Account) -> Account | None:
    try:
        encoding.encode_account(account)
    except struct.error:
        return None
    return account
