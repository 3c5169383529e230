"""
How the PostgreSQL engine writes and reads rows: whole batches in, and rows by their ids out.

A small batch is one statement, and so one transaction and one round trip. A larger one is a
transaction: transfers are copied in as PostgreSQL's own binary rows, which costs a third.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct

import msgspec

from largesse import ids
from largesse.ledger import AccountFilter, LedgerUnavailable, encoding
from largesse.ledger.deciding import Batch, Decision
from largesse.ledger.model import Account, Change, ChangeKind, Posted, Refused, Transfer
from largesse.ledger.postgres_server import Connection
from largesse.ledger.reading import StoredBatch
from largesse.ledger.rules import Pending, PendingStatus

COPY_MIN = 64
"""With so many transfers or more, copying them costs less than handing them to a statement."""
BATCHES_AT_ONCE = 256
"""Batches that are read in one go, where they are small."""
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

_TRANSFER_COLUMNS = (
    ("id", "uuid"),
    ("debit_account_id", "uuid"),
    ("credit_account_id", "uuid"),
    ("amount", "bigint"),
    ("ledger", "bigint"),
    ("code", "integer"),
    ("flags", "integer"),
    ("pending_id", "uuid"),
    ("user_data_128", "uuid"),
    ("user_data_64", "bigint"),
    ("user_data_32", "bigint"),
    ("timeout", "bigint"),
    ('"timestamp"', "bigint"),
    ("debit_account_debits_posted", "bigint"),
    ("debit_account_credits_posted", "bigint"),
    ("credit_account_debits_posted", "bigint"),
    ("credit_account_credits_posted", "bigint"),
    ("debit_account_previous_id", "uuid"),
    ("credit_account_previous_id", "uuid"),
)
_ACCOUNT_COLUMNS = (
    ("id", "uuid"),
    ("ledger", "bigint"),
    ("code", "integer"),
    ("flags", "integer"),
    ("user_data_128", "uuid"),
    ("user_data_64", "bigint"),
    ("user_data_32", "bigint"),
    ('"timestamp"', "bigint"),
    ("debits_pending", "bigint"),
    ("debits_posted", "bigint"),
    ("credits_pending", "bigint"),
    ("credits_posted", "bigint"),
    ("last_transfer_id", "uuid"),
)
_POSTED_TOTALS = (
    ("debits_posted", "bigint"),
    ("credits_posted", "bigint"),
    ("last_transfer_id", "uuid"),
)
_ALL_TOTALS = (
    ("flags", "integer"),
    ("debits_pending", "bigint"),
    ("credits_pending", "bigint"),
    *_POSTED_TOTALS,
)
"""What changes of an account; without a transfer in two phases it is less."""
_ASKED = 12
"""The first columns of a transfer are what was asked for, in the order of `Transfer`'s fields."""
# An array of flags must be one of plain integers: flags can be iterated over, as arrays can.
_FIELDS = tuple(name.strip('"') for name, _ in _ACCOUNT_COLUMNS)
_FLAGS = _FIELDS.index("flags")
_TRANSFERS = ", ".join(name for name, _ in _TRANSFER_COLUMNS)
_ACCOUNTS = ", ".join(name for name, _ in _ACCOUNT_COLUMNS)
_SIZES = {"uuid": 16, "bigint": 8, "integer": 4}
_FORMATS = {"uuid": "16s", "bigint": "q", "integer": "i"}

_COPY_ROW = Struct(">h" + "".join(f"i{_FORMATS[type]}" for _, type in _TRANSFER_COLUMNS))
_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"


def _arrays(types: Iterable[str], first: int) -> str:
    return ", ".join(f"${n}::{type}[]" for n, type in enumerate(types, first))


