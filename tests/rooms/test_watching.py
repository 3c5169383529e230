"""Who comes sees the room as it is and then everything; who cannot take it gets it whole, once."""

import asyncio
import json

import pytest

from largesse.errors import Rejected
from largesse.identity import accounts
from largesse.records import follows, room_log, rooms
from largesse.records.rooms import Room
from largesse.rooms import live as lives
from largesse.rooms import loop as loops
from largesse.rooms.purses import WAITING_BYTES_MAX
from tests.rooms.stage import Screen


async def told(stage, *texts):
    """Chat of cy, written down."""
    screen, watcher = await stage.watch(stage.cy)
    for text in texts:
        stage.rooms.chat(watcher, text)
    await screen.until(lambda screen: len(screen.named("chat")) == len(texts))
    stage.rooms.leave(watcher)
    return screen


def texts_of(screen) -> list[str]:
    return [event["data"]["comment"] for event in screen.named("chat")]


def welcome(seq, person, coins) -> bytes:
    login = None if person is None else person.login
    return json.dumps({"op": "welcome", "seq": seq, "login": login, "coins": coins}).encode()


async def test_who_comes_is_welcomed_and_shown_the_room_as_it_is(stage):
    await told(stage, "one", "two")
    await stage.gift(stage.cy, "kite")
    watching, _ = await stage.watch(None)
    await watching.until(lambda screen: len(screen.named("snapshot", "gift")) > 0)
    screen, _ = await stage.watch(stage.ana, welcome=welcome)

    hello, snapshot = screen.frames[:2]
    assert (hello["login"], hello["coins"]) == ("ana", 1_000_000)
    assert hello["seq"] == snapshot["seq"]
    assert snapshot["reason"] == "start"
    assert snapshot["room"]["title"] == "Songs"
    assert snapshot["room"]["isLive"] is True
    assert snapshot["room"]["creator"]["uniqueId"] == "bo"
    assert snapshot["following"] is False


async def test_who_comes_again_gets_exactly_what_he_missed(stage):
    first = await told(stage, "one", "two")
    last_seq = first.events[-1]["seq"]
    await told(stage, "three", "four")
    for is_batch in (False, True):
        screen, watcher = await stage.watch(None, last_seq=last_seq, is_batch=is_batch)
        assert texts_of(screen) == ["three", "four"]
        assert not screen.named("snapshot")
        numbers = [event["seq"] for event in screen.events]
        assert numbers == list(range(last_seq + 1, last_seq + 1 + len(numbers)))
        stage.rooms.leave(watcher)


@pytest.mark.parametrize(
    ("last_seq", "reason"), [(-1, "seq_unknown"), (10_000, "seq_unknown"), (2**80, "seq_unknown")]
)
async def test_a_number_that_the_room_never_gave_gets_the_room_whole(stage, last_seq, reason):
    await told(stage, "one")
    screen, _ = await stage.watch(None, last_seq=last_seq)
    assert [frame["reason"] for frame in screen.frames] == [reason]


async def test_who_missed_too_much_gets_the_room_whole(stage, monkeypatch):
    monkeypatch.setattr(lives, "RESUME_ENTRIES_MAX", 2)
    await told(stage, *"abcdef")
    screen, _ = await stage.watch(None, last_seq=0)
    assert [frame["reason"] for frame in screen.frames] == ["gap"]
    [snapshot] = screen.frames
    assert [event["data"]["comment"] for event in snapshot["recent"]] == list("abcdef")


async def test_everybody_who_comes_back_at_once_is_read_for_once(stage, monkeypatch):
    first = await told(stage, "one")
    last_seq = first.events[-1]["seq"]
    await told(stage, *(f"word {number}" for number in range(300)))
    reads = 0
    read = room_log.segments_after

    async def counted(*arguments):
        nonlocal reads
        reads += 1
        return await read(*arguments)

    monkeypatch.setattr(room_log, "segments_after", counted)
    await stage.until(lambda: _is_told(stage))
    back = await asyncio.gather(
        *(stage.watch(None, last_seq=last_seq, is_batch=number % 2 == 0) for number in range(50))
    )
    for screen, _ in back:
        assert texts_of(screen)[:300] == [f"word {number}" for number in range(300)]
        numbers = [event["seq"] for event in screen.events]
        assert numbers == list(range(last_seq + 1, last_seq + 1 + len(numbers)))
    assert reads <= 2


