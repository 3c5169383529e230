"""
The logs of rooms on the disk: numbered entries, as bytes that only `rooms/` reads.

An append is one transaction with the place in the ledger's changes that its gifts came from: so a
gift is in the log once, whenever the process dies. Entries are appended and never changed.

Where several processes append, each append is a turn: the place is locked, what others appended
since is read, and only then is anything decided. Turns are numbered without gap, over all rooms.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

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
TURN_SECONDS_MAX = 5
"""How long one of several processes may hold the others up and do nothing."""

Transaction = AsyncConnection
"""What `Database.begin` and `connect` yield, for who hands it on."""

_SEGMENT = [room_segments.c[name] for name in ("room_id", "first_seq", "last_seq", "entries")]
_PLACE = sa.select(projections.c.after, projections.c.turn).where(projections.c.name == NAME)


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


class Place(msgspec.Struct, frozen=True):
    """How far the logs are: the last change of the ledger in them, and the last turn."""

    after: int
    turn: int


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
        await _insert(tx, segments, states, turn=0)


async def _insert(
    tx: AsyncConnection, segments: Sequence[Segment], states: Sequence[State], *, turn: int
) -> None:
    ids = [bytes.fromhex(segment.room_id) for segment in segments]
    await insert_many(
        tx,
        room_segments,
        [
            (id, segment.first_seq, segment.last_seq, segment.entries, turn)
            for id, segment in zip(ids, segments, strict=True)
        ],
    )
    await insert_many(
        tx,
        room_logs,
        [(id, segment.last_seq, segment.closes) for id, segment in zip(ids, segments, strict=True)],
        conflict=_go_on,
    )
    await insert_many(
        tx,
        room_states,
        [(bytes.fromhex(state.room_id), state.seq, state.state) for state in states],
        conflict=_replace,
    )


# Turns of several processes --------------------------------------------------------------------


async def take_turn(tx: AsyncConnection) -> Place:
    """
    Wait until no other process appends; until the end of the transaction none can.

    Whoever stops half-way, as a machine that sleeps, loses his turn after `TURN_SECONDS_MAX`.
    """
    bound = f"{TURN_SECONDS_MAX}s"
    await tx.execute(
        sa.select(
            sa.func.set_config("idle_in_transaction_session_timeout", bound, True),
            sa.func.set_config("lock_timeout", f"{2 * TURN_SECONDS_MAX}s", True),
        )
    )
    return Place(*(await tx.execute(_PLACE.with_for_update())).one())


async def append_in_turn(
    tx: AsyncConnection,
    place: Place,
    segments: Sequence[Segment],
    states: Sequence[State],
    *,
    to: int,
) -> Place:
    """`append` in a turn that was taken; the place after it, once the transaction is committed."""
    new = Place(to, place.turn + bool(segments))
    if new != place:
        moved = projections.update().where(projections.c.name == NAME)
        await tx.execute(moved.values(after=new.after, turn=new.turn))
    await _insert(tx, segments, states, turn=new.turn)
    return new


async def since(tx: AsyncConnection, turn: int, to: int) -> list[Segment]:
    """What was appended in the turns after `turn` and up to `to`, in their order."""
    statement = (
        sa.select(*_SEGMENT)
        .where(room_segments.c.turn > max(turn, 0), room_segments.c.turn <= to)
        .order_by(room_segments.c.turn, room_segments.c.room_id)
    )
    return [Segment(*row) for row in await tx.execute(statement)]


async def place(tx: AsyncConnection) -> Place:
    """How far the logs are."""
    return Place(*(await tx.execute(_PLACE)).one())


async def is_written(tx: AsyncConnection, turn: int, segments: Sequence[Segment]) -> bool:
    """
    Whether the turn was this append, whose outcome nobody heard.

    Asked in a turn of its own: the server may be about to commit what it was told last.
    """
    found = await since(tx, turn - 1, turn)
    return {(each.room_id, each.first_seq, each.entries) for each in found} == {
        (each.room_id, each.first_seq, each.entries) for each in segments
    }


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
        index_elements=["room_id"],
        set_={"seq": new.seq, "state": new.state},
        where=new.seq > room_states.c.seq,
    )
