"""An account's statement, and all accounts side by side."""

import pytest

from largesse import ids
from largesse.books import chart, lots, postings, statements
from largesse.ledger import AccountFilter
from tests.books import desk as desks
from tests.books.desk import ANA, BO, ROOM, SPRING, TEST, Desk, chain_id, order


@pytest.fixture
async def desk() -> Desk:
    """Ana buys 350 with a bonus of 50, gifts 100, gets a present of 20 and her money back."""
    desk = await Desk().open()
    await desk.fund(1_000)
    await desk.recharge("first", bonus=50)
    await desk.gift("gift", 100)
    present = postings.bonus(
        chain_id("present"), environment=TEST, viewer_id=ANA, campaign_id=SPRING, coins=20
    )
    await desk.post(present)
    await desk.post(desks.refund("first", lots.of_order(await desk.lots(), order("first"))))
    return desk


async def statement_of(desk: Desk, account_id: bytes) -> statements.Statement:
    return statements.statement(await desk.account(account_id), await desk.history(account_id))


async def test_a_wallet_says_what_each_line_was_and_what_was_left_after_it(desk):
    statement = await statement_of(desk, chart.wallet(TEST, ANA))
    assert statement.account == f"wallet/{ANA}"
    assert (statement.opening, statement.closing) == (0, 20)
    assert statement.opening + sum(line.amount for line in statement.lines) == statement.closing
    assert [(line.what, line.amount, line.balance) for line in statement.lines] == [
        ("refund_bonus", -50, 20),
        ("refund", -250, 70),
        ("bonus", 20, 320),
        ("gift", -100, 300),
        ("debt_repayment", 0, 400),
        ("recharge_bonus", 50, 400),
        ("recharge", 350, 350),
    ]


async def test_each_line_names_its_cause(desk):
    statement = await statement_of(desk, chart.wallet(TEST, ANA))
    by_what = {line.what: line for line in statement.lines}
    assert by_what["recharge"].order_id == by_what["refund"].order_id == order("first")
    assert by_what["bonus"].campaign_id == SPRING
    gift = by_what["gift"]
    assert (gift.room_id, gift.item_number, gift.quantity) == (ROOM, 7, 100)
    assert (gift.price_list_version, gift.share_bps) == (3, None)
    assert gift.chain_id == ids.text(chain_id("gift"))


async def test_a_creator_sees_the_share_and_an_operator_the_correction(desk):
    wrong = await desk.posted(desks.gift("gift", 100))
    await desk.recharge("second")
    await desk.post(postings.correction(chain_id("correction"), wrong))
    statement = await statement_of(desk, chart.earnings_held(TEST, BO))
    undone, earned = statement.lines
    assert (earned.what, earned.amount, earned.share_bps) == ("gift_earnings", 500_000, 5_000)
    assert (undone.what, undone.corrected, undone.amount) == (
        "correction",
        "gift_earnings",
        -500_000,
    )
    assert undone.corrected_chain_id == ids.text(chain_id("gift"))
    assert statement.closing == 0


async def test_a_debit_account_grows_by_debits(desk):
    statement = await statement_of(desk, chart.receivable(TEST, "sandbox", "USD"))
    assert [(line.what, line.amount, line.balance) for line in statement.lines] == [
        ("refund_tax", -44, 107),
        ("refund_net", -223, 151),
        ("recharge_tax", 62, 374),
        ("recharge_net", 312, 312),
    ]


async def test_a_page_of_a_statement_opens_where_the_older_page_closes(desk):
    wallet = await desk.account(chart.wallet(TEST, ANA))
    newer = await desk.ledger.account_transfers(wallet.id, AccountFilter(limit=3))
    rest = AccountFilter(before=newer[-1].transfer.id)
    older = await desk.ledger.account_transfers(wallet.id, rest)
    assert (
        statements.statement(wallet, newer).opening == statements.statement(wallet, older).closing
    )


async def test_a_statement_with_a_gap_is_none(desk):
    wallet = await desk.account(chart.wallet(TEST, ANA))
    history = await desk.history(wallet.id)
    with pytest.raises(AssertionError):
        statements.statement(wallet, [history[0], *history[2:]])


async def test_an_account_without_lines_opens_and_closes_with_its_balance(desk):
    bank = await desk.account(chart.bank(TEST, "USD"))
    assert statements.statement(bank, []) == statements.Statement(
        account="bank/USD", opening=0, closing=0, lines=()
    )


async def test_the_trial_balance_adds_up_in_every_ledger(desk):
    rows = statements.trial_balance(await desk.accounts())
    assert {row.ledger for row in rows} == {"COIN", "DIAMOND", "USD"}
    for ledger in ("COIN", "DIAMOND", "USD"):
        debits = sum(row.debit for row in rows if row.ledger == ledger)
        assert debits == sum(row.credit for row in rows if row.ledger == ledger) > 0
    assert statements.TrialLine("COIN", "wallet", 0, 20) in rows
