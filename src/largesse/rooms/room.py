"""
One room as everybody sees it: commands in, numbered entries out.

Pure: what time it is comes in with each call. `step` decides and changes the state in place;
`replay` makes the same change from the entry alone, so that a room that was forgotten is built again
from its log. What only holds while people are connected, the `Audience`, is in no log.
"""

import heapq
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from largesse.clock import SECOND

STREAK_MARGIN = 300_000_000
"""
How much longer than its window a streak waits for the clock, in nanoseconds, so that a gift on its
way to the disk is not cut off. Which gifts belong together is decided without it, by the ledger.
"""
TOP_MAX = 10
"""Gifters that are told as the top ones."""
MEMBERS_PER_TICK = 10
"""Arrivals told at once; whoever else came in the same tick is counted and not announced."""
LIKERS_PER_TICK = 50
"""People whose likes are told at once; those of the others add up until the next tick."""
MEMBER_QUIET = 60 * SECOND
"""Who comes back so soon after leaving is not announced again."""
ROOM_USER_EVERY = 2 * SECOND
"""Viewers and top gifters are told at most so often."""

ENDED_BY_CREATOR, ENDED_BY_OPERATOR = 3, 4
"""Why a room ended, in the numbers that other people's programs know."""


class Person(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    Somebody as everybody sees him. `nickname` is the name to show, never empty; `follow_role` is 1
    for who follows the creator. Nobody, a watcher without an account, is None.
    """

    id: str
    login: str
    nickname: str
    follow_role: int = 0
    is_moderator: bool = False


class TopGifter(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One of the top gifters, with what he has given in this room, in coins."""

    person: Person
    coins: int


# Commands --------------------------------------------------------------------------------------


class Entered(msgspec.Struct, frozen=True, gc=False):
    """A connection of this person opened."""

    person: Person | None


class Left(msgspec.Struct, frozen=True, gc=False):
    """A connection that had entered is closed."""

    person: Person | None


class Chatted(msgspec.Struct, frozen=True, gc=False):
    """Somebody wrote; the text is cleaned already."""

    person: Person
    text: str


class Liked(msgspec.Struct, frozen=True, gc=False):
    person: Person
    count: int


class Followed(msgspec.Struct, frozen=True, gc=False):
    """Somebody follows the creator now, and did not before."""

    person: Person


class Shared(msgspec.Struct, frozen=True, gc=False):
    person: Person


class Gifted(msgspec.Struct, frozen=True, gc=False):
    """
    The ledger has a gift: `quantity` items at `unit_coins` each, `coins` together, at `at` by the
    ledger's own clock. Each gift comes once, in the ledger's order. `combo_ns` is how long after it
    the next one still belongs to the same streak.
    """

    person: Person
    order_id: str
    item_number: int
    unit_coins: int
    is_streakable: bool
    combo_ns: int
    quantity: int
    coins: int
    at: int


class Ticked(msgspec.Struct, frozen=True, gc=False):
    """Time has passed; `next_due` says when this is worth it."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The room is over: `ENDED_BY_CREATOR` or `ENDED_BY_OPERATOR`."""

    action_id: int


Command = Entered | Left | Chatted | Liked | Followed | Shared | Gifted | Ticked | Ended


# Entries ---------------------------------------------------------------------------------------
# Each has its number in the room, `seq`, and when it happened, `at`, in Unix milliseconds. `rank` is
# the person's place among the top gifters at that moment, 0 for none.


class GiftEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="gift"):
    """
    A gift, or the end of a streak.

    `repeat_count` is cumulative: all items of the streak so far. An item that cannot streak has one
    entry, its own end. A streak has one entry for each gift and one more as its end, which is the
    last gift's again but for `seq`, `at`, `rank` and `repeat_end`. `group_id` names the streak: it
    is the order id of its first gift. `quantity` is of this gift alone, `paid_at` its instant in the
    ledger, in nanoseconds.
    """

    seq: int
    at: int
    person: Person
    rank: int
    order_id: str
    group_id: str
    receiver_id: str
    item_number: int
    unit_coins: int
    is_streakable: bool
    repeat_count: int
    repeat_end: bool
    quantity: int
    paid_at: int
    combo_ns: int


class ChatEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="chat"):
    seq: int
    at: int
    person: Person
    rank: int
    text: str


class LikeEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="like"):
    """Likes of one person since his last entry, and all likes of the room with them."""

    seq: int
    at: int
    person: Person
    rank: int
    count: int
    total: int


class MemberEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="member"):
    """Somebody came in."""

    seq: int
    at: int
    person: Person
    rank: int


class FollowEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="follow"):
    """Somebody follows the creator; told once for each person."""

    seq: int
    at: int
    person: Person
    rank: int


class ShareEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="share"):
    seq: int
    at: int
    person: Person
    rank: int


class RoomUserEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="roomUser"):
    """How many watch, and the top gifters, best first."""

    seq: int
    at: int
    viewers: int
    top: tuple[TopGifter, ...]


class StreamEndEntry(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="streamEnd"):
    """The room is over. Only gifts that were paid before may still come after it."""

    seq: int
    at: int
    action_id: int


Entry = (
    GiftEntry
    | ChatEntry
    | LikeEntry
    | MemberEntry
    | FollowEntry
    | ShareEntry
    | RoomUserEntry
    | StreamEndEntry
)


# State -----------------------------------------------------------------------------------------


class Gifter(msgspec.Struct, array_like=True):
    """What one person has given here; `rank` is 1 for the best, 0 outside the top."""

    person: Person
    coins: int
    reached_at: int
    rank: int = 0


class Audience(msgspec.Struct):
    """
    Who is connected, and what waits to be told. A restart forgets it, and people connect again.

    `due` holds when a streak may be over, at the earliest, as (instant, person id, group id); a gift
    that lengthens a streak leaves it there, so each is looked at again when its turn comes.

    Where several processes have the room, `elsewhere` are the marks of the people whom others have,
    `also_elsewhere` how many of those are here too, and `seen_elsewhere` who was announced or left
    there, and when.
    """

    connections: dict[str, int] = {}
    nobodies: int = 0
    left_at: dict[str, int] = {}
    arrivals: dict[str, Person] = {}
    likes: dict[str, Liked] = {}
    waiting_since: int = 0
    changed_since: int | None = 0
    due: list[tuple[int, str, str]] = []
    elsewhere: frozenset[int] = frozenset()
    nobodies_elsewhere: int = 0
    also_elsewhere: int = 0
    seen_elsewhere: dict[int, int] = {}


class RoomState(msgspec.Struct):
    """
    A room. `streaks` holds the newest entry of every open streak, of which a person has one at most;
    `gifters` everybody who gave, `top` the best of them; `told` is the last roomUser.
    """

    room_id: str
    creator: Person
    seq: int = 0
    likes: int = 0
    is_over: bool = False
    told: RoomUserEntry | None = None
    streaks: dict[str, GiftEntry] = {}
    gifters: dict[str, Gifter] = {}
    top: list[Gifter] = []
    followers: set[str] = set()
    audience: Audience = msgspec.field(default_factory=Audience)


def viewers(state: RoomState) -> int:
    """
    How many people watch: each once, whatever he opens, and every connection of nobody.

    Where nothing has changed here since the number was told, it is the one that was told: another
    process may have told it, and knows more of its own people than we do.
    """
    audience, told = state.audience, state.told
    if told is not None and audience.changed_since is None:
        return told.viewers
    return _counted(audience)


@lru_cache(maxsize=100_000)
def mark(person_id: str) -> int:
    """Eight bytes for a person, as a number: enough to count everybody once over all processes."""
    return int.from_bytes(blake2b(person_id.encode(), digest_size=8).digest(), "big")


def top_gifters(state: RoomState) -> tuple[TopGifter, ...]:
    """The top gifters, best first: by coins, and of equals who reached them first."""
    return tuple(TopGifter(gifter.person, gifter.coins) for gifter in state.top)


# Commands in, entries out ----------------------------------------------------------------------


def step(state: RoomState, command: Command, now: int) -> list[Entry]:
    """
    Do what the command says, and return what everybody is told of it, numbered without gap.

    In a room that is over only gifts are told, with their end at once: they were paid before.
    """
    return _STEPS[type(command)](state, command, now)


def next_due(state: RoomState) -> int | None:
    """The next instant at which `Ticked` has something to do; None while nothing waits."""
    if state.is_over:
        return None
    audience = state.audience
    found = []
    if audience.arrivals or audience.likes:
        found.append(audience.waiting_since)
    if (ends_at := _first_over_at(state)) is not None:
        found.append(ends_at)
    if (telling_at := _telling_at(state)) is not None:
        found.append(telling_at)
    return min(found, default=None)


