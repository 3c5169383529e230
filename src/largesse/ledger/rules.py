"""
What a transfer may do: TigerBeetle's guards, in its order of precedence.

Pure: an engine loads the accounts and transfers that its chains name into a `State`, and calls
`create_chain`. A refused chain leaves the state as it was, but for the id that it used up.
The order of the guards is documented in `docs/reference/ledger.md`; the source is TigerBeetle's
reference for `create_transfers`.
"""

from collections.abc import Sequence
from enum import IntEnum
from heapq import heappop, heappush

import msgspec

from largesse import ids
from largesse.ledger import CHAIN_TRANSFERS_MAX
from largesse.ledger.model import (
    AMOUNT_MAX,
    PASSING_OUTCOMES,
    Account,
    AccountFlags,
    AccountOutcome,
    Chain,
    Outcome,
    Posted,
    Refused,
    Transfer,
    TransferFlags,
)

SECOND = 1_000_000_000

# Plain integers: an enum's operators cost more than the rest of a guard.
_DEBITS_LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
_CREDITS_LIMITED = int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)
_CLOSED = int(AccountFlags.CLOSED)
_ACCOUNT_FLAGS = _DEBITS_LIMITED | _CREDITS_LIMITED | _CLOSED
_PENDING = int(TransferFlags.PENDING)
_POST = int(TransferFlags.POST_PENDING_TRANSFER)
_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
_POST_OR_VOID = _POST | _VOID
_BALANCING_DEBIT = int(TransferFlags.BALANCING_DEBIT)
_BALANCING_CREDIT = int(TransferFlags.BALANCING_CREDIT)
_BALANCING = _BALANCING_DEBIT | _BALANCING_CREDIT
_CLOSING_DEBIT = int(TransferFlags.CLOSING_DEBIT)
_CLOSING_CREDIT = int(TransferFlags.CLOSING_CREDIT)
_CLOSING = _CLOSING_DEBIT | _CLOSING_CREDIT
_PLAIN_FLAGS = _PENDING | _BALANCING | _CLOSING
_TRANSFER_FLAGS = _PLAIN_FLAGS | _POST_OR_VOID

_ZERO, _MAXIMUM = ids.ZERO, ids.MAXIMUM
_RESERVED_IDS = frozenset((_ZERO, _MAXIMUM))
_CREATED = Outcome.CREATED
_replace = msgspec.structs.replace


class PendingStatus(IntEnum):
    """Where a pending transfer stands. It leaves PENDING once and never comes back."""

    PENDING = 1
    POSTED = 2
    VOIDED = 3
    EXPIRED = 4


class Pending(msgspec.Struct, gc=False):
    """A pending transfer's fate. `expires_at` is 0 where it has no timeout."""

    transfer_id: bytes
    status: PendingStatus
    expires_at: int
    resolved_at: int = 0


class State(msgspec.Struct, kw_only=True):
    """
    What a decision needs and changes. Loading it is the engine's work.

    `transfers` and `refused` hold what is known under the ids that the chains at hand name,
    `pendings` the fate of each pending one; `expiries` is a heap of (expires_at, transfer id).
    """

    accounts: dict[bytes, Account] = {}
    transfers: dict[bytes, Posted] = {}
    refused: dict[bytes, Refused] = {}
    pendings: dict[bytes, Pending] = {}
    expiries: list[tuple[int, bytes]] = []


