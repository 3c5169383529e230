"""Every price list that was ever in force, by version: what an order or a gift was quoted from."""

from hashlib import sha256

import msgspec
import sqlalchemy as sa

from largesse.records.database import Database, lock
from largesse.records.tables import columns, price_lists


class PriceList(msgspec.Struct, frozen=True):
    """One version of the catalogue: its canonical bytes and since when it has been known."""

    version: int
    content: bytes
    since: int


async def current_version(db: Database, content: bytes, now: int) -> int:
    """The version of this content; content never seen before becomes the next version."""
    digest = sha256(content).digest()
    known = sa.select(price_lists.c.version).where(price_lists.c.hash == digest)
    async with db.connect() as tx:
        version = (await tx.execute(known)).scalar_one_or_none()
    if version is not None:
        return int(version)
    async with db.begin() as tx:
        await lock(tx, "price_lists")
        version = (await tx.execute(known)).scalar_one_or_none()
        if version is None:
            last = await tx.execute(sa.select(sa.func.max(price_lists.c.version)))
            version = (last.scalar_one() or 0) + 1
            await tx.execute(
                price_lists.insert().values(
                    version=version, hash=digest, content=content, since=now
                )
            )
    return int(version)


async def find(db: Database, version: int) -> PriceList | None:
    """The price list with this version."""
    statement = sa.select(*columns(price_lists, PriceList)).where(price_lists.c.version == version)
    async with db.connect() as tx:
        row = (await tx.execute(statement)).one_or_none()
    return None if row is None else PriceList(*row)


async def latest(db: Database, *, limit: int) -> list[PriceList]:
    """The newest versions, newest first."""
    statement = (
        sa.select(*columns(price_lists, PriceList))
        .order_by(price_lists.c.version.desc())
        .limit(limit)
    )
    async with db.connect() as tx:
        return [PriceList(*row) for row in await tx.execute(statement)]
