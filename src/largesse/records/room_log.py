"""
The logs of rooms on the disk: numbered entries, as bytes that only `rooms/` reads.

An append is one transaction with the place in the ledger's changes that its gifts came from: so a
gift is in the log once, whenever the process dies. Entries are appended and never changed.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from largesse.records.database import Database, insert_many
from largesse.records.tables import (
    columns,
    projections,
    room_logs,
    room_segments,
    room_states,
    rooms,
)

NAME = "room_log"
"""The logs, in the table of how far each follower of the ledger's changes has come."""
NOWHERE = -1
"""The position before the first start, which decides where the logs begin."""


class Segment(msgspec.Struct, frozen=True):
    """The entries `first_seq` to `last_seq` of a room; `closes` where the end is among them."""

    room_id: str
    first_seq: int
    last_seq: int
    entries: bytes
    closes: bool = False


class State(msgspec.Struct, frozen=True):
    """What the entries of a room up to `seq` come to."""

    room_id: str
    seq: int
    state: bytes


class Log(msgspec.Struct, frozen=True):
    """How far a room's log goes. `closed` says that its end is in it."""

    room_id: str
    seq: int
    closed: bool


async def position(db: Database) -> int:
    """The timestamp of the last change that is in the logs, or `NOWHERE`."""
    statement = sa.select(projections.c.after).where(projections.c.name == NAME)
    async with db.connect() as tx:
        return int((await tx.execute(statement)).scalar_one())


async def append(
    db: Database, segments: Sequence[Segment], states: Sequence[State], *, after: int, to: int
) -> None:
    """
    Append to the logs and move from one place in the changes to another, all of it or nothing.

    A number that a log has already is refused by the database, and so is a place that we are not
    at: that would be a second writer, and there is none.

    Raises:
        RecordsUnavailable: nothing was appended.
    """
    moved = (
        projections.update()
        .where(projections.c.name == NAME, projections.c.after == after)
        .values(after=to)
    )
    async with db.begin() as tx:
        if after != to:
            assert (await tx.execute(moved)).rowcount == 1
        ids = [bytes.fromhex(segment.room_id) for segment in segments]
        await insert_many(
            tx,
            room_segments,
            [
                (id, segment.first_seq, segment.last_seq, segment.entries)
                for id, segment in zip(ids, segments, strict=True)
            ],
        )
        await insert_many(
            tx,
            room_logs,
            [
                (id, segment.last_seq, segment.closes)
                for id, segment in zip(ids, segments, strict=True)
            ],
            conflict=_go_on,
        )
        await insert_many(
            tx,
            room_states,
            [(bytes.fromhex(state.room_id), state.seq, state.state) for state in states],
            conflict=_replace,
        )


async def find(db: Database, room_id: str) -> tuple[Log, State | None] | None:
    """A room's log and the newest copy of its state; None where there is no such log."""
    log = sa.select(*columns(room_logs, Log)).where(room_logs.c.room_id == room_id)
    state = sa.select(*columns(room_states, State)).where(room_states.c.room_id == room_id)
    async with db.connect() as tx:
        row = (await tx.execute(log)).one_or_none()
        kept = (await tx.execute(state)).one_or_none()
    return None if row is None else (Log(*row), None if kept is None else State(*kept))


async def segments_after(
    db: Database, room_id: str, seq: int, *, limit: int | None = None
) -> list[bytes]:
    """
    The segments that hold what came after this number, oldest first; one may begin before it.

    With `limit` the first of them; each is whole, so the next page begins behind its last entry.
    """
    first = (
        sa.select(sa.func.max(room_segments.c.first_seq))
        .where(room_segments.c.room_id == room_id, room_segments.c.first_seq <= seq + 1)
        .scalar_subquery()
    )
    statement = (
        sa.select(room_segments.c.entries)
        .where(
            room_segments.c.room_id == room_id,
            room_segments.c.first_seq >= sa.func.coalesce(first, 0),
            room_segments.c.last_seq > seq,
        )
        .order_by(room_segments.c.first_seq)
        .limit(limit)
    )
    async with db.connect() as tx:
        return list((await tx.execute(statement)).scalars())


async def unfinished(db: Database) -> list[str]:
    """Rooms that are over and have no end in their log yet."""
    statement = (
        sa.select(room_logs.c.room_id)
        .join(rooms, rooms.c.id == room_logs.c.room_id)
        .where(sa.not_(room_logs.c.closed), rooms.c.ended_at.is_not(None))
    )
    async with db.connect() as tx:
        return list((await tx.execute(statement)).scalars())


def _go_on(statement: sqlite.Insert) -> sqlite.Insert:
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["room_id"],
        set_={"seq": new.seq, "closed": sa.or_(room_logs.c.closed, new.closed)},
    )


def _replace(statement: sqlite.Insert) -> sqlite.Insert:
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["room_id"], set_={"seq": new.seq, "state": new.state}
    )