def create_account(state: State, asked: Account, timestamp: int) -> AccountOutcome:
    """Create one account, or say why not (guards in TigerBeetle's order)."""
    if asked.timestamp:
        return AccountOutcome.TIMESTAMP_MUST_BE_ZERO
    if asked.flags & ~_ACCOUNT_FLAGS:
        return AccountOutcome.RESERVED_FLAG
    if asked.id == _ZERO:
        return AccountOutcome.ID_MUST_NOT_BE_ZERO
    if asked.id == _MAXIMUM:
        return AccountOutcome.ID_MUST_NOT_BE_INT_MAX
    existing = state.accounts.get(asked.id)
    if existing is not None:
        return _account_exists(existing, asked)
    if asked.flags & _DEBITS_LIMITED and asked.flags & _CREDITS_LIMITED:
        return AccountOutcome.FLAGS_ARE_MUTUALLY_EXCLUSIVE
    if asked.debits_pending != 0:
        return AccountOutcome.DEBITS_PENDING_MUST_BE_ZERO
    if asked.debits_posted != 0:
        return AccountOutcome.DEBITS_POSTED_MUST_BE_ZERO
    if asked.credits_pending != 0:
        return AccountOutcome.CREDITS_PENDING_MUST_BE_ZERO
    if asked.credits_posted != 0:
        return AccountOutcome.CREDITS_POSTED_MUST_BE_ZERO
    if asked.ledger == 0:
        return AccountOutcome.LEDGER_MUST_NOT_BE_ZERO
    if asked.code == 0:
        return AccountOutcome.CODE_MUST_NOT_BE_ZERO

    # After this point the account must be created.
    state.accounts[asked.id] = _replace(asked, timestamp=timestamp, last_transfer_id=_ZERO)
    return AccountOutcome.CREATED


def _account_exists(existing: Account, asked: Account) -> AccountOutcome:
    # A closing transfer sets CLOSED later, so it does not tell two requests apart.
    if (existing.flags ^ asked.flags) & ~_CLOSED:
        return AccountOutcome.EXISTS_WITH_DIFFERENT_FLAGS
    if existing.user_data_128 != asked.user_data_128:
        return AccountOutcome.EXISTS_WITH_DIFFERENT_USER_DATA_128
    if existing.user_data_64 != asked.user_data_64:
        return AccountOutcome.EXISTS_WITH_DIFFERENT_USER_DATA_64
    if existing.user_data_32 != asked.user_data_32:
        return AccountOutcome.EXISTS_WITH_DIFFERENT_USER_DATA_32
    if existing.ledger != asked.ledger:
        return AccountOutcome.EXISTS_WITH_DIFFERENT_LEDGER
    if existing.code != asked.code:
        return AccountOutcome.EXISTS_WITH_DIFFERENT_CODE
    return AccountOutcome.EXISTS


def assert_askable(chains: Sequence[Chain]) -> None:
    """
    What only a programming error can ask for is stopped at its caller, before it meets the others.

    Also the one look at each amount's range: everything behind it relies on that.
    """
    for chain in chains:
        assert 0 < len(chain) <= CHAIN_TRANSFERS_MAX
        for transfer in chain:
            assert len(transfer.id) == ids.SIZE
            assert 0 <= transfer.amount <= AMOUNT_MAX


def create_chain(state: State, chain: Chain, timestamp: int, created: list[Posted]) -> Outcome:
    """
    Create the chain whole or not at all; its transfers' timestamps count up from `timestamp`.

    What is created is appended to `created`. A refusal for a passing reason is remembered in
    `state.refused`.
    """
    begin = len(created)
    for transfer in chain:
        outcome = create_transfer(state, transfer, timestamp, created)
        if outcome is not _CREATED:
            return _refuse(state, chain, transfer, outcome, timestamp, created, begin)
        timestamp += 1
    return _CREATED


def _refuse(
    state: State,
    chain: Chain,
    transfer: Transfer,
    outcome: Outcome,
    timestamp: int,
    created: list[Posted],
    begin: int,
) -> Outcome:
    for posted in reversed(created[begin:]):
        _undo(state, posted)
    del created[begin:]
    if outcome is Outcome.EXISTS:
        for other in chain:
            known = state.transfers.get(other.id)
            if known is None or _exists(state, known, other) is not Outcome.EXISTS:
                return Outcome.EXISTS_WITH_DIFFERENT_CHAIN
    if outcome in PASSING_OUTCOMES:
        available = _available(state, transfer, outcome)
        state.refused[transfer.id] = Refused(transfer.id, outcome, timestamp, available, chain)
    return outcome


def _available(state: State, transfer: Transfer, outcome: Outcome) -> int:
    if outcome is Outcome.EXCEEDS_CREDITS:
        account = state.accounts[transfer.debit_account_id]
        return account.credits_posted - account.debits_posted - account.debits_pending
    if outcome is Outcome.EXCEEDS_DEBITS:
        account = state.accounts[transfer.credit_account_id]
        return account.debits_posted - account.credits_posted - account.credits_pending
    return 0


