"""
Recompute every balance of a TigerBeetle cluster from its change events.

There is no chain of hashes to follow: the replicas checksum and compare their own files. What is
checked is what money needs: that each event leaves its two accounts with the totals that follow
from all before it, and that the accounts say the same at the end. Memory holds the totals of each
account and the transfers still pending, and of events one page.
"""

from collections.abc import AsyncIterator

from largesse import ids
from largesse.ledger import LedgerUnavailable, Problem
from largesse.ledger import tigerbeetle_reading as reading
from largesse.ledger.history import balance_of
from largesse.ledger.model import AccountFlags, Balance, Transfer
from largesse.ledger.tigerbeetle_client import Connection
from largesse.ledger.tigerbeetle_notes import NOTES_LEDGER
from largesse.ledger.tigerbeetle_wire import CHANGE_EVENTS_MAX, Event, EventKind

PROBLEMS_MAX = 100

_NOTHING = Balance(0, 0, 0, 0)
_DEBITS_LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
_CREDITS_LIMITED = int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)


async def verify(connection: Connection) -> AsyncIterator[Problem | int]:
    """See `Ledger.verify`."""
    found = 0
    try:
        async for step in _steps(connection):
            yield step
            found += isinstance(step, Problem)
            if found >= PROBLEMS_MAX:
                return
    except LedgerUnavailable as error:
        yield Problem(f"it cannot be read: {error}", "TigerBeetle")


async def _steps(connection: Connection) -> AsyncIterator[Problem | int]:
    totals: dict[bytes, Balance] = {}
    pendings: dict[bytes, int] = {}
    transfers = end = 0
    while True:
        page = await reading.events_page(connection, end + 1, 0, CHANGE_EVENTS_MAX)
        for event in page:
            for problem in _follow(totals, pendings, event):
                yield problem
            transfers += event.kind is not EventKind.EXPIRED
        if page:
            end = page[-1].timestamp
        yield transfers
        if len(page) < CHANGE_EVENTS_MAX:
            break
    async for problem in _accounts(connection, totals, end):
        yield problem
    yield transfers


def _follow(
    totals: dict[bytes, Balance], pendings: dict[bytes, int], event: Event
) -> list[Problem]:
    """Do to the totals what the event did, and compare. Then go on with what the event says."""
    t = event.stored.transfer
    pending, posted = _moved(pendings, t, event.kind)
    problems = []
    debit = totals.get(t.debit_account_id, _NOTHING)
    credit = totals.get(t.credit_account_id, _NOTHING)
    expected_debit = Balance(
        debit.debits_pending + pending,
        debit.debits_posted + posted,
        debit.credits_pending,
        debit.credits_posted,
    )
    expected_credit = Balance(
        credit.debits_pending,
        credit.debits_posted,
        credit.credits_pending + pending,
        credit.credits_posted + posted,
    )
    sides = (
        ("debit", t.debit_account_id, event.debit_account, expected_debit),
        ("credit", t.credit_account_id, event.credit_account, expected_credit),
    )
    for side, account_id, said, expected in sides:
        if said != expected:
            what = f"the {side} account's totals do not follow from the transfers before"
            problems.append(Problem(what, f"transfer {ids.text(t.id)}"))
        totals[account_id] = said
    return problems


def _moved(pendings: dict[bytes, int], t: Transfer, kind: EventKind) -> tuple[int, int]:
    """By how much pending and posted change on both sides."""
    if kind is EventKind.SINGLE:
        return 0, t.amount
    if kind is EventKind.PENDING:
        pendings[t.id] = t.amount
        return t.amount, 0
    if kind is EventKind.POSTED:
        return -pendings.pop(t.pending_id, 0), t.amount
    if kind is EventKind.VOIDED:
        return -pendings.pop(t.pending_id, 0), 0
    return -pendings.pop(t.id, 0), 0


async def _accounts(
    connection: Connection, totals: dict[bytes, Balance], end: int
) -> AsyncIterator[Problem]:
    """Compare every account with its events; one that has moved on is asked for its past."""
    after = 0
    while True:
        page = await reading.accounts_page(connection, after + 1)
        for account in page:
            if account.ledger == NOTES_LEDGER:
                continue
            where = f"account {ids.text(account.id)}"
            expected = totals.pop(account.id, _NOTHING)
            found = balance_of(account)
            if found != expected:
                [found] = await reading.balances_at(connection, [(account.id, end)])
            if found != expected:
                yield Problem("its totals do not follow from its transfers", where)
            debits = found.debits_pending + found.debits_posted
            credits = found.credits_pending + found.credits_posted
            if account.flags & _DEBITS_LIMITED and debits > found.credits_posted:
                yield Problem("its debits exceed its credits", where)
            if account.flags & _CREDITS_LIMITED and credits > found.debits_posted:
                yield Problem("its credits exceed its debits", where)
        if len(page) < reading.ACCOUNTS_PAGE:
            break
        after = page[-1].timestamp
    for account_id in totals:
        yield Problem("an event names an account that is not there", ids.text(account_id))
