"""
A creator's live as a whole: who came, what was given, by whom, and when most of it.

Coins and diamonds come from the feed of gifts, which follows the ledger; everything else from the
room's log. Let the feed catch up first.
"""

import asyncio
from collections import OrderedDict

import msgspec

from largesse import clock
from largesse.records import projections, received, room_log
from largesse.records.database import Database
from largesse.records.projections import TopGifter
from largesse.records.received import Part, Received, Stretch
from largesse.records.rooms import Room
from largesse.rooms import attendance, encoding
from largesse.rooms.attendance import Attendance

TOP_GIFTERS = 10
ITEMS_MAX = 50
SEGMENTS_AT_ONCE = 200
"""Segments of a log that are counted between two turns of the event loop."""
ATTENDANCES_KEPT = 500
"""Rooms that are over whose attendance is remembered, for it never changes."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """
    One live. `length` is in nanoseconds, until now where it is not over; `items` by coins, most
    first; `best` is the minute that brought most.
    """

    room: Room
    length: int
    received: Received
    items: tuple[Part, ...]
    top_gifters: tuple[TopGifter, ...]
    best: Part | None
    attendance: Attendance
    average_viewers: float


_over: "OrderedDict[str, Attendance]" = OrderedDict()


async def summary(db: Database, room: Room, *, now: int) -> Summary:
    """What a live comes to, or has come to so far."""
    stretch = Stretch(creator_id=room.creator_id, room_id=room.id)
    until = room.ended_at or now
    counted = await _attendance(db, room)
    return Summary(
        room=room,
        length=until - room.started_at,
        received=await received.total(db, stretch),
        items=tuple(await received.parts(db, stretch, "item", limit=ITEMS_MAX)),
        top_gifters=tuple(await projections.top_gifters_of_room(db, room.id, limit=TOP_GIFTERS)),
        best=await received.best_minute(db, stretch),
        attendance=counted,
        average_viewers=attendance.average_viewers(
            counted,
            started_at=clock.milliseconds(room.started_at),
            until=clock.milliseconds(until),
        ),
    )


async def _attendance(db: Database, room: Room) -> Attendance:
    known = _over.get(room.id)
    if known is not None:
        _over.move_to_end(room.id)
        return known
    counted = Attendance(since=clock.milliseconds(room.started_at))
    found = await room_log.find(db, room.id)
    if found is None:
        return counted
    log, _ = found
    seq = 0
    while segments := await room_log.segments_after(db, room.id, seq, limit=SEGMENTS_AT_ONCE):
        for raw in segments:
            entries = encoding.decode_entries(raw)
            attendance.attend(counted, entries)
            seq = entries[-1].seq
        await asyncio.sleep(0)
    if log.closed:
        _over[room.id] = counted
        if len(_over) > ATTENDANCES_KEPT:
            _over.popitem(last=False)
    return counted
