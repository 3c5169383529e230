"""Each posting, drawn as T-accounts and compared with what was once read and found right."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from largesse import ids
from largesse.books import chart, checks, lots, postings, statements
from largesse.books.chart import AccountCode, Environment, TransferCode
from largesse.ledger.model import Outcome
from largesse.money import Price
from tests.books import desk as desks
from tests.books.desk import ANA, BO, CLEO, ROOM, SPRING, TEST, Desk, chain_id, order, totals
from tests.books.t_accounts import GOLDENS, check_golden, drawing

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "chart-of-accounts.md"


@pytest.fixture
async def desk() -> Desk:
    return await Desk().open()


async def test_a_recharge_with_a_bonus_on_the_books(desk):
    """Ana owes 30 coins. She buys 350 for 3.74 with 0.62 of tax in it, and spring gives her 50."""
    await desk.fund(1_000)
    await desk.owe(30)
    chain = await desk.recharge("first", bonus=50)
    check_golden(
        "recharge", await drawing(desk, test_a_recharge_with_a_bonus_on_the_books.__doc__, chain)
    )


async def test_a_campaign_is_funded_on_the_books(desk):
    """An operator sets 1,000 coins aside for spring."""
    check_golden(
        "fund_campaign",
        await drawing(desk, test_a_campaign_is_funded_on_the_books.__doc__, await desk.fund(1_000)),
    )


async def test_a_bonus_on_the_books(desk):
    """Spring holds 1,000 coins and gives ana 20 of them."""
    await desk.fund(1_000)
    chain = await desk.post(bonus("bonus", 20))
    check_golden("bonus", await drawing(desk, test_a_bonus_on_the_books.__doc__, chain))


async def test_a_gift_on_the_books(desk):
    """Ana, who bought 350 coins, sends bo 25 roses of a coin each; bo's share is a half."""
    await desk.recharge("first")
    check_golden(
        "gift", await drawing(desk, test_a_gift_on_the_books.__doc__, await desk.gift("gift", 25))
    )


async def test_a_refund_of_what_is_unspent_on_the_books(desk):
    """Ana bought 350 coins for 3.74 with a bonus of 50 and spent 100: 250 and 50 come back."""
    await desk.fund(1_000)
    await desk.recharge("first", bonus=50)
    await desk.gift("gift", 100)
    left = lots.of_order(await desk.lots(), order("first"))
    chain = await desk.post(desks.refund("first", left))
    check_golden(
        "refund_of_unspent",
        await drawing(desk, test_a_refund_of_what_is_unspent_on_the_books.__doc__, chain),
    )


async def test_a_correction_on_the_books(desk):
    """Ana's gift of 25 coins should not have been; it is undone."""
    await desk.recharge("first")
    wrong = await desk.gift("gift", 25)
    chain = await desk.post(postings.correction(chain_id("correction"), wrong))
    check_golden("correction", await drawing(desk, test_a_correction_on_the_books.__doc__, chain))


async def test_every_posting_has_its_golden_file_and_its_page():
    """A posting that nobody drew is a posting that nobody read."""
    made = {"recharge", "fund_campaign", "bonus", "gift", "refund_of_unspent", "correction"}
    assert {path.stem for path in GOLDENS.glob("*.txt")} == made
    chains = {
        name
        for name, function in vars(postings).items()
        if callable(function)
        and not name.startswith("_")
        and getattr(function, "__annotations__", {}).get("return") is postings.Chain
    }
    assert chains == made
    for name in made:
        assert f"### {name}\n" in PAGE.read_text()


def test_the_page_lists_every_account_and_every_code():
    """The chart of accounts is what operators read; it may not lag behind `chart.py`."""
    page = PAGE.read_text()
    accounts = dict(re.findall(r"^\| `(\w+)[^|]*\| \w+ \| (\d+) \|", page, re.MULTILINE))
    assert accounts == {code.name.lower(): str(int(code)) for code in AccountCode}
    debit = set(re.findall(r"^\| `(\w+)[^|]*\| \w+ \| \d+ \| debit \|", page, re.MULTILINE))
    assert debit == {code.name.lower() for code in AccountCode if chart.is_debit_account(code)}
    rows = re.findall(r"^\| (\d+) (\w+) \| \w+ \| `(\w+)[^|]*\| `(\w+)", page, re.MULTILINE)
    codes = {name: (int(number), debit, credit) for number, name, debit, credit in rows}
    assert codes == {
        TransferCode(code).name.lower(): (
            int(code),
            chart.code_name(sides[0]),
            chart.code_name(sides[1]),
        )
        for code, sides in chart.SIDES.items()
    }


