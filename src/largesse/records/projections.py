"""
What is read from the ledger's changes: the feed of gifts, top gifters, running totals.

Nothing here is a source of truth. A row and the place in the changes it came from are written in
one transaction, so a crash neither loses nor doubles one; and all of it can be rebuilt.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from largesse.books import postings
from largesse.books.chart import TransferCode
from largesse.ledger import PAGE_MAX, Ledger
from largesse.ledger.model import Change
from largesse.records.database import Database, empty, insert_many
from largesse.records.orders import STATUSES
from largesse.records.tables import (
    added_up,
    columns,
    gifts,
    orders,
    projections,
    rooms,
    top_gifters,
    users,
)

NAME = "gifts"
"""The one projection there is, in the table of how far each has come."""
OWNERS_KEPT_MAX = 65_536
"""Owners of accounts that are remembered, so that a gift does not cost a look into the ledger."""

_SOLD = tuple(status for status in STATUSES if status in ("credited", "refunded", "disputed"))


class GiftRow(msgspec.Struct, frozen=True):
    """A gift in the feed. `timestamp` is the ledger's and no other gift has it."""

    id: str
    timestamp: int
    viewer_id: str
    creator_id: str
    room_id: str
    item_number: int
    quantity: int
    coins: int
    diamond_units: int
    share_bps: int


Scope = Literal["room", "creator"]
"""Whose ranking: of one room, or of a creator for all time."""


class TopGifter(msgspec.Struct, frozen=True):
    """A viewer in a ranking: coins and gifts so far, and when the coins came to that."""

    viewer_id: str
    coins: int
    gifts: int
    reached_at: int


class Paid(msgspec.Struct, frozen=True):
    """What was paid in one currency: `amount` in its minor unit, over so many orders."""

    currency: str
    amount: int
    orders: int


class ViewerTotals(msgspec.Struct, frozen=True):
    """What a viewer bought and gave away since an instant; `paid` by currency."""

    coins_bought: int
    bonus_coins: int
    paid: tuple[Paid, ...]
    gifts: int
    coins_gifted: int


class OperatorTotals(msgspec.Struct, frozen=True):
    """The whole installation at a glance. `gifts_after` says how far the gifts are counted."""

    users: int
    rooms_live: int
    orders: dict[str, int]
    coins_sold: int
    bonus_coins: int
    paid: tuple[Paid, ...]
    gifts: int
    coins_gifted: int
    diamond_units: int
    gifts_after: int


class _Gift(NamedTuple):
    """A row of the table, in the order of its columns, as the database takes it."""

    timestamp: int
    id: bytes
    viewer_id: bytes
    creator_id: bytes
    room_id: bytes
    item_number: int
    quantity: int
    coins: int
    diamond_units: int
    share_bps: int


_GIFT_COLUMNS = columns(gifts, GiftRow)
assert tuple(gifts.c.keys()) == _Gift._fields
assert tuple(top_gifters.c.keys())[:3] == ("scope", "scope_id", "viewer_id")

# Whose an account is never changes, and its id is a hash of that, the same in every ledger: so one
# memory serves the process.
_owners: dict[bytes, bytes] = {}


async def project(db: Database, ledger: Ledger, *, limit: int) -> int:
    """
    Take in the next changes of the ledger, at most `limit`, and say how many there were.

    Zero means that there is nothing new, or that somebody else took it in meanwhile. A batch is one
    write transaction, so choose `limit` by how long others may wait for their turn: some hundreds
    take some milliseconds.

    Raises:
        RecordsUnavailable, LedgerUnavailable: nothing was taken in; ask again.
    """
    assert 0 < limit <= PAGE_MAX
    after = await position(db)
    changes = await ledger.changes(after, limit)
    if not changes:
        return 0
    new, corrected = await _read(ledger, changes)
    async with db.begin() as tx:
        if not await _move(tx, new, 1, after=after, to=changes[-1].timestamp):
            return 0  # Somebody else has taken these in meanwhile.
        await insert_many(tx, gifts, new)
        await insert_many(tx, top_gifters, _gifters(new), conflict=_add_up)
        await _count_back(tx, corrected, at=changes[-1].timestamp)
    return len(changes)


