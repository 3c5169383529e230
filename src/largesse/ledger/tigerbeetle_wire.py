"""
TigerBeetle's records as bytes: fixed width, little-endian, as its reference describes them.

Our ids are 16 bytes whose order is that of TigerBeetle's 128-bit numbers, so they are turned round.
Whoever packs pays for each record, so there is one `struct` call for each and nothing else.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum, IntFlag
from struct import Struct

import msgspec

from largesse.ledger import QueryFilter
from largesse.ledger.model import (
    AMOUNT_MAX,
    Account,
    AccountFlags,
    AccountOutcome,
    Balance,
    Chain,
    Outcome,
    Transfer,
    TransferFlags,
)

_TRANSFER = Struct("<16s16s16sQQ16s16sQIIIHHQ")
_ACCOUNT = Struct("<16sQQQQQQQQ16sQIIIHHQ")
_RESULT = Struct("<QII")
_BALANCE = Struct("<QQQQQQQQQ56x")
_ACCOUNT_FILTER = Struct("<16s16xQIH58xQQII")
_QUERY_FILTER = Struct("<16sQIIH6xQQII")
_EVENTS_FILTER = Struct("<QQI44x")
_EVENT = Struct("<16sQQ16s16sQIIHHIB39x16sQQQQQQQQ16sQIHH16sQQQQQQQQ16sQIHHQQQQ")

RECORD_SIZE = 128
RESULT_SIZE = _RESULT.size
EVENT_SIZE = _EVENT.size
MESSAGE_SIZE = 1024 * 1024 - 256
"""What a message carries beside its head."""
EVENTS_MAX = 8_189
"""Records to create in one message, or to be answered by one: it ends with a word on each batch."""
CHANGE_EVENTS_MAX = MESSAGE_SIZE // EVENT_SIZE

CREATED = 0xFFFF_FFFF
LINKED_EVENT_FAILED = 1
EXISTS = 46
TRANSFER_OUTCOMES = {
    CREATED: Outcome.CREATED,
    4: Outcome.RESERVED_FLAG,
    5: Outcome.ID_MUST_NOT_BE_ZERO,
    6: Outcome.ID_MUST_NOT_BE_INT_MAX,
    7: Outcome.FLAGS_ARE_MUTUALLY_EXCLUSIVE,
    8: Outcome.DEBIT_ACCOUNT_ID_MUST_NOT_BE_ZERO,
    9: Outcome.DEBIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX,
    10: Outcome.CREDIT_ACCOUNT_ID_MUST_NOT_BE_ZERO,
    11: Outcome.CREDIT_ACCOUNT_ID_MUST_NOT_BE_INT_MAX,
    12: Outcome.ACCOUNTS_MUST_BE_DIFFERENT,
    13: Outcome.PENDING_ID_MUST_BE_ZERO,
    14: Outcome.PENDING_ID_MUST_NOT_BE_ZERO,
    15: Outcome.PENDING_ID_MUST_NOT_BE_INT_MAX,
    16: Outcome.PENDING_ID_MUST_BE_DIFFERENT,
    17: Outcome.TIMEOUT_RESERVED_FOR_PENDING_TRANSFER,
    19: Outcome.LEDGER_MUST_NOT_BE_ZERO,
    20: Outcome.CODE_MUST_NOT_BE_ZERO,
    21: Outcome.DEBIT_ACCOUNT_NOT_FOUND,
    22: Outcome.CREDIT_ACCOUNT_NOT_FOUND,
    23: Outcome.ACCOUNTS_MUST_HAVE_THE_SAME_LEDGER,
    24: Outcome.TRANSFER_MUST_HAVE_THE_SAME_LEDGER_AS_ACCOUNTS,
    25: Outcome.PENDING_TRANSFER_NOT_FOUND,
    26: Outcome.PENDING_TRANSFER_NOT_PENDING,
    27: Outcome.PENDING_TRANSFER_HAS_DIFFERENT_DEBIT_ACCOUNT_ID,
    28: Outcome.PENDING_TRANSFER_HAS_DIFFERENT_CREDIT_ACCOUNT_ID,
    29: Outcome.PENDING_TRANSFER_HAS_DIFFERENT_LEDGER,
    30: Outcome.PENDING_TRANSFER_HAS_DIFFERENT_CODE,
    31: Outcome.EXCEEDS_PENDING_TRANSFER_AMOUNT,
    32: Outcome.PENDING_TRANSFER_HAS_DIFFERENT_AMOUNT,
    33: Outcome.PENDING_TRANSFER_ALREADY_POSTED,
    34: Outcome.PENDING_TRANSFER_ALREADY_VOIDED,
    35: Outcome.PENDING_TRANSFER_EXPIRED,
    36: Outcome.EXISTS_WITH_DIFFERENT_FLAGS,
    37: Outcome.EXISTS_WITH_DIFFERENT_DEBIT_ACCOUNT_ID,
    38: Outcome.EXISTS_WITH_DIFFERENT_CREDIT_ACCOUNT_ID,
    39: Outcome.EXISTS_WITH_DIFFERENT_AMOUNT,
    40: Outcome.EXISTS_WITH_DIFFERENT_PENDING_ID,
    41: Outcome.EXISTS_WITH_DIFFERENT_USER_DATA_128,
    42: Outcome.EXISTS_WITH_DIFFERENT_USER_DATA_64,
    43: Outcome.EXISTS_WITH_DIFFERENT_USER_DATA_32,
    44: Outcome.EXISTS_WITH_DIFFERENT_TIMEOUT,
    45: Outcome.EXISTS_WITH_DIFFERENT_CODE,
    EXISTS: Outcome.EXISTS,
    47: Outcome.OVERFLOWS_DEBITS_PENDING,
    48: Outcome.OVERFLOWS_CREDITS_PENDING,
    49: Outcome.OVERFLOWS_DEBITS_POSTED,
    50: Outcome.OVERFLOWS_CREDITS_POSTED,
    51: Outcome.OVERFLOWS_DEBITS,
    52: Outcome.OVERFLOWS_CREDITS,
    53: Outcome.OVERFLOWS_TIMEOUT,
    54: Outcome.EXCEEDS_CREDITS,
    55: Outcome.EXCEEDS_DEBITS,
    64: Outcome.CLOSING_TRANSFER_MUST_BE_PENDING,
    65: Outcome.DEBIT_ACCOUNT_ALREADY_CLOSED,
    66: Outcome.CREDIT_ACCOUNT_ALREADY_CLOSED,
    67: Outcome.EXISTS_WITH_DIFFERENT_LEDGER,
    68: Outcome.ID_ALREADY_FAILED,
}
"""What a status of a transfer means; the statuses that are not here answer what is never asked."""
ACCOUNT_OUTCOMES = {
    CREATED: AccountOutcome.CREATED,
    3: AccountOutcome.TIMESTAMP_MUST_BE_ZERO,
    5: AccountOutcome.RESERVED_FLAG,
    6: AccountOutcome.ID_MUST_NOT_BE_ZERO,
    7: AccountOutcome.ID_MUST_NOT_BE_INT_MAX,
    8: AccountOutcome.FLAGS_ARE_MUTUALLY_EXCLUSIVE,
    9: AccountOutcome.DEBITS_PENDING_MUST_BE_ZERO,
    10: AccountOutcome.DEBITS_POSTED_MUST_BE_ZERO,
    11: AccountOutcome.CREDITS_PENDING_MUST_BE_ZERO,
    12: AccountOutcome.CREDITS_POSTED_MUST_BE_ZERO,
    13: AccountOutcome.LEDGER_MUST_NOT_BE_ZERO,
    14: AccountOutcome.CODE_MUST_NOT_BE_ZERO,
    15: AccountOutcome.EXISTS_WITH_DIFFERENT_FLAGS,
    16: AccountOutcome.EXISTS_WITH_DIFFERENT_USER_DATA_128,
    17: AccountOutcome.EXISTS_WITH_DIFFERENT_USER_DATA_64,
    18: AccountOutcome.EXISTS_WITH_DIFFERENT_USER_DATA_32,
    19: AccountOutcome.EXISTS_WITH_DIFFERENT_LEDGER,
    20: AccountOutcome.EXISTS_WITH_DIFFERENT_CODE,
    21: AccountOutcome.EXISTS,
}


class FilterFlags(IntFlag):
    """Which side of an account, and from which end."""

    DEBITS = 1
    CREDITS = 2
    REVERSED = 4


class EventKind(IntEnum):
    """What a change event was."""

    SINGLE = 0
    PENDING = 1
    POSTED = 2
    VOIDED = 3
    EXPIRED = 4


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A transfer as TigerBeetle holds it; `linked` means that its chain goes on after it."""

    transfer: Transfer
    timestamp: int
    linked: bool