async def test_what_a_viewer_owes_is_repaid_first_and_no_more_than_was_bought(desk):
    await desk.owe(400)
    await desk.recharge("first", 350)
    assert await desk.coins() == 0
    await desk.recharge("second", 350)
    assert await desk.coins() == 300
    debt = await desk.account(chart.debt(TEST, ANA))
    assert statements.balance(debt) == 0


async def test_nobody_repays_more_than_they_owe(desk):
    """The recharge asks for no more; and the ledger would not take more from anyone."""
    await desk.recharge("first")
    *_, repayment = desks.recharge("second")
    whole = replace(repayment, id=chain_id("too much"), amount=1, flags=0)
    assert await desk.outcome((whole,)) is Outcome.EXCEEDS_DEBITS


async def test_the_same_payment_credits_once_even_after_a_debt_came(desk):
    """The repayment moved nothing the first time; the retry still is the same recharge."""
    await desk.recharge("first")
    await desk.owe(30)
    assert await desk.outcome(desks.recharge("first")) is Outcome.EXISTS
    assert await desk.coins() == 350


async def test_a_payment_does_not_wait_for_an_empty_campaign(desk):
    """Spring has 20 coins left and the order promised 50: ana gets all she paid for, and the 20."""
    await desk.fund(20)
    chain = await desk.recharge("first", bonus=50)
    assert await desk.coins() == 370
    details = postings.recharge_details(chain)
    assert (details.coins, details.bonus_coins, details.net, details.tax) == (350, 20, 312, 62)
    assert await desk.outcome(desks.recharge("first", bonus=50)) is Outcome.EXISTS


async def test_a_campaign_gives_what_it_was_funded_with_and_no_more(desk):
    await desk.fund(30)
    await desk.post(bonus("one", 20))
    assert await desk.outcome(bonus("two", 20)) is Outcome.EXCEEDS_CREDITS


async def test_a_gift_reads_back_as_it_was_sent(desk):
    await desk.recharge("first")
    chain = await desk.gift("gift", 25)
    assert postings.is_gift(chain)
    assert postings.gift_details(chain) == postings.GiftDetails(
        gift_id=ids.text(chain_id("gift")),
        timestamp=chain[0].timestamp,
        room_id=ROOM,
        item_number=7,
        quantity=25,
        price_list_version=3,
        share_bps=5_000,
        coins=25,
        diamond_units=125_000,
        viewer_account_id=chart.wallet(TEST, ANA),
        creator_account_id=chart.earnings_held(TEST, BO),
    )


def test_the_largest_gift_fits_and_a_gift_to_oneself_does_not_exist():
    asked = {
        "environment": TEST,
        "viewer_id": ANA,
        "creator_id": BO,
        "room_id": ROOM,
        "item_number": postings.ITEM_NUMBER_MAX,
        "quantity": 2**32 - 1,
        "price_list_version": 2**32 - 1,
        "coins": 44_999 * 9_999,
        "share_bps": 10_000,
    }
    paid, earned = postings.gift(chain_id("gift"), **asked)
    assert paid.user_data_64 == earned.user_data_64 == 2**63 - 1
    assert earned.amount == 44_999 * 9_999 * 10_000
    assert [paid.id, earned.id] == [ids.nth(chain_id("gift"), n) for n in range(2)]
    for wrong in (
        {"creator_id": ANA},
        {"coins": 0},
        {"coins": -1},
        {"quantity": 0},
        {"quantity": 2**32},
        {"item_number": 2**31},
        {"share_bps": 10_001},
        {"share_bps": -1},
    ):
        with pytest.raises(AssertionError):
            postings.gift(chain_id("gift"), **asked | wrong)
    with pytest.raises(AssertionError):
        postings.gift(ids.nth(chain_id("gift"), 1), **asked)


def test_prices_that_cannot_be_make_no_recharge():
    asked = {
        "environment": TEST,
        "viewer_id": ANA,
        "order_id": order("first"),
        "provider": "sandbox",
        "coins": 350,
        "price": Price(374, "USD"),
        "tax": 62,
    }
    postings.recharge(chain_id("fine"), **asked)
    for wrong in (
        {"coins": 0},
        {"price": Price(0, "USD")},
        {"tax": 374},
        {"tax": -1},
        {"bonus_coins": 50},
        {"campaign_id": SPRING},
        {"bonus_coins": -1, "campaign_id": SPRING},
        {"order_id": "not an id"},
    ):
        with pytest.raises(AssertionError):
            postings.recharge(chain_id("wrong"), **asked | wrong)


