"""A room in several processes is one room: everybody sees the same, in the same order, once."""

import asyncio
import atexit
import random
from contextlib import asynccontextmanager
from functools import cache

import pytest

from largesse.errors import Rejected
from largesse.records import audiences, room_log
from largesse.records.database import RecordsUnavailable
from largesse.rooms import loop as loops
from largesse.rooms import others
from largesse.rooms.room import ChatEntry, GiftEntry, StreamEndEntry
from tests import databases
from tests import postgres as postgres_servers
from tests.ledger.lossy import wire_to
from tests.rooms.nats_server import NatsServer, program
from tests.rooms.town import PATIENCE_SECONDS, happens, numbers, open_town, see

needs_nats = pytest.mark.skipif(program() is None, reason="nats-server is not installed here")


@pytest.fixture(params=["no bus", "postgres", pytest.param("nats", marks=needs_nats)])
async def town(request, tmp_path):
    with databases.records("postgres", tmp_path, request) as url:
        async with open_town(url) as opened:
            if request.param != "no bus":
                opened.bus_url = url if request.param == "postgres" else server().url
            yield opened


@cache
def server() -> NatsServer:
    """One for all tests here; no two of them share a room."""
    started = NatsServer()
    started.start()
    atexit.register(started.kill)
    return started


@pytest.fixture
async def quiet_town(request, tmp_path):
    """A town without a bus."""
    with databases.records("postgres", tmp_path, request) as url:
        async with open_town(url) as opened:
            yield opened


async def test_a_gift_that_one_process_takes_on_is_seen_in_all_in_the_same_order_once(town):
    processes = await town.start_many(3)
    watched = [await each.watch(None) for each in processes for _ in range(2)]
    screens = [screen for screen, _ in watched]

    async def send(process, viewer):
        return [await process.gift(viewer, "kite") for _ in range(20)]

    sent = await asyncio.gather(
        *(send(process, viewer) for process in processes for viewer in (town.ana, town.cy))
    )
    await see(screens, "gift", 120)

    told = await town.gifts_told()
    assert sorted(told) == sorted(gift for each in sent for gift in each)
    paid = [each.paid_at for each in await town.entries() if isinstance(each, GiftEntry)]
    assert paid == sorted(paid)
    for screen in screens:
        assert [gift["data"]["orderId"] for gift in screen.named("gift")] == told
        assert numbers(screen) == sorted(set(numbers(screen)))


async def test_what_is_said_and_liked_in_each_process_has_one_numbering(town):
    one, two = await town.start_many(2)
    (ana_sees, ana), (cy_sees, cy) = await one.watch(town.ana), await two.watch(town.cy)
    for number in range(5):
        one.rooms.chat(ana, f"ana {number}")
        two.rooms.chat(cy, f"cy {number}")
    one.rooms.like(ana, 3)
    two.rooms.like(cy, 4)
    await two.gift(town.ana)
    for screen in (ana_sees, cy_sees):
        await screen.until(lambda screen: len(screen.named("chat")) == 10)
        await screen.until(lambda screen: len(screen.named("like")) == 2)
        await screen.until(lambda screen: screen.named("gift"))

    entries = await town.entries()
    assert [each.seq for each in entries] == list(range(1, len(entries) + 1))
    lines = [each.text for each in entries if isinstance(each, ChatEntry)]
    for screen in (ana_sees, cy_sees):
        assert [chat["data"]["comment"] for chat in screen.named("chat")] == lines
        assert screen.named("like")[-1]["data"]["totalLikeCount"] == 7
    for name in ("ana", "cy"):
        mine = [line for line in lines if line.startswith(name)]
        assert mine == [f"{name} {number}" for number in range(5)]


async def test_a_streak_over_two_processes_is_one_streak_and_ends_once(town):
    one, two = await town.start_many(2)
    screens = [(await each.watch(None))[0] for each in (one, two)]
    for process in (one, two, one):
        await process.gift(town.ana)
    await see(screens, "gift")
    for screen in screens:
        await screen.until(lambda screen: screen.named("gift")[-1]["data"]["repeatCount"] == 3)
    town.advance(4)
    for screen in screens:
        await screen.until(_ends)
    town.advance(10)
    await two.gift(town.cy, "kite")
    for screen in screens:
        await screen.until(lambda screen: screen.named("gift")[-1]["data"]["giftName"] == "Kite")

    for screen in screens:
        [end] = _ends(screen)
        assert end["data"]["repeatCount"] == 3
    ends = [each for each in await town.entries() if getattr(each, "repeat_end", False)]
    assert len([each for each in ends if each.is_streakable]) == 1


