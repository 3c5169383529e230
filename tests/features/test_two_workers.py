"""Two processes handle one inbox: each payment is asked about once, and a dead one's work is done."""

import asyncio

import pytest

from largesse import recharge
from largesse.clock import MINUTE
from largesse.recharge import EVENT_CLAIM, UNFINISHED_AGE
from largesse.records import inbox, orders
from largesse.records.database import Database

PAYMENTS = 12
LIMIT = 3


class Asked:
    """The shop's provider, which notes what it is asked about and may keep an answer back."""

    name = "sandbox"

    def __init__(self, provider):
        self.provider = provider
        self.payments = []
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def fetch(self, payment_id):
        self.payments.append(payment_id)
        self.is_asked.set()
        answer = await self.provider.fetch(payment_id)
        await self.may_answer.wait()
        return answer


class Process:
    """A worker with connections of its own to the shop's records."""

    def __init__(self, shop, db):
        self.shop, self.db = shop, db
        self.asked = Asked(shop.provider)

    async def handle(self, limit=LIMIT):
        return await self._do(recharge.handle_inbox, limit)

    async def sweep(self, limit=LIMIT):
        return await self._do(recharge.finish_unfinished, limit)

    async def _do(self, work, limit):
        return await work(
            self.db,
            self.shop.ledger,
            {"sandbox": self.asked},
            now=self.shop.clock.now(),
            limit=limit,
        )


@pytest.fixture
async def processes(shop, records_url):
    databases = [await Database.open(records_url) for _ in range(2)]
    yield [Process(shop, db) for db in databases]
    for db in databases:
        await db.close()


async def pay(shop, count):
    """Ana pays so many orders; the provider has told us of each."""
    placed = [await shop.order(key=f"order {n}") for n in range(count)]
    for order in placed:
        await shop.pay(order)
    await shop.sandbox.deliver_due()
    return placed


async def assert_credited(shop, placed):
    assert [await shop.status(order) for order in placed] == ["credited"] * len(placed)
    assert await shop.coins() == 700 * len(placed)


async def until_nothing_is_left(work):
    done = 0
    while more := await work():
        done += more
    return done


async def test_two_workers_at_once_ask_about_each_payment_once(shop, processes):
    placed = await pay(shop, PAYMENTS)
    done = await asyncio.gather(*(until_nothing_is_left(each.handle) for each in processes))
    assert sum(done) == PAYMENTS
    asked = [payment for each in processes for payment in each.asked.payments]
    assert sorted(asked) == sorted(order.payment_id for order in placed)
    await assert_credited(shop, placed)


async def test_two_workers_at_once_look_at_each_idle_order_once(shop, processes):
    placed = await pay(shop, PAYMENTS)
    shop.clock.advance(UNFINISHED_AGE + MINUTE)
    done = await asyncio.gather(*(until_nothing_is_left(each.sweep) for each in processes))
    assert sum(done) == PAYMENTS
    asked = [payment for each in processes for payment in each.asked.payments]
    assert sorted(asked) == sorted(order.payment_id for order in placed)
    await assert_credited(shop, placed)


async def test_what_a_worker_held_when_it_died_is_handled_by_the_other_in_time(shop, processes):
    placed = await pay(shop, 3)
    dies, lives = processes
    dies.asked.may_answer.clear()
    dying = asyncio.create_task(dies.handle(limit=2))
    await dies.asked.is_asked.wait()
    dying.cancel()
    await asyncio.wait({dying})

    assert await lives.handle() == 1  # What nobody held.
    shop.clock.advance(EVENT_CLAIM - 1)
    assert await lives.handle() == 0
    shop.clock.advance(1)
    assert await lives.handle() == 2
    await assert_credited(shop, placed)


async def test_an_order_that_a_dead_worker_looked_at_is_found_again(shop, processes):
    placed = await pay(shop, 1)
    dies, lives = processes
    shop.clock.advance(2 * UNFINISHED_AGE)
    dies.asked.may_answer.clear()
    dying = asyncio.create_task(dies.sweep())
    await dies.asked.is_asked.wait()
    dying.cancel()
    await asyncio.wait({dying})

    shop.clock.advance(UNFINISHED_AGE)
    assert await lives.sweep() == 0
    shop.clock.advance(1)
    assert await lives.sweep() == 1
    await assert_credited(shop, placed)


async def test_a_worker_that_took_longer_than_its_claim_does_no_harm(shop, processes):
    """The other has credited the order meanwhile; the slow one finds that out and says so once."""
    placed = await pay(shop, 1)
    slow, quick = processes
    slow.asked.may_answer.clear()
    working = asyncio.create_task(slow.handle())
    await slow.asked.is_asked.wait()
    shop.clock.advance(EVENT_CLAIM)
    assert await quick.handle() == 1
    [handled] = await inbox.recent(shop.db, limit=10)
    slow.asked.may_answer.set()
    assert await working == 1

    assert await inbox.recent(shop.db, limit=10) == [handled]
    assert (await orders.find(shop.db, placed[0].id)).status == "credited"
    await assert_credited(shop, placed)
