"""Checking beside processes that go on selling and gifting: what they do meanwhile is no fault."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from largesse import reconcile
from largesse.books.checks import Check
from largesse.clock import ManualClock, SystemClock
from largesse.ledger import postgres
from largesse.ledger.postgres import PostgresLedger
from largesse.records import orders
from largesse.records.database import Database, migrate
from tests.features.test_reconcile import (
    TEST,
    gift_of,
    open_accounts,
    order_of,
    post,
    recharge_of,
    sell,
)

PROCESSES = 2


@pytest.fixture
async def url(postgres_url: str) -> str:
    """One database for both stores, as an installation of several hosts has it."""
    await migrate(postgres_url)
    await postgres.migrate(postgres_url)
    return postgres_url


@pytest.fixture
async def processes(url: str) -> AsyncIterator[list[tuple[Database, PostgresLedger]]]:
    """Each with its own connections to both stores; the last one only checks."""
    opened = [
        (await Database.open(url), await PostgresLedger.open(url, SystemClock()))
        for _ in range(PROCESSES + 1)
    ]
    await open_accounts(opened[0][1])
    yield opened
    for db, ledger in opened:
        await ledger.close()
        await db.close()


async def all_checks(db: Database, ledger: PostgresLedger) -> list[Check]:
    found = [row async for row in reconcile.check_file(ledger.verify()) if isinstance(row, Check)]
    rows = reconcile.check(db, ledger, environment=TEST, now=ManualClock().now())
    return found + [row async for row in rows if isinstance(row, Check)]


async def test_a_check_beside_two_busy_processes_finds_nothing(processes) -> None:
    """Orders are kept, then credited, then spent, in both of them all the time."""
    checked = asyncio.Event()

    async def sell_and_gift(n: int) -> int:
        db, ledger = processes[n]
        sold = 0
        while not checked.is_set():
            # As a recharge does it: paid, then the coins, then credited.
            order = await orders.insert_or_get(db, order_of(f"{n} {sold}", "paid"))
            await post(ledger, recharge_of(order))
            await orders.update(db, order.id, expected_statuses=("paid",), status="credited")
            await post(ledger, gift_of(n * 1_000_000 + sold))
            sold += 1
        return sold

    busy = [asyncio.create_task(sell_and_gift(n)) for n in range(PROCESSES)]
    try:
        for _ in range(4):
            found = await all_checks(*processes[-1])
            assert [row for row in found if not row.holds] == []
    finally:
        checked.set()
    sold = await asyncio.gather(*busy)
    assert min(sold) > 5
    recharges = {row.name: row.detail for row in await all_checks(*processes[-1])}
    assert recharges[reconcile.RECHARGE_RULE] == f"{sum(sold)} recharges"


async def test_a_fault_is_found_beside_them_all_the_same(processes) -> None:
    db, ledger = processes[0]
    await sell(db, ledger, "one")
    await post(ledger, gift_of(1))
    found = await all_checks(*processes[-1])
    assert all(row.holds for row in found)
    await post(ledger, recharge_of(order_of("conjured")))
    broken = [row.name for row in await all_checks(*processes[-1]) if not row.holds]
    assert broken == [reconcile.RECHARGE_RULE]
