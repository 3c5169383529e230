"""
The ledger's two nouns, account and transfer, in TigerBeetle's vocabulary and meaning.

Amounts are integers of the ledger's smallest unit, from 0 to `AMOUNT_MAX` on every engine. Ids are
16 bytes. Instants are nanoseconds since 1970; the ledger gives them, strictly rising.
"""

from enum import IntFlag, StrEnum

import msgspec

from largesse import ids

AMOUNT_MAX = 2**63 - 1
"""The largest amount and the largest running total: what SQL holds in a bigint."""
TIMEOUT_MAX = 2**32 - 1
USER_DATA_64_MAX = 2**63 - 1
USER_DATA_32_MAX = 2**32 - 1
LEDGER_MAX = 2**32 - 1
CODE_MAX = 2**16 - 1


class AccountFlags(IntFlag):
    """What an account forbids. `CLOSED` is set and lifted by closing transfers."""

    NONE = 0
    DEBITS_MUST_NOT_EXCEED_CREDITS = 1 << 1
    CREDITS_MUST_NOT_EXCEED_DEBITS = 1 << 2
    CLOSED = 1 << 5


class TransferFlags(IntFlag):
    """What kind of transfer this is; none set is a single transfer, posted at once."""

    NONE = 0
    PENDING = 1 << 1
    POST_PENDING_TRANSFER = 1 << 2
    VOID_PENDING_TRANSFER = 1 << 3
    BALANCING_DEBIT = 1 << 4
    BALANCING_CREDIT = 1 << 5
    CLOSING_DEBIT = 1 << 6
    CLOSING_CREDIT = 1 << 7


class Account(msgspec.Struct, kw_only=True, gc=False):
    """
    One side of every transfer that names it.

    `ledger` is the asset (only accounts of one ledger trade), `code` says what kind of account it
    is, `user_data_128` whose. The four totals only grow, but for what is pending; an engine changes
    its own copy, everyone else reads. `last_transfer_id` heads the account's history.
    """

    id: bytes
    ledger: int
    code: int
    flags: int = 0
    user_data_128: bytes = ids.ZERO
    user_data_64: int = 0
    user_data_32: int = 0
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    timestamp: int = 0
    last_transfer_id: bytes = ids.ZERO


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """
    One debit and one credit of one amount, as it is asked for.

    `timeout` is whole seconds and only for a pending transfer. A post or void names its
    `pending_id` and may leave accounts, ledger and code zero; its `amount` is what to post, and
    `AMOUNT_MAX` posts all of it (a void takes 0 or the whole amount).
    """

    id: bytes
    debit_account_id: bytes
    credit_account_id: bytes
    amount: int
    ledger: int
    code: int
    flags: int = 0
    pending_id: bytes = ids.ZERO
    user_data_128: bytes = ids.ZERO
    user_data_64: int = 0
    user_data_32: int = 0
    timeout: int = 0


Chain = tuple[Transfer, ...]
"""Transfers that are created together or not at all, with one outcome between them."""


class Posted(msgspec.Struct, frozen=True, gc=False):
    """
    A transfer as the ledger holds it: what was asked, when it took place, and where it stands.

    `transfer.amount` is what moved (a balancing or post transfer may move less than was asked).
    The four totals are those of its two accounts right after it; the two ids before it lead
    back through each account's history (zero at its beginning).
    """

    transfer: Transfer
    timestamp: int
    debit_account_debits_posted: int
    debit_account_credits_posted: int
    credit_account_debits_posted: int
    credit_account_credits_posted: int
    debit_account_previous_id: bytes
    credit_account_previous_id: bytes


class Balance(msgspec.Struct, frozen=True, gc=False):
    """The four totals of an account at one moment."""

    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int

    @property
    def credit(self) -> int:
        """What a credit account holds: credits posted less debits posted."""
        return self.credits_posted - self.debits_posted

    @property
    def available(self) -> int:
        """What may still be debited where debits must not exceed credits."""
        return self.credits_posted - self.debits_posted - self.debits_pending


