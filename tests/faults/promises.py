"""
What was answered is kept: the memory of a town held against what the server says afterwards.

Whatever was killed or cut off in between: each gift and recharge that was answered is there, once;
what was not answered is there whole or not at all.
"""

import httpx

from tests.faults import town
from tests.faults.town import Gift, Order, Town

LATE = "late"
"""This webhook comes ten seconds after the payment: such orders are waited for at the end."""


async def recharge_everybody(client: httpx.AsyncClient, people: Town) -> None:
    for viewer in range(len(people.tokens)):
        order = Order(viewer, town.new_key(people))
        people.orders.append(order)
        await town.recharge(client, people, order)
        await town.credited(client, people, order)


async def send(client: httpx.AsyncClient, people: Town, gift: Gift) -> None:
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


async def are_kept(client: httpx.AsyncClient, people: Town, gifts: list[Gift]) -> None:
    for gift in gifts:
        # Half of what nobody answered stays open, and is asked for again at the very end.
        if gift.answer or gift.refused or people.randomness.random() < 0.5:
            await send(client, people, gift)
    for order in people.orders:
        if order.is_paid and order.webhook != LATE:
            await town.credited(client, people, order)
    for viewer in range(len(people.tokens)):
        await history_tells_the_same(client, people, viewer)


async def nothing_is_left_open(client: httpx.AsyncClient, people: Town) -> None:
    """Everything that was never answered is asked for once more; then all of it must add up."""
    for gift in people.gifts:
        if not (gift.answer or gift.refused):
            await send(client, people, gift)
    for order in people.orders:
        if not order.is_paid:
            await town.recharge(client, people, order)
        await town.credited(client, people, order)
    given = 0
    for viewer in range(len(people.tokens)):
        rows = await history_tells_the_same(client, people, viewer)
        bought = [row for row in rows if row["kind"] == "recharge"]
        assert len(bought) == sum(order.viewer == viewer for order in people.orders)
        given -= sum(row["coins"] for row in rows if row["kind"] == "gift")
    earnings = await town.expect(
        client.get("/v1/earnings", headers=town.bearer(people.creator_token))
    )
    assert given == sum(gift.answer["coins"] for gift in people.gifts if gift.answer)
    assert earnings["held"] == f"{given * 5_000 / 10_000:.4f}"


async def history_tells_the_same(
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
