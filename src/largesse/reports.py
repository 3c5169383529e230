"""
What viewers, creators and operators read: wallet, history, totals, earnings.

Money and coins are read from the ledger, words from the records, joined by id. Lists come from the
projections, which trail the ledger; `catch_up` brings them up before they are read.
"""

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec

from largesse import clock, ids, money
from largesse.books import chart
from largesse.books.chart import Environment, TransferCode
from largesse.catalog import Catalog
from largesse.errors import Rejected
from largesse.ledger import AccountFilter, Ledger
from largesse.ledger.model import Account, Posted, Transfer
from largesse.money import Price
from largesse.records import inbox, orders, projections, rooms, users
from largesse.records.database import Database
from largesse.records.orders import Order
from largesse.records.projections import GiftRow
from largesse.records.rooms import Room
from largesse.records.users import User

DIAMOND_CURRENCY = "USD"
DIAMOND_AMOUNT = 1
"""A creator's diamond is worth one cent (DESIGN 9)."""
HISTORY_PAGE = 200
"""Rows that an export reads at a time."""
HISTORY_LOOKED_AT_MAX = 5_000
"""Movements that one filtered page looks at: what is further back stands on the next page."""
CATCH_UP_BATCH = 500
CATCH_UP_BATCHES_MAX = 10
"""So many batches of changes a reader waits for; what is missing then, the next one sees."""
LOGINS_KEPT_MAX = 50_000
INBOX_COUNTED_MAX = 1_000
"""More waiting events than this are told as this many."""

Kind = Literal["recharge", "bonus", "gift", "refund", "debt_repaid", "correction"]
KIND_OF_CODE: dict[int, Kind] = {
    TransferCode.RECHARGE: "recharge",
    TransferCode.RECHARGE_BONUS: "bonus",
    TransferCode.BONUS: "bonus",
    TransferCode.GIFT: "gift",
    TransferCode.REFUND: "refund",
    TransferCode.REFUND_BONUS: "refund",
    TransferCode.DEBT_REPAYMENT: "debt_repaid",
    TransferCode.CORRECTION: "correction",
}
"""What each transfer of a wallet is called in its history."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_T = TypeVar("_T")


class Spent(msgspec.Struct, frozen=True):
    """Coins given away, and what they were worth in money at today's undiscounted rate."""

    gifts: int
    coins: int
    price: Price


class Wallet(msgspec.Struct, frozen=True, kw_only=True):
    """
    A viewer's wallet. `price` is what the coins are worth at today's undiscounted rate; `debt` are
    coins that were spent and whose payment was taken back: the next recharge repays them first.
    """

    coins: int
    price: Price
    debt: int
    environment: str
    spent_this_month: Spent


class OrderFacts(msgspec.Struct, frozen=True):
    """The purchase behind a row."""

    id: str
    package_id: str
    provider: str


class GiftFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The gift behind a row. What the records or the catalogue no longer know is null."""

    id: str
    item_id: str | None
    item_name: str | None
    quantity: int
    room_id: str
    room_title: str | None
    creator_id: str | None
    creator_login: str | None


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    One movement of a wallet: `coins` is positive when they came in, `balance` what was there after.

    `price` is what was paid for a recharge, and what a gift's coins are worth at today's rate.
    """

    id: str
    at: str
    kind: Kind
    coins: int
    balance: int
    price: Price | None
    order: OrderFacts | None
    gift: GiftFacts | None


class HistoryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which movements: of one kind, from `since` on and before `until` (instants)."""

    kind: Kind | None = None
    since: int | None = None
    until: int | None = None


EVERYTHING = HistoryFilter()


class HistoryPage(msgspec.Struct, frozen=True):
    """
    Newest first. `next_before` names the transfer after which the next page begins; a page of
    filtered rows may be short, or even empty, and yet not be the last.
    """

    rows: tuple[HistoryRow, ...]
    next_before: str | None


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """What was bought and given away in a time; refunded and disputed orders stay counted."""

    since: str | None
    coins_bought: int
    bonus_coins: int
    paid: tuple[Price, ...]
    gifts: int
    coins_gifted: int
    gifts_price: Price


class Totals(msgspec.Struct, frozen=True):
    """This calendar month (UTC), and everything there is."""

    this_month: Period
    all: Period


class Worth(msgspec.Struct, frozen=True):
    """Money to the millionth: nothing is rounded per gift."""

    value: str
    currency: str


class Earnings(msgspec.Struct, frozen=True, kw_only=True):
    """
    A creator's diamonds: held until the hold is over, then available.

    The prices are what the diamonds are worth, a cent each, rounded down to the cent.
    """

    held: str
    held_price: Price
    available: str
    available_price: Price
    environment: str


class Paid(msgspec.Struct, frozen=True):
    """What the viewer gave, and what that is worth at the undiscounted rate of the web."""

    coins: int
    worth: Worth


class Yours(msgspec.Struct, frozen=True):
    """What the creator earned of it."""

    share_bps: int
    diamonds: str
    worth: Worth


class Split(msgspec.Struct, frozen=True):
    """Where the money of a gift went; `platform` is null where the currencies differ."""

    paid: Paid
    platform: Worth | None
    yours: Yours


class GiftView(msgspec.Struct, frozen=True, kw_only=True):
    """One gift in a list, with the words for its ids."""

    id: str
    at: str
    room_id: str
    room_title: str | None
    viewer_id: str
    viewer_login: str | None
    viewer_name: str | None
    item_id: str | None
    item_name: str | None
    quantity: int
    coins: int
    price: Price
    diamonds: str


class EarnedGift(msgspec.Struct, frozen=True):
    """A gift as its creator sees it."""

    gift: GiftView
    split: Split


class MoneyIn(msgspec.Struct, frozen=True):
    """What came in by one provider in one currency, and what of it went back."""

    provider: str
    taken: Price
    returned: Price


class OperatorTotals(msgspec.Struct, frozen=True, kw_only=True):
    """
    The installation at a glance. `coins_outstanding` are issued and not redeemed, returned or
    expired: what viewers and campaigns hold, less what is owed.
    """

    environment: str
    users: int
    rooms_live: int
    money_in: tuple[MoneyIn, ...]
    coins_sold: int
    bonus_coins: int
    coins_outstanding: int
    coins_gifted: int
    gifts: int
    diamonds: str
    orders: dict[str, int]
    inbox_waiting: int


async def catch_up(db: Database, ledger: Ledger) -> None:
    """Take in the ledger's newest changes, so that who reads a list sees what he has just done."""
    for _ in range(CATCH_UP_BATCHES_MAX):
        if await projections.project(db, ledger, limit=CATCH_UP_BATCH) < CATCH_UP_BATCH:
            break


async def wallet(
    db: Database,
    ledger: Ledger,
    catalog: Catalog,
    *,
    viewer_id: str,
    country: str,
    environment: Environment,
    now: int,
) -> Wallet:
    """What the viewer has, owes, and spent since the first of the month (UTC)."""
    purse, debt = await ledger.lookup_accounts(
        (chart.wallet(environment, viewer_id), chart.debt(environment, viewer_id))
    )
    coins = 0 if purse is None else _credit(purse) - purse.debits_pending
    await catch_up(db, ledger)
    spent = await projections.totals_of_viewer(db, viewer_id, since=month_start(now))
    return Wallet(
        coins=coins,
        price=catalog.money_value(coins, country=country),
        debt=0 if debt is None else -_credit(debt),
        environment=environment.value,
        spent_this_month=Spent(
            spent.gifts,
            spent.coins_gifted,
            catalog.money_value(spent.coins_gifted, country=country),
        ),
    )


