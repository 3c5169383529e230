"""Keys that only show a creator's rooms, by the SHA-256 of the key; a key itself is never kept."""

import msgspec
import sqlalchemy as sa

from largesse.errors import Rejected
from largesse.records.database import Database, lock
from largesse.records.tables import columns, display_keys

NAME_LENGTH_MAX = 50
KEYS_PER_CREATOR_MAX = 20


class DisplayKey(msgspec.Struct, frozen=True):
    """A key with which a program shows what happens in the rooms of this creator, and no more."""

    id: str
    creator_id: str
    name: str
    created_at: int


_COLUMNS = columns(display_keys, DisplayKey)


async def insert(db: Database, key: DisplayKey, *, key_hash: bytes) -> DisplayKey:
    """
    Keep a new key.

    Raises:
        Rejected: display_keys_too_many.
    """
    assert len(key.name) <= NAME_LENGTH_MAX
    count = sa.select(sa.func.count()).where(display_keys.c.creator_id == key.creator_id)
    async with db.begin() as tx:
        await lock(tx, "display_keys", key.creator_id)
        if (await tx.execute(count)).scalar_one() >= KEYS_PER_CREATOR_MAX:
            raise Rejected("display_keys_too_many", maximum=KEYS_PER_CREATOR_MAX)
        row = msgspec.structs.asdict(key) | {"key_hash": key_hash}
        await tx.execute(display_keys.insert().values(row))
    return key


async def find(db: Database, key_hash: bytes) -> DisplayKey | None:
    """The key with this hash."""
    statement = sa.select(*_COLUMNS).where(display_keys.c.key_hash == key_hash)
    async with db.connect() as tx:
        row = (await tx.execute(statement)).one_or_none()
    return None if row is None else DisplayKey(*row)


async def list_keys(db: Database, creator_id: str) -> list[DisplayKey]:
    """The keys of a creator, the newest first."""
    statement = (
        sa.select(*_COLUMNS)
        .where(display_keys.c.creator_id == creator_id)
        .order_by(display_keys.c.created_at.desc(), display_keys.c.id.desc())
    )
    async with db.connect() as tx:
        return [DisplayKey(*row) for row in await tx.execute(statement)]


async def delete(db: Database, creator_id: str, key_id: str) -> bool:
    """Take a key back; False where this creator has no such key."""
    statement = display_keys.delete().where(
        display_keys.c.id == key_id, display_keys.c.creator_id == creator_id
    )
    async with db.begin() as tx:
        return (await tx.execute(statement)).rowcount == 1