class AccountOutcome(StrEnum):
    """What the ledger answered to a new account, in TigerBeetle's words."""

    CREATED = "created"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_FLAGS = "exists_with_different_flags"
    EXISTS_WITH_DIFFERENT_USER_DATA_128 = "exists_with_different_user_data_128"
    EXISTS_WITH_DIFFERENT_USER_DATA_64 = "exists_with_different_user_data_64"
    EXISTS_WITH_DIFFERENT_USER_DATA_32 = "exists_with_different_user_data_32"
    EXISTS_WITH_DIFFERENT_LEDGER = "exists_with_different_ledger"
    EXISTS_WITH_DIFFERENT_CODE = "exists_with_different_code"
    TIMESTAMP_MUST_BE_ZERO = "timestamp_must_be_zero"
    RESERVED_FLAG = "reserved_flag"
    ID_MUST_NOT_BE_ZERO = "id_must_not_be_zero"
    ID_MUST_NOT_BE_INT_MAX = "id_must_not_be_int_max"
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = "flags_are_mutually_exclusive"
    DEBITS_PENDING_MUST_BE_ZERO = "debits_pending_must_be_zero"
    DEBITS_POSTED_MUST_BE_ZERO = "debits_posted_must_be_zero"
    CREDITS_PENDING_MUST_BE_ZERO = "credits_pending_must_be_zero"
    CREDITS_POSTED_MUST_BE_ZERO = "credits_posted_must_be_zero"
    LEDGER_MUST_NOT_BE_ZERO = "ledger_must_not_be_zero"
    CODE_MUST_NOT_BE_ZERO = "code_must_not_be_zero"


class Outcome(StrEnum):
    """What the ledger answered to a chain: the outcome of its first transfer that was not created."""

    CREATED = "created"

    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_FLAGS = "exists_with_different_flags"
    EXISTS_WITH_DIFFERENT_PENDING_ID = "exists_with_different_pending_id"
    EXISTS_WITH_DIFFERENT_TIMEOUT = "exists_with_different_timeout"
    EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID = "exists_with_different_debit_account_id"
    EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID = "exists_with_different_credit_account_id"
    EXISTS_WITH_DIFFERENT_AMOUNT = "exists_with_different_amount"
    EXISTS_WITH_DIFFERENT_USER_DATA_128 = "exists_with_different_user_data_128"
    EXISTS_WITH_DIFFERENT_USER_DATA_64 = "exists_with_different_user_data_64"
    EXISTS_WITH_DIFFERENT_USER_DATA_32 = "exists_with_different_user_data_32"
    EXISTS_WITH_DIFFERENT_LEDGER = "exists_with_different_ledger"
    EXISTS_WITH_DIFFERENT_CODE = "exists_with_different_code"
    EXISTS_WITH_DIFFERENT_CHAIN = "exists_with_different_chain"
    """Ours: some transfers of the chain are there, others are not. A chain is whole or not at all."""
    ID_ALREADY_FAILED = "id_already_failed"

    RESERVED_FLAG = "reserved_flag"
    ID_MUST_NOT_BE_ZERO = "id_must_not_be_zero"
    ID_MUST_NOT_BE_INT_MAX = "id_must_not_be_int_max"
    FLAGS_ARE_MUTUALLY_EXCLUSIVE = "flags_are_mutually_exclusive"
    DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = "debit_account_id_must_not_be_zero"
    DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX = "debit_account_id_must_not_be_int_max"
    CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO = "credit_account_id_must_not_be_zero"
    CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX = "credit_account_id_must_not_be_int_max"
    ACCOUNTS_MUST_BE_DIFFERENT = "accounts_must_be_different"
    PENDING_ID_MUST_BE_ZERO = "pending_id_must_be_zero"
    PENDING_ID_MUST_NOT_BE_ZERO = "pending_id_must_not_be_zero"
    PENDING_ID_MUST_NOT_BE_INT_MAX = "pending_id_must_not_be_int_max"
    PENDING_ID_MUST_BE_DIFFERENT = "pending_id_must_be_different"
    TIMEOUT_RESERVED_FOR_PENDING_TRANSFER = "timeout_reserved_for_pending_transfer"
    CLOSING_TRANSFER_MUST_BE_PENDING = "closing_transfer_must_be_pending"
    LEDGER_MUST_NOT_BE_ZERO = "ledger_must_not_be_zero"
    CODE_MUST_NOT_BE_ZERO = "code_must_not_be_zero"
    DEBIT_ACCOUNT_NOT_FOUND = "debit_account_not_found"
    CREDIT_ACCOUNT_NOT_FOUND = "credit_account_not_found"
    ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER = "accounts_must_have_the_same_ledger"
    TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS = (
        "transfer_must_have_the_same_ledger_as_accounts"
    )
    PENDING_TRANSFER_NOT_FOUND = "pending_transfer_not_found"
    PENDING_TRANSFER_NOT_PENDING = "pending_transfer_not_pending"
    PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID = (
        "pending_transfer_has_different_debit_account_id"
    )
    PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID = (
        "pending_transfer_has_different_credit_account_id"
    )
    PENDING_TRANSFER_HAS_DIFFERENT_LEDGER = "pending_transfer_has_different_ledger"
    PENDING_TRANSFER_HAS_DIFFERENT_CODE = "pending_transfer_has_different_code"
    EXCEEDS_PENDING_TRANSFER_AMOUNT = "exceeds_pending_transfer_amount"
    PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT = "pending_transfer_has_different_amount"
    PENDING_TRANSFER_ALREADY_POSTED = "pending_transfer_already_posted"
    PENDING_TRANSFER_ALREADY_VOIDED = "pending_transfer_already_voided"
    PENDING_TRANSFER_EXPIRED = "pending_transfer_expired"
    DEBIT_ACCOUNT_ALREADY_CLOSED = "debit_account_already_closed"
    CREDIT_ACCOUNT_ALREADY_CLOSED = "credit_account_already_closed"
    OVERFLOWS_DEBITS_PENDING = "overflows_debits_pending"
    OVERFLOWS_CREDITS_PENDING = "overflows_credits_pending"
    OVERFLOWS_DEBITS_POSTED = "overflows_debits_posted"
    OVERFLOWS_CREDITS_POSTED = "overflows_credits_posted"
    OVERFLOWS_DEBITS = "overflows_debits"
    OVERFLOWS_CREDITS = "overflows_credits"
    OVERFLOWS_TIMEOUT = "overflows_timeout"
    EXCEEDS_CREDITS = "exceeds_credits"
    EXCEEDS_DEBITS = "exceeds_debits"


