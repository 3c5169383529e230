"""
The row that orders the batches of all processes, and what a process learns from it.

Whoever holds the row's lock reads afterwards, in statements of their own: they see everything that
was committed before the lock was given.
"""

from collections.abc import Iterable

import msgspec

from largesse import ids
from largesse.ledger import encoding, postgres_rows
from largesse.ledger.model import Account, Posted, Refused
from largesse.ledger.postgres_server import Connection
from largesse.ledger.recent import first_id_to_come
from largesse.ledger.rules import Pending

CATCH_UP_BATCHES_MAX = 64
"""Whoever is further behind than that begins again with an empty memory."""
AHEAD_MAX = 10_000
"""Ids with a time still to come that are held in memory at start; past that the floor rises."""
_NEXT_EXPIRY = "SELECT min(expires_at) FROM ledger.pendings WHERE status = 1 AND expires_at > 0"


class Head(msgspec.Struct, frozen=True):
    """The newest batch: its place, its hash, and the newest timestamp given."""

    sequence: int
    hash: bytes
    last_timestamp: int


class Since(msgspec.Struct, frozen=True):
    """
    What others did after a batch: ids now known; accounts changed, None where nobody noted them; and
    when the first pending transfer runs out now.
    """

    known: list[bytes]
    touched: list[bytes] | None
    next_expiry: int | None


class Loaded(msgspec.Struct, frozen=True):
    """What the database knows of the ids it was asked for."""

    transfers: dict[bytes, Posted] = {}
    refused: dict[bytes, Refused] = {}
    pendings: dict[bytes, Pending] = {}
    accounts: dict[bytes, Account] = {}


async def read(connection: Connection) -> Head:
    """The head as it is now."""
    row = await connection.fetchrow("SELECT sequence, hash, last_timestamp FROM ledger.head")
    return Head(*row)


async def lock(connection: Connection) -> Head:
    """The head, which nobody else moves until this transaction ends."""
    row = await connection.fetchrow(
        "SELECT sequence, hash, last_timestamp FROM ledger.head FOR UPDATE"
    )
    return Head(*row)


async def has(connection: Connection, sequence: int, hash: bytes, writer: bytes) -> bool:
    """Whether this batch of this process was committed."""
    query = "SELECT 1 FROM ledger.batches WHERE sequence = $1 AND hash = $2 AND writer = $3"
    return await connection.fetchval(query, sequence, hash, writer) is not None


async def since(connection: Connection, sequence: int, hash: bytes) -> Since | None:
    """
    What was written after this batch; None where it is too much, or where it is not there.

    It is not there after a restore of an older backup, for example.
    """
    rows = await connection.fetch(
        f"SELECT sequence, hash, events, touched, ({_NEXT_EXPIRY}) FROM ledger.batches"  # noqa: S608
        " WHERE sequence >= $1 ORDER BY sequence LIMIT $2",
        max(sequence, 1),
        CATCH_UP_BATCHES_MAX + 1,
    )
    if not rows or len(rows) > CATCH_UP_BATCHES_MAX or tuple(rows[0][:2]) != (sequence, hash):
        return None
    known: list[bytes] = []
    touched: list[bytes] = []
    all_noted = True
    for _, _, events, changed, _ in rows[1:]:
        # Accounts' ids among them do no harm: an id held as known is looked up, no more.
        known += [id for _, id in encoding.split_events(events)]
        all_noted = all_noted and changed is not None
        if all_noted:
            touched += [changed[n : n + ids.SIZE] for n in range(0, len(changed), ids.SIZE)]
    return Since(known, touched if all_noted else None, rows[0][4])


async def known_ids(connection: Connection, now: int) -> tuple[bytes, list[bytes]]:
    """The floor, and all ids above it that are known: those with a time still to come."""
    to_come = first_id_to_come(now).ljust(ids.SIZE, b"\0")
    ahead: list[bytes] = []
    floor = ids.ZERO
    for table in ("transfers", "refused"):
        listed = await connection.fetch(
            f"SELECT id FROM ledger.{table} WHERE id >= $1 ORDER BY id LIMIT $2",  # noqa: S608
            to_come,
            AHEAD_MAX + 1,
        )
        many = len(listed) > AHEAD_MAX
        ahead += [] if many else [row[0] for row in listed]
        highest = await connection.fetchval(
            f"SELECT id FROM ledger.{table} WHERE id < $1 ORDER BY id DESC LIMIT 1",  # noqa: S608
            ids.MAXIMUM if many else to_come,
        )
        floor = max(floor, highest or ids.ZERO)
    return floor, ahead


async def next_expiry(connection: Connection) -> int | None:
    """When the first of the open pending transfers runs out, None where none ever does."""
    moment: int | None = await connection.fetchval(_NEXT_EXPIRY)
    return moment


async def due(connection: Connection, now: int, limit: int) -> list[bytes]:
    """The pending transfers whose time has come, oldest first, at most `limit`."""
    rows = await connection.fetch(
        "SELECT id FROM ledger.pendings WHERE status = 1 AND expires_at > 0 AND expires_at <= $1"
        " ORDER BY expires_at, id LIMIT $2",
        now,
        limit,
    )
    return [row[0] for row in rows]


async def load(
    connection: Connection, transfer_ids: Iterable[bytes], account_ids: Iterable[bytes]
) -> Loaded:
    """Read what a batch needs; a pending transfer brings its two accounts along."""
    wanted = list(transfer_ids)
    wanted_accounts = set(account_ids)
    loaded = Loaded()
    if wanted:
        loaded = Loaded(
            await postgres_rows.transfers(connection, wanted),
            await postgres_rows.refused(connection, wanted),
            await postgres_rows.pendings(connection, wanted),
        )
    for posted in loaded.transfers.values():
        wanted_accounts.add(posted.transfer.debit_account_id)
        wanted_accounts.add(posted.transfer.credit_account_id)
    if wanted_accounts:
        found = await postgres_rows.accounts(connection, wanted_accounts)
        loaded = msgspec.structs.replace(loaded, accounts=found)
    return loaded