def create_transfer(state: State, t: Transfer, timestamp: int, created: list[Posted]) -> Outcome:
    """
    Create one transfer, or say why not. What is appended to `created` carries what moved.

    This is the hottest code of the project, so the guards that a good transfer passes are asked
    together; `_refusal` asks them one by one, in order of precedence, when one of them fails.
    """
    flags = t.flags
    transfer_id = t.id
    if transfer_id in state.transfers or transfer_id in state.refused or flags & ~_PLAIN_FLAGS:
        return _other_transfer(state, t, timestamp, created)
    debit = state.accounts.get(t.debit_account_id)
    credit = state.accounts.get(t.credit_account_id)
    if (
        debit is None
        or credit is None
        or debit is credit
        or transfer_id in _RESERVED_IDS
        or t.pending_id != _ZERO
        or not t.code
        or not t.ledger == debit.ledger == credit.ledger
        or (debit.flags | credit.flags) & _CLOSED
        or ((t.timeout or flags & _CLOSING) and not flags & _PENDING)
    ):
        return _refusal(state, t)
    if flags & _BALANCING:
        t = _replace(t, amount=_balanced(t, debit, credit))
    amount = t.amount
    debits = debit.debits_posted + amount
    credits = credit.credits_posted + amount
    debits_all = debits + debit.debits_pending
    credits_all = credits + credit.credits_pending
    if debits_all > AMOUNT_MAX or credits_all > AMOUNT_MAX:
        return _overflow(t, debit, credit)
    if t.timeout and timestamp + t.timeout * SECOND > AMOUNT_MAX:
        return Outcome.OVERFLOWS_TIMEOUT
    if debit.flags & _DEBITS_LIMITED and debits_all > debit.credits_posted:
        return Outcome.EXCEEDS_CREDITS
    if credit.flags & _CREDITS_LIMITED and credits_all > credit.debits_posted:
        return Outcome.EXCEEDS_DEBITS

    # After this point the transfer must be created.
    if flags & _PENDING:
        _reserve(state, t, timestamp, debit, credit)
        _append(state, t, timestamp, debit, credit, created)
        return _CREATED
    debit.debits_posted = debits
    credit.credits_posted = credits
    # As `_append` does it, with what is at hand.
    posted = Posted(
        t,
        timestamp,
        debits,
        debit.credits_posted,
        credit.debits_posted,
        credits,
        debit.last_transfer_id,
        credit.last_transfer_id,
    )
    debit.last_transfer_id = credit.last_transfer_id = transfer_id
    state.transfers[transfer_id] = posted
    created.append(posted)
    return _CREATED


def _other_transfer(state: State, t: Transfer, timestamp: int, created: list[Posted]) -> Outcome:
    """A transfer whose id is known, or that is more than single or pending."""
    if t.flags & ~_TRANSFER_FLAGS:
        return Outcome.RESERVED_FLAG
    existing = state.transfers.get(t.id)
    if existing is not None:
        return _exists(state, existing, t)
    if t.id in state.refused:
        return Outcome.ID_ALREADY_FAILED
    if t.id == _ZERO:
        return Outcome.ID_MUST_NOT_BE_ZERO
    if t.id == _MAXIMUM:
        return Outcome.ID_MUST_NOT_BE_INT_MAX
    assert t.flags & _POST_OR_VOID
    return _post_or_void(state, t, timestamp, created)


