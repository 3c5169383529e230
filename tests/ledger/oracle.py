"""
The witness: a second, slow ledger that shares no rule with the engines.

It keeps only the story of what happened. Every total, every history and every state is worked out
from the beginning of the story each time it is needed, so nothing can drift. It knows the words of
`ledger/model.py` and nothing else of the ledger.

The rules are TigerBeetle's. "Source" in a comment is its `src/state_machine.zig` of 2026-07-01
(52ad553f), "docs" its `docs/reference/`; where they differ, the source is followed.
"""

from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from largesse import ids
from largesse.clock import SECOND, Clock
from largesse.ledger import AccountFilter, Problem, QueryFilter, Total
from largesse.ledger.model import (
    AMOUNT_MAX,
    PASSING_OUTCOMES,
    Account,
    AccountFlags,
    AccountOutcome,
    Balance,
    Chain,
    Change,
    ChangeKind,
    Outcome,
    Posted,
    Refused,
    Result,
    Transfer,
    TransferFlags,
)

INSTANT_MAX = 2**63 - 1
CHAIN_TRANSFERS_MAX = 255

PENDING = TransferFlags.PENDING
POST = TransferFlags.POST_PENDING_TRANSFER
VOID = TransferFlags.VOID_PENDING_TRANSFER
BALANCING_DEBIT = TransferFlags.BALANCING_DEBIT
BALANCING_CREDIT = TransferFlags.BALANCING_CREDIT
CLOSING_DEBIT = TransferFlags.CLOSING_DEBIT
CLOSING_CREDIT = TransferFlags.CLOSING_CREDIT

TRANSFER_FLAGS_KNOWN = 0b11111110
ACCOUNT_FLAGS_KNOWN = 0b100110


class Expired(msgspec.Struct, frozen=True):
    """A pending transfer ran out."""

    pending_id: bytes
    timestamp: int