class Event(msgspec.Struct, frozen=True, gc=False):
    """
    A change of two accounts, and their totals right after it.

    `transfer` is the one that made it; of an expiry the pending one, which is older than the event.
    """

    timestamp: int
    kind: EventKind
    stored: Stored
    debit_account: Balance
    credit_account: Balance


_LINKED = 1
_HISTORY = 1 << 3
_RESERVED = 1 << 15
_POST = int(TransferFlags.POST_PENDING_TRANSFER)
_TRANSFER_FLAGS = sum(TransferFlags)
_ACCOUNT_FLAGS = sum(AccountFlags)
_ALL = 2**64 - 1
_pack_transfer = _TRANSFER.pack


def pack_chain(chain: Chain) -> bytes:
    """
    The chain as linked transfers.

    A post of `AMOUNT_MAX` means all of it, which is TigerBeetle's largest number. A flag that is not
    ours may mean something there, so it becomes one that means nothing.

    Raises:
        struct.error: a field is out of its range.
    """
    records = []
    linked = _LINKED
    last = len(chain) - 1
    for n, t in enumerate(chain):
        if n == last:
            linked = 0
        flags = t.flags
        amount = t.amount
        high = 0
        if flags:
            if flags & ~_TRANSFER_FLAGS:
                flags = _RESERVED
            if flags & _POST and amount == AMOUNT_MAX:
                amount = high = _ALL
        records.append(
            _pack_transfer(
                t.id[::-1],
                t.debit_account_id[::-1],
                t.credit_account_id[::-1],
                amount,
                high,
                t.pending_id[::-1],
                t.user_data_128[::-1],
                t.user_data_64,
                t.user_data_32,
                t.timeout,
                t.ledger,
                t.code,
                flags | linked,
                0,
            )
        )
    return records[0] if last == 0 else b"".join(records)