def _refusal(state: State, t: Transfer) -> Outcome:
    """Why a single or pending transfer is refused before its amount matters, in precedence."""
    debit_id, credit_id = t.debit_account_id, t.credit_account_id
    if t.id == _ZERO:
        return Outcome.ID_MUST_NOT_BE_ZERO
    if t.id == _MAXIMUM:
        return Outcome.ID_MUST_NOT_BE_INT_MAX
    if debit_id == _ZERO:
        return Outcome.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO
    if debit_id == _MAXIMUM:
        return Outcome.DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX
    if credit_id == _ZERO:
        return Outcome.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO
    if credit_id == _MAXIMUM:
        return Outcome.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX
    if debit_id == credit_id:
        return Outcome.ACCOUNTS_MUST_BE_DIFFERENT
    if t.pending_id != _ZERO:
        return Outcome.PENDING_ID_MUST_BE_ZERO
    if not t.flags & _PENDING:
        if t.timeout:
            return Outcome.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
        if t.flags & _CLOSING:
            return Outcome.CLOSING_TRANSFER_MUST_BE_PENDING
    if not t.ledger:
        return Outcome.LEDGER_MUST_NOT_BE_ZERO
    if not t.code:
        return Outcome.CODE_MUST_NOT_BE_ZERO
    debit = state.accounts.get(debit_id)
    if debit is None:
        return Outcome.DEBIT_ACCOUNT_NOT_FOUND
    credit = state.accounts.get(credit_id)
    if credit is None:
        return Outcome.CREDIT_ACCOUNT_NOT_FOUND
    if debit.ledger != credit.ledger:
        return Outcome.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER
    if t.ledger != debit.ledger:
        return Outcome.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS
    if debit.flags & _CLOSED:
        return Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED
    assert credit.flags & _CLOSED
    return Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED


def _overflow(t: Transfer, debit: Account, credit: Account) -> Outcome:
    """Which total would no longer fit, in precedence."""
    if t.flags & _PENDING:
        if t.amount + debit.debits_pending > AMOUNT_MAX:
            return Outcome.OVERFLOWS_DEBITS_PENDING
        if t.amount + credit.credits_pending > AMOUNT_MAX:
            return Outcome.OVERFLOWS_CREDITS_PENDING
    if t.amount + debit.debits_posted > AMOUNT_MAX:
        return Outcome.OVERFLOWS_DEBITS_POSTED
    if t.amount + credit.credits_posted > AMOUNT_MAX:
        return Outcome.OVERFLOWS_CREDITS_POSTED
    if t.amount + debit.debits_posted + debit.debits_pending > AMOUNT_MAX:
        return Outcome.OVERFLOWS_DEBITS
    return Outcome.OVERFLOWS_CREDITS


def _balanced(t: Transfer, debit: Account, credit: Account) -> int:
    amount = t.amount
    if t.flags & _BALANCING_DEBIT:
        room = debit.credits_posted - debit.debits_posted - debit.debits_pending
        amount = min(amount, max(room, 0))
    if t.flags & _BALANCING_CREDIT:
        room = credit.debits_posted - credit.credits_posted - credit.credits_pending
        amount = min(amount, max(room, 0))
    return amount


def _reserve(state: State, t: Transfer, timestamp: int, debit: Account, credit: Account) -> None:
    debit.debits_pending += t.amount
    credit.credits_pending += t.amount
    if t.flags & _CLOSING_DEBIT:
        debit.flags |= _CLOSED
    if t.flags & _CLOSING_CREDIT:
        credit.flags |= _CLOSED
    expires_at = timestamp + t.timeout * SECOND if t.timeout else 0
    state.pendings[t.id] = Pending(t.id, PendingStatus.PENDING, expires_at)
    if expires_at:
        heappush(state.expiries, (expires_at, t.id))


def _append(
    state: State,
    t: Transfer,
    timestamp: int,
    debit: Account,
    credit: Account,
    created: list[Posted],
) -> None:
    posted = Posted(
        t,
        timestamp,
        debit.debits_posted,
        debit.credits_posted,
        credit.debits_posted,
        credit.credits_posted,
        debit.last_transfer_id,
        credit.last_transfer_id,
    )
    debit.last_transfer_id = credit.last_transfer_id = t.id
    state.transfers[t.id] = posted
    created.append(posted)


_STATUS_OUTCOME = {
    PendingStatus.POSTED: Outcome.PENDING_TRANSFER_ALREADY_POSTED,
    PendingStatus.VOIDED: Outcome.PENDING_TRANSFER_ALREADY_VOIDED,
    PendingStatus.EXPIRED: Outcome.PENDING_TRANSFER_EXPIRED,
}


