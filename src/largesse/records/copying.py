"""
Copy the records from one database to another: every row of every table, in one transaction.

What only running processes need (leases, who watches in which process) and what a database says of
itself (the installation that it belongs to) stay behind; both make themselves anew.
"""

from collections.abc import AsyncIterator
from hashlib import blake2b

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from largesse.errors import Rejected
from largesse.records import tables
from largesse.records.database import Database

ROWS_AT_ONCE = 500
REPLACED = frozenset({"projections"})
"""Made with rows in it: how far each projection is, which is nowhere yet where all else is empty."""
LEFT_BEHIND = frozenset({"leases", "installation", "room_audiences"})


class Step(msgspec.Struct, frozen=True):
    """How far a table is."""

    table: str
    rows: int
    total: int


async def copy(source: Database, target: Database) -> AsyncIterator[Step]:
    """
    Copy all tables, and compare both ends before anything is kept.

    Raises:
        Rejected: records_copy_not_empty, where the target has rows already; records_copy_differs.
        RecordsUnavailable: one of the two cannot be read or written.
    """
    copied = [table for table in tables.metadata.sorted_tables if table.name not in LEFT_BEHIND]
    async with source.connect() as here, target.begin() as there:
        for table in copied:
            if table.name in REPLACED:
                await there.execute(table.delete())
            elif await _count(there, table):
                raise Rejected("records_copy_not_empty", table=table.name)
        for table in copied:
            async for step in _copy_table(here, there, table):
                yield step
        for table in copied:
            if await _sum(here, table) != await _sum(there, table):
                raise Rejected("records_copy_differs", table=table.name)


async def _copy_table(
    here: AsyncConnection, there: AsyncConnection, table: sa.Table
) -> AsyncIterator[Step]:
    total = await _count(here, table)
    done = 0
    yield Step(table.name, done, total)
    async with here.stream(sa.select(table)) as found:
        async for rows in found.mappings().partitions(ROWS_AT_ONCE):
            await there.execute(table.insert(), [dict(row) for row in rows])
            done += len(rows)
            yield Step(table.name, done, total)


async def _count(tx: AsyncConnection, table: sa.Table) -> int:
    found = await tx.execute(sa.select(sa.func.count()).select_from(table))
    return int(found.scalar_one())


async def _sum(tx: AsyncConnection, table: sa.Table) -> tuple[int, int]:
    """How many rows, and a sum over all they hold that no order changes: databases sort texts apart."""
    count = total = 0
    async with tx.stream(sa.select(table)) as found:
        async for rows in found.partitions(ROWS_AT_ONCE):
            count += len(rows)
            for row in rows:
                digest = blake2b(repr(tuple(row)).encode(), digest_size=16).digest()
                total += int.from_bytes(digest, "big")
    return count, total % (1 << 128)
