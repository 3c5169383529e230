"""
One room's log: built from the disk, appended to, and a bounded way to begin from it again.

What a room is follows from its entries alone. A copy of what they come to is kept now and then, so
that a start reads few of them.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from largesse.records import room_log as records
from largesse.records.database import Database
from largesse.records.room_log import Segment, State
from largesse.rooms import encoding, room
from largesse.rooms.messages import RECENT_MAX, is_recent
from largesse.rooms.room import Entry, Person, RoomState, StreamEndEntry

COPY_ENTRIES_MIN = 500
COPY_SECONDS_MIN = 5
COPY_SECONDS_MAX = 30
"""
A room's state is copied after so many entries, but not so soon after the last copy; a room with few
entries after the longer time. So a start reads what happened in some seconds, however busy it was.
"""


class RoomLog:
    """
    A room's state and its last events worth showing, as of the last entry it took.

    `copied_seq` and `copied_at` (the loop's time) say when the disk last got a copy of the state.
    """

    def __init__(self, state: RoomState, recent: Sequence[Entry], *, is_closed: bool) -> None:
        self.state = state
        self.recent = deque(recent, maxlen=RECENT_MAX)
        self.is_closed = is_closed
        self.copied_seq = state.seq
        self.copied_at = 0.0

    def take(self, entries: Sequence[Entry]) -> None:
        """Note entries that the state has made or replayed."""
        for entry in entries:
            if is_recent(entry):
                self.recent.append(entry)
            elif isinstance(entry, StreamEndEntry):
                self.is_closed = True

    def copy_is_due(self, now: float) -> bool:
        """Whether the next append should bring a copy of the state along; `now` in seconds."""
        entries, seconds = self.state.seq - self.copied_seq, now - self.copied_at
        if entries == 0:
            return False
        enough = entries >= COPY_ENTRIES_MIN and seconds >= COPY_SECONDS_MIN
        return enough or seconds >= COPY_SECONDS_MAX

    def copy(self, now: float) -> State:
        """The state as the disk keeps it."""
        self.copied_seq, self.copied_at = self.state.seq, now
        kept = _Kept(encoding.encode_state(self.state), encoding.encode_entries(self.recent))
        return State(self.state.room_id, self.state.seq, msgspec.msgpack.encode(kept))


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    state: bytes
    recent: bytes


async def load(db: Database, room_id: str, creator: Person) -> RoomLog:
    """
    A room as its log says; nobody is in it. One without a log is of before there were any, and over.

    Raises:
        RecordsUnavailable: ask again.
    """
    found = await records.find(db, room_id)
    log, kept = (None, None) if found is None else found
    if kept is None:
        is_over = log is None
        built = RoomLog(RoomState(room_id, creator, is_over=is_over), (), is_closed=is_over)
    else:
        copy = msgspec.msgpack.decode(kept.state, type=_Kept)
        state = encoding.decode_state(copy.state)
        built = RoomLog(state, encoding.decode_entries(copy.recent), is_closed=state.is_over)
    if log is not None:
        await _replay(db, built, log.seq)
    return built


async def read_on(db: Database, built: RoomLog) -> None:
    """Replay what was appended since by other processes, while nobody watches."""
    found = await records.find(db, built.state.room_id)
    if found is not None:
        await _replay(db, built, found[0].seq)


async def _replay(db: Database, built: RoomLog, to: int) -> None:
    for entry in await read(db, built.state.room_id, built.state.seq, to):
        room.replay(built.state, entry)
        built.take((entry,))


async def read(db: Database, room_id: str, after: int, to: int) -> list[Entry]:
    """The entries with numbers above `after` and up to `to`."""
    if after >= to:
        return []
    raw = await records.segments_after(db, room_id, after)
    entries = [
        entry
        for segment in raw
        for entry in encoding.decode_entries(segment)
        if after < entry.seq <= to
    ]
    assert [entry.seq for entry in entries] == list(range(after + 1, to + 1))
    return entries


def segment(room_id: str, entries: Sequence[Entry]) -> Segment:
    """Entries as one row of the log."""
    return Segment(
        room_id,
        entries[0].seq,
        entries[-1].seq,
        encoding.encode_entries(entries),
        any(isinstance(entry, StreamEndEntry) for entry in entries),
    )
