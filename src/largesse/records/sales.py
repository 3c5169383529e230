"""
What the whole installation sold and gave, in steps of time: for the operator's drawings.

An order counts in the step in which it was placed, once it is credited, and goes on counting when
it is refunded or disputed; what has happened to the money is the ledger's to say.
"""

import msgspec
import sqlalchemy as sa

from largesse.records.database import Database
from largesse.records.tables import added_up, gifts, orders

SOLD_STATUSES = ("credited", "refunded", "disputed")


class Sold(msgspec.Struct, frozen=True):
    """Orders by one provider in one currency in a step: `amount` in its minor unit."""

    start: int
    provider: str
    currency: str
    orders: int
    amount: int
    coins: int


class Given(msgspec.Struct, frozen=True):
    """Gifts in a step."""

    start: int
    gifts: int
    coins: int
    diamond_units: int


async def sold(db: Database, *, since: int, step: int) -> list[Sold]:
    """Orders placed since an instant, by steps of so many nanoseconds, oldest first."""
    start = orders.c.created_at // step
    keys = (start, orders.c.provider, orders.c.currency)
    statement = (
        sa.select(*keys, sa.func.count(), added_up(orders.c.amount), added_up(orders.c.coins))
        .where(orders.c.created_at >= since, orders.c.status.in_(SOLD_STATUSES))
        .group_by(*keys)
        .order_by(*keys)
    )
    async with db.connect() as tx:
        rows = (await tx.execute(statement)).all()
    return [Sold(row[0] * step, *row[1:]) for row in rows]


async def given(db: Database, *, since: int, step: int) -> list[Given]:
    """Gifts since an instant, by steps of so many nanoseconds, oldest first."""
    start = gifts.c.timestamp // step
    statement = (
        sa.select(
            start,
            sa.func.count(),
            added_up(gifts.c.coins),
            added_up(gifts.c.diamond_units),
        )
        .where(gifts.c.timestamp >= since)
        .group_by(start)
        .order_by(start)
    )
    async with db.connect() as tx:
        rows = (await tx.execute(statement)).all()
    return [Given(row[0] * step, *row[1:]) for row in rows]
