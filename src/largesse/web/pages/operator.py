"""
The operator's pages: today, people, orders, what providers told us, rooms, the catalogue, the checks.

They show what the ledger and the records hold. Three things can be done here: shut a person out or
let him in again, end a room, run the checks.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from largesse import clock, ids, money, reports
from largesse.books import chart, postings, statements
from largesse.books.chart import AccountCode, Environment, TransferCode
from largesse.errors import Rejected
from largesse.identity import accounts
from largesse.ledger.model import Account, Posted
from largesse.money import Price
from largesse.records import inbox, orders, price_lists, received, rooms, sales, sessions, users
from largesse.records.inbox import Event
from largesse.records.orders import STATUSES, Order
from largesse.records.received import Received, Stretch
from largesse.records.rooms import Room
from largesse.records.sales import Sold
from largesse.records.users import User
from largesse.web import decode, i18n, operator
from largesse.web.auth import AnyRequest
from largesse.web.pages import figures, forms, frame
from largesse.web.pages.frame import Visitor

ROWS = 25
OF_A_PERSON = 10
"""Orders and rooms that the page of one person shows."""
EVENTS_OF_AN_ORDER = 20
VERSIONS = 20
DAYS_DRAWN = 14
HOURS_DRAWN = 24
SEARCH_LENGTH_MAX = 254

_CODE = re.compile("[a-z_]+")


class Income(msgspec.Struct, frozen=True, kw_only=True):
    """Money of one provider in one currency: ordered today, taken and returned in all."""

    provider: str
    today: Price
    orders_today: int
    taken: Price
    returned: Price


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One transfer of a chain: `amount` is coins, or a price."""

    what: str
    debit: str
    credit: str
    coins: int | None
    price: Price | None
    at: int


class RoomRow(msgspec.Struct, frozen=True):
    """A room in the operator's list: whose, how many watch (None: it is over), what was given."""

    room: Room
    creator: User | None
    viewers: int | None
    received: Received


@get("/operator", include_in_schema=False)
async def get_today(request: AnyRequest) -> Response[Any]:
    """The installation at a glance."""
    found = await _operator(request)
    app = found.app
    now = app.clock.now()
    today = figures.day_start(now)
    totals = await operator.totals(app)
    first_day = today - (DAYS_DRAWN - 1) * clock.DAY
    sold = await sales.sold(app.db, since=first_day, step=clock.DAY)
    first_hour = now // clock.HOUR * clock.HOUR - (HOURS_DRAWN - 1) * clock.HOUR
    given = await sales.given(app.db, since=first_hour, step=clock.HOUR)
    last_hour = first_hour + (HOURS_DRAWN - 1) * clock.HOUR
    language = found.language
    coins = {row.start: row.coins for row in given}
    return _page(
        found,
        "operator/today.html",
        totals=totals,
        income=_income(totals, [row for row in sold if row.start == today]),
        outstanding=app.catalog.money_value(
            max(totals.coins_outstanding, 0), country=found.country
        ),
        gifted=app.catalog.money_value(totals.coins_gifted, country=found.country),
        drawings=_money_drawings(found, sold, first_day, today),
        gifts_drawing=figures.drawing(
            found.say("Coins given by hour (UTC), last 24 hours"),
            [
                (figures.hour_text(hour, language), value, _coins_words(found, value))
                for hour, value in figures.steps(
                    coins, first=first_hour, last=last_hour, step=clock.HOUR
                )
            ],
            label_of_bars=found.say("Hour"),
            label_of_values=found.say("Coins"),
        ),
        verdict=await operator.last_verdict(app),
        jobs=app.health.jobs,
        holders=await operator.holders(app),
        process_id=app.process_id,
    )


@get("/operator/users", include_in_schema=False)
async def get_users(request: AnyRequest) -> Response[Any]:
    """Everybody, newest first, or those whom one looks for."""
    found = await _operator(request)
    search = request.query_params.get("q", "").strip()[:SEARCH_LENGTH_MAX]
    cursor = request.query_params.get("cursor")
    people = await users.list_users(
        found.app.db,
        search=search,
        before=decode.cursor(cursor, "users", decode.Place),
        limit=ROWS,
    )
    last = people[-1] if len(people) == ROWS else None
    return _page(
        found,
        "operator/users.html",
        people=people,
        search=search,
        cursor=cursor,
        older=None if last is None else decode.to_cursor("users", (last.created_at, last.id)),
    )


