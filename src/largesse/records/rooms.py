"""Rooms: who is or was live, under which title, from when to when."""

import msgspec
import sqlalchemy as sa

from largesse.errors import Rejected
from largesse.records.database import Database, lock
from largesse.records.tables import columns, room_logs, rooms


class Room(msgspec.Struct, frozen=True):
    """A creator's room. It is live until `ended_at` is set."""

    id: str
    creator_id: str
    title: str
    started_at: int
    ended_at: int | None = None


_COLUMNS = columns(rooms, Room)


async def insert(db: Database, room: Room) -> Room:
    """
    Keep a new room, with a log that is empty.

    Raises:
        Rejected: room_already_live (a creator has at most one live room).
    """
    live = sa.select(rooms.c.id).where(
        rooms.c.creator_id == room.creator_id, rooms.c.ended_at.is_(None)
    )
    async with db.begin() as tx:
        # The unique index would refuse a second one too, but not say which is the first: that may
        # be over before one could look.
        await lock(tx, "live_room", room.creator_id)
        live_id = (await tx.execute(live)).scalar_one_or_none()
        if live_id is not None:
            raise Rejected("room_already_live", room_id=live_id)
        await tx.execute(rooms.insert().values(msgspec.structs.asdict(room)))
        await tx.execute(room_logs.insert().values(room_id=room.id, seq=0, closed=False))
    return room


async def end(db: Database, room_id: str, now: int) -> Room | None:
    """End a live room; a room that is over stays as it is. None where there is none."""
    statement = (
        rooms.update().where(rooms.c.id == room_id, rooms.c.ended_at.is_(None)).values(ended_at=now)
    )
    async with db.begin() as tx:
        await tx.execute(statement)
        row = (await tx.execute(sa.select(*_COLUMNS).where(rooms.c.id == room_id))).one_or_none()
    return None if row is None else Room(*row)


async def find(db: Database, room_id: str) -> Room | None:
    """The room with this id."""
    async with db.connect() as tx:
        row = (await tx.execute(sa.select(*_COLUMNS).where(rooms.c.id == room_id))).one_or_none()
    return None if row is None else Room(*row)


async def live(db: Database) -> list[Room]:
    """Every live room, newest first."""
    return await list_rooms(db, is_live=True, limit=None)


async def live_sum(db: Database) -> tuple[int, int]:
    """How many rooms are live and the sum of their beginnings: another one says that others are."""
    # In milliseconds, because SQLite adds up no more than 64 bits.
    beginnings = sa.func.coalesce(sa.func.sum(rooms.c.started_at // 1_000_000), 0)
    statement = sa.select(sa.func.count(), beginnings).where(rooms.c.ended_at.is_(None))
    async with db.connect() as tx:
        count, total = (await tx.execute(statement)).one()
    return int(count), int(total)


async def list_rooms(
    db: Database,
    *,
    is_live: bool | None = None,
    creator_id: str | None = None,
    before: tuple[int, str] | None = None,
    limit: int | None,
) -> list[Room]:
    """Rooms, newest first: live ones, those that are over, or both (None); of one creator or all."""
    statement = (
        sa.select(*_COLUMNS).order_by(rooms.c.started_at.desc(), rooms.c.id.desc()).limit(limit)
    )
    if is_live is not None:
        statement = statement.where(
            rooms.c.ended_at.is_(None) if is_live else rooms.c.ended_at.is_not(None)
        )
    if creator_id is not None:
        statement = statement.where(rooms.c.creator_id == creator_id)
    if before is not None:
        statement = statement.where(sa.tuple_(rooms.c.started_at, rooms.c.id) < before)
    async with db.connect() as tx:
        return [Room(*row) for row in await tx.execute(statement)]
