"""Every coin has a place in the queue: which purchase paid for which gift, and what is left."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from largesse import ids
from largesse.books import chart, lots, postings
from largesse.books.chart import TransferCode
from largesse.books.lots import Origin
from largesse.ledger.model import Chain, Outcome, Posted, Transfer
from tests.books import desk as desks
from tests.books.desk import ANA, BO, DANA, SPRING, TEST, Desk, chain_id, order


@pytest.fixture
async def desk() -> Desk:
    desk = await Desk().open()
    await desk.fund(1_000)
    return desk


def shape(found: lots.Lots) -> list[tuple[int, int, int, int]]:
    """Per lot: coins, spent, removed, unspent."""
    return [(lot.coins, lot.spent, lot.removed, lot.unspent) for lot in found.lots]


async def test_the_example_of_the_design(desk):
    """350 with a bonus of 50 are two lots; 100 spent come from the 350; 250 and 50 go back."""
    await desk.recharge("first", 350, bonus=50)
    gift = await desk.gift("gift", 100)
    found = await desk.lots()
    assert shape(found) == [(350, 100, 0, 250), (50, 0, 0, 50)]
    assert [lot.origin for lot in found.lots] == [Origin.PAID, Origin.PROMOTIONAL]
    assert lots.outstanding(found) == lots.Outstanding(paid=250, promotional=50)
    assert lots.consumption_milliunits(found, order("first")) == 28_571
    assert lots.gifts_paid_by(found, order("first")) == [
        lots.Use(0, gift[0].transfer.id, TransferCode.GIFT, 100, gift[0].timestamp)
    ]

    left = lots.of_order(found, order("first"))
    assert left == lots.OrderCoins(coins=350, unspent=250, bonus_coins=50, unspent_bonus=50)
    await desk.post(desks.refund("first", left))
    after = await desk.lots()
    assert shape(after) == [(350, 100, 250, 0), (50, 0, 50, 0)]
    assert await desk.coins() == 0
    assert lots.consumption_milliunits(after, order("first")) == 28_571
    assert lots.gifts_paid_by(after, order("first"), with_bonus=True) == list(found.uses)


async def test_a_gift_may_be_paid_by_several_purchases(desk):
    await desk.recharge("first", 30)
    await desk.post(bonus("present", 20))
    await desk.recharge("second", 50)
    gift = await desk.gift("gift", 60)
    found = await desk.lots()
    assert [(use.lot, use.coins) for use in found.uses] == [(0, 30), (1, 20), (2, 10)]
    assert [use.coins for use in lots.gifts_paid_by(found, order("second"))] == [10]
    assert {use.transfer_id for use in found.uses} == {gift[0].transfer.id}
    assert lots.consumption_milliunits(found, order("first")) == lots.MILLIUNITS
    assert lots.consumption_milliunits(found, order("second")) == 20_000


async def test_gifts_paid_with_the_bonus_are_told_apart(desk):
    """A stolen card paid for the first gift; for the second only the campaign did."""
    await desk.recharge("first", 30, bonus=20)
    await desk.gift("paid", 30)
    await desk.gift("promotional", 20)
    found = await desk.lots()
    paid = lots.gifts_paid_by(found, order("first"))
    both = lots.gifts_paid_by(found, order("first"), with_bonus=True)
    assert [use.transfer_id for use in paid] == [chain_id("paid")]
    assert [use.transfer_id for use in both] == [chain_id("paid"), chain_id("promotional")]


async def test_the_creators_that_a_stolen_card_paid_are_named_with_what_they_earned(desk):
    """Bo got two gifts of the first purchase, the second in part; dana got one of the next."""
    await desk.ledger.create_accounts(chart.creator_accounts(TEST, DANA))
    await desk.recharge("stolen", 100)
    await desk.recharge("honest", 100)
    await desk.gift("one", 70)
    await desk.post(desks.gift("two", 50, share_bps=4_000))
    await desk.post(desks.gift("three", 10, creator_id=DANA))
    found = await desk.lots()

    async def earners(name: str) -> list[tuple[bytes, int, int, int]]:
        uses = lots.gifts_paid_by(found, order(name))
        looked_up = await desk.ledger.lookup_transfers(lots.gift_ids(uses))
        transfers = {posted.transfer.id: posted for posted in looked_up if posted is not None}
        return [
            (one.creator_account_id, one.gifts, one.coins, one.diamond_units)
            for one in lots.creators_paid_by(uses, transfers)
        ]

    bo, dana = (chart.earnings_held(TEST, creator) for creator in (BO, DANA))
    assert await earners("stolen") == [(bo, 2, 100, 70 * 5_000 + 30 * 4_000)]
    assert await earners("honest") == [(bo, 1, 20, 20 * 4_000), (dana, 1, 10, 10 * 5_000)]


async def test_what_was_outstanding_on_a_day_that_is_over_is_still_told(desk):
    """At the end of each day: 350 bought and 50 given; 100 of them spent; the gift undone."""
    days = []
    await desk.recharge("first", 350, bonus=50)
    days.append(desk.end_of_day())
    wrong = await desk.gift("wrong", 380)
    days.append(desk.end_of_day())
    await desk.post(postings.correction(chain_id("correction"), wrong))
    days.append(desk.end_of_day())
    wallet = chart.wallet(TEST, ANA)
    history = list(reversed(await desk.history(wallet)))
    told = [lots.outstanding_at(wallet, history, day) for day in (0, *days)]
    assert [(one.paid, one.promotional) for one in told] == [(0, 0), (350, 50), (0, 20), (350, 50)]


async def test_a_history_with_a_hole_in_it_is_not_answered(desk):
    await desk.recharge("first", 100)
    await desk.gift("gift", 10)
    await desk.recharge("second", 100)
    wallet = chart.wallet(TEST, ANA)
    history = list(reversed(await desk.history(wallet)))
    for hole in range(len(history) - 1):
        if history[hole].transfer.amount:
            with pytest.raises(AssertionError):
                lots.of(wallet, history[:hole] + history[hole + 1 :])


async def test_a_refund_in_the_middle_moves_everything_behind_it_up(desk):
    """The second purchase goes back whole; the gift after it is paid by the first and the third."""
    for name in ("first", "second", "third"):
        await desk.recharge(name, 100)
    await desk.gift("early", 40)
    left = lots.of_order(await desk.lots(), order("second"))
    await desk.post(desks.refund("second", left))
    await desk.gift("late", 80)
    found = await desk.lots()
    assert shape(found) == [(100, 100, 0, 0), (100, 0, 100, 0), (100, 20, 0, 80)]
    late = [use for use in found.uses if use.transfer_id == chain_id("late")]
    assert [(use.lot, use.coins) for use in late] == [(0, 60), (2, 20)]


async def test_a_gift_undone_gives_its_coins_back_to_their_own_purchase(desk):
    """They stand where they stood: in front of what was bought later."""
    await desk.recharge("first", 100)
    await desk.recharge("second", 100)
    wrong = await desk.gift("wrong", 120)
    await desk.post(postings.correction(chain_id("correction"), wrong))
    found = await desk.lots()
    assert shape(found) == [(100, 0, 0, 100), (100, 0, 0, 100)]
    assert found.uses == ()
    await desk.gift("right", 10)
    assert shape(await desk.lots()) == [(100, 10, 0, 90), (100, 0, 0, 100)]


async def test_a_refund_undone_gives_the_purchase_its_coins_back(desk):
    await desk.recharge("first", 350, bonus=50)
    left = lots.of_order(await desk.lots(), order("first"))
    wrong = await desk.post(desks.refund("first", left))
    await desk.post(postings.correction(chain_id("correction"), wrong))
    assert shape(await desk.lots()) == [(350, 0, 0, 350), (50, 0, 0, 50)]


async def test_a_purchase_undone_is_no_lot_to_spend_from(desk):
    wrong = await desk.recharge("wrong", 100, bonus=10)
    await desk.recharge("right", 100)
    await desk.post(postings.correction(chain_id("correction"), wrong))
    assert shape(await desk.lots()) == [(100, 0, 100, 0), (10, 0, 10, 0), (100, 0, 0, 100)]


async def test_what_was_spent_between_the_question_and_the_refund_comes_from_the_front(desk):
    """Ana asks for 100 back, gifts 30, then gets her refund: 30 of it are from her next purchase."""
    await desk.recharge("first", 100)
    await desk.recharge("second", 100)
    left = lots.of_order(await desk.lots(), order("first"))
    await desk.gift("meanwhile", 30)
    await desk.post(desks.refund("first", left))
    assert shape(await desk.lots()) == [(100, 30, 70, 0), (100, 0, 30, 70)]


async def test_repaying_a_debt_spends_the_oldest_coins(desk):
    await desk.recharge("first", 100)
    await desk.owe(130)
    await desk.recharge("second", 100)
    found = await desk.lots()
    assert shape(found) == [(100, 100, 0, 0), (100, 0, 0, 100)]
    assert [use.code for use in found.uses] == [TransferCode.DEBT_REPAYMENT]
    assert await desk.coins() == 100


async def test_a_bonus_of_nothing_is_no_lot(desk):
    """Spring has nothing left to give."""
    await desk.post(bonus("the rest", 1_000))
    await desk.recharge("first", 100, bonus=50)
    assert shape(await desk.lots()) == [(1_000, 0, 0, 1_000), (100, 0, 0, 100)]


async def test_a_wallet_without_history_has_no_lots(desk):
    found = await desk.lots()
    assert found == lots.Lots((), ())
    assert lots.outstanding(found) == lots.Outstanding(0, 0)


def bonus(name: str, coins: int) -> Chain:
    return postings.bonus(
        chain_id(name), environment=TEST, viewer_id=ANA, campaign_id=SPRING, coins=coins
    )


# Properties --------------------------------------------------------------------------------------

NUMBER = st.integers(1, 6)
COINS = st.integers(1, 40)
EVENTS_FORWARD = (
    st.tuples(st.just("recharge"), COINS, st.integers(0, 20)),
    st.tuples(st.just("bonus"), COINS, st.just(0)),
    st.tuples(st.just("gift"), COINS, st.just(0)),
    st.tuples(st.just("gift"), COINS, st.just(0)),
)
EVENT = st.one_of(
    *EVENTS_FORWARD,
    st.tuples(st.just("refund"), NUMBER, st.just(0)),
    st.tuples(st.just("correction"), st.integers(0, 12), st.just(0)),
)


class Purse:
    """The other witness: a bag of single coins, each with a serial number and its lot's number."""

    def __init__(self, wallet: bytes) -> None:
        self.wallet = wallet
        self.here: dict[int, int] = {}
        self.gone: dict[bytes, dict[int, int]] = {}
        self.coins_of_lot: list[int] = []
        self.lot_of: dict[object, int] = {}

    def apply(self, chain: tuple[Posted, ...]) -> None:
        for posted in chain:
            transfer = posted.transfer
            if transfer.amount and transfer.credit_account_id == self.wallet:
                self._put(transfer)
            elif transfer.amount and transfer.debit_account_id == self.wallet:
                self._take(transfer)

    def _put(self, transfer: Transfer) -> None:
        if transfer.code == TransferCode.CORRECTION:
            self.here |= self.gone.pop(postings.corrected_transfer_id(transfer))
            return
        lot, made = len(self.coins_of_lot), sum(self.coins_of_lot)
        self.coins_of_lot.append(transfer.amount)
        self.lot_of[transfer.id] = self.lot_of[transfer.user_data_128, transfer.code] = lot
        self.here |= dict.fromkeys(range(made, made + transfer.amount), lot)

    def _take(self, transfer: Transfer) -> None:
        lot = None
        if transfer.code == TransferCode.CORRECTION:
            lot = self.lot_of[postings.corrected_transfer_id(transfer)]
        elif transfer.code == TransferCode.REFUND:
            lot = self.lot_of[transfer.user_data_128, TransferCode.RECHARGE]
        elif transfer.code == TransferCode.REFUND_BONUS:
            lot = self.lot_of[transfer.user_data_128, TransferCode.RECHARGE_BONUS]
        order = sorted(self.here, key=lambda serial: (self.here[serial] != lot, serial))
        taken = order[: transfer.amount]
        assert len(taken) == transfer.amount
        self.gone[transfer.id] = {serial: self.here.pop(serial) for serial in taken}


