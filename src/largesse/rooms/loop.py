"""
The one loop of all rooms: what happens is written down, and then it is told.

A turn reads what is new in the ledger, decides it together with what watchers asked for, and appends
all of it to the logs in one transaction; a few dozen turns a second at most, and one at once when it
was quiet. Telling is each room's own affair, at most ten times a second. An append that fails is
tried again as it is and nobody is told meanwhile, so no number is ever given twice.

Where several processes have the same rooms, each has this loop. One that has something to append
locks the place of the logs first and takes in what the others appended; whoever has nothing to append
only reads. What was not written after all is read again from the log and decided anew.
"""

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
import structlog

from largesse import ids
from largesse.books import chart, postings
from largesse.books.chart import Environment
from largesse.books.postings import GiftDetails
from largesse.catalog import Catalog
from largesse.clock import SECOND, Clock
from largesse.ledger import Ledger, LedgerUnavailable
from largesse.ledger.model import Change
from largesse.records import projections, room_log
from largesse.records import rooms as records
from largesse.records.database import Database, RecordsUnavailable
from largesse.records.room_log import NOWHERE, Segment, State
from largesse.rooms import log as logs
from largesse.rooms import messages
from largesse.rooms.hub import BEHIND_SECONDS_MAX
from largesse.rooms.live_room import LiveRoom
from largesse.rooms.open_rooms import OpenRooms
from largesse.rooms.others import Others
from largesse.rooms.room import (
    ENDED_BY_CREATOR,
    Command,
    Ended,
    Entry,
    Gifted,
    GiftEntry,
    Person,
    Ticked,
    next_due,
    step,
    take_back,
)

TURN_SECONDS = 0.02
"""Between the beginnings of two turns of the loop, at least: each may be a write to the disk."""
TURN_REST = 10
"""
A turn that was long is followed by a pause of so many times its length, up to `TELL_SECONDS`: it
shares the process with the gifts, and nobody is told more often than that anyway.
"""
TELL_SECONDS = 0.1
"""Between two times that a room's watchers are told something, and between two ticks of a room."""
TELL_BYTES_PER_SECOND = 32 * 1024 * 1024
"""
Bytes a second to all watchers of a room together. A crowd in a flood of gifts would otherwise be
sent hundreds of megabytes a second, and nobody could gift any more: with 1,000 watchers and 2,000
givers the gifts fell to an eighth. More of it, and the room is told less often.
"""
EVENT_BYTES = 1_200
"""About what one event takes on the wire."""
BRIEF_MIN = 8
"""Events of one telling that even the largest crowd gets."""
IDLE_SECONDS = 1.0
"""The longest pause of the loop; while anybody watches it is `TELL_SECONDS`."""
FAILURE_SECONDS = 0.5
"""The pause after a turn that failed."""
CHANGES_PER_TURN = 500
"""Changes of the ledger in one turn, so that a turn is short."""
STEPS_PER_PAUSE = 100
"""Commands decided before the loop gives the others a turn: about a millisecond."""
UNWRITTEN_CHANGES_MAX = 10_000
"""Changes without a gift that are read before the place in them is written down."""
OTHERS_SECONDS = 0.25
"""
How long what any of several processes may do is left to the one that is nearest: a gift to who
took it on, a tick to who has watchers. Then whoever comes first does it.
"""
LOOK_SECONDS = 0.5
"""How often one of several processes looks into the ledger for gifts that nobody appended."""

log = structlog.get_logger()


class _Unwritten(msgspec.Struct):
    """A turn's append: what is decided and not on the disk yet. `was_tried` may have worked."""

    made: list[tuple[LiveRoom, list[Entry]]]
    segments: list[Segment]
    states: list[State]
    after: int
    to: int
    was_tried: bool = False
    turn: int = 0


