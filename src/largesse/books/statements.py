"""
Statements: what an account's transfers were, line by line, and all accounts side by side.

Nothing here is stored: a line is read off the transfer that the ledger holds.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from largesse import ids
from largesse.books import chart, postings
from largesse.books.chart import TransferCode
from largesse.ledger.model import Account, Posted, TransferFlags

_PENDING_OR_VOID = int(TransferFlags.PENDING | TransferFlags.VOID_PENDING_TRANSFER)
_OF_ORDERS = frozenset(
    {
        TransferCode.RECHARGE_NET,
        TransferCode.RECHARGE_TAX,
        TransferCode.RECHARGE,
        TransferCode.RECHARGE_BONUS,
        TransferCode.DEBT_REPAYMENT,
        TransferCode.REFUND,
        TransferCode.REFUND_BONUS,
        TransferCode.REFUND_NET,
        TransferCode.REFUND_TAX,
    }
)
_OF_CAMPAIGNS = frozenset({TransferCode.CAMPAIGN_FUNDING, TransferCode.BONUS})
_OF_GIFTS = frozenset({TransferCode.GIFT, TransferCode.GIFT_EARNINGS})
WORDS = {code: code.name.lower() for code in TransferCode}
"""What a transfer was, as programs read it: `gift`, `recharge_bonus`, ..."""


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One transfer seen from one account.

    `amount` is positive where it raised the account's balance, `balance` the balance right after
    it; `what` is one of `WORDS`. What follows is filled in where the transfer knows it: an order, a
    campaign, a gift (`price_list_version` on its coins, `share_bps` on its diamonds), or the chain
    that a correction undid, with what that was in `corrected`.
    """

    transfer_id: str
    chain_id: str
    timestamp: int
    what: str
    amount: int
    balance: int
    order_id: str | None = None
    campaign_id: str | None = None
    room_id: str | None = None
    item_number: int | None = None
    quantity: int | None = None
    price_list_version: int | None = None
    share_bps: int | None = None
    corrected_chain_id: str | None = None
    corrected: str | None = None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """
    An account's lines, newest first, without a gap: `opening` plus their amounts is `closing`.
    """

    account: str
    opening: int
    closing: int
    lines: tuple[Line, ...]


class TrialLine(msgspec.Struct, frozen=True):
    """The posted totals of all accounts of one kind in one ledger, and their balance's side."""

    ledger: str
    name: str
    debit: int
    credit: int


def balance(account: Account) -> int:
    """What the account holds, by its own side: positive is usual."""
    sign = -1 if chart.is_debit_account(account.code) else 1
    return sign * (account.credits_posted - account.debits_posted)


def line(account: Account, posted: Posted) -> Line:
    """One transfer as this account sees it."""
    transfer = posted.transfer
    amount, after = _amount_and_balance(account, posted)
    head = ids.head(transfer.id)
    common = {
        "transfer_id": ids.text(transfer.id),
        "chain_id": ids.text(head),
        "timestamp": posted.timestamp,
        "what": WORDS[TransferCode(transfer.code)],
        "amount": amount,
        "balance": after,
    }
    return msgspec.convert(common | _cause(posted), Line)


def _amount_and_balance(account: Account, posted: Posted) -> tuple[int, int]:
    transfer = posted.transfer
    moved = 0 if transfer.flags & _PENDING_OR_VOID else transfer.amount
    if transfer.debit_account_id == account.id:
        credit = posted.debit_account_credits_posted - posted.debit_account_debits_posted
        moved = -moved
    else:
        assert transfer.credit_account_id == account.id
        credit = posted.credit_account_credits_posted - posted.credit_account_debits_posted
    return (-moved, -credit) if chart.is_debit_account(account.code) else (moved, credit)


def _cause(posted: Posted) -> dict[str, object]:
    """What `user_data` says, by the transfer's code: the reverse of `postings`."""
    transfer = posted.transfer
    code = TransferCode(transfer.code)
    if code in _OF_ORDERS:
        return {"order_id": ids.text(transfer.user_data_128)}
    if code in _OF_CAMPAIGNS:
        return {"campaign_id": chart.label_text(transfer.user_data_128)}
    if code in _OF_GIFTS:
        item_number, quantity = postings.item_and_quantity(transfer)
        version_or_share = "price_list_version" if code is TransferCode.GIFT else "share_bps"
        return {
            "room_id": ids.text(transfer.user_data_128),
            "item_number": item_number,
            "quantity": quantity,
            version_or_share: transfer.user_data_32,
        }
    assert code is TransferCode.CORRECTION
    return {
        "corrected_chain_id": ids.text(transfer.user_data_128),
        "corrected": WORDS[TransferCode(transfer.user_data_32)],
    }


def statement(account: Account, history: Sequence[Posted]) -> Statement:
    """
    The statement over these transfers of the account: newest first, none left out between them.

    An empty history opens and closes with the account's balance of now.
    """
    if not history:
        now = balance(account)
        return Statement(account=chart.name_of(account), opening=now, closing=now, lines=())
    lines = tuple(line(account, posted) for posted in history)
    for newer, older in pairwise(lines):
        assert newer.balance - newer.amount == older.balance
    return Statement(
        account=chart.name_of(account),
        opening=lines[-1].balance - lines[-1].amount,
        closing=lines[0].balance,
        lines=lines,
    )


def trial_balance(accounts: Iterable[Account]) -> list[TrialLine]:
    """
    One line per ledger and kind of account, with the balance on its side; each ledger's debits and
    credits add up to the same. Kinds in which nothing was posted are left out.
    """
    sums: dict[tuple[int, int], int] = {}
    for account in accounts:
        if account.debits_posted or account.credits_posted:
            key = (account.ledger, account.code)
            net = account.debits_posted - account.credits_posted
            sums[key] = sums.get(key, 0) + net
    return [
        TrialLine(chart.ledger_name(ledger), chart.code_name(code), max(net, 0), max(-net, 0))
        for (ledger, code), net in sorted(sums.items())
    ]
