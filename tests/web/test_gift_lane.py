"""The gift route over real HTTP: durable, once, and the same through both of its doors."""

import asyncio

import httpx
import pytest
from litestar import Litestar

from largesse.clock import DAY, HOUR
from largesse.web import gift_lane
from largesse.web.app import ROUTES


async def test_a_gift_is_answered_with_the_gift_and_the_balance(world):
    await world.give_coins(world.ana, 10)

    answer = await world.gift(world.ana, world.room_id, "rose", 3)

    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    sent = answer.json()
    assert sent["balance"] == {"coins": 7}
    assert sent["gift"] | {"id": "", "at": ""} == {
        "id": "",
        "room_id": world.room_id,
        "creator_id": world.bob.id,
        "item_id": "rose",
        "quantity": 3,
        "coins": 3,
        "price": {"amount": 4, "currency": "USD"},
        "diamonds": "1.5000",
        "at": "",
    }


async def test_a_retry_is_the_same_answer(world):
    await world.give_coins(world.ana, 10)
    key = world.key()

    first = await world.gift(world.ana, world.room_id, key=key)
    again = await world.gift(world.ana, world.room_id, key=key)

    assert (again.status_code, again.json()) == (201, first.json())


async def test_a_key_of_another_day_is_refused_unless_it_is_known(world):
    await world.give_coins(world.ana, 10)
    known, unknown = world.key(), world.key()
    first = await world.gift(world.ana, world.room_id, key=known)
    world.clock.advance(2 * DAY)

    assert (await world.gift(world.ana, world.room_id, key=known)).json() == first.json()
    refused = await world.gift(world.ana, world.room_id, key=unknown)
    assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_key_expired")


async def test_both_doors_say_the_same(world):
    """The Litestar handler is never reached behind the lane; asked for itself it answers alike."""
    await world.give_coins(world.ana, 10)
    key = world.key()
    first = await world.gift(world.ana, world.room_id, key=key)

    from largesse.web import app as web

    inner = web.framework(world.app)

    async def named(scope, receive, send):
        scope["request_id"] = "here"
        await inner(scope, receive, send)

    transport = httpx.ASGITransport(app=named)
    async with httpx.AsyncClient(transport=transport, base_url="http://inner") as client:
        for body, other_key in (
            ({"item_id": "rose", "quantity": 1}, key),
            ({"item_id": "rose", "quantity": 2}, key),
            ({"item_id": "rose", "quantity": 100}, world.key()),
            ({"item_id": "rose", "quantity": "1"}, world.key()),
            ({"item_id": "rose", "amount": 1}, world.key()),
        ):
            headers = world.ana.headers | {"idempotency-key": other_key}
            path = f"/v1/rooms/{world.room_id}/gifts"
            theirs = await client.post(path, json=body, headers=headers)
            ours = await world.client.post(path, json=body, headers=headers)
            assert theirs.status_code == ours.status_code
            assert _without_id(theirs.json()) == _without_id(ours.json())
    assert first.status_code == 201


def _without_id(answer):
    return {name: value for name, value in answer.items() if name != "request_id"}


def test_the_lane_is_declared_in_litestar_too():
    """Otherwise the API document would not have it."""
    app = Litestar(list(ROUTES), openapi_config=None)
    handlers = [
        route.route_handler_map["POST"][0]
        for route in app.routes
        if route.path_format == "/v1/rooms/{room_id}/gifts"
    ]
    assert len(handlers) == 1
    data = handlers[0].parsed_fn_signature.parameters["data"]
    assert data.annotation is gift_lane.GiftRequest


@pytest.mark.parametrize(
    ("method", "path", "room_id"),
    [
        ("POST", "/v1/rooms/abc/gifts", "abc"),
        ("GET", "/v1/rooms/abc/gifts", None),
        ("POST", "/v1/rooms/abc/gifts/", None),
        ("POST", "/v1/rooms/a/b/gifts", None),
        ("POST", "/v1/rooms//gifts", None),
        ("POST", "/v1/rooms/gifts", None),
        ("POST", "/v2/rooms/abc/gifts", None),
    ],
)
def test_only_a_posted_gift_takes_the_lane(method, path, room_id):
    assert gift_lane.room_id_of({"method": method, "path": path}) == room_id


async def test_whoever_gifts_too_fast_is_told_when_to_come_back(world):
    await world.give_coins(world.ana, 1_000)

    answers = [await world.gift(world.ana, world.room_id) for _ in range(61)]

    assert [answer.status_code for answer in answers] == [201] * 60 + [429]
    assert answers[-1].headers["retry-after"] == "1"
    assert answers[-1].json()["limit"] == "gift"


async def test_a_session_that_ends_meanwhile_gifts_no_more(world):
    await world.give_coins(world.ana, 10)
    world.ana.token = await world.session(world.ana.id, hours=1)
    assert (await world.gift(world.ana, world.room_id)).status_code == 201
    world.clock.advance(HOUR)

    refused = await world.gift(world.ana, world.room_id)

    assert (refused.status_code, refused.json()["code"]) == (401, "session_expired")
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_many_viewers_at_once_each_pay_their_own(world):
    people = [await world.person(f"viewer{n}") for n in range(10)]
    for person in people:
        await world.give_coins(person, 5)

    answers = await asyncio.gather(
        *(world.gift(person, world.room_id) for person in people for _ in range(8))
    )

    codes = [answer.status_code for answer in answers]
    assert (codes.count(201), codes.count(402)) == (50, 30)
    assert [await world.balance(person) for person in people] == [0] * 10