@get("/operator/users/{user_id:str}", include_in_schema=False)
async def get_user(request: AnyRequest, user_id: FromPath[str]) -> Response[Any]:
    """One person: wallet, diamonds, orders, sessions, rooms."""
    found = await _operator(request)
    return await _user_page(found, await _user(found, user_id))


@post("/operator/users/{user_id:str}/disable", include_in_schema=False)
async def post_disable(request: AnyRequest, user_id: FromPath[str]) -> Response[Any]:
    """Shut a person out: every session ends, and so does his live, for he could not end it."""
    found = await _operator(request)
    await frame.form(request, found)
    assert found.user is not None
    user = await _user(found, user_id)
    app = found.app
    try:
        await accounts.disable(app.db, user_id=user.id, by=found.user.id, now=app.clock.now())
    except Rejected as refusal:
        return await _user_page(found, user, refusal)
    for room in await rooms.list_rooms(app.db, creator_id=user.id, is_live=True, limit=1):
        await app.rooms.end(room.id, None, app.clock.now())
    return frame.see(f"/operator/users/{user.id}")


@post("/operator/users/{user_id:str}/enable", include_in_schema=False)
async def post_enable(request: AnyRequest, user_id: FromPath[str]) -> Response[Any]:
    """Let a person in again."""
    found = await _operator(request)
    await frame.form(request, found)
    user = await _user(found, user_id)
    await accounts.enable(found.app.db, user_id=user.id)
    return frame.see(f"/operator/users/{user.id}")


@get("/operator/orders", include_in_schema=False)
async def get_orders(request: AnyRequest) -> Response[Any]:
    """Everybody's orders, newest first, of one status or all."""
    found = await _operator(request)
    status = _choice(request, "status", STATUSES)
    cursor = request.query_params.get("cursor")
    rows = await orders.recent(
        found.app.db,
        status=status,
        before=decode.cursor(cursor, "orders", decode.Place),
        limit=ROWS,
    )
    last = rows[-1] if len(rows) == ROWS else None
    return _page(
        found,
        "operator/orders.html",
        orders=rows,
        people=await users.find_users(found.app.db, [order.viewer_id for order in rows]),
        chosen=status,
        statuses=STATUSES,
        cursor=cursor,
        older=None if last is None else decode.to_cursor("orders", (last.created_at, last.id)),
    )


@get("/operator/orders/{order_id:str}", include_in_schema=False)
async def get_order(request: AnyRequest, order_id: FromPath[str]) -> Response[Any]:
    """One order: what the provider told us of it, and what the ledger holds."""
    found = await _operator(request)
    db = found.app.db
    order = await orders.find(db, decode.id_or_rejected(order_id, "order_not_found"))
    if order is None:
        raise Rejected("order_not_found")
    events: list[Event] = []
    if order.payment_id is not None:
        events = await inbox.recent(
            db, provider=order.provider, reference=order.payment_id, limit=EVENTS_OF_AN_ORDER
        )
    return _page(
        found,
        "operator/order.html",
        order=order,
        viewer=await users.find_user(db, order.viewer_id),
        events=[(event, _problem_words(found, event.problem)) for event in events],
        chain=await _chain(found, order),
    )


@get("/operator/inbox", include_in_schema=False)
async def get_inbox(request: AnyRequest) -> Response[Any]:
    """What providers told us, newest first: waiting, handled, or all."""
    found = await _operator(request)
    which = _choice(request, "show", ("waiting", "handled"))
    cursor = request.query_params.get("cursor")
    events = await inbox.recent(
        found.app.db,
        is_handled=None if which is None else which == "handled",
        before=decode.cursor(cursor, "inbox", decode.EventPlace),
        limit=ROWS,
    )
    last = events[-1] if len(events) == ROWS else None
    place = None if last is None else (last.received_at, last.event_id)
    return _page(
        found,
        "operator/inbox.html",
        events=[(event, _problem_words(found, event.problem)) for event in events],
        which=which,
        cursor=cursor,
        older=None if place is None else decode.to_cursor("inbox", place),
    )


@get("/operator/rooms", include_in_schema=False)
async def get_rooms(request: AnyRequest) -> Response[Any]:
    """Rooms, newest first: live, over, or all."""
    found = await _operator(request)
    which = _choice(request, "show", ("live", "over"))
    cursor = request.query_params.get("cursor")
    app = found.app
    await reports.catch_up(app.db, app.ledger)
    lives = await rooms.list_rooms(
        app.db,
        is_live=None if which is None else which == "live",
        before=decode.cursor(cursor, "rooms", decode.Place),
        limit=ROWS,
    )
    last = lives[-1] if len(lives) == ROWS else None
    return _page(
        found,
        "operator/rooms.html",
        rows=await _room_rows(found, lives),
        which=which,
        cursor=cursor,
        older=None if last is None else decode.to_cursor("rooms", (last.started_at, last.id)),
    )


