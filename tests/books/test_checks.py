"""What must stay true of the books, and that each check notices when it does not."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from largesse import ids
from largesse.books import chart, checks, lots, postings
from largesse.books.chart import COIN, DIAMOND, AccountCode, Environment, TransferCode
from largesse.books.checks import Tally
from largesse.ledger.model import (
    Account,
    ChangeKind,
    Outcome,
    Posted,
    Transfer,
    TransferFlags,
)
from largesse.money import Price
from tests.books import desk as desks
from tests.books.desk import ANA, BO, CLEO, TEST, Desk, chain_id, order
from tests.books.desk import totals as balances

WALLET, OTHER_WALLET = chart.wallet(TEST, ANA), chart.wallet(TEST, CLEO)
COINS_RULE = "coins outstanding are issued + promoted - redeemed - returned - expired (test)"
DIAMONDS_RULE = "diamonds issued are coins gifted x share (test)"


@pytest.fixture
async def desk() -> Desk:
    """A day at the desk with one of each posting."""
    desk = await Desk().open()
    await desk.fund(1_000)
    await desk.recharge("first", bonus=50)
    await desk.gift("gift", 100)
    wrong = await desk.gift("wrong", 20)
    await desk.post(postings.correction(chain_id("correction"), wrong))
    await desk.post(desks.refund("first", lots.of_order(await desk.lots(), order("first"))))
    await desk.recharge("second")
    return desk


async def tally_of(desk: Desk, *amended: Posted) -> Tally:
    """The tally of the desk's changes, with these in place of what the ledger holds."""
    instead = {posted.transfer.id: posted for posted in amended}
    tally = Tally()
    accounts = {account.id: account for account in await desk.accounts()}
    for change in await desk.ledger.changes(0, 1_000):
        if change.kind is ChangeKind.ACCOUNT:
            checks.add_account_created(tally, change.account)
            continue
        if change.kind is ChangeKind.EXPIRED:
            checks.add_expired(tally, change.chain[0], accounts)
            continue
        chain = tuple(instead.get(posted.transfer.id, posted) for posted in change.chain)
        found = await desk.ledger.lookup_transfers(checks.referred_ids(chain))
        referred = {posted.transfer.id: posted for posted in found if posted is not None}
        checks.add_chain(tally, chain, accounts, referred)
    return tally


async def broken(desk: Desk, *amended: Posted) -> set[str]:
    """The names of the checks that do not hold."""
    return {row.name for row in checks.of_changes(await tally_of(desk, *amended)) if not row.holds}


async def move(desk: Desk, *transfers: Transfer) -> None:
    await desk.post(tuple(transfers))


def transfer(
    debit: bytes, credit: bytes, amount: int, code: int, ledger: int = COIN, n: int = 0
) -> Transfer:
    return Transfer(ids.nth(chain_id("odd"), n), debit, credit, amount, ledger, int(code))


async def test_an_ordinary_day_holds_by_accounts_and_by_changes(desk):
    assert all(row.holds for row in checks.of_accounts(await desk.accounts()))
    rows = checks.of_changes(await tally_of(desk))
    assert {row.name for row in rows if not row.holds} == set()
    details = {row.name: row.detail for row in rows}
    assert details[COINS_RULE] == "350 = 750 - 100 - 300 - 0"
    assert details[DIAMONDS_RULE] == "500,000 and 500,000 ten-thousandths"
    assert details["USD: debits equal credits"].startswith("1,015 and 1,015;")
    assert details[checks.SHAPE_RULE] == "7 chains"


async def test_accounts_and_changes_come_to_the_same_totals(desk):
    by_accounts, by_changes = Tally(), await tally_of(desk)
    for account in await desk.accounts():
        checks.add_account(by_accounts, account)
    assert by_changes.sums == by_accounts.sums


