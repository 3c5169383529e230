"""One room in memory: its log, its watchers, what waits to be decided and what waits to be told."""

import asyncio

from largesse.catalog import Catalog
from largesse.records.database import Database
from largesse.records.rooms import Room
from largesse.rooms import log as logs
from largesse.rooms import messages
from largesse.rooms.hub import Frames, Hub, Watcher, frames_of
from largesse.rooms.log import RoomLog
from largesse.rooms.messages import Scene
from largesse.rooms.presence import Presence
from largesse.rooms.room import Command, Entry, Person, viewers
from largesse.rooms.wire import Reason

FRAMES_AT_ONCE_MAX = 200
"""Events of before that are made into frames before the event loop gets a turn: two milliseconds."""
MISSED_KEPT_MAX = 4
"""What so many who missed different things have missed is kept for all who missed the same."""
PEOPLE_KEPT_MAX = 20_000
"""People of a room that are remembered, so that a gift does not cost a look into the records."""


class LiveRoom:
    """
    A room that somebody watches or gifts to.

    `waiting` are commands that nobody has decided yet, `untold` entries that are on the disk and
    were not sent yet. `settled` is set while what the state says is on the disk: only then may it
    be shown. Times are the event loop's.
    """

    def __init__(self, room: Room, log: RoomLog, catalog: Catalog) -> None:
        self.room = room
        self.log = log
        self.hub = Hub()
        self.presence = Presence()
        self.people: dict[str, Person] = {}
        self.waiting: list[Command] = []
        self.untold: list[Entry] = []
        self.settled = asyncio.Event()
        self.settled.set()
        self.ticked_at = 0.0
        self.tell_at = 0.0
        self.telling: asyncio.Task[None] | None = None
        self._catalog = catalog
        self._scene: Scene | None = None
        self._recent: dict[int, bytes] = {}
        self._missed: dict[tuple[int, int], list[Frames]] = {}
        self._reading = asyncio.Lock()

    async def may_be_shown(self) -> None:
        """Wait until it is settled; who goes on without waiting for anything else may show it."""
        while not self.settled.is_set():  # It may be cleared again before who waited goes on.
            await self.settled.wait()

    def frames(self, entries: list[Entry]) -> Frames:
        """Entries as everybody gets them."""
        event_frame, room_id, catalog = messages.event_frame, self.room.id, self._catalog
        return frames_of([(entry.seq, event_frame(room_id, entry, catalog)) for entry in entries])

    async def frames_between(self, db: Database, after: int, to: int) -> list[Frames]:
        """
        The events with numbers above `after` and up to `to`, from the disk.

        After a restart everybody comes back at once and has missed the same: it is read once.
        """
        async with self._reading:
            missed = self._missed.get((after, to))
            if missed is None:
                entries = await logs.read(db, self.room.id, after, to)
                missed = []
                for start in range(0, len(entries), FRAMES_AT_ONCE_MAX):
                    missed.append(self.frames(entries[start : start + FRAMES_AT_ONCE_MAX]))
                    await asyncio.sleep(0)
                while len(self._missed) >= MISSED_KEPT_MAX:
                    del self._missed[next(iter(self._missed))]
                self._missed[after, to] = missed
        return missed

    def snapshot(self, watcher: Watcher, reason: Reason) -> bytes:
        """The whole room for one watcher; the most of it is made once for all who ask now."""
        state = self.log.state
        scene = self._scene
        if scene is None or (scene.seq, scene.viewer_count) != (state.seq, viewers(state)):
            made = self._recent
            self._recent = {
                entry.seq: made.get(entry.seq)
                or messages.event_frame(self.room.id, entry, self._catalog)
                for entry in self.log.recent
            }
            scene = self._scene = messages.scene(
                state,
                self._catalog,
                title=self.room.title,
                started_at=self.room.started_at,
                recent=[*self._recent.values()],
            )
        following = watcher.person is not None and watcher.person.follow_role > 0
        return messages.snapshot(scene, reason=reason, following=following)

    def show_again(self, *, everybody: bool = False) -> None:
        """Send the room whole to whoever was behind and is free again, or to everybody."""
        for watcher in self.hub if everybody else self.hub.behind():
            if everybody or watcher.connection.waiting() == 0:
                frame = self.snapshot(watcher, "resync")
                self.hub.catch_up(watcher, frame, self.log.state.seq)

    def is_creator(self, person: Person | None) -> bool:
        """Whether this is whose room it is: no viewer of his own."""
        return person is not None and person.id == self.room.creator_id

    def remember(self, person: Person) -> Person:
        """Keep somebody in mind who is here or gave something."""
        if len(self.people) >= PEOPLE_KEPT_MAX:
            self.people.clear()
        self.people[person.id] = person
        return person
