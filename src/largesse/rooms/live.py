"""
The rooms that are live, in memory, so that a gift finds its room without asking a database.

The records are written first and hold everything; this is their copy of what is live, made at the
start by `load` and kept by `open` and `end`.
"""

from collections.abc import Callable

from largesse import clock, ids
from largesse.errors import Rejected
from largesse.records import rooms as records
from largesse.records.database import Database
from largesse.records.rooms import Room
from largesse.records.users import User

TITLE_LENGTH_MAX = 100
"""The longest title of a room, in characters."""


class LiveRooms:
    """The live rooms of this process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._live: dict[str, Room] = {}

    async def load(self) -> None:
        """Read the rooms that are live from the records."""
        self._live = {room.id: room for room in await records.live(self._db)}

    def find_live(self, room_id: str) -> Room | None:
        """The room if it is live: no I/O, for every gift."""
        return self._live.get(room_id)

    async def find(self, room_id: str) -> Room | None:
        """The room, live or over; also by an id in capitals, for what is no id names no room."""
        parsed = ids.parse(room_id)
        if parsed is None or len(parsed) != ids.SIZE:
            return None
        canonical = ids.text(parsed)
        return self._live.get(canonical) or await records.find(self._db, canonical)

    async def open(
        self, creator: User, title: str, now: int, entropy: Callable[[int], bytes]
    ) -> Room:
        """
        Open a creator's room.

        Whether he is an adult, and that his accounts are in the ledger, the caller has seen to.

        Raises:
            Rejected: role_required, title_invalid, room_already_live.
        """
        title = title.strip()
        if "creator" not in creator.roles:
            raise Rejected("role_required", role="creator")
        if not 1 <= len(title) <= TITLE_LENGTH_MAX or not title.isprintable():
            raise Rejected("title_invalid", maximum=TITLE_LENGTH_MAX)

        room = Room(
            id=ids.text(ids.ordered(clock.milliseconds(now), entropy(9))),
            creator_id=creator.id,
            title=title,
            started_at=now,
            ended_at=None,
        )
        self._live[room.id] = await records.insert(self._db, room)
        return room

    async def end(self, room_id: str, creator_id: str, now: int) -> Room:
        """
        End a room of this creator; one that is over stays as it is.

        Raises:
            Rejected: room_not_found, also for a room of somebody else.
        """
        room = await self.find(room_id)
        if room is None or room.creator_id != creator_id:
            raise Rejected("room_not_found")

        # After this point it must succeed. A gift that the ledger has taken on is still paid.
        ended = await records.end(self._db, room_id, now=now)
        self._live.pop(room_id, None)
        assert ended is not None
        return ended
