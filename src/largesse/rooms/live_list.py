"""Which rooms are live, as this process knows: in memory, so that a gift asks no database."""

import asyncio

from largesse.records import rooms as records
from largesse.records.database import Database
from largesse.records.rooms import Room

MISSES_MAX = 10_000
MISS_SECONDS = 1.0
"""So many rooms that are not live, and for so long, are remembered where other processes open some."""


class LiveList:
    """
    The live rooms, by id. One process knows them by itself; with `is_shared` it looks what others
    have opened and ended.
    """

    def __init__(self, db: Database, *, is_shared: bool) -> None:
        self.rooms: dict[str, Room] = {}
        self._db = db
        self._is_shared = is_shared
        self._changes = 0
        self._seen: object = None
        self._misses: dict[str, tuple[Room | None, float]] = {}

    async def load(self) -> None:
        """Read them from the records."""
        if self._is_shared:
            self._seen = await records.live_sum(self._db)
        changes = self._changes
        found = {room.id: room for room in await records.live(self._db)}
        if changes != self._changes:  # Ours, while we read: look again the next time.
            self._seen = None
            return
        self.rooms = found

    async def look(self) -> None:
        """See what other processes have opened and ended since."""
        if self._seen is None or await records.live_sum(self._db) != self._seen:
            await self.load()

    async def find(self, room_id: str) -> Room | None:
        """The room, live or over; None where there is none."""
        live = self.rooms.get(room_id)
        if live is not None:
            return live
        if not self._is_shared:
            return await records.find(self._db, room_id)
        time = asyncio.get_running_loop().time()
        found, until = self._misses.get(room_id, (None, 0.0))
        if time < until:
            return found
        changes = self._changes
        found = await records.find(self._db, room_id)
        if found is not None and found.ended_at is None:
            if changes == self._changes:
                self._changes += 1
                self.rooms[room_id] = found
            return found
        if len(self._misses) >= MISSES_MAX:
            self._misses.clear()
        self._misses[room_id] = found, time + MISS_SECONDS
        return found

    def opened(self, room: Room) -> None:
        """This process has opened a room."""
        self._changes += 1
        self._seen = None
        self._misses.pop(room.id, None)
        self.rooms[room.id] = room

    def ended(self, room_id: str) -> bool:
        """A room is over; whether it was live here."""
        self._changes += 1
        self._seen = None
        return self.rooms.pop(room_id, None) is not None
