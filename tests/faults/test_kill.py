"""
`kill -9` of a serving process under load, again and again on one data folder.

Six times in `make test`; `LARGESSE_FAULT_ROUNDS=200` in `make faults`. `LARGESSE_FAULT_SEED` plays
one course of events again (as far as two processes can play the same).
"""

import asyncio
import os
import random
from pathlib import Path

import httpx

from tests.faults import house, promises, town
from tests.faults.town import Gift, Order, Town

ROUNDS = int(os.environ.get("LARGESSE_FAULT_ROUNDS", "6"))
SEED = int(os.environ.get("LARGESSE_FAULT_SEED", "0")) or random.SystemRandom().getrandbits(32)
VIEWERS = 4
SENDS_MAX = 25
"""Of one viewer in one round: with the retries after it, far below the rate limit."""
AFTER_SEND_SECONDS_MAX = 0.01
WEBHOOKS = ("normal", "doubled", "before_redirect", promises.LATE)


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
            await promises.recharge_everybody(client, people)
        for _ in range(ROUNDS):
            before = len(people.gifts)
            await _live_until_killed(people, server)
            house.kill(server)
            assert not house.broken_checks(home)
            server = house.start(home)
            lost += sum(not (gift.answer or gift.refused) for gift in people.gifts[before:])
            async with town.visitor(server.url) as client:
                await promises.are_kept(client, people, people.gifts[before:])
        async with town.visitor(server.url) as client:
            await promises.nothing_is_left_open(client, people)
    finally:
        house.kill(server)
    assert not house.broken_checks(home)
    assert sum(gift.answer is not None for gift in people.gifts) > 5 * ROUNDS
    assert lost > ROUNDS // 5, "the kills came when nothing was on its way"


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
                await promises.send(client, people, gift)
        except httpx.TransportError:
            return
