"""
Recompute a ledger from its beginning: what an edit outside the engine leaves behind is found.

The batch hashes cover everything that never changes; the totals and histories of accounts are
recomputed from the transfers and compared with what the store says. Memory holds every account and
every pending transfer that is still open, and of transfers only those of a few batches at a time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

from largesse import ids
from largesse.ledger import LedgerUnavailable, Problem, Total, encoding
from largesse.ledger.model import Account, AccountFlags, Posted, TransferFlags
from largesse.ledger.reading import (
    CHAIN_KINDS,
    Counts,
    Reader,
    Rows,
    StoredBatch,
    hashed,
    rows_of,
)
from largesse.ledger.rules import SECOND, Pending, PendingStatus

_CLOSED = int(AccountFlags.CLOSED)
_DEBITS_LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
_CREDITS_LIMITED = int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)
_LIMITED = _DEBITS_LIMITED | _CREDITS_LIMITED
_PENDING = int(TransferFlags.PENDING)
_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
_CLOSING_DEBIT = int(TransferFlags.CLOSING_DEBIT)
_CLOSING_CREDIT = int(TransferFlags.CLOSING_CREDIT)
PROBLEMS_MAX = 100
"""After so many the store is beyond doubt damaged, and the rest is not listed."""


async def verify(
    opening: contextlib.AbstractAsyncContextManager[Reader], where: str
) -> AsyncIterator[Problem | Total | int]:
    """
    See `Ledger.verify`. `opening` gives a reader of one moment, `where` is what the store is called.

    The work is done in a thread beside the event loop, a few batches at a time.
    """
    found = 0
    try:
        async with opening as reader:
            async for step in _steps(reader):
                yield step
                found += isinstance(step, Problem)
                if found >= PROBLEMS_MAX:
                    return
    except LedgerUnavailable as error:
        yield Problem(f"it cannot be read: {error}", where)


async def _steps(reader: Reader) -> AsyncIterator[Problem | Total | int]:
    counts = await reader.counts()
    yield Total(counts.transfers)
    verification = Verification()
    after = 0
    while batches := await reader.batches(after):
        rows = await rows_of(reader, batches)
        for problem in await asyncio.to_thread(verification.take, batches, rows):
            yield problem
        yield verification.transfers
        after = batches[-1].sequence
    account_id = ids.ZERO
    while stored := await reader.accounts_after(account_id):
        for problem in await asyncio.to_thread(verification.take_accounts, stored):
            yield problem
        account_id = stored[-1][0]
    for problem in verification.end(counts, await reader.open_pendings()):
        yield problem
    for what, where in await reader.oddities():
        yield Problem(what, where)
    yield verification.transfers


class Verification:
    """One pass over a ledger, with every account as its transfers say that it should be."""

    def __init__(self) -> None:
        self.transfers = 0
        self._accounts: dict[bytes, Account] = {}
        self._open: dict[bytes, Posted] = {}
        self._sequence = 0
        self._hash = bytes(32)
        self._last_timestamp = 0
        self._accounts_made = self._refused = self._pendings = 0
        self._found: list[Problem] = []
        self._where = ""

    def take(self, batches: Sequence[StoredBatch], rows: Rows) -> list[Problem]:
        """The next batches with their rows; what does not follow from those before."""
        for batch in batches:
            self._batch(batch, rows)
        found, self._found = self._found, []
        return found

    def _batch(self, batch: StoredBatch, rows: Rows) -> None:
        self._where = f"batch {batch.sequence}"
        if batch.sequence != self._sequence + 1:
            self._note(f"batch {self._sequence + 1} is missing")
        events = encoding.split_events(batch.events)
        missing = False
        for kind, id in events:
            if kind in CHAIN_KINDS:
                self.transfers += 1
                missing |= not self._take_transfer(batch, id, rows)
            elif kind in encoding.ACCOUNT_KINDS:
                self._accounts_made += 1
                missing |= not self._take_account(batch, kind, id, rows)
            elif kind == encoding.EVENT_EXPIRED:
                missing |= not self._take_expired(batch, id, rows)
            elif kind == encoding.EVENT_REFUSED:
                self._refused += 1
                missing |= self._is_missing("refusal", id, id in rows.refused)
            else:
                self._note("it holds an event of no known kind")
        if not missing and hashed(self._hash, batch, rows) != batch.hash:
            self._note("its content is not what was hashed when it was written")
        # Go on from what is written, so that one edited batch is one finding.
        self._sequence, self._hash = batch.sequence, batch.hash

    def _note(self, what: str, where: str = "") -> None:
        self._found.append(Problem(what, where or self._where))

    def _is_missing(self, what: str, id: bytes, is_there: bool) -> bool:
        if not is_there:
            self._note(f"{what} {_name(id)} is missing or damaged")
        return not is_there

    def _check_time(self, batch: StoredBatch, timestamp: int) -> None:
        first = max(batch.first_timestamp, self._last_timestamp + 1)
        if not first <= timestamp <= batch.last_timestamp:
            self._note(f"timestamp {timestamp} does not rise")
        self._last_timestamp = timestamp

    def _take_account(self, batch: StoredBatch, kind: bytes, id: bytes, rows: Rows) -> bool:
        account = rows.accounts.get(id)
        if account is None:
            return not self._is_missing("account", id, False)
        self._check_time(batch, account.timestamp)
        self._accounts[id] = encoding.as_created(account, kind)
        return True

    def _take_expired(self, batch: StoredBatch, id: bytes, rows: Rows) -> bool:
        fate = rows.pendings.get(id)
        if fate is None:
            return not self._is_missing("pending transfer", id, False)
        self._check_time(batch, fate.resolved_at)
        self._resolve(id, PendingStatus.EXPIRED, fate.resolved_at, rows)
        return True

    def _take_transfer(self, batch: StoredBatch, id: bytes, rows: Rows) -> bool:
        posted = rows.transfers.get(id)
        if posted is None:
            return not self._is_missing("transfer", id, False)
        self._check_time(batch, posted.timestamp)
        t = posted.transfer
        debit = self._accounts.get(t.debit_account_id)
        credit = self._accounts.get(t.credit_account_id)
        if debit is None or credit is None:
            self._note(f"transfer {_name(id)} has an account that was not made before it")
            return True
        if t.flags & _PENDING:
            self._reserve(posted, debit, credit)
        else:
            if t.pending_id != ids.ZERO:
                is_void = bool(t.flags & _VOID)
                status = PendingStatus.VOIDED if is_void else PendingStatus.POSTED
                self._resolve(t.pending_id, status, posted.timestamp, rows)
            if not t.flags & _VOID:
                debit.debits_posted += t.amount
                credit.credits_posted += t.amount
        self._follow(posted, debit, credit)
        return True

    def _reserve(self, posted: Posted, debit: Account, credit: Account) -> None:
        t = posted.transfer
        debit.debits_pending += t.amount
        credit.credits_pending += t.amount
        debit.flags |= _CLOSED if t.flags & _CLOSING_DEBIT else 0
        credit.flags |= _CLOSED if t.flags & _CLOSING_CREDIT else 0
        self._open[t.id] = posted
        self._pendings += 1

    def _resolve(
        self, pending_id: bytes, status: PendingStatus, resolved_at: int, rows: Rows
    ) -> None:
        """A pending transfer ended: give back what it held, and see that its row says so."""
        posted = self._open.pop(pending_id, None)
        if posted is None:
            self._note(f"pending transfer {_name(pending_id)} ended that was not open")
            return
        t = posted.transfer
        debit, credit = self._accounts[t.debit_account_id], self._accounts[t.credit_account_id]
        debit.debits_pending -= t.amount
        credit.credits_pending -= t.amount
        if status is not PendingStatus.POSTED:
            debit.flags &= ~_CLOSED if t.flags & _CLOSING_DEBIT else ~0
            credit.flags &= ~_CLOSED if t.flags & _CLOSING_CREDIT else ~0
        if rows.pendings.get(pending_id) != _fate(posted, status, resolved_at):
            self._note(f"pending transfer {_name(pending_id)} is not where the batches left it")

    def _follow(self, posted: Posted, debit: Account, credit: Account) -> None:
        """Compare a transfer's running totals with ours, and go on from what is written."""
        id = posted.transfer.id
        if not (
            posted.debit_account_debits_posted == debit.debits_posted
            and posted.debit_account_credits_posted == debit.credits_posted
            and posted.credit_account_debits_posted == credit.debits_posted
            and posted.credit_account_credits_posted == credit.credits_posted
            and posted.debit_account_previous_id == debit.last_transfer_id
            and posted.credit_account_previous_id == credit.last_transfer_id
        ):
            self._note(f"transfer {_name(id)} does not follow from the ones before it")
            debit.debits_posted = posted.debit_account_debits_posted
            debit.credits_posted = posted.debit_account_credits_posted
            credit.debits_posted = posted.credit_account_debits_posted
            credit.credits_posted = posted.credit_account_credits_posted
        debit.last_transfer_id = credit.last_transfer_id = id
        if debit.flags & _LIMITED and not _within_limits(debit):
            self._note(f"account {_name(debit.id)} is beyond its limit")
        if credit.flags & _LIMITED and not _within_limits(credit):
            self._note(f"account {_name(credit.id)} is beyond its limit")

    def take_accounts(self, stored: Sequence[tuple[bytes, Account | None]]) -> list[Problem]:
        """The store's own idea of some accounts against ours; each is looked at once."""
        for id, account in stored:
            expected = self._accounts.pop(id, None)
            if account is None:
                self._note("its row is damaged", f"account {_name(id)}")
            elif expected is None:
                self._note("no batch made it", f"account {_name(id)}")
            elif account != expected:
                self._note(
                    "its totals are not what its transfers add up to", f"account {_name(id)}"
                )
        found, self._found = self._found, []
        return found

    def end(self, counts: Counts, open_pendings: Sequence[Pending]) -> Iterator[Problem]:
        """What is there that no batch brought, and what is not there though one did."""
        for id in self._accounts:
            yield Problem("it is missing", f"account {_name(id)}")
        for name, count, expected in (
            ("accounts", counts.accounts, self._accounts_made),
            ("transfers", counts.transfers, self.transfers),
            ("refused", counts.refused, self._refused),
            ("pendings", counts.pendings, self._pendings),
        ):
            if count != expected:
                yield Problem(f"{count} rows where the batches made {expected}", name)
        stored = {pending.transfer_id: pending for pending in open_pendings}
        for id, posted in self._open.items():
            if stored.pop(id, None) != _fate(posted, PendingStatus.PENDING, 0):
                what = "it is not where the batches left it"
                yield Problem(what, f"pending transfer {_name(id)}")
        for id in stored:
            yield Problem("it is not where the batches left it", f"pending transfer {_name(id)}")


def _fate(posted: Posted, status: PendingStatus, resolved_at: int) -> Pending:
    timeout = posted.transfer.timeout
    expires_at = posted.timestamp + timeout * SECOND if timeout else 0
    return Pending(posted.transfer.id, status, expires_at, resolved_at)


def _within_limits(account: Account) -> bool:
    if account.flags & _DEBITS_LIMITED:
        return account.debits_posted + account.debits_pending <= account.credits_posted
    return account.credits_posted + account.credits_pending <= account.debits_posted


def _name(id: bytes) -> str:
    return ids.text(id) if len(id) == ids.SIZE else repr(id)
