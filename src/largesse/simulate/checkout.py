"""How a viewer gets coins: order a package, pay at the sandbox's page, wait for them."""

import time

import msgspec

from largesse.simulate import api
from largesse.simulate.choice import Package, item_for, package_that_lasts, quantity_for
from largesse.simulate.plan import Wish
from largesse.simulate.stage import GivenUp, Guest, pause

RECHARGE_LASTS_SECONDS = 60.0
"""Who runs short buys the offered package, or the next one that lasts him for this long."""
CREDIT_SECONDS_MAX = 60.0
"""How long a viewer waits for coins that he paid for."""
POLL_SECONDS = 0.1
POLL_SECONDS_MAX = 2.0


async def choose(guest: Guest, wish: Wish, offered: Package) -> Package:
    """What a viewer buys who has run short: the offer, unless it would not last him."""
    until = wish.after_seconds + RECHARGE_LASTS_SECONDS
    soon = 0
    for each in guest.visit.wishes:
        if wish.after_seconds < each.after_seconds <= until:
            item = item_for(guest.stage.items, each)
            soon += item.coins * quantity_for(item, each, guest.visit.kind)
    return package_that_lasts(await packages_of(guest), offered, soon)


async def recharge(guest: Guest, package: Package) -> bool:
    """Order a package, pay for it at the sandbox's page, wait for the coins; whether they came."""
    order = await api.call(
        guest.stage,
        guest.player,
        "POST",
        "/v1/orders",
        api.Order,
        body={
            "package_id": package.id,
            "provider": "sandbox",
            "channel": "web",
            "country": await _country(guest),
        },
        key=api.new_key(),
    )
    if isinstance(order, api.Problem) or order.checkout_url is None:
        return False
    decision = "decline" if guest.will_decline else "confirm"
    guest.will_decline = False
    # The page is the provider's, so it gets no session of ours.
    paid = await api.call(
        guest.stage,
        None,
        "POST",
        f"{order.checkout_url}/{decision}",
        msgspec.Raw,
        body={"webhook": guest.visit.webhook},
    )
    if isinstance(paid, api.Problem):
        return False
    return await _credited(guest, order)


async def _credited(guest: Guest, order: api.Order) -> bool:
    """Wait until an order has come to its end, and count it."""
    deadline = time.monotonic() + CREDIT_SECONDS_MAX
    wait_seconds = POLL_SECONDS
    while time.monotonic() < deadline:
        answer = await api.call(
            guest.stage, guest.player, "GET", f"/v1/orders/{order.id}", api.Order
        )
        if isinstance(answer, api.Problem):
            return False
        if answer.status == "credited":
            guest.stage.count(recharges=1, coins_bought=answer.coins)
            return True
        if answer.status == "failed":
            guest.stage.count(declined=1)
            return False
        await pause(guest.stage, wait_seconds)
        wait_seconds = min(wait_seconds * 1.5, POLL_SECONDS_MAX)
    guest.stage.count(errors=1)
    return False


async def packages_of(guest: Guest) -> list[Package]:
    if not guest.player.packages:
        path = f"/v1/packages?channel=web&country={await _country(guest)}"
        answer = await api.call(guest.stage, guest.player, "GET", path, api.Packages)
        if not isinstance(answer, api.Problem):
            guest.player.packages = answer.packages
    return guest.player.packages


async def _country(guest: Guest) -> str:
    if guest.player.country is None:
        answer = await api.call(guest.stage, guest.player, "GET", "/v1/me", api.Me)
        if isinstance(answer, api.Problem):
            raise GivenUp
        guest.player.country = answer.country
    return guest.player.country
