"""
What creators received, added up from the feed of gifts: in all, by item, room, gifter, day, minute.

Each is one statement over a stretch of the feed. Like the feed itself these trail the ledger.
"""

from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from largesse.clock import DAY, MINUTE
from largesse.records.database import Database
from largesse.records.tables import added_up, gifts

By = Literal["item", "room", "gifter"]

_KEYS: dict[str, sa.ColumnElement[Any]] = {
    "item": gifts.c.item_number,
    "room": gifts.c.room_id,
    "gifter": gifts.c.viewer_id,
}


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Which gifts: of a creator, of one room or all, from `since` to before `until` (0: no end)."""

    creator_id: str
    room_id: str | None = None
    since: int = 0
    until: int = 0


class Received(msgspec.Struct, frozen=True):
    """What it comes to; `gifters` is how many people gave."""

    gifts: int
    items: int
    coins: int
    diamond_units: int
    gifters: int


class Part(msgspec.Struct, frozen=True):
    """What one item (by its number), room or gifter (by id), day or minute (by its start) brought."""

    key: Any
    gifts: int
    items: int
    coins: int
    diamond_units: int


_SUMS = (
    sa.func.count(),
    sa.func.coalesce(added_up(gifts.c.quantity), 0),
    sa.func.coalesce(added_up(gifts.c.coins), 0),
    sa.func.coalesce(added_up(gifts.c.diamond_units), 0),
)


async def total(db: Database, stretch: Stretch) -> Received:
    """All of it."""
    statement = sa.select(*_SUMS, sa.func.count(gifts.c.viewer_id.distinct())).where(
        *_conditions(stretch)
    )
    async with db.connect() as tx:
        row = (await tx.execute(statement)).one()
    return Received(*(int(each) for each in row))


async def parts(db: Database, stretch: Stretch, by: By, *, limit: int) -> list[Part]:
    """By item, room or gifter: those that brought most first."""
    key = _KEYS[by]
    coins = added_up(gifts.c.coins)
    statement = (
        sa.select(key, *_SUMS)
        .where(*_conditions(stretch))
        .group_by(key)
        .order_by(coins.desc(), sa.func.max(gifts.c.timestamp))
        .limit(limit)
    )
    async with db.connect() as tx:
        return [Part(*row) for row in await tx.execute(statement)]


async def days(db: Database, stretch: Stretch) -> list[Part]:
    """By day (UTC), oldest first; a day without a gift is left out."""
    start = gifts.c.timestamp // DAY
    statement = sa.select(start, *_SUMS).where(*_conditions(stretch)).group_by(start)
    async with db.connect() as tx:
        rows = (await tx.execute(statement.order_by(start))).all()
    return [Part(row[0] * DAY, *row[1:]) for row in rows]


async def best_minute(db: Database, stretch: Stretch) -> Part | None:
    """The minute that brought most coins, of equals the first; None where nothing came."""
    start = gifts.c.timestamp // MINUTE
    coins = added_up(gifts.c.coins)
    statement = (
        sa.select(start, *_SUMS)
        .where(*_conditions(stretch))
        .group_by(start)
        .order_by(coins.desc(), start)
        .limit(1)
    )
    async with db.connect() as tx:
        row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Part(row[0] * MINUTE, *row[1:])


def _conditions(stretch: Stretch) -> list[sa.ColumnElement[bool]]:
    found = [gifts.c.creator_id == stretch.creator_id]
    if stretch.room_id is not None:
        found.append(gifts.c.room_id == stretch.room_id)
    if stretch.since:
        found.append(gifts.c.timestamp >= stretch.since)
    if stretch.until:
        found.append(gifts.c.timestamp < stretch.until)
    return found
