"""
One room, told as stories: who did what, and what everybody was told.

A line of a story is `seconds | what happened | what was told`. A streak that goes on is told as
`ana rose 3...`, its end as `ana rose 3.`. Who watches is left out of stories that do not ask.
"""

import copy
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from largesse.clock import SECOND
from largesse.rooms import room
from largesse.rooms.encoding import (
    decode_entries,
    decode_state,
    encode_entries,
    encode_state,
)
from largesse.rooms.messages import merge
from largesse.rooms.room import (
    MEMBERS_PER_TICK,
    STREAK_MARGIN,
    TOP_MAX,
    Chatted,
    Ended,
    Entered,
    Followed,
    Gifted,
    GiftEntry,
    Left,
    Liked,
    Person,
    RoomState,
    Shared,
    Ticked,
    next_due,
    replay,
    step,
)

HERE = Path(__file__).parent
START = 1_800_000_000 * SECOND
BO = Person("c0", "bo", "Bo")
NAMES = ("ana", "ben", "cem")


class Item(msgspec.Struct, frozen=True):
    number: int
    coins: int
    is_streakable: bool
    combo_ns: int


ITEMS = {
    "rose": Item(1, 1, True, 3 * SECOND),
    "kite": Item(2, 30, True, 1 * SECOND),
    "lion": Item(3, 500, False, 3 * SECOND),
    "rise": Item(1, 2, True, 3 * SECOND),  # The rose, after its price rose.
}
ITEM_NAMES = {(item.number, item.coins): name for name, item in ITEMS.items()}


def person(name):
    return None if name == "somebody" else Person(f"id-{name}", name, name.title())


def gifted(name, quantity, item_name, at):
    """A gift as the ledger has it; instants of the ledger never repeat, so `at` names it."""
    item = ITEMS[item_name]
    coins = quantity * item.coins
    return Gifted(
        person(name),
        f"order-{at}",
        item.number,
        item.coins,
        item.is_streakable,
        item.combo_ns,
        quantity,
        coins,
        at,
    )


def command_of(words, now):
    match words.split():
        case ["time", "passes"]:
            return Ticked()
        case ["the", "room", "ends"]:
            return Ended(room.ENDED_BY_CREATOR)
        case [name, "enters"]:
            return Entered(BO if name == "bo" else person(name))
        case [name, "leaves"]:
            return Left(BO if name == "bo" else person(name))
        case [name, "gives", quantity, item_name]:
            return gifted(name, int(quantity), item_name, now)
        case [name, "gave", quantity, item_name, "at", seconds]:
            return gifted(name, int(quantity), item_name, START + round(float(seconds) * SECOND))
        case [name, "likes", count]:
            return Liked(person(name), int(count))
        case [name, "follows"]:
            return Followed(person(name))
        case [name, "shares"]:
            return Shared(person(name))
        case [name, "says", *text]:
            return Chatted(person(name), " ".join(text))
    raise AssertionError(words)


def told(entry):
    match entry:
        case GiftEntry():
            item = ITEM_NAMES[entry.item_number, entry.unit_coins]
            end = "." if entry.repeat_end else "..."
            return f"{entry.person.login} {item} {entry.repeat_count}{end}"
        case room.LikeEntry():
            return f"{entry.person.login} liked {entry.count} of {entry.total}"
        case room.MemberEntry():
            return f"{entry.person.login} came"
        case room.FollowEntry():
            return f"{entry.person.login} follows"
        case room.ShareEntry():
            return f"{entry.person.login} shared"
        case room.ChatEntry():
            return f"{entry.person.login}: {entry.text}"
        case room.RoomUserEntry():
            best = "".join(f" {each.person.login}={each.coins}" for each in entry.top)
            return f"{entry.viewers} watch{best}"
        case room.StreamEndEntry():
            return f"over {entry.action_id}"


