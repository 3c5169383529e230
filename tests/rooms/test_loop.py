"""What happens in a room is written down once, in order, and only then told."""

import asyncio

import pytest

from largesse.clock import SECOND
from largesse.errors import Rejected
from largesse.records import projections, room_log, users
from largesse.records.database import RecordsUnavailable
from largesse.rooms import loop as loops
from largesse.rooms.room import ChatEntry, GiftEntry, Person, StreamEndEntry
from tests.rooms.stage import Stage, open_stage


async def test_a_gift_is_seen_by_everybody_in_the_room_with_its_sender(stage):
    watched = [await stage.watch(user) for user in (stage.ana, stage.cy, None)]
    gift_id = await stage.gift(stage.ana, "rose", 3)

    for screen, _ in watched:
        await screen.until(lambda screen: screen.named("gift"))
        [gift] = screen.named("gift")
        data = gift["data"]
        assert (data["orderId"], data["uniqueId"]) == (gift_id, "ana")
        assert (data["giftName"], data["repeatCount"], data["repeatEnd"]) == ("Rose", 3, False)
    assert await stage.gifts_told() == [gift_id]


async def test_a_gift_in_a_quiet_room_is_told_at_once(stage):
    screen, _ = await stage.watch(None)
    await screen.until(lambda screen: screen.named("roomUser"))
    await stage.until(lambda: _is_quiet(stage))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await stage.gift(stage.ana)
    await screen.until(lambda screen: screen.named("gift"))
    assert loop.time() - began < loops.TELL_SECONDS


async def _is_quiet(stage: Stage) -> bool:
    live = stage.rooms._open.rooms[stage.room_id]
    return asyncio.get_running_loop().time() - live.tell_at > loops.TELL_SECONDS


async def test_chat_likes_and_shares_are_numbered_with_the_gifts(stage):
    screen, watcher = await stage.watch(stage.ana)
    stage.rooms.chat(watcher, "  hello   there ")
    stage.rooms.share(watcher)
    for _ in range(3):
        stage.rooms.like(watcher, 5)
    await screen.until(lambda screen: screen.named("like"))
    await stage.gift(stage.ana)
    await screen.until(lambda screen: screen.named("gift"))

    [chat], [like] = screen.named("chat"), screen.named("like")
    assert chat["data"]["comment"] == "hello there"
    assert (like["data"]["likeCount"], like["data"]["totalLikeCount"]) == (15, 15)
    seen = [event["seq"] for event in screen.events]
    assert seen == sorted(seen)
    written = [entry.seq for entry in await stage.entries()]
    assert written == list(range(1, len(written) + 1))


async def test_a_thousand_gifts_of_twenty_people_are_all_in_the_log_in_the_ledgers_order(stage):
    viewers = await stage.add_viewers(20)
    screen, _ = await stage.watch(None)

    async def send_fifty(viewer):
        return [await stage.gift(viewer) for _ in range(50)]

    sent = [gift for each in await asyncio.gather(*map(send_fifty, viewers)) for gift in each]
    await stage.until(lambda: _has_gifts(stage, len(sent)))

    gifts = [entry for entry in await stage.entries() if isinstance(entry, GiftEntry)]
    assert sorted(await stage.gifts_told()) == sorted(sent)
    paid = [entry.paid_at for entry in gifts]
    assert paid == sorted(paid)
    counts = {}
    for entry in gifts:
        assert entry.repeat_count == counts.get(entry.group_id, 0) + 1
        counts[entry.group_id] = entry.repeat_count
    assert list(counts.values()) == [50] * 20
    await screen.until(lambda screen: _counted(screen) == 1_000)
    numbers = [event["seq"] for event in screen.events]
    assert numbers == sorted(set(numbers))


async def _has_gifts(stage: Stage, number: int) -> bool:
    return len(await stage.gifts_told()) == number


def _counted(screen) -> int:
    counts = {gift["data"]["groupId"]: gift["data"]["repeatCount"] for gift in screen.named("gift")}
    return sum(counts.values())