async def history(
    db: Database,
    ledger: Ledger,
    catalog: Catalog,
    *,
    viewer_id: str,
    country: str,
    environment: Environment,
    before: str | None,
    limit: int,
    filter: HistoryFilter = EVERYTHING,
) -> HistoryPage:
    """
    A page of what moved in the viewer's wallet. `before` is the `next_before` of the page before.

    Raises:
        Rejected: cursor_invalid where `before` is no transfer of this wallet.
    """
    assert limit > 0
    purse = chart.wallet(environment, viewer_id)
    place = None if before is None else await _place(ledger, purse, before)
    found: list[Posted] = []
    looked_at = 0
    while len(found) < limit and looked_at < HISTORY_LOOKED_AT_MAX:
        size = limit if filter == EVERYTHING else HISTORY_PAGE
        page = await ledger.account_transfers(purse, AccountFilter(before=place, limit=size))
        taken, is_over = _take(page, found, filter, limit)
        if taken is not None:
            place = taken
        if is_over or (len(page) < size and len(found) < limit):
            place = None
            break
        looked_at += len(page)
    words = _Words(db, catalog, country)
    rows = [await _history_row(words, purse, posted) for posted in found]
    return HistoryPage(tuple(rows), None if place is None else ids.text(place))


async def history_pages(
    db: Database,
    ledger: Ledger,
    catalog: Catalog,
    *,
    viewer_id: str,
    country: str,
    environment: Environment,
    filter: HistoryFilter = EVERYTHING,
) -> AsyncIterator[tuple[HistoryRow, ...]]:
    """The whole history, newest first, a page at a time."""
    before: str | None = None
    while True:
        page = await history(
            db,
            ledger,
            catalog,
            viewer_id=viewer_id,
            country=country,
            environment=environment,
            before=before,
            limit=HISTORY_PAGE,
            filter=filter,
        )
        yield page.rows
        before = page.next_before
        if before is None:
            return


async def history_csv(pages: AsyncIterable[tuple[HistoryRow, ...]]) -> AsyncIterator[str]:
    """
    A history as CSV (RFC 4180).

    Text that a spreadsheet could take for a formula is led by an apostrophe.
    """
    yield csv_line(
        (
            *("at", "kind", "coins", "balance", "amount", "currency", "order", "package"),
            *("provider", "gift", "item", "quantity", "room", "creator"),
        )
    )
    async for rows in pages:
        yield "".join(_csv_row(row) for row in rows)


async def history_json(pages: AsyncIterable[tuple[HistoryRow, ...]]) -> AsyncIterator[str]:
    """A history as one JSON object with its `rows`."""
    comma = ""
    yield '{"rows":['
    async for rows in pages:
        for row in rows:
            yield comma + msgspec.json.encode(row).decode()
            comma = ","
    yield "]}\n"


async def totals(
    db: Database, ledger: Ledger, catalog: Catalog, *, viewer_id: str, country: str, now: int
) -> Totals:
    """What the viewer bought and gave away: this month, and in all."""
    await catch_up(db, ledger)
    start = month_start(now)

    async def period(since: int) -> Period:
        found = await projections.totals_of_viewer(db, viewer_id, since=since)
        return Period(
            since=clock.to_text(since) if since else None,
            coins_bought=found.coins_bought,
            bonus_coins=found.bonus_coins,
            paid=tuple(Price(paid.amount, paid.currency) for paid in found.paid),
            gifts=found.gifts,
            coins_gifted=found.coins_gifted,
            gifts_price=catalog.money_value(found.coins_gifted, country=country),
        )

    return Totals(await period(start), await period(0))


async def earnings(ledger: Ledger, *, creator_id: str, environment: Environment) -> Earnings:
    """What the creator earned and has not cashed out."""
    held, available = await ledger.lookup_accounts(
        (
            chart.earnings_held(environment, creator_id),
            chart.earnings_available(environment, creator_id),
        )
    )
    held_units = 0 if held is None else _credit(held)
    available_units = 0 if available is None else _credit(available)
    return Earnings(
        held=money.diamonds(held_units),
        held_price=diamond_price(held_units),
        available=money.diamonds(available_units),
        available_price=diamond_price(available_units),
        environment=environment.value,
    )


