"""
How the SQLite engine lays its rows out: fixed-width, big-endian, in TigerBeetle's field order.

A whole batch goes to SQLite as a few byte strings that its own triggers cut into rows
(`sqlite.sql` says why). The views of that file show the same rows as readable columns.
"""

from struct import Struct

import msgspec

from largesse.ledger.model import Account, AccountFlags, Posted, Refused, Transfer

_TRANSFER = Struct(">16s16s16sQ16s16sQIIIHHQQQQQ16s16s")
_ACCOUNT = Struct(">16sIHH16sQIQQQQQ16s")
_ACCOUNT_CREATION = Struct(">16sIHH16sQIQ")

TRANSFER_SIZE = _TRANSFER.size
ACCOUNT_SIZE = _ACCOUNT.size
ACCOUNT_CREATION_SIZE = _ACCOUNT_CREATION.size
_pack_transfer = _TRANSFER.pack

ROWS_MAX = 16_384
"""Rows of one kind in a batch: the row numbers that `sqlite.sql` makes to cut by."""

EVENT_SIZE = 17
EVENT_ACCOUNT = b"\x01"
EVENT_CHAIN_HEAD = b"\x02"
EVENT_CHAIN_REST = b"\x03"
EVENT_EXPIRED = b"\x04"
EVENT_REFUSED = b"\x05"
EVENT_CLOSED_ACCOUNT = b"\x06"
"""An account that was closed from its first moment."""
ACCOUNT_KINDS = (EVENT_ACCOUNT, EVENT_CLOSED_ACCOUNT)

encode_refused = msgspec.msgpack.Encoder().encode
decode_refused = msgspec.msgpack.Decoder(Refused).decode


def encode_posted(posted: Posted) -> bytes:
    """The transfer's row: its id, then the record."""
    t = posted.transfer
    return _pack_transfer(
        t.id,
        t.debit_account_id,
        t.credit_account_id,
        t.amount,
        t.pending_id,
        t.user_data_128,
        t.user_data_64,
        t.user_data_32,
        t.timeout,
        t.ledger,
        t.code,
        t.flags,
        posted.timestamp,
        posted.debit_account_debits_posted,
        posted.debit_account_credits_posted,
        posted.credit_account_debits_posted,
        posted.credit_account_credits_posted,
        posted.debit_account_previous_id,
        posted.credit_account_previous_id,
    )


def decode_posted(transfer_id: bytes, record: bytes) -> Posted:
    """
    The transfer behind a row.

    Raises:
        struct.error: the record has not the size of a transfer.
    """
    (
        _,
        debit_account_id,
        credit_account_id,
        amount,
        pending_id,
        user_data_128,
        user_data_64,
        user_data_32,
        timeout,
        ledger,
        code,
        flags,
        timestamp,
        *rest,
    ) = _TRANSFER.unpack(transfer_id + record)
    transfer = Transfer(
        transfer_id,
        debit_account_id,
        credit_account_id,
        amount,
        ledger,
        code,
        flags,
        pending_id,
        user_data_128,
        user_data_64,
        user_data_32,
        timeout,
    )
    return Posted(transfer, timestamp, *rest)


def encode_account(account: Account) -> bytes:
    """The account's row: its id, then the record."""
    return _ACCOUNT.pack(
        account.id,
        account.ledger,
        account.code,
        account.flags,
        account.user_data_128,
        account.user_data_64,
        account.user_data_32,
        account.timestamp,
        account.debits_pending,
        account.debits_posted,
        account.credits_pending,
        account.credits_posted,
        account.last_transfer_id,
    )


def decode_account(account_id: bytes, record: bytes) -> Account:
    """
    The account behind a row.

    Raises:
        struct.error: the record has not the size of an account.
    """
    fields = _ACCOUNT.unpack(account_id + record)
    return Account(**dict(zip(_ACCOUNT_FIELDS, fields, strict=True)))


_ACCOUNT_FIELDS = (
    "id",
    "ledger",
    "code",
    "flags",
    "user_data_128",
    "user_data_64",
    "user_data_32",
    "timestamp",
    "debits_pending",
    "debits_posted",
    "credits_pending",
    "credits_posted",
    "last_transfer_id",
)


def encode_account_creation(account: Account, closed_flag: int) -> bytes:
    """What never changes of an account: the part of it that the batch's hash covers."""
    return _ACCOUNT_CREATION.pack(
        account.id,
        account.ledger,
        account.code,
        account.flags & ~closed_flag,
        account.user_data_128,
        account.user_data_64,
        account.user_data_32,
        account.timestamp,
    )


def encode_batch_head(sequence: int, first_timestamp: int, last_timestamp: int) -> bytes:
    """The numbers of a batch, as its hash covers them."""
    return b"".join([n.to_bytes(8, "big") for n in (sequence, first_timestamp, last_timestamp)])


def split_events(events: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, id) of each event of a batch."""
    size = EVENT_SIZE
    return [(events[n : n + 1], events[n + 1 : n + size]) for n in range(0, len(events), size)]


def as_created(account: Account, kind: bytes) -> Account:
    """The account as it was in its first moment, which only the event says of its being closed."""
    closed = int(AccountFlags.CLOSED)
    return Account(
        id=account.id,
        ledger=account.ledger,
        code=account.code,
        flags=account.flags & ~closed | (closed if kind == EVENT_CLOSED_ACCOUNT else 0),
        user_data_128=account.user_data_128,
        user_data_64=account.user_data_64,
        user_data_32=account.user_data_32,
        timestamp=account.timestamp,
    )