@pytest.mark.parametrize(
    ("account_id", "changes", "rule"),
    [
        (WALLET, {"debits_posted": 2_000}, "no wallet is below zero"),
        (WALLET, {"debits_pending": 351}, "no wallet is below zero"),
        (
            chart.earnings_held(TEST, BO),
            {"debits_posted": 9_000_000},
            "no earnings held are below zero",
        ),
        (
            chart.earnings_available(TEST, BO),
            {"debits_posted": 1},
            "no earnings available are below zero",
        ),
        (
            chart.campaign(TEST, desks.SPRING),
            {"debits_posted": 1_001},
            "every campaign spends within its funding",
        ),
        (chart.debt(TEST, ANA), {"credits_posted": 1}, "no debt is below zero"),
        (chart.issued(TEST), {"debits_posted": 1_699}, "COIN: debits equal credits"),
        (chart.redeemed(TEST), {"credits_posted": 1}, COINS_RULE),
        (chart.diamonds_issued(TEST), {"credits_pending": 1}, "DIAMOND: debits equal credits"),
        (chart.bank(TEST, "USD"), {"debits_posted": 1}, "USD: debits equal credits"),
    ],
)
async def test_an_account_that_was_tampered_with_is_noticed(desk, account_id, changes, rule):
    accounts = [
        replace(account, **changes) if account.id == account_id else account
        for account in await desk.accounts()
    ]
    assert rule in {row.name for row in checks.of_accounts(accounts) if not row.holds}


async def test_a_changed_amount_is_noticed_against_the_running_totals(desk):
    """Of a gift, whose running total is on the credit side, and of a purchase, on the debit side."""
    gift = (await desk.posted(desks.gift("gift", 100)))[0]
    names = await broken(desk, replace(gift, transfer=replace(gift.transfer, amount=99)))
    assert {"COIN: debits equal credits", COINS_RULE, checks.GIFT_RULE} <= names
    bought = (await desk.posted(desks.recharge("second")))[2]
    names = await broken(desk, replace(bought, transfer=replace(bought.transfer, amount=349)))
    assert names == {"COIN: debits equal credits", COINS_RULE}


async def test_a_changed_ledger_is_noticed(desk):
    gift = (await desk.posted(desks.gift("gift", 100)))[0]
    names = await broken(desk, replace(gift, transfer=replace(gift.transfer, ledger=DIAMOND)))
    assert names == {checks.SIDES_RULE}


async def test_a_running_total_beyond_its_limit_is_noticed(desk):
    paid = (await desk.posted(desks.gift("gift", 100)))[0]
    names = await broken(desk, replace(paid, debit_account_debits_posted=401))
    assert names == {"no wallet is below zero"}
    repaid = (await desk.posted(desks.recharge("second")))[-1]
    assert repaid.transfer.code == TransferCode.DEBT_REPAYMENT
    names = await broken(desk, replace(repaid, credit_account_credits_posted=1))
    assert names == {"no debt is below zero"}


async def test_coins_from_one_viewer_to_another_are_noticed(desk):
    await move(desk, transfer(WALLET, OTHER_WALLET, 1, TransferCode.BONUS))
    assert await broken(desk) == {checks.SIDES_RULE}


async def test_coins_from_nowhere_are_noticed(desk):
    """Issued into an account of a kind that the chart does not give coins to."""
    odd = Account(id=chain_id("odd account"), ledger=COIN, code=999, user_data_32=2)
    await desk.ledger.create_accounts([odd])
    await move(desk, transfer(chart.issued(TEST), odd.id, 5, TransferCode.RECHARGE))
    assert await broken(desk) == {checks.SIDES_RULE, checks.SHAPE_RULE, COINS_RULE}


async def test_a_chain_that_is_no_posting_is_noticed(desk):
    """The coins of a gift without the diamonds."""
    paid = desks.gift("half", 10)[0]
    await move(desk, paid)
    assert await broken(desk) == {checks.SHAPE_RULE}


async def test_a_gift_that_earns_another_share_than_it_says_is_noticed(desk):
    paid, earned = desks.gift("rich", 10)
    await move(desk, paid, replace(earned, amount=60_000))
    assert await broken(desk) == {checks.GIFT_RULE, DIAMONDS_RULE}


async def test_a_gift_to_oneself_is_noticed(desk):
    await desk.ledger.create_accounts(chart.creator_accounts(TEST, ANA))
    paid, earned = desks.gift("vain", 10)
    await move(desk, paid, replace(earned, credit_account_id=chart.earnings_held(TEST, ANA)))
    assert await broken(desk) == {checks.SELF_RULE}


