"""Orders: what a viewer asked to buy, at which price, and how far it has come."""

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from largesse.records.database import Database, insert
from largesse.records.tables import columns, orders

STATUSES = ("created", "pending", "paid", "credited", "failed", "refunded", "disputed")
UNFINISHED_STATUSES = ("created", "pending", "paid")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """
    One order of one package, at the price it was quoted.

    `amount` is what the viewer pays, `tax` the part of it that is tax, both in the minor unit of
    `currency`. `environment` is live or test. `payment_id` and `checkout_url` are the provider's,
    once it was asked; `failure` is why a failed order failed.
    """

    id: str
    viewer_id: str
    environment: str
    provider: str
    channel: str
    country: str
    package_id: str
    coins: int
    bonus_coins: int
    amount: int
    currency: str
    tax: int
    price_list_version: int
    status: str
    payment_id: str | None = None
    checkout_url: str | None = None
    failure: str | None = None
    created_at: int
    updated_at: int


_FIELDS = Order.__struct_fields__
_COLUMNS = columns(orders, Order)


async def insert_or_get(db: Database, order: Order) -> Order:
    """Keep a new order, or give the one that is there under its id, whatever it says."""
    assert order.status in STATUSES
    async with db.begin() as tx:
        statement = insert(tx, orders).values(msgspec.structs.asdict(order))
        await tx.execute(statement.on_conflict_do_nothing(index_elements=["id"]))
        row = await tx.execute(sa.select(*_COLUMNS).where(orders.c.id == order.id))
        return _order(row.one())


async def find(db: Database, order_id: str) -> Order | None:
    """The order with this id."""
    return await _find(db, orders.c.id == order_id)


async def find_by_payment(
    db: Database, provider: str, environment: str, payment_id: str
) -> Order | None:
    """The order that a provider's payment is for."""
    return await _find(
        db,
        sa.and_(
            orders.c.provider == provider,
            orders.c.environment == environment,
            orders.c.payment_id == payment_id,
        ),
    )


async def update(
    db: Database, order_id: str, *, expected_statuses: Collection[str], **changes: Any
) -> Order | None:
    """
    Change an order whose status is one of those expected; None where it is not (any more).

    `changes` are fields of `Order`; say `updated_at` whenever the status changes.
    """
    assert set(expected_statuses) <= set(STATUSES)
    assert changes.get("status", "created") in STATUSES
    assert not {"id", "viewer_id", "environment", "created_at"} & set(changes)
    statement = (
        orders.update()
        .where(orders.c.id == order_id, orders.c.status.in_(list(expected_statuses)))
        .values(changes)
        .returning(*_COLUMNS)
    )
    async with db.begin() as tx:
        row = (await tx.execute(statement)).one_or_none()
    return None if row is None else _order(row)


async def of_viewer(
    db: Database, viewer_id: str, *, before: tuple[int, str] | None = None, limit: int
) -> list[Order]:
    """A viewer's orders, newest first."""
    return await _page(db, orders.c.viewer_id == viewer_id, before, limit)


async def recent(
    db: Database,
    *,
    status: str | None = None,
    before: tuple[int, str] | None = None,
    limit: int,
) -> list[Order]:
    """Everybody's orders, newest first; of one status, where it is given."""
    condition = sa.true() if status is None else orders.c.status == status
    return await _page(db, condition, before, limit)


async def claim_unfinished(db: Database, older_than: int, now: int, limit: int) -> list[Order]:
    """
    Orders on which nothing has happened since an instant though they are not at an end, the oldest
    first; they count as looked at now, so that nobody else is given them and others come first.

    Whoever claims them and dies leaves them to be found again when they are as old once more.
    """
    assert older_than <= now
    idle = (
        sa.select(*_COLUMNS)
        .where(orders.c.status.in_(UNFINISHED_STATUSES), orders.c.updated_at < older_than)
        .order_by(orders.c.updated_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    async with db.begin() as tx:
        found = [_order(row) for row in await tx.execute(idle)]
        if found:
            claimed = orders.update().where(orders.c.id.in_([order.id for order in found]))
            await tx.execute(claimed.values(updated_at=now))
    return found


async def _find(db: Database, condition: sa.ColumnElement[bool]) -> Order | None:
    async with db.connect() as tx:
        row = (await tx.execute(sa.select(*_COLUMNS).where(condition))).one_or_none()
    return None if row is None else _order(row)


async def _page(
    db: Database,
    condition: sa.ColumnElement[bool],
    before: tuple[int, str] | None,
    limit: int,
) -> list[Order]:
    statement = (
        sa.select(*_COLUMNS)
        .where(condition)
        .order_by(orders.c.created_at.desc(), orders.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(sa.tuple_(orders.c.created_at, orders.c.id) < before)
    async with db.connect() as tx:
        return [_order(row) for row in await tx.execute(statement)]


def _order(row: sa.Row[Any]) -> Order:
    return Order(**dict(zip(_FIELDS, row, strict=True)))
