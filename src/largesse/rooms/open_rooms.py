"""
The rooms in memory: read from their logs when somebody needs them, with who is in them.

A room comes in with its first watcher or gift and leaves once its end has been told.
"""

import asyncio

from largesse.books import chart
from largesse.books.chart import Environment
from largesse.catalog import Catalog
from largesse.errors import Rejected
from largesse.records import follows, users
from largesse.records import rooms as records
from largesse.records.database import Database
from largesse.records.rooms import Room
from largesse.records.users import User
from largesse.rooms import log as logs
from largesse.rooms import messages
from largesse.rooms.bus import Bus, HeardSegment
from largesse.rooms.hub import Watcher
from largesse.rooms.live_room import LiveRoom
from largesse.rooms.log import RoomLog
from largesse.rooms.purses import Purse, Purses
from largesse.rooms.room import Command, Entered, Left, Person

COMMANDS_WAITING_MAX = 10_000
"""What people may do in one room while its log cannot be written; more is refused."""
USERS_CHANGED_MAX = 10_000
"""Users of whom it is remembered that something about them has changed."""

SOMEBODY = "someone"
"""The name of who gave something and has no account any more."""

FAREWELLS = {
    "room_ended": (4410, "The room is over."),
    "session_changed": (4411, "Your account has changed; get a new ticket."),
    "too_slow": (4413, "The frames were not read in time."),
}
"""Why we close a connection: the code of the close, and the sentence before it."""


