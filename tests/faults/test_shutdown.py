"""SIGTERM under load: what was taken on is answered, the rest is told so, and the end is clean."""

import asyncio
import signal
from pathlib import Path

import httpx
import pytest

from bench import serving
from tests.faults import house, town
from tests.faults.town import Gift, Order, Town

SENDERS = 8
HANDS = 5
"""Requests of one viewer that are on their way together."""
GIFTS_EACH = 10
"""Of one hand: a viewer's fifty are within the burst that the rate limit allows."""
SIGTERM_AFTER_ANSWERS = 150
END_SECONDS_MAX = 5


async def test_sigterm_answers_what_was_taken_on_and_ends_cleanly(tmp_path: Path) -> None:
    """
    Viewers gift while the process is told to stop.

    Each request gets a whole answer or none at all, the process ends with status 0 within five
    seconds, and the gifts that are there afterwards are those that were answered, no less, no more.
    """
    home = house.found(tmp_path)
    server = house.start(home)
    answered: list[Gift] = []
    broken: list[Exception] = []
    stopping = asyncio.Event()

    async def send_until_closed(client: httpx.AsyncClient, people: Town, viewer: int) -> None:
        for _ in range(GIFTS_EACH):
            gift = Gift(viewer, town.new_key(people), 1)
            try:
                response = await town.send(client, people, gift)
            except httpx.TransportError as error:
                broken.append(error)
                return
            assert response.status_code in (201, 503), response.text
            if response.status_code == 201:
                gift.answer = response.json()["gift"]
                answered.append(gift)
            if len(answered) == SIGTERM_AFTER_ANSWERS:
                server.process.send_signal(signal.SIGTERM)
                stopping.set()

    try:
        async with town.visitor(server.url) as client:
            people = await town.settle(client, viewers=SENDERS, seed=2)
            for viewer in range(SENDERS):
                order = Order(viewer, town.new_key(people))
                await town.recharge(client, people, order)
                await town.credited(client, people, order)
            hands = [viewer for viewer in range(SENDERS) for _ in range(HANDS)]
            await asyncio.gather(*(send_until_closed(client, people, hand) for hand in hands))
            assert stopping.is_set()
        assert server.process.wait(END_SECONDS_MAX) == 0
    finally:
        serving.stop(server, signal.SIGKILL)

    assert len(answered) < SENDERS * HANDS * GIFTS_EACH, "the load had ended before the process did"
    for error in broken:
        _is_clean(error)
    assert not house.broken_checks(home)
    server = house.start(home)
    try:
        async with town.visitor(server.url) as client:
            paid = set()
            for token in people.tokens:
                rows = await town.history(client, token)
                paid |= {row["gift"]["id"] for row in rows if row["kind"] == "gift"}
            promised = {gift.answer["id"] for gift in answered if gift.answer}
            assert promised <= paid, "an answered gift is lost"
            assert paid <= promised, "a gift was paid, and its sender was not told"
    finally:
        house.kill(server)


def _is_clean(error: Exception) -> None:
    """Closed, refused or reset before the first byte of an answer; never in the middle of one."""
    half = isinstance(error, httpx.RemoteProtocolError) and "without sending a response" not in str(
        error
    )
    if half or not isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)):
        pytest.fail(f"not a clean close: {error!r}")