async def rebuild(db: Database, ledger: Ledger) -> int:
    """
    Forget the projections and read every change again; the number of changes.

    Until it is through, the lists show what has been read so far. Another process may take some of
    the changes in; those are not in the number.
    """
    async with db.begin() as tx:
        # First the place, which everybody who takes changes in moves first: then nobody is adding
        # rows while the old ones go.
        await tx.execute(
            projections.update()
            .where(projections.c.name == NAME)
            .values(after=0, gifts=0, coins=0, diamond_units=0)
        )
        await empty(tx, gifts)
        await empty(tx, top_gifters)
    taken = 0
    while (batch := await project(db, ledger, limit=PAGE_MAX)) or await _is_behind(db, ledger):
        taken += batch
    return taken


async def _is_behind(db: Database, ledger: Ledger) -> bool:
    return bool(await ledger.changes(await position(db), 1))


async def position(db: Database) -> int:
    """The timestamp of the last change that has been taken in; 0 before the first."""
    statement = sa.select(projections.c.after).where(projections.c.name == NAME)
    async with db.connect() as tx:
        return int((await tx.execute(statement)).scalar_one())


async def gifts_of_viewer(
    db: Database, viewer_id: str, *, before: tuple[int, str] | None = None, limit: int
) -> list[GiftRow]:
    """The gifts that a viewer sent, newest first."""
    return await _gifts(db, gifts.c.viewer_id == viewer_id, before, limit)


async def gifts_of_creator(
    db: Database,
    creator_id: str,
    *,
    room_id: str | None = None,
    before: tuple[int, str] | None = None,
    limit: int,
) -> list[GiftRow]:
    """The gifts that a creator received, newest first; in one room, where it is named."""
    condition = gifts.c.creator_id == creator_id
    if room_id is not None:
        condition = sa.and_(condition, gifts.c.room_id == room_id)
    return await _gifts(db, condition, before, limit)


async def gifts_of_room(
    db: Database, room_id: str, *, before: tuple[int, str] | None = None, limit: int
) -> list[GiftRow]:
    """The gifts in a room, newest first."""
    return await _gifts(db, gifts.c.room_id == room_id, before, limit)


async def top_gifters_of_room(db: Database, room_id: str, *, limit: int) -> list[TopGifter]:
    """Who gave most coins in a room; of two who gave as much, the one who reached it first."""
    return await top_gifters_of(db, "room", room_id, limit=limit)


async def top_gifters_of_creator(db: Database, creator_id: str, *, limit: int) -> list[TopGifter]:
    """Who gave a creator most coins; of two who gave as much, the one who reached it first."""
    return await top_gifters_of(db, "creator", creator_id, limit=limit)


async def place_of_gifter(
    db: Database, scope: Scope, scope_id: str, viewer_id: str
) -> tuple[int, TopGifter] | None:
    """Which place a viewer has in a ranking, 1 for the best; None for who gave nothing there."""
    here = (top_gifters.c.scope == scope, top_gifters.c.scope_id == scope_id)
    his = sa.select(*columns(top_gifters, TopGifter)).where(
        *here, top_gifters.c.viewer_id == viewer_id
    )
    async with db.connect() as tx:
        row = (await tx.execute(his)).one_or_none()
        if row is None:
            return None
        gifter = TopGifter(*row)
        before = sa.or_(
            top_gifters.c.coins > gifter.coins,
            sa.and_(
                top_gifters.c.coins == gifter.coins, top_gifters.c.reached_at < gifter.reached_at
            ),
        )
        better = sa.select(sa.func.count()).select_from(top_gifters).where(*here, before)
        return int((await tx.execute(better)).scalar_one()) + 1, gifter