async def earned_gifts(
    db: Database,
    ledger: Ledger,
    catalog: Catalog,
    *,
    creator_id: str,
    room_id: str | None = None,
    country: str,
    before: tuple[int, str] | None,
    limit: int,
) -> tuple[list[EarnedGift], tuple[int, str] | None]:
    """
    The gifts that the creator received, in one room or in all, newest first, each with its split;
    and the next place.
    """
    await catch_up(db, ledger)
    rows = await projections.gifts_of_creator(
        db, creator_id, room_id=room_id, before=before, limit=limit
    )
    views = await gift_views(db, catalog, rows, country=country)
    seen = [EarnedGift(view, split(catalog, row)) for view, row in zip(views, rows, strict=True)]
    return seen, next_place(rows, limit)


async def room_gifts(
    db: Database,
    ledger: Ledger,
    catalog: Catalog,
    *,
    room_id: str,
    country: str,
    before: tuple[int, str] | None,
    limit: int,
) -> tuple[list[GiftView], tuple[int, str] | None]:
    """The gifts in a room, newest first, and the next place."""
    await catch_up(db, ledger)
    rows = await projections.gifts_of_room(db, room_id, before=before, limit=limit)
    return await gift_views(db, catalog, rows, country=country), next_place(rows, limit)


async def gift_views(
    db: Database, catalog: Catalog, rows: Sequence[GiftRow], *, country: str
) -> list[GiftView]:
    """Gifts with the words for their ids."""
    words = _Words(db, catalog, country)
    people = await users.find_users(db, list({row.viewer_id for row in rows}))
    return [
        _gift_view(words, row, await words.room(row.room_id), people.get(row.viewer_id))
        for row in rows
    ]


async def operator_totals(
    db: Database,
    ledger: Ledger,
    *,
    environment: Environment,
    providers: Iterable[str],
    currencies: Iterable[str],
    now: int,
) -> OperatorTotals:
    """The installation at a glance: coins and money from the ledger, counts from the records."""
    await catch_up(db, ledger)
    counted = await projections.operator_totals(db)
    pairs = [(provider, currency) for provider in providers for currency in currencies]
    receivables = await ledger.lookup_accounts(
        [chart.receivable(environment, provider, currency) for provider, currency in pairs]
    )
    house = await ledger.lookup_accounts(
        (
            chart.issued(environment),
            chart.redeemed(environment),
            chart.returned(environment),
            chart.expired(environment),
        )
    )
    waiting = await inbox.waiting(db, INBOX_COUNTED_MAX)
    return OperatorTotals(
        environment=environment.value,
        users=counted.users,
        rooms_live=counted.rooms_live,
        money_in=tuple(
            MoneyIn(
                provider,
                Price(account.debits_posted, currency),
                Price(account.credits_posted, currency),
            )
            for (provider, currency), account in zip(pairs, receivables, strict=True)
            if account is not None and account.debits_posted
        ),
        coins_sold=counted.coins_sold,
        bonus_coins=counted.bonus_coins,
        coins_outstanding=-sum(_credit(account) for account in house if account is not None),
        coins_gifted=counted.coins_gifted,
        gifts=counted.gifts,
        diamonds=money.diamonds(counted.diamond_units),
        orders=counted.orders,
        inbox_waiting=len(waiting),
    )


def split(catalog: Catalog, gift: GiftRow) -> Split:
    """
    Where the money of a gift went: paid, platform, yours; to the millionth, and it adds up.

    Paid is at the undiscounted rate of the web in US dollars, the currency of a diamond.
    """
    paid, platform, yours = worths(catalog, gift.coins, gift.diamond_units)
    return Split(
        Paid(gift.coins, paid),
        platform,
        Yours(gift.share_bps, money.diamonds(gift.diamond_units), yours),
    )