def _move(totals: Sequence[tuple[str, str]]) -> str:
    """Move the head, note the batch, and give the accounts that it touched their new totals."""
    names = [name for name, _ in totals]
    return f"""
    WITH moved AS (
        UPDATE ledger.head SET sequence = $1, hash = $2, last_timestamp = $4
        WHERE sequence = $1 - 1 AND hash = $5 RETURNING sequence
    ), batch AS (
        INSERT INTO ledger.batches
            (sequence, hash, first_timestamp, last_timestamp, events, writer, touched)
        SELECT $1::bigint, $2::bytea, $3::bigint, $4::bigint, $6::bytea, $7::uuid, $8::bytea
        FROM moved
    ), totals AS (
        UPDATE ledger.accounts a SET {", ".join(f"{name} = u.{name}" for name in names)}
        FROM moved, unnest({_arrays(("uuid", *(type for _, type in totals)), 9)})
            AS u (id, {", ".join(names)})
        WHERE a.id = u.id
    )"""  # noqa: S608


_MOVE_ALL = f"{_move(_ALL_TOTALS)} SELECT sequence FROM moved"  # noqa: S608
_MOVE_POSTED = f"{_move(_POSTED_TOTALS)} SELECT sequence FROM moved"  # noqa: S608
_ALL_AT_ONCE = f"""{_move(_POSTED_TOTALS)}, created AS (
        INSERT INTO ledger.transfers ({_TRANSFERS})
        SELECT t.* FROM moved, unnest({_arrays((type for _, type in _TRANSFER_COLUMNS), 13)}) AS t
    ) SELECT sequence FROM moved"""  # noqa: S608
_ADD_ACCOUNTS = f"""
    INSERT INTO ledger.accounts ({_ACCOUNTS})
    SELECT * FROM unnest({_arrays((type for _, type in _ACCOUNT_COLUMNS), 1)})"""  # noqa: S608
_ADD_TRANSFERS = f"""
    INSERT INTO ledger.transfers ({_TRANSFERS})
    SELECT * FROM unnest({_arrays((type for _, type in _TRANSFER_COLUMNS), 1)})"""  # noqa: S608
_ADD_REFUSED = """
    INSERT INTO ledger.refused (id, outcome, "timestamp", available, record)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[])"""
_PUT_PENDINGS = """
    INSERT INTO ledger.pendings (id, status, expires_at, resolved_at)
    SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bigint[])
    ON CONFLICT (id) DO UPDATE SET status = excluded.status, resolved_at = excluded.resolved_at"""
SELECT_TRANSFERS = f"SELECT {_TRANSFERS} FROM ledger.transfers"  # noqa: S608
SELECT_ACCOUNTS = f"SELECT {_ACCOUNTS} FROM ledger.accounts"  # noqa: S608
_WALK = f"""
    WITH RECURSIVE walk AS (
        SELECT 1 AS step, t.* FROM ledger.transfers t WHERE t.id = $2
        UNION ALL
        SELECT w.step + 1, t.* FROM walk w JOIN ledger.transfers t ON t.id =
            CASE WHEN w.debit_account_id = $1
            THEN w.debit_account_previous_id ELSE w.credit_account_previous_id END
    ), page AS (
        SELECT * FROM walk
        WHERE CASE WHEN debit_account_id = $1 THEN $3::boolean ELSE $4::boolean END
            AND (cardinality($5::integer[]) = 0 OR code = ANY($5::integer[]))
        LIMIT $6
    ) SELECT {_TRANSFERS} FROM page ORDER BY step"""  # noqa: S608


class Writing(msgspec.Struct, frozen=True, kw_only=True):
    """A batch with all that is to be written of it, taken from memory before memory goes on."""

    batch: Batch
    previous_hash: bytes
    created: list[Posted]
    refused: list[Refused]
    new_accounts: Sequence[Sequence[object]]
    totals: Sequence[Sequence[object]]


def prepare(
    batch: Batch, previous_hash: bytes, decision: Decision, accounts: Mapping[bytes, Account]
) -> Writing:
    """What is to be written of a batch, where accounts stand as `accounts` says now."""
    new = {account.id for account in decision.new_accounts}
    return Writing(
        batch=batch,
        previous_hash=previous_hash,
        created=decision.created,
        refused=decision.refused,
        new_accounts=_columns([_account_row(accounts[id]) for id in new], len(_ACCOUNT_COLUMNS)),
        totals=_totals([accounts[id] for id in batch.touched if id not in new], batch),
    )


