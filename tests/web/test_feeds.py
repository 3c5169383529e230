"""One's own feed, keys for screens, tickets and followers: everything beside the room itself."""

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from largesse.clock import SECOND
from tests.web.watchers import connected, place, ticket, watching
from tests.web.worlds import open_world


async def my_ticket(world, person):
    answer = await world.client.post("/v1/me/tickets", headers=person.headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["ticket"]


async def new_key(world, creator, name="Overlay"):
    answer = await world.client.post(
        "/v1/display-keys", json={"name": name}, headers=creator.headers
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def shown_at(world, key, room_id=None):
    return f"/v1/rooms/{room_id or world.room_id}/live?key={key}"


async def test_a_feed_tells_what_is_in_the_wallet_whenever_it_changes(world):
    await world.give_coins(world.ana, 5)
    async with connected(world, "/v1/me/live") as ana:
        await ana.say("hello", ticket=await my_ticket(world, world.ana))
        welcome = await ana.op("welcome")
        assert (welcome["user"]["uniqueId"], welcome["balance"]) == ("ana", {"coins": 5})
        await world.recharge(world.ana, "coins-70")
        assert (await ana.op("balance"))["coins"] == 75
        await world.gift(world.ana, world.room_id)
        assert (await ana.op("balance"))["coins"] == 74


async def test_a_feed_is_for_nothing_else_and_for_nobody_else(world):
    async with connected(world, "/v1/me/live") as ana:
        await ana.say("hello", ticket=await my_ticket(world, world.ana))
        await ana.op("welcome")
        await ana.say("ping")
        await ana.op("pong")
        await ana.say("gift", key="k", item_id="rose")
        assert (await ana.op("refused"))["code"] == "frame_invalid"
    for bad in (await ticket(world, world.room_id, world.ana), ""):
        async with connected(world, "/v1/me/live") as watcher:
            await watcher.say("hello", ticket=bad)
            assert (await watcher.op("refused"))["code"] == "ticket_invalid"
            assert await watcher.close_code() == 4401
    answer = await world.client.post("/v1/me/tickets")
    assert answer.json()["code"] == "session_required"


async def test_a_room_tells_its_watcher_his_balance_too(world):
    await world.give_coins(world.ana, 5)
    async with watching(world, world.ana) as ana:
        await world.give_coins(world.ana, 70)
        assert (await ana.op("balance"))["coins"] == 75


async def test_a_key_shows_a_room_to_any_page_and_can_do_nothing(world):
    await world.give_coins(world.ana, 5)
    key = (await new_key(world, world.bob))["key"]
    overlay = {"origin": "https://overlays.example"}
    async with connected(world, shown_at(world, key), **overlay) as screen:
        assert (await screen.op("snapshot"))["viewerCount"] == 0
        await world.gift(world.ana, world.room_id)
        event = await screen.event("gift")
        assert event["data"]["uniqueId"] == "ana"
        assert not [frame for frame in screen.frames if isinstance(frame, list)]
        for op in ({"op": "share"}, {"op": "hello", "ticket": ""}):
            await screen.say(**op)
            assert (await screen.op("refused"))["code"] == "display_only"
        assert world.app.rooms.viewer_count(world.room_id) == 0


async def test_a_key_opens_the_rooms_of_its_creator_only(world):
    cyd = await world.person("cyd", "creator")
    key = (await new_key(world, cyd))["key"]
    for other in (key, "nonsense", "", "ünïcödé"):
        async with connected(world, shown_at(world, other)) as screen:
            assert (await screen.op("refused"))["code"] == "ticket_invalid"
            assert await screen.close_code() == 4401
    async with connected(world, shown_at(world, key, "0" * 32)) as screen:
        assert await screen.close_code() == 4404


async def test_a_key_that_is_taken_back_closes_what_it_opened(world):
    kept, lost = await new_key(world, world.bob, "kept"), await new_key(world, world.bob, "lost")
    async with (
        connected(world, shown_at(world, kept["key"])) as stays,
        connected(world, shown_at(world, lost["key"])) as goes,
    ):
        await stays.op("snapshot")
        await goes.op("snapshot")
        path = f"/v1/display-keys/{lost['id']}"
        assert (await world.client.delete(path, headers=world.bob.headers)).status_code == 204
        assert (await goes.op("refused"))["code"] == "ticket_invalid"
        assert await goes.close_code() == 4401
        await stays.say("ping")
        await stays.op("pong")
        again = await world.client.delete(path, headers=world.bob.headers)
    assert again.json()["code"] == "display_key_not_found"
    for nonsense in ("nonsense", "%00", lost["id"] + "00"):
        answer = await world.client.delete(
            f"/v1/display-keys/{nonsense}", headers=world.bob.headers
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "display_key_not_found")


async def test_keys_are_listed_without_themselves_and_for_their_creator_only(world):
    made = await new_key(world, world.bob)
    assert len(made["key"]) == 22  # 128 bits.
    answer = await world.client.get("/v1/display-keys", headers=world.bob.headers)
    assert [key["id"] for key in answer.json()["keys"]] == [made["id"]]
    assert made["key"] not in answer.text
    cyd = await world.person("cyd", "creator")
    assert (await world.client.get("/v1/display-keys", headers=cyd.headers)).json()["keys"] == []
    answer = await world.client.delete(f"/v1/display-keys/{made['id']}", headers=cyd.headers)
    assert answer.json()["code"] == "display_key_not_found"
    answer = await world.client.get("/v1/display-keys", headers=world.ana.headers)
    assert answer.json()["code"] == "role_required"


@pytest.mark.parametrize("name", ["", "  ", "x" * 51, "two\nlines"])
async def test_a_key_has_a_name_that_can_be_shown(world, name):
    answer = await world.client.post(
        "/v1/display-keys", json={"name": name}, headers=world.bob.headers
    )
    assert answer.json()["code"] == "key_name_invalid"


async def test_following_over_http_is_told_in_the_room_once(world):
    path = f"/v1/creators/{world.bob.id}/follow"
    async with watching(world) as other:
        for _ in range(2):
            answer = await world.client.post(path, headers=world.ana.headers)
            assert (answer.status_code, answer.json()) == (200, {"following": True})
        assert (await other.event("follow"))["data"]["uniqueId"] == "ana"
        answer = await world.client.delete(path, headers=world.ana.headers)
        assert answer.json() == {"following": False}
        async with watching(world, world.ana) as ana:
            assert ana.shown["following"] is False
            await ana.say("chat", text="mark")
            await other.event("chat")
    assert not [event for event in other.events if event["event"] == "follow"]


@pytest.mark.parametrize(
    ("who", "code"), [("bob", "self_follow"), ("ana", "creator_not_found"), ("nobody", None)]
)
async def test_one_follows_creators_and_not_oneself(world, who, code):
    ids = {"bob": world.bob.id, "ana": world.ana.id, "nobody": "0" * 32}
    answer = await world.client.post(f"/v1/creators/{ids[who]}/follow", headers=world.bob.headers)
    assert answer.json()["code"] == (code or "creator_not_found")


async def test_an_address_that_is_no_socket_is_not_found(world):
    for path in ("/", "/v1/rooms", f"/v1/rooms/{world.room_id}", "/v1/me/live/", "/v1/rooms//live"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(place(world, path)):
                pass
        assert refused.value.response.status_code == 404
        assert b'"not_found"' in refused.value.response.body


async def test_a_socket_is_asked_for_by_an_upgrade(world):
    for path in (f"/v1/rooms/{world.room_id}/live", "/v1/me/live"):
        assert (await world.client.get(path)).status_code == 404


async def test_after_a_restart_who_comes_back_misses_nothing_and_gets_nothing_twice(
    prepared, tmp_path
):
    async with open_world(tmp_path, prepared=prepared) as world:
        world.ana = await world.person("ana")
        world.bob = await world.person("bob", "creator")
        await world.give_coins(world.ana, 10)
        world.room_id = await world.open_room(world.bob)
        async with watching(world, world.ana) as ana:
            await ana.say("chat", text="before")
            await ana.event("chat")
            seen = (await ana.event("member"))["seq"]
            await ana.say("gift", key=world.key(), item_id="rose", quantity=2)
            await ana.event("gift", repeatEnd=False)
            last = max(ana.seqs)
            before = {event["seq"]: event for event in _events(ana)}
    clock, room_id, people = world.clock, world.room_id, (world.ana, world.bob)
    clock.advance(5 * SECOND)

    async with open_world(tmp_path, clock=clock) as world:
        world.room_id, (world.ana, world.bob) = room_id, people
        async with watching(world, world.ana, last_seq=seen) as ana:
            end = await ana.event("gift", repeatEnd=True)
            assert end["data"]["repeatCount"] == 2
            await ana.say("chat", text="after")
            await ana.event("chat", comment="after")
    after = _events(ana)
    assert [event["seq"] for event in after] == list(range(seen + 1, after[-1]["seq"] + 1))
    same = [event for event in after if event["seq"] <= last]
    assert same == [before[event["seq"]] for event in same]
    ends = [event for event in after if event["event"] == "gift" and event["data"]["repeatEnd"]]
    assert len(ends) == 1


def _events(watcher):
    return [frame for frame in watcher.frames if "event" in frame]
