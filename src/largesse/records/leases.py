"""
Leases: who of several processes does what one should do, and for how long.

A lease saves work and noise; it is no lock. Its holder may be slow and another may have it already,
so what is done under a lease must do no harm when it is done twice.
"""

import sqlalchemy as sa

from largesse.records.database import Database, insert
from largesse.records.tables import leases

NAME_LENGTH_MAX = 64
HOLDER_LENGTH_MAX = 100


async def take(db: Database, name: str, holder: str, now: int, until: int) -> bool:
    """
    Take a lease until an instant, or hold it for longer. False where somebody else has it.

    `holder` is another one for every start of a process, so that nobody inherits by accident.
    """
    assert 0 < len(name) <= NAME_LENGTH_MAX
    assert 0 < len(holder) <= HOLDER_LENGTH_MAX
    assert now < until
    async with db.begin() as tx:
        statement = insert(tx, leases).values(name=name, holder=holder, until=until)
        taken = statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": holder, "until": until},
            where=sa.or_(leases.c.holder == holder, leases.c.until <= now),
        )
        row = (await tx.execute(taken.returning(leases.c.name))).one_or_none()
    return row is not None


async def let_go(db: Database, name: str, holder: str) -> None:
    """Give a lease back before its time; one that somebody else has by now stays theirs."""
    statement = leases.delete().where(leases.c.name == name, leases.c.holder == holder)
    async with db.begin() as tx:
        await tx.execute(statement)


async def holders(db: Database, now: int) -> dict[str, str]:
    """Who holds each lease that is held, by its name."""
    statement = sa.select(leases.c.name, leases.c.holder).where(leases.c.until > now)
    async with db.connect() as tx:
        rows = await tx.execute(statement)
        return {row.name: row.holder for row in rows}