class Oracle:
    """One ledger as a story; its calls are those of the `Ledger` protocol."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.accounts: dict[bytes, Account] = {}
        self.story: list[Posted | Expired] = []
        self.refused: dict[bytes, Refused] = {}
        self.happened: list[Change] = []
        self.last_timestamp = 0

    # The protocol.

    async def create_accounts(self, accounts: Sequence[Account]) -> list[AccountOutcome]:
        return [self._create_account(account) for account in accounts]

    async def create_transfers(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes] = ()
    ) -> list[Result]:
        self._expire_due(max(self.clock.now(), self.last_timestamp + 1))
        return [self._create_chain(chain, balances_of) for chain in chains]

    async def lookup_accounts(self, account_ids: Iterable[bytes]) -> list[Account | None]:
        return [self._account(id) for id in account_ids]

    async def lookup_transfers(self, transfer_ids: Iterable[bytes]) -> list[Posted | None]:
        return [self._find(id) for id in transfer_ids]

    async def lookup_refused(self, transfer_ids: Iterable[bytes]) -> list[Refused | None]:
        return [self.refused.get(id) for id in transfer_ids]

    async def account_transfers(self, account_id: bytes, filter: AccountFilter) -> list[Posted]:
        history = list(reversed(self._history(account_id)))
        if filter.before is not None:
            at = [posted.transfer.id for posted in history].index(filter.before)
            history = history[at + 1 :]
        wanted = []
        for posted in history:
            transfer = posted.transfer
            side = (filter.debits and transfer.debit_account_id == account_id) or (
                filter.credits and transfer.credit_account_id == account_id
            )
            if side and (not filter.codes or transfer.code in filter.codes):
                wanted.append(posted)
        return wanted[: filter.limit]

    async def changes(self, after: int, limit: int = 1_000) -> list[Change]:
        return [change for change in self.happened if change.timestamp > after][:limit]

    async def query_transfers(self, filter: QueryFilter) -> list[Posted]:
        kept = [
            posted
            for posted in self._posted()
            if _is_wanted(filter, posted.transfer, posted.timestamp)
        ]
        return (kept[::-1] if filter.newest_first else kept)[: filter.limit]

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        kept = [
            account
            for account in map(self._account, self.accounts)
            if account is not None and _is_wanted(filter, account, account.timestamp)
        ]
        return (kept[::-1] if filter.newest_first else kept)[: filter.limit]

    async def verify(self) -> AsyncIterator[Problem | Total | int]:
        yield len(self.story)

    async def close(self) -> None:
        pass

    # What the story says.

    def _tick(self) -> int:
        self.last_timestamp = max(self.clock.now(), self.last_timestamp + 1)
        return self.last_timestamp

    def _posted(self) -> list[Posted]:
        return [event for event in self.story if isinstance(event, Posted)]

    def _find(self, transfer_id: bytes) -> Posted | None:
        for posted in self._posted():
            if posted.transfer.id == transfer_id:
                return posted
        return None

    def _history(self, account_id: bytes) -> list[Posted]:
        return [
            posted
            for posted in self._posted()
            if account_id in (posted.transfer.debit_account_id, posted.transfer.credit_account_id)
        ]

    def _resolved(self, pending_id: bytes) -> Transfer | Expired | None:
        """What ended this pending transfer: the post or void, or that it ran out."""
        for event in self.story:
            if isinstance(event, Expired):
                if event.pending_id == pending_id:
                    return event
            elif event.transfer.flags & (POST | VOID) and event.transfer.pending_id == pending_id:
                return event.transfer
        return None

    def _still_pending(self) -> list[Posted]:
        return [
            posted
            for posted in self._posted()
            if posted.transfer.flags & PENDING and self._resolved(posted.transfer.id) is None
        ]

    def _totals(self, account_id: bytes) -> Balance:
        debits_posted = credits_posted = debits_pending = credits_pending = 0
        for posted in self._history(account_id):
            transfer = posted.transfer
            if transfer.flags & (PENDING | VOID):
                continue
            if transfer.debit_account_id == account_id:
                debits_posted += transfer.amount
            else:
                credits_posted += transfer.amount
        for posted in self._still_pending():
            if posted.transfer.debit_account_id == account_id:
                debits_pending += posted.transfer.amount
            if posted.transfer.credit_account_id == account_id:
                credits_pending += posted.transfer.amount
        return Balance(debits_pending, debits_posted, credits_pending, credits_posted)

    def _closed(self, account_id: bytes) -> bool:
        if self.accounts[account_id].flags & AccountFlags.CLOSED:
            return True
        for posted in self._still_pending():
            transfer = posted.transfer
            if transfer.flags & CLOSING_DEBIT and transfer.debit_account_id == account_id:
                return True
            if transfer.flags & CLOSING_CREDIT and transfer.credit_account_id == account_id:
                return True
        return False

    def _account(self, account_id: bytes) -> Account | None:
        if account_id not in self.accounts:
            return None
        created = self.accounts[account_id]
        totals = self._totals(account_id)
        history = self._history(account_id)
        flags = created.flags
        if self._closed(account_id):
            flags |= AccountFlags.CLOSED
        return msgspec.structs.replace(
            created,
            flags=int(flags),
            debits_pending=totals.debits_pending,
            debits_posted=totals.debits_posted,
            credits_pending=totals.credits_pending,
            credits_posted=totals.credits_posted,
            last_transfer_id=history[-1].transfer.id if history else ids.ZERO,
        )

    # Time.

    def _expire_due(self, now: int) -> None:
        """
        Docs, transfer.md `timeout`: in the order of their expiry, then of their creation.

        Source `execute_expire_pending_transfers`: due when expires_at <= now; closed accounts are no
        hindrance, and what a closing transfer closed opens again.
        """
        due = [
            (_expires_at(posted), posted.timestamp, posted)
            for posted in self._still_pending()
            if posted.transfer.timeout and _expires_at(posted) <= now
        ]
        for _, _, posted in sorted(due, key=lambda row: row[:2]):
            timestamp = self._tick()
            self.story.append(Expired(posted.transfer.id, timestamp))
            self.happened.append(Change(timestamp, ChangeKind.EXPIRED, (posted,)))

    # Accounts.

    def _create_account(self, asked: Account) -> AccountOutcome:
        outcome = self._refuse_account(asked)
        if outcome is not None:
            return outcome
        created = msgspec.structs.replace(asked, timestamp=self._tick(), flags=int(asked.flags))
        self.accounts[asked.id] = created
        self.happened.append(Change(created.timestamp, ChangeKind.ACCOUNT, (), created))
        return AccountOutcome.CREATED

    def _refuse_account(self, asked: Account) -> AccountOutcome | None:
        # Source `execute_create`: before anything that `create_account` looks at.
        if asked.timestamp != 0:
            return AccountOutcome.TIMESTAMP_MUST_BE_ZERO
        if asked.flags & ~ACCOUNT_FLAGS_KNOWN:
            return AccountOutcome.RESERVED_FLAG
        if asked.id == ids.ZERO:
            return AccountOutcome.ID_MUST_NOT_BE_ZERO
        if asked.id == ids.MAXIMUM:
            return AccountOutcome.ID_MUST_NOT_BE_INT_MAX
        existing = self._account(asked.id)
        if existing is not None:
            # Ours: the source compares `closed` too, as it is now. Whoever opens an account again,
            # to be sure that it is there, must not be told that it is another one.
            if (asked.flags ^ existing.flags) & ~AccountFlags.CLOSED:
                return AccountOutcome.EXISTS_WITH_DIFFERENT_FLAGS
            for name in (
                "user_data_128",
                "user_data_64",
                "user_data_32",
                "ledger",
                "code",
            ):
                if getattr(asked, name) != getattr(existing, name):
                    return AccountOutcome(f"exists_with_different_{name}")
            return AccountOutcome.EXISTS
        limits = (
            AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
            | AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS
        )
        if asked.flags & limits == limits:
            return AccountOutcome.FLAGS_ARE_MUTUALLY_EXCLUSIVE
        for name in ("debits_pending", "debits_posted", "credits_pending", "credits_posted"):
            if getattr(asked, name) != 0:
                return AccountOutcome(f"{name}_must_be_zero")
        if asked.ledger == 0:
            return AccountOutcome.LEDGER_MUST_NOT_BE_ZERO
        if asked.code == 0:
            return AccountOutcome.CODE_MUST_NOT_BE_ZERO
        return None

    # Chains.

    def _create_chain(self, chain: Chain, balances_of: Sequence[bytes]) -> Result:
        assert 0 < len(chain) <= CHAIN_TRANSFERS_MAX
        before = len(self.story)
        first_timestamp = 0
        outcome = Outcome.CREATED
        for transfer in chain:
            timestamp = self._tick()
            first_timestamp = first_timestamp or timestamp
            outcome = self._create_transfer(transfer, timestamp)
            if outcome is not Outcome.CREATED:
                del self.story[before:]
                outcome = self._outcome_of_refused(chain, transfer, outcome, timestamp)
                break
        if outcome is Outcome.CREATED:
            chain_posted = tuple(self._posted()[-len(chain) :])
            self.happened.append(
                Change(chain_posted[-1].timestamp, ChangeKind.CHAIN, chain_posted),
            )
        balances = tuple(self._totals(id) if id in self.accounts else None for id in balances_of)
        return Result(outcome, first_timestamp, balances)

    def _outcome_of_refused(
        self, chain: Chain, stopped: Transfer, outcome: Outcome, timestamp: int
    ) -> Outcome:
        """The chain is undone already; what is left is what it leaves behind and what it answers."""
        if outcome in PASSING_OUTCOMES:
            # Source `execute_create`: the scope is discarded first, then `transient_error` keeps
            # the id; the others of the chain (`linked_event_failed`) keep theirs.
            # Ours: what is available is what a person sees, without the chain that was undone.
            available = self._available(stopped, outcome)
            self.refused[stopped.id] = Refused(stopped.id, outcome, timestamp, available, chain)
        if outcome is Outcome.EXISTS:
            # Ours. A second transfer of one id in a chain `exists` only inside the chain; the chain
            # is undone, so it does not exist, and the answer may not say that it does.
            whole = all(self._seen(transfer) is Outcome.EXISTS for transfer in chain)
            return Outcome.EXISTS if whole else Outcome.EXISTS_WITH_DIFFERENT_CHAIN
        return outcome

    def _available(self, transfer: Transfer, outcome: Outcome) -> int:
        if outcome is Outcome.EXCEEDS_CREDITS:
            totals = self._totals(transfer.debit_account_id)
            return totals.credits_posted - totals.debits_posted - totals.debits_pending
        if outcome is Outcome.EXCEEDS_DEBITS:
            totals = self._totals(transfer.credit_account_id)
            return totals.debits_posted - totals.credits_posted - totals.credits_pending
        return 0

    # One transfer. Source `create_transfer`.

    def _create_transfer(self, asked: Transfer, timestamp: int) -> Outcome:
        if asked.flags & ~TRANSFER_FLAGS_KNOWN:
            return Outcome.RESERVED_FLAG
        if asked.id == ids.ZERO:
            return Outcome.ID_MUST_NOT_BE_ZERO
        if asked.id == ids.MAXIMUM:
            return Outcome.ID_MUST_NOT_BE_INT_MAX
        seen = self._seen(asked)
        if seen is not None:
            return seen
        if asked.id in self.refused:
            return Outcome.ID_ALREADY_FAILED
        if asked.flags & (POST | VOID):
            return self._post_or_void(asked, timestamp)
        return self._move(asked, timestamp)

    def _move(self, asked: Transfer, timestamp: int) -> Outcome:
        refusal = _refuse_as_written(asked) or self._refuse_accounts(asked)
        if refusal is not None:
            return refusal
        amount = self._amount_moved(asked)
        refusal = self._refuse_amount(asked, amount, timestamp)
        if refusal is not None:
            return refusal
        self._append(msgspec.structs.replace(asked, amount=amount), timestamp)
        return Outcome.CREATED

    def _refuse_accounts(self, asked: Transfer) -> Outcome | None:
        debited = self.accounts.get(asked.debit_account_id)
        credited = self.accounts.get(asked.credit_account_id)
        if debited is None:
            return Outcome.DEBIT_ACCOUNT_NOT_FOUND
        if credited is None:
            return Outcome.CREDIT_ACCOUNT_NOT_FOUND
        if debited.ledger != credited.ledger:
            return Outcome.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER
        if asked.ledger != debited.ledger:
            return Outcome.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS
        if self._closed(debited.id):
            return Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED
        if self._closed(credited.id):
            return Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED
        return None

    def _amount_moved(self, asked: Transfer) -> int:
        """
        Balancing looks at the totals only, whether or not the account has the limit flag.

        Source `amount_actual`: saturating subtraction, so an overdrawn account balances with 0.
        """
        amount = asked.amount
        if asked.flags & BALANCING_DEBIT:
            totals = self._totals(asked.debit_account_id)
            free = totals.credits_posted - totals.debits_posted - totals.debits_pending
            amount = min(amount, max(free, 0))
        if asked.flags & BALANCING_CREDIT:
            totals = self._totals(asked.credit_account_id)
            free = totals.debits_posted - totals.credits_posted - totals.credits_pending
            amount = min(amount, max(free, 0))
        return amount

    def _refuse_amount(self, asked: Transfer, amount: int, timestamp: int) -> Outcome | None:
        debited = self._totals(asked.debit_account_id)
        credited = self._totals(asked.credit_account_id)
        if asked.flags & PENDING:
            if debited.debits_pending + amount > AMOUNT_MAX:
                return Outcome.OVERFLOWS_DEBITS_PENDING
            if credited.credits_pending + amount > AMOUNT_MAX:
                return Outcome.OVERFLOWS_CREDITS_PENDING
        # Source: the posted totals are guarded for pending transfers too.
        if debited.debits_posted + amount > AMOUNT_MAX:
            return Outcome.OVERFLOWS_DEBITS_POSTED
        if credited.credits_posted + amount > AMOUNT_MAX:
            return Outcome.OVERFLOWS_CREDITS_POSTED
        if debited.debits_pending + debited.debits_posted + amount > AMOUNT_MAX:
            return Outcome.OVERFLOWS_DEBITS
        if credited.credits_pending + credited.credits_posted + amount > AMOUNT_MAX:
            return Outcome.OVERFLOWS_CREDITS
        if timestamp + asked.timeout * SECOND > INSTANT_MAX:
            return Outcome.OVERFLOWS_TIMEOUT
        # Source `debits_exceed_credits`: also where the amount is 0, though debits then never exceed.
        limits = self.accounts[asked.debit_account_id].flags
        if limits & AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS:
            debits = debited.debits_pending + debited.debits_posted + amount
            if debits > debited.credits_posted:
                return Outcome.EXCEEDS_CREDITS
        limits = self.accounts[asked.credit_account_id].flags
        if limits & AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS:
            credits = credited.credits_pending + credited.credits_posted + amount
            if credits > credited.debits_posted:
                return Outcome.EXCEEDS_DEBITS
        return None

    # Post and void. Source `post_or_void_pending_transfer`.

    def _post_or_void(self, asked: Transfer, timestamp: int) -> Outcome:
        # Every other known flag excludes a post or a void.
        if asked.flags not in (POST, VOID):
            return Outcome.FLAGS_ARE_MUTUALLY_EXCLUSIVE
        if asked.pending_id == ids.ZERO:
            return Outcome.PENDING_ID_MUST_NOT_BE_ZERO
        if asked.pending_id == ids.MAXIMUM:
            return Outcome.PENDING_ID_MUST_NOT_BE_INT_MAX
        if asked.pending_id == asked.id:
            return Outcome.PENDING_ID_MUST_BE_DIFFERENT
        if asked.timeout:
            return Outcome.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
        # Source `get_transfer`: an id that was used up by a refusal is not found, too.
        pending = self._find(asked.pending_id)
        if pending is None:
            return Outcome.PENDING_TRANSFER_NOT_FOUND
        refusal = _refuse_against_pending(asked, pending.transfer)
        if refusal is None:
            refusal = self._refuse_resolved(asked, pending, timestamp)
        if refusal is not None:
            return refusal
        before = pending.transfer
        # Source: what is stored names the pending transfer's accounts, ledger and code, and its
        # user data where the asked ones are zero.
        stored = msgspec.structs.replace(
            asked,
            debit_account_id=before.debit_account_id,
            credit_account_id=before.credit_account_id,
            amount=_amount_of_post_or_void(asked, before),
            ledger=before.ledger,
            code=before.code,
            user_data_128=before.user_data_128
            if asked.user_data_128 == ids.ZERO
            else asked.user_data_128,
            user_data_64=asked.user_data_64 or before.user_data_64,
            user_data_32=asked.user_data_32 or before.user_data_32,
        )
        self._append(stored, timestamp)
        return Outcome.CREATED

    def _refuse_resolved(self, asked: Transfer, pending: Posted, timestamp: int) -> Outcome | None:
        end = self._resolved(pending.transfer.id)
        if isinstance(end, Expired):
            return Outcome.PENDING_TRANSFER_EXPIRED
        if end is not None and end.flags & POST:
            return Outcome.PENDING_TRANSFER_ALREADY_POSTED
        if end is not None:
            return Outcome.PENDING_TRANSFER_ALREADY_VOIDED
        # Source: what falls due between the expiry of the batch and this very event.
        if pending.transfer.timeout and _expires_at(pending) <= timestamp:
            return Outcome.PENDING_TRANSFER_EXPIRED
        # Source: "The only movement allowed in a closed account is voiding a pending transfer."
        # So a closing transfer can be voided but never posted: it closed its own account.
        if asked.flags & POST:
            if self._closed(pending.transfer.debit_account_id):
                return Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED
            if self._closed(pending.transfer.credit_account_id):
                return Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED
        return None

    # What exists already. Source `create_transfer_exists` and `post_or_void_pending_transfer_exists`.

    def _seen(self, asked: Transfer) -> Outcome | None:
        """EXISTS, or which field differs first, or None where there is no such transfer."""
        posted = self._find(asked.id)
        if posted is None:
            return None
        existing = posted.transfer
        for name in ("flags", "pending_id", "timeout"):
            if getattr(asked, name) != getattr(existing, name):
                return Outcome(f"exists_with_different_{name}")
        # A field left zero in a post or void stood for the pending transfer's.
        expected = asked
        if asked.flags & (POST | VOID):
            pending = self._find(asked.pending_id)
            assert pending is not None
            expected = _filled_in(asked, pending.transfer)
        for name in ("debit_account_id", "credit_account_id"):
            if getattr(expected, name) != getattr(existing, name):
                return Outcome(f"exists_with_different_{name}")
        balancing = asked.flags & (BALANCING_DEBIT | BALANCING_CREDIT)
        # Source: a balancing transfer was asked with a maximum; any maximum that allows for what
        # was moved is the same request.
        same = existing.amount <= asked.amount if balancing else expected.amount == existing.amount
        if not same:
            return Outcome.EXISTS_WITH_DIFFERENT_AMOUNT
        for name in ("user_data_128", "user_data_64", "user_data_32", "ledger", "code"):
            if getattr(expected, name) != getattr(existing, name):
                return Outcome(f"exists_with_different_{name}")
        return Outcome.EXISTS

    def _append(self, stored: Transfer, timestamp: int) -> None:
        debit, credit = stored.debit_account_id, stored.credit_account_id
        previous = [
            history[-1].transfer.id if history else ids.ZERO
            for history in (self._history(debit), self._history(credit))
        ]
        self.story.append(Posted(stored, timestamp, 0, 0, 0, 0, *previous))
        debited, credited = self._totals(debit), self._totals(credit)
        self.story[-1] = Posted(
            stored,
            timestamp,
            debited.debits_posted,
            debited.credits_posted,
            credited.debits_posted,
            credited.credits_posted,
            *previous,
        )


def _is_wanted(filter: QueryFilter, row: Account | Transfer, timestamp: int) -> bool:
    """Docs, query-filter.md: a field that is zero keeps all, both ends of the time are kept."""
    if filter.timestamp_min and timestamp < filter.timestamp_min:
        return False
    if filter.timestamp_max and timestamp > filter.timestamp_max:
        return False
    for name in ("user_data_128", "user_data_64", "user_data_32", "ledger", "code"):
        wanted = getattr(filter, name)
        if wanted not in (0, ids.ZERO) and wanted != getattr(row, name):
            return False
    return True


def _expires_at(posted: Posted) -> int:
    return posted.timestamp + posted.transfer.timeout * SECOND


def _refuse_as_written(asked: Transfer) -> Outcome | None:
    """Guards that need no ledger, for a single or a pending transfer."""
    for side in ("debit", "credit"):
        account_id = getattr(asked, f"{side}_account_id")
        if account_id == ids.ZERO:
            return Outcome(f"{side}_account_id_must_not_be_zero")
        if account_id == ids.MAXIMUM:
            return Outcome(f"{side}_account_id_must_not_be_int_max")
    if asked.debit_account_id == asked.credit_account_id:
        return Outcome.ACCOUNTS_MUST_BE_DIFFERENT
    if asked.pending_id != ids.ZERO:
        return Outcome.PENDING_ID_MUST_BE_ZERO
    if not asked.flags & PENDING:
        if asked.timeout:
            return Outcome.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER
        if asked.flags & (CLOSING_DEBIT | CLOSING_CREDIT):
            return Outcome.CLOSING_TRANSFER_MUST_BE_PENDING
    if asked.ledger == 0:
        return Outcome.LEDGER_MUST_NOT_BE_ZERO
    if asked.code == 0:
        return Outcome.CODE_MUST_NOT_BE_ZERO
    return None


def _refuse_against_pending(asked: Transfer, pending: Transfer) -> Outcome | None:
    if not pending.flags & PENDING:
        return Outcome.PENDING_TRANSFER_NOT_PENDING
    zeros = {"debit_account_id": ids.ZERO, "credit_account_id": ids.ZERO, "ledger": 0, "code": 0}
    for name, zero in zeros.items():
        if getattr(asked, name) not in (zero, getattr(pending, name)):
            return Outcome(f"pending_transfer_has_different_{name}")
    amount = _amount_of_post_or_void(asked, pending)
    if amount > pending.amount:
        return Outcome.EXCEEDS_PENDING_TRANSFER_AMOUNT
    if asked.flags & VOID and amount < pending.amount:
        return Outcome.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT
    return None


def _amount_of_post_or_void(asked: Transfer, pending: Transfer) -> int:
    everything = 0 if asked.flags & VOID else AMOUNT_MAX
    return pending.amount if asked.amount == everything else asked.amount


def _filled_in(asked: Transfer, pending: Transfer) -> Transfer:
    """
    The request with the pending transfer's fields where it left them out.

    Doubtful: docs, create_transfers.md `exists`, would take any amount at or above the pending one
    for a post of everything; the source takes only AMOUNT_MAX and the very amount.
    """

    def filled(name: str, zero: object) -> object:
        value = getattr(asked, name)
        return getattr(pending, name) if value == zero else value

    return msgspec.structs.replace(
        asked,
        debit_account_id=filled("debit_account_id", ids.ZERO),
        credit_account_id=filled("credit_account_id", ids.ZERO),
        amount=_amount_of_post_or_void(asked, pending),
        user_data_128=filled("user_data_128", ids.ZERO),
        user_data_64=filled("user_data_64", 0),
        user_data_32=filled("user_data_32", 0),
        ledger=filled("ledger", 0),
        code=filled("code", 0),
    )
