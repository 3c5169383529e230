"""
A recharge survives the end of the process between any two steps.

The power fails at the rim: at the n-th call into the database, the ledger or the provider, once
before the call is made and once after it was made and before its answer is heard; for every n.
"""

import contextlib

import pytest

from largesse import recharge, reconcile
from largesse.books.checks import Check
from largesse.clock import MINUTE
from largesse.records import orders
from tests.payments.shop import ANA, TEST


class PowerFailure(BaseException):
    """Nothing in our code may catch this, as nothing can catch the end of the process."""


class Fuse:
    """Blows at the n-th step."""

    def __init__(self, n):
        self.left = n

    def step(self):
        self.left -= 1
        if self.left == 0:
            raise PowerFailure


class Database:
    """The real database behind a fuse."""

    def __init__(self, db, fuse):
        self.db, self.fuse = db, fuse

    @contextlib.asynccontextmanager
    async def begin(self):
        self.fuse.step()
        async with self.db.begin() as tx:
            yield tx
        self.fuse.step()

    @contextlib.asynccontextmanager
    async def connect(self):
        self.fuse.step()
        async with self.db.connect() as tx:
            yield tx


class Rim:
    """A ledger or a provider behind a fuse."""

    def __init__(self, inner, fuse):
        self.inner, self.fuse = inner, fuse

    def __getattr__(self, name):
        attribute = getattr(self.inner, name)
        if not callable(attribute):
            return attribute

        async def call(*arguments, **keywords):
            self.fuse.step()
            answer = await attribute(*arguments, **keywords)
            self.fuse.step()
            return answer

        return call


async def restart(shop, way):
    """What the next process does: its worker handles the inbox, or asks about what is unfinished."""
    shop.clock.advance(2 * MINUTE)
    if way == "webhook":
        await shop.work()
    else:
        await recharge.finish_unfinished(
            shop.db, shop.ledger, shop.providers, now=shop.clock.now(), limit=1_000
        )


async def assert_credited_once(shop, count):
    found = await orders.of_viewer(shop.db, ANA.id, limit=1_000)
    assert [order.status for order in found] == ["credited"] * count
    assert await shop.coins() == 700 * count
    found = reconcile.check(shop.db, shop.ledger, environment=TEST, now=shop.clock.now())
    checks = [check async for check in found if isinstance(check, Check)]
    assert [check for check in checks if not check.holds] == []


async def crash_everywhere(shop, act):
    """Let `act(n, fuse)` fail at its first step, its second, ... until it comes through whole."""
    n, failed = 0, True
    while failed:
        n, failed = n + 1, False
        try:
            await act(n, Fuse(n))
        except PowerFailure:
            failed = True
        yield n


@pytest.mark.parametrize("way", ["webhook", "lost webhook"])
async def test_a_crash_at_any_step_of_settling_credits_once(shop, way):
    async def act(n, fuse):
        order = await shop.order(key=f"order {n}")
        await shop.pay(order)
        db, ledger = Database(shop.db, fuse), Rim(shop.ledger, fuse)
        providers = {"sandbox": Rim(shop.provider, fuse)}
        if way == "webhook":
            await shop.sandbox.deliver_due()
            work = recharge.handle_inbox
        else:
            shop.clock.advance(2 * MINUTE)
            work = recharge.finish_unfinished
        await work(db, ledger, providers, now=shop.clock.now(), limit=100)

    async for n in crash_everywhere(shop, act):
        await restart(shop, way)
        await assert_credited_once(shop, n)
    assert n > 12


async def test_a_crash_at_any_step_of_ordering_leaves_one_order_for_the_same_key(shop):
    async def act(n, fuse):
        db, ledger = Database(shop.db, fuse), Rim(shop.ledger, fuse)
        providers = {"sandbox": Rim(shop.provider, fuse)}
        await recharge.start_order(
            db,
            ledger,
            shop.catalog,
            providers,
            viewer=ANA,
            package_id="coins-700",
            provider="sandbox",
            channel="web",
            country="US",
            key=f"order {n}",
            environment=TEST,
            price_list_version=1,
            now=shop.clock.now(),
            adult_age=18,
        )

    async for n in crash_everywhere(shop, act):
        again = await shop.order(key=f"order {n}")
        assert again.checkout_url is not None
        await shop.pay(again)
        await shop.sandbox.deliver_due()
        await restart(shop, "webhook")
        await assert_credited_once(shop, n)
    assert n > 8
