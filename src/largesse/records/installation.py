"""The installation: the one row that every host of it must agree with, written by the first."""

import msgspec
import sqlalchemy as sa

from largesse.records.database import Database, insert
from largesse.records.tables import columns, installation


class Installation(msgspec.Struct, frozen=True):
    """
    Which installation these records belong to.

    `environment` is live or test; `secret_fingerprint` is 32 bytes that tell one web secret from
    another and do not give it away.
    """

    id: str
    environment: str
    created_at: int
    secret_fingerprint: bytes


_COLUMNS = columns(installation, Installation)


async def read(db: Database) -> Installation | None:
    """The installation; None before its first start."""
    async with db.connect() as tx:
        row = (await tx.execute(sa.select(*_COLUMNS))).one_or_none()
    return None if row is None else Installation(*row)


async def write_once(db: Database, wanted: Installation) -> Installation:
    """Write the installation down, unless it is; the one that is there, whoever wrote it."""
    async with db.begin() as tx:
        statement = insert(tx, installation).values(one=1, **msgspec.structs.asdict(wanted))
        await tx.execute(statement.on_conflict_do_nothing())
        row = (await tx.execute(sa.select(*_COLUMNS))).one()
    return Installation(*row)


async def replace_fingerprint(db: Database, fingerprint: bytes) -> None:
    """From now on the installation's web secret is the one with this fingerprint."""
    async with db.begin() as tx:
        await tx.execute(installation.update().values(secret_fingerprint=fingerprint))
