"""The server by HTTP, as a stranger asks it: again until there is an answer, under the same key."""

import asyncio
import itertools
import os
import time
from typing import TypeVar

import httpx
import msgspec

from largesse.simulate.choice import Item, Package
from largesse.simulate.stage import GivenUp, Player, Stage, Stopped, pause, retry_pause

TRIES_MAX = 8
"""Faults of the server after which a viewer gives up; silence he answers with patience."""

T = TypeVar("T")

# What the server answers, as far as the play reads it.


class Session(msgspec.Struct, frozen=True):
    token: str


class Me(msgspec.Struct, frozen=True):
    country: str


class Items(msgspec.Struct, frozen=True):
    items: list[Item]


class Packages(msgspec.Struct, frozen=True):
    packages: list[Package]


class Order(msgspec.Struct, frozen=True):
    id: str
    status: str
    coins: int
    checkout_url: str | None = None


class Room(msgspec.Struct, frozen=True):
    id: str


class Gift(msgspec.Struct, frozen=True):
    coins: int


class SentGift(msgspec.Struct, frozen=True):
    gift: Gift


class Problem(msgspec.Struct, frozen=True):
    code: str = ""
    retry_after_seconds: float = 1.0
    package: Package | None = None
    room_id: str | None = None


async def _log_in(stage: Stage, player: Player) -> None:
    """See to it that he has a session."""
    body = {"login": player.login.login, "password": player.login.password}
    async with player.entrance:
        if player.token is None:
            answer = await call(stage, None, "POST", "/v1/sessions", Session, body=body)
            if isinstance(answer, Problem):
                raise GivenUp
            player.token = answer.token


async def call(
    stage: Stage,
    player: Player | None,
    method: str,
    path: str,
    type: type[T],
    *,
    body: object = None,
    key: str | None = None,
    is_open: bool = False,
    tries_max: int | None = TRIES_MAX,
) -> T | Problem:
    """
    Ask until there is an answer, with the same body and key every time.

    Silence is retried for ever, a limit when it says so, a fault `tries_max` times (None: for ever).
    What has a key and may have been carried out is asked for again even after the end of the play;
    `is_open` says that this may be so already, by another way.

    Raises:
        Stopped: the play is over.
        GivenUp: the server has a fault that does not pass.
    """
    headers = {"accept": "application/json"}
    content = None
    if body is not None:
        headers["content-type"] = "application/json"
        content = msgspec.json.encode(body)
    if key is not None:
        headers["idempotency-key"] = key
    for attempt in itertools.count(1):
        if stage.stop.is_set() and not is_open:
            raise Stopped
        if player is not None:
            await _log_in(stage, player)
            headers["authorization"] = f"Bearer {player.token}"
        response = await _answer(stage, method, path, headers, content)
        if response is not None and response.is_success:
            return msgspec.json.decode(response.content, type=type)
        problem = Problem() if response is None else _problem(stage, response)
        status = 0 if response is None else response.status_code
        if status == 401 and player is not None:
            player.token = None  # Sessions end; he logs in again.
            if attempt >= TRIES_MAX:
                return problem
        elif status == 429:
            await pause(stage, problem.retry_after_seconds)
        elif 400 <= status < 500:
            return problem
        elif status and tries_max is not None and attempt >= tries_max:
            raise GivenUp
        elif key is not None:  # Even at the end one wants to know what became of it.
            is_open = True
            await asyncio.sleep(retry_pause(attempt))
        else:
            await pause(stage, retry_pause(attempt))
    raise AssertionError


async def _answer(
    stage: Stage, method: str, path: str, headers: dict[str, str], content: bytes | None
) -> httpx.Response | None:
    """One request; None where no answer came, and nobody knows whether it was carried out."""
    try:
        return await stage.client.request(method, path, headers=headers, content=content)
    except httpx.TransportError:
        stage.count(errors=1)
        return None


def _problem(stage: Stage, response: httpx.Response) -> Problem:
    """The refusal in an answer, counted by its code; one without a code counts as an error."""
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.DecodeError:
        problem = Problem()
    if problem.code:
        stage.count(refusal=problem.code)
    else:
        stage.count(errors=1)
    return problem


def key_of(milliseconds: int, entropy: bytes) -> str:
    """A UUIDv7 (RFC 9562) of this time and these ten random bytes, as an idempotency key."""
    assert 0 < milliseconds < 1 << 48
    assert len(entropy) == 10
    rest = int.from_bytes(entropy, "big")
    number = milliseconds << 80 | 0x7 << 76 | (rest >> 62 & 0xFFF) << 64
    number |= 0b10 << 62 | rest & (1 << 62) - 1
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def new_key() -> str:
    """A key for something that has not been asked for yet."""
    return key_of(time.time_ns() // 1_000_000, os.urandom(10))
