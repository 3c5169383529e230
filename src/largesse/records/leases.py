"""
Leases: who of several processes does what one should do, and for how long.

A lease saves work and noise; it is no lock. Its holder may be slow and another may have it already,
so what is done under a lease must do no harm when it is done twice.
"""

import msgspec
import sqlalchemy as sa

from largesse.records.database import Database, insert
from largesse.records.tables import leases

NAME_LENGTH_MAX = 64
HOLDER_LENGTH_MAX = 100


class Held(msgspec.Struct, frozen=True):
    """Who holds a lease and until when, by the clock of the holder's host."""

    holder: str
    until: int


async def take(
    db: Database, name: str, holder: str, now: int, until: int, *, gone: Held | None = None
) -> bool:
    """
    Take a lease until an instant, or hold it for longer. False where somebody else has it.

    `holder` is another one for every start of a process, so that nobody inherits by accident. A
    lease that is still what `gone` says is over, whatever the clock of its holder said.
    """
    assert 0 < len(name) <= NAME_LENGTH_MAX
    assert 0 < len(holder) <= HOLDER_LENGTH_MAX
    assert now < until
    async with db.begin() as tx:
        statement = insert(tx, leases).values(name=name, holder=holder, until=until)
        taken = statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": holder, "until": until},
            where=sa.or_(leases.c.holder == holder, leases.c.until <= now, _is(gone)),
        )
        row = (await tx.execute(taken.returning(leases.c.name))).one_or_none()
    return row is not None


async def find(db: Database, name: str) -> Held | None:
    """Who holds this lease, also where its time is over."""
    statement = sa.select(leases.c.holder, leases.c.until).where(leases.c.name == name)
    async with db.connect() as tx:
        row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Held(*row)


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


def _is(held: Held | None) -> sa.ColumnElement[bool]:
    if held is None:
        return sa.false()
    return sa.and_(leases.c.holder == held.holder, leases.c.until == held.until)