def _ends(screen):
    return [
        gift
        for gift in screen.named("gift")
        if gift["data"]["repeatEnd"] and gift["data"]["giftName"] == "Rose"
    ]


async def test_everybody_is_counted_once_whatever_processes_he_is_connected_to(town, monkeypatch):
    monkeypatch.setattr(others, "RENEW_SECONDS", 0.1)
    one, two, three = await town.start_many(3)
    await one.watch(town.ana)
    await two.watch(town.ana)
    _, cy = await two.watch(town.cy)
    await three.watch(None)
    await three.watch(None)
    await three.watch(town.bo)  # Why the others are here, no viewer of his own.

    async def are(number):
        town.advance(0.1)
        return [each.viewers() for each in (one, two, three)] == [number] * 3

    await town.until(lambda: are(4))
    screen, _ = await one.watch(None, is_audience=False)
    assert screen.named("snapshot")[0]["viewerCount"] == 4
    two.rooms.leave(cy)
    await town.until(lambda: are(3))
    members = [
        each.person.login for each in await town.entries() if type(each).__name__ == "MemberEntry"
    ]
    assert sorted(members) == ["ana", "cy"]


async def test_who_loads_the_page_again_in_another_process_is_not_announced_again(town):
    one, two = await town.start_many(2)
    screen, _ = await two.watch(None)
    _, ana = await one.watch(town.ana)
    await see([screen], "member")
    one.rooms.leave(ana)
    _, ana = await two.watch(town.ana)
    two.rooms.chat(ana, "back again")
    await see([screen], "chat")
    town.advance(3)
    await two.gift(town.cy, "kite")
    await see([screen], "gift")
    assert len(screen.named("member")) == 1


async def test_the_viewers_of_a_process_that_died_are_not_counted_for_long(town, monkeypatch):
    monkeypatch.setattr(others, "RENEW_SECONDS", 0.02)
    one, two = await town.start_many(2)
    await one.watch(town.ana)
    await two.watch(town.cy)

    async def are(number, *processes):
        town.advance(0.1)
        return [each.viewers() for each in processes] == [number] * len(processes)

    await town.until(lambda: are(2, one, two))
    await one.kill()
    town.advance(others.AUDIENCE_SECONDS)
    await town.until(lambda: are(1, two))


async def test_a_process_that_was_silent_for_long_says_again_whom_it_has(town, monkeypatch):
    one, two = await town.start_many(2)
    await one.watch(town.ana)
    await two.watch(town.cy)

    async def are(number):
        town.advance(0.1)
        return [each.viewers() for each in (one, two)] == [number] * 2

    await town.until(lambda: are(2))
    town.advance(others.AUDIENCE_SECONDS)
    monkeypatch.setattr(others, "RENEW_SECONDS", 0.05)
    for process in (one, two):
        process.rooms._loop.others._renew_at = 0.0

    async def are_written():
        town.advance(0.1)
        async with one.db.connect() as tx:
            rows = await audiences.elsewhere(tx, "", None, now=town.clock.now())
        return len(rows.get(town.room_id, ())) == 2

    await town.until(are_written)
    await town.until(lambda: are(2))


async def test_a_room_that_one_process_ends_is_over_in_all(town):
    one, two = await town.start_many(2)
    screens = [(await each.watch(None))[0] for each in (one, two)]
    await two.gift(town.ana)
    await one.gift(town.cy, "kite")
    await two.rooms.end(town.room_id, town.bo.id, town.clock.now())
    for screen in screens:
        await screen.until(lambda screen: screen.closed)
        assert screen.closed == (4410, "room_ended")
        assert screen.named("streamEnd")[0]["data"]["actionId"] == 3

    entries = await town.entries()
    assert isinstance(entries[-1], StreamEndEntry)
    assert len(await town.gifts_told()) == 2

    async def is_refused():
        try:
            await one.gift(town.ana)
        except Rejected as refused:
            return refused.code == "room_ended"
        return False

    await town.until(is_refused)