async def test_a_combo_ends_once_when_its_window_is_over(stage):
    screen, _ = await stage.watch(None)
    for _ in range(3):
        await stage.gift(stage.ana)
    await stage.until(lambda: _has_gifts(stage, 3))
    stage.advance(4)
    await screen.until(_ends)
    stage.advance(60)
    await stage.gift(stage.ana)
    await screen.until(lambda screen: screen.named("gift")[-1]["data"]["repeatCount"] == 1)

    [end] = _ends(screen)
    assert end["data"]["repeatCount"] == 3


def _ends(screen):
    return [gift for gift in screen.named("gift") if gift["data"]["repeatEnd"]]


async def test_a_combo_ends_when_its_sender_leaves(stage):
    screen, _ = await stage.watch(None)
    _, watcher = await stage.watch(stage.ana)
    await stage.gift(stage.ana)
    await screen.until(lambda screen: screen.named("gift"))
    stage.rooms.leave(watcher)
    stage.rooms.leave(watcher)
    await screen.until(_ends)


async def test_a_combo_that_was_open_when_the_process_died_has_its_one_end_after_the_start(stage):
    await stage.gift(stage.ana)
    await stage.until(lambda: _has_gifts(stage, 1))
    await stage.restart(is_killed=True)
    stage.advance(4)

    async def has_ended():
        gifts = [entry for entry in await stage.entries() if isinstance(entry, GiftEntry)]
        return [entry.repeat_end for entry in gifts] == [False, True]

    await stage.until(has_ended)
    await stage.restart()
    screen, _ = await stage.watch(None, last_seq=0)
    assert [event["data"]["repeatEnd"] for event in screen.named("gift")] == [False, True]


async def test_gifts_of_while_nobody_wrote_the_log_are_told_once_after_the_start(stage):
    """The process was killed between the ledger's commit and the append."""
    await stage.restart(is_killed=True, runs=False)
    sent = [await stage.gift(stage.ana, "kite") for _ in range(5)]
    await stage.restart(runs=False)
    assert await stage.gifts_told() == []
    stage.run()
    await stage.until(lambda: _has_gifts(stage, 5))
    await stage.restart()
    sent.append(await stage.gift(stage.ana, "kite"))
    await stage.until(lambda: _has_gifts(stage, 6))
    assert await stage.gifts_told() == sent


async def test_what_was_written_and_not_told_comes_with_the_resume(stage):
    """The process was killed between the append and the telling."""
    screen, watcher = await stage.watch(stage.ana)
    stage.rooms.chat(watcher, "one")
    await screen.until(lambda screen: screen.named("chat"))
    last_seq = screen.events[-1]["seq"]
    sent = [await stage.gift(stage.cy, "kite") for _ in range(3)]
    await stage.until(lambda: _has_gifts(stage, 3))
    await stage.restart(is_killed=True)

    again, _ = await stage.watch(stage.ana, last_seq=last_seq)
    assert [event["data"]["orderId"] for event in again.named("gift")] == sent
    numbers = [event["seq"] for event in again.events]
    assert numbers == list(range(last_seq + 1, last_seq + 1 + len(numbers)))