def play(story, state=None):
    """Act a story out, compare what is told line by line, and return the room."""
    state = RoomState("r0", BO) if state is None else state
    asks = "watch" in story
    for line in story.strip().splitlines():
        seconds, words, expected = (part.strip() for part in line.split("|"))
        now = START + round(float(seconds) * SECOND)
        entries = step(state, command_of(words, now), now)
        words = [told(entry) for entry in entries]
        assert "; ".join(each for each in words if "watch" not in each or asks) == expected, line
    return state


STORIES = {
    "a single gift has two entries, and its end comes when the window is over": """
        0.0  | ana gives 1 rose | ana rose 1...
        3.29 | time passes      |
        3.3  | time passes      | ana rose 1.
        9.0  | time passes      |
    """,
    "counts add up while the gifts follow one another": """
        0.0  | ana gives 1 rose | ana rose 1...
        2.9  | ana gives 4 rose | ana rose 5...
        5.9  | ana gives 5 rose | ana rose 10...
        9.19 | time passes      |
        9.2  | time passes      | ana rose 10.
        9.3  | ana gives 1 rose | ana rose 1...
    """,
    "a gift at the last instant of the window still counts on": """
        0.0  | ana gives 1 rose | ana rose 1...
        3.0  | ana gives 1 rose | ana rose 2...
        7.0  | ana gives 1 rose | ana rose 2.; ana rose 1...
    """,
    "the ledger's clock decides, however late the gift is heard of": """
        0.0  | ana gives 1 rose          | ana rose 1...
        3.29 | ana gave 1 rose at 2.9    | ana rose 2...
        6.1  | ana gave 1 rose at 5.95   | ana rose 2.; ana rose 1...
    """,
    "a gift that is heard of after the end begins anew": """
        0.0  | ana gives 1 rose          | ana rose 1...
        3.3  | time passes               | ana rose 1.
        3.4  | ana gave 1 rose at 2.9    | ana rose 1...
        6.2  | time passes               | ana rose 1.
    """,
    "each item has its own window": """
        0.0  | ana gives 1 kite | ana kite 1...
        1.0  | ana gives 1 kite | ana kite 2...
        2.3  | time passes      | ana kite 2.
    """,
    "another item ends the streak": """
        0.0  | ana gives 3 rose | ana rose 3...
        0.5  | ana gives 1 kite | ana rose 3.; ana kite 1...
        0.6  | ana gives 1 rose | ana kite 1.; ana rose 1...
        3.9  | time passes      | ana rose 1.
        9.0  | time passes      |
    """,
    "an item that cannot streak ends the streak too, and is one entry with its quantity": """
        0.0  | ana gives 3 rose | ana rose 3...
        0.5  | ana gives 7 lion | ana rose 3.; ana lion 7.
        0.6  | ana gives 1 lion | ana lion 1.
        9.0  | time passes      |
    """,
    "another price is another streak": """
        0.0  | ana gives 1 rose | ana rose 1...
        0.5  | ana gives 1 rise | ana rose 1.; ana rise 1...
    """,
    "two people's streaks know nothing of each other": """
        0.0  | ana gives 1 rose | ana rose 1...
        0.1  | ben gives 1 rose | ben rose 1...
        0.2  | ana gives 1 rose | ana rose 2...
        3.4  | time passes      | ben rose 1.
        3.5  | time passes      | ana rose 2.
    """,
    "the streak ends when its sender's last connection leaves, and once": """
        0.0  | ana enters       |
        0.0  | ana enters       |
        0.0  | time passes      | ana came
        0.1  | ana gives 1 rose | ana rose 1...
        0.2  | ana leaves       |
        0.3  | ana gives 1 rose | ana rose 2...
        0.4  | ana leaves       | ana rose 2.
        0.5  | ana gave 1 rose at 0.35 | ana rose 1...
        1.0  | ana enters       |
        1.1  | ana gives 1 rose | ana rose 2...
        4.4  | time passes      | ana rose 2.
    """,
    "the end of the room ends every streak, tells the last likes and is the last word": """
        0.0  | ana gives 1 rose | ana rose 1...
        0.0  | ben gives 1 kite | ben kite 1...
        0.1  | ana likes 3      |
        0.2  | the room ends    | ana rose 1.; ben kite 1.; ana liked 3 of 3; over 3
        0.3  | the room ends    |
        0.3  | ana says hello   |
        0.3  | ana likes 3      |
        0.3  | ana follows      |
        0.3  | ana shares       |
        0.3  | ben enters       |
        0.3  | ben leaves       |
        9.0  | time passes      |
    """,
    "a gift that was paid before the end and is heard of after it has its entries, and its end": """
        0.0  | the room ends            | over 3
        0.1  | ana gave 1 rose at -0.01 | ana rose 1...; ana rose 1.
        0.1  | ana gave 2 rose at -0.005 | ana rose 2...; ana rose 2.
        0.1  | ana gave 1 lion at -0.001 | ana lion 1.
        9.0  | time passes              |
    """,
    "likes of one person are told together": """
        0.0  | ana likes 3      |
        0.0  | ben likes 1      |
        0.0  | ana likes 15     |
        0.1  | time passes      | ana liked 18 of 18; ben liked 1 of 19
        0.2  | ana likes 1      |
        0.3  | time passes      | ana liked 1 of 20
        0.4  | time passes      |
    """,
    "who comes back soon is not announced again, nor is one who only blinked": """
        0.0   | ana enters      |
        0.1   | time passes     | ana came; 1 watch
        1.0   | ana leaves      |
        60.9  | ana enters      |
        61.0  | time passes     |
        62.0  | ana leaves      |
        62.0  | time passes     | 0 watch
        122.0 | ana enters      |
        122.0 | time passes     | ana came; 1 watch
        130.0 | ben enters      |
        130.0 | ben leaves      |
        130.1 | ben enters      |
        130.1 | time passes     | ben came; 2 watch
    """,
    "nobody and everybody's second window are no members; the creator is no viewer": """
        0.0  | somebody enters  |
        0.0  | somebody enters  |
        0.0  | ana enters       |
        0.0  | ana enters       |
        0.0  | bo enters        |
        0.0  | time passes      | ana came; 3 watch
        2.0  | bo leaves        |
        2.0  | somebody leaves  |
        2.0  | time passes      | 2 watch
    """,
    "viewers and top gifters are told every two seconds at most, and only when they changed": """
        0.0  | ana enters       |
        0.0  | time passes      | ana came; 1 watch
        0.5  | ana gives 1 lion | ana lion 1.
        1.9  | time passes      |
        2.0  | time passes      | 1 watch ana=500
        3.0  | ben enters       |
        3.1  | ben leaves       |
        9.0  | time passes      |
    """,
    "of equal gifters the one is first who got there first": """
        0.0  | ana gives 1 lion | ana lion 1.
        0.1  | ben gives 2 lion | ben lion 2.
        0.2  | cem gives 2 lion | cem lion 2.
        0.3  | ana gives 1 lion | ana lion 1.
        0.4  | time passes      | 0 watch ben=1000 cem=1000 ana=1000
    """,
    "somebody follows once, however often he changes his mind": """
        0.0  | ana follows      | ana follows
        0.1  | ana follows      |
        0.2  | ana shares       | ana shared
        0.3  | ana shares       | ana shared
        0.4  | ana says good evening | ana: good evening
    """,
}


