"""
The live rooms: who is live, who watches, and what watchers do. The door of `rooms/`.

A gift finds its room in memory, without asking a database. What becomes of everything else that is
asked for here is `loop.py`'s affair.
"""

from collections.abc import Callable

import msgspec

from largesse import clock, ids, text
from largesse.books import chart
from largesse.books.chart import Environment
from largesse.catalog import Catalog
from largesse.clock import Clock
from largesse.errors import Rejected
from largesse.ledger import Ledger
from largesse.records import follows, users
from largesse.records import rooms as records
from largesse.records.database import Database
from largesse.records.rooms import Room
from largesse.records.users import User
from largesse.rooms.bus import Bus, Topic
from largesse.rooms.hub import Frames, Watcher
from largesse.rooms.live_list import LiveList
from largesse.rooms.live_room import LiveRoom
from largesse.rooms.loop import RoomLoop
from largesse.rooms.open_rooms import OpenRooms
from largesse.rooms.others import Others
from largesse.rooms.purses import Connection, Purse
from largesse.rooms.room import (
    ENDED_BY_CREATOR,
    ENDED_BY_OPERATOR,
    Chatted,
    Followed,
    Liked,
    Person,
    Shared,
    TopGifter,
    top_gifters,
    viewers,
)
from largesse.rooms.wire import Reason

TITLE_LENGTH_MAX = 100
"""The longest title of a room, in characters."""
RESUME_ENTRIES_MAX = 2_000
"""Who missed more gets a snapshot in place of the events."""

Welcome = Callable[[int, Person | None, int | None], bytes]
"""Makes the first frame from the room's number of now, who enters, and the coins in his wallet."""


