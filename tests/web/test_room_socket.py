"""A room over its socket, through the whole of a served installation: watch, take part, be refused."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from largesse.clock import SECOND
from largesse.limits import BAD_FRAMES_MAX, RATES
from largesse.rooms.tickets import LIFETIME
from largesse.web import conversation
from tests.web.watchers import connected, place, ticket, watching

LONG = "💐" * 10_000
TURNED = "\u202egnihton\u2066"


async def test_a_gift_is_acknowledged_and_everybody_sees_who_sent_it(world):
    await world.give_coins(world.ana, 10)
    async with watching(world, world.ana) as ana, watching(world) as stranger:
        assert ana.welcome["user"]["uniqueId"] == "ana"
        assert ana.welcome["can"] == ["gift", "chat", "like", "follow", "share", "ping"]
        assert ana.welcome["balance"] == {"coins": 10}
        assert (stranger.welcome["user"], stranger.welcome["can"]) == (None, ["ping"])

        key = world.key()
        await ana.say("gift", key=key, item_id="rose", quantity=3)
        ack = await ana.op("ack")
        shown = await stranger.event("gift")

    assert (ack["key"], ack["balance"]) == (key, {"coins": 7})
    assert ack["gift"]["diamonds"] == "1.5000"
    assert ack["gift"]["room_id"] == shown["room"] == world.room_id
    data = shown["data"]
    assert (data["uniqueId"], data["nickname"], data["userId"]) == ("ana", "ana", world.ana.id)
    assert (data["giftName"], data["repeatCount"], data["diamondCount"]) == ("Rose", 3, 1)
    assert data["orderId"] == ack["gift"]["id"]
    assert data["x"]["alt"] == "ana sent Rose, 3 times"


async def test_the_answer_is_the_one_over_http_and_a_key_is_one_gift_through_both_doors(world):
    await world.give_coins(world.ana, 10)
    key = world.key()
    first = (await world.gift(world.ana, world.room_id, key=key)).json()
    async with watching(world, world.ana) as ana:
        await ana.say("gift", key=key, item_id="rose")
        ack = await ana.op("ack")
        await ana.say("gift", key=key, item_id="rose", quantity=2)
        refused = await ana.op("refused")
    assert ack == {"op": "ack", "key": key, **first}
    assert (refused["key"], refused["code"]) == (key, "idempotency_key_reused")
    assert await world.balance(world.ana) == 9


async def test_too_few_coins_are_told_with_what_is_missing(world):
    await world.give_coins(world.ana, 1)
    async with watching(world, world.ana) as ana:
        await ana.say("gift", key=world.key(), item_id="rose", quantity=3)
        refused = await ana.op("refused")
    answer = (await world.gift(world.ana, world.room_id, "rose", 3)).json()
    assert (refused["code"], refused["missing"]) == ("insufficient_coins", 2)
    same = {"detail", "needed", "balance", "missing", "price", "package"}
    assert {name: refused[name] for name in same} == {name: answer[name] for name in same}


async def test_the_creator_sees_his_gifts_and_cannot_gift_to_himself(world):
    await world.give_coins(world.ana, 5)
    async with watching(world, world.bob) as bob:
        assert bob.welcome["can"] == ["chat", "like", "share", "ping"]
        await world.gift(world.ana, world.room_id)
        assert (await bob.event("gift"))["data"]["uniqueId"] == "ana"
        await bob.say("gift", key=world.key(), item_id="rose")
        assert (await bob.op("refused"))["code"] == "self_gift"


async def test_chat_likes_follows_and_shares_are_seen_by_all(world):
    async with watching(world, world.ana) as ana, watching(world) as other:
        await ana.say("chat", text="hello <b>there</b>", key="mine")
        assert await ana.op("ack") == {"op": "ack", "key": "mine"}
        await ana.say("like", count=15)
        await ana.say("follow")
        await ana.say("share")
        assert (await other.event("chat"))["data"]["comment"] == "hello <b>there</b>"
        told = {name: await other.event(name) for name in ("follow", "share")}
        liked = await other.event("like")
    assert {event["data"]["uniqueId"] for event in told.values()} == {"ana"}
    assert (liked["data"]["likeCount"], liked["data"]["totalLikeCount"]) == (15, 15)


async def test_a_watcher_gets_one_event_a_frame_or_arrays_as_he_asked(world):
    async with watching(world, world.ana) as one, watching(world, batch=True) as many:
        await one.say("chat", text="first")
        await many.event("chat")
        await one.event("chat")
    assert all(isinstance(frame, dict) for frame in one.frames)
    assert any(isinstance(frame, list) for frame in many.frames)
    assert not any("event" in frame for frame in many.frames if isinstance(frame, dict))


async def test_who_comes_back_misses_nothing_and_gets_nothing_twice(world):
    async with watching(world, world.ana) as ana:
        async with watching(world) as first:
            await ana.say("chat", text="one")
            last = (await first.event("chat"))["seq"]
        for text in ("two", "three"):
            await ana.say("chat", text=text)
            await ana.event("chat", comment=text)
        async with watching(world, last_seq=last) as again:
            assert (await again.event("chat"))["data"]["comment"] == "two"
            assert (await again.event("chat"))["data"]["comment"] == "three"
            await ana.say("chat", text="four")
            await again.event("chat", comment="four")
    assert again.seqs == list(range(last + 1, again.seqs[-1] + 1))
    assert not [frame for frame in again.frames if frame.get("op") == "snapshot"]


@pytest.mark.parametrize(
    ("last_seq", "reason"),
    [(None, "start"), (10**9, "seq_unknown"), (10**40, "seq_unknown"), (-1, "seq_unknown")],
)
async def test_a_number_that_never_was_gets_the_room_whole(world, last_seq, reason):
    async with connected(world, f"/v1/rooms/{world.room_id}/live") as watcher:
        await watcher.say("hello", ticket=await ticket(world, world.room_id), last_seq=last_seq)
        snapshot = await watcher.op("snapshot")
    assert snapshot["reason"] == reason
    assert snapshot["room"]["creator"]["uniqueId"] == "bob"


async def bad_tickets(world):
    good = await ticket(world, world.room_id, world.ana)
    other_room = await world.open_room(await world.person("cyd", "creator"))
    own = await world.client.post("/v1/me/tickets", headers=world.ana.headers)
    return {
        "none": "",
        "nonsense": "not a ticket",
        "forged": good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        "of another room": await ticket(world, other_room, world.ana),
        "of one's own feed": own.json()["ticket"],
        "in another script": "ünïcödé" * 20,
    }


async def test_a_bad_ticket_closes_with_4401_and_says_so_first(world):
    for name, bad in (await bad_tickets(world)).items():
        async with connected(world, f"/v1/rooms/{world.room_id}/live") as watcher:
            await watcher.say("hello", ticket=bad)
            assert (await watcher.op("refused"))["code"] == "ticket_invalid", name
            assert await watcher.close_code() == 4401, name


async def test_a_ticket_is_good_for_a_minute(world):
    old = await ticket(world, world.room_id)
    world.clock.advance(LIFETIME)
    async with connected(world, f"/v1/rooms/{world.room_id}/live") as watcher:
        await watcher.say("hello", ticket=old)
        assert await watcher.close_code() == 4401


async def test_a_ticket_of_before_the_log_out_opens_nothing_after_it(world):
    await world.give_coins(world.ana, 5)
    old = await ticket(world, world.room_id, world.ana)
    own = await world.client.post("/v1/me/tickets", headers=world.ana.headers)
    world.clock.advance(SECOND)
    out = await world.client.delete("/v1/sessions/current", headers=world.ana.headers)
    assert out.status_code == 204
    feeds = {f"/v1/rooms/{world.room_id}/live": old, "/v1/me/live": own.json()["ticket"]}
    for path, kept in feeds.items():
        async with connected(world, path) as ana:
            await ana.say("hello", ticket=kept)
            await ana.say("gift", key=world.key(), item_id="rose")
            assert (await ana.op("refused"))["code"] == "session_changed"
            assert await ana.close_code() == 4411
    assert await world.balance(world.ana) == 5


async def test_a_key_that_a_header_would_bring_otherwise_is_none(world):
    await world.give_coins(world.ana, 5)
    async with watching(world, world.ana) as ana:
        for key in ("cl\u00e9", "key ", " key"):
            await ana.say("gift", key=key, item_id="rose")
            refused = await ana.op("refused")
            assert (refused["key"], refused["code"]) == (key, "idempotency_key_invalid")
    assert await world.balance(world.ana) == 5


async def test_an_address_with_a_thousand_fields_is_no_fault_of_ours(world):
    async with connected(world, f"/v1/rooms/{world.room_id}/live?{'a&' * 1_000}") as watcher:
        await watcher.say("hello", ticket=await ticket(world, world.room_id))
        await watcher.op("snapshot")


async def test_a_session_that_is_none_gets_no_ticket(world):
    answer = await world.client.post(
        f"/v1/rooms/{world.room_id}/tickets", headers={"authorization": "Bearer wrong"}
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "session_expired")


async def test_a_room_that_never_was_closes_with_4404_and_has_no_tickets(world):
    nowhere = "0" * 32
    answer = await world.client.post(f"/v1/rooms/{nowhere}/tickets")
    assert answer.json()["code"] == "room_not_found"
    with pytest.raises(InvalidStatus) as refused:
        async with connect(place(world, "/v1/rooms/nonsense/live")):
            pass
    assert refused.value.response.status_code == 404


async def test_a_room_that_is_over_closes_with_4410(world):
    async with watching(world) as watcher:
        ended = await world.client.post(f"/v1/rooms/{world.room_id}/end", headers=world.bob.headers)
        assert ended.status_code == 200
        assert (await watcher.event("streamEnd"))["data"]["actionId"] == 3
        assert await watcher.close_code() == 4410
    async with connected(world, f"/v1/rooms/{world.room_id}/live") as late:
        await late.say("hello", ticket=await ticket(world, world.room_id))
        assert (await late.op("refused"))["code"] == "room_ended"
        assert await late.close_code() == 4410


async def test_a_socket_without_a_hello_closes_with_4408(world, monkeypatch):
    monkeypatch.setattr(conversation, "HELLO_SECONDS", 0.1)
    async with connected(world, f"/v1/rooms/{world.room_id}/live") as silent:
        assert (await silent.op("refused"))["code"] == "hello_late"
        assert await silent.close_code() == 4408


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ('{"x":' + "[" * 4_000, "it is nested too deep"),
        ("[]", "`$`: expected `object`, got `array`"),
        ("{}", "`op`: is missing"),
        ('{"op":"dance"}', "invalid value 'dance'"),
        ('{"op":"gift","key":"k"}', "`item_id`: is missing"),
        ('{"op":"gift","key":"k","item_id":"rose","price":0}', "`price` is not a field here"),
        ('{"op":"gift","key":"k","item_id":"rose","quantity":"2"}', "`quantity`: expected `int`"),
        ('{"op":"gift","key":"k","item_id":"rose","quantity":1e400}', "`quantity`: "),
        ('{"op":"like","count":16}', "`count`: expected `int` <= 15"),
        ('{"op":"like","count":0}', "`count`: expected `int` >= 1"),
        ('{"op":"hello","ticket":"again"}', "`hello` has no place here"),
    ],
)
async def test_a_bad_frame_is_refused_with_its_reason_and_the_socket_stays(world, text, reason):
    async with watching(world, world.ana) as ana:
        await ana.socket.send(text)
        refused = await ana.op("refused")
        assert (refused["key"], refused["code"]) == (None, "frame_invalid")
        assert reason in refused["reason"]
        await ana.say("ping")
        await ana.op("pong")


async def test_too_many_bad_frames_close_with_4400(world):
    async with watching(world, world.ana) as ana:
        for _ in range(BAD_FRAMES_MAX):
            await ana.socket.send("nonsense")
            assert (await ana.op("refused"))["code"] == "frame_invalid"
        await ana.socket.send("nonsense")
        assert (await ana.op("refused"))["code"] == "too_many_bad_frames"
        assert await ana.close_code() == 4400


async def test_a_gift_before_the_hello_is_no_gift(world):
    await world.give_coins(world.ana, 5)
    async with connected(world, f"/v1/rooms/{world.room_id}/live") as ana:
        await ana.say("gift", key=world.key(), item_id="rose")
        assert (await ana.op("refused"))["code"] == "frame_invalid"
        await ana.say("hello", ticket=await ticket(world, world.room_id, world.ana))
        await ana.say("gift", key=world.key(), item_id="rose")
        await ana.op("ack")  # What follows the hello at once waits for it.
    assert await world.balance(world.ana) == 4


async def test_a_visitor_may_look_and_nothing_else(world):
    async with watching(world) as visitor:
        await visitor.say("gift", key="k", item_id="rose")
        refused = await visitor.op("refused")
        assert (refused["key"], refused["code"]) == ("k", "session_required")
        for op in ({"op": "chat", "text": "hi"}, {"op": "like"}, {"op": "follow"}, {"op": "share"}):
            await visitor.socket.send(json.dumps(op))
            assert (await visitor.op("refused"))["code"] == "session_required"


async def test_gifts_have_the_rate_that_they_have_over_http(world):
    await world.give_coins(world.ana, 1_000)
    burst = RATES["gift"].burst
    for _ in range(burst - 10):
        await world.gift(world.ana, world.room_id)
    async with watching(world, world.ana) as ana:
        for _ in range(11):
            await ana.say("gift", key=world.key(), item_id="rose")
        answers = [await ana.answer() for _ in range(11)]
    [refused] = [answer for answer in answers if answer["op"] == "refused"]
    assert (refused["code"], refused["limit"]) == ("rate_limited", "gift")
    assert await world.balance(world.ana) == 1_000 - burst


async def test_who_talks_too_much_is_told_and_may_talk_again_later(world):
    async with watching(world, world.ana) as ana:
        for n in range(RATES["chat"].burst + 1):
            await ana.say("chat", text=f"message {n}")
        refused = await ana.op("refused")
        assert (refused["code"], refused["limit"]) == ("rate_limited", "chat")
        world.clock.advance(refused["retry_after_seconds"] * SECOND)
        await ana.say("chat", text="patience", key="p")
        while (await ana.op("ack"))["key"] != "p":
            pass


async def test_who_floods_is_closed_with_4429_and_nobody_else_notices(world):
    most = RATES["op"].burst + RATES["flood"].burst
    async with watching(world, world.ana) as ana, watching(world, world.olga) as olga:
        ping = '{"op":"ping"}'
        for _ in range(most + 1):
            await ana.socket.send(ping)
        assert await ana.close_code() == 4429
        pongs = [frame for frame in ana.frames if frame.get("op") == "pong"]
        assert len(pongs) == RATES["op"].burst
        await olga.say("ping")
        await olga.op("pong")


@pytest.mark.parametrize(
    ("text", "code"),
    [(LONG[:900], "chat_too_long"), ("", "chat_empty"), (" \u200b ", "chat_empty")],
)
async def test_chat_that_is_none_is_refused_by_name(world, text, code):
    async with watching(world, world.ana) as ana:
        await ana.say("chat", text=text, key="mine")
        refused = await ana.op("refused")
    assert (refused["key"], refused["code"]) == ("mine", code)


async def test_ten_thousand_emoji_are_too_large_and_nobody_else_notices(world):
    async with watching(world, world.ana) as ana, watching(world) as other:
        await ana.say("chat", text=LONG)
        assert await ana.close_code() == 1009
        await other.say("ping")
        await other.op("pong")
    assert not [event for event in other.events if event["event"] == "chat"]


async def test_chat_that_would_turn_the_line_around_is_shown_harmlessly(world):
    async with watching(world, world.ana) as ana, watching(world) as other:
        await ana.say("chat", text=f"<script>alert(1)</script>{TURNED}")
        comment = (await other.event("chat"))["data"]["comment"]
    assert comment.startswith("<script>alert(1)</script>")  # Text; whoever shows it, escapes it.
    assert not {"\u202e", "\u2066"} & set(comment)


async def test_a_socket_that_never_reads_costs_nobody_else_anything(world):
    await world.give_coins(world.ana, 1_000)
    async with watching(world, world.ana) as ana, watching(world) as deaf, watching(world) as other:
        deaf.socket.transport.pause_reading()
        for n in range(30):
            world.clock.advance(SECOND)
            await ana.say("chat", text=f"{n} " + "x" * 100)
            await other.event("chat")
        await ana.say("gift", key=world.key(), item_id="rose")
        while "gift" not in (ack := await ana.answer()):
            pass
        assert ack["balance"] == {"coins": 999}
        deaf.socket.transport.resume_reading()
        await deaf.event("gift")


async def test_a_page_of_another_host_is_refused(world):
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            place(world, f"/v1/rooms/{world.room_id}/live"), origin="https://evil.example"
        ):
            pass
    assert refused.value.response.status_code == 403
    own = str(world.client.base_url).rstrip("/")
    async with connect(place(world, f"/v1/rooms/{world.room_id}/live"), origin=own):
        pass


async def test_a_closed_socket_is_no_viewer_any_more(world):
    async with watching(world, world.ana) as ana:
        async with watching(world, world.olga):
            world.clock.advance(3 * SECOND)
            await ana.event("roomUser", viewerCount=2)
        ana.events.clear()
        world.clock.advance(3 * SECOND)
        await ana.event("roomUser", viewerCount=1)


async def test_who_leaves_while_he_is_let_in_is_no_viewer(world, monkeypatch):
    is_gone, watch = asyncio.Event(), world.app.rooms.watch
    closed = conversation.Conversation.closed

    async def late(*arguments, **named):
        await is_gone.wait()
        return await watch(*arguments, **named)

    def gone(self):
        closed(self)
        is_gone.set()

    monkeypatch.setattr(world.app.rooms, "watch", late)
    monkeypatch.setattr(conversation.Conversation, "closed", gone)
    async with connected(world, f"/v1/rooms/{world.room_id}/live") as olga:
        await olga.say("hello", ticket=await ticket(world, world.room_id, world.olga))
    async with watching(world, world.ana) as ana:
        await ana.say("chat", text="alone")
        await ana.event("chat")
        assert world.app.rooms.viewer_count(world.room_id) == 1


async def test_a_new_password_closes_what_was_open_with_4411(world):
    async with watching(world, world.ana) as ana:
        world.app.db.user_changed(world.ana.id)
        assert (await ana.op("refused"))["code"] == "session_changed"
        assert await ana.close_code() == 4411


async def test_a_fault_of_ours_is_told_as_one_and_the_socket_stays(world, monkeypatch):
    from structlog.testing import capture_logs

    async with watching(world, world.ana) as ana:
        monkeypatch.setattr(world.app.rooms, "share", lambda watcher: 1 / 0)
        with capture_logs() as logs:
            await ana.say("share")
            refused = await ana.op("refused")
        assert refused["code"] == "internal_error"
        assert "ZeroDivisionError" in logs[0]["traceback"]
        await ana.say("ping")
        await ana.op("pong")
