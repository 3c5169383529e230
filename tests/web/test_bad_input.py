"""Whatever is wrong with a request has a name, and nothing moves."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from largesse.clock import DAY, HOUR, milliseconds
from largesse.web import decode
from largesse.web.reply import REFUSALS
from tests.web import worlds
from tests.web.worlds import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

Maker = Callable[[World], Any]


class Bad(msgspec.Struct):
    """
    A request of ana's that is refused. A gift of one rose in bob's room, unless it says otherwise.
    """

    name: str
    code: str
    facts: dict[str, Any] = {}
    method: str = "POST"
    path: str = "/v1/rooms/{room}/gifts"
    body: Any = msgspec.field(default_factory=lambda: {"item_id": "rose", "quantity": 1})
    raw: bytes | None = None
    key: str | None = "new"
    who: str | None = "ana"


def gift(**changes: Any) -> dict[str, Any]:
    return {"item_id": "rose", "quantity": 1} | changes


ROOM = {"path": "/v1/rooms", "who": "bob"}
BAD = [
    # The body of a gift.
    Bad("quantity 0", "quantity_out_of_range", {"maximum": 9999}, body=gift(quantity=0)),
    Bad("negative", "quantity_out_of_range", {"minimum": 1}, body=gift(quantity=-1)),
    Bad("too many", "quantity_out_of_range", body=gift(quantity=10_000)),
    Bad("10^30", "quantity_out_of_range", raw=b'{"item_id":"rose","quantity":1%s}' % (b"0" * 30)),
    Bad("fraction", "body_invalid", {"field": "quantity"}, body=gift(quantity=1.5)),
    Bad("whole fraction", "body_invalid", {"field": "quantity"}, body=gift(quantity=1.0)),
    Bad("text", "body_invalid", {"field": "quantity"}, body=gift(quantity="1")),
    Bad("true", "body_invalid", {"field": "quantity"}, body=gift(quantity=True)),
    Bad("null", "body_invalid", {"field": "quantity"}, body=gift(quantity=None)),
    Bad("infinite", "body_invalid", {"field": "quantity"}, raw=b'{"item_id":"a","quantity":1e999}'),
    Bad("no item", "body_invalid", {"field": "item_id", "problem": "is missing"}, body={}),
    Bad("a number as item", "body_invalid", {"field": "item_id"}, body=gift(item_id=1)),
    Bad("unknown field", "unknown_field", {"field": "coins"}, body=gift(coins=1)),
    Bad("an array", "body_invalid", {"field": "$"}, body=[gift()]),
    Bad("no body", "body_not_json", raw=b""),
    Bad("half a body", "body_not_json", raw=b'{"item_id":'),
    Bad("not JSON", "body_not_json", raw=b"item_id=rose"),
    Bad("two values", "body_not_json", raw=b'{"item_id":"rose"} {"item_id":"rose"}'),
    Bad("not UTF-8", "body_not_json", raw=b'{"item_id":"\xff"}'),
    Bad("digits without end", "body_invalid", raw=b'{"item_id":"a","quantity":%s}' % (b"9" * 9999)),
    Bad("10 MB", "body_too_large", {"maximum": 65_536}, raw=b'"' + b"a" * 10_000_000 + b'"'),
    Bad("65,537 bytes", "body_too_large", raw=b" " * 65_537),
    Bad("nested deep", "body_invalid", {"field": "$"}, raw=b"[" * 10_000),
    Bad("nested deep inside", "unknown_field", raw=b'{"a":' * 10_000),
    Bad("nested deep in a field", "body_invalid", raw=b'{"item_id":' + b"[" * 10_000),
    # What a gift names.
    Bad("unknown item", "gift_item_not_found", body=gift(item_id="nothing")),
    Bad("item of an odd name", "gift_item_not_found", body=gift(item_id="\x00' OR 1=1 --")),
    Bad("exclusive item", "gift_item_exclusive", body=gift(item_id="{exclusive}")),
    Bad("unknown room", "room_not_found", path=f"/v1/rooms/{'0' * 32}/gifts"),
    Bad("room that is no id", "room_not_found", path="/v1/rooms/none/gifts"),
    Bad("room with blanks", "room_not_found", path="/v1/rooms/" + "ab%20" * 10 + "ab/gifts"),
    Bad("ended room", "room_ended", path="/v1/rooms/{ended}/gifts"),
    Bad("gift to oneself", "self_gift", who="bob"),
    Bad("a child's gift", "adults_only", {"minimum_age": 18}, who="kim"),
    Bad(
        "too few coins", "insufficient_coins", {"missing": 99}, body=gift(quantity=100), who="dora"
    ),
    # The idempotency key.
    Bad("no key", "idempotency_key_required", key=None),
    Bad("long key", "idempotency_key_invalid", {"maximum": 200}, key="x" * 201),
    Bad("odd key", "idempotency_key_invalid", key="a\xa0b"),
    Bad("key that is another one in another encoding", "idempotency_key_invalid", key="clé"),
    Bad("key of yesterday", "idempotency_key_expired", key="yesterday"),
    Bad("key of another gift", "idempotency_key_reused", body=gift(quantity=2), key="used"),
    # Who asks.
    Bad("nobody", "session_required", who=None),
    Bad("a made-up token", "session_expired", who="mallory"),
    Bad("a token of odd bytes", "session_expired", who="odd"),
    Bad("an expired session", "session_expired", who="expired"),
    Bad("a gift by a session that is no viewer's", "role_required", who="max"),
    Bad("an audience member opens a room", "role_required", {"role": "creator"}, path="/v1/rooms"),
    Bad("a viewer's earnings", "role_required", method="GET", path="/v1/earnings"),
    Bad("a viewer's totals", "role_required", method="GET", path="/v1/operator/totals"),
    Bad("a viewer's check", "role_required", method="GET", path="/v1/operator/check"),
    Bad("a creator's totals", "role_required", method="GET", path="/v1/operator/orders", who="bob"),
    Bad("another creator's room", "room_not_found", path="/v1/rooms/{room}/end", who="cleo"),
    Bad("a child's room", "adults_only", path="/v1/rooms", body={"title": "a"}, who="lea"),
    # Rooms.
    Bad("an empty title", "title_invalid", {"maximum": 100}, body={"title": "  "}, **ROOM),
    Bad("a long title", "title_invalid", body={"title": "x" * 101}, **ROOM),
    Bad("a title of two lines", "title_invalid", body={"title": "a\nb"}, **ROOM),
    Bad("a second room", "room_already_live", body={"title": "again"}, **ROOM),
    Bad("a title that is a number", "body_invalid", {"field": "title"}, body={"title": 1}, **ROOM),
    Bad(
        "a nested title", "body_invalid", {"field": "title"}, raw=b'{"title":' + b"[" * 9999, **ROOM
    ),
    Bad("no JSON for a room", "body_not_json", raw=b"title", **ROOM),
    Bad("no body for a room", "body_not_json", raw=b"", **ROOM),
    Bad("a large room", "body_too_large", raw=b'{"title":"' + b"a" * 10_000_000 + b'"}', **ROOM),
    # Orders.
    Bad("another user's order", "order_not_found", method="GET", path="/v1/orders/{order}"),
    Bad("an unknown order", "order_not_found", method="GET", path=f"/v1/orders/{'0' * 32}"),
    Bad("an order that is no id", "order_not_found", method="GET", path="/v1/orders/x"),
    Bad(
        "an unknown package",
        "package_not_found",
        path="/v1/orders",
        body={"package_id": "all", "provider": "sandbox"},
    ),
    Bad(
        "an unknown provider",
        "provider_not_found",
        path="/v1/orders",
        body={"package_id": "coins-70", "provider": "nobody"},
    ),
    Bad(
        "an order without a key",
        "idempotency_key_required",
        path="/v1/orders",
        body={"package_id": "coins-70", "provider": "sandbox"},
        key=None,
    ),
    Bad(
        "an order with an unknown field",
        "unknown_field",
        {"field": "coins"},
        path="/v1/orders",
        body={"package_id": "coins-70", "provider": "sandbox", "coins": 1_000_000},
    ),
    Bad(
        "an unknown channel",
        "body_invalid",
        {"field": "channel"},
        path="/v1/orders",
        body={"package_id": "coins-70", "provider": "sandbox", "channel": "fax"},
    ),
    # Lists.
    Bad("a garbled cursor", "cursor_invalid", method="GET", path="/v1/rooms?cursor=%00%ff"),
    Bad("no cursor of ours", "cursor_invalid", method="GET", path="/v1/rooms?cursor=bnVsbA"),
    Bad("a cursor cut short", "cursor_invalid", method="GET", path="/v1/orders?cursor=WyJv"),
    Bad("another list's", "cursor_invalid", method="GET", path="/v1/orders?cursor={rooms_cursor}"),
    Bad(
        "another wallet's", "cursor_invalid", method="GET", path="/v1/wallet/history?cursor={bobs}"
    ),
    Bad(
        "a page of 1,000",
        "parameter_invalid",
        {"parameter": "limit"},
        method="GET",
        path="/v1/rooms?limit=1000",
    ),
    Bad("a page of none", "parameter_invalid", method="GET", path="/v1/rooms?limit=0"),
    Bad("a page of words", "parameter_invalid", method="GET", path="/v1/orders?limit=ten"),
    Bad("a country of three", "parameter_invalid", method="GET", path="/v1/packages?country=USA"),
    # Addresses.
    Bad("an unknown address", "not_found", path="/v1/nothing"),
    Bad("an unknown method", "method_not_allowed", method="PUT", path="/v1/orders"),
    Bad("an unknown webhook", "provider_not_found", path="/v1/webhooks/nobody", raw=b"{}"),
    Bad("a forged webhook", "signature_invalid", path="/v1/webhooks/sandbox", raw=b"{}"),
    Bad("a file outside", "not_found", method="GET", path="/static/..%2fapp.py"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(prepared, tmp_path_factory):
    """One for all of them: that nothing moves is what every single one asserts."""
    async with worlds.open_world(tmp_path_factory.mktemp("bad"), prepared=prepared) as opened:
        yield await _inhabit(opened)


async def _inhabit(world: World) -> World:
    people = {
        "ana": await world.person("ana"),
        "bob": await world.person("bob", "creator"),
        "cleo": await world.person("cleo", "creator"),
        "dora": await world.person("dora"),
        "kim": await world.person("kim", birth_on="2012-01-15"),
        "lea": await world.person("lea", "creator", birth_on="2012-01-15"),
        "max": await world.person("max", roles=("operator",)),
        "mallory": worlds.Person("", "mallory", "a" * 43),
        "odd": worlds.Person("", "odd", "ä\u00ff"),
        "expired": worlds.Person("", "expired", ""),
    }
    world.people = people
    people["expired"].token = await world.session(people["dora"].id, hours=1)
    ended = await world.open_room(people["cleo"])
    await world.client.post(f"/v1/rooms/{ended}/end", headers=people["cleo"].headers)
    world.clock.advance(2 * HOUR)
    for name in ("ana", "bob", "max"):
        await world.give_coins(people[name], 100)
    await world.give_coins(people["dora"], 1)

    order = await world.client.post(
        "/v1/orders",
        json={"package_id": "coins-70", "provider": "sandbox"},
        headers=people["bob"].headers | {"idempotency-key": world.key()},
    )
    room_id = await world.open_room(people["bob"])
    used, yesterday = world.key(), milliseconds(world.clock.now() - DAY - HOUR)
    assert (await world.gift(people["ana"], room_id, key=used)).status_code == 201
    rooms = await world.client.get("/v1/rooms?limit=1")
    bobs = await world.client.get("/v1/wallet/history?limit=1", headers=people["bob"].headers)
    items = (await world.client.get("/v1/gift-items")).json()["items"]
    world.keys = {"used": used, "yesterday": f"{yesterday:012x}70008000000000000001"}
    world.words = {
        "{room}": room_id,
        "{ended}": ended,
        "{order}": order.json()["id"],
        "{rooms_cursor}": rooms.json()["next_cursor"],
        "{bobs}": bobs.json()["next_cursor"],
        "{exclusive}": next(item["id"] for item in items if item["exclusive"]),
    }
    return world


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_it_is_refused_by_name_and_nothing_moves(world, bad):
    before = await world.moved()

    answer = await _ask(world, bad)

    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert (problem["code"], answer.status_code) == (bad.code, REFUSALS[bad.code].status)
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"/docs/errors#{bad.code}"
    assert problem["title"]
    assert not re.search(r"\{[a-z_]+\}", problem["detail"])
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert {name: problem[name] for name in bad.facts} == bad.facts
    assert await world.moved() == before


async def _ask(world, bad):
    headers = {"content-type": "application/json"}
    if bad.key is not None:
        key = world.key() if bad.key == "new" else world.keys.get(bad.key, bad.key)
        headers["idempotency-key"] = key.encode("latin-1")
    if bad.who is not None:
        token = world.people[bad.who].token
        headers["authorization"] = f"Bearer {token}".encode("latin-1")
    body = bad.raw if bad.raw is not None else msgspec.json.encode(bad.body)
    path = bad.path
    for word, meaning in world.words.items():
        path, body = path.replace(word, meaning), body.replace(word.encode(), meaning.encode())
    return await world.client.request(
        bad.method, path, content=body if bad.method == "POST" else None, headers=headers
    )


async def test_a_body_whose_length_is_not_told_is_cut_off_too(world):
    async def endless():
        for _ in range(200):
            yield b" " * 1_000

    before = await world.moved()
    for path, who in (
        ("/v1/rooms", "bob"),
        (f"/v1/rooms/{world.words['{room}']}/gifts", "ana"),
    ):
        headers = world.people[who].headers | {"idempotency-key": world.key()}
        answer = await world.client.post(path, content=endless(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert await world.moved() == before


async def test_every_refusal_of_the_gift_route_is_in_the_table():
    """A guard that nobody tried is a guard that may be missing."""
    tried = {bad.code for bad in BAD if bad.path.endswith("/gifts")}

    assert tried >= {
        *("quantity_out_of_range", "gift_item_not_found", "gift_item_exclusive", "room_not_found"),
        *("room_ended", "self_gift", "adults_only", "idempotency_key_required"),
        *("idempotency_key_invalid", "idempotency_key_expired", "idempotency_key_reused"),
        *("insufficient_coins", "session_required", "session_expired", "role_required"),
        *("body_not_json", "body_invalid", "body_too_large", "unknown_field"),
    }


@pytest.mark.parametrize(
    "place",
    [(10**30, "0" * 32), (-1, "0" * 32), (1, "nonsense"), (1, "0" * 32 + "\n"), (1, "\0"), "0", 1],
    ids=repr,
)
async def test_a_cursor_that_somebody_made_up_is_none_of_ours(world, place):
    people = world.people
    bob, max = people["bob"].headers, people["max"].headers
    lists = [
        ("/v1/rooms", "rooms", bob),
        ("/v1/orders", "orders", bob),
        ("/v1/wallet/history", "history", bob),
        (f"/v1/rooms/{world.words['{room}']}/gifts", "gifts", bob),
        ("/v1/earnings/gifts", "earnings", bob),
        ("/creator", "rooms", bob),
        ("/v1/operator/orders", "orders", max),
        ("/operator/users", "users", max),
    ]
    for path, name, headers in lists:
        cursor = decode.to_cursor(name, place)
        if not path.startswith("/v1/"):
            headers = {"cookie": f"largesse_session={headers['authorization'].split()[1]}"}
        answer = await world.client.get(path, params={"cursor": cursor}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid"), path
