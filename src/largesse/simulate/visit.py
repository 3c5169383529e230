"""One visit, from the door to the last gift."""

import time

from largesse.simulate import api
from largesse.simulate.checkout import choose, packages_of, recharge
from largesse.simulate.choice import item_for, package_for, quantity_for
from largesse.simulate.plan import Wish
from largesse.simulate.rooms import open_room
from largesse.simulate.stage import LATE_SECONDS_MAX, Guest, pause

RECHARGES_PER_GIFT_MAX = 5
ROOM_LOST = ("room_not_found", "room_ended")
"""Refusals after which the creator opens a room again."""


async def stay(guest: Guest) -> None:
    """One visit: perhaps a recharge, then every gift at its time."""
    guest.player.is_visiting = True
    try:
        guest.stage.count(visits=1)
        begun = time.monotonic()
        if guest.visit.recharge_draw is not None:
            packages = await packages_of(guest)
            if packages:
                first = package_for(packages, guest.visit.kind, guest.visit.recharge_draw)
                await recharge(guest, first)
        for wish in guest.visit.wishes:
            due = begun + wish.after_seconds
            await pause(guest.stage, due - time.monotonic())
            if time.monotonic() - due <= LATE_SECONDS_MAX:
                await _give(guest, wish)
    finally:
        guest.player.is_visiting = False


async def _give(guest: Guest, wish: Wish) -> None:
    """Send one gift, recharging where coins are missing. Every new attempt has a new key."""
    item = item_for(guest.stage.items, wish)
    quantity = quantity_for(item, wish, guest.visit.kind)
    for _ in range(RECHARGES_PER_GIFT_MAX + 1):
        room_id = await open_room(guest.stage, guest.visit.creator)
        if room_id is None:
            return
        answer = await api.call(
            guest.stage,
            guest.player,
            "POST",
            f"/v1/rooms/{room_id}/gifts",
            api.SentGift,
            body={"item_id": item.id, "quantity": quantity},
            key=api.new_key(),
        )
        if isinstance(answer, api.SentGift):
            guest.stage.count(gifts=1, coins_gifted=answer.gift.coins)
            return
        if answer.code in ROOM_LOST:
            if guest.creator.room_id == room_id:
                guest.creator.room_id = None
            continue
        if answer.code != "insufficient_coins" or answer.package is None:
            return
        if not await recharge(guest, await choose(guest, wish, answer.package)):
            return
