"""One story, told to every engine: the lots, the earners and the day's end are the same on each."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from largesse.books import chart, lots, postings
from largesse.clock import Clock
from largesse.ledger import Ledger, postgres
from largesse.ledger.memory import MemoryLedger
from largesse.ledger.sqlite import SqliteLedger
from tests.books import desk as desks
from tests.books.desk import ANA, DANA, TEST, Desk, chain_id, order

Engine = Callable[[Clock], Awaitable[Ledger]]


async def memory(clock: Clock) -> Ledger:
    return MemoryLedger(clock)


def sqlite(folder: Path) -> Engine:
    async def open_ledger(clock: Clock) -> Ledger:
        return await SqliteLedger.open(folder / "ledger.sqlite", clock)

    return open_ledger


async def answers(engine: Engine) -> dict[str, Any]:
    """Everything that the lots can be asked, after two purchases, gifts, a refund and a correction."""
    desk = await Desk(engine).open()
    try:
        await desk.fund(1_000)
        await desk.ledger.create_accounts(chart.creator_accounts(TEST, DANA))
        await desk.recharge("first", 350, bonus=50)
        await desk.gift("one", 100)
        day = desk.end_of_day()
        await desk.recharge("second", 700)
        wrong = await desk.gift("wrong", 500)
        await desk.post(desks.gift("two", 30, creator_id=DANA, share_bps=4_321))
        await desk.post(postings.correction(chain_id("correction"), wrong))
        left = lots.of_order(await desk.lots(), order("first"))
        await desk.post(desks.refund("first", left))
        await desk.gift("three", 300)
        found = await desk.lots()
        uses = lots.gifts_paid_by(found, order("second"), with_bonus=True)
        looked_up = await desk.ledger.lookup_transfers(lots.gift_ids(uses))
        transfers = {posted.transfer.id: posted for posted in looked_up if posted is not None}
        wallet = chart.wallet(TEST, ANA)
        return {
            "lots": [(lot.cause, lot.begin, lot.coins, lot.unspent) for lot in found.lots],
            "uses": [(use.lot, use.transfer_id, use.coins) for use in found.uses],
            "consumed": lots.consumption_milliunits(found, order("second")),
            "earners": lots.creators_paid_by(uses, transfers),
            "outstanding": lots.outstanding(found),
            "day": lots.outstanding_at(wallet, reversed(await desk.history(wallet)), day),
        }
    finally:
        await desk.ledger.close()


@pytest.fixture
async def expected() -> dict[str, Any]:
    return await answers(memory)


async def test_the_reference_ledger_says_what_can_be_worked_out_by_hand(expected):
    assert [lot[1:] for lot in expected["lots"]] == [(0, 350, 0), (350, 50, 0), (400, 700, 370)]
    assert expected["outstanding"] == lots.Outstanding(paid=370, promotional=0)
    assert expected["day"] == lots.Outstanding(paid=250, promotional=50)
    assert expected["consumed"] == 47_142
    assert [(one.gifts, one.coins) for one in expected["earners"]] == [(1, 300), (1, 30)]


async def test_the_sqlite_ledger_says_the_same(expected, tmp_path):
    assert await answers(sqlite(tmp_path)) == expected


async def test_the_postgresql_ledger_says_the_same(expected, postgres_url):
    await postgres.migrate(postgres_url)

    async def open_ledger(clock: Clock) -> Ledger:
        return await postgres.PostgresLedger.open(postgres_url, clock)

    assert await answers(open_ledger) == expected
