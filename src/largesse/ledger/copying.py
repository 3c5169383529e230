"""
Copy a ledger from one store of batches to another: every batch with its sequence, times and hash.

The target is marked from the first batch to the last, so that no engine opens half a ledger; killed
at any moment, the copy goes on after the last whole batch. What was copied is proved at the end:
the same hash over everything that ever happened, the same numbers of rows, every account and open
pending transfer the same, and the target recomputed from its beginning (`verify`).
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

from largesse import ids
from largesse.errors import Rejected
from largesse.ledger import Problem, Total, encoding
from largesse.ledger.deciding import Batch, Decision, batch_hash
from largesse.ledger.model import Account, AccountFlags, Posted, TransferFlags
from largesse.ledger.reading import (
    Counts,
    Reader,
    Rows,
    StoredBatch,
    content_of,
    rows_of,
)
from largesse.ledger.rules import Pending, PendingStatus
from largesse.ledger.verify import verify

NO_HASH = bytes(32)
_CLOSED = int(AccountFlags.CLOSED)
_TWO_PHASE = int(
    TransferFlags.PENDING
    | TransferFlags.POST_PENDING_TRANSFER
    | TransferFlags.VOID_PENDING_TRANSFER
)


class Head(msgspec.Struct, frozen=True):
    """The newest batch of a store; without one the sequence is 0."""

    sequence: int = 0
    hash: bytes = NO_HASH


class Piece(msgspec.Struct, frozen=True):
    """
    A whole batch for a target.

    `accounts` are those that it touched. Their totals may be of any moment: `write_totals` comes
    when everything else is there.
    """

    batch: Batch
    previous_hash: bytes
    decision: Decision
    accounts: Mapping[bytes, Account]


class Store(Protocol):
    """Where batches are read."""

    name: str

    def read(self) -> contextlib.AbstractAsyncContextManager[Reader]:
        """One moment of it."""
        ...


class Target(Protocol):
    """A store where batches are written. Nobody else may write there meanwhile."""

    name: str

    def read(self) -> contextlib.AbstractAsyncContextManager[Reader]:
        """One moment of it."""
        ...

    async def head(self) -> Head:
        """Its newest batch."""
        ...

    async def is_unfinished(self) -> bool:
        """Whether a copy into it was begun and not finished."""
        ...

    async def begin(self) -> None:
        """Mark it: until `finish` no engine opens it."""
        ...

    async def write(self, pieces: Sequence[Piece]) -> None:
        """
        Write these batches behind its newest.

        Raises:
            Rejected: ledger_copy_differs, somebody else wrote there.
        """
        ...

    async def write_totals(self, accounts: Sequence[Account]) -> None:
        """Bring the rows of these accounts, all of which are there, to these totals."""
        ...

    async def finish(self) -> None:
        """All of it is on the disk; take the mark away."""
        ...


class Step(msgspec.Struct, frozen=True):
    """How far a part of the copy is, in transfers; `total` where it is known."""

    what: str
    done: int = 0
    total: int | None = None


class Copied(msgspec.Struct, frozen=True):
    """Source and target are the same; `batches` of them were copied in this run."""

    head: Head
    counts: Counts
    batches: int


async def copy(source: Store, target: Target) -> AsyncIterator[Step | Copied]:
    """
    Bring the target level with the source, and prove that it is.

    Batches that come while it runs are copied too, until there is a moment without a new one.

    Raises:
        Rejected: ledger_copy_differs, where the target holds something that the source does not;
            ledger_copy_source_damaged.
        LedgerUnavailable: one of the two cannot be read or written.
    """
    place = _Place(await target.head())
    async for step in _compare_what_is_there(source, target, place.head):
        yield step
    is_level, was_unfinished = False, await target.is_unfinished()
    while not is_level:
        async with source.read() as reader:
            copied = place.batches
            async for step in _copy_moment(reader, target, place):
                yield step
            is_level = place.batches == copied
            if is_level:
                is_new = was_unfinished or place.batches > 0
                await _level_totals(reader, target, is_new=is_new)
    async for step in _prove(target, place.head):
        yield step
    await target.finish()
    async with target.read() as there:
        yield Copied(place.head, await there.counts(), place.batches)


class _Place(msgspec.Struct):
    """How far the target is; `batches` were copied in this run."""

    head: Head
    batches: int = 0


async def _copy_moment(reader: Reader, target: Target, place: _Place) -> AsyncIterator[Step]:
    """Everything that the source holds now and the target does not."""
    what = "Copying what came meanwhile" if place.batches else "Copying"
    async with target.read() as there:
        done = (await there.counts()).transfers
    total = (await reader.counts()).transfers
    while batches := await reader.batches(place.head.sequence):
        pieces = await _pieces(reader, batches, place.head)
        if not place.batches:
            await target.begin()
        await target.write(pieces)
        place.head = Head(batches[-1].sequence, batches[-1].hash)
        place.batches += len(batches)
        done += sum(len(piece.decision.created) for piece in pieces)
        yield Step(what, done, max(total, done))


async def _level_totals(reader: Reader, target: Target, *, is_new: bool) -> None:
    """All batches are there: the totals of accounts as they are now, and nothing is missing."""
    account_id = ids.ZERO
    while is_new and (page := await reader.accounts_after(account_id)):
        for id, account in page:
            if account is None:
                raise Rejected("ledger_copy_source_damaged", where=f"account {ids.text(id)}")
        await target.write_totals([account for _, account in page if account is not None])
        account_id = page[-1][0]
    async with target.read() as there:
        await _compare_totals(reader, there)


async def _pieces(reader: Reader, batches: Sequence[StoredBatch], head: Head) -> list[Piece]:
    rows = await rows_of(reader, batches)
    content = content_of(
        [event for batch in batches for event in encoding.split_events(batch.events)]
    )
    ran_out = await reader.transfers(content.expired) if content.expired else {}
    touched: dict[bytes, None] = dict.fromkeys(content.accounts)
    for posted in (*rows.transfers.values(), *ran_out.values()):
        touched[posted.transfer.debit_account_id] = None
        touched[posted.transfer.credit_account_id] = None
    accounts = await reader.accounts(list(touched))
    pieces = []
    for batch in batches:
        try:
            piece = _piece(batch, head.hash, rows, ran_out, accounts)
        except (KeyError, msgspec.MsgspecError) as error:
            raise Rejected("ledger_copy_source_damaged", where=f"batch {batch.sequence}") from error
        if batch.sequence != head.sequence + 1 or _hash(piece) != batch.hash:
            raise Rejected("ledger_copy_source_damaged", where=f"batch {batch.sequence}")
        pieces.append(piece)
        head = Head(batch.sequence, batch.hash)
    return pieces


def _hash(piece: Piece) -> bytes:
    """What the batch's hash should be."""
    fates = {pending.transfer_id: pending for pending in piece.batch.pendings}
    return batch_hash(
        piece.previous_hash,
        piece.batch,
        [encoding.encode_account_creation(a, _CLOSED) for a in piece.decision.new_accounts],
        [id + fates[id].resolved_at.to_bytes(8, "big") for id in piece.decision.expired],
    )