def pack_account(account: Account, *, linked: bool = False) -> bytes:
    """
    The account, which keeps a history of its balances.

    Raises:
        struct.error: a field is out of its range.
    """
    flags = account.flags
    flags = _RESERVED if flags & ~_ACCOUNT_FLAGS else flags | _HISTORY
    return _ACCOUNT.pack(
        account.id[::-1],
        account.debits_pending,
        0,
        account.debits_posted,
        0,
        account.credits_pending,
        0,
        account.credits_posted,
        0,
        account.user_data_128[::-1],
        account.user_data_64,
        account.user_data_32,
        0,
        account.ledger,
        account.code,
        flags | _LINKED if linked else flags,
        account.timestamp,
    )


def pack_ids(wanted: Iterable[bytes]) -> bytes:
    """Ids to look up."""
    return b"".join([id[::-1] for id in wanted])


def unpack_results(data: bytes) -> list[tuple[int, int, int]]:
    """Of each event its time and its status, in the order asked."""
    return list(_RESULT.iter_unpack(data))


def unpack_accounts(data: bytes) -> Iterator[Account]:
    """The accounts of an answer, with the flags that are ours."""
    for row in _ACCOUNT.iter_unpack(data):
        yield Account(
            id=row[0][::-1],
            ledger=row[13],
            code=row[14],
            flags=row[15] & _ACCOUNT_FLAGS,
            user_data_128=row[9][::-1],
            user_data_64=row[10],
            user_data_32=row[11],
            debits_pending=row[1] | row[2] << 64,
            debits_posted=row[3] | row[4] << 64,
            credits_pending=row[5] | row[6] << 64,
            credits_posted=row[7] | row[8] << 64,
            timestamp=row[16],
        )