def _post_or_void(state: State, t: Transfer, timestamp: int, created: list[Posted]) -> Outcome:
    """Post a pending transfer, in whole or in part, or void it."""
    if t.flags & _POST and t.flags & _VOID:
        return Outcome.FLAGS_ARE_MUTUALLY_EXCLUSIVE
    if t.flags & (_PENDING | _BALANCING | _CLOSING):
        return Outcome.FLAGS_ARE_MUTUALLY_EXCLUSIVE
    if t.pending_id == _ZERO:
        return Outcome.PENDING_ID_MUST_NOT_BE_ZERO
    if t.pending_id == _MAXIMUM:
        return Outcome.PENDING_ID_MUST_NOT_BE_INT_MAX
    if t.pending_id == t.id:
        return Outcome.PENDING_ID_MUST_BE_DIFFERENT
    if t.timeout:
        return Outcome.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
    found = state.transfers.get(t.pending_id)
    if found is None:
        return Outcome.PENDING_TRANSFER_NOT_FOUND
    p = found.transfer
    if not p.flags & _PENDING:
        return Outcome.PENDING_TRANSFER_NOT_PENDING
    different = _differs_from_pending(t, p)
    if different is not None:
        return different

    void = bool(t.flags & _VOID)
    whole = t.amount == 0 if void else t.amount == AMOUNT_MAX
    amount = p.amount if whole else t.amount
    if amount > p.amount:
        return Outcome.EXCEEDS_PENDING_TRANSFER_AMOUNT
    if void and amount < p.amount:
        return Outcome.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT
    pending = state.pendings[p.id]
    if pending.status is not PendingStatus.PENDING:
        return _STATUS_OUTCOME[pending.status]
    if 0 < pending.expires_at <= timestamp:
        return Outcome.PENDING_TRANSFER_EXPIRED
    debit, credit = state.accounts[p.debit_account_id], state.accounts[p.credit_account_id]
    # The only movement that a closed account allows is the void of what closed it.
    if debit.flags & _CLOSED and not void:
        return Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED
    if credit.flags & _CLOSED and not void:
        return Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED

    # After this point the transfer must be created.
    _release(p, debit, credit)
    pending.status = PendingStatus.VOIDED if void else PendingStatus.POSTED
    pending.resolved_at = timestamp
    if void:
        _reopen(p, debit, credit)
    else:
        debit.debits_posted += amount
        credit.credits_posted += amount
    complete = _replace(
        t,
        debit_account_id=p.debit_account_id,
        credit_account_id=p.credit_account_id,
        amount=amount,
        ledger=p.ledger,
        code=p.code,
        user_data_128=p.user_data_128 if t.user_data_128 == _ZERO else t.user_data_128,
        user_data_64=t.user_data_64 or p.user_data_64,
        user_data_32=t.user_data_32 or p.user_data_32,
    )
    _append(state, complete, timestamp, debit, credit, created)
    return _CREATED


def _differs_from_pending(t: Transfer, p: Transfer) -> Outcome | None:
    if t.debit_account_id not in (_ZERO, p.debit_account_id):
        return Outcome.PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID
    if t.credit_account_id not in (_ZERO, p.credit_account_id):
        return Outcome.PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID
    if t.ledger not in (0, p.ledger):
        return Outcome.PENDING_TRANSFER_HAS_DIFFERENT_LEDGER
    if t.code not in (0, p.code):
        return Outcome.PENDING_TRANSFER_HAS_DIFFERENT_CODE
    return None


def _release(p: Transfer, debit: Account, credit: Account) -> None:
    debit.debits_pending -= p.amount
    credit.credits_pending -= p.amount
    assert debit.debits_pending >= 0
    assert credit.credits_pending >= 0


def _reopen(p: Transfer, debit: Account, credit: Account) -> None:
    if p.flags & _CLOSING_DEBIT:
        debit.flags &= ~_CLOSED
    if p.flags & _CLOSING_CREDIT:
        credit.flags &= ~_CLOSED


def take_due(expiries: list[tuple[int, bytes]], now: int, limit: int) -> list[bytes]:
    """Take off the heap the pending transfers whose time has come, oldest first, at most `limit`."""
    due: list[bytes] = []
    while expiries and expiries[0][0] <= now and len(due) < limit:
        _, transfer_id = heappop(expiries)
        due.append(transfer_id)
    return due