async def test_test_coins_that_earn_live_diamonds_are_noticed(desk):
    live = Environment.LIVE
    await desk.ledger.create_accounts(
        (*chart.house_accounts(live, (), ()), *chart.creator_accounts(live, BO))
    )
    paid, earned = desks.gift("laundry", 10)
    earned = replace(
        earned,
        debit_account_id=chart.diamonds_issued(live),
        credit_account_id=chart.earnings_held(live, BO),
    )
    await move(desk, paid, earned)
    assert checks.ENVIRONMENT_RULE in await broken(desk)


async def test_a_transfer_from_test_to_live_is_noticed(desk):
    await desk.ledger.create_accounts(chart.viewer_accounts(Environment.LIVE, ANA))
    live_wallet = chart.wallet(Environment.LIVE, ANA)
    await move(
        desk, transfer(chart.campaign(TEST, desks.SPRING), live_wallet, 5, TransferCode.BONUS)
    )
    assert checks.ENVIRONMENT_RULE in await broken(desk)


async def test_a_chain_that_was_corrected_twice_is_noticed(desk):
    wrong = await desk.posted(desks.gift("wrong", 20))
    # Bo has earned enough since that the ledger sees nothing amiss.
    await desk.post(postings.correction(chain_id("correction again"), wrong))
    assert checks.CORRECTION_RULE in await broken(desk)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 99},
        {"user_data_64": 1},
        {"user_data_32": TransferCode.BONUS},
        {"user_data_128": chain_id("nothing")},
        {"debit_account_id": chart.returned(TEST)},
        {"credit_account_id": OTHER_WALLET},
    ],
)
async def test_a_correction_that_mirrors_nothing_is_noticed(desk, change):
    wrong = await desk.posted(desks.gift("gift", 100))
    mirror = postings.correction(chain_id("crooked"), wrong)
    await desk.post((*mirror[:-1], replace(mirror[-1], **change)))
    assert checks.CORRECTION_RULE in await broken(desk)


async def test_a_correction_of_half_a_chain_is_noticed(desk):
    wrong = await desk.posted(desks.gift("gift", 100))
    await desk.post(postings.correction(chain_id("half"), wrong[:1]))
    assert checks.CORRECTION_RULE in await broken(desk)


async def test_a_correction_of_a_correction_is_noticed(desk):
    first = await desk.posted(desks.gift("gift", 100))
    mirror = await desk.post(postings.correction(chain_id("undone"), first))
    # `postings.correction` refuses, so the test lies to it about the code.
    gift = [replace(one, transfer=replace(one.transfer, code=20)) for one in mirror]
    again = postings.correction(chain_id("redone"), gift)
    code = int(TransferCode.CORRECTION)
    await desk.post(tuple(replace(one, user_data_32=code) for one in again))
    assert checks.CORRECTION_RULE in await broken(desk)


async def test_pending_amounts_are_counted_until_they_are_posted_voided_or_out_of_time(desk):
    held, available = chart.earnings_held(TEST, BO), chart.earnings_available(TEST, BO)
    pending = [
        Transfer(
            chain_id(f"pending {n}"),
            held,
            available,
            100,
            DIAMOND,
            int(TransferCode.GIFT_EARNINGS),
            int(TransferFlags.PENDING),
            timeout=timeout,
        )
        for n, timeout in enumerate((0, 0, 60))
    ]
    for one in pending:
        await move(desk, one)
    sums = (await tally_of(desk)).sums
    assert sums[2, DIAMOND, AccountCode.EARNINGS_HELD].debits_pending == 300
    assert sums[2, DIAMOND, AccountCode.EARNINGS_AVAILABLE].credits_pending == 300

    for n, (flags, amount) in enumerate(
        ((TransferFlags.POST_PENDING_TRANSFER, 40), (TransferFlags.VOID_PENDING_TRANSFER, 0))
    ):
        resolved = Transfer(
            chain_id(f"resolved {n}"), ids.ZERO, ids.ZERO, amount, 0, 0, int(flags), pending[n].id
        )
        await move(desk, resolved)
    desk.clock.advance(61_000_000_000)
    await desk.ledger.create_accounts(())
    by_accounts, tally = Tally(), await tally_of(desk)
    for account in await desk.accounts():
        checks.add_account(by_accounts, account)
    assert tally.sums == by_accounts.sums
    assert tally.sums[2, DIAMOND, AccountCode.EARNINGS_HELD].debits_pending == 0
    assert tally.sums[2, DIAMOND, AccountCode.EARNINGS_AVAILABLE].credits_posted == 40