async def test_numbers_go_on_after_a_restart_without_gap_or_repeat(stage):
    for number in range(4):
        _, watcher = await stage.watch(stage.ana)
        stage.rooms.chat(watcher, f"in life {number}")
        await stage.gift(stage.cy)
        await stage.until(lambda number=number: _has_gifts(stage, number + 1))
        await stage.restart(is_killed=number % 2 == 0)
    numbers = [entry.seq for entry in await stage.entries()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_start_reads_what_came_after_the_copy_of_the_state(stage, monkeypatch):
    monkeypatch.setattr("largesse.rooms.log.COPY_ENTRIES_MIN", 10)
    monkeypatch.setattr("largesse.rooms.log.COPY_SECONDS_MIN", 0)
    for _ in range(25):
        await stage.gift(stage.ana)
    await stage.until(lambda: _has_gifts(stage, 25))
    before = stage.rooms.top(stage.room_id)
    await stage.restart(is_killed=True, runs=False)
    _, kept = await room_log.find(stage.db, stage.room_id)
    assert kept is not None
    assert kept.seq > 0
    screen, _ = await stage.watch(None)
    [snapshot] = screen.named("snapshot")
    [streak] = snapshot["streaks"]
    assert streak["repeatCount"] == 25
    assert stage.rooms.top(stage.room_id) == before


async def test_the_end_of_a_room_is_told_after_every_gift_before_it_and_then_the_door_closes(stage):
    screen, watcher = await stage.watch(stage.ana)
    gifts = [asyncio.create_task(stage.gift(stage.cy, "kite")) for _ in range(30)]
    await asyncio.sleep(0)
    await stage.end()
    sent = await asyncio.gather(*gifts)
    await screen.until(lambda screen: screen.closed)

    assert screen.closed == (4410, "room_ended")
    *_, last, refused = screen.frames
    assert (last["event"], last["data"]["actionId"]) == ("streamEnd", 3)
    assert refused["code"] == "room_ended"
    assert sorted(await stage.gifts_told()) == sorted(sent)
    assert isinstance((await stage.entries())[-1], StreamEndEntry)
    with pytest.raises(Rejected, match="room_ended"):
        stage.rooms.chat(watcher, "too late")


@pytest.mark.parametrize("changes_per_turn", [2, 500])
async def test_gifts_that_the_ledger_still_decides_are_told_before_the_end(
    stage, monkeypatch, changes_per_turn
):
    monkeypatch.setattr(loops, "CHANGES_PER_TURN", changes_per_turn)
    await stage.restart(runs=False)
    await stage.rooms._loop._begin()
    place = await room_log.position(stage.db)
    paying = [
        asyncio.create_task(stage.pay(stage.ana, stage.room_id, number)) for number in range(5)
    ]
    await asyncio.sleep(0)
    assert await stage.ledger.changes(place) == []
    stage.rooms._loop.end(stage.room_id, 3)
    stage.run()

    async def has_ended():
        return StreamEndEntry in [type(entry) for entry in await stage.entries()]

    await stage.until(has_ended)
    *before, end = await stage.entries()
    assert await asyncio.gather(*paying) == await stage.gifts_told()
    assert len([entry for entry in before if isinstance(entry, GiftEntry)]) == 6
    assert isinstance(end, StreamEndEntry)


async def test_an_operator_ends_a_room_under_its_own_number(stage):
    screen, _ = await stage.watch(None)
    await stage.rooms.end(stage.room_id, None, stage.clock.now())
    await screen.until(lambda screen: screen.named("streamEnd"))
    assert screen.named("streamEnd")[0]["data"]["actionId"] == 4


async def test_a_gift_that_comes_after_the_end_is_told_with_its_end(stage):
    await stage.end()

    async def has_ended():
        return [type(entry) for entry in await stage.entries()] == [StreamEndEntry]

    await stage.until(has_ended)
    gift_id = await stage.pay(stage.ana, stage.room_id, 1)
    stage.rooms.wake()
    await stage.until(lambda: _has_gifts(stage, 1))

    _, gift, end = await stage.entries()
    assert (gift.order_id, gift.repeat_end, end.repeat_end) == (gift_id, False, True)
    with pytest.raises(Rejected, match="room_ended"):
        await stage.watch(None)


async def test_a_room_whose_end_was_not_written_is_finished_at_the_start(stage):
    screen, _ = await stage.watch(None)
    await stage.gift(stage.ana)
    await screen.until(lambda screen: screen.named("gift"))
    await stage.restart(is_killed=True, runs=False)
    await stage.end()
    await stage.restart(is_killed=True)

    async def has_ended():
        return isinstance((await stage.entries())[-1], StreamEndEntry)

    await stage.until(has_ended)
    [end] = [entry for entry in await stage.entries() if getattr(entry, "repeat_end", False)]
    assert end.repeat_count == 1
    assert await room_log.unfinished(stage.db) == []


async def test_while_the_disk_is_full_gifts_are_paid_and_later_told_once(stage, monkeypatch):
    screen, watcher = await stage.watch(stage.ana)
    await screen.until(lambda screen: screen.named("member"))
    append, tries = room_log.append, asyncio.Event()

    async def full(*_, **__):
        tries.set()
        raise RecordsUnavailable("disk_full", "database or disk is full")

    monkeypatch.setattr(loops, "FAILURE_SECONDS", 0.02)
    monkeypatch.setattr(room_log, "append", full)
    sent = [await stage.gift(stage.cy, "kite") for _ in range(4)]
    stage.rooms.chat(watcher, "still here")
    await tries.wait()
    assert not screen.named("gift", "chat"), "told before it was written"
    monkeypatch.setattr(room_log, "append", append)
    await screen.until(lambda screen: len(screen.named("gift")) == 4 and screen.named("chat"))

    assert await stage.gifts_told() == sent
    numbers = [event["seq"] for event in screen.events]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_an_append_that_broke_off_and_was_written_after_all_is_not_written_twice(
    stage, monkeypatch
):
    screen, _ = await stage.watch(None)
    await screen.until(lambda screen: screen.named("roomUser"))
    append, is_first = room_log.append, True

    async def broken_off(*arguments, **places):
        nonlocal is_first
        await append(*arguments, **places)
        if is_first:
            is_first = False
            raise RecordsUnavailable("connection_lost", "it may have been written")

    monkeypatch.setattr(loops, "FAILURE_SECONDS", 0.02)
    monkeypatch.setattr(room_log, "append", broken_off)
    sent = [await stage.gift(stage.cy, "kite") for _ in range(3)]
    await screen.until(lambda screen: len(screen.named("gift")) == 3)
    assert await stage.gifts_told() == sent


async def test_after_a_fault_of_ours_the_room_is_read_from_the_disk_and_shown_anew(
    stage, monkeypatch
):
    screen, watcher = await stage.watch(stage.ana)
    await screen.until(lambda screen: screen.named("member"))
    step, is_first = loops.step, True

    def faulty(state, command, now):
        nonlocal is_first
        entries = step(state, command, now)
        if is_first:
            is_first = False
            raise ZeroDivisionError
        return entries

    monkeypatch.setattr(loops, "FAILURE_SECONDS", 0.02)
    monkeypatch.setattr(loops, "step", faulty)
    gift_id = await stage.gift(stage.cy, "kite")
    await screen.until(lambda screen: screen.named("gift"))

    assert [frame["reason"] for frame in screen.named("snapshot")] == ["start", "resync"]
    assert await stage.gifts_told() == [gift_id]
    assert stage.rooms.viewer_count(stage.room_id) == 1
    stage.rooms.leave(watcher)


async def test_gifts_of_before_there_were_logs_are_not_told(tmp_path):
    async with open_stage(tmp_path) as stage:
        await stage.until(lambda: _has_begun(stage))
        await stage.close()
        await stage.open(runs=False)
        before = [await stage.pay(stage.ana, stage.room_id, number) for number in range(3)]
        async with stage.db.begin() as tx:
            await tx.exec_driver_sql("UPDATE projections SET after = -1 WHERE name = 'room_log'")
        await projections.project(stage.db, stage.ledger, limit=2)
        stage.run()
        await stage.until(lambda: _has_begun(stage))
        gift_id = await stage.gift(stage.ana)
        await stage.until(lambda: _has_gifts(stage, 1))
        assert await stage.gifts_told() == [gift_id]
        assert gift_id not in before


async def _has_begun(stage: Stage) -> bool:
    return await room_log.position(stage.db) != room_log.NOWHERE


async def test_many_rooms_are_written_together_and_each_has_its_own_numbers(stage, monkeypatch):
    creators = []
    for number in range(20):
        login = f"creator{number}"
        creator = stage.bo.__class__(
            f"{500 + number:032x}", login, f"{login}@example.org", "1990-01-01", "US",
            ("viewer", "creator"), 1,
        )  # fmt: skip
        await users.insert_user(stage.db, creator, password_hash="none")
        creators.append(creator)
    rooms = [await stage.open_room(creator) for creator in creators]
    appends = 0
    append = room_log.append

    async def counted(*arguments, **places):
        nonlocal appends
        appends += 1
        await append(*arguments, **places)

    monkeypatch.setattr(room_log, "append", counted)
    paid = {room_id: await stage.pay(stage.ana, room_id, n) for n, room_id in enumerate(rooms)}
    stage.rooms.wake()
    for room_id, gift_id in paid.items():

        async def is_told(room_id=room_id):
            return await stage.gifts_told(room_id)

        await stage.until(is_told)
        assert await stage.gifts_told(room_id) == [gift_id]
        assert (await stage.entries(room_id))[0].seq == 1
    assert appends <= 4


async def test_an_idle_loop_does_next_to_nothing(stage):
    turns = 0
    turn = stage.rooms._loop._turn

    async def counted():
        nonlocal turns
        turns += 1
        return await turn()

    await stage.until(lambda: _has_begun(stage))
    stage.rooms._loop._turn = counted
    await asyncio.sleep(0.5)
    assert turns <= 2
    screen, _ = await stage.watch(None)
    await screen.until(lambda screen: screen.named("roomUser"))
    turns = 0
    await asyncio.sleep(0.5)
    assert turns <= 7


async def test_gifts_in_a_room_that_the_records_lost_hold_up_nobody(stage):
    await stage.pay(stage.ana, "0e" * 16, 1)
    gift_id = await stage.gift(stage.ana)
    await stage.until(lambda: _has_gifts(stage, 1))
    assert await stage.gifts_told() == [gift_id]


async def test_a_stop_writes_what_waits_and_where_the_next_start_goes_on(stage):
    _, watcher = await stage.watch(stage.ana)
    stage.rooms.chat(watcher, "last words")
    gift_id = await stage.gift(stage.cy)
    await stage.restart(runs=False)
    assert await stage.gifts_told() == [gift_id]
    assert any(getattr(entry, "text", "") == "last words" for entry in await stage.entries())
    log, kept = await room_log.find(stage.db, stage.room_id)
    assert kept is not None
    assert kept.seq == log.seq
    changes = await stage.ledger.changes(0)
    assert await room_log.position(stage.db) == changes[-1].timestamp


async def test_what_the_clock_says_is_what_the_events_say(stage):
    screen, watcher = await stage.watch(stage.ana)
    stage.rooms.chat(watcher, "now")
    await screen.until(lambda screen: screen.named("chat"))
    assert screen.named("chat")[0]["ts"] == stage.clock.now() // (SECOND // 1000)


async def test_a_crowd_in_a_flood_is_sent_a_bounded_number_of_bytes_and_a_counter_everything(stage):
    for _ in range(600):
        await stage.watch(None, is_batch=True)
    counter, _ = await stage.watch(None)
    live = stage.rooms._open.rooms[stage.room_id]
    crowd = [watcher for watcher in live.hub if watcher.is_batch]
    person = Person(stage.ana.id, "ana", "ana")
    first = live.log.state.seq + 1
    lines = [ChatEntry(first + n, 1_795_345_200_123, person, 0, f"line {n}") for n in range(200)]
    already = len(counter.named("chat"))

    sent = await loops._tell_watchers(live, lines)

    a_second = sent / loops.TELL_SECONDS
    assert a_second <= 2 * loops.TELL_BYTES_PER_SECOND
    assert len(counter.named("chat")) - already == 200
    newest = crowd[0].connection.named("chat")
    assert [line["data"]["comment"] for line in newest] == [f"line {n}" for n in range(196, 200)]