async def totals_of_viewer(db: Database, viewer_id: str, *, since: int = 0) -> ViewerTotals:
    """
    What a viewer bought and gave away since an instant.

    Orders count once they are credited, and go on counting when they are refunded or disputed.
    """
    given = sa.select(sa.func.count(), sa.func.coalesce(added_up(gifts.c.coins), 0)).where(
        gifts.c.viewer_id == viewer_id, gifts.c.timestamp >= since
    )
    bought = _sold().where(orders.c.viewer_id == viewer_id, orders.c.created_at >= since)
    async with db.connect() as tx:
        [(count, coins)] = await tx.execute(given)
        sold = (await tx.execute(bought)).all()
    return ViewerTotals(
        coins_bought=sum(int(row.coins) for row in sold),
        bonus_coins=sum(int(row.bonus_coins) for row in sold),
        paid=_paid(sold),
        gifts=count,
        coins_gifted=int(coins),
    )


async def operator_totals(db: Database) -> OperatorTotals:
    """The whole installation at a glance; the gifts as far as they have been taken in."""
    by_status = sa.select(orders.c.status, sa.func.count()).group_by(orders.c.status)
    async with db.connect() as tx:
        people = (await tx.execute(sa.select(sa.func.count()).select_from(users))).scalar_one()
        live = sa.select(sa.func.count()).where(rooms.c.ended_at.is_(None))
        rooms_live = (await tx.execute(live)).scalar_one()
        counts = {row[0]: int(row[1]) for row in await tx.execute(by_status)}
        sold = (await tx.execute(_sold())).all()
        given = (await tx.execute(sa.select(projections).where(projections.c.name == NAME))).one()
    return OperatorTotals(
        users=people,
        rooms_live=rooms_live,
        orders={status: counts.get(status, 0) for status in STATUSES},
        coins_sold=sum(int(row.coins) for row in sold),
        bonus_coins=sum(int(row.bonus_coins) for row in sold),
        paid=_paid(sold),
        gifts=given.gifts,
        coins_gifted=given.coins,
        diamond_units=given.diamond_units,
        gifts_after=given.after,
    )


async def _read(ledger: Ledger, changes: Sequence[Change]) -> tuple[list[_Gift], list[int]]:
    """The gifts in the changes, and the instants of older gifts that were corrected in them."""
    chains = [change.chain for change in changes if change.chain]
    details = [postings.gift_details(chain) for chain in chains if postings.is_gift(chain)]
    accounts = {gift.viewer_account_id for gift in details}
    accounts.update(gift.creator_account_id for gift in details)
    owners = await owners_of(ledger, accounts)
    new = [
        _Gift(
            gift.timestamp,
            bytes.fromhex(gift.gift_id),
            owners[gift.viewer_account_id],
            owners[gift.creator_account_id],
            bytes.fromhex(gift.room_id),
            gift.item_number,
            gift.quantity,
            gift.coins,
            gift.diamond_units,
            gift.share_bps,
        )
        for gift in details
    ]
    undone = [
        postings.corrected_transfer_id(posted.transfer)
        for chain in chains
        for posted in chain
        if posted.transfer.code == TransferCode.CORRECTION
        and posted.transfer.user_data_32 == TransferCode.GIFT
    ]
    if not undone:
        return new, []
    found = await ledger.lookup_transfers(undone)
    corrected = {posted.timestamp for posted in found if posted is not None}
    assert len(corrected) == len(undone)
    return (
        [gift for gift in new if gift.timestamp not in corrected],
        sorted(corrected - {gift.timestamp for gift in new}),
    )


async def owners_of(ledger: Ledger, account_ids: set[bytes]) -> dict[bytes, bytes]:
    """Whose accounts these are, from memory where it is known."""
    known = {id: _owners[id] for id in account_ids if id in _owners}
    unknown = list(account_ids - known.keys())
    if unknown:
        for account in await ledger.lookup_accounts(unknown):
            assert account is not None
            known[account.id] = account.user_data_128
        if len(_owners) + len(unknown) > OWNERS_KEPT_MAX:
            _owners.clear()
        _owners.update((id, known[id]) for id in unknown)
    return known


def _add_up(statement: sqlite.Insert) -> sqlite.Insert:
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["scope", "scope_id", "viewer_id"],
        set_={
            "coins": top_gifters.c.coins + new.coins,
            "gifts": top_gifters.c.gifts + new.gifts,
            "reached_at": new.reached_at,
        },
    )


