"""
What a store of batches lets others read of it: `verify` and `copy` are written on this alone.

A `Reader` shows one moment of one ledger, however long the reading takes. Its rows are what the
store holds, not what an engine remembers: a row that is missing, or that cannot be read, is left out.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Protocol

import msgspec

from largesse import ids
from largesse.ledger import encoding
from largesse.ledger.model import Account, AccountFlags, Posted, TransferFlags
from largesse.ledger.rules import Pending

EVENTS_AT_ONCE = 4_096
"""Events of the batches that are read in one go; one batch may have more."""
ACCOUNTS_AT_ONCE = 2_000
CHAIN_KINDS = (encoding.EVENT_CHAIN_HEAD, encoding.EVENT_CHAIN_REST)

_CLOSED = int(AccountFlags.CLOSED)
_PENDING = int(TransferFlags.PENDING)


class StoredBatch(msgspec.Struct, frozen=True, gc=False):
    """A batch as it stands: what happened in it, and the hash that was written with it."""

    sequence: int
    first_timestamp: int
    last_timestamp: int
    events: bytes
    hash: bytes


class Counts(msgspec.Struct, frozen=True):
    """Rows of each kind."""

    accounts: int
    transfers: int
    refused: int
    pendings: int


class Reader(Protocol):
    """One moment of a ledger's store. Every method may raise `LedgerUnavailable`."""

    async def counts(self) -> Counts:
        """How many rows of each kind there are."""
        ...

    async def batches(self, after: int) -> list[StoredBatch]:
        """The batches after this sequence, in order: at least one, about `EVENTS_AT_ONCE` events."""
        ...

    async def transfers(self, transfer_ids: Sequence[bytes]) -> dict[bytes, Posted]:
        """The transfers under these ids."""
        ...

    async def accounts(self, account_ids: Sequence[bytes]) -> dict[bytes, Account]:
        """The accounts under these ids, with the totals that stand in their rows."""
        ...

    async def pendings(self, transfer_ids: Sequence[bytes]) -> dict[bytes, Pending]:
        """What became of the pending transfers under these ids."""
        ...

    async def refused(self, transfer_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """The refusals under these ids, encoded as the batch's hash covers them."""
        ...

    async def accounts_after(self, account_id: bytes) -> list[tuple[bytes, Account | None]]:
        """The next accounts in the order of their ids; None for a row that cannot be read."""
        ...

    async def open_pendings(self) -> list[Pending]:
        """Every pending transfer that was neither posted nor voided and did not run out."""
        ...

    async def oddities(self) -> list[tuple[str, str]]:
        """What else of this store is not as it was laid out: (what, where)."""
        ...


class Content(msgspec.Struct, frozen=True):
    """The ids of one or several batches, by what happened to them."""

    accounts: list[bytes]
    transfers: list[bytes]
    expired: list[bytes]
    refused: list[bytes]


def content_of(events: Iterable[tuple[bytes, bytes]]) -> Content:
    """Sort (kind, id)s by what they are; one of no known kind is in none of the lists."""
    content = Content([], [], [], [])
    lists = dict.fromkeys(encoding.ACCOUNT_KINDS, content.accounts)
    lists |= dict.fromkeys(CHAIN_KINDS, content.transfers)
    lists |= {encoding.EVENT_EXPIRED: content.expired, encoding.EVENT_REFUSED: content.refused}
    for kind, id in events:
        if kind in lists:
            lists[kind].append(id)
    return content


class Rows(msgspec.Struct, frozen=True):
    """Everything that some batches made and touched but for accounts' totals."""

    accounts: dict[bytes, Account]
    transfers: dict[bytes, Posted]
    pendings: dict[bytes, Pending]
    refused: dict[bytes, bytes]


async def rows_of(reader: Reader, batches: Sequence[StoredBatch]) -> Rows:
    """The rows behind these batches, with the fate of every pending transfer that they touched."""
    content = content_of(
        [event for batch in batches for event in encoding.split_events(batch.events)]
    )
    transfers = await reader.transfers(content.transfers) if content.transfers else {}
    touched = list(content.expired)
    for posted in transfers.values():
        if posted.transfer.flags & _PENDING:
            touched.append(posted.transfer.id)
        elif posted.transfer.pending_id != ids.ZERO:
            touched.append(posted.transfer.pending_id)
    return Rows(
        await reader.accounts(content.accounts) if content.accounts else {},
        transfers,
        await reader.pendings(touched) if touched else {},
        await reader.refused(content.refused) if content.refused else {},
    )


def hashed(previous: bytes, batch: StoredBatch, rows: Rows) -> bytes | None:
    """The hash that the batch should have, from its rows; None where one of them is missing."""
    content = content_of(encoding.split_events(batch.events))
    head = encoding.encode_batch_head(batch.sequence, batch.first_timestamp, batch.last_timestamp)
    parts = [previous, head, batch.events]
    try:
        parts += [
            encoding.encode_account_creation(rows.accounts[id], _CLOSED) for id in content.accounts
        ]
        parts += [encoding.encode_posted(rows.transfers[id]) for id in content.transfers]
        parts += [
            id + rows.pendings[id].resolved_at.to_bytes(8, "big", signed=True)
            for id in content.expired
        ]
        parts += [id + rows.refused[id] for id in content.refused]
    except KeyError:
        return None
    return sha256(b"".join(parts)).digest()