@post("/operator/rooms/{room_id:str}/end", include_in_schema=False)
async def post_end(request: AnyRequest, room_id: FromPath[str]) -> Response[Any]:
    """End somebody's room; its people are told that an operator did."""
    found = await _operator(request)
    await frame.form(request, found)
    room_id = decode.id_or_rejected(room_id, "room_not_found")
    await found.app.rooms.end(room_id, None, found.app.clock.now())
    return frame.see("/operator/rooms?show=live")


@get("/operator/catalogue", include_in_schema=False)
async def get_catalogue(request: AnyRequest) -> Response[Any]:
    """What is sold and given, and the versions of it."""
    found = await _operator(request)
    app = found.app
    return _page(
        found,
        "operator/catalogue.html",
        price_lists=app.catalog.price_lists,
        items=app.catalog.gift_items,
        versions=await price_lists.latest(app.db, limit=VERSIONS),
        version=app.price_list_version,
    )


@get("/operator/checks", include_in_schema=False)
async def get_checks(request: AnyRequest) -> Response[Any]:
    """The newest verdict on the books, each invariant in words."""
    found = await _operator(request)
    return _page(
        found,
        "operator/checks.html",
        verdict=await operator.last_verdict(found.app),
        minutes=found.app.settings.checks_minutes,
    )


@post("/operator/checks", include_in_schema=False)
async def post_checks(request: AnyRequest) -> Response[Any]:
    """Check the books now."""
    found = await _operator(request)
    await frame.form(request, found)
    await operator.run_checks(request)
    return frame.see("/operator/checks")


async def _operator(request: AnyRequest) -> Visitor:
    found = await frame.visitor(request)
    frame.needs_login(found, "operator")
    return found


async def _user(found: Visitor, user_id: str) -> User:
    user = await users.find_user(found.app.db, decode.id_or_rejected(user_id, "user_not_found"))
    if user is None:
        raise Rejected("user_not_found")
    return user


async def _user_page(found: Visitor, user: User, refusal: Rejected | None = None) -> Response[str]:
    app = found.app
    now = app.clock.now()
    is_creator = "creator" in user.roles
    wallet = await reports.wallet(
        app.db,
        app.ledger,
        app.catalog,
        viewer_id=user.id,
        country=user.country,
        environment=app.environment,
        now=now,
    )
    lives = await rooms.list_rooms(app.db, creator_id=user.id, limit=OF_A_PERSON)
    return _page(
        found,
        "operator/user.html",
        status=200 if refusal is None else 409,
        problem=None if refusal is None else forms.words(found, refusal),
        person=user,
        wallet=wallet,
        earnings=await reports.earnings(app.ledger, creator_id=user.id, environment=app.environment)
        if is_creator
        else None,
        orders=await orders.of_viewer(app.db, user.id, limit=OF_A_PERSON),
        sessions=await sessions.open_sessions(app.db, user.id, now=now),
        rows=await _room_rows(found, lives),
    )


async def _room_rows(found: Visitor, lives: Sequence[Room]) -> list[RoomRow]:
    app = found.app
    people = await users.find_users(app.db, list({room.creator_id for room in lives}))
    return [
        RoomRow(
            room,
            people.get(room.creator_id),
            app.rooms.viewer_count(room.id) if room.ended_at is None else None,
            await received.total(app.db, Stretch(creator_id=room.creator_id, room_id=room.id)),
        )
        for room in lives
    ]


def _income(totals: reports.OperatorTotals, today: Sequence[Sold]) -> list[Income]:
    """Every provider and currency of which there is money, in all or today."""
    by_pair = {(row.provider, row.currency): row for row in today}
    known = {(each.provider, each.taken.currency): each for each in totals.money_in}
    found = []
    for provider, currency in sorted(by_pair.keys() | known.keys()):
        sold, taken = by_pair.get((provider, currency)), known.get((provider, currency))
        nothing = Price(0, currency)
        found.append(
            Income(
                provider=provider,
                today=nothing if sold is None else Price(sold.amount, currency),
                orders_today=0 if sold is None else sold.orders,
                taken=nothing if taken is None else taken.taken,
                returned=nothing if taken is None else taken.returned,
            )
        )
    return found


