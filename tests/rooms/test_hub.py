"""A frame gets to everybody who takes it, in order; who does not costs the others nothing."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from largesse.rooms import hub as hubs
from largesse.rooms.hub import Hub, Watcher, frames_of
from largesse.rooms.purses import WAITING_BYTES_MAX
from largesse.rooms.room import Person
from tests.rooms.stage import Screen

ANA, CY = Person("01" * 16, "ana", "ana"), Person("03" * 16, "cy", "cy")


def frames(*numbers):
    return frames_of([(seq, b'{"seq":%d}' % seq) for seq in numbers])


def watcher_of(person=None, *, is_batch=False) -> Watcher:
    return Watcher(Screen(), "0a" * 16, person, is_batch=is_batch)


def numbers(watcher: Watcher) -> list[int]:
    return [frame["seq"] for frame in watcher.connection.frames]


async def test_everybody_gets_every_frame_and_who_asked_for_arrays_gets_one():
    hub, one_by_one, at_once = Hub(), watcher_of(ANA), watcher_of(is_batch=True)
    hub.add(one_by_one)
    hub.add(at_once)

    await hub.tell(frames(1, 2, 3))

    assert one_by_one.connection.sent == [b'{"seq":1}', b'{"seq":2}', b'{"seq":3}']
    assert at_once.connection.sent == [b'[{"seq":1},{"seq":2},{"seq":3}]']
    assert (one_by_one.seq, at_once.seq) == (3, 3)


async def test_in_a_flood_arrays_are_brief_and_who_counts_single_frames_gets_them_all():
    hub, one_by_one, at_once = Hub(), watcher_of(), watcher_of(is_batch=True)
    newcomer = watcher_of(is_batch=True)
    newcomer.seq = 3
    for watcher in (one_by_one, at_once, newcomer):
        hub.add(watcher)

    sent = await hub.tell(frames(1, 2, 3, 4, 5), brief=frames(2, 3))

    assert numbers(one_by_one) == [1, 2, 3, 4, 5]
    assert at_once.connection.sent == [b'[{"seq":2},{"seq":3}]']
    assert newcomer.connection.sent == []
    assert (one_by_one.seq, at_once.seq, newcomer.seq) == (5, 5, 5)
    assert sent == len(frames(1, 2, 3, 4, 5).batch) + len(frames(2, 3).batch)
    assert hub.takes_single_frames
    hub.remove(one_by_one)
    assert not hub.takes_single_frames


async def test_whose_gift_it_is_hears_of_it_first():
    heard: list[str] = []
    hub = Hub()
    for name, person in (("first", None), ("ana", ANA), ("last", CY)):
        watcher = watcher_of(person)
        watcher.connection.send = lambda _, name=name: heard.append(name)
        hub.add(watcher)

    await hub.tell(frames(1), [CY.id, "nobody here", ANA.id])

    assert heard == ["last", "ana", "first"]


async def test_who_came_later_is_not_told_again_what_his_snapshot_said():
    hub, newcomer, batched = Hub(), watcher_of(), watcher_of(is_batch=True)
    for watcher in (newcomer, batched):
        watcher.seq = 4
        hub.add(watcher)

    await hub.tell(frames(2, 3, 4))
    await hub.tell(frames(3, 5, 6))

    assert numbers(newcomer) == [5, 6]
    assert batched.connection.sent == [b'[{"seq":5},{"seq":6}]']


async def test_who_never_reads_loses_frames_and_the_others_none():
    hub, slow, quick = Hub(), watcher_of(ANA), watcher_of(CY)
    hub.add(slow)
    hub.add(quick)
    await hub.tell(frames(1))
    slow.connection.bytes_waiting = WAITING_BYTES_MAX + 1

    for seq in range(2, 50):
        await hub.tell(frames(seq))

    assert numbers(slow) == [1]
    assert numbers(quick) == list(range(1, 50))
    assert hub.behind() == (slow,)
    slow.connection.bytes_waiting = 0
    await hub.tell(frames(50))
    assert numbers(slow) == [1], "what follows a hole makes no sense"
    hub.catch_up(slow, b'{"seq":50}', 50)
    await hub.tell(frames(51))
    assert numbers(slow) == [1, 50, 51]
    assert hub.behind() == ()


async def test_as_much_may_wait_as_the_bound_says_and_no_more():
    hub, watcher = Hub(), watcher_of()
    hub.add(watcher)
    watcher.connection.bytes_waiting = WAITING_BYTES_MAX
    await hub.tell(frames(1))
    assert numbers(watcher) == [1]


async def test_a_full_room_gives_the_loop_a_turn_and_who_left_meanwhile_hears_nothing():
    hub = Hub()
    watchers = [watcher_of() for _ in range(hubs.SENDS_PER_TURN * 3)]
    for watcher in watchers:
        hub.add(watcher)
    telling = asyncio.create_task(hub.tell(frames(1)))
    await asyncio.sleep(0)

    told = [watcher for watcher in watchers if watcher.connection.sent]
    assert told == watchers[: hubs.SENDS_PER_TURN]
    leaver, newcomer = watchers[-1], watcher_of()
    assert hub.remove(leaver)
    newcomer.seq = 1
    hub.add(newcomer)
    await telling

    assert not leaver.connection.sent
    assert not newcomer.connection.sent
    assert all(numbers(watcher) == [1] for watcher in watchers[:-1])


def test_to_leave_twice_is_to_leave_once():
    hub, watcher = Hub(), watcher_of(ANA)
    hub.add(watcher)
    assert hub.of_user(ANA.id) == (watcher,)
    assert hub.remove(watcher)
    assert not hub.remove(watcher)
    assert (len(hub), hub.of_user(ANA.id), watcher in hub) == (0, (), False)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(1, 5)),
        st.tuples(st.just("enter"), st.booleans()),
        st.tuples(st.sampled_from(["choke", "drain", "leave"]), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(actions=ACTIONS)
@pytest.mark.filterwarnings("ignore")
def test_whatever_happens_everybody_sees_rising_numbers_without_a_hole(actions):
    """A snapshot `n` says everything up to `n`; every event after it must be the very next one."""

    async def play() -> list[Watcher]:
        hub, seq, everybody = Hub(), 0, []
        for action, value in actions:
            if action == "tell":
                numbers = range(seq + 1, seq + 1 + value)
                seq += value
                await hub.tell(frames(*numbers))
            elif action == "enter":
                watcher = watcher_of(is_batch=value)
                hub.catch_up(watcher, msgspec.json.encode({"snapshot": seq}), seq)
                hub.add(watcher)
                everybody.append(watcher)
            elif value < len(everybody):
                watcher = everybody[value]
                if action == "leave":
                    hub.remove(watcher)
                watcher.connection.bytes_waiting = 10**6 if action == "choke" else 0
                if action == "drain" and watcher in hub.behind():
                    hub.catch_up(watcher, msgspec.json.encode({"snapshot": seq}), seq)
        return everybody

    for watcher in asyncio.run(play()):
        known = None
        for frame in watcher.connection.frames:
            if known is not None and "seq" in frame:
                assert frame["seq"] == known + 1
            known = frame.get("seq", frame.get("snapshot"))
