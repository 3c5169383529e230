"""
A small town over HTTP: viewers who recharge and gift, a creator, and a memory of every promise.

It knows the server by its public API only. What was sent and what was answered is remembered, so
that after a crash each answer can be held against what is there.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from largesse import clock

PASSWORD = "a long enough password"
ANSWER_SECONDS_MAX = 60.0
TRUE_SECONDS_MAX = 60.0
POLL_SECONDS = 0.02

Json = dict[str, Any]


class Gift(msgspec.Struct):
    """
    A gift that was sent: `answer` is the gift of its 201, None while nobody knows. It is of the town's
    item, or of the other one.
    """

    viewer: int
    key: str
    quantity: int
    is_other: bool = False
    answer: Json | None = None
    refused: bool = False


class Order(msgspec.Struct):
    """An order that was sent: `id` once it was answered, `is_paid` once the provider said so."""

    viewer: int
    key: str
    webhook: str = "normal"
    id: str = ""
    checkout_path: str = ""
    is_paid: bool = False


class Town(msgspec.Struct):
    """Who lives here, and what was promised to them. `tokens[n]` is the session of viewer n."""

    tokens: list[str]
    creator_token: str
    room_id: str
    item_id: str
    other_item_id: str
    package_id: str
    package_coins: int
    randomness: random.Random
    gifts: list[Gift] = []
    orders: list[Order] = []


@asynccontextmanager
async def visitor(url: str, *, connections: int = 64) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server at this address."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=ANSWER_SECONDS_MAX) as client:
        yield client


async def settle(client: httpx.AsyncClient, *, viewers: int, seed: int) -> Town:
    """Sign everybody up, open the creator's room, pick the cheapest gifts and package."""
    creator = await _sign_up(client, "creator")
    await expect(client.post("/v1/me/roles", json={"role": "creator"}, headers=bearer(creator)))
    room = await expect(client.post("/v1/rooms", json={"title": "Town"}, headers=bearer(creator)))
    tokens = [await _sign_up(client, f"viewer{n}") for n in range(viewers)]
    packages = await expect(client.get("/v1/packages", params={"channel": "web", "country": "US"}))
    package = min(packages["packages"], key=lambda package: package["coins"])
    items = await expect(client.get("/v1/gift-items"))
    item, other, *_ = [
        item["id"] for item in items["items"] if item["coins"] == 1 and not item["exclusive"]
    ]
    return Town(
        tokens=tokens,
        creator_token=creator,
        room_id=room["id"],
        item_id=item,
        other_item_id=other,
        package_id=package["id"],
        package_coins=package["coins"] + package["bonus_coins"],
        randomness=random.Random(seed),
    )


def new_key(town: Town) -> str:
    """A UUIDv7, as our own clients make it, from the town's seed."""
    value = clock.milliseconds(clock.SystemClock().now()) << 80 | 7 << 76
    value |= town.randomness.getrandbits(12) << 64
    value |= 2 << 62 | town.randomness.getrandbits(62)
    return str(uuid.UUID(int=value))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def recharge(client: httpx.AsyncClient, town: Town, order: Order) -> None:
    """Order the package and pay for it, remembering each answer as it comes."""
    headers = {**bearer(town.tokens[order.viewer]), "Idempotency-Key": order.key}
    if not order.id:
        body = {"package_id": town.package_id, "provider": "sandbox", "channel": "web"}
        answer = await expect(client.post("/v1/orders", json=body, headers=headers))
        order.checkout_path = httpx.URL(answer["checkout_url"]).raw_path.decode()
        order.id = answer["id"]
    await expect(client.post(f"{order.checkout_path}/confirm", json={"webhook": order.webhook}))
    order.is_paid = True


async def send(
    client: httpx.AsyncClient, town: Town, gift: Gift, *, token: str = ""
) -> httpx.Response:
    """Send the gift (again), in another session where one is given; the caller reads the answer."""
    return await client.post(
        f"/v1/rooms/{town.room_id}/gifts",
        json={
            "item_id": town.other_item_id if gift.is_other else town.item_id,
            "quantity": gift.quantity,
        },
        headers={**bearer(token or town.tokens[gift.viewer]), "Idempotency-Key": gift.key},
    )


async def true_soon(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it holds; after the deadline say what never came true."""
    deadline = asyncio.get_running_loop().time() + TRUE_SECONDS_MAX
    while not await holds():
        assert asyncio.get_running_loop().time() < deadline, f"never came true: {what}"
        await asyncio.sleep(POLL_SECONDS)


async def credited(client: httpx.AsyncClient, town: Town, order: Order) -> None:
    """Wait until the order says that its coins are in the wallet."""
    headers = bearer(town.tokens[order.viewer])

    async def is_credited() -> bool:
        answer = await expect(client.get(f"/v1/orders/{order.id}", headers=headers))
        return bool(answer["status"] == "credited")

    await true_soon(f"order {order.id} is credited", is_credited)


async def coins_of(client: httpx.AsyncClient, token: str) -> int:
    """The wallet, as its owner sees it."""
    return int((await expect(client.get("/v1/wallet", headers=bearer(token))))["coins"])


async def history(client: httpx.AsyncClient, token: str) -> list[Json]:
    """Everything that moved this wallet, newest first, page after page."""
    rows: list[Json] = []
    params = {"limit": "100"}
    while True:
        page = await expect(client.get("/v1/wallet/history", params=params, headers=bearer(token)))
        rows += page["rows"]
        if page["next_cursor"] is None:
            return rows
        params["cursor"] = page["next_cursor"]


async def expect(asked: Awaitable[httpx.Response]) -> Json:
    """The body of an answer that must be a success."""
    response = await asked
    assert response.is_success, f"{response.status_code} {response.text[:500]}"
    answer: Json = response.json()
    return answer


async def _sign_up(client: httpx.AsyncClient, login: str) -> str:
    person = {"login": login, "email": f"{login}@example.com", "password": PASSWORD}
    person |= {"birth_date": "1990-01-01", "country": "US"}
    await expect(client.post("/v1/users", json=person))
    return await log_in(client, login)


async def log_in(client: httpx.AsyncClient, login: str) -> str:
    """A new session of somebody who lives here: its token."""
    body = {"login": login, "password": PASSWORD}
    return str((await expect(client.post("/v1/sessions", json=body)))["token"])