def _entered(state: RoomState, command: Entered, now: int) -> list[Entry]:
    audience, person = state.audience, command.person
    if person is None:
        audience.nobodies += 1
        return _changed(audience, now)
    if person.id == state.creator.id:  # He is why the others are here, no viewer of his own.
        return []
    count = audience.connections[person.id] = audience.connections.get(person.id, 0) + 1
    if count > 1:
        return []
    left_at = audience.left_at.pop(person.id, None)
    if audience.elsewhere or audience.seen_elsewhere:
        if mark(person.id) in audience.elsewhere:
            audience.also_elsewhere += 1
            return _changed(audience, now)
        left_at = max(left_at or 0, audience.seen_elsewhere.get(mark(person.id), 0)) or None
    if not state.is_over and (left_at is None or now - left_at >= MEMBER_QUIET):
        _waits(audience, now)
        audience.arrivals[person.id] = person
    return _changed(audience, now)


def _left(state: RoomState, command: Left, now: int) -> list[Entry]:
    audience, person = state.audience, command.person
    if person is None:
        assert audience.nobodies > 0
        audience.nobodies -= 1
        return _changed(audience, now)
    if person.id == state.creator.id:
        return []
    audience.connections[person.id] -= 1
    if audience.connections[person.id]:
        return []
    del audience.connections[person.id]
    _changed(audience, now)
    _forget_who_left_long_ago(audience, now)
    if audience.arrivals.pop(person.id, None) is None:  # Else nobody has heard of him yet.
        audience.left_at[person.id] = now
    if audience.elsewhere and mark(person.id) in audience.elsewhere:
        audience.also_elsewhere -= 1
        return []
    streak = state.streaks.get(person.id)
    return [] if streak is None else [_end(state, streak, now)]


