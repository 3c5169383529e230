"""
Copy a ledger of batches into a TigerBeetle cluster, as imported events with their own times.

A cluster keeps no batches and no hashes, so the proof is to read both from the beginning: every
change in order, every account's totals, every refusal. It cannot forget either, so what was begun
is marked by an account that says so, and what is finished by another.

Accounts and transfers are imported first, oldest first, for no imported time may lie before one that
is there. Refused ids are used up afterwards, by a transfer that cannot be, and noted as the engine
notes them.
"""

import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import chain

import msgspec

from largesse import ids
from largesse.errors import Rejected
from largesse.ledger import PAGE_MAX, encoding
from largesse.ledger.copying import NO_HASH, Copied, Head, Step, Store
from largesse.ledger.model import (
    Account,
    AccountFlags,
    Change,
    ChangeKind,
    Posted,
    Refused,
    Transfer,
    TransferFlags,
)
from largesse.ledger.reading import (
    CHAIN_KINDS,
    Reader,
    Rows,
    StoredBatch,
    content_of,
    hashed,
    rows_of,
)
from largesse.ledger.tigerbeetle_client import Address, Connection, Operation, TooMuch, load, parse
from largesse.ledger.tigerbeetle_notes import NOTES_LEDGER, pack_note
from largesse.ledger.tigerbeetle_reading import (
    ChangeReader,
    accounts_page,
    find_accounts,
    find_refused,
    find_stored,
)
from largesse.ledger.tigerbeetle_wire import (
    ACCOUNT_OUTCOMES,
    CREATED,
    LINKED_EVENT_FAILED,
    RECORD_SIZE,
    TRANSFER_OUTCOMES,
    pack_account,
    pack_chain,
    unpack_results,
)

BEGUN = ids.derive("ledger copy", "begun")
DONE = ids.derive("ledger copy", "done")
BEGUN_AT = 1
"""The mark's imported time: before everything that can be imported."""
SIZES = (8_189, 4_096, 2_048, 1_024, 512, 253)
"""Records in one message, tried from above."""
_NOBODY = (ids.derive("nobody", 1), ids.derive("nobody", 2))
_ACCOUNT_IMPORTED = 1 << 4
_TRANSFER_IMPORTED = 1 << 8
_FLAGS_AT = 118
"""Where a record's flags begin, an account's and a transfer's; its timestamp follows them."""
_PENDING = int(TransferFlags.PENDING)
_FINE_ACCOUNTS = {CREATED, 21}
_FINE_TRANSFERS = {CREATED, 46, LINKED_EVENT_FAILED}
"""Created, or there already; in a chain that is there, all but its first answer that one failed."""
_USED_UP = {21, 68}
"""No such account, which uses up the id; or used up already."""


async def refuse_unfinished(connection: Connection, address: Address) -> None:
    """
    See that no copy into this cluster is under way, or was left in its middle.

    Raises:
        Rejected: ledger_copy_unfinished.
    """
    found = await find_accounts(connection, [BEGUN, DONE])
    if BEGUN in found and DONE not in found:
        raise Rejected("ledger_copy_unfinished", file=f"the cluster at {address.text}")


async def copy(source: Store, url: str) -> AsyncIterator[Step | Copied]:
    """
    Bring an empty cluster level with the source, and prove that it is.

    Raises:
        Rejected: ledger_url_invalid, engine_not_installed; ledger_copy_has_timeouts,
            ledger_copy_differs, ledger_copy_source_damaged.
        LedgerUnavailable: one of the two cannot be read or written.
    """
    address = parse(url)
    connection = Connection(load(), address)
    cluster = _Cluster(connection)
    try:
        async with source.read() as reader:
            is_done = await _is_done(connection)
            if not is_done:
                await _refuse_timeouts(reader)
                await cluster.create(Operation.CREATE_ACCOUNTS, [_mark(BEGUN, BEGUN_AT)])
                async for step in _import(reader, cluster):
                    yield step
                async for step in _use_up(reader, cluster):
                    yield step
            head = Head()
            async for found in _prove(reader, connection):
                if isinstance(found, Head):
                    head = found
                else:
                    yield found
            if not is_done:
                await cluster.create(Operation.CREATE_ACCOUNTS, [_mark(DONE, 0)])
            yield Copied(head, await reader.counts(), 0 if is_done else head.sequence)
    finally:
        await connection.close()


async def _is_done(connection: Connection) -> bool:
    """
    Whether a copy into this cluster was finished.

    Raises:
        Rejected: ledger_copy_differs, where the cluster is somebody else's already.
    """
    found = await find_accounts(connection, [BEGUN, DONE])
    if BEGUN not in found and await accounts_page(connection, 1, limit=1):
        raise _differs("the cluster holds accounts that were not copied into it")
    return DONE in found


