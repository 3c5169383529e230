"""
Each transfer names the one before it on both of its accounts, so an account's history is a walk.

No index beside the transfers is needed, however many there are, and a page costs its own length.
"""

from collections.abc import Callable

from largesse import ids
from largesse.ledger import AccountFilter
from largesse.ledger.model import Account, Balance, Posted


def balance_of(account: Account) -> Balance:
    """The account's four totals, as they are now."""
    return Balance(
        account.debits_pending,
        account.debits_posted,
        account.credits_pending,
        account.credits_posted,
    )


def previous_id(posted: Posted, account_id: bytes) -> bytes:
    """The transfer before this one on one of its two accounts; zero at the beginning."""
    if posted.transfer.debit_account_id == account_id:
        return posted.debit_account_previous_id
    assert posted.transfer.credit_account_id == account_id
    return posted.credit_account_previous_id


def walk(
    find: Callable[[bytes], Posted | None], account: Account, filter: AccountFilter
) -> list[Posted]:
    """
    The page of the account's history that the filter asks for, newest first.

    A page shorter than its limit is the end of the history, so a filter that keeps little walks far.
    """
    assert filter.limit > 0
    transfer_id = account.last_transfer_id
    if filter.before is not None:
        begin = find(filter.before)
        if begin is None or account.id not in (
            begin.transfer.debit_account_id,
            begin.transfer.credit_account_id,
        ):
            return []
        transfer_id = previous_id(begin, account.id)
    page: list[Posted] = []
    while transfer_id != ids.ZERO and len(page) < filter.limit:
        posted = find(transfer_id)
        assert posted is not None
        if _kept(posted, account.id, filter):
            page.append(posted)
        transfer_id = previous_id(posted, account.id)
    return page


def _kept(posted: Posted, account_id: bytes, filter: AccountFilter) -> bool:
    transfer = posted.transfer
    if filter.codes and transfer.code not in filter.codes:
        return False
    return filter.debits if transfer.debit_account_id == account_id else filter.credits