PASSING_OUTCOMES = frozenset(
    {
        Outcome.DEBIT_ACCOUNT_NOT_FOUND,
        Outcome.CREDIT_ACCOUNT_NOT_FOUND,
        Outcome.PENDING_TRANSFER_NOT_FOUND,
        Outcome.EXCEEDS_CREDITS,
        Outcome.EXCEEDS_DEBITS,
        Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED,
        Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED,
    }
)
"""Refusals that might not be repeated later: they use up the id, so a "no" never becomes a "yes"."""


class Result(msgspec.Struct, frozen=True, gc=False):
    """
    The ledger's answer to one chain.

    `timestamp` is that of the chain's first transfer where the chain is there (CREATED, EXISTS),
    otherwise that of the answer. `balances` are those of the accounts asked for, right after the decision, in the order
    asked; an account that is not there answers None.
    """

    outcome: Outcome
    timestamp: int
    balances: tuple[Balance | None, ...] = ()


class Refused(msgspec.Struct, frozen=True, gc=False):
    """
    A chain that was refused for a passing reason, as the ledger remembers it for ever.

    `transfer_id` is the one that failed and is used up; `available` is what the account that
    refused could still give (or take) at that moment, without anything of this chain, for the
    person who asks again.
    """

    transfer_id: bytes
    outcome: Outcome
    timestamp: int
    available: int
    chain: Chain


class ChangeKind(StrEnum):
    """What a change was."""

    ACCOUNT = "account"
    CHAIN = "chain"
    EXPIRED = "expired"


class Change(msgspec.Struct, frozen=True, gc=False):
    """
    One thing that happened, in the order in which it happened.

    ACCOUNT: `account` was created (its totals are those of its beginning). CHAIN: `chain` was
    created. EXPIRED: the one pending transfer in `chain` ran out and gave back its amount.
    `timestamp` is the change's last, so it serves as `after` for the next call.
    """

    timestamp: int
    kind: ChangeKind
    chain: tuple[Posted, ...] = ()
    account: Account | None = None
