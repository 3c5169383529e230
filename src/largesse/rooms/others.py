"""
The other processes that have the same rooms: what they appended, whom they have, what they opened.

Nobody leads. Each process reads what the others wrote before it writes itself, under a lock; the bus
only says when to look, and looking is done anyway.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog

from largesse.clock import SECOND, Clock
from largesse.records import audiences, room_log
from largesse.records.audiences import Here
from largesse.records.database import Database
from largesse.records.room_log import Place, Segment, Transaction
from largesse.rooms import encoding
from largesse.rooms.bus import Bus, Topic
from largesse.rooms.live_list import LiveList
from largesse.rooms.live_room import LiveRoom
from largesse.rooms.open_rooms import OpenRooms
from largesse.rooms.presence import unpack
from largesse.rooms.room import FollowEntry, look_elsewhere, replay_elsewhere

TURNS_AT_ONCE = 100
"""Turns of others that are read at once."""
LOOK_SECONDS = 1.0
"""How often it is looked which rooms others have opened and ended."""
RENEW_SECONDS = 10.0
"""How often a process says that it still has whom it had, and looks whom the others have."""
AUDIENCE_SECONDS = 30
"""How long that is good for: so long are people counted whose process has gone without a word."""
UNFINISHED_SECONDS = 5.0
"""How often it is looked for rooms that are over and whose end nobody wrote."""

log = structlog.get_logger()


class Others:
    """What one process knows of the others. `tell` is called with a room that has more to tell."""

    def __init__(
        self,
        process_id: str,
        db: Database,
        open_rooms: OpenRooms,
        live_list: LiveList,
        clock: Clock,
        bus: Bus | None,
        tell: Callable[[LiveRoom], None],
    ) -> None:
        self._process_id = process_id
        self._db = db
        self._open = open_rooms
        self._live_list = live_list
        self._clock = clock
        self._bus = bus
        self._tell = tell
        self._look_at = self._renew_at = self._unfinished_at = 0.0
        self._unfinished: set[str] = set()
        if bus is not None:
            open_rooms.heard_segment = self._on_segment
            bus.listen(Topic.LOG, self._on_log)
            bus.listen(Topic.LEDGER, self._on_ledger)
            bus.listen(Topic.ROOMS, self._on_rooms)

    # The log ---------------------------------------------------------------------------------

    async def begin(self, place: int) -> int:
        """
        The place in the ledger's changes at which the logs are; this one, if they are nowhere yet.

        Called before the first room is read, from where on nothing that is appended is missed.
        """
        async with self._db.begin() as tx:
            found = await room_log.take_turn(tx)
            if found.after == room_log.NOWHERE:
                found = await room_log.append_in_turn(tx, found, [], [], to=place)
        if not self._open.rooms:
            self._open.turn = found.turn
        return found.after

    async def read_log(self) -> Place:
        """Take in what the others have appended; how far the logs are."""
        async with self._db.connect() as tx:
            place = await room_log.place(tx)
            await self.read_up_to(tx, place.turn)
        return place

    async def read_up_to(self, tx: Transaction, turn: int) -> None:
        """Take in what the others have appended up to this turn."""
        while self._open.turn < turn:
            to = min(turn, self._open.turn + TURNS_AT_ONCE)
            self._replay(await room_log.since(tx, self._open.turn, to))
            self._open.turn = to

    def _replay(self, segments: Iterable[Segment]) -> None:
        """At once, so that a room that is read meanwhile either has it or hears of it."""
        for segment in segments:
            live = self._open.rooms.get(segment.room_id)
            if live is not None and live.log.state.seq < segment.last_seq:
                self._replay_in(live, segment.entries)

    def _replay_in(self, live: LiveRoom, raw: bytes) -> None:
        state = live.log.state
        entries = [each for each in encoding.decode_entries(raw) if each.seq > state.seq]
        for entry in entries:
            replay_elsewhere(state, entry)
            if isinstance(entry, FollowEntry) and entry.person.id in live.people:
                live.remember(entry.person)
                for watcher in live.hub.of_user(entry.person.id):
                    watcher.person = entry.person
        live.log.take(entries)
        if live.hub:
            live.untold += entries
        if live.hub or live.log.is_closed:
            self._tell(live)

    def announce(self, segments: Sequence[Segment]) -> None:
        """The others may read these now."""
        if self._bus is None:
            return
        self._bus.wake(Topic.LOG)
        for segment in segments:
            self._bus.carry(segment.room_id, segment.entries)

    # Who watches -----------------------------------------------------------------------------

    async def count(self, tx: Transaction, rooms: Sequence[LiveRoom]) -> list[int]:
        """
        Say whom we have in these rooms, as part of our turn, and take in whom the others have.

        The number for each room is for its `presence.note_told`, once this is on the disk.
        """
        if not rooms:
            return []
        now = self._clock.now()
        written = [live.presence.written() for live in rooms]
        here = [
            Here(live.room.id, people, nobodies)
            for live, (people, nobodies, _) in zip(rooms, written, strict=True)
            if live.presence.has_changed
        ]
        if here:
            until = now + AUDIENCE_SECONDS * SECOND
            await audiences.write(tx, self._process_id, here, until=until)
        room_ids = [live.room.id for live in rooms]
        there = await audiences.elsewhere(tx, self._process_id, room_ids, now=now)
        for live in rooms:
            self._look_elsewhere(live, there.get(live.room.id, ()), now)
        return [changes for _, _, changes in written]

    def _look_elsewhere(self, live: LiveRoom, there: Iterable[Here], now: int) -> None:
        people: set[int] = set()
        nobodies = 0
        for each in there:
            people.update(unpack(each.people))
            nobodies += each.nobodies
        look_elsewhere(live.log.state, frozenset(people), nobodies, now)

    async def _renew(self) -> None:
        now = self._clock.now()
        until = now + AUDIENCE_SECONDS * SECOND
        known = await audiences.renew(self._db, self._process_id, now=now, until=until)
        async with self._db.connect() as tx:
            there = await audiences.elsewhere(tx, self._process_id, None, now=now)
        for live in list(self._open.rooms.values()):
            if live.presence and live.room.id not in known:
                live.presence.forgotten()  # We were silent for so long that others deleted it.
            if live.settled.is_set():
                self._look_elsewhere(live, there.get(live.room.id, ()), now)

    async def forget(self, room_ids: Sequence[str], tx: Transaction) -> None:
        """These rooms are over, and nobody is in them."""
        if room_ids:
            await audiences.forget_rooms(tx, room_ids)

    async def leave(self) -> None:
        """This process ends: it has nobody any more."""
        await audiences.forget(self._db, self._process_id)

    # Who is live -----------------------------------------------------------------------------

    async def look(self) -> list[str]:
        """
        Look what is due to be looked at; rooms that are over and whose end somebody should write.

        Every live room is in memory in every process, so that its streaks end and its viewers are
        told whichever process is left.
        """
        time = asyncio.get_running_loop().time()
        if time >= self._look_at:
            self._look_at = time + LOOK_SECONDS
            await self._live_list.look()
            for room in list(self._live_list.rooms.values()):
                if room.id not in self._open.rooms:
                    await self._open.room(room)
        if time >= self._renew_at:
            self._renew_at = time + RENEW_SECONDS
            await self._renew()
        if time < self._unfinished_at:
            return []
        self._unfinished_at = time + UNFINISHED_SECONDS
        before, self._unfinished = self._unfinished, set(await room_log.unfinished(self._db))
        return sorted(before & self._unfinished)  # Whoever ended it has had his time.

    # What the bus says -----------------------------------------------------------------------

    def _on_log(self, _said: str) -> None:
        self._open.awake.set()

    def _on_ledger(self, _said: str) -> None:
        if self._open.purses:
            self._open.awake.set()

    def _on_rooms(self, _said: str) -> None:
        self._look_at = 0.0
        self._open.awake.set()

    def _on_segment(self, room_id: str, raw: bytes) -> None:
        """Tell at once what follows on what we know; everything else the log will say."""
        live = self._open.rooms.get(room_id)
        if live is None or not live.settled.is_set():
            return
        try:
            entries = encoding.decode_entries(raw)
        except (msgspec.DecodeError, AssertionError):
            log.warning("segment_unreadable", room_id=room_id)
            return
        seq = live.log.state.seq
        if entries and entries[0].seq <= seq + 1 and entries[-1].seq > seq:
            self._replay_in(live, raw)