async def write_alone(connection: Connection, writing: Writing, writer: bytes) -> bool:
    """
    Write the batch in a transaction of its own, if the head is still the batch before it.

    False where it is not: then nothing is written.
    """
    if _is_plain(writing):
        created = _columns([_transfer_row(p) for p in writing.created], len(_TRANSFER_COLUMNS))
        arguments = (*_head_arguments(writing, writer), *created)
        return await connection.fetchval(_ALL_AT_ONCE, *arguments) is not None
    await connection.execute(BEGIN)
    if not await write(connection, writing, writer):
        await connection.execute("ROLLBACK")
        return False
    await connection.execute("COMMIT")
    return True


def _is_plain(writing: Writing) -> bool:
    """Whether one statement writes all of it."""
    few = len(writing.created) < COPY_MIN
    return few and not (writing.refused or writing.batch.pendings or writing.new_accounts[0])


async def write(connection: Connection, writing: Writing, writer: bytes | None) -> bool:
    """Write the batch inside a transaction; False where the head is not the batch before it."""
    move = _MOVE_ALL if writing.batch.pendings else _MOVE_POSTED
    moving = asyncio.create_task(connection.fetchval(move, *_head_arguments(writing, writer)))
    # The server has it before anything is packed, so that nobody waits for both.
    await asyncio.sleep(0)
    copied = _copied(writing.created) if len(writing.created) >= COPY_MIN else None
    if await moving is None:
        return False
    if writing.new_accounts[0]:
        await connection.execute(_ADD_ACCOUNTS, *writing.new_accounts)
    if copied is not None:
        await connection.copy_to_table(
            "transfers", schema_name="ledger", format="binary", source=copied
        )
    elif writing.created:
        created = _columns([_transfer_row(p) for p in writing.created], len(_TRANSFER_COLUMNS))
        await connection.execute(_ADD_TRANSFERS, *created)
    if writing.refused:
        records = [record for _, record in writing.batch.refused]
        rows = [(r.transfer_id, r.outcome.value, r.timestamp, r.available) for r in writing.refused]
        await connection.execute(_ADD_REFUSED, *_columns(rows, 4), records)
    if writing.batch.pendings:
        pendings = [
            (p.transfer_id, int(p.status), p.expires_at, p.resolved_at)
            for p in writing.batch.pendings
        ]
        await connection.execute(_PUT_PENDINGS, *_columns(pendings, 4))
    return True


def _head_arguments(writing: Writing, writer: bytes | None) -> tuple[object, ...]:
    batch = writing.batch
    return (
        batch.sequence,
        batch.hash,
        batch.first_timestamp,
        batch.last_timestamp,
        writing.previous_hash,
        batch.events,
        writer,
        b"".join(batch.touched),
        *writing.totals,
    )


def _columns(rows: Iterable[tuple[object, ...]], width: int) -> Sequence[Sequence[object]]:
    return list(zip(*rows, strict=True)) or [()] * width


def _totals(accounts: Sequence[Account], batch: Batch) -> Sequence[Sequence[object]]:
    """The new totals of each account, as many columns of them as the batch may have changed."""
    columns: list[list[object]] = [
        [a.debits_posted for a in accounts],
        [a.credits_posted for a in accounts],
        [a.last_transfer_id for a in accounts],
    ]
    if batch.pendings:
        columns[:0] = [
            [int(a.flags) for a in accounts],
            [a.debits_pending for a in accounts],
            [a.credits_pending for a in accounts],
        ]
    return [[a.id for a in accounts], *columns]


def _account_row(account: Account) -> tuple[object, ...]:
    values = [getattr(account, field) for field in _FIELDS]
    values[_FLAGS] = int(account.flags)
    return tuple(values)


