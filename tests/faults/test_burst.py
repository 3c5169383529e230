"""Everybody at once: many gifts from one wallet, and one key sent many times, over HTTP."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from bench import serving
from largesse import clock, ids
from largesse.app import App, close_app, open_app
from largesse.books import chart, postings
from largesse.books.chart import Environment
from largesse.ledger.model import AccountOutcome, Outcome
from largesse.settings import Settings
from largesse.web import app as web
from tests.faults import town
from tests.faults.town import Gift, Town

AFFORDED = 500
AT_ONCE = 1_000
SAME_KEY = 50


class HurryingClock:
    """
    Every look at it finds a tenth of a second gone: the rate limits of a minute pass in a moment.

    Whoever is told to come back later may come back at once.
    """

    def __init__(self) -> None:
        self._now = clock.SystemClock().now()

    def now(self) -> int:
        self._now += clock.SECOND // 10
        return self._now


@pytest.fixture
async def square(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Town, App]]:
    """A served app on a real port, with one viewer who has exactly `AFFORDED` coins."""
    settings = Settings(data=str(tmp_path / "data"))
    app = await open_app(settings, create=Environment.TEST, clock=HurryingClock())
    try:
        async with _served(app) as url, town.visitor(url, connections=AT_ONCE) as client:
            people = await town.settle(client, viewers=1, seed=3)
            await _give_coins(app, client, people)
            yield client, people, app
    finally:
        await close_app(app)


async def test_a_thousand_gifts_at_once_from_a_wallet_that_affords_500_are_exactly_500(
    square: tuple[httpx.AsyncClient, Town, App],
) -> None:
    """Five hundred are paid, five hundred are refused, nothing is left, nothing is owed."""
    client, people, _ = square
    gifts = [Gift(0, town.new_key(people), 1) for _ in range(AT_ONCE)]

    answers = await asyncio.gather(*(_insist(client, people, gift) for gift in gifts))

    assert Counter(a.status_code for a in answers) == {201: AFFORDED, 402: AT_ONCE - AFFORDED}
    paid = [a.json() for a in answers if a.status_code == 201]
    assert len({answer["gift"]["id"] for answer in paid}) == AFFORDED
    # Each 201 saw a different balance, down to nothing: no two gifts spent the same coin.
    assert {answer["balance"]["coins"] for answer in paid} == set(range(AFFORDED))
    refused = next(a.json() for a in answers if a.status_code == 402)
    assert (refused["code"], refused["missing"]) == ("insufficient_coins", 1)
    assert await town.coins_of(client, people.tokens[0]) == 0
    rows = await town.history(client, people.tokens[0])
    assert sum(row["kind"] == "gift" for row in rows) == AFFORDED


async def test_one_key_sent_fifty_times_at_once_is_one_gift_with_fifty_equal_answers(
    square: tuple[httpx.AsyncClient, Town, App],
) -> None:
    """An impatient finger, or a network that repeats: paid once, and everybody is told the same."""
    client, people, app = square
    gift = Gift(0, town.new_key(people), 3)

    answers = await asyncio.gather(*(_insist(client, people, gift) for _ in range(SAME_KEY)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await town.coins_of(client, people.tokens[0]) == AFFORDED - 3
    rows = await town.history(client, people.tokens[0])
    assert [row["coins"] for row in rows if row["kind"] == "gift"] == [-3]
    [earnings] = await app.ledger.lookup_accounts([await _creators_account(app, client, people)])
    assert earnings is not None
    assert earnings.credits_posted == 3 * app.settings.creator_share_bps


async def _insist(client: httpx.AsyncClient, people: Town, gift: Gift) -> httpx.Response:
    """Send it until no rate limit stands in the way; such a refusal does not use up the key."""
    while (response := await town.send(client, people, gift)).status_code == 429:
        pass
    return response


@asynccontextmanager
async def _served(app: App) -> AsyncIterator[str]:
    port = serving.free_port()
    config = uvicorn.Config(
        web.create(app), port=port, ws="none", log_level="warning", backlog=2_048
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    url = f"http://{serving.HOST}:{port}"

    async def answers() -> bool:
        return server.started

    await town.true_soon("the server has started", answers)
    try:
        yield url
    finally:
        server.should_exit = True
        await task


async def _give_coins(app: App, client: httpx.AsyncClient, people: Town) -> None:
    me = await town.expect(client.get("/v1/me", headers=town.bearer(people.tokens[0])))
    campaign = chart.campaign_account(app.environment, "welcome")
    assert await app.ledger.create_accounts([campaign]) == [AccountOutcome.CREATED]
    chains = [
        postings.fund_campaign(
            ids.derive("funding"),
            environment=app.environment,
            campaign_id="welcome",
            coins=AFFORDED,
        ),
        postings.bonus(
            ids.derive("bonus"),
            environment=app.environment,
            viewer_id=me["id"],
            campaign_id="welcome",
            coins=AFFORDED,
        ),
    ]
    results = await app.ledger.create_transfers(chains)
    assert {result.outcome for result in results} == {Outcome.CREATED}


async def _creators_account(app: App, client: httpx.AsyncClient, people: Town) -> bytes:
    me = await town.expect(client.get("/v1/me", headers=town.bearer(people.creator_token)))
    return chart.earnings_held(app.environment, me["id"])
