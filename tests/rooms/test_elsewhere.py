"""One room in two processes, as the reducer plays it: whatever happens where, both come to the same."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from largesse.clock import SECOND
from largesse.rooms.encoding import decode_entries, decode_state, encode_entries, encode_state
from largesse.rooms.presence import Presence, pack, unpack
from largesse.rooms.room import (
    MEMBER_QUIET,
    ROOM_USER_EVERY,
    STREAK_MARGIN,
    ChatEntry,
    Chatted,
    Command,
    Ended,
    Entered,
    Entry,
    Gifted,
    GiftEntry,
    Left,
    Liked,
    LikeEntry,
    MemberEntry,
    Person,
    RoomState,
    RoomUserEntry,
    Ticked,
    look_elsewhere,
    mark,
    next_due,
    replay_elsewhere,
    step,
    take_back,
    viewers,
)

START = 1_800_000_000 * SECOND
BO = Person("c0", "bo", "Bo")
NAMES = ("ana", "ben", None)


def person(name: str) -> Person:
    return Person(f"id-{name}", name, name.title())


class Side:
    """One process: its state, what waits in it, and whom it has told the other of."""

    def __init__(self) -> None:
        self.state = RoomState("r0", BO)
        self.state.audience.changed_since = None
        self.waiting: list[Command] = []
        self.here: list[str | None] = []
        self.presence = Presence()
        self.told: list[int] = []


class Installation:
    """Two sides, one log on the disk, and one ledger of gifts, which is appended in its order."""

    def __init__(self) -> None:
        self.now = START
        self.sides = (Side(), Side())
        self.audiences: list[tuple[bytes, int]] = [(b"", 0), (b"", 0)]
        self.log: list[bytes] = []
        self.gifts: list[Gifted] = []
        self.place = 0
        self.likes = 0

    def entries(self) -> list[Entry]:
        return [entry for raw in self.log for entry in decode_entries(raw)]

    def read(self, side: Side) -> None:
        for entry in self.entries()[side.state.seq :]:
            replay_elsewhere(side.state, entry)
            side.told.append(entry.seq)

    def turn(self, number: int, *, breaks: bool = False) -> None:
        """A turn of one side; one that `breaks` is undone and read again, as if never written."""
        side = self.sides[number]
        self.read(side)
        before = encode_state(side.state)
        packed, nobodies, _ = side.presence.written()
        there, nobodies_there = self.audiences[1 - number]
        look_elsewhere(side.state, frozenset(unpack(there)), nobodies_there, self.now)
        entries: list[Entry] = []
        waiting, side.waiting = side.waiting, []
        for command in (*self.gifts[self.place :], *waiting, Ticked()):
            entries += step(side.state, command, self.now)
        if breaks:
            audience = side.state.audience
            side.state = decode_state(before)
            audience.due = side.state.audience.due
            audience.changed_since = self.now
            side.state.audience = audience
            side.waiting = take_back(audience, entries)
            return
        self.audiences[number] = packed, nobodies
        self.place = len(self.gifts)
        if entries:
            self.log.append(encode_entries(entries))
            side.told += [entry.seq for entry in entries]

    def do(self, deed: tuple[str, int, str | None, int]) -> None:
        what, number, name, amount = deed
        side = self.sides[number]
        someone = None if name is None else person(name)
        match what:
            case "enters":
                side.here.append(name)
                side.presence.come(None if someone is None else someone.id)
                side.waiting.append(Entered(someone))
            case "leaves" if name in side.here:
                side.here.remove(name)
                side.presence.go(None if someone is None else someone.id)
                side.waiting.append(Left(someone))
            case "says" if someone is not None:
                side.waiting.append(Chatted(someone, f"line {amount}"))
            case "likes" if someone is not None:
                self.likes += amount
                side.waiting.append(Liked(someone, amount))
            case "gives" if someone is not None:
                self.now += 1
                at = self.now
                self.gifts.append(
                    Gifted(someone, f"order-{at}", 1, 1, True, 3 * SECOND, amount, amount, at)
                )
            case "waits":
                self.now += amount * SECOND
            case "turn":
                self.turn(number)
            case "broken turn":
                self.turn(number, breaks=True)

    def settle(self) -> None:
        """Turns of both until nothing is left to tell, long after the last gift."""
        self.now += 3 * SECOND + STREAK_MARGIN + ROOM_USER_EVERY
        for _ in range(4):
            for number in (0, 1):
                self.turn(number)
            self.now += ROOM_USER_EVERY


DEEDS = st.tuples(
    st.sampled_from(
        ["enters", "leaves", "says", "likes", "gives", "waits", "turn", "turn", "broken turn"]
    ),
    st.integers(0, 1),
    st.sampled_from(NAMES),
    st.integers(1, 3),
)


COMINGS = st.tuples(
    st.sampled_from(["enters", "enters", "leaves", "turn", "turn", "waits", "broken turn"]),
    st.integers(0, 1),
    st.sampled_from(("ana", "ana", None)),
    st.integers(1, 3),
)


@settings(max_examples=400)
@given(st.lists(DEEDS, max_size=40))
def test_whatever_order_the_turns_come_in_everybody_sees_the_same_once(deeds):
    installation = Installation()
    for deed in deeds:
        installation.do(deed)
    installation.settle()
    for side in installation.sides:
        installation.read(side)
    one, two = installation.sides
    entries = installation.entries()

    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert encode_state(one.state) == encode_state(two.state)
    for side in installation.sides:
        assert side.told == sorted(set(side.told)) == list(range(1, len(entries) + 1))
        assert not side.state.streaks

    gifts = [entry for entry in entries if isinstance(entry, GiftEntry)]
    told = [entry.order_id for entry in gifts if not entry.repeat_end]
    assert told == [gift.order_id for gift in installation.gifts]
    ends = Counter(entry.group_id for entry in gifts if entry.repeat_end)
    assert ends == Counter({entry.group_id for entry in gifts})

    said = [deed for deed in deeds if deed[0] == "says" and deed[2] is not None]
    assert len([entry for entry in entries if isinstance(entry, ChatEntry)]) == len(said)
    likes = [entry for entry in entries if isinstance(entry, LikeEntry)]
    assert sum(entry.count for entry in likes) == one.state.likes == installation.likes


@settings(max_examples=400)
@given(st.lists(COMINGS, min_size=3, max_size=30))
def test_everybody_is_counted_once_in_both_and_announced_once(deeds):
    installation = Installation()
    for deed in deeds:
        installation.do(deed)
    installation.settle()
    here = [name for side in installation.sides for name in side.here]
    expected = len(set(here) - {None}) + here.count(None)

    counts = [entry for entry in installation.entries() if isinstance(entry, RoomUserEntry)]
    assert (counts[-1].viewers if counts else 0) == expected
    for side in installation.sides:
        installation.read(side)
        assert viewers(side.state) == expected
        assert next_due(side.state) is None
    # The deeds take less than the minute in which nobody is announced again.
    members = [
        entry.person.id for entry in installation.entries() if isinstance(entry, MemberEntry)
    ]
    is_short = sum(deed[3] for deed in deeds if deed[0] == "waits") * SECOND < MEMBER_QUIET
    assert len(members) <= 1 or not is_short


def test_who_is_here_twice_over_two_processes_leaves_with_the_last_connection():
    installation = Installation()
    for deed in (
        ("enters", 0, "ana", 1),
        ("turn", 0, None, 1),
        ("enters", 1, "ana", 1),
        ("turn", 1, None, 1),
        ("gives", 1, "ana", 1),
        ("turn", 1, None, 1),
        ("leaves", 1, "ana", 1),
        ("turn", 1, None, 1),
    ):
        installation.do(deed)
    kinds = [type(entry) for entry in installation.entries()]
    assert kinds.count(MemberEntry) == 1
    assert installation.sides[1].state.streaks, "the streak goes on: she is still here"
    installation.do(("leaves", 0, "ana", 1))
    installation.do(("turn", 0, None, 1))
    installation.settle()
    assert viewers(installation.sides[0].state) == viewers(installation.sides[1].state) == 0


def _members(installation: Installation) -> int:
    return len([entry for entry in installation.entries() if isinstance(entry, MemberEntry)])


def test_who_was_just_announced_in_one_process_is_not_announced_by_another():
    installation = Installation()
    for deed in (("enters", 0, "ana", 1), ("turn", 0, None, 1), ("leaves", 0, "ana", 1)):
        installation.do(deed)
    installation.turn(0)
    installation.do(("enters", 1, "ana", 1))
    installation.turn(1)
    assert _members(installation) == 1


def test_who_has_just_left_another_process_is_not_announced_again():
    installation = Installation()
    for deed in (("enters", 0, "ana", 1), ("turn", 0, None, 1), ("turn", 1, None, 1)):
        installation.do(deed)
    installation.do(("waits", 0, None, 120))
    for deed in (("leaves", 0, "ana", 1), ("turn", 0, None, 1), ("turn", 1, None, 1)):
        installation.do(deed)
    installation.do(("enters", 1, "ana", 1))
    installation.turn(1)
    assert _members(installation) == 1
    for deed in (("leaves", 1, "ana", 1), ("turn", 1, None, 1), ("turn", 0, None, 1)):
        installation.do(deed)
    installation.do(("waits", 0, None, 120))
    installation.do(("enters", 0, "ana", 1))
    installation.turn(0)
    assert _members(installation) == 2, "after a minute she is"


def test_who_is_known_to_be_elsewhere_is_not_announced_when_he_turns_up_here():
    """Nobody may have announced him there: more came than are announced at once."""
    side = Side()
    ana = person("ana")
    step(side.state, Entered(ana), START)
    look_elsewhere(side.state, frozenset({mark(ana.id)}), 0, START)
    entries = step(side.state, Ticked(), START)
    assert [type(entry) for entry in entries] == [RoomUserEntry]


def test_a_process_that_only_reads_knows_the_number_that_was_told():
    installation = Installation()
    for name in ("ana", "ben", None):
        installation.do(("enters", 0, name, 1))
    installation.turn(0)
    reader = installation.sides[1]
    installation.read(reader)
    assert viewers(reader.state) == 3


def test_a_room_that_is_over_here_is_over_there():
    installation = Installation()
    installation.do(("enters", 1, "ana", 1))
    installation.do(("turn", 1, None, 1))
    installation.sides[0].waiting.append(Ended(3))
    installation.turn(0)
    installation.read(installation.sides[1])
    assert installation.sides[1].state.is_over
    assert next_due(installation.sides[1].state) is None
    installation.do(("says", 1, "ana", 1))
    installation.turn(1)
    assert not any(isinstance(entry, ChatEntry) for entry in installation.entries())


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_marks_are_eight_bytes_each_and_come_back_as_they_went(marks):
    packed = pack(marks)
    assert len(packed) == 8 * len(marks)
    assert list(unpack(packed)) == marks


def test_a_mark_is_the_same_in_every_process():
    assert mark("00" * 16) == 9_752_656_691_747_947_697