async def test_a_room_opened_in_one_process_is_watched_and_gifted_to_in_another_at_once(town):
    one, two = await town.start_many(2)
    await one.rooms.end(town.room_id, town.bo.id, town.clock.now())
    town.advance(1)
    town.room_id = await one.open_room(town.bo)
    screen, watcher = await two.watch(town.ana)
    two.rooms.chat(watcher, "first")
    gift_id = await two.gift(town.ana, "kite")
    await screen.until(lambda screen: screen.named("chat") and screen.named("gift"))
    assert await town.gifts_told() == [gift_id]


async def test_who_comes_back_to_another_process_gets_what_he_missed(town):
    one, two = await town.start_many(2)
    screen, watcher = await one.watch(town.ana)
    one.rooms.chat(watcher, "one")
    await see([screen], "chat")
    last_seq = numbers(screen)[-1]
    await one.kill()
    sent = [await two.gift(town.cy, "kite") for _ in range(3)]

    async def are_told():
        return await town.gifts_told() == sent

    await town.until(are_told)
    again, _ = await two.watch(town.ana, last_seq=last_seq)
    assert [gift["data"]["orderId"] for gift in again.named("gift")] == sent
    assert numbers(again) == list(range(last_seq + 1, last_seq + 1 + len(numbers(again))))


async def test_a_gift_that_a_dying_process_took_on_is_told_by_another(town):
    one, two = await town.start_many(2)
    screen, _ = await two.watch(None)
    await one.stall()
    gift_id = await one.gift(town.ana, "kite")
    await see([screen], "gift")
    assert await town.gifts_told() == [gift_id]


async def test_a_room_whose_end_a_dying_process_did_not_write_is_ended_by_another(
    town, monkeypatch
):
    monkeypatch.setattr(others, "UNFINISHED_SECONDS", 0.05)
    one, two = await town.start_many(2)
    screen, _ = await two.watch(None)
    await one.stall()
    await one.rooms.end(town.room_id, town.bo.id, town.clock.now())
    await screen.until(lambda screen: screen.closed)
    assert await room_log.unfinished(two.db) == []


async def test_a_balance_is_told_wherever_its_owner_is_connected(town):
    one, two = await town.start_many(2)
    screen, _ = await two.watch(town.ana, is_audience=False)
    await one.gift(town.ana, "kite")
    await screen.until(lambda screen: screen.named("balance"))
    assert screen.named("balance")[-1]["coins"] == 999_995


async def test_a_process_that_stops_being_in_its_turn_holds_nobody_up(quiet_town, monkeypatch):
    town = quiet_town
    one, two = await town.start_many(2)
    (_, ana), (screen, _) = await one.watch(town.ana), await two.watch(None)
    await see([screen], "member")
    append, in_turn = room_log.append_in_turn, asyncio.Event()

    async def hang(*arguments, **places):
        if asyncio.current_task() is one.task:
            in_turn.set()
            await asyncio.Event().wait()
        return await append(*arguments, **places)

    monkeypatch.setattr(room_log, "append_in_turn", hang)
    one.rooms.chat(ana, "never written")
    await happens(in_turn)
    sent = [await one.gift(town.ana, "kite"), await two.gift(town.cy, "kite")]
    await one.kill()
    await see([screen], "gift", 2)
    assert await town.gifts_told() == sent