async def tell(events: list[tuple[str, int, int]]) -> tuple[Desk, Purse]:
    """Live through the events, where the ledger allows them, with both witnesses."""
    desk = await Desk().open()
    await desk.fund(100_000)
    purse = Purse(chart.wallet(TEST, ANA))
    chains: list[tuple[Posted, ...]] = []
    for place, (what, number, more) in enumerate(events):
        chain = await _chain(desk, what, number, more, place, chains)
        if chain is None or await desk.outcome(chain) is not Outcome.CREATED:
            continue
        posted = await desk.posted(chain)
        purse.apply(posted)
        # A chain is corrected once, and a correction never: so it leaves its place empty.
        chains.append(() if what == "correction" else posted)
        if what == "correction":
            chains[number] = ()
    return desk, purse


async def _chain(
    desk: Desk,
    what: str,
    number: int,
    more: int,
    place: int,
    chains: list[tuple[Posted, ...]],
) -> Chain | None:
    match what:
        case "recharge":
            return desks.recharge(str(place), number, more)
        case "bonus":
            return bonus(f"{place}", number)
        case "gift":
            return desks.gift(f"{place}", number)
        case "refund":
            left = lots.of_order(await desk.lots(), order(str(number)))
            return desks.refund(str(number), left, f"/{place}") if left.unspent else None
        case _:
            if number >= len(chains) or not chains[number]:
                return None
            return postings.correction(chain_id(f"{place}"), chains[number])


