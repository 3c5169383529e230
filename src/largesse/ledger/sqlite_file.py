"""What the SQLite engine's threads do with the file: one statement writes a batch, the rest reads."""

import contextlib
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import msgspec

from largesse import ids
from largesse.errors import Rejected
from largesse.ledger import LedgerUnavailable, encoding
from largesse.ledger.deciding import Batch
from largesse.ledger.model import Account, Change, ChangeKind, Posted, Refused
from largesse.ledger.recent import first_id_to_come
from largesse.ledger.rules import Pending, PendingStatus

Connection = sqlite3.Connection

APPLICATION_ID = 0x4C415247
"""`LARG` in the file's header: what tells our file from any other."""
COPYING_ID = 0x4C415243
"""`LARC` in its place while a copy into the file is not finished."""
COPYING_ID = 0x4C415243
"""`LARC`: a ledger is being copied into this file, so no engine may open it yet."""
FORMAT = 2
FORMAT_WITH_STANDING = 2
"""Before, every account row was written with the batch that touched it."""
LOG_PAGES = 1_000
"""Pages of the log that are taken over into the file at once, about 4 MiB, while everybody waits."""
AHEAD_MAX = 10_000
"""Ids with a time still to come that are held in memory at start; past that the floor rises."""
_CHUNK = 500
"""Ids in one SELECT, far below SQLite's limit on parameters."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Where the engine goes on from. Every known id above `floor` is in `ahead`."""

    sequence: int = 0
    hash: bytes = bytes(32)
    last_timestamp: int = 0
    floor: bytes = ids.ZERO
    ahead: list[bytes] = []
    expiries: list[tuple[int, bytes]] = []


class Loaded(msgspec.Struct, frozen=True):
    """What the file knows of the ids it was asked for."""

    transfers: dict[bytes, Posted] = {}
    refused: dict[bytes, Refused] = {}
    pendings: dict[bytes, Pending] = {}
    accounts: dict[bytes, Account] = {}