class LiveRooms:
    """
    The live rooms of this process, and with `is_shared` of all processes on the same records.

    `process_id` is another one for every start of a process; the bus may be missing.
    """

    def __init__(
        self,
        db: Database,
        ledger: Ledger,
        catalog: Catalog,
        clock: Clock,
        environment: Environment,
        *,
        is_shared: bool = False,
        process_id: str = "",
        bus: Bus | None = None,
    ) -> None:
        assert bool(process_id) == is_shared
        self._db = db
        self._ledger = ledger
        self._clock = clock
        self._environment = environment
        self._bus = bus
        self._is_hearing = False
        self.on_key_drop: list[Callable[[str], None]] = []
        """Called with the id of a display key that was taken back, here or in another process."""
        self._live = LiveList(db, is_shared=is_shared)
        self._open = OpenRooms(db, catalog, environment, is_shared=is_shared, bus=bus)
        self._loop = RoomLoop(self._open, db, ledger, catalog, clock, environment)
        if is_shared:
            self._loop.others = Others(
                process_id, db, self._open, self._live, clock, bus, self._loop.tell
            )
        db.on_user_change.append(self.drop_user)
        if bus is not None:
            db.on_user_change.append(self._say_user_changed)
            bus.listen(Topic.USER, self._on_user)
            bus.listen(Topic.KEY, self._on_key)

    # Who is live -----------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the rooms that are live from the records; before the first gift."""
        await self._loop.find_place()
        await self._live.load()

    def find_live(self, room_id: str) -> Room | None:
        """The room if it is live: no I/O, for every gift."""
        return self._live.rooms.get(room_id)

    async def find(self, room_id: str) -> Room | None:
        """The room, live or over; also by an id in capitals, for what is no id names no room."""
        parsed = ids.parse(room_id)
        if parsed is None or len(parsed) != ids.SIZE:
            return None
        return await self._live.find(ids.text(parsed))

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
        self._live.opened(await records.insert(self._db, room))
        if self._bus is not None:
            self._bus.wake(Topic.ROOMS)
        return room

    async def end(self, room_id: str, creator_id: str | None, now: int) -> Room:
        """
        End a room of this creator, or anybody's where an operator asks (`creator_id` is None); one
        that is over stays as it is. Its watchers are told once every gift before it is told.

        Raises:
            Rejected: room_not_found, also for a room of somebody else.
        """
        room = await self.find(room_id)
        if room is None or creator_id not in (None, room.creator_id):
            raise Rejected("room_not_found")

        # After this point it must succeed. A gift that the ledger has taken on is still paid.
        ended = await records.end(self._db, room.id, now=now)
        assert ended is not None
        if self._live.ended(room.id):
            self._loop.end(room.id, ENDED_BY_OPERATOR if creator_id is None else ENDED_BY_CREATOR)
            if self._bus is not None:
                self._bus.wake(Topic.ROOMS)
        return ended

    def viewer_count(self, room_id: str) -> int:
        """How many people watch the room."""
        live = self._open.rooms.get(room_id)
        return 0 if live is None else viewers(live.log.state)

    def top(self, room_id: str) -> tuple[TopGifter, ...]:
        """The top gifters of a room that is live, best first."""
        live = self._open.rooms.get(room_id)
        return () if live is None else top_gifters(live.log.state)

    # Who watches -----------------------------------------------------------------------------

    async def watch(
        self,
        room_id: str,
        connection: Connection,
        user: User | None,
        *,
        last_seq: int | None = None,
        is_batch: bool = False,
        is_audience: bool = True,
        welcome: Welcome | None = None,
    ) -> Watcher:
        """
        Let a connection watch a room until `leave`.

        It is sent what `welcome(seq, person, coins)` makes, then every event that came after
        `last_seq`, or a snapshot where that is None, unknown or too long ago; and then all that
        happens. A screen (`is_audience` false) does not count as a viewer.

        Raises:
            Rejected: room_not_found; room_ended, after the rest of the events where `last_seq`
                asks for them; session_changed (the user's account changed meanwhile).
            RecordsUnavailable, LedgerUnavailable: nothing was sent; ask again.
        """
        room = await self.find(room_id)
        if room is None:
            raise Rejected("room_not_found")
        if room.ended_at is not None and last_seq is None:
            raise Rejected("room_ended")
        changes = self._open.changes_of(None if user is None else user.id)
        live = await self._open.room(room)
        person = None if user is None else await self._open.person(live, user)
        purse = None
        if user is not None:
            purse = Purse(connection, chart.wallet(self._environment, user.id), is_feed=False)
        watcher = Watcher(
            connection, room.id, person, is_batch=is_batch, is_audience=is_audience, purse=purse
        )
        try:
            if purse is not None:
                self._open.purses.add(purse)
                await self._fill(purse)
            missed = await self._missed(live, last_seq)
            # From here on nothing is waited for: what is sent now is the room as it is.
            if user is not None and self._open.changes_of(user.id) != changes:
                raise Rejected("session_changed")
            if live.log.is_closed and not missed:
                raise Rejected("room_ended")
            self._show(live, watcher, welcome, missed, last_seq)
            if live.log.is_closed:
                raise Rejected("room_ended")
        except BaseException:
            if purse is not None:
                self._open.purses.remove(purse)
            raise
        self._open.enter(live, watcher)
        return watcher

    async def watch_person(
        self, user: User, connection: Connection, welcome: Callable[[int], bytes]
    ) -> Purse:
        """
        Tell a connection what is in the user's wallet whenever it changes, until `leave`; first
        what `welcome(coins)` makes.

        Raises:
            Rejected: session_changed (the user's account changed meanwhile).
            LedgerUnavailable: nothing was sent; ask again.
        """
        changes = self._open.changes_of(user.id)
        purse = Purse(connection, chart.wallet(self._environment, user.id), is_feed=True)
        self._open.purses.add(purse)
        try:
            await self._fill(purse)
            if self._open.changes_of(user.id) != changes:
                raise Rejected("session_changed")
        except BaseException:
            self._open.purses.remove(purse)
            raise
        connection.send(welcome(purse.coins))
        purse.is_open = True
        self._open.awake.set()
        return purse

    def leave(self, watcher: Watcher | Purse) -> None:
        """The connection is gone; again is no harm."""
        self._open.leave(watcher)

    def drained(self, watcher: Watcher | Purse) -> None:
        """The connection has taken what waited: whoever was behind gets the whole room, once."""
        purse = watcher if isinstance(watcher, Purse) else watcher.purse
        if purse is not None and purse.is_owed:
            purse.tell()
        if isinstance(watcher, Purse):
            return
        live = self._open.rooms.get(watcher.room_id)
        if live is not None and live.settled.is_set():
            live.show_again()  # Else at the end of the turn.

    def drop_user(self, user_id: str) -> None:
        """Close every connection of a user, whose account or sessions have changed."""
        self._open.drop_user(user_id, self._clock.now())

    def drop_key(self, key_id: str) -> None:
        """A display key was taken back: nobody shows anything by it any more, in any process."""
        self._on_key(key_id)
        if self._bus is not None:
            self._bus.wake(Topic.KEY, key_id)

    def has_changed_since(self, user_id: str, instant: int) -> bool:
        """
        Whether a user's account or sessions have changed after this, so that what he was given
        then, such as a ticket, is good no longer.
        """
        return self._open.has_changed_since(user_id, instant)

    # What watchers do ------------------------------------------------------------------------

    def chat(self, watcher: Watcher, written: str) -> None:
        """
        Say something.

        Raises:
            Rejected: session_required, room_ended, room_busy, chat_empty, chat_too_long.
        """
        live, person = self._entered(watcher)
        self._open.ask(live, Chatted(person, text.chat_text(written)))

    def like(self, watcher: Watcher, count: int) -> None:
        """
        Like the room, several times at once.

        Raises:
            Rejected: session_required, room_ended, room_busy.
        """
        assert count > 0
        live, person = self._entered(watcher)
        self._open.ask(live, Liked(person, count))

    def share(self, watcher: Watcher) -> None:
        """
        Tell that one has passed the room's address on.

        Raises:
            Rejected: session_required, room_ended, room_busy.
        """
        live, person = self._entered(watcher)
        self._open.ask(live, Shared(person))

    async def follow(self, watcher: Watcher, *, is_following: bool) -> None:
        """
        Follow the room's creator, or no longer.

        Raises:
            Rejected: session_required, room_ended, room_busy, self_follow.
        """
        live, person = self._entered(watcher)
        await self.set_following(person.id, live.room.creator_id, is_following=is_following)

    async def set_following(self, user_id: str, creator_id: str, *, is_following: bool) -> bool:
        """
        Follow a creator, or no longer; told in his room if he is live. Says whether it is new.

        Raises:
            Rejected: self_follow, creator_not_found.
        """
        if user_id == creator_id:
            raise Rejected("self_follow")
        creator = await users.find_user(self._db, creator_id)
        if creator is None or "creator" not in creator.roles:
            raise Rejected("creator_not_found")

        if is_following:
            is_new = await follows.follow(self._db, user_id, creator_id, now=self._clock.now())
        else:
            is_new = await follows.unfollow(self._db, user_id, creator_id)
        for room in [room for room in self._live.rooms.values() if room.creator_id == creator_id]:
            live = await self._open.room(room)
            [person] = (await self._open.people(live, {user_id})).values()
            person = msgspec.structs.replace(person, follow_role=int(is_following))
            live.remember(person)
            for watcher in live.hub.of_user(user_id):
                watcher.person = person
            if is_new and is_following:
                self._open.ask(live, Followed(person))
        return is_new

    # The loop --------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something has happened in the ledger: for every gift, so it only sets flags."""
        self._open.has_posted = True
        self._open.awake.set()
        if self._bus is not None:
            self._bus.wake(Topic.LEDGER)

    async def run(self) -> None:
        """Write down and tell what happens, until `stop`."""
        await self._loop.run()

    def stop(self) -> None:
        """Ask the loop to end, after a last turn."""
        self._loop.stop()

    # Within ----------------------------------------------------------------------------------

    def _say_user_changed(self, user_id: str) -> None:
        if self._bus is not None and not self._is_hearing:
            self._bus.wake(Topic.USER, user_id)

    def _on_key(self, key_id: str) -> None:
        for listener in self.on_key_drop:
            listener(key_id)

    def _on_user(self, user_id: str) -> None:
        """Another process has changed a user; where that may have been missed nobody is named."""
        if not user_id:
            return
        self._is_hearing = True
        try:
            self._db.user_changed(user_id)
        finally:
            self._is_hearing = False

    async def _fill(self, purse: Purse) -> None:
        [account] = await self._ledger.lookup_accounts((purse.account_id,))
        if account is None:
            purse.note(0, 0)
        else:
            purse.note(account.debits_posted, account.credits_posted)

    async def _missed(self, live: LiveRoom, last_seq: int | None) -> list[Frames] | None:
        """
        What came after `last_seq` up to now, when the room may be shown; None asks for a snapshot.
        """
        await live.may_be_shown()
        seq = live.log.state.seq
        if last_seq is None or not 0 <= last_seq <= seq or seq - last_seq > RESUME_ENTRIES_MAX:
            return None
        missed: list[Frames] = []
        after = last_seq
        while after < live.log.state.seq:
            to = live.log.state.seq
            missed += await live.frames_between(self._db, after, to)
            after = to
            await live.may_be_shown()
        return missed

    def _show(
        self,
        live: LiveRoom,
        watcher: Watcher,
        welcome: Welcome | None,
        missed: list[Frames] | None,
        last_seq: int | None,
    ) -> None:
        seq, purse = live.log.state.seq, watcher.purse
        if welcome is not None:
            coins = None if purse is None else purse.coins
            watcher.connection.send(welcome(seq, watcher.person, coins))
        if purse is not None:
            purse.is_open = True
        if missed is None:
            reason: Reason = "gap"
            if last_seq is None:
                reason = "start"
            elif not 0 <= last_seq <= seq:
                reason = "seq_unknown"
            watcher.connection.send(live.snapshot(watcher, reason))
        for frames in missed or ():
            live.hub.offer(watcher, frames)
        watcher.seq = seq

    def _entered(self, watcher: Watcher) -> tuple[LiveRoom, Person]:
        live = self._open.rooms.get(watcher.room_id)
        if watcher.person is None:
            raise Rejected("session_required")
        if live is None or watcher.room_id not in self._live.rooms:
            raise Rejected("room_ended")
        return live, watcher.person
