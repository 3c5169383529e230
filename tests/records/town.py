"""A small town for the tests of what is read from the ledger: two who give, two who receive."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from largesse import clock as clocks
from largesse import ids
from largesse.books import chart, postings
from largesse.books.chart import Environment
from largesse.clock import ManualClock
from largesse.ledger.memory import MemoryLedger
from largesse.ledger.model import Outcome
from largesse.money import Price

TEST = Environment.TEST
ANA, BO, CLEO, DIRK = (f"{n:032x}" for n in (0xA, 0xB, 0xC, 0xD))
ROOM, OTHER_ROOM = f"{1:032x}", f"{2:032x}"


class Town:
    """Viewers ana and bo with a thousand coins each, creators cleo and dirk, a ledger, no records."""

    def __init__(self, ledger: MemoryLedger, clock: ManualClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.sent = 0

    async def gift(
        self, viewer: str, coins: int, *, room: str = ROOM, creator: str = CLEO
    ) -> bytes:
        self.clock.advance(clocks.SECOND)
        self.sent += 1
        at = clocks.milliseconds(self.clock.now())
        gift_id = ids.ordered(at, self.sent.to_bytes(9, "big"))
        chain = postings.gift(
            gift_id,
            environment=TEST,
            viewer_id=viewer,
            creator_id=creator,
            room_id=room,
            item_number=7,
            quantity=1,
            price_list_version=1,
            coins=coins,
            share_bps=5_000,
        )
        [result] = await self.ledger.create_transfers([chain])
        assert result.outcome is Outcome.CREATED
        return gift_id

    async def correct(self, gift_id: bytes) -> None:
        self.sent += 1
        wrong = await self.ledger.lookup_transfers([gift_id, ids.nth(gift_id, 1)])
        [result] = await self.ledger.create_transfers(
            [postings.correction(ids.derive("correction", gift_id), wrong)]
        )
        assert result.outcome is Outcome.CREATED


@asynccontextmanager
async def open_town(clock: ManualClock) -> AsyncIterator[Town]:
    ledger = MemoryLedger(clock)
    accounts = [*chart.house_accounts(TEST, ("USD",), ("sandbox",))]
    for person in (ANA, BO):
        accounts += chart.viewer_accounts(TEST, person)
    for person in (CLEO, DIRK):
        accounts += chart.creator_accounts(TEST, person)
    await ledger.create_accounts(accounts)
    for person in (ANA, BO):
        chain = postings.recharge(
            ids.derive("recharge", person),
            environment=TEST,
            viewer_id=person,
            order_id=person,
            provider="sandbox",
            coins=1_000_000,
            price=Price(999, "USD"),
            tax=0,
        )
        [result] = await ledger.create_transfers([chain])
        assert result.outcome is Outcome.CREATED
    yield Town(ledger, clock)
    await ledger.close()