async def test_a_process_that_sleeps_in_its_turn_loses_it(quiet_town, monkeypatch):
    town = quiet_town
    monkeypatch.setattr(room_log, "TURN_SECONDS_MAX", 1)
    monkeypatch.setattr(loops, "FAILURE_SECONDS", 0.02)
    one, two = await town.start_many(2)
    (one_sees, ana), (two_sees, _) = await one.watch(town.ana), await two.watch(None)
    await see([one_sees, two_sees], "member")
    append, in_turn, wakes = room_log.append_in_turn, asyncio.Event(), asyncio.Event()

    async def sleep(*arguments, **places):
        if asyncio.current_task() is one.task and not in_turn.is_set():
            in_turn.set()
            await wakes.wait()
        return await append(*arguments, **places)

    monkeypatch.setattr(room_log, "append_in_turn", sleep)
    one.rooms.chat(ana, "before I slept")
    await happens(in_turn)
    gift_id = await two.gift(town.cy, "kite")
    await see([two_sees], "gift")
    wakes.set()
    await see([one_sees, two_sees], "chat")
    await see([one_sees], "gift")

    assert await town.gifts_told() == [gift_id]
    kinds = [type(each) for each in await town.entries()]
    assert kinds.index(GiftEntry) < kinds.index(ChatEntry)
    for screen in (one_sees, two_sees):
        assert numbers(screen) == sorted(set(numbers(screen)))


@pytest.mark.parametrize("is_written", [True, False], ids=["written", "not written"])
async def test_a_turn_whose_outcome_nobody_heard_is_told_once(quiet_town, monkeypatch, is_written):
    town = quiet_town
    one, two = await town.start_many(2)
    (one_sees, ana), (two_sees, cy) = await one.watch(town.ana), await two.watch(town.cy)
    await see([one_sees, two_sees], "member", 2)
    begin, broke = one.db.begin, asyncio.Event()
    monkeypatch.setattr(loops, "FAILURE_SECONDS", 0.02)

    def breaking():
        return _breaks_off(begin, is_written=is_written, broke=broke)

    monkeypatch.setattr(one.db, "begin", breaking)
    one.rooms.chat(ana, "did you hear me")
    one.rooms.like(ana, 2)
    gift_id = await one.gift(town.ana)
    await happens(broke)
    two.rooms.chat(cy, "somebody else")
    for screen in (one_sees, two_sees):
        await see([screen], "chat", 2)
        await see([screen], "gift")
        await see([screen], "like")

    entries = await town.entries()
    assert [each.seq for each in entries] == list(range(1, len(entries) + 1))
    assert await town.gifts_told() == [gift_id]
    assert sorted(each.text for each in entries if isinstance(each, ChatEntry)) == [
        "did you hear me",
        "somebody else",
    ]
    for screen in (one_sees, two_sees):
        assert len(screen.named("chat")) == 2
        assert screen.named("like")[-1]["data"]["totalLikeCount"] == 2
        assert numbers(screen) == sorted(set(numbers(screen)))
        assert len(screen.named("snapshot")) == 1

    async def are_counted():
        town.advance(0.1)
        return one.viewers() == two.viewers() == 2

    await town.until(are_counted)


def _breaks_off(begin, *, is_written, broke):
    """A write transaction whose answer is lost, the first that has appended something."""

    @asynccontextmanager
    async def transaction():
        async with begin() as tx:
            turn = await room_log.place(tx)
            yield tx
            is_append = (await room_log.place(tx)).turn > turn.turn
            if is_append and not broke.is_set() and not is_written:
                broke.set()
                raise RecordsUnavailable("connection_lost", "before it was committed")
        if is_append and not broke.is_set():
            broke.set()
            raise RecordsUnavailable("connection_lost", "after it was committed")

    return transaction()


@pytest.mark.parametrize("arrives", [True, False], ids=["committed", "not committed"])
async def test_a_connection_that_is_cut_between_commit_and_answer(
    postgres, quiet_town, monkeypatch, arrives
):
    town = quiet_town
    monkeypatch.setattr(loops, "FAILURE_SECONDS", 0.02)
    async with wire_to(postgres) as wire:
        two, _ = await town.start_many(2)
        one = await town.start(url=wire.url(town.url.rpartition("/")[2]))
        (one_sees, ana), (two_sees, _) = await one.watch(town.ana), await two.watch(None)
        await see([one_sees, two_sees], "member")
        append, is_cut = room_log.append_in_turn, False

        async def cut(tx, place, segments, states, **to):
            nonlocal is_cut
            new = await append(tx, place, segments, states, **to)
            if asyncio.current_task() is one.task and segments and not is_cut:
                is_cut = True
                wire.cut_at(b"COMMIT", delivers=arrives)
            return new

        monkeypatch.setattr(room_log, "append_in_turn", cut)
        one.rooms.chat(ana, "is anybody there")
        await happens(wire.was_cut)
        gift_id = await two.gift(town.cy, "kite")
        await see([one_sees, two_sees], "gift")
        await see([one_sees, two_sees], "chat")

        entries = await town.entries()
        assert [each.seq for each in entries] == list(range(1, len(entries) + 1))
        assert await town.gifts_told() == [gift_id]
        for screen in (one_sees, two_sees):
            assert len(screen.named("chat")) == 1
            assert numbers(screen) == sorted(set(numbers(screen)))
        await one.stop()