def unpack_totals(data: bytes) -> dict[bytes, list[int]]:
    """The totals alone of the accounts of an answer: debits pending, posted, credits the same."""
    return {
        row[0][::-1]: [
            row[1] | row[2] << 64,
            row[3] | row[4] << 64,
            row[5] | row[6] << 64,
            row[7] | row[8] << 64,
        ]
        for row in _ACCOUNT.iter_unpack(data)
    }


def unpack_transfers(data: bytes) -> Iterator[Stored]:
    """The transfers of an answer."""
    for row in _TRANSFER.iter_unpack(data):
        transfer = Transfer(
            row[0][::-1],
            row[1][::-1],
            row[2][::-1],
            row[3] | row[4] << 64,
            row[10],
            row[11],
            row[12] & _TRANSFER_FLAGS,
            row[5][::-1],
            row[6][::-1],
            row[7],
            row[8],
            row[9],
        )
        yield Stored(transfer, row[13], bool(row[12] & _LINKED))


def unpack_balances(data: bytes) -> list[tuple[int, Balance]]:
    """The balances of an answer, each with its time."""
    return [(row[8], _balance(row)) for row in _BALANCE.iter_unpack(data)]


def _balance(row: Sequence[int]) -> Balance:
    return Balance(
        row[0] | row[1] << 64, row[2] | row[3] << 64, row[4] | row[5] << 64, row[6] | row[7] << 64
    )


def unpack_events(data: bytes) -> Iterator[Event]:
    """The change events of an answer, oldest first."""
    for row in _EVENT.iter_unpack(data):
        transfer = Transfer(
            row[0][::-1],
            row[12][::-1],
            row[26][::-1],
            row[1] | row[2] << 64,
            row[10],
            row[8],
            row[9] & _TRANSFER_FLAGS,
            row[3][::-1],
            row[4][::-1],
            row[5],
            row[6],
            row[7],
        )
        stored = Stored(transfer, row[41], bool(row[9] & _LINKED))
        yield Event(row[40], EventKind(row[11]), stored, _balance(row[13:21]), _balance(row[27:35]))


def account_filter(
    account_id: bytes,
    *,
    code: int = 0,
    timestamp_min: int = 0,
    timestamp_max: int = 0,
    limit: int,
    flags: FilterFlags,
) -> bytes:
    """Which transfers or balances of an account; zero leaves a field open."""
    return _ACCOUNT_FILTER.pack(
        account_id[::-1], 0, 0, code, timestamp_min, timestamp_max, limit, flags
    )


def query_filter(filter: QueryFilter) -> bytes:
    """Which accounts or transfers of the whole cluster; zero leaves a field open."""
    return _QUERY_FILTER.pack(
        filter.user_data_128[::-1],
        filter.user_data_64,
        filter.user_data_32,
        filter.ledger,
        filter.code,
        filter.timestamp_min,
        filter.timestamp_max,
        filter.limit,
        1 if filter.newest_first else 0,
    )


def events_filter(*, timestamp_min: int, timestamp_max: int = 0, limit: int) -> bytes:
    """Which change events, by their time."""
    return _EVENTS_FILTER.pack(timestamp_min, timestamp_max, limit)