async def test_who_comes_back_and_cannot_take_what_he_missed_gets_the_room_whole(stage):
    await told(stage, "one")
    screen = Screen()
    screen.bytes_waiting = WAITING_BYTES_MAX + 1
    watcher = await stage.rooms.watch(stage.room_id, screen, None, last_seq=0)
    assert screen.frames == []
    screen.bytes_waiting = 0
    stage.rooms.drained(watcher)
    await screen.until(lambda screen: screen.frames)
    assert [frame["reason"] for frame in screen.frames] == ["resync"]


async def test_who_is_there_already_and_missed_nothing_is_told_nothing(stage):
    await told(stage, "one")
    screen, watcher = await stage.watch(None)
    await stage.until(lambda: _is_told(stage))
    seq = screen.frames[-1]["seq"]
    stage.rooms.leave(watcher)
    again, _ = await stage.watch(None, last_seq=seq)
    assert again.frames == []


async def _is_told(stage) -> bool:
    return not stage.rooms._open.rooms[stage.room_id].untold


async def test_people_come_and_go_while_much_happens_and_nobody_has_a_hole(stage):
    """A snapshot counts as everything before it; then every number is above the last."""
    _, talker = await stage.watch(stage.cy)
    screens: list[tuple[Screen, int]] = []

    async def come_and_go(number):
        last_seq = None
        for _ in range(5):
            screen, watcher = await stage.watch(None, last_seq=last_seq, is_batch=number % 2 == 0)
            await screen.until(lambda screen: len(screen.frames) > 3)
            stage.rooms.leave(watcher)
            screens.append((screen, last_seq or 0))
            last_seq = screen.frames[-1]["seq"]

    async def talk():
        for number in range(600):
            stage.rooms.chat(talker, f"word {number}")
            await asyncio.sleep(0.002)

    talking = asyncio.create_task(talk())
    await asyncio.gather(*(come_and_go(number) for number in range(8)))
    await talking
    for screen, last_seq in screens:
        known = last_seq
        for frame in screen.frames:
            if frame.get("op") != "snapshot":
                assert frame["seq"] == known + 1
            known = frame["seq"]


async def test_who_never_reads_is_behind_gets_the_room_once_and_the_others_notice_nothing(stage):
    slow, slow_watcher = await stage.watch(stage.ana)
    quick, talker = await stage.watch(stage.cy)
    slow.bytes_waiting = WAITING_BYTES_MAX + 1
    for number in range(20):
        stage.rooms.chat(talker, f"word {number}")
    await quick.until(lambda screen: len(screen.named("chat")) == 20)
    assert not slow.named("chat")

    slow.bytes_waiting = 0
    stage.rooms.drained(slow_watcher)
    await slow.until(lambda screen: len(screen.named("snapshot")) == 2)
    stage.rooms.drained(slow_watcher)
    stage.rooms.chat(talker, "after")
    await slow.until(lambda screen: texts_of(screen) == ["after"])
    start, resync = slow.named("snapshot")
    assert (start["reason"], resync["reason"]) == ("start", "resync")
    assert len(resync["recent"]) == 20


async def test_who_stays_behind_is_shown_out(stage, monkeypatch):
    monkeypatch.setattr(loops, "BEHIND_SECONDS_MAX", 0.1)
    monkeypatch.setattr(loops, "IDLE_SECONDS", 0.1)
    slow, _ = await stage.watch(stage.ana)
    quick, talker = await stage.watch(stage.cy)
    slow.bytes_waiting = WAITING_BYTES_MAX + 1
    stage.rooms.chat(talker, "hello")
    await slow.until(lambda screen: screen.closed)
    assert slow.closed == (4413, "too_slow")
    assert slow.frames[-1]["code"] == "too_slow"
    await quick.until(lambda screen: screen.named("roomUser"))
    assert quick.closed is None