async def test_a_user_who_changed_in_one_process_is_let_go_in_all(town):
    if not town.bus_url:
        pytest.skip("without a bus the session's half minute bounds it")
    one, two = await town.start_many(2)
    forgotten = []
    two.db.on_user_change.append(forgotten.append)
    screen, _ = await two.watch(town.ana)
    stays, _ = await two.watch(town.cy)
    keys = []
    two.rooms.on_key_drop.append(keys.append)
    one.rooms.drop_key("a key")
    one.db.user_changed(town.ana.id)
    await screen.until(lambda screen: screen.closed)

    assert screen.closed == (4411, "session_changed")
    assert forgotten == [town.ana.id]
    assert keys == ["a key"]
    assert stays.closed is None
    assert two.rooms.has_changed_since(town.ana.id, town.clock.now() - 1)


async def test_while_the_bus_is_away_everything_is_seen_all_the_same(tmp_path, request):
    if program() is None:
        pytest.skip("nats-server is not installed here")
    nats = NatsServer()
    nats.start()
    with databases.records("postgres", tmp_path, request) as url:
        async with open_town(url) as town:
            town.bus_url = nats.url
            one, two = await town.start_many(2)
            screens = [(await each.watch(None))[0] for each in (one, two)]
            sent = [await one.gift(town.ana, "kite")]
            await see(screens, "gift")
            nats.kill()
            sent += [await each.gift(town.cy, "kite") for each in (one, two)]
            await see(screens, "gift", 3)
            nats.start()
            sent += [await each.gift(town.ana, "kite") for each in (one, two)]
            await see(screens, "gift", 5)
            assert await town.gifts_told() == sent
            for screen in screens:
                assert [gift["data"]["orderId"] for gift in screen.named("gift")] == sent
    nats.kill()


async def test_what_nats_carries_is_told_without_reading_the_log(tmp_path, request, monkeypatch):
    """The reader's log is held shut: what he sees can only have come over the bus."""
    if program() is None:
        pytest.skip("nats-server is not installed here")
    with databases.records("postgres", tmp_path, request) as url:
        async with open_town(url) as town:
            town.bus_url = server().url
            one, two = await town.start_many(2)
            screen, _ = await two.watch(None, is_audience=False)
            await two.stall()
            sent = [await one.gift(town.ana, "kite") for _ in range(3)]
            await see([screen], "gift", 3)
            assert [gift["data"]["orderId"] for gift in screen.named("gift")] == sent


async def test_a_gift_on_its_way_when_another_process_ended_the_room_is_told_after_the_end(
    quiet_town,
):
    town = quiet_town
    one, two = await town.start_many(2)
    screen, _ = await two.watch(None)
    await one.rooms.end(town.room_id, town.bo.id, town.clock.now())
    await screen.until(lambda screen: screen.closed)
    await town.late_gift(town.ana)
    two.rooms.wake()

    async def is_told():
        return len(await town.gifts_told()) == 1

    await town.until(is_told)
    *_, end, gift, over = await town.entries()
    assert isinstance(end, StreamEndEntry)
    assert (gift.repeat_end, over.repeat_end) == (False, True)