class OpenRooms:
    """
    Every room in memory, by id, and every connection that is told a balance.

    `awake` is set when there is something to do for the loop, `has_posted` when this process has
    posted something to the ledger. `turn` is the last append of other processes that the rooms know.
    """

    def __init__(
        self,
        db: Database,
        catalog: Catalog,
        environment: Environment,
        *,
        is_shared: bool = False,
        bus: Bus | None = None,
    ) -> None:
        self.rooms: dict[str, LiveRoom] = {}
        self.purses = Purses()
        self.awake = asyncio.Event()
        self.has_posted = False
        self.turn = 0
        self.is_shared = is_shared
        self._bus = bus
        self.heard_segment: HeardSegment | None = None
        self._db = db
        self._catalog = catalog
        self._environment = environment
        self._loading = asyncio.Lock()
        self._changed: dict[str, tuple[int, int]] = {}
        self._forgotten_at = 0

    def is_watched(self) -> bool:
        """Whether anybody is connected."""
        return bool(self.purses) or any(len(live.hub) for live in self.rooms.values())

    async def room(self, room: Room) -> LiveRoom:
        """The room in memory, from its log where it is not there yet."""
        live = self.rooms.get(room.id)
        if live is not None:
            return live
        async with self._loading:
            live = self.rooms.get(room.id)
            if live is None:
                turn = self.turn
                log = await self.load(room)
                while turn != self.turn:  # The others appended meanwhile, perhaps here too.
                    turn = self.turn
                    await logs.read_on(self._db, log)
                live = LiveRoom(room, log, self._catalog)
                self.rooms[room.id] = live
        return live

    async def room_of(self, room_id: str) -> LiveRoom | None:
        """The room in memory, by its id alone; None where the records know none."""
        live = self.rooms.get(room_id)
        if live is None:
            room = await records.find(self._db, room_id)
            live = None if room is None else await self.room(room)
        return live

    async def load(self, room: Room) -> RoomLog:
        """
        A room from its log, with nobody in it.

        Among several processes nobody here says nothing of the others, so nothing has changed yet.
        """
        creator = await users.find_user(self._db, room.creator_id)
        person = _person_of(room.creator_id, creator, is_follower=False)
        log = await logs.load(self._db, room.id, person)
        if self.is_shared:
            log.state.audience.changed_since = None
        return log

    async def person(self, live: LiveRoom, user: User) -> Person:
        """A user as this room sees him."""
        known = live.people.get(user.id)
        if known is not None and (known.login, known.nickname) == (user.login, user.name):
            return known
        is_follower = await follows.is_following(self._db, user.id, live.room.creator_id)
        return live.remember(_person_of(user.id, user, is_follower=is_follower))

    async def people(self, live: LiveRoom, user_ids: set[str]) -> dict[str, Person]:
        """People as this room sees them, looked up together where they are not known."""
        people = {id: live.people[id] for id in user_ids if id in live.people}
        unknown = sorted(user_ids - people.keys())
        if unknown:
            found = await users.find_users(self._db, unknown)
            followers = await follows.followers_among(self._db, live.room.creator_id, unknown)
            for id in unknown:
                person = _person_of(id, found.get(id), is_follower=id in followers)
                people[id] = live.remember(person)
        return people

    def ask(self, live: LiveRoom, command: Command) -> None:
        if len(live.waiting) >= COMMANDS_WAITING_MAX:
            raise Rejected("room_busy")
        live.waiting.append(command)
        self.awake.set()

    def enter(self, live: LiveRoom, watcher: Watcher) -> None:
        """From now on it is told everything."""
        self.rooms.setdefault(live.room.id, live)
        if self._bus is not None and not live.hub:
            self._bus.follow(live.room.id, self.heard_segment)
        live.hub.add(watcher)
        if watcher.is_audience:
            live.waiting.append(Entered(watcher.person))
            if self.is_shared and not live.is_creator(watcher.person):
                live.presence.come(None if watcher.person is None else watcher.person.id)
            self.awake.set()

    def leave(self, watcher: Watcher | Purse) -> None:
        """The connection is gone; again is no harm."""
        if isinstance(watcher, Purse):
            self.purses.remove(watcher)
            return
        if watcher.purse is not None:
            self.purses.remove(watcher.purse)
        live = self.rooms.get(watcher.room_id)
        if live is None or not live.hub.remove(watcher):
            return
        if self._bus is not None and not live.hub:
            self._bus.follow(live.room.id, None)
        if watcher.is_audience:
            live.waiting.append(Left(watcher.person))
            if self.is_shared and not live.is_creator(watcher.person):
                live.presence.go(None if watcher.person is None else watcher.person.id)
            self.awake.set()

    def dismiss(self, watcher: Watcher | Purse, code: str) -> None:
        """Say why, close, and forget it."""
        number, detail = FAREWELLS[code]
        watcher.connection.send(messages.refused(None, code, detail, {}))
        watcher.connection.close(number, code)
        self.leave(watcher)

    def close(self, live: LiveRoom) -> None:
        """The room's end has been told: nobody watches it any more."""
        for watcher in live.hub:
            self.dismiss(watcher, "room_ended")
        if self.rooms.get(live.room.id) is live and live.settled.is_set():
            del self.rooms[live.room.id]

    def drop_user(self, user_id: str, now: int) -> None:
        """Close every connection of a user, whose account or sessions have changed."""
        if len(self._changed) >= USERS_CHANGED_MAX:
            self._changed.clear()
            self._forgotten_at = now
        self._changed[user_id] = (self.changes_of(user_id) + 1, now)
        for live in self.rooms.values():
            live.people.pop(user_id, None)
            for watcher in live.hub.of_user(user_id):
                self.dismiss(watcher, "session_changed")
        for purse in self.purses.of(chart.wallet(self._environment, user_id)):
            self.dismiss(purse, "session_changed")

    def changes_of(self, user_id: str | None) -> int:
        """How often a user has been dropped: the same before and after means not meanwhile."""
        return 0 if user_id is None else self._changed.get(user_id, (0, 0))[0]

    def has_changed_since(self, user_id: str, instant: int) -> bool:
        """Whether a user has been dropped after this; also where that may be forgotten."""
        _, at = self._changed.get(user_id, (0, self._forgotten_at))
        return instant < at


def _person_of(user_id: str, user: User | None, *, is_follower: bool) -> Person:
    if user is None:
        return Person(user_id, SOMEBODY, SOMEBODY)
    return Person(user.id, user.login, user.name, int(is_follower))