async def test_a_balance_is_told_in_the_room_and_in_ones_own_feed_whenever_it_changes(stage):
    feed = Screen()
    purse = await stage.rooms.watch_person(stage.ana, feed, lambda coins: b'{"coins":%d}' % coins)
    screen, _ = await stage.watch(stage.ana)
    await stage.gift(stage.ana, "kite", 2)
    for each in (feed, screen):
        await each.until(lambda screen: screen.named("balance"))
        assert [frame["coins"] for frame in each.named("balance")] == [999_990]
    assert feed.frames[0] == {"coins": 1_000_000}
    await stage.add_coins(stage.ana, 5)
    stage.rooms.wake()
    await feed.until(lambda screen: len(screen.named("balance")) == 2)
    assert feed.frames[-1]["coins"] == 999_995
    stage.rooms.leave(purse)
    await stage.gift(stage.ana)
    await screen.until(lambda screen: len(screen.named("balance")) == 3)
    assert len(feed.named("balance")) == 2


async def test_a_recharge_that_nobody_wakes_for_is_told_soon(stage):
    feed = Screen()
    await stage.rooms.watch_person(stage.ana, feed, lambda coins: b'{"coins":%d}' % coins)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await stage.add_coins(stage.ana, 70)
    await feed.until(lambda screen: screen.named("balance"))
    assert loop.time() - began < 0.5
    assert feed.frames[-1] == {"op": "balance", "coins": 1_000_070}


async def test_a_feed_that_was_behind_is_told_the_balance_of_now(stage):
    feed = Screen()
    purse = await stage.rooms.watch_person(stage.ana, feed, lambda coins: b'{"coins":%d}' % coins)
    feed.bytes_waiting = WAITING_BYTES_MAX + 1
    for _ in range(3):
        await stage.gift(stage.ana)

    async def is_noted():
        return purse.coins == 999_997

    await stage.until(is_noted)
    assert not feed.named("balance")
    feed.bytes_waiting = 0
    stage.rooms.drained(purse)
    stage.rooms.drained(purse)
    assert [frame["coins"] for frame in feed.named("balance")] == [999_997]


async def test_whose_account_changes_is_shown_out_everywhere_and_nobody_else(stage):
    feed = Screen()
    await stage.rooms.watch_person(stage.ana, feed, lambda coins: b'{"coins":%d}' % coins)
    hers = [await stage.watch(stage.ana) for _ in range(2)]
    his, _ = await stage.watch(stage.cy)
    await accounts.change_nickname(stage.db, user_id=stage.ana.id, nickname="Ana of the hills")

    for screen in (feed, *(screen for screen, _ in hers)):
        assert screen.closed == (4411, "session_changed")
        assert screen.frames[-1]["code"] == "session_changed"
    assert his.closed is None
    for _, watcher in hers:
        stage.rooms.leave(watcher)

    async def only_cy_watches():
        return stage.rooms.viewer_count(stage.room_id) == 1

    await stage.until(only_cy_watches)


async def test_who_changes_while_the_door_opens_does_not_get_in(stage, monkeypatch):
    read = lives.follows.is_following

    async def meanwhile(*arguments):
        stage.db.user_changed(stage.ana.id)
        return await read(*arguments)

    monkeypatch.setattr(follows, "is_following", meanwhile)
    with pytest.raises(Rejected, match="session_changed"):
        await stage.watch(stage.ana)
    assert not stage.rooms._open.purses


async def test_viewers_are_counted_by_person_and_screens_are_none(stage):
    watchers = [
        await stage.watch(user) for user in (stage.ana, stage.ana, stage.cy, None, stage.bo)
    ]
    await stage.watch(None, is_audience=False)

    async def are_three():
        return stage.rooms.viewer_count(stage.room_id) == 3

    await stage.until(are_three)
    for _, watcher in watchers[:3]:
        stage.rooms.leave(watcher)

    async def is_one():
        return stage.rooms.viewer_count(stage.room_id) == 1

    await stage.until(is_one)
    assert stage.rooms.viewer_count("0" * 32) == 0
    assert stage.rooms.top("0" * 32) == ()