async def test_three_processes_with_ledger_and_records_on_one_server(request, tmp_path):
    with databases.records("postgres", tmp_path, request) as url:
        async with open_town(url, has_postgres_ledger=True) as town:
            town.bus_url = url
            processes = await town.start_many(3)
            viewers = await town.add_viewers(6)
            screens = [(await each.watch(town.ana, is_audience=False))[0] for each in processes]

            async def send(number, viewer):
                return [await processes[number % 3].gift(viewer, "kite") for _ in range(10)]

            sent = await asyncio.gather(
                *(send(number, viewer) for number, viewer in enumerate([*viewers, town.ana]))
            )
            await see(screens, "gift", 70)

            told = await town.gifts_told()
            assert sorted(told) == sorted(gift for each in sent for gift in each)
            for screen in screens:
                assert [gift["data"]["orderId"] for gift in screen.named("gift")] == told
                await screen.until(lambda screen: screen.named("balance")[-1]["coins"] == 999_950)


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_of_gifts_words_deaths_and_cut_connections_loses_and_doubles_nothing(
    postgres, request, tmp_path, monkeypatch, seed
):
    """Chance is the seed's, but for when what happens; so a failure may need several tries."""
    monkeypatch.setattr(loops, "FAILURE_SECONDS", 0.02)
    chance = random.Random(seed)
    with databases.records("postgres", tmp_path, request) as url:
        async with open_town(url) as town:
            town.bus_url = url if seed else ""
            await town.start_many(3)
            viewers = await town.add_viewers(4)
            sent: list[str] = []
            said: list[str] = []

            async def live(viewer):
                for number in range(12):
                    process = chance.choice(town.processes)
                    sent.append(await process.gift(viewer, chance.choice(["rose", "kite"])))
                    watcher = await watched_while_alive(process, viewer)
                    if watcher is None:
                        continue
                    line = f"{viewer.login} {number}"
                    process.rooms.chat(watcher, line)
                    said.append(line)
                    await asyncio.sleep(chance.random() / 20)
                    process.rooms.leave(watcher)

            async def strike():
                for _ in range(6):
                    await asyncio.sleep(chance.random() / 5)
                    if chance.random() < 0.4:
                        await chance.choice(town.processes).stall()
                        await asked_again(town.start)
                    else:
                        cut_all_connections(postgres, url)

            screens = [(await each.watch(None))[0] for each in town.processes]
            await asyncio.gather(strike(), *(live(viewer) for viewer in viewers))

            async def are_told():
                return len(await asked_again(town.gifts_told)) >= len(sent)

            await town.until(are_told)
            town.advance(10)

            async def have_ended():
                return _open_streaks(await town.entries()) == set()

            await town.until(have_ended)
            entries = await town.entries()
            assert [each.seq for each in entries] == list(range(1, len(entries) + 1))
            assert sorted(await town.gifts_told()) == sorted(sent)
            paid = [each for each in entries if isinstance(each, GiftEntry)]
            paid = [each.paid_at for each in paid if not (each.is_streakable and each.repeat_end)]
            assert paid == sorted(paid)
            lines = [each.text for each in entries if isinstance(each, ChatEntry)]
            assert len(lines) == len(set(lines))
            assert {*lines} <= {*said}
            by_seq = {each.seq: each for each in entries}
            for screen in screens:
                assert numbers(screen) == sorted(set(numbers(screen)))
                for gift in screen.named("gift"):
                    assert by_seq[gift["seq"]].order_id == gift["data"]["orderId"]


async def asked_again(ask, *arguments):
    """As whoever is told that the records are away asks again."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await ask(*arguments)
            except RecordsUnavailable:
                await asyncio.sleep(0)


async def watched_while_alive(process, viewer):
    """A watcher of the room; None where the process dies, for who speaks to the dead is not heard."""
    asking = asyncio.create_task(asked_again(process.watch, viewer))
    await asyncio.wait({asking, process.task}, return_when=asyncio.FIRST_COMPLETED)
    if process.task.done():
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return None
    return (await asking)[1]


def _open_streaks(entries):
    gifts = [each for each in entries if isinstance(each, GiftEntry) and each.is_streakable]
    ended = [each.group_id for each in gifts if each.repeat_end]
    assert len(ended) == len(set(ended))
    return {each.group_id for each in gifts} - set(ended)


def cut_all_connections(postgres, url):
    """Of all processes, from the server's side, in whatever they are doing."""
    name = url.rpartition("/")[2]
    postgres_servers.sql(
        postgres,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{name}' AND pid <> pg_backend_pid()",
    )