def _piece(
    batch: StoredBatch,
    previous_hash: bytes,
    rows: Rows,
    ran_out: Mapping[bytes, Posted],
    accounts: Mapping[bytes, Account],
) -> Piece:
    content = content_of(encoding.split_events(batch.events))
    created = [rows.transfers[id] for id in content.transfers]
    touched = dict.fromkeys(content.accounts)
    pending_ids = list(content.expired)
    for posted in (*(ran_out[id] for id in content.expired), *created):
        touched[posted.transfer.debit_account_id] = None
        touched[posted.transfer.credit_account_id] = None
    for posted in created:
        t = posted.transfer
        if t.flags & _TWO_PHASE:
            pending_ids.append(t.id if t.pending_id == ids.ZERO else t.pending_id)
    kept = Batch(
        sequence=batch.sequence,
        first_timestamp=batch.first_timestamp,
        last_timestamp=batch.last_timestamp,
        events=batch.events,
        hash=batch.hash,
        transfers=b"".join([encoding.encode_posted(posted) for posted in created]),
        touched=list(touched),
        refused=[(id, rows.refused[id]) for id in content.refused],
        pendings=[rows.pendings[id] for id in dict.fromkeys(pending_ids)],
    )
    decision = Decision(
        first_timestamp=batch.first_timestamp,
        last_timestamp=batch.last_timestamp,
        created=created,
        new_accounts=[accounts[id] for id in content.accounts],
        refused=[encoding.decode_refused(rows.refused[id]) for id in content.refused],
        expired=content.expired,
    )
    return Piece(kept, previous_hash, decision, {id: accounts[id] for id in touched})