async def test_the_top_of_a_room_is_who_gave_most(stage):
    await stage.gift(stage.ana, "kite")
    await stage.gift(stage.cy, "kite", 2)

    async def are_two():
        return len(stage.rooms.top(stage.room_id)) == 2

    await stage.until(are_two)
    top = [(each.person.login, each.coins) for each in stage.rooms.top(stage.room_id)]
    assert top == [("cy", 10), ("ana", 5)]


async def test_who_follows_is_told_once_and_seen_as_a_follower(stage):
    screen, watcher = await stage.watch(stage.ana)
    await stage.rooms.follow(watcher, is_following=True)
    await stage.rooms.follow(watcher, is_following=True)
    stage.rooms.chat(watcher, "hello")
    await screen.until(lambda screen: screen.named("chat"))

    [follow] = screen.named("follow")
    assert follow["data"]["uniqueId"] == "ana"
    assert screen.named("chat")[0]["data"]["followRole"] == 1
    assert await follows.is_following(stage.db, stage.ana.id, stage.bo.id)
    again, _ = await stage.watch(stage.ana)
    assert again.named("snapshot")[0]["following"] is True
    assert await stage.rooms.set_following(stage.ana.id, stage.bo.id, is_following=False)
    assert not await follows.is_following(stage.db, stage.ana.id, stage.bo.id)


async def test_nobody_follows_himself_or_who_is_no_creator(stage):
    for user_id, creator_id, code in (
        (stage.bo.id, stage.bo.id, "self_follow"),
        (stage.ana.id, stage.cy.id, "creator_not_found"),
        (stage.ana.id, "0" * 32, "creator_not_found"),
    ):
        with pytest.raises(Rejected, match=code):
            await stage.rooms.set_following(user_id, creator_id, is_following=True)


async def test_nobody_without_an_account_says_or_does_anything(stage):
    _, watcher = await stage.watch(None)
    for act in (
        lambda: stage.rooms.chat(watcher, "hello"),
        lambda: stage.rooms.like(watcher, 1),
        lambda: stage.rooms.share(watcher),
    ):
        with pytest.raises(Rejected, match="session_required"):
            act()


async def test_a_room_of_before_there_were_logs_is_over(stage):
    old = Room("0f" * 16, stage.cy.id, "Old songs", 1, 2)
    await rooms.insert(stage.db, old)
    async with stage.db.begin() as tx:
        await tx.exec_driver_sql("DELETE FROM room_logs WHERE room_id = ?", (b"\x0f" * 16,))
    for last_seq in (None, 0, 5):
        with pytest.raises(Rejected, match="room_ended"):
            await stage.watch(None, room_id=old.id, last_seq=last_seq)


async def test_a_room_that_nobody_knows_is_not_watched(stage):
    for room_id in ("0" * 32, "no id", ""):
        with pytest.raises(Rejected, match="room_not_found"):
            await stage.watch(None, room_id=room_id)


async def test_who_missed_the_end_of_a_room_gets_the_rest_of_it_and_is_shown_out(stage):
    first = await told(stage, "one")
    last_seq = first.events[-1]["seq"]
    await told(stage, "two")
    leaver, _ = await stage.watch(None)
    await stage.end()
    await leaver.until(lambda screen: screen.closed)
    for _ in range(2):  # From memory or from the disk, it is the same.
        screen = Screen()
        with pytest.raises(Rejected, match="room_ended"):
            await stage.rooms.watch(stage.room_id, screen, stage.ana, last_seq=last_seq)
        assert texts_of(screen) == ["two"]
        assert screen.events[-1]["event"] == "streamEnd"
        await stage.restart()
    with pytest.raises(Rejected, match="room_ended"):
        await stage.watch(stage.ana, last_seq=screen.events[-1]["seq"])


async def test_what_one_room_can_hold_back_is_bounded(stage, monkeypatch):
    monkeypatch.setattr("largesse.rooms.open_rooms.COMMANDS_WAITING_MAX", 3)
    _, watcher = await stage.watch(stage.ana)
    stage.rooms.share(watcher)
    stage.rooms.share(watcher)  # With her coming in there are three.
    with pytest.raises(Rejected, match="room_busy"):
        stage.rooms.share(watcher)