def connect_writer(path: Path, *, copying: bool = False) -> Connection:
    """
    Open the file for writing, and lay it out where it is new.

    Only `copying` opens one that a copy was begun into and is not finished.

    Raises:
        Rejected: ledger_not_ours, ledger_newer, ledger_copy_unfinished.
        sqlite3.Error: it cannot be opened or written.
    """
    db = sqlite3.connect(path, isolation_level=None, cached_statements=64)
    try:
        check_format(db, path, copying=copying)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        db.execute("PRAGMA cache_size = -65536")
        _lay_out(db)
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(path: Path) -> Connection:
    """Open the file for reading beside the writer; it sees what is committed."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.execute("PRAGMA query_only = ON")
    return db


def check_format(db: Connection, path: Path, *, copying: bool = False) -> None:
    """
    Let pass what is a ledger that this version knows, or an empty file.

    Raises:
        Rejected: ledger_not_ours, ledger_newer, ledger_copy_unfinished.
    """
    try:
        application_id = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise Rejected("ledger_not_ours", file=path.name) from error
    if application_id == COPYING_ID:
        if not copying:
            raise Rejected("ledger_copy_unfinished", file=path.name)
    elif application_id != APPLICATION_ID and (tables or application_id or version):
        raise Rejected("ledger_not_ours", file=path.name)
    if version > FORMAT:
        raise Rejected("ledger_newer", file=path.name, format=version, known=FORMAT)


def _lay_out(db: Connection) -> None:
    """Make what a file of this format has and this one has not yet, in one transaction."""
    [version] = db.execute("PRAGMA user_version").fetchone()
    if version == FORMAT:
        return
    ours = f"PRAGMA application_id = {APPLICATION_ID};"
    steps = [_script("sqlite.sql") + views() + ours, _script("sqlite_2.sql")]
    db.executescript(
        f"BEGIN IMMEDIATE; {''.join(steps[version:])} PRAGMA user_version = {FORMAT}; COMMIT;"
    )


def _script(name: str) -> str:
    script = files("largesse.ledger").joinpath(name).read_text()
    script = script.replace("{transfer_size}", str(encoding.TRANSFER_SIZE))
    script = script.replace("{rows_max}", str(encoding.ROWS_MAX))
    return script.replace("{account_size}", str(encoding.ACCOUNT_SIZE))


def views() -> str:
    """Views that show the records as columns: ids as hex digits, numbers as numbers."""
    transfer = _columns(
        "debit_account_id:16x credit_account_id:16x amount:8 pending_id:16x user_data_128:16x"
        " user_data_64:8 user_data_32:4 timeout:4 ledger:4 code:2 flags:2 timestamp:8"
        " debit_account_debits_posted:8 debit_account_credits_posted:8"
        " credit_account_debits_posted:8 credit_account_credits_posted:8"
        " debit_account_previous_id:16x credit_account_previous_id:16x"
    )
    account = _columns(
        "ledger:4 code:2 flags:2 user_data_128:16x user_data_64:8 user_data_32:4 timestamp:8"
        " debits_pending:8 debits_posted:8 credits_pending:8 credits_posted:8 last_transfer_id:16x"
    )
    return (
        f"CREATE VIEW transfer AS SELECT lower(hex(id)) AS id, {transfer} FROM transfers;"  # noqa: S608
        f"CREATE VIEW account AS SELECT lower(hex(id)) AS id, {account} FROM accounts;"
        "CREATE VIEW batch AS SELECT sequence, first_timestamp, last_timestamp,"
        f" length(events) / {encoding.EVENT_SIZE} AS events, lower(hex(hash)) AS hash FROM batches;"
    )


def _columns(layout: str) -> str:
    columns, offset = [], 1
    for field in layout.split():
        name, size = field.split(":")
        width = int(size.rstrip("x"))
        digits = f"hex(substr(record, {offset}, {width}))"
        if size.endswith("x"):
            value = f"lower({digits})"
        else:
            value = " + ".join(
                f"((instr('0123456789ABCDEF', substr({digits}, {n + 1}, 1)) - 1)"
                f" << {4 * (2 * width - 1 - n)})"
                for n in range(2 * width)
            )
        columns.append(f"{value} AS {name}")
        offset += width
    return ", ".join(columns)


def start(db: Connection, now: int) -> Start:
    """Read where the engine goes on from."""
    row = db.execute(
        "SELECT sequence, hash, last_timestamp FROM batches ORDER BY sequence DESC LIMIT 1"
    ).fetchone()
    sequence, hash, last_timestamp = row or (0, bytes(32), 0)
    to_come = first_id_to_come(now)
    ahead: list[bytes] = []
    floor = ids.ZERO
    for table in ("transfers", "refused"):
        listed = db.execute(
            f"SELECT id FROM {table} WHERE id >= ? LIMIT ?",  # noqa: S608
            (to_come, AHEAD_MAX + 1),
        ).fetchall()
        many = len(listed) > AHEAD_MAX
        ahead += [] if many else [id for (id,) in listed]
        [highest] = db.execute(
            f"SELECT max(id) FROM {table} WHERE id < ?",  # noqa: S608
            (ids.MAXIMUM if many else to_come,),
        ).fetchone()
        floor = max(floor, highest or ids.ZERO)
    return Start(
        sequence=sequence,
        hash=hash,
        last_timestamp=last_timestamp,
        floor=floor,
        ahead=ahead,
        expiries=[
            (expires_at, id)
            for expires_at, id in db.execute(
                "SELECT expires_at, id FROM pendings WHERE status = 1 AND expires_at > 0"
                " ORDER BY expires_at, id"
            )
        ],
    )


def write(db: Connection, batch: Batch, accounts: list[bytes], *, is_whole: bool) -> None:
    """
    Write the batch and these account rows, durably and in one transaction, or nothing of it.

    `is_whole` says that with them every account's row is as the newest batch leaves it; otherwise
    they are of the accounts whose turn it is (`sqlite_accounts`).
    """
    at_once = accounts[: encoding.ROWS_MAX]
    aside = bool(batch.refused or batch.pendings or is_whole)
    with _transaction(db) if aside else contextlib.nullcontext():
        if aside:
            db.executemany("INSERT INTO refused (id, record) VALUES (?, ?)", batch.refused)
            db.executemany(
                "INSERT OR REPLACE INTO pendings (id, status, expires_at, resolved_at)"
                " VALUES (?, ?, ?, ?)",
                [
                    (p.transfer_id, int(p.status), p.expires_at, p.resolved_at)
                    for p in batch.pendings
                ],
            )
        db.execute(
            "INSERT INTO incoming_batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                batch.sequence,
                batch.first_timestamp,
                batch.last_timestamp,
                batch.events,
                batch.hash,
                batch.transfers,
                len(batch.transfers) // encoding.TRANSFER_SIZE,
                b"".join(at_once),
                len(at_once),
            ),
        )
        if is_whole:
            _write_accounts(db, accounts[len(at_once) :])
        else:
            assert len(at_once) == len(accounts)


def write_accounts(db: Connection, accounts: list[bytes]) -> None:
    """Write all the account rows that are behind the newest batch, so that none is any more."""
    with _transaction(db):
        _write_accounts(db, accounts)


def _write_accounts(db: Connection, accounts: list[bytes]) -> None:
    size = ids.SIZE
    db.executemany(
        "INSERT OR REPLACE INTO accounts (id, record) VALUES (?, ?)",
        [(row[:size], row[size:]) for row in sorted(accounts)],
    )
    db.execute("UPDATE standing SET whole_sequence = sequence, whole_hash = hash")


@contextlib.contextmanager
def _transaction(db: Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def load(db: Connection, transfer_ids: Iterable[bytes], account_ids: Iterable[bytes]) -> Loaded:
    """Read what a batch needs; a pending transfer brings its two accounts along."""
    wanted = list(transfer_ids)
    transfers = dict(transfer_rows(db, wanted))
    accounts = set(account_ids)
    for posted in transfers.values():
        accounts.add(posted.transfer.debit_account_id)
        accounts.add(posted.transfer.credit_account_id)
    return Loaded(
        transfers,
        {id: encoding.decode_refused(record) for id, record in rows(db, "refused", wanted)},
        dict(pending_rows(db, transfers)),
        dict(account_rows(db, list(accounts))),
    )


def find_transfers(db: Connection, transfer_ids: list[bytes]) -> list[Posted | None]:
    found = dict(transfer_rows(db, transfer_ids))
    return [found.get(id) for id in transfer_ids]


def find_accounts(db: Connection, account_ids: list[bytes]) -> list[Account | None]:
    found = dict(account_rows(db, account_ids))
    return [found.get(id) for id in account_ids]


def find_refused(db: Connection, transfer_ids: list[bytes]) -> list[Refused | None]:
    found = {
        id: encoding.decode_refused(record) for id, record in rows(db, "refused", transfer_ids)
    }
    return [found.get(id) for id in transfer_ids]


def changes(db: Connection, after: int, limit: int) -> list[Change]:
    """
    What happened after this timestamp, oldest first, at most `limit`.

    Raises:
        LedgerUnavailable: a row was deleted or cut short by somebody else.
    """
    assert limit > 0
    page: list[Change] = []
    with snapshot(db):
        batches = db.execute(
            "SELECT events FROM batches WHERE last_timestamp > ? ORDER BY last_timestamp", (after,)
        )
        for (events,) in batches:
            try:
                page.extend(c for c in batch_changes(db, events) if c.timestamp > after)
            except (KeyError, struct.error) as error:
                raise LedgerUnavailable("a row is missing or damaged: run the check") from error
            if len(page) >= limit:
                break
    return page[:limit]


def batch_changes(db: Connection, events: bytes) -> Iterator[Change]:
    """What one batch did, in order; a refusal is not a change."""
    listed = encoding.split_events(events)
    transfer_kinds = (
        encoding.EVENT_CHAIN_HEAD, encoding.EVENT_CHAIN_REST, encoding.EVENT_EXPIRED
    )  # fmt: skip
    transfers = dict(transfer_rows(db, [id for k, id in listed if k in transfer_kinds]))
    accounts = dict(account_rows(db, [id for k, id in listed if k in encoding.ACCOUNT_KINDS]))
    pendings = dict(pending_rows(db, [id for k, id in listed if k == encoding.EVENT_EXPIRED]))
    chain: list[Posted] = []
    for kind, id in listed:
        if chain and kind != encoding.EVENT_CHAIN_REST:
            yield Change(chain[-1].timestamp, ChangeKind.CHAIN, tuple(chain))
            chain = []
        if kind in (encoding.EVENT_CHAIN_HEAD, encoding.EVENT_CHAIN_REST):
            chain.append(transfers[id])
        elif kind == encoding.EVENT_EXPIRED:
            yield Change(pendings[id].resolved_at, ChangeKind.EXPIRED, (transfers[id],))
        elif kind in encoding.ACCOUNT_KINDS:
            account = encoding.as_created(accounts[id], kind)
            yield Change(account.timestamp, ChangeKind.ACCOUNT, account=account)
    if chain:
        yield Change(chain[-1].timestamp, ChangeKind.CHAIN, tuple(chain))


@contextlib.contextmanager
def snapshot(db: Connection) -> Iterator[None]:
    """Everything read inside is of one moment."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def rows(db: Connection, table: str, wanted: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for begin in range(0, len(wanted), _CHUNK):
        chunk = wanted[begin : begin + _CHUNK]
        marks = ",".join("?" * len(chunk))
        yield from db.execute(
            f"SELECT id, record FROM {table} WHERE id IN ({marks})",  # noqa: S608
            chunk,
        )


def transfer_rows(db: Connection, wanted: Sequence[bytes]) -> Iterator[tuple[bytes, Posted]]:
    return ((id, encoding.decode_posted(id, row)) for id, row in rows(db, "transfers", wanted))


def account_rows(db: Connection, wanted: Sequence[bytes]) -> Iterator[tuple[bytes, Account]]:
    return ((id, encoding.decode_account(id, row)) for id, row in rows(db, "accounts", wanted))


def pending_rows(db: Connection, wanted: Iterable[bytes]) -> Iterator[tuple[bytes, Pending]]:
    for transfer_id in wanted:
        row = db.execute(
            "SELECT status, expires_at, resolved_at FROM pendings WHERE id = ?", (transfer_id,)
        ).fetchone()
        if row is not None:
            yield transfer_id, Pending(transfer_id, PendingStatus(row[0]), row[1], row[2])