def worths(catalog: Catalog, coins: int, diamond_units: int) -> tuple[Worth, Worth | None, Worth]:
    """What was paid, what the platform keeps, what is the creator's: of one gift or of many."""
    # Asked for ten thousand times the coins, the catalogue answers in ten-thousandths of a cent.
    paid = catalog.money_value(coins * 10_000, country="US")
    yours = diamond_units * DIAMOND_AMOUNT
    platform = paid.amount - yours if paid.currency == DIAMOND_CURRENCY else None
    return (
        worth(paid.amount, paid.currency),
        None if platform is None else worth(platform, DIAMOND_CURRENCY),
        worth(yours, DIAMOND_CURRENCY),
    )


def diamond_price(units: int) -> Price:
    """What diamonds are worth in money, rounded down to the minor unit."""
    return Price(units * DIAMOND_AMOUNT // money.DIAMOND_UNITS, DIAMOND_CURRENCY)


def month_start(now: int) -> int:
    """The instant at which the month of `now` began, in UTC."""
    today = clock.to_datetime(now)
    return clock.from_datetime(datetime(today.year, today.month, 1, tzinfo=UTC))


def next_place(rows: list[GiftRow], limit: int) -> tuple[int, str] | None:
    """Where the next page of gifts begins, None after a page that is not full."""
    return (rows[-1].timestamp, rows[-1].id) if len(rows) == limit else None


_logins: dict[str, str] = {}


async def logins(db: Database, user_ids: Iterable[str]) -> dict[str, str]:
    """The logins of these users, which never change, so each is looked up once per process."""
    found = {}
    for user_id in user_ids:
        login = _logins.get(user_id)
        if login is None:
            user = await users.find_user(db, user_id)
            if user is None:
                continue
            if len(_logins) >= LOGINS_KEPT_MAX:
                _logins.clear()
            login = _logins[user_id] = user.login
        found[user_id] = login
    return found


class _Words:
    """What the ids of one answer mean, each looked up once."""

    def __init__(self, db: Database, catalog: Catalog, country: str) -> None:
        self.catalog = catalog
        self.country = country
        self._db = db
        self._orders: dict[str, Order | None] = {}
        self._rooms: dict[str, Room | None] = {}

    async def order(self, order_id: str) -> Order | None:
        return await _once(self._orders, order_id, lambda: orders.find(self._db, order_id))

    async def room(self, room_id: str) -> Room | None:
        return await _once(self._rooms, room_id, lambda: rooms.find(self._db, room_id))

    async def login(self, user_id: str) -> str | None:
        return (await logins(self._db, (user_id,))).get(user_id)


async def _once(known: dict[str, _T], id: str, find: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    if id not in known:
        known[id] = await find()
    return known[id]


async def _place(ledger: Ledger, purse: bytes, before: str) -> bytes:
    transfer_id = ids.parse(before)
    if transfer_id is None:
        raise Rejected("cursor_invalid")
    [posted] = await ledger.lookup_transfers((transfer_id,))
    if posted is None:
        raise Rejected("cursor_invalid")
    if purse not in (posted.transfer.debit_account_id, posted.transfer.credit_account_id):
        raise Rejected("cursor_invalid")
    return transfer_id


def _take(
    page: Sequence[Posted], found: list[Posted], filter: HistoryFilter, limit: int
) -> tuple[bytes | None, bool]:
    """
    Move what the filter keeps from the page to `found`, until it holds `limit`.

    Says which transfer was the last one looked at, and whether everything further back is too old.
    """
    last = None
    for posted in page:
        if filter.since is not None and posted.timestamp < filter.since:
            return last, True
        last = posted.transfer.id
        if _is_kept(posted, filter):
            found.append(posted)
        if len(found) == limit:
            break
    return last, False


def _is_kept(posted: Posted, filter: HistoryFilter) -> bool:
    if not posted.transfer.amount:  # A debt that is not there is repaid with nothing.
        return False
    if filter.until is not None and posted.timestamp >= filter.until:
        return False
    return filter.kind is None or KIND_OF_CODE[posted.transfer.code] == filter.kind


async def _history_row(words: _Words, purse: bytes, posted: Posted) -> HistoryRow:
    transfer = posted.transfer
    is_debit = transfer.debit_account_id == purse
    if is_debit:
        balance = posted.debit_account_credits_posted - posted.debit_account_debits_posted
    else:
        balance = posted.credit_account_credits_posted - posted.credit_account_debits_posted
    kind = KIND_OF_CODE[transfer.code]
    order = price = gift = None
    if transfer.code in (TransferCode.RECHARGE, TransferCode.RECHARGE_BONUS, TransferCode.REFUND):
        order = await words.order(ids.text(transfer.user_data_128))
        if kind == "recharge" and order is not None:
            price = Price(order.amount, order.currency)
    elif transfer.code == TransferCode.GIFT:
        gift = await _gift_facts(words, transfer)
        price = words.catalog.money_value(transfer.amount, country=words.country)
    return HistoryRow(
        id=ids.text(transfer.id),
        at=clock.to_text(posted.timestamp),
        kind=kind,
        coins=-transfer.amount if is_debit else transfer.amount,
        balance=balance,
        price=price,
        order=None if order is None else OrderFacts(order.id, order.package_id, order.provider),
        gift=gift,
    )


async def _gift_facts(words: _Words, transfer: Transfer) -> GiftFacts:
    room_id = ids.text(transfer.user_data_128)
    room = await words.room(room_id)
    number, quantity = transfer.user_data_64 >> 32, transfer.user_data_64 & 0xFFFF_FFFF
    item = words.catalog.item_of_number(number)
    return GiftFacts(
        id=ids.text(transfer.id),
        item_id=None if item is None else item.id,
        item_name=None if item is None else item.name,
        quantity=quantity,
        room_id=room_id,
        room_title=None if room is None else room.title,
        creator_id=None if room is None else room.creator_id,
        creator_login=None if room is None else await words.login(room.creator_id),
    )


def _gift_view(words: _Words, row: GiftRow, room: Room | None, viewer: User | None) -> GiftView:
    item = words.catalog.item_of_number(row.item_number)
    return GiftView(
        id=row.id,
        at=clock.to_text(row.timestamp),
        room_id=row.room_id,
        room_title=None if room is None else room.title,
        viewer_id=row.viewer_id,
        viewer_login=None if viewer is None else viewer.login,
        viewer_name=None if viewer is None else viewer.name,
        item_id=None if item is None else item.id,
        item_name=None if item is None else item.name,
        quantity=row.quantity,
        coins=row.coins,
        price=words.catalog.money_value(row.coins, country=words.country),
        diamonds=money.diamonds(row.diamond_units),
    )


def _credit(account: Account) -> int:
    """Credits less debits: what a credit account holds."""
    return account.credits_posted - account.debits_posted


def worth(amount: int, currency: str) -> Worth:
    """Ten-thousandths of a minor unit as a decimal of the currency."""
    digits = money.CURRENCIES[currency].digits + 4
    sign, whole = "-" if amount < 0 else "", abs(amount)
    return Worth(f"{sign}{whole // 10**digits}.{whole % 10**digits:0{digits}d}", currency)


def _csv_row(row: HistoryRow) -> str:
    order, gift, price = row.order, row.gift, row.price
    return csv_line(
        (
            row.at,
            row.kind,
            row.coins,
            row.balance,
            "" if price is None else money.decimal(price.amount, price.currency),
            "" if price is None else price.currency,
            *(("", "", "") if order is None else (order.id, order.package_id, order.provider)),
            *(
                ("", "", "", "", "")
                if gift is None
                else (gift.id, gift.item_name, gift.quantity, gift.room_title, gift.creator_login)
            ),
        )
    )


def csv_line(cells: Iterable[object]) -> str:
    """One line of CSV (RFC 4180), with nothing in it that a spreadsheet would run."""
    line = io.StringIO()
    csv.writer(line).writerow([_csv_cell(cell) for cell in cells])
    return line.getvalue()


def _csv_cell(cell: object) -> object:
    """Numbers are ours and safe; text that begins like a formula is led by an apostrophe."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return "'" + cell
    return "" if cell is None else cell