def _chatted(state: RoomState, command: Chatted, now: int) -> list[Entry]:
    if state.is_over:
        return []
    person = command.person
    return [ChatEntry(_number(state), now // 1_000_000, person, _rank(state, person), command.text)]


def _liked(state: RoomState, command: Liked, now: int) -> list[Entry]:
    """Nothing yet: the likes of a tick are told together."""
    if state.is_over:
        return []
    audience, person = state.audience, command.person
    _waits(audience, now)
    before = audience.likes.get(person.id)
    count = command.count if before is None else before.count + command.count
    audience.likes[person.id] = Liked(person, count)
    return []


def _followed(state: RoomState, command: Followed, now: int) -> list[Entry]:
    person = command.person
    if state.is_over or person.id in state.followers:
        return []
    state.followers.add(person.id)
    return [FollowEntry(_number(state), now // 1_000_000, person, _rank(state, person))]


def _shared(state: RoomState, command: Shared, now: int) -> list[Entry]:
    if state.is_over:
        return []
    person = command.person
    return [ShareEntry(_number(state), now // 1_000_000, person, _rank(state, person))]


def _gifted(state: RoomState, command: Gifted, now: int) -> list[Entry]:
    assert command.coins == command.unit_coins * command.quantity > 0
    person, at = command.person, command.at
    entries: list[Entry] = []
    streak = state.streaks.get(person.id)
    if streak is not None and not _continues(streak, command):
        entries.append(_end(state, streak, now))
        streak = None

    rank = _count(state, person, command.coins, at)
    if state.audience.changed_since is None and rank:
        state.audience.changed_since = now
    before = 0 if streak is None else streak.repeat_count
    state.seq += 1
    entry = GiftEntry(
        state.seq,
        at // 1_000_000,
        person,
        rank,
        command.order_id,
        command.order_id if streak is None else streak.group_id,
        state.creator.id,
        command.item_number,
        command.unit_coins,
        command.is_streakable,
        before + command.quantity,
        not command.is_streakable,
        command.quantity,
        at,
        command.combo_ns,
    )
    entries.append(entry)
    if command.is_streakable:
        _keep_open(state, entry)
        if state.is_over:
            entries.append(_end(state, entry, now))
    return entries


def _ticked(state: RoomState, command: Ticked, now: int) -> list[Entry]:
    if state.is_over:
        return []
    entries: list[Entry] = []
    while (ends_at := _first_over_at(state)) is not None and ends_at <= now:
        _, person_id, _ = heapq.heappop(state.audience.due)
        entries.append(_end(state, state.streaks[person_id], now))
    entries += _told_members(state, now)
    entries += _told_likes(state, now, LIKERS_PER_TICK)
    telling_at = _telling_at(state)
    if telling_at is not None and telling_at <= now:
        count, top = _counted(state.audience), top_gifters(state)
        state.told = RoomUserEntry(_number(state), now // 1_000_000, count, top)
        state.audience.changed_since = None
        entries.append(state.told)
    return entries


def _ended(state: RoomState, command: Ended, now: int) -> list[Entry]:
    if state.is_over:
        return []
    entries: list[Entry] = [_end(state, streak, now) for streak in [*state.streaks.values()]]
    entries += _told_likes(state, now, len(state.audience.likes))
    state.audience.arrivals.clear()
    state.audience.due.clear()
    state.is_over = True
    entries.append(StreamEndEntry(_number(state), now // 1_000_000, command.action_id))
    return entries


_STEPS: dict[type, Callable[[RoomState, Any, int], list[Entry]]] = {
    Entered: _entered,
    Left: _left,
    Chatted: _chatted,
    Liked: _liked,
    Followed: _followed,
    Shared: _shared,
    Gifted: _gifted,
    Ticked: _ticked,
    Ended: _ended,
}


# Entries in ------------------------------------------------------------------------------------


def replay(state: RoomState, entry: Entry) -> None:
    """Bring the state to where `step` had it after this entry; all but the audience."""
    assert entry.seq == state.seq + 1, f"entry {entry.seq} after {state.seq}"
    state.seq = entry.seq
    match entry:
        case GiftEntry(is_streakable=True, repeat_end=True):
            del state.streaks[entry.person.id]
        case GiftEntry():
            _count(state, entry.person, entry.unit_coins * entry.quantity, entry.paid_at)
            if entry.is_streakable:
                _keep_open(state, entry)
        case LikeEntry():
            state.likes = entry.total
        case FollowEntry():
            state.followers.add(entry.person.id)
        case RoomUserEntry():
            state.told = entry
        case StreamEndEntry():
            state.is_over = True


# Other processes -------------------------------------------------------------------------------


def look_elsewhere(state: RoomState, people: frozenset[int], nobodies: int, now: int) -> None:
    """Take in whom other processes have in this room, as marks; what that changes is told."""
    audience = state.audience
    if (people, nobodies) != (audience.elsewhere, audience.nobodies_elsewhere):
        seen = audience.seen_elsewhere
        seen.update(dict.fromkeys(audience.elsewhere - people, now))
        for number in [number for number, at in seen.items() if now - at >= MEMBER_QUIET]:
            del seen[number]
        audience.elsewhere, audience.nobodies_elsewhere = people, nobodies
        audience.also_elsewhere = sum(mark(id) in people for id in audience.connections)
    if not state.is_over and not _is_as_told(state):
        _changed(audience, now)


def replay_elsewhere(state: RoomState, entry: Entry) -> None:
    """`replay` an entry of another process while people are here."""
    replay(state, entry)
    if isinstance(entry, MemberEntry):
        state.audience.arrivals.pop(entry.person.id, None)
        state.audience.seen_elsewhere[mark(entry.person.id)] = entry.at * 1_000_000


def take_back(audience: Audience, entries: Iterable[Entry]) -> list[Command]:
    """
    What people did, of entries that were never written, to be decided again.

    Gifts come again from the ledger, the ends of streaks and of the room from whoever asks for them.
    """
    commands: list[Command] = []
    for entry in entries:
        match entry:
            case ChatEntry():
                commands.append(Chatted(entry.person, entry.text))
            case LikeEntry():
                commands.append(Liked(entry.person, entry.count))
            case FollowEntry():
                commands.append(Followed(entry.person))
            case ShareEntry():
                commands.append(Shared(entry.person))
            case MemberEntry() if entry.person.id in audience.connections:
                audience.arrivals[entry.person.id] = entry.person
    return commands


# Streaks ---------------------------------------------------------------------------------------


def _continues(streak: GiftEntry, gift: Gifted) -> bool:
    """
    Whether a gift counts on in this streak: the same item at the same price, within the window.

    Another price is another streak, so that unit price times count is always what was paid.
    """
    return (
        gift.is_streakable
        and streak.item_number == gift.item_number
        and streak.unit_coins == gift.unit_coins
        and gift.at - streak.paid_at <= streak.combo_ns
    )


def _keep_open(state: RoomState, entry: GiftEntry) -> None:
    person_id = entry.person.id
    if person_id not in state.streaks:
        due = (over_at(entry), person_id, entry.group_id)
        heapq.heappush(state.audience.due, due)
    state.streaks[person_id] = entry


def _end(state: RoomState, streak: GiftEntry, now: int) -> GiftEntry:
    """Close a streak; what opened it is gone with it, so it ends once."""
    del state.streaks[streak.person.id]
    return GiftEntry(
        _number(state),
        now // 1_000_000,
        streak.person,
        _rank(state, streak.person),
        streak.order_id,
        streak.group_id,
        streak.receiver_id,
        streak.item_number,
        streak.unit_coins,
        True,
        streak.repeat_count,
        True,
        streak.quantity,
        streak.paid_at,
        streak.combo_ns,
    )


def over_at(streak: GiftEntry) -> int:
    """When a streak ends that nobody lengthens."""
    return streak.paid_at + streak.combo_ns + STREAK_MARGIN


def _first_over_at(state: RoomState) -> int | None:
    """When the first open streak is over; what no longer is due then leaves the heap."""
    due = state.audience.due
    while due:
        instant, person_id, group_id = due[0]
        streak = state.streaks.get(person_id)
        if streak is None or streak.group_id != group_id:
            heapq.heappop(due)
        elif (at := over_at(streak)) != instant:
            heapq.heapreplace(due, (at, person_id, group_id))
        else:
            return instant
    return None


# Gifters ---------------------------------------------------------------------------------------


def _count(state: RoomState, person: Person, coins: int, at: int) -> int:
    """
    Count coins for a gifter and return his rank.

    Sums only grow, so nobody but he can rise, and the short list of the best stays right without
    looking at all the others.
    """
    gifter = state.gifters.get(person.id)
    if gifter is None:
        gifter = state.gifters[person.id] = Gifter(person, coins, at)
    else:
        gifter.person = person
        gifter.coins += coins
        gifter.reached_at = at
    top = state.top
    if not gifter.rank:
        if len(top) < TOP_MAX:
            top.append(gifter)
        elif _is_before(gifter, top[-1]):
            top[-1].rank = 0
            top[-1] = gifter
        else:
            return 0
        gifter.rank = len(top)
    place = gifter.rank - 1
    while place and _is_before(gifter, top[place - 1]):
        top[place] = top[place - 1]
        top[place].rank = place + 1
        place -= 1
    top[place] = gifter
    gifter.rank = place + 1
    return gifter.rank


def _is_before(one: Gifter, other: Gifter) -> bool:
    if one.coins != other.coins:
        return one.coins > other.coins
    return (one.reached_at, one.person.id) < (other.reached_at, other.person.id)


def _rank(state: RoomState, person: Person) -> int:
    gifter = state.gifters.get(person.id)
    return 0 if gifter is None else gifter.rank


# What is told together -------------------------------------------------------------------------


def _told_members(state: RoomState, now: int) -> list[Entry]:
    audience = state.audience
    arrivals = [*audience.arrivals.values()]
    if audience.elsewhere:
        arrivals = [each for each in arrivals if mark(each.id) not in audience.elsewhere]
    audience.arrivals.clear()
    return [
        MemberEntry(_number(state), now // 1_000_000, person, _rank(state, person))
        for person in arrivals[:MEMBERS_PER_TICK]
    ]


def _told_likes(state: RoomState, now: int, people_max: int) -> list[Entry]:
    likes = state.audience.likes
    entries: list[Entry] = []
    for person_id in [*likes][:people_max]:
        liked = likes.pop(person_id)
        person, count = liked.person, liked.count
        state.likes += count
        rank = _rank(state, person)
        entries.append(
            LikeEntry(_number(state), now // 1_000_000, person, rank, count, state.likes)
        )
    return entries


def _telling_at(state: RoomState) -> int | None:
    """When viewers and top gifters are to be told; None while they are as they were told last."""
    changed_since, told = state.audience.changed_since, state.told
    if changed_since is None:
        return None
    if _is_as_told(state):
        state.audience.changed_since = None
        return None
    if told is None:
        return changed_since
    return max(changed_since, told.at * 1_000_000 + ROOM_USER_EVERY)


def _is_as_told(state: RoomState) -> bool:
    told = state.told
    known = (0, ()) if told is None else (told.viewers, told.top)
    return known == (_counted(state.audience), top_gifters(state))


def _counted(audience: Audience) -> int:
    here = len(audience.connections) + audience.nobodies
    there = len(audience.elsewhere) + audience.nobodies_elsewhere
    return here + there - audience.also_elsewhere


def _changed(audience: Audience, now: int) -> list[Entry]:
    """The number of viewers changed; told with the next roomUser."""
    if audience.changed_since is None:
        audience.changed_since = now
    return []


def _waits(audience: Audience, now: int) -> None:
    if not audience.arrivals and not audience.likes:
        audience.waiting_since = now


def _forget_who_left_long_ago(audience: Audience, now: int) -> None:
    """Leavers stand in the order of leaving, so the old ones are in front."""
    while audience.left_at:
        person_id = next(iter(audience.left_at))
        if now - audience.left_at[person_id] < MEMBER_QUIET:
            return
        del audience.left_at[person_id]


def _number(state: RoomState) -> int:
    state.seq += 1
    return state.seq