@pytest.mark.parametrize("name", STORIES)
def test_story(name):
    play(STORIES[name])


# What must hold whatever happens -----------------------------------------------------------------

PEOPLE = st.sampled_from(NAMES)
WAITS = st.sampled_from(
    [0, 1, SECOND // 10, SECOND, 3 * SECOND, 3 * SECOND + STREAK_MARGIN, 60 * SECOND]
)
LATE = st.sampled_from([0, 0, 0, SECOND // 5, 2 * SECOND])
"""How long after the ledger the room hears of a gift."""
DEEDS = st.one_of(
    st.tuples(st.just("gives"), PEOPLE, st.integers(1, 3), st.sampled_from([*ITEMS]), LATE),
    st.tuples(st.just("gives"), PEOPLE, st.integers(1, 2), st.just("rose"), LATE),
    st.tuples(st.sampled_from(["enters", "leaves"]), st.sampled_from([*NAMES, "somebody"])),
    st.tuples(st.sampled_from(["likes", "follows", "shares", "says"]), PEOPLE),
    st.just(("time",)),
)
LIVES = st.lists(st.tuples(WAITS, DEEDS), max_size=60)


class Life:
    """A room that lives through any deeds; only what cannot happen is left out."""

    def __init__(self):
        self.state = RoomState("r0", BO)
        self.now = START
        self.paid_at = START
        self.there = Counter()
        self.gifts = []
        self.entries = []

    def after(self, wait, deed):
        self.now += wait
        command = self.command(*deed)
        return [] if command is None else self.do(command)

    def do(self, command):
        entries = step(self.state, command, self.now)
        self.entries += entries
        return entries

    def command(self, verb, name=None, *rest):
        match verb:
            case "time":
                return Ticked()
            case "gives":
                quantity, item_name, late = rest
                self.paid_at = max(self.paid_at + 1, self.now - late)
                gift = gifted(name, quantity, item_name, self.paid_at)
                self.gifts.append(gift)
                return gift
            case "enters":
                self.there[name] += 1
                return Entered(person(name))
            case "leaves" if self.there[name]:
                self.there[name] -= 1
                return Left(person(name))
            case "leaves":
                return None
        return command_of(f"{name} {verb}" + {"likes": " 2", "says": " hi"}.get(verb, ""), self.now)


def lived(deeds):
    life = Life()
    for wait, deed in deeds:
        life.after(wait, deed)
    return life


@given(LIVES, st.booleans())
@settings(max_examples=300)
def test_a_room_is_rebuilt_from_its_entries(deeds, ends):
    life, rebuilt = Life(), RoomState("r0", BO)
    for wait, deed in [*deeds, (0, ("time",))]:
        for entry in decode_entries(encode_entries(life.after(wait, deed))):
            replay(rebuilt, entry)
        assert encode_state(rebuilt) == encode_state(life.state)
    if ends:
        for entry in life.do(Ended(4)):
            replay(rebuilt, entry)

    kept = decode_state(encode_state(life.state))
    assert encode_state(kept) == encode_state(rebuilt) == encode_state(life.state)
    assert [entry.seq for entry in life.entries] == list(range(1, len(life.entries) + 1))
    for state in (kept, rebuilt):
        assert [told(each) for each in gifts_after_a_restart(state, life.now)] == [
            told(each) for each in gifts_after_a_restart(copy.deepcopy(life.state), life.now)
        ]


def gifts_after_a_restart(state, now):
    """Two more gifts, and time for every end; only what is told of gifts."""
    entries = step(state, gifted("ana", 1, "rose", now + 1), now + 1)
    entries += step(state, gifted("ben", 1, "kite", now + 2), now + 2)
    while (due := next_due(state)) is not None:
        entries += step(state, Ticked(), due)
        assert next_due(state) != due
    return [each for each in entries if isinstance(each, GiftEntry)]


@given(LIVES, st.sampled_from(["time", "end"]))
@settings(max_examples=300)
def test_every_streak_has_rising_counts_and_one_end_and_nothing_is_lost(deeds, finish):
    life = lived(deeds)
    life.now += 10 * SECOND
    life.do(Ticked() if finish == "time" else Ended(3))

    assert life.state.streaks == {}
    streaks = defaultdict(list)
    for entry in life.entries:
        if isinstance(entry, GiftEntry):
            streaks[entry.group_id].append(entry)
    for entries in streaks.values():
        assert [each.repeat_end for each in entries] == [False] * (len(entries) - 1) + [True]
        assert {(each.person.id, each.item_number, each.unit_coins) for each in entries} == {
            (entries[0].person.id, entries[0].item_number, entries[0].unit_coins)
        }
        gifts = entries[:-1] if entries[0].is_streakable else entries
        counts = [sum(each.quantity for each in gifts[: n + 1]) for n in range(len(gifts))]
        assert [each.repeat_count for each in gifts] == counts
        assert entries[-1].repeat_count == counts[-1]
        assert entries[0].order_id == entries[0].group_id
        gaps = [later.paid_at - gift.paid_at for gift, later in pairwise(gifts)]
        assert all(gap <= entries[0].combo_ns for gap in gaps)
    orders = [
        each.order_id
        for entries in streaks.values()
        for each in entries
        if not each.repeat_end or not each.is_streakable
    ]
    assert sorted(orders) == sorted(gift.order_id for gift in life.gifts)
    ends = [entries[-1] for entries in streaks.values()]
    assert sum(each.unit_coins * each.repeat_count for each in ends) == sum(
        gift.coins for gift in life.gifts
    )


@given(LIVES, st.integers(1, 12))
def test_merging_keeps_the_sums_and_the_ends(deeds, size):
    life = lived([*deeds, (10 * SECOND, ("time",))])
    sent = [
        each
        for first in range(0, len(life.entries), size)
        for each in merge(life.entries[first : first + size])
    ]

    def is_count(entry):
        return isinstance(entry, GiftEntry) and not entry.repeat_end

    assert [each for each in sent if not is_count(each)] == [
        each for each in life.entries if not is_count(each)
    ]
    assert [each.seq for each in sent] == sorted({each.seq for each in sent})
    assert {each.group_id for each in sent if is_count(each)} == {
        each.group_id for each in life.entries if is_count(each)
    }
    for first in range(0, len(life.entries), size):
        tick = life.entries[first : first + size]
        newest = {each.group_id: each for each in tick if is_count(each)}
        assert [each for each in merge(tick) if is_count(each)] == sorted(
            newest.values(), key=lambda each: each.seq
        )


@given(LIVES)
@settings(max_examples=200)
def test_time_has_nothing_to_do_before_it_is_due(deeds):
    life = lived(deeds)
    for _ in range(20):
        due = next_due(life.state)
        if due is None:
            break
        if due > life.now:
            assert step(copy.deepcopy(life.state), Ticked(), due - 1) == []
        life.now = max(life.now, due)
        assert life.do(Ticked()) != []
    assert next_due(life.state) is None
    assert step(life.state, Ticked(), life.now + 600 * SECOND) == []


@given(LIVES)
def test_viewers_and_top_are_told_seldom_and_right(deeds):
    life = Life()
    last = None
    for wait, deed in deeds:
        for entry in life.after(wait, deed):
            if isinstance(entry, room.RoomUserEntry):
                watching = [name for name in NAMES if life.there[name]]
                assert entry.viewers == len(watching) + life.there["somebody"]
                assert last is None or entry.at - last.at >= 2_000
                assert last is None or (last.viewers, last.top) != (entry.viewers, entry.top)
                last = entry


gifts_of_many = st.lists(st.tuples(st.integers(0, 25), st.integers(1, 4)), max_size=120)


@given(gifts_of_many)
def test_the_short_list_of_the_best_is_what_sorting_everybody_gives(gifts):
    state, given_coins = RoomState("r0", BO), {}
    for n, (who, quantity) in enumerate(gifts):
        at = START + n + 1
        [entry] = [
            each
            for each in step(state, gifted(f"p{who}", quantity, "lion", at), at)
            if isinstance(each, GiftEntry)
        ]
        coins, _ = given_coins.get(f"p{who}", (0, 0))
        given_coins[f"p{who}"] = (coins + 500 * quantity, at)
        order = sorted(given_coins, key=lambda name: (-given_coins[name][0], given_coins[name][1]))
        best = order[:TOP_MAX]
        assert [each.person.login for each in room.top_gifters(state)] == best
        assert entry.rank == (best.index(f"p{who}") + 1 if f"p{who}" in best else 0)
    assert encode_state(decode_state(encode_state(state))) == encode_state(state)
    kept = decode_state(encode_state(state))
    assert room.top_gifters(kept) == room.top_gifters(state)


# Crowds, and what a restart finds ----------------------------------------------------------------


def test_of_a_crowd_that_comes_at_once_some_are_announced_and_all_are_counted():
    state = RoomState("r0", BO)
    for n in range(100):
        step(state, Entered(person(f"p{n}")), START)
    entries = step(state, Ticked(), START)

    assert Counter(type(each).__name__ for each in entries) == {
        "MemberEntry": MEMBERS_PER_TICK,
        "RoomUserEntry": 1,
    }
    assert entries[-1].viewers == room.viewers(state) == 100
    assert step(state, Ticked(), START + 10 * SECOND) == []


def test_a_crowd_that_likes_at_once_is_told_over_several_ticks_and_no_like_is_lost():
    state = RoomState("r0", BO)
    for n in range(room.LIKERS_PER_TICK + 1):
        step(state, Liked(person(f"p{n}"), 2), START)
    first = step(state, Ticked(), START)
    assert len(first) == room.LIKERS_PER_TICK
    assert next_due(state) is not None
    [last] = step(state, Ticked(), START + 1)
    assert last.total == 2 * (room.LIKERS_PER_TICK + 1)


def test_the_end_of_the_room_tells_all_likes_that_wait():
    state = RoomState("r0", BO)
    for n in range(room.LIKERS_PER_TICK * 2):
        step(state, Liked(person(f"p{n}"), 1), START)
    entries = step(state, Ended(3), START)
    assert (len(entries), state.likes) == (room.LIKERS_PER_TICK * 2 + 1, room.LIKERS_PER_TICK * 2)


def test_after_a_restart_an_open_streak_goes_on_or_ends_by_the_same_rule():
    before = play("0.0 | ana gives 2 rose | ana rose 2...")
    goes_on = decode_state(encode_state(before))
    play(
        """
        9.0 | ana gave 1 rose at 2.0 | ana rose 3...
        9.1 | time passes            | ana rose 3.
        9.2 | time passes            |
        """,
        goes_on,
    )
    ends = decode_state(encode_state(before))
    assert next_due(ends) is not None
    play("9.0 | time passes | ana rose 2.", ends)
    over = decode_state(encode_state(before))
    play("9.0 | the room ends | ana rose 2.; over 3", over)


def test_a_name_that_changed_is_shown_as_it_is_now():
    state = play("0.0 | ana gives 1 rose | ana rose 1...")
    renamed = msgspec.structs.replace(person("ana"), nickname="Queen Ana")
    gift = msgspec.structs.replace(gifted("ana", 1, "rose", START + 1), person=renamed)
    step(state, gift, START + 1)
    assert [each.person.nickname for each in room.top_gifters(state)] == ["Queen Ana"]
    assert state.streaks[renamed.id].person == renamed


def test_alternating_items_leave_nothing_behind():
    state = RoomState("r0", BO)
    now = START
    for n in range(2_000):
        now += SECOND // 20
        step(state, gifted("ana", 1, ("rose", "kite")[n % 2], now), now)
        step(state, Ticked(), now)
    assert len(state.audience.due) < 100


def test_what_the_first_version_wrote_is_read_for_ever():
    """Entries and a state of format 1; a change that cannot read them takes a new number."""
    entries, state = map(bytes.fromhex, (HERE / "format_1.txt").read_text().split())
    assert [told(each) for each in decode_entries(entries)] == [
        "ana rose 2...",
        "ben lion 1.",
        "ben: hi",
        "ana follows",
        "ana shared",
        "ana came",
        "ana liked 3 of 3",
        "1 watch ben=500 ana=2",
        "ana rose 2.",
        "over 3",
    ]
    kept = decode_state(state)
    assert (kept.seq, kept.likes, kept.is_over, kept.followers) == (8, 3, False, {"id-ana"})
    assert [each.coins for each in room.top_gifters(kept)] == [500, 2]
    play("9.0 | the room ends | ana rose 2.; over 3", kept)