def _transfer_row(posted: Posted) -> tuple[object, ...]:
    t = posted.transfer
    return (
        t.id,
        t.debit_account_id,
        t.credit_account_id,
        t.amount,
        t.ledger,
        t.code,
        int(t.flags),
        t.pending_id,
        t.user_data_128,
        t.user_data_64,
        t.user_data_32,
        t.timeout,
        posted.timestamp,
        posted.debit_account_debits_posted,
        posted.debit_account_credits_posted,
        posted.credit_account_debits_posted,
        posted.credit_account_credits_posted,
        posted.debit_account_previous_id,
        posted.credit_account_previous_id,
    )


def _copied(created: Sequence[Posted]) -> memoryview:
    """
    The transfers as PostgreSQL's COPY reads them: the length of every value before it.

    A view, because asyncpg would take bytes for a path, and reads a file in a thread.
    """
    pack = _COPY_ROW.pack
    rows = []
    for posted in created:
        t = posted.transfer
        # fmt: off
        rows.append(pack(
            19,
            16, t.id,
            16, t.debit_account_id,
            16, t.credit_account_id,
            8, t.amount,
            8, t.ledger,
            4, t.code,
            4, t.flags,
            16, t.pending_id,
            16, t.user_data_128,
            8, t.user_data_64,
            8, t.user_data_32,
            8, t.timeout,
            8, posted.timestamp,
            8, posted.debit_account_debits_posted,
            8, posted.debit_account_credits_posted,
            8, posted.credit_account_debits_posted,
            8, posted.credit_account_credits_posted,
            16, posted.debit_account_previous_id,
            16, posted.credit_account_previous_id,
        ))
        # fmt: on
    return memoryview(b"".join((_COPY_HEAD, *rows, _COPY_END)))


async def transfers(connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, Posted]:
    rows = await connection.fetch(f"{SELECT_TRANSFERS} WHERE id = ANY($1::uuid[])", list(wanted))
    return {row[0]: posted(row) for row in rows}


def posted(row: Sequence[object]) -> Posted:
    """The transfer behind a row of all columns."""
    return Posted(Transfer(*row[:_ASKED]), *row[_ASKED:])  # type: ignore[arg-type]


async def accounts(connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, Account]:
    rows = await connection.fetch(f"{SELECT_ACCOUNTS} WHERE id = ANY($1::uuid[])", list(wanted))
    return {row[0]: account(row) for row in rows}


def account(row: Sequence[object]) -> Account:
    """The account behind a row of all columns."""
    return Account(**dict(zip(_FIELDS, row, strict=True)))  # type: ignore[arg-type]


async def refused(connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, Refused]:
    query = "SELECT id, record FROM ledger.refused WHERE id = ANY($1::uuid[])"
    rows = await connection.fetch(query, list(wanted))
    return {id: encoding.decode_refused(record) for id, record in rows}


async def pendings(connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, Pending]:
    query = (
        "SELECT id, status, expires_at, resolved_at FROM ledger.pendings WHERE id = ANY($1::uuid[])"
    )
    rows = await connection.fetch(query, list(wanted))
    return {row[0]: Pending(row[0], PendingStatus(row[1]), row[2], row[3]) for row in rows}


async def account_transfers(
    connection: Connection, account_id: bytes, filter: AccountFilter
) -> list[Posted]:
    """See `Ledger.account_transfers`: one walk along the account's history, on the server."""
    assert filter.limit > 0
    if filter.before is None:
        query = "SELECT last_transfer_id FROM ledger.accounts WHERE id = $1"
        begin = await connection.fetchval(query, account_id)
    else:
        query = """
            SELECT CASE WHEN debit_account_id = $1
                THEN debit_account_previous_id ELSE credit_account_previous_id END
            FROM ledger.transfers WHERE id = $2 AND $1 IN (debit_account_id, credit_account_id)"""
        begin = await connection.fetchval(query, account_id, filter.before)
    if begin is None or begin == ids.ZERO:
        return []
    rows = await connection.fetch(
        _WALK, account_id, begin, filter.debits, filter.credits, list(filter.codes), filter.limit
    )
    return [posted(row) for row in rows]