def _money_drawings(
    found: Visitor, sold: Sequence[Sold], first: int, last: int
) -> list[figures.Drawing]:
    """One drawing for each currency: money by day."""
    drawn = []
    for currency in sorted({row.currency for row in sold}):
        days: dict[int, int] = {}
        for row in sold:
            if row.currency == currency:
                days[row.start] = days.get(row.start, 0) + row.amount
        drawn.append(
            figures.drawing(
                found.say("Money in by day (UTC), %(currency)s", currency=currency),
                [
                    (
                        figures.day_text(day, found.language),
                        amount,
                        i18n.price_text(Price(amount, currency), found.language),
                    )
                    for day, amount in figures.steps(days, first=first, last=last, step=clock.DAY)
                ],
                label_of_bars=found.say("Day"),
                label_of_values=found.say("Money in"),
            )
        )
    return drawn


def _coins_words(found: Visitor, coins: int) -> str:
    price = found.app.catalog.money_value(coins, country=found.country)
    return found.say(
        "%(coins)s coins (%(price)s)",
        coins=i18n.number_text(coins, found.language),
        price=i18n.price_text(price, found.language),
    )


async def _chain(found: Visitor, order: Order) -> list[LedgerLine]:
    """The order's chain as the ledger holds it; nothing where it was never credited."""
    if order.payment_id is None:
        return []
    head = postings.recharge_id(Environment(order.environment), order.provider, order.payment_id)
    posted = await found.app.ledger.lookup_transfers(
        [ids.nth(head, place) for place in range(postings.RECHARGE_TRANSFERS_MAX)]
    )
    lines = [each for each in posted if each is not None]
    sides = {line.transfer.debit_account_id for line in lines}
    sides |= {line.transfer.credit_account_id for line in lines}
    known = await found.app.ledger.lookup_accounts(list(sides))
    by_id = {account.id: account for account in known if account is not None}
    return [_ledger_line(line, by_id) for line in lines]


def _ledger_line(line: Posted, by_id: dict[bytes, Account]) -> LedgerLine:
    transfer = line.transfer
    currency = money.CURRENCY_OF_NUMBER.get(transfer.ledger)
    return LedgerLine(
        what=statements.WORDS[TransferCode(transfer.code)],
        debit=_account_name(by_id[transfer.debit_account_id]),
        credit=_account_name(by_id[transfer.credit_account_id]),
        coins=transfer.amount if currency is None else None,
        price=None if currency is None else Price(transfer.amount, currency.code),
        at=line.timestamp,
    )


def _account_name(account: Account) -> str:
    """As the chart names it; whose wallet and debt it is, the page says already."""
    if account.code in (AccountCode.WALLET, AccountCode.DEBT):
        return chart.code_name(account.code)
    return chart.name_of(account)


def _problem_words(found: Visitor, problem: str | None) -> str | None:
    """What keeps an event waiting, in words; what is new to us as it was written down."""
    if problem is None:
        return None
    known = {
        "payment_mismatch": found.say("What was paid is not what was ordered; look at both."),
        "payment_disputed": found.say("The payer disputes the payment."),
        "payment_refunded": found.say("Money has gone back to the payer."),
        "provider_not_found": found.say("This provider is not set up here any more."),
        "order_not_found": found.say("There is no order for this payment."),
        "provider_unavailable": found.say("The provider does not answer."),
        "ledger_unavailable": found.say("The ledger does not answer."),
    }
    word = _CODE.match(problem)
    if word is None or word[0] not in known:
        return problem
    return f"{known[word[0]]} {problem[word.end() :]}".strip()


def _choice(request: AnyRequest, name: str, known: Sequence[str]) -> str | None:
    """
    A parameter of the address that is one of a few words; None where it is not there.

    Raises:
        Rejected: parameter_invalid.
    """
    value = request.query_params.get(name) or None
    if value is not None and value not in known:
        raise Rejected("parameter_invalid", parameter=name, problem=f"one of {', '.join(known)}")
    return value


def _page(found: Visitor, template: str, **context: Any) -> Response[str]:
    """A page of operators, with how their figures are written."""
    written: dict[str, Any] = figures.writers(found.language)
    return frame.page(
        found,
        template,
        price_of=Price,
        **written,
        **context,
    )


ROUTES = (
    get_today,
    get_users,
    get_user,
    post_disable,
    post_enable,
    get_orders,
    get_order,
    get_inbox,
    get_rooms,
    post_end,
    get_catalogue,
    get_checks,
    post_checks,
)