# Proof -------------------------------------------------------------------------------------------


async def _compare_what_is_there(source: Store, target: Target, head: Head) -> AsyncIterator[Step]:
    """
    What the target holds already must be how the source begins, row by row.

    Raises:
        Rejected: ledger_copy_differs, with the first difference.
    """
    async with source.read() as here, target.read() as there:
        if head.sequence:
            at = await here.batches(head.sequence - 1)
            if not at or (at[0].sequence, at[0].hash) != (head.sequence, head.hash):
                raise _differs(f"batch {head.sequence} of the target is not one of the source")
        done, after = 0, 0
        total = (await there.counts()).transfers
        while after < head.sequence:
            yield Step("Comparing what was copied before", done, total)
            wanted = await here.batches(after)
            wanted = [batch for batch in wanted if batch.sequence <= head.sequence]
            found: list[StoredBatch] = []
            while len(found) < len(wanted):
                more = await there.batches(found[-1].sequence if found else after)
                if not more:
                    break
                found += more[: len(wanted) - len(found)]
            done += await _compare_batches(here, there, wanted, found)
            after = wanted[-1].sequence


async def _compare_batches(
    here: Reader, there: Reader, wanted: Sequence[StoredBatch], found: Sequence[StoredBatch]
) -> int:
    for one, other in zip(wanted, found, strict=False):
        if one != other:
            raise _differs(f"batch {one.sequence}")
    if len(wanted) != len(found):
        raise _differs(f"batch {wanted[len(found)].sequence} is missing in the target")
    rows, copied = await rows_of(here, wanted), await rows_of(there, found)
    for what, ones, others in (
        ("transfer", rows.transfers, copied.transfers),
        ("refusal", rows.refused, copied.refused),
    ):
        _compare_rows(what, ones, others)
    # What was open when it was copied may have ended since.
    ended = {id for id, one in copied.pendings.items() if one.status is not PendingStatus.PENDING}
    fates = [
        {id: each[id] for id in ended if id in each} for each in (rows.pendings, copied.pendings)
    ]
    _compare_rows("pending transfer", *fates)
    return len(rows.transfers)


def _compare_rows(what: str, ones: Mapping[bytes, object], others: Mapping[bytes, object]) -> None:
    if ones == others:
        return
    id = next(id for id in (*ones, *others) if ones.get(id) != others.get(id))
    raise _differs(f"{what} {ids.text(id)}")


async def _compare_totals(here: Reader, there: Reader) -> None:
    """
    At one moment the two have as many rows of each kind, and the same accounts.

    Raises:
        Rejected: ledger_copy_differs.
    """
    expected, counts = await here.counts(), await there.counts()
    for name in Counts.__struct_fields__:
        if getattr(counts, name) != getattr(expected, name):
            raise _differs(f"{getattr(expected, name)} {name} became {getattr(counts, name)}")
    account_id = ids.ZERO
    while page := await here.accounts_after(account_id):
        _compare_rows("account", dict(page), dict(await there.accounts_after(account_id)))
        account_id = page[-1][0]
    still_open = [_by_id(await reader.open_pendings()) for reader in (here, there)]
    _compare_rows("pending transfer", *still_open)


async def _prove(target: Target, head: Head) -> AsyncIterator[Step]:
    """
    What the target holds follows from its transfers, to the hash that the source has.

    Raises:
        Rejected: ledger_copy_differs, ledger_copy_source_damaged.
    """
    if await target.head() != head:
        raise _differs("somebody else wrote into the target")
    total = None
    async for step in verify(target.read(), target.name):
        match step:
            case Problem():
                raise Rejected("ledger_copy_source_damaged", where=f"{step.where}: {step.what}")
            case Total():
                total = step.transfers
            case int():
                yield Step("Recomputing the copy", step, total)


def _by_id(pendings: Sequence[Pending]) -> dict[bytes, Pending]:
    return {pending.transfer_id: pending for pending in pendings}


def _differs(difference: str) -> Rejected:
    return Rejected("ledger_copy_differs", difference=difference)
