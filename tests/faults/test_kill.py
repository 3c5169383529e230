"""
`kill -9` of a serving process under load, again and again on one data folder.

Ten times in `make test`; `LARGESSE_FAULT_ROUNDS=200` in `make faults`. `LARGESSE_FAULT_SEED` plays
one course of events again (as far as two processes can play the same).
"""

import asyncio
import os
import random
from pathlib import Path

import httpx

from tests.faults import house, town
from tests.faults.town import Gift, Order, Town

ROUNDS = int(os.environ.get("LARGESSE_FAULT_ROUNDS", "10"))
SEED = int(os.environ.get("LARGESSE_FAULT_SEED", "0")) or random.SystemRandom().getrandbits(32)
VIEWERS = 4
SENDS_MAX = 25
"""Of one viewer in one round: with the retries after it, far below the rate limit."""
AFTER_SEND_SECONDS_MAX = 0.01
LATE = "late"
"""This webhook comes ten seconds after the payment: such orders are waited for at the end."""
WEBHOOKS = ("normal", "doubled", "before_redirect", LATE)


class Trigger:
    """Kills the process a little after the n-th request was sent."""

    def __init__(self, server: house.Server, sends: int, seconds: float) -> None:
        self._process = server.process
        self._left = sends
        self._seconds = seconds

    def count(self) -> None:
        self._left -= 1
        if self._left == 0:
            asyncio.get_running_loop().call_later(self._seconds, self._process.kill)


async def test_after_kill_9_every_answer_that_was_given_is_kept(tmp_path: Path) -> None:
    """
    Viewers recharge and gift, the process is killed, and started again on the same folder.

    Every gift and recharge that was answered is there, once; what was not answered is there whole
    or not at all; the books hold before and after the restart.
    """
    print(f"LARGESSE_FAULT_SEED={SEED}")
    home = house.found(tmp_path)
    server = house.start(home)
    lost = 0
    try:
        async with town.visitor(server.url) as client:
            people = await town.settle(client, viewers=VIEWERS, seed=SEED)
            await _recharge_everybody(client, people)
        for _ in range(ROUNDS):
            before = len(people.gifts)
            await _live_until_killed(people, server)
            house.kill(server)
            assert not house.broken_checks(home)
            server = house.start(home)
            lost += sum(not (gift.answer or gift.refused) for gift in people.gifts[before:])
            async with town.visitor(server.url) as client:
                await _promises_are_kept(client, people, people.gifts[before:])
        async with town.visitor(server.url) as client:
            await _nothing_is_left_open(client, people)
    finally:
        house.kill(server)
    assert not house.broken_checks(home)
    assert sum(gift.answer is not None for gift in people.gifts) > 5 * ROUNDS
    assert lost > ROUNDS // 5, "the kills came when nothing was on its way"


async def _recharge_everybody(client: httpx.AsyncClient, people: Town) -> None:
    for viewer in range(VIEWERS):
        order = Order(viewer, town.new_key(people))
        people.orders.append(order)
        await town.recharge(client, people, order)
        await town.credited(client, people, order)


async def _live_until_killed(people: Town, server: house.Server) -> None:
    """All viewers at once, until the connection breaks under them."""
    chance = people.randomness
    sends = chance.randint(5, VIEWERS * SENDS_MAX // 2)
    trigger = Trigger(server, sends, chance.uniform(0, AFTER_SEND_SECONDS_MAX))
    async with town.visitor(server.url) as client:
        await asyncio.gather(*(_live(client, people, n, trigger) for n in range(VIEWERS)))


async def _live(client: httpx.AsyncClient, people: Town, viewer: int, trigger: Trigger) -> None:
    chance = people.randomness
    recharges = chance.sample(range(SENDS_MAX), k=2)
    for number in range(SENDS_MAX):
        trigger.count()
        try:
            if number in recharges:
                order = Order(viewer, town.new_key(people), chance.choice(WEBHOOKS))
                people.orders.append(order)
                await town.recharge(client, people, order)
            else:
                gift = Gift(viewer, town.new_key(people), chance.randint(1, 3))
                people.gifts.append(gift)
                await _send(client, people, gift)
        except httpx.TransportError:
            return


async def _send(client: httpx.AsyncClient, people: Town, gift: Gift) -> None:
    """Send it; what was answered before must be answered again."""
    response = await town.send(client, people, gift)
    if response.status_code == 402:
        assert gift.answer is None, "a yes became a no"
        gift.refused = True
        return
    assert response.status_code == 201, response.text
    assert not gift.refused, "a no became a yes"
    answer = response.json()["gift"]
    assert gift.answer in (None, answer)
    gift.answer = answer


async def _promises_are_kept(client: httpx.AsyncClient, people: Town, gifts: list[Gift]) -> None:
    for gift in gifts:
        # Half of what nobody answered stays open, and is asked for again at the very end.
        if gift.answer or gift.refused or people.randomness.random() < 0.5:
            await _send(client, people, gift)
    for order in people.orders:
        if order.is_paid and order.webhook != LATE:
            await town.credited(client, people, order)
    for viewer in range(VIEWERS):
        await _history_tells_the_same(client, people, viewer)


async def _nothing_is_left_open(client: httpx.AsyncClient, people: Town) -> None:
    """Everything that was never answered is asked for once more; then all of it must add up."""
    for gift in people.gifts:
        if not (gift.answer or gift.refused):
            await _send(client, people, gift)
    for order in people.orders:
        if not order.is_paid:
            await town.recharge(client, people, order)
        await town.credited(client, people, order)
    given = 0
    for viewer in range(VIEWERS):
        rows = await _history_tells_the_same(client, people, viewer)
        bought = [row for row in rows if row["kind"] == "recharge"]
        assert len(bought) == sum(order.viewer == viewer for order in people.orders)
        given -= sum(row["coins"] for row in rows if row["kind"] == "gift")
    earnings = await town.expect(
        client.get("/v1/earnings", headers=town.bearer(people.creator_token))
    )
    assert given == sum(gift.answer["coins"] for gift in people.gifts if gift.answer)
    assert earnings["held"] == f"{given * 5_000 / 10_000:.4f}"


async def _history_tells_the_same(
    client: httpx.AsyncClient, people: Town, viewer: int
) -> list[dict[str, object]]:
    """Each promise of this viewer stands in the history once, and the coins add up."""
    token = people.tokens[viewer]
    rows = await town.history(client, token)
    gifts = {row["gift"]["id"]: row for row in rows if row["kind"] == "gift"}
    orders = {row["order"]["id"]: row for row in rows if row["kind"] == "recharge"}
    assert len(gifts) + len(orders) == len(rows), "something is there twice"

    mine = [gift for gift in people.gifts if gift.viewer == viewer]
    unknown = {gift.quantity for gift in mine if not (gift.answer or gift.refused)}
    promised = {gift.answer["id"]: gift for gift in mine if gift.answer}
    assert promised.keys() <= gifts.keys(), "an answered gift is lost"
    for gift_id, row in gifts.items():
        if gift_id in promised:
            assert -row["coins"] == promised[gift_id].quantity
        else:
            assert -row["coins"] in unknown, "nobody asked for this gift"
    paid = [order for order in people.orders if order.viewer == viewer and order.is_paid]
    credited = {order.id for order in paid if order.webhook != LATE}
    assert credited <= orders.keys(), "a paid recharge is lost"

    assert sum(row["coins"] for row in rows) == await town.coins_of(client, token)
    return rows