async def test_of_many_faults_a_few_are_named_and_all_are_counted():
    tally = Tally()
    for n in range(1_000):
        checks.fault(tally, checks.SHAPE_RULE, f"chain {n}")
    row = checks.rule_check(tally, checks.SHAPE_RULE, "")
    assert row.detail == "1,000 not: " + "; ".join(f"chain {n}" for n in range(5))


# Properties --------------------------------------------------------------------------------------

AMOUNT = st.integers(1, 10**9)


@settings(max_examples=100)
@given(
    price=AMOUNT,
    tax=st.integers(0, 10**9),
    coins=AMOUNT,
    bonus=st.integers(0, 1_000),
    debt=st.integers(0, 2_000),
    spent=st.integers(0, 10**9),
    share_bps=st.integers(0, 10_000),
)
def test_every_chain_balances_and_its_correction_brings_every_total_back(
    price, tax, coins, bonus, debt, spent, share_bps
):
    """A recharge, a gift and a refund of any size; then each undone, the last one first."""

    async def main():
        desk = await Desk().open()
        await desk.fund(1_000)
        if debt:
            await desk.owe(debt)
        states = [balances(await desk.accounts())]
        chains = []
        for make in (_recharge, _gift, _refund):
            chain = await make(desk, price, tax % price, coins, bonus, spent, share_bps)
            if chain is None:
                continue
            chains.append(await desk.post(chain))
            states.append(balances(await desk.accounts()))
            rows = checks.of_accounts(await desk.accounts())
            assert all(row.holds for row in rows), [row for row in rows if not row.holds]
        for n, wrong in reversed(list(enumerate(chains))):
            assert balances(await desk.accounts()) == states[n + 1]
            await desk.post(postings.correction(chain_id(f"undo {n}"), wrong))
            assert balances(await desk.accounts()) == states[n]

    asyncio.run(main())


async def _recharge(desk, price, tax, coins, bonus, spent, share_bps):
    return postings.recharge(
        chain_id("recharge"),
        environment=TEST,
        viewer_id=ANA,
        order_id=order("any"),
        provider="sandbox",
        coins=coins,
        price=Price(price, "USD"),
        tax=tax,
        bonus_coins=bonus,
        campaign_id=desks.SPRING if bonus else None,
    )


async def _gift(desk, price, tax, coins, bonus, spent, share_bps):
    coins = min(spent, await desk.coins())
    return desks.gift("any", coins, share_bps=share_bps) if coins else None


async def _refund(desk, price, tax, coins, bonus, spent, share_bps):
    left = lots.of_order(await desk.lots(), order("any"))
    back = postings.money_back(price, tax=tax, coins=coins, unspent=left.unspent)
    if not back.amount:
        return None
    return postings.refund_of_unspent(
        chain_id("refund"),
        environment=TEST,
        viewer_id=ANA,
        order_id=order("any"),
        provider="sandbox",
        coins=coins,
        price=Price(price, "USD"),
        tax=tax,
        unspent=left.unspent,
        unspent_bonus=left.unspent_bonus,
    )


@given(price=AMOUNT, tax=st.integers(0, 10**9), coins=AMOUNT, unspent=st.integers(0, 10**9))
def test_money_back_never_exceeds_the_part_that_was_paid(price, tax, coins, unspent):
    tax, unspent = tax % price, min(unspent, coins)
    back = postings.money_back(price, tax=tax, coins=coins, unspent=unspent)
    assert 0 <= back.amount * coins <= price * unspent < (back.amount + 1) * coins
    assert 0 <= back.tax * coins <= tax * unspent < (back.tax + 1) * coins
    assert 0 <= back.tax <= back.amount
    assert 0 <= (back.amount - back.tax) <= price - tax


async def test_a_refused_chain_changes_no_total(desk):
    before = balances(await desk.accounts())
    assert await desk.outcome(desks.gift("too much", 351)) is Outcome.EXCEEDS_CREDITS
    assert balances(await desk.accounts()) == before
