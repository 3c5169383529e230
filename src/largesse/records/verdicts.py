"""What the last check of the books said, for the processes that did not check themselves."""

import sqlalchemy as sa

from largesse.records.database import Database, insert
from largesse.records.tables import verdict


async def write(db: Database, body: bytes) -> None:
    """Keep this verdict in the place of the last one."""
    async with db.begin() as tx:
        statement = insert(tx, verdict).values(one=1, body=body)
        await tx.execute(
            statement.on_conflict_do_update(index_elements=["one"], set_={"body": body})
        )


async def read(db: Database) -> bytes | None:
    """The last verdict that was kept; None before the first."""
    async with db.connect() as tx:
        found = (await tx.execute(sa.select(verdict.c.body))).scalar_one_or_none()
    return None if found is None else bytes(found)