def _mark(id: bytes, timestamp: int) -> bytes:
    mark = Account(id=id, ledger=NOTES_LEDGER, code=1, flags=int(AccountFlags.CLOSED))
    return _imported_account(mark, timestamp) if timestamp else pack_account(mark)


async def _refuse_timeouts(reader: Reader) -> None:
    if not (await reader.counts()).pendings:
        return
    async for _, rows in _all(reader):
        for posted in rows.transfers.values():
            if posted.transfer.timeout:
                where = f"transfer {ids.text(posted.transfer.id)}"
                raise Rejected("ledger_copy_has_timeouts", where=where)


class _Cluster:
    """Where records are created, as many in a message as the cluster takes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._sizes = list(SIZES)

    async def create(self, operation: Operation, records: Sequence[bytes]) -> list[int]:
        """Create these whole chains of records; the status of each record."""
        statuses: list[int] = []
        waiting = list(records)
        while waiting:
            taken = size = 0
            while taken < len(waiting) and size + len(waiting[taken]) <= self._bytes_max():
                size += len(waiting[taken])
                taken += 1
            try:
                reply = await self.connection.ask(operation, b"".join(waiting[:taken]))
            except TooMuch:
                del self._sizes[0]
                continue
            statuses += [row[1] for row in unpack_results(reply.data)]
            del waiting[:taken]
        return statuses

    def _bytes_max(self) -> int:
        return self._sizes[0] * RECORD_SIZE


async def _all(reader: Reader) -> AsyncIterator[tuple[list[StoredBatch], Rows]]:
    after = 0
    while batches := await reader.batches(after):
        yield batches, await rows_of(reader, batches)
        after = batches[-1].sequence


# Import ------------------------------------------------------------------------------------------


async def _import(reader: Reader, cluster: _Cluster) -> AsyncIterator[Step]:
    total = (await reader.counts()).transfers
    done, after, hash = 0, 0, NO_HASH
    is_new = False
    yield Step("Copying", done, total)
    while batches := await reader.batches(after):
        content = content_of(chain.from_iterable(map(_events, batches)))
        is_new = is_new or not await _is_there(cluster.connection, content.transfers)
        if is_new:
            rows = await rows_of(reader, batches)
            for batch in batches:
                if hashed(hash, batch, rows) != batch.hash:
                    where = f"batch {batch.sequence}"
                    raise Rejected("ledger_copy_source_damaged", where=where)
                hash = batch.hash
            await _import_batches(cluster, batches, rows)
        after, hash = batches[-1].sequence, batches[-1].hash
        done += len(content.transfers)
        yield Step("Copying", done, total)


async def _is_there(connection: Connection, transfer_ids: Sequence[bytes]) -> bool:
    """Whether an earlier run came past these: then their last transfer is there."""
    last = transfer_ids[-1:]
    return bool(last and await find_stored(connection, last))


async def _import_batches(cluster: _Cluster, batches: Sequence[StoredBatch], rows: Rows) -> None:
    accounts, chains = [], []
    for batch in batches:
        for change in _changes(batch, rows):
            if change.account is not None:
                accounts.append(change.account)
            else:
                chains.append(change.chain)
    packed = [_imported_account(account, account.timestamp) for account in accounts]
    statuses = await cluster.create(Operation.CREATE_ACCOUNTS, packed)
    for account, status in zip(accounts, statuses, strict=True):
        if status not in _FINE_ACCOUNTS:
            outcome = ACCOUNT_OUTCOMES.get(status, str(status))
            raise _differs(f"account {ids.text(account.id)} is answered {outcome}")
    statuses = await cluster.create(Operation.CREATE_TRANSFERS, [_imported(c) for c in chains])
    for posted, status in zip(chain.from_iterable(chains), statuses, strict=True):
        if status not in _FINE_TRANSFERS:
            outcome = TRANSFER_OUTCOMES.get(status, str(status))
            raise _differs(f"transfer {ids.text(posted.transfer.id)} is answered {outcome}")


def _imported_account(account: Account, timestamp: int) -> bytes:
    record = bytearray(pack_account(msgspec.structs.replace(account, timestamp=0)))
    _import_record(record, 0, _ACCOUNT_IMPORTED, timestamp)
    return bytes(record)


def _imported(posted: Sequence[Posted]) -> bytes:
    records = bytearray(pack_chain(tuple(each.transfer for each in posted)))
    for n, each in enumerate(posted):
        _import_record(records, n * RECORD_SIZE, _TRANSFER_IMPORTED, each.timestamp)
    return bytes(records)


def _import_record(records: bytearray, at: int, imported: int, timestamp: int) -> None:
    [flags] = struct.unpack_from("<H", records, at + _FLAGS_AT)
    struct.pack_into("<HQ", records, at + _FLAGS_AT, flags | imported, timestamp)


async def _use_up(reader: Reader, cluster: _Cluster) -> AsyncIterator[Step]:
    """Refused ids: each is tried with accounts that there are not, and noted."""
    async for _, rows in _all(reader):
        if not rows.refused:
            continue
        refusals = [encoding.decode_refused(record) for record in rows.refused.values()]
        tried = [
            pack_chain((Transfer(refused.transfer_id, *_NOBODY, 0, 1, 1),)) for refused in refusals
        ]
        for refused, status in zip(
            refusals, await cluster.create(Operation.CREATE_TRANSFERS, tried), strict=True
        ):
            if status not in _USED_UP:
                raise _differs(f"refusal {ids.text(refused.transfer_id)}")
        notes = [b"".join(pack_note(refused)) for refused in refusals]
        await cluster.create(Operation.CREATE_ACCOUNTS, notes)
        yield Step("Using up refused ids")


# Proof -------------------------------------------------------------------------------------------


async def _prove(reader: Reader, connection: Connection) -> AsyncIterator[Step | Head]:
    """
    Read both from the beginning and compare; what the source's newest batch is comes last.

    Raises:
        Rejected: ledger_copy_differs, with the first difference.
    """
    counts = await reader.counts()
    there = _following(connection)
    done = transfers = 0
    head = Head()
    async for batches, rows in _all(reader):
        for batch in batches:
            for change in _changes(batch, rows):
                _compare(_as_there(change), await anext(there, None))
                transfers += len(change.chain)
            head = Head(batch.sequence, batch.hash)
        await _compare_refused(connection, rows)
        done += len(content_of(chain.from_iterable(map(_events, batches))).transfers)
        yield Step("Comparing every change", done, counts.transfers)
    if (more := await anext(there, None)) is not None:
        raise _differs(f"the copy has more: {_name(more)}")
    account_id = ids.ZERO
    accounts = 0
    while page := await reader.accounts_after(account_id):
        found = await find_accounts(connection, [id for id, _ in page])
        for id, account in page:
            copied = found.get(id)
            if account is None or copied is None or not _same_totals(account, copied):
                raise _differs(f"account {ids.text(id)}")
        accounts += len(page)
        account_id = page[-1][0]
    if (accounts, transfers) != (counts.accounts, counts.transfers):
        raise _differs(f"{accounts} accounts and {transfers} transfers")
    yield head


async def _following(connection: Connection) -> AsyncIterator[Change]:
    changes = ChangeReader(connection)
    after = 0
    while page := await changes.changes(after, PAGE_MAX):
        for change in page:
            yield change
        after = page[-1].timestamp


def _changes(batch: StoredBatch, rows: Rows) -> Iterable[Change]:
    """What the batch did, in order, but for refusals."""
    posted: list[Posted] = []
    for kind, id in (*_events(batch), (b"", b"")):
        if posted and kind != encoding.EVENT_CHAIN_REST:
            yield Change(posted[-1].timestamp, ChangeKind.CHAIN, tuple(posted))
            posted = []
        if kind in CHAIN_KINDS:
            posted.append(rows.transfers[id])
        elif kind in encoding.ACCOUNT_KINDS:
            account = encoding.as_created(rows.accounts[id], kind)
            yield Change(account.timestamp, ChangeKind.ACCOUNT, account=account)


def _events(batch: StoredBatch) -> list[tuple[bytes, bytes]]:
    return encoding.split_events(batch.events)


def _as_there(change: Change) -> Change:
    """The change as a cluster tells it: its transfers do not name the one before."""
    told = tuple(
        msgspec.structs.replace(
            posted, debit_account_previous_id=ids.ZERO, credit_account_previous_id=ids.ZERO
        )
        for posted in change.chain
    )
    return msgspec.structs.replace(change, chain=told)


def _compare(expected: Change, found: Change | None) -> None:
    if expected != found:
        raise _differs(_name(expected))


def _name(change: Change) -> str:
    if change.account is not None:
        return f"account {ids.text(change.account.id)}"
    return f"transfer {ids.text(change.chain[0].transfer.id)}"


def _same_totals(one: Account, other: Account) -> bool:
    return msgspec.structs.replace(one, last_transfer_id=ids.ZERO) == other


async def _compare_refused(connection: Connection, rows: Rows) -> None:
    if not rows.refused:
        return
    found: dict[bytes, Refused] = await find_refused(connection, rows.refused)
    for id, record in rows.refused.items():
        if found.get(id) != encoding.decode_refused(record):
            raise _differs(f"refusal {ids.text(id)}")


def _differs(difference: str) -> Rejected:
    return Rejected("ledger_copy_differs", difference=difference)