@settings(max_examples=150)
@given(st.lists(EVENT, max_size=25))
def test_lots_say_what_a_bag_of_single_coins_says(events):
    """Coins per lot, what is left of each, and which of them went into each debit."""

    async def main():
        desk, purse = await tell(events)
        found = await desk.lots()
        left = Counter(purse.here.values())
        assert [lot.coins for lot in found.lots] == purse.coins_of_lot
        assert [lot.unspent for lot in found.lots] == [left[n] for n in range(len(found.lots))]
        assert sum(lot.unspent for lot in found.lots) == await desk.coins()
        uses: dict[bytes, Counter[int]] = {}
        for use in found.uses:
            uses.setdefault(use.transfer_id, Counter())[use.lot] += use.coins
        assert uses == {id: Counter(gone.values()) for id, gone in purse.gone.items()}

    asyncio.run(main())


@settings(max_examples=60)
@given(st.lists(st.one_of(*EVENTS_FORWARD), max_size=20))
def test_where_nothing_was_taken_back_the_overlap_of_two_intervals_is_the_answer(events):
    """From the running totals alone: coins `a` to `b` of all that came, `c` to `d` of all that went."""

    async def main():
        desk, _ = await tell(events)
        wallet = chart.wallet(TEST, ANA)
        came, went = [], []
        for posted in reversed(await desk.history(wallet)):
            coins = posted.transfer.amount
            if posted.transfer.credit_account_id == wallet:
                end = posted.credit_account_credits_posted
                came += [(end - coins, end)] if coins else []
            else:
                end = posted.debit_account_debits_posted
                went.append((end - coins, end, posted.transfer.id))
        expected = [
            (lot, id, min(b, d) - max(a, c))
            for c, d, id in went
            for lot, (a, b) in enumerate(came)
            if min(b, d) > max(a, c)
        ]
        found = await desk.lots()
        assert [(use.lot, use.transfer_id, use.coins) for use in found.uses] == expected
        assert [(lot.begin, lot.begin + lot.coins) for lot in found.lots] == came

    asyncio.run(main())