class RoomLoop:
    """
    Follows the ledger and the watchers, for all rooms in memory.

    `others` is given where several processes have the same rooms.
    """

    def __init__(
        self,
        open_rooms: OpenRooms,
        db: Database,
        ledger: Ledger,
        catalog: Catalog,
        clock: Clock,
        environment: Environment,
    ) -> None:
        self.others: Others | None = None
        self._open = open_rooms
        self._db = db
        self._ledger = ledger
        self._catalog = catalog
        self._clock = clock
        self._environment = environment
        self._ending: dict[str, int] = {}
        self._read_to = self._written_to = NOWHERE
        self._unwritten: _Unwritten | None = None
        self._changes_unwritten = 0
        self._is_stopping = self._is_failing = False
        self._turn_at = self._kept_house_at = 0.0
        self._gifts_read: list[GiftDetails] = []
        self._take_at = self._look_at = 0.0

    def end(self, room_id: str, action_id: int) -> None:
        """A room is over: tell it once every gift before it is told."""
        self._ending[room_id] = action_id
        self._open.awake.set()

    def stop(self) -> None:
        """Ask the loop to end, after a last turn."""
        self._is_stopping = True
        self._open.awake.set()

    async def run(self) -> None:
        """Write down and tell what happens, until `stop`."""
        has_more = False
        try:
            while not self._is_stopping:
                await self._rest(has_more)
                has_more = await self._try_turn()
            if self._written_to != NOWHERE:
                while await self._turn():
                    pass
                await self._finish()
        except (RecordsUnavailable, LedgerUnavailable) as error:
            log.warning("rooms_not_finished", problem=str(error))
        finally:
            telling = [
                live.telling for live in self._open.rooms.values() if live.telling is not None
            ]
            for task in telling:
                task.cancel()
            await asyncio.gather(*telling, return_exceptions=True)

    async def _rest(self, has_more: bool) -> None:
        """Wait until there may be something to do, less long while anybody would see it late."""
        if has_more:
            await asyncio.sleep(0)
            return
        somebody = self._open.is_watched()
        if not self._open.awake.is_set():
            try:
                async with asyncio.timeout(TELL_SECONDS if somebody else IDLE_SECONDS):
                    await self._open.awake.wait()
            except TimeoutError:
                pass
        pause = self._turn_at - _time()
        if pause > 0:
            await asyncio.sleep(pause)

    async def _try_turn(self) -> bool:
        """A turn; whether there is more to do at once. What fails is tried again, and told once."""
        self._open.awake.clear()
        began = _time()
        try:
            if self._written_to == NOWHERE:
                await self._begin()
            has_more = await self._turn()
            self._is_failing = False
            rest = min(TELL_SECONDS, (_time() - began) * TURN_REST)
            self._turn_at = began + max(TURN_SECONDS, rest)
            return has_more
        except (RecordsUnavailable, LedgerUnavailable) as error:
            if not self._is_failing:
                log.warning("rooms_wait", problem=str(error))
            self._is_failing = True
        except Exception:
            log.exception("rooms_failed")
            await self._begin_again()
        await asyncio.sleep(FAILURE_SECONDS)
        return True

    async def _finish(self) -> None:
        if self.others is None:
            await self._write_place(states=True)
            return
        await self._mend()
        await self.others.leave()

    async def _turn(self) -> bool:
        if self.others is not None:
            return await self._turn_of_many(self.others)
        if self._unwritten is not None:
            await self._write()
        ending = dict(self._ending)
        if ending:
            await self._reach_the_ledgers_end()
        changes = await self._ledger.changes(self._read_to, CHANGES_PER_TURN)
        has_more = len(changes) == CHANGES_PER_TURN
        self._open.purses.take(changes)
        commands = await self._gifts(_gifts_in(changes))
        for live in self._open.rooms.values():
            if live.waiting or live.room.id in ending or self._tick_is_due(live):
                commands.setdefault(live, [])
        if has_more:
            ending.clear()  # There may be gifts of theirs that are not read yet.
        for room_id, action_id in ending.items():
            over = await self._open.room_of(room_id)
            assert over is not None
            commands.setdefault(over, []).append(Ended(action_id))
        made = await self._decide(commands)
        if changes:
            self._read_to = changes[-1].timestamp
            self._changes_unwritten += len(changes)
        for room_id in ending:
            del self._ending[room_id]
        await self._append(list(commands), made)
        self._keep_house()
        return has_more

    async def _decide(
        self, commands: dict[LiveRoom, list[Command]]
    ) -> list[tuple[LiveRoom, list[Entry]]]:
        """Step every room; from here on no room may be shown until its entries are on the disk."""
        now, time = self._clock.now(), _time()
        made = []
        steps = 0
        for live in commands:
            live.settled.clear()
        for live, gifts_and_end in commands.items():
            state = live.log.state
            entries: list[Entry] = []
            end = [gifts_and_end.pop()] if _is_end(gifts_and_end) else []
            waiting, live.waiting = live.waiting, []
            for command in (*gifts_and_end, *waiting, *end):
                entries += step(state, command, now)
                steps += 1
                if steps % STEPS_PER_PAUSE == 0:
                    await asyncio.sleep(0)
            due = next_due(state)
            if due is not None and due <= now and time - live.ticked_at >= TELL_SECONDS:
                live.ticked_at = time
                entries += step(state, Ticked(), now)
            if entries:
                live.log.take(entries)
                made.append((live, entries))
        return made

    async def _append(
        self, rooms: Iterable[LiveRoom], made: list[tuple[LiveRoom, list[Entry]]]
    ) -> None:
        if made:
            time = _time()
            self._unwritten = _Unwritten(
                made,
                [logs.segment(live.room.id, entries) for live, entries in made],
                [live.log.copy(time) for live, _ in made if live.log.copy_is_due(time)],
                after=self._written_to,
                to=self._read_to,
            )
            with_entries = {live for live, _ in made}
            for live in rooms:
                if live not in with_entries:
                    self._settle(live)
            await self._write()
            return
        for live in rooms:
            self._settle(live)
        if self._changes_unwritten >= UNWRITTEN_CHANGES_MAX:
            await self._write_place()

    async def _write(self) -> None:
        """Write what was decided; whatever is in the way, it is the same bytes the next time."""
        unwritten = self._unwritten
        assert unwritten is not None
        if not (unwritten.was_tried and await self._is_written(unwritten)):
            unwritten.was_tried = True
            await room_log.append(
                self._db,
                unwritten.segments,
                unwritten.states,
                after=unwritten.after,
                to=unwritten.to,
            )
        self._note_written(unwritten)

    def _note_written(self, unwritten: _Unwritten) -> None:
        self._unwritten = None
        self._written_to = unwritten.to
        self._changes_unwritten = 0
        for live, entries in unwritten.made:
            live.untold += entries
            self._settle(live)
            self.tell(live)

    async def _is_written(self, unwritten: _Unwritten) -> bool:
        """Whether an append that broke off is on the disk after all: it is whole, or not there."""
        segment = unwritten.segments[0]
        found = await room_log.find(self._db, segment.room_id)
        return found is not None and found[0].seq >= segment.last_seq

    async def _write_place(self, *, states: bool = False) -> None:
        """Write how far the changes are read, and at the end of the process every room's state."""
        if self._unwritten is not None or self._written_to == NOWHERE:
            return
        copies = [
            live.log.copy(_time())
            for live in self._open.rooms.values()
            if states and live.log.state.seq > live.log.copied_seq
        ]
        if copies or self._read_to != self._written_to:
            await room_log.append(self._db, [], copies, after=self._written_to, to=self._read_to)
        self._written_to = self._read_to
        self._changes_unwritten = 0

    def _settle(self, live: LiveRoom) -> None:
        live.settled.set()
        live.show_again()

    def tell(self, live: LiveRoom) -> None:
        """A room has something to tell that is on the disk."""
        if live.telling is None:
            live.telling = asyncio.create_task(self._tell(live))

    async def _tell(self, live: LiveRoom) -> None:
        """Tell what is on the disk: at once where it was quiet, otherwise ten times a second."""
        try:
            while live.untold:
                pause = live.tell_at - _time()
                if pause > 0:
                    await asyncio.sleep(pause)
                entries, live.untold = live.untold, []
                began = _time()
                sent = await _tell_watchers(live, messages.merge(entries)) if live.hub else 0
                live.tell_at = began + max(TELL_SECONDS, sent / TELL_BYTES_PER_SECOND)
        except Exception:
            log.exception("room_not_told", room_id=live.room.id)
        finally:
            live.telling = None
        if live.log.is_closed:
            self._open.close(live)

    async def find_place(self) -> int:
        """
        The place in the ledger's changes at which the logs are.

        At the first start that is the end: what happened before there were logs is not told. So
        it has to be found before the first gift of this process.
        """
        place = await room_log.position(self._db)
        if place == NOWHERE:
            place = await projections.position(self._db)
            while changes := await self._ledger.changes(place):
                place = changes[-1].timestamp
            if self.others is None:
                await room_log.append(self._db, [], [], after=NOWHERE, to=place)
        if self.others is not None:
            return await self.others.begin(place)
        return place

    async def _begin(self) -> None:
        """
        Find the rooms that are live, and those that were being ended.

        Among several processes another one may be about to write the end; that is looked for later.
        """
        place = await self.find_place()
        for room in await records.live(self._db):
            await self._open.room(room)
        if self.others is None:
            for room_id in await room_log.unfinished(self._db):
                self._ending.setdefault(room_id, ENDED_BY_CREATOR)
        self._read_to = self._written_to = place

    async def _begin_again(self) -> None:
        """
        A fault of ours, half-way through a turn: all that memory says is read from the disk again.

        Who is here stays here, and is shown the room whole.
        """
        self._unwritten = None
        self._read_to = self._written_to = NOWHERE
        self._gifts_read.clear()
        for live in list(self._open.rooms.values()):
            try:
                fresh = await self._open.load(live.room)
            except RecordsUnavailable:
                log.warning("room_not_read", room_id=live.room.id)
                self._open.close(live)
                continue
            audience, before = fresh.state.audience, live.log.state.audience
            audience.connections, audience.nobodies = before.connections, before.nobodies
            audience.left_at = before.left_at
            audience.changed_since = 0
            live.log = fresh
            live.untold.clear()
            live.settled.set()
            live.show_again(everybody=True)

    # Turns of several processes --------------------------------------------------------------

    async def _turn_of_many(self, others: Others) -> bool:
        """What nobody else may have changed is read before the lock, so that it is held shortly."""
        await self._mend()
        for room_id in await others.look():
            self._ending.setdefault(room_id, ENDED_BY_CREATOR)
        ending = dict(self._ending)
        if ending:
            await self._reach_the_ledgers_end()
        self._written_to = (await others.read_log()).after
        has_more = await self._follow_ledger(is_ending=bool(ending))
        if has_more:
            ending.clear()  # There may be gifts of theirs that are not read yet.
        time = _time()
        if (
            ending
            or (self._gifts_read and time >= self._take_at)
            or self._changes_unwritten >= UNWRITTEN_CHANGES_MAX
            or any(self._is_due(live, time) for live in self._open.rooms.values())
        ):
            gifts = await self._gifts_by_room(self._gifts_read)
            await self._append_in_turn(others, gifts, ending)
        self._keep_house()
        return has_more

    async def _follow_ledger(self, *, is_ending: bool) -> bool:
        """
        Read what is new in the ledger, where anybody here has to know; whether there is more.

        The balances of whoever is connected here are read here. Of the gifts, those after the place
        of the logs are kept until some process has appended them.
        """
        time, place = _time(), self._written_to
        self._gifts_read = [each for each in self._gifts_read if each.timestamp > place]
        if self._read_to <= place:
            self._changes_unwritten = 0
            if not self._open.purses:
                self._read_to = place
        has_posted, self._open.has_posted = self._open.has_posted, False
        if has_posted:
            self._take_at = time
        elif not (is_ending or self._open.purses or time >= self._look_at):
            return False
        self._look_at = time + LOOK_SECONDS
        changes = await self._ledger.changes(self._read_to, CHANGES_PER_TURN)
        self._open.purses.take(changes)
        gifts = [each for each in _gifts_in(changes) if each.timestamp > place]
        if gifts and not self._gifts_read and not has_posted:
            self._take_at = time + OTHERS_SECONDS
        self._gifts_read += gifts
        if changes:
            self._read_to = changes[-1].timestamp
            self._changes_unwritten += len(changes)
        has_more = len(changes) == CHANGES_PER_TURN
        self._open.has_posted |= has_posted and has_more
        return has_more

    def _is_due(self, live: LiveRoom, time: float) -> bool:
        """Whether there is something in a room that this process should decide now."""
        presence = live.presence
        if live.waiting or (presence.has_changed and presence.may_tell(time)):
            return True
        due = next_due(live.log.state)
        if due is None or time - live.ticked_at < TELL_SECONDS:
            return False
        return due <= self._clock.now() - (0 if live.hub else int(OTHERS_SECONDS * SECOND))

    async def _append_in_turn(
        self, others: Others, gifts: dict[str, list[Gifted]], ending: dict[str, int]
    ) -> None:
        """Lock the place of the logs, take in what others appended, decide, append."""
        async with self._db.begin() as tx:
            place = await room_log.take_turn(tx)
            await others.read_up_to(tx, place.turn)
            time = _time()
            commands = await self._commands_in_turn(gifts, ending, place.after)
            crowds = [live for live in commands if _is_to_be_counted(live, time)]
            changes = await others.count(tx, crowds)
            for live in crowds:
                live.ticked_at = 0.0  # Who is said to be here has to be announced in this turn.
            made = await self._decide(commands)
            segments = [logs.segment(live.room.id, entries) for live, entries in made]
            states = [live.log.copy(time) for live, _ in made if live.log.copy_is_due(time)]
            to = max(place.after, self._read_to)
            if made:
                self._unwritten = _Unwritten(
                    made, segments, states, place.after, to, turn=place.turn + 1
                )
            for live in commands.keys() - {live for live, _ in made}:
                self._settle(live)
            new = await room_log.append_in_turn(tx, place, segments, states, to=to)
            await others.forget([each.room_id for each in segments if each.closes], tx)

        # It is on the disk: from here on nothing is waited for.
        self._open.turn = new.turn
        self._written_to, self._changes_unwritten = to, 0
        self._gifts_read = [each for each in self._gifts_read if each.timestamp > to]
        for live, number in zip(crowds, changes, strict=True):
            live.presence.note_told(number, time)
        for room_id in ending:
            self._ending.pop(room_id, None)
        if self._unwritten is not None:
            self._note_written(self._unwritten)
            others.announce(segments)

    async def _commands_in_turn(
        self, gifts: dict[str, list[Gifted]], ending: dict[str, int], place: int
    ) -> dict[LiveRoom, list[Command]]:
        commands: dict[LiveRoom, list[Command]] = {}
        for room_id in gifts.keys() | ending.keys():
            live = await self._open.room_of(room_id)
            assert live is not None
            new = [each for each in gifts.get(room_id, ()) if each.at > place]
            end = [Ended(ending[room_id])] if room_id in ending else []
            if new or end:
                commands[live] = [*new, *end]
        time = _time()
        for live in self._open.rooms.values():
            if self._is_due(live, time):
                commands.setdefault(live, [])
        return commands

    async def _mend(self) -> None:
        """
        A turn that broke off: it was written, or its rooms are read again as the others see them.

        Nobody has been told of it, and its numbers may be somebody else's by now.
        """
        unwritten = self._unwritten
        if unwritten is None:
            return
        async with self._db.begin() as tx:
            await room_log.take_turn(tx)
            is_written = await room_log.is_written(tx, unwritten.turn, unwritten.segments)
        if is_written:
            self._open.turn = unwritten.turn
            self._note_written(unwritten)
            return
        while unwritten.made:
            await self._read_again(*unwritten.made[-1])
            unwritten.made.pop()
        self._unwritten = None

    async def _read_again(self, live: LiveRoom, entries: list[Entry]) -> None:
        fresh = await self._open.load(live.room)
        missed = await logs.read(self._db, live.room.id, entries[0].seq - 1, fresh.state.seq)
        audience = live.log.state.audience
        audience.due = fresh.state.audience.due
        audience.changed_since = self._clock.now()
        live.waiting[:0] = take_back(audience, entries)
        fresh.state.audience = audience
        live.log = fresh
        live.untold += missed
        self._settle(live)
        if missed:
            self.tell(live)

    async def _reach_the_ledgers_end(self) -> None:
        """
        Wait until every gift that was asked for before is decided and among the changes.

        Calls are decided in their order, so one that changes nothing is answered after them all.
        """
        house = chart.house_accounts(self._environment, (), ())
        await self._ledger.create_accounts(house[:1])

    async def _gifts(self, gifts: Sequence[GiftDetails]) -> dict[LiveRoom, list[Command]]:
        """Gifts as commands to their rooms."""
        commands: dict[LiveRoom, list[Command]] = {}
        for room_id, gifted in (await self._gifts_by_room(gifts)).items():
            live = await self._open.room_of(room_id)
            assert live is not None
            commands[live] = [*gifted]
        return commands

    async def _gifts_by_room(self, gifts: Sequence[GiftDetails]) -> dict[str, list[Gifted]]:
        if not gifts:
            return {}
        owners = await projections.owners_of(
            self._ledger, {gift.viewer_account_id for gift in gifts}
        )
        by_room: dict[str, list[GiftDetails]] = {}
        for gift in gifts:
            by_room.setdefault(gift.room_id, []).append(gift)
        names = {account_id: ids.text(owner) for account_id, owner in owners.items()}
        commands: dict[str, list[Gifted]] = {}
        for room_id, its_gifts in by_room.items():
            live = await self._open.room_of(room_id)
            if live is None:  # Records that were restored from before the room.
                log.warning("gifts_without_room", room_id=room_id, gifts=len(its_gifts))
                continue
            givers = {names[gift.viewer_account_id] for gift in its_gifts}
            people = await self._open.people(live, givers)
            commands[room_id] = [
                self._gifted(gift, people[names[gift.viewer_account_id]]) for gift in its_gifts
            ]
        return commands

    def _gifted(self, gift: GiftDetails, person: Person) -> Gifted:
        item = self._catalog.item_of_number(gift.item_number)
        return Gifted(
            person,
            gift.gift_id,
            gift.item_number,
            gift.coins // gift.quantity,
            item is not None and item.streakable,
            0 if item is None else item.combo_seconds * SECOND,
            gift.quantity,
            gift.coins,
            gift.timestamp,
        )

    def _tick_is_due(self, live: LiveRoom) -> bool:
        due = next_due(live.log.state)
        return due is not None and due <= self._clock.now()

    def _keep_house(self) -> None:
        """Now and then: who has been behind too long goes, and so does a room that is over."""
        time = _time()
        if time - self._kept_house_at < IDLE_SECONDS:
            return
        self._kept_house_at = time
        for live in list(self._open.rooms.values()):
            if live.settled.is_set():
                live.show_again()
            for watcher in live.hub.behind():
                assert watcher.behind_since is not None
                if time - watcher.behind_since >= BEHIND_SECONDS_MAX:
                    self._open.dismiss(watcher, "too_slow")
            if live.log.is_closed and live.telling is None:
                self._open.close(live)