def expire(state: State, transfer_id: bytes, timestamp: int) -> bool:
    """Give back what a pending transfer reserved; False where it was posted or voided before."""
    pending = state.pendings[transfer_id]
    if pending.status is not PendingStatus.PENDING:
        return False
    assert 0 < pending.expires_at <= timestamp
    p = state.transfers[transfer_id].transfer
    debit, credit = state.accounts[p.debit_account_id], state.accounts[p.credit_account_id]
    _release(p, debit, credit)
    _reopen(p, debit, credit)
    pending.status = PendingStatus.EXPIRED
    pending.resolved_at = timestamp
    return True


def _undo(state: State, posted: Posted) -> None:
    """Take back the newest transfer, exactly."""
    t = posted.transfer
    debit, credit = state.accounts[t.debit_account_id], state.accounts[t.credit_account_id]
    assert debit.last_transfer_id == t.id
    assert credit.last_transfer_id == t.id
    debit.last_transfer_id = posted.debit_account_previous_id
    credit.last_transfer_id = posted.credit_account_previous_id
    del state.transfers[t.id]
    if t.flags & _PENDING:
        _release(t, debit, credit)
        _reopen(t, debit, credit)
        del state.pendings[t.id]
        state.expiries[:] = [entry for entry in state.expiries if entry[1] != t.id]
        state.expiries.sort()
        return
    if t.flags & _POST_OR_VOID:
        p = state.transfers[t.pending_id].transfer
        debit.debits_pending += p.amount
        credit.credits_pending += p.amount
        state.pendings[p.id].status = PendingStatus.PENDING
        state.pendings[p.id].resolved_at = 0
        if t.flags & _VOID:
            if p.flags & _CLOSING_DEBIT:
                debit.flags |= _CLOSED
            if p.flags & _CLOSING_CREDIT:
                credit.flags |= _CLOSED
            return
    debit.debits_posted -= t.amount
    credit.credits_posted -= t.amount


def _exists(state: State, existing: Posted, t: Transfer) -> Outcome:
    """Compare what is asked with what is there under its id, in order of precedence."""
    e = existing.transfer
    if t.flags != e.flags:
        return Outcome.EXISTS_WITH_DIFFERENT_FLAGS
    if t.pending_id != e.pending_id:
        return Outcome.EXISTS_WITH_DIFFERENT_PENDING_ID
    if t.timeout != e.timeout:
        return Outcome.EXISTS_WITH_DIFFERENT_TIMEOUT
    if t.flags & _POST_OR_VOID:
        t = _as_completed(t, e, state.transfers[e.pending_id].transfer)
    if t.debit_account_id != e.debit_account_id:
        return Outcome.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID
    if t.credit_account_id != e.credit_account_id:
        return Outcome.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID
    # A balancing transfer moved as much as it could of what was asked, so it may be less.
    if t.amount < e.amount if t.flags & _BALANCING else t.amount != e.amount:
        return Outcome.EXISTS_WITH_DIFFERENT_AMOUNT
    if t.user_data_128 != e.user_data_128:
        return Outcome.EXISTS_WITH_DIFFERENT_USER_DATA_128
    if t.user_data_64 != e.user_data_64:
        return Outcome.EXISTS_WITH_DIFFERENT_USER_DATA_64
    if t.user_data_32 != e.user_data_32:
        return Outcome.EXISTS_WITH_DIFFERENT_USER_DATA_32
    if t.ledger != e.ledger:
        return Outcome.EXISTS_WITH_DIFFERENT_LEDGER
    if t.code != e.code:
        return Outcome.EXISTS_WITH_DIFFERENT_CODE
    return Outcome.EXISTS


def _as_completed(t: Transfer, e: Transfer, p: Transfer) -> Transfer:
    """What a post or void left out is what its pending transfer says."""
    whole = t.amount == 0 if t.flags & _VOID else t.amount == AMOUNT_MAX
    return _replace(
        t,
        debit_account_id=e.debit_account_id if t.debit_account_id == _ZERO else t.debit_account_id,
        credit_account_id=(
            e.credit_account_id if t.credit_account_id == _ZERO else t.credit_account_id
        ),
        amount=p.amount if whole else t.amount,
        user_data_128=p.user_data_128 if t.user_data_128 == _ZERO else t.user_data_128,
        user_data_64=t.user_data_64 or p.user_data_64,
        user_data_32=t.user_data_32 or p.user_data_32,
        ledger=t.ledger or e.ledger,
        code=t.code or e.code,
    )