def test_a_recharge_without_tax_posts_none():
    chain = postings.recharge(
        chain_id("untaxed"),
        environment=TEST,
        viewer_id=CLEO,
        order_id=order("untaxed"),
        provider="sandbox",
        coins=70,
        price=Price(110, "JPY"),
        tax=0,
    )
    assert [(transfer.code, transfer.amount) for transfer in chain] == [
        (TransferCode.RECHARGE_NET, 110),
        (TransferCode.RECHARGE, 70),
        (TransferCode.DEBT_REPAYMENT, 70),
    ]
    assert {transfer.user_data_128 for transfer in chain} == {ids.parse(order("untaxed"))}


def test_money_back_is_rounded_down_and_all_of_it_returns_all():
    """DESIGN 4: 250/350 of the price; a third of a cent stays with us, in tax as in the rest."""
    back = postings.money_back(374, tax=62, coins=350, unspent=250)
    assert (back.amount, back.tax) == (267, 44)  # 267.14 and 44.28
    whole = postings.money_back(374, tax=62, coins=350, unspent=350)
    assert (whole.amount, whole.tax) == (374, 62)
    nothing = postings.money_back(374, tax=62, coins=17_500, unspent=46)
    assert (nothing.amount, nothing.tax) == (0, 0)


def test_a_refund_of_less_than_a_cent_is_not_posted():
    with pytest.raises(AssertionError):
        postings.refund_of_unspent(
            chain_id("refund"),
            environment=TEST,
            viewer_id=ANA,
            order_id=order("first"),
            provider="sandbox",
            coins=17_500,
            price=Price(374, "USD"),
            tax=62,
            unspent=46,
            unspent_bonus=0,
        )


async def test_a_corrected_recharge_leaves_every_account_as_it_was(desk):
    """With a bonus taken and a debt repaid: the last transfer is undone first, so all of it can."""
    await desk.fund(1_000)
    await desk.owe(30)
    before = totals(await desk.accounts())
    wrong = await desk.recharge("first", bonus=50)
    await desk.post(postings.correction(chain_id("correction"), wrong))
    assert totals(await desk.accounts()) == before
    assert all(check.holds for check in checks.of_accounts(await desk.accounts()))


async def test_a_recharge_that_was_spent_is_not_corrected(desk):
    wrong = await desk.recharge("first")
    await desk.gift("gift", 1)
    mirror = postings.correction(chain_id("correction"), wrong)
    assert await desk.outcome(mirror) is Outcome.EXCEEDS_CREDITS


async def test_a_correction_is_not_corrected(desk):
    await desk.recharge("first")
    gift = await desk.gift("gift", 25)
    mirror = await desk.post(postings.correction(chain_id("correction"), gift))
    with pytest.raises(AssertionError):
        postings.correction(chain_id("again"), mirror)
    assert [postings.corrected_transfer_id(posted.transfer) for posted in mirror] == [
        gift[1].transfer.id,
        gift[0].transfer.id,
    ]
    assert postings.meaning(mirror[0].transfer) is TransferCode.GIFT_EARNINGS
    assert postings.meaning(gift[0].transfer) is TransferCode.GIFT


def test_test_and_live_accounts_are_never_the_same():
    makers = (chart.wallet, chart.debt, chart.earnings_held, chart.earnings_available)
    made = {maker(environment, ANA) for maker in makers for environment in Environment}
    assert len(made) == len(makers) * 2
    house = [
        account
        for environment in Environment
        for account in chart.house_accounts(environment, ("USD", "EUR"), ("sandbox", "stripe"))
    ]
    assert len({account.id for account in house}) == len(house) == 2 * (7 + 2 * (9 + 2))
    assert all(account.id < min(made) for account in house)


def test_accounts_have_names_that_people_read():
    accounts = (
        *chart.viewer_accounts(TEST, ANA),
        *chart.creator_accounts(TEST, BO),
        chart.campaign_account(TEST, SPRING),
        *chart.house_accounts(TEST, ("USD",), ("sandbox",)),
    )
    names = {chart.name_of(account) for account in accounts}
    assert {f"wallet/{ANA}", f"earnings_held/{BO}", "campaign/spring", "issued"} <= names
    assert {"receivable/sandbox/USD", "coin_liability/USD", "diamonds_issued"} <= names
    assert len(names) == len(accounts)


def test_ids_are_made_once_and_memory_for_them_has_a_limit(monkeypatch):
    monkeypatch.setattr(chart, "IDS_KEPT_MAX", 3)
    made = []
    kept = chart.Kept(lambda name: made.append(name) or name.encode())
    assert [kept[name] for name in "aabbca"] == [b"a", b"a", b"b", b"b", b"c", b"a"]
    assert made == ["a", "b", "c"]
    assert kept["d"] == b"d"
    assert len(kept) == 1


def bonus(name: str, coins: int) -> postings.Chain:
    return postings.bonus(
        chain_id(name), environment=TEST, viewer_id=ANA, campaign_id=SPRING, coins=coins
    )