def _gifts_in(changes: Sequence[Change]) -> list[GiftDetails]:
    is_gift, details = postings.is_gift, postings.gift_details
    return [details(each.chain) for each in changes if each.chain and is_gift(each.chain)]


async def _tell_watchers(live: LiveRoom, entries: list[Entry]) -> int:
    """
    Send entries to everybody; the number of bytes.

    What a crowd is sent has a bound in bytes, not in gifts: in a flood those who take arrays get
    the most telling entries. Who takes single frames counts them, so he gets them all.
    """
    most = max(BRIEF_MIN, int(TELL_BYTES_PER_SECOND * TELL_SECONDS / (EVENT_BYTES * len(live.hub))))
    kept = messages.brief(entries, most)
    brief = frames = live.frames(kept)
    if len(kept) < len(entries) and live.hub.takes_single_frames:
        frames = live.frames(entries)
    gifters = [each.person.id for each in kept if isinstance(each, GiftEntry)]
    return await live.hub.tell(frames, dict.fromkeys(gifters), brief=brief)


def _is_to_be_counted(live: LiveRoom, time: float) -> bool:
    """Whether who is here, or who is elsewhere, matters to what is told of the room now."""
    audience, presence = live.log.state.audience, live.presence
    if not presence.may_tell(time):
        return False
    return presence.has_changed or bool(audience.arrivals) or audience.changed_since is not None


def _is_end(commands: Sequence[Command]) -> bool:
    return bool(commands) and isinstance(commands[-1], Ended)


def _time() -> float:
    return asyncio.get_running_loop().time()
