"""Draw a posting as bookkeepers do: a T for each account that it touches, then the trial balance."""

import os
from collections.abc import Sequence
from pathlib import Path

from largesse.books import chart, statements
from largesse.ledger.model import Account, Posted
from tests.books.desk import Desk, named

UPDATE = "LARGESSE_UPDATE_GOLDENS"
GOLDENS = Path(__file__).parent / "goldens"
WIDTH = 38


async def drawing(desk: Desk, title: str, chain: Sequence[Posted]) -> str:
    """The whole golden text of one posted chain."""
    accounts = await _touched(desk, chain)
    lines = [title, "", "chain"]
    for place, posted in enumerate(chain):
        transfer = posted.transfer
        debit, credit = accounts[transfer.debit_account_id], accounts[transfer.credit_account_id]
        what = statements.line(debit, posted).what
        lines.append(f"  {place}  {what:<18}{transfer.amount:>12,}")
        lines.append(f"     Dr  {_name(debit)}")
        lines.append(f"     Cr      {_name(credit)}")
    for account in accounts.values():
        lines += ["", *_t_account(account, chain)]
    lines += ["", *_trial_balance(await desk.accounts())]
    return "\n".join(lines) + "\n"


async def _touched(desk: Desk, chain: Sequence[Posted]) -> dict[bytes, Account]:
    touched: dict[bytes, Account] = {}
    for posted in chain:
        for id in (posted.transfer.debit_account_id, posted.transfer.credit_account_id):
            touched[id] = await desk.account(id)
    return touched


def _name(account: Account) -> str:
    return f"{named(chart.name_of(account))} ({chart.ledger_name(account.ledger)})"


def _t_account(account: Account, chain: Sequence[Posted]) -> list[str]:
    mine = [
        posted
        for posted in chain
        if account.id in (posted.transfer.debit_account_id, posted.transfer.credit_account_id)
    ]
    statement = statements.statement(account, list(reversed(mine)))
    side = "debit" if chart.is_debit_account(account.code) else "credit"
    rows = [_row(side, "before", statement.opening)]
    for posted in mine:
        is_debit = posted.transfer.debit_account_id == account.id
        what = statements.line(account, posted).what
        rows.append(_row("debit" if is_debit else "credit", what, posted.transfer.amount))
    rule = "-" * WIDTH
    return [
        f"{_name(account):^{2 * WIDTH + 1}}".rstrip(),
        f"{rule}+{rule}",
        *rows,
        f"{rule}+{rule}",
        _row(side, "after", statement.closing),
    ]


def _row(side: str, what: str, amount: int) -> str:
    text = f"{what:<18}{amount:>18,} "
    blank = " " * WIDTH
    return (f"{text:<{WIDTH}}|" if side == "debit" else f"{blank}| {text}").rstrip()


def _trial_balance(accounts: Sequence[Account]) -> list[str]:
    lines = [f"{'trial balance':<36}{'debit':>18}{'credit':>18}"]
    rows = statements.trial_balance(accounts)
    for ledger in dict.fromkeys(row.ledger for row in rows):
        of_ledger = [row for row in rows if row.ledger == ledger]
        debit, credit = sum(row.debit for row in of_ledger), sum(row.credit for row in of_ledger)
        assert debit == credit
        lines += [
            f"  {ledger:<9}{row.name:<25}{row.debit or 0:>18,}{row.credit or 0:>18,}"
            for row in of_ledger
        ]
        lines.append(f"  {ledger:<9}{'':<25}{debit:>18,}{credit:>18,}")
    return lines


def check_golden(name: str, text: str) -> None:
    """Compare with the file, or write it where `LARGESSE_UPDATE_GOLDENS=1` asks for that."""
    path = GOLDENS / f"{name}.txt"
    if os.environ.get(UPDATE) == "1":
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} differs; {UPDATE}=1 writes it anew"