async def changes(connection: Connection, after: int, limit: int) -> list[Change]:
    """
    What happened after this timestamp, oldest first, at most `limit`.

    What is committed once never changes but for totals, which no change shows, so this needs no
    snapshot.

    Raises:
        LedgerUnavailable: a row was deleted by somebody else.
    """
    page: list[Change] = []
    behind = after
    while len(page) < limit:
        batches = await batches_behind(connection, "last_timestamp", behind, 2 * limit)
        listed = [event for batch in batches for event in encoding.split_events(batch.events)]
        try:
            found = await _changes_of(connection, listed)
        except KeyError as error:
            raise LedgerUnavailable("a row is missing or damaged: run the check") from error
        page += [change for change in found if change.timestamp > after]
        if not batches:
            break
        behind = batches[-1].last_timestamp
    return page[:limit]


async def batches_behind(
    connection: Connection, column: str, place: int, events: int
) -> list[StoredBatch]:
    """The batches behind this place, in order: at least one, or about so many events."""
    assert column in ("sequence", "last_timestamp")
    # How long a value is, its row says; only what is returned is read.
    query = f"""
        SELECT sequence, first_timestamp, last_timestamp, events, hash FROM (
            SELECT *, sum(octet_length(events)) OVER (ORDER BY sequence) AS size FROM (
                SELECT * FROM ledger.batches WHERE {column} > $1 ORDER BY {column} LIMIT $2
            ) AS next
        ) AS measured
        WHERE size - octet_length(events) < $3 ORDER BY sequence"""  # noqa: S608
    size = events * encoding.EVENT_SIZE
    rows = await connection.fetch(query, place, BATCHES_AT_ONCE, size)
    return [StoredBatch(*row) for row in rows]


async def _changes_of(
    connection: Connection, listed: Sequence[tuple[bytes, bytes]]
) -> list[Change]:
    """What these events did, in order; a refusal is not a change."""
    by_kind: dict[bytes, list[bytes]] = {}
    for kind, id in listed:
        by_kind.setdefault(kind, []).append(id)
    expired = by_kind.get(encoding.EVENT_EXPIRED, [])
    moved = [
        *by_kind.get(encoding.EVENT_CHAIN_HEAD, ()),
        *by_kind.get(encoding.EVENT_CHAIN_REST, ()),
        *expired,
    ]
    made = [id for kind in encoding.ACCOUNT_KINDS for id in by_kind.get(kind, ())]
    transfers_found = await transfers(connection, moved) if moved else {}
    accounts_found = await accounts(connection, made) if made else {}
    pendings_found = await pendings(connection, expired) if expired else {}
    found: list[Change] = []
    chain: list[Posted] = []
    for kind, id in (*listed, (b"", b"")):
        if chain and kind != encoding.EVENT_CHAIN_REST:
            found.append(Change(chain[-1].timestamp, ChangeKind.CHAIN, tuple(chain)))
            chain = []
        if kind in (encoding.EVENT_CHAIN_HEAD, encoding.EVENT_CHAIN_REST):
            chain.append(transfers_found[id])
        elif kind == encoding.EVENT_EXPIRED:
            resolved_at = pendings_found[id].resolved_at
            found.append(Change(resolved_at, ChangeKind.EXPIRED, (transfers_found[id],)))
        elif kind in encoding.ACCOUNT_KINDS:
            account = encoding.as_created(accounts_found[id], kind)
            found.append(Change(account.timestamp, ChangeKind.ACCOUNT, account=account))
    return found


async def accounts_after(connection: Connection, account_id: bytes, limit: int) -> list[Account]:
    """The next accounts in the order of their ids."""
    query = f"{SELECT_ACCOUNTS} WHERE id > $1 ORDER BY id LIMIT $2"
    return [account(row) for row in await connection.fetch(query, account_id, limit)]
