"""
Whom each of several processes has in a room, so that everybody is counted once over all of them.

People are marks of eight bytes; who made them knows what they mean. A process that has gone leaves
rows behind, which are good until their time only.
"""

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from largesse.records.database import Database, insert_many
from largesse.records.tables import columns, room_audiences


class Here(msgspec.Struct, frozen=True):
    """Whom one process has in a room: marks of people, eight bytes each, and how many nobodies."""

    room_id: str
    people: bytes
    nobodies: int


async def write(
    tx: AsyncConnection, process_id: str, audiences: Sequence[Here], *, until: int
) -> None:
    """Say whom this process has in these rooms; a room with nobody in it is forgotten."""
    empty = [each.room_id for each in audiences if not each.people and not each.nobodies]
    if empty:
        await tx.execute(
            room_audiences.delete().where(
                room_audiences.c.process_id == process_id, room_audiences.c.room_id.in_(empty)
            )
        )
    rows = [
        (bytes.fromhex(each.room_id), process_id, each.people, each.nobodies, until)
        for each in audiences
        if each.people or each.nobodies
    ]
    await insert_many(tx, room_audiences, rows, conflict=_replace)


async def elsewhere(
    tx: AsyncConnection, process_id: str, room_ids: Iterable[str] | None, *, now: int
) -> dict[str, list[Here]]:
    """Whom the other processes have, by room: in these rooms, or in all of them (None)."""
    table = room_audiences.c
    statement = sa.select(*columns(room_audiences, Here)).where(
        table.process_id != process_id, table.until > now
    )
    if room_ids is not None:
        statement = statement.where(table.room_id.in_(room_ids))
    found: dict[str, list[Here]] = {}
    for row in await tx.execute(statement):
        here = Here(*row)
        found.setdefault(here.room_id, []).append(here)
    return found


async def renew(db: Database, process_id: str, *, now: int, until: int) -> set[str]:
    """
    This process still has whom it had, in these rooms; rows of processes that have gone are deleted.
    """
    table = room_audiences
    renewed = table.update().where(table.c.process_id == process_id).values(until=until)
    async with db.begin() as tx:
        rows = await tx.execute(renewed.returning(table.c.room_id))
        room_ids = set(rows.scalars())
        await tx.execute(table.delete().where(table.c.until <= now))
    return room_ids


async def forget(db: Database, process_id: str) -> None:
    """This process has nobody any more."""
    async with db.begin() as tx:
        await tx.execute(room_audiences.delete().where(room_audiences.c.process_id == process_id))


async def forget_rooms(tx: AsyncConnection, room_ids: Iterable[str]) -> None:
    """These rooms are over."""
    await tx.execute(room_audiences.delete().where(room_audiences.c.room_id.in_(room_ids)))


def _replace(statement: sqlite.Insert) -> sqlite.Insert:
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["room_id", "process_id"],
        set_={"people": new.people, "nobodies": new.nobodies, "until": new.until},
    )