@settings(max_examples=60)
@given(st.lists(EVENT, max_size=20))
def test_lots_add_up_to_the_wallet_in_the_order_in_which_coins_came(events):
    async def main():
        desk, _ = await tell(events)
        found = await desk.lots()
        wallet = chart.wallet(TEST, ANA)
        credits = [
            posted
            for posted in reversed(await desk.history(wallet))
            if posted.transfer.credit_account_id == wallet
            and posted.transfer.code != TransferCode.CORRECTION
            and posted.transfer.amount
        ]
        assert [lot.transfer_id for lot in found.lots] == [one.transfer.id for one in credits]
        assert sum(lot.coins for lot in found.lots) == sum(one.transfer.amount for one in credits)
        assert all(lot.spent >= 0 and lot.removed >= 0 and lot.unspent >= 0 for lot in found.lots)
        whole = lots.outstanding(found)
        assert whole.paid + whole.promotional == await desk.coins()

    asyncio.run(main())


@settings(max_examples=60)
@given(st.lists(EVENT, max_size=15), st.data())
def test_a_refund_shortens_its_own_lots_and_leaves_what_was_spent_alone(events, data):
    async def main():
        desk, _ = await tell(events)
        before = await desk.lots()
        bought = [lot.cause for lot in before.lots if lot.code is TransferCode.RECHARGE]
        whole = [cause for cause in bought if lots.of_order(before, ids.text(cause)).unspent]
        if not whole:
            return
        cause = data.draw(st.sampled_from(whole))
        left = lots.of_order(before, ids.text(cause))
        chain = postings.refund_of_unspent(
            chain_id("last refund"),
            environment=TEST,
            viewer_id=ANA,
            order_id=ids.text(cause),
            provider="sandbox",
            coins=left.coins,
            price=desks.PRICE,
            tax=desks.TAX,
            unspent=left.unspent,
            unspent_bonus=left.unspent_bonus,
        )
        await desk.post(chain)
        after = await desk.lots()
        assert after.uses[: len(before.uses)] == before.uses
        assert [lot.spent for lot in after.lots] == [lot.spent for lot in before.lots]
        for old, new in zip(before.lots, after.lots, strict=True):
            assert new.unspent == (0 if old.cause == cause else old.unspent)

    asyncio.run(main())


@settings(max_examples=60)
@given(st.lists(EVENT, max_size=15), COINS)
def test_a_correction_brings_every_account_and_every_lot_back(events, coins):
    async def main():
        desk, _ = await tell(events)
        await desk.recharge("enough", 100)
        accounts, found = desks.totals(await desk.accounts()), await desk.lots()
        wrong = await desk.gift("wrong", coins)
        await desk.post(postings.correction(chain_id("last correction"), wrong))
        assert desks.totals(await desk.accounts()) == accounts
        assert await desk.lots() == found

    asyncio.run(main())