async def _count_back(tx: AsyncConnection, timestamps: Sequence[int], *, at: int) -> None:
    """A corrected gift leaves the feed, the rankings and the totals."""
    if not timestamps:
        return
    statement = gifts.delete().where(gifts.c.timestamp.in_(timestamps)).returning(gifts)
    rows = [_Gift(*row) for row in await tx.execute(statement)]  # Ids are text here.
    for scope, scope_id, viewer_id, coins, count, _ in _gifters(rows):
        condition = sa.and_(
            top_gifters.c.scope == scope,
            top_gifters.c.scope_id == scope_id,
            top_gifters.c.viewer_id == viewer_id,
        )
        await tx.execute(
            top_gifters.update()
            .where(condition)
            .values(coins=top_gifters.c.coins - coins, gifts=top_gifters.c.gifts - count)
        )
        await tx.execute(top_gifters.delete().where(condition, top_gifters.c.gifts == 0))
    await _move(tx, rows, -1, after=at, to=at)


async def _move(
    tx: AsyncConnection, rows: Sequence[_Gift], sign: int, *, after: int, to: int
) -> bool:
    """Go on from one place in the changes to another with these gifts, unless we are not there."""
    coins = sum(row.coins for row in rows)
    diamond_units = sum(row.diamond_units for row in rows)
    moved = await tx.execute(
        projections.update()
        .where(projections.c.name == NAME, projections.c.after == after)
        .values(
            after=to,
            gifts=projections.c.gifts + sign * len(rows),
            coins=projections.c.coins + sign * coins,
            diamond_units=projections.c.diamond_units + sign * diamond_units,
        )
    )
    return moved.rowcount == 1


def _gifters(rows: Iterable[_Gift]) -> list[tuple[Any, ...]]:
    """
    What the gifts add to each ranking, in the order of the table's columns.

    One row per ranking and viewer, so that a hot one changes once a batch and not once a gift; in
    the order of the key, so that neighbours share a page.
    """
    totals: dict[tuple[str, bytes, bytes], list[int]] = {}
    for row in rows:
        for key in (
            ("room", row.room_id, row.viewer_id),
            ("creator", row.creator_id, row.viewer_id),
        ):
            total = totals.get(key)
            if total is None:
                totals[key] = [row.coins, 1, row.timestamp]
            else:
                total[0] += row.coins
                total[1] += 1
                total[2] = row.timestamp
    return [(*key, *total) for key, total in sorted(totals.items())]


async def _gifts(
    db: Database,
    condition: sa.ColumnElement[bool],
    before: tuple[int, str] | None,
    limit: int,
) -> list[GiftRow]:
    statement = sa.select(*_GIFT_COLUMNS).where(condition)
    if before is not None:
        statement = statement.where(gifts.c.timestamp < before[0])
    statement = statement.order_by(gifts.c.timestamp.desc()).limit(limit)
    async with db.connect() as tx:
        return [GiftRow(*row) for row in await tx.execute(statement)]


async def top_gifters_of(
    db: Database, scope: Scope, scope_id: str, *, limit: int
) -> list[TopGifter]:
    """Who gave most coins in a room or to a creator; see above."""
    statement = (
        sa.select(*columns(top_gifters, TopGifter))
        .where(top_gifters.c.scope == scope, top_gifters.c.scope_id == scope_id)
        .order_by(top_gifters.c.coins.desc(), top_gifters.c.reached_at)
        .limit(limit)
    )
    async with db.connect() as tx:
        return [TopGifter(*row) for row in await tx.execute(statement)]


def _sold() -> sa.Select[Any]:
    return (
        sa.select(
            orders.c.currency,
            sa.func.count().label("orders"),
            added_up(orders.c.amount).label("amount"),
            added_up(orders.c.coins).label("coins"),
            added_up(orders.c.bonus_coins).label("bonus_coins"),
        )
        .where(orders.c.status.in_(_SOLD))
        .group_by(orders.c.currency)
        .order_by(orders.c.currency)
    )


def _paid(sold: Sequence[Any]) -> tuple[Paid, ...]:
    return tuple(Paid(row.currency, int(row.amount), row.orders) for row in sold)
