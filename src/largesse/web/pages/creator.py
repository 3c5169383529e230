"""
The creator's pages: go live, the console, what a live came to, what was earned.

Everything works as a page; the console's script only keeps it up to date by itself.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream

from largesse import clock, reports, studio
from largesse.catalog import GiftItem
from largesse.errors import Rejected
from largesse.identity import accounts
from largesse.records import projections, received, rooms, users
from largesse.records.projections import TopGifter
from largesse.records.received import By, Part, Received, Stretch
from largesse.records.rooms import Room
from largesse.records.users import User
from largesse.text import CHAT_LENGTH_MAX
from largesse.web import decode, earnings, reply
from largesse.web.assets import asset
from largesse.web.auth import AnyRequest
from largesse.web.pages import figures, frame
from largesse.web.pages.frame import Visitor
from largesse.web.pages.worth import rate
from largesse.web.rooms import open_room

ROOMS_PER_PAGE = 10
GIFTS_PER_PAGE = 20
GIFTS_IN_CONSOLE = 50
TOP_GIFTERS = 10
BEST_ITEMS = 5
PARTS_MAX = 50
PERIODS = {"7": 7, "30": 30, "90": 90, "all": 0}
"""Days of earnings that one may look at; 0 is from the beginning."""
PERIOD = "30"
CUTS: tuple[By, ...] = ("item", "room", "gifter")
EXPORT_PAGE = 500
BARS_MAX = 90
"""Days that one drawing shows; of a longer time the last ones."""


class RoomRow(msgspec.Struct, frozen=True):
    """One of my lives in a list, and what it brought."""

    room: Room
    length: int
    received: Received


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of earnings cut one way: its words, its picture or address, its figures."""

    name: str
    art: str | None = None
    user_id: str | None = None
    address: str | None = None
    part: Part


@get("/creator", include_in_schema=False)
async def get_creator(request: AnyRequest) -> Response[Any]:
    """How to become a creator, or: go live, what there is, what was."""
    found = await frame.visitor(request)
    user = frame.needs_login(found)
    if "creator" not in user.roles:
        return _joining(found, user)
    return await _home(found, user)


@post("/creator/join", include_in_schema=False)
async def post_join(request: AnyRequest) -> Response[Any]:
    """Become a creator."""
    found = await frame.visitor(request)
    user = frame.needs_login(found)
    await frame.form(request, found)
    try:
        accounts.require_adult(user, found.app.clock.now(), found.app.settings.adult_age)
    except Rejected as refusal:
        return _joining(found, user, refusal)
    await accounts.add_role(found.app.db, user_id=user.id, role="creator")
    return frame.see("/creator")


@post("/creator/live", include_in_schema=False)
async def post_live(request: AnyRequest) -> Response[Any]:
    """Go live."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "creator")
    title = (await frame.form(request, found)).get("title", "")
    try:
        await open_room(found.app, user, title)
    except Rejected as refusal:
        if refusal.code != "room_already_live":
            return await _home(found, user, title=title, refusal=refusal)
    return frame.see("/creator/live")


@get("/creator/live", include_in_schema=False)
async def get_live(request: AnyRequest) -> Response[Any]:
    """The console of my live room."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "creator")
    room = await _live_room(found, user)
    if room is None:
        return frame.see("/creator")
    app = found.app
    gifts, _ = await reports.earned_gifts(
        app.db,
        app.ledger,
        app.catalog,
        creator_id=user.id,
        room_id=room.id,
        country=user.country,
        before=None,
        limit=GIFTS_IN_CONSOLE,
    )
    now = app.clock.now()
    dearest = rate(found)
    top = await projections.top_gifters_of_room(app.db, room.id, limit=TOP_GIFTERS)
    return _page(
        found,
        "creator/live.html",
        room=room,
        length=now - room.started_at,
        viewers=app.rooms.viewer_count(room.id),
        gifts=gifts,
        received=await received.total(app.db, Stretch(creator_id=user.id, room_id=room.id)),
        top=top,
        people=await _people(found, top),
        chat_length=CHAT_LENGTH_MAX,
        data={
            "room": room.id,
            "startedAt": clock.milliseconds(room.started_at),
            "now": clock.milliseconds(now),
            "me": user.id,
            "gifts": msgspec.to_builtins(gifts),
            "rate": {"coins": dearest.coins, **msgspec.to_builtins(dearest.price)},
            "art": {item.id: asset(f"art/gifts/{item.art}") for item in app.catalog.gift_items},
        },
    )


@get("/creator/live/end", include_in_schema=False)
async def get_end(request: AnyRequest) -> Response[Any]:
    """Ask once more before the live is over."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "creator")
    room = await _live_room(found, user)
    if room is None:
        return frame.see("/creator")
    return _page(found, "creator/end.html", room=room)


@post("/creator/live/end", include_in_schema=False)
async def post_end(request: AnyRequest) -> Response[Any]:
    """End my live, and see what it came to."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "creator")
    room_id = (await frame.form(request, found)).get("room_id", "")
    room = await earnings.own_room(found.app, user, room_id)
    await found.app.rooms.end(room.id, user.id, found.app.clock.now())
    return frame.see(f"/creator/rooms/{room.id}")


@get("/creator/rooms/{room_id:str}", include_in_schema=False)
async def get_room(request: AnyRequest, room_id: FromPath[str]) -> Response[Any]:
    """What one of my lives came to."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "creator")
    app = found.app
    room = await earnings.own_room(app, user, room_id)
    if room.ended_at is None:
        return frame.see("/creator/live")
    gifts, place = await reports.earned_gifts(
        app.db,
        app.ledger,
        app.catalog,
        creator_id=user.id,
        room_id=room.id,
        country=user.country,
        before=decode.cursor(request.query_params.get("cursor"), "earnings", decode.Place),
        limit=GIFTS_PER_PAGE,
    )
    summary = await studio.summary(app.db, room, now=app.clock.now())
    return _page(
        found,
        "creator/room.html",
        summary=summary,
        items=[_item_row(found, part) for part in summary.items],
        people=await _people(found, summary.top_gifters),
        gifts=gifts,
        cursor=request.query_params.get("cursor"),
        older=None if place is None else decode.to_cursor("earnings", place),
    )


@get("/creator/earnings", include_in_schema=False)
async def get_earnings(request: AnyRequest) -> Response[Any]:
    """What there is, and where it came from: by day, item, room, gifter, and gift by gift."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "creator")
    app = found.app
    period = _choice(request, "days", tuple(PERIODS), PERIOD)
    cut = _choice(request, "by", CUTS, CUTS[0])
    now = app.clock.now()
    since = _since(period, now)
    gifts, place = await reports.earned_gifts(
        app.db,
        app.ledger,
        app.catalog,
        creator_id=user.id,
        country=user.country,
        before=decode.cursor(request.query_params.get("cursor"), "earnings", decode.Place),
        limit=GIFTS_PER_PAGE,
    )
    stretch = Stretch(creator_id=user.id, since=since)
    return _page(
        found,
        "creator/earnings.html",
        earnings=await reports.earnings(
            app.ledger, creator_id=user.id, environment=app.environment
        ),
        period=period,
        periods=tuple(PERIODS),
        cut=cut,
        total=await received.total(app.db, stretch),
        rows=await _rows(found, await received.parts(app.db, stretch, cut, limit=PARTS_MAX), cut),
        drawing=await _drawing(found, stretch, now),
        gifts=gifts,
        cursor=request.query_params.get("cursor"),
        older=None if place is None else decode.to_cursor("earnings", place),
    )


@get("/creator/earnings.csv", include_in_schema=False)
async def get_earnings_csv(request: AnyRequest) -> Stream:
    """Every gift I received with its split, newest first."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "creator")
    found.app.limiter.take("export", user.id, found.app.clock.now())
    headers = {"content-disposition": 'attachment; filename="earnings.csv"'}
    return Stream(_csv(found, user), media_type="text/csv; charset=utf-8", headers=headers)


async def _csv(found: Visitor, user: User) -> Any:
    app = found.app
    yield reports.csv_line(
        (
            *("at", "gift", "item", "quantity", "room", "viewer", "coins", "share_bps"),
            *("diamonds", "paid", "platform", "yours", "currency"),
        )
    )
    before: tuple[int, str] | None = None
    while True:
        gifts, before = await reports.earned_gifts(
            app.db,
            app.ledger,
            app.catalog,
            creator_id=user.id,
            country=user.country,
            before=before,
            limit=EXPORT_PAGE,
        )
        yield "".join(_csv_row(each) for each in gifts)
        if before is None:
            return


def _csv_row(earned: reports.EarnedGift) -> str:
    gift, split = earned.gift, earned.split
    return reports.csv_line(
        (
            gift.at,
            gift.id,
            gift.item_name,
            gift.quantity,
            gift.room_title,
            gift.viewer_login,
            gift.coins,
            split.yours.share_bps,
            gift.diamonds,
            split.paid.worth.value,
            None if split.platform is None else split.platform.value,
            split.yours.worth.value,
            split.yours.worth.currency,
        )
    )


def _joining(found: Visitor, user: User, refusal: Rejected | None = None) -> Response[str]:
    """What a creator is, and the form to become one; the young are told when they may."""
    if refusal is None:
        try:
            accounts.require_adult(user, found.app.clock.now(), found.app.settings.adult_age)
        except Rejected as too_young:
            return _page(found, "creator/join.html", minimum_age=too_young.facts["minimum_age"])
        return _page(found, "creator/join.html", minimum_age=None)
    minimum_age = refusal.facts["minimum_age"]
    status = reply.REFUSALS[refusal.code].status
    return _page(found, "creator/join.html", status=status, minimum_age=minimum_age)


async def _home(
    found: Visitor, user: User, *, title: str = "", refusal: Rejected | None = None
) -> Response[str]:
    app = found.app
    now = app.clock.now()
    await reports.catch_up(app.db, app.ledger)
    cursor = found.request.query_params.get("cursor")
    lives = await rooms.list_rooms(
        app.db,
        creator_id=user.id,
        before=decode.cursor(cursor, "rooms", decode.Place),
        limit=ROOMS_PER_PAGE,
    )
    rows = [
        RoomRow(
            room,
            (room.ended_at or now) - room.started_at,
            await received.total(app.db, Stretch(creator_id=user.id, room_id=room.id)),
        )
        for room in lives
    ]
    month = Stretch(creator_id=user.id, since=_since(PERIOD, now))
    best = await received.parts(app.db, month, "item", limit=BEST_ITEMS)
    last = lives[-1] if len(lives) == ROOMS_PER_PAGE else None
    return _page(
        found,
        "creator/home.html",
        status=200 if refusal is None else reply.REFUSALS[refusal.code].status,
        title=title,
        problem=None if refusal is None else frame.refusal_text(found, refusal),
        live=await _live_room(found, user),
        earnings=await reports.earnings(
            app.ledger, creator_id=user.id, environment=app.environment
        ),
        rows=rows,
        best=[_item_row(found, part) for part in best],
        cursor=cursor,
        older=None if last is None else decode.to_cursor("rooms", (last.started_at, last.id)),
    )


async def _live_room(found: Visitor, user: User) -> Room | None:
    lives = await rooms.list_rooms(found.app.db, creator_id=user.id, is_live=True, limit=1)
    return lives[0] if lives else None


async def _people(found: Visitor, gifters: Sequence[TopGifter]) -> dict[str, User]:
    return await users.find_users(found.app.db, [gifter.viewer_id for gifter in gifters])


async def _rows(found: Visitor, parts: Sequence[Part], cut: By) -> list[Row]:
    db = found.app.db
    if cut == "item":
        return [_item_row(found, part) for part in parts]
    if cut == "gifter":
        people = await users.find_users(db, [part.key for part in parts])
        return [
            Row(
                name=people[part.key].name if part.key in people else found.say("Somebody"),
                user_id=part.key,
                part=part,
            )
            for part in parts
        ]
    lives = [await rooms.find(db, part.key) for part in parts]
    return [
        Row(
            name=found.say("A room") if room is None else room.title,
            address=None if room is None else f"/creator/rooms/{room.id}",
            part=part,
        )
        for room, part in zip(lives, parts, strict=True)
    ]


def _item_row(found: Visitor, part: Part) -> Row:
    item: GiftItem | None = found.app.catalog.item_of_number(part.key)
    if item is None:
        return Row(name=found.say("A gift of the past"), part=part)
    return Row(name=item.name, art=item.art, part=part)


async def _drawing(found: Visitor, stretch: Stretch, now: int) -> figures.Drawing:
    """Diamonds by day, up to today."""
    today = figures.day_start(now)
    since = max(stretch.since, today - (BARS_MAX - 1) * clock.DAY)
    days = await received.days(found.app.db, msgspec.structs.replace(stretch, since=since))
    units = {day.key: day.diamond_units for day in days}
    first = since if stretch.since else min(units, default=today)
    language = found.language
    return figures.drawing(
        found.say("Diamonds by day"),
        [
            (
                figures.day_text(day, language),
                value,
                found.say("%(diamonds)s diamonds", diamonds=figures.diamonds_text(value, language)),
            )
            for day, value in figures.steps(units, first=first, last=today, step=clock.DAY)
        ],
        label_of_bars=found.say("Day"),
        label_of_values=found.say("Diamonds"),
    )


def _since(period: str, now: int) -> int:
    """Midnight (UTC), so many days ago counting today; 0 for everything."""
    days = PERIODS[period]
    return figures.day_start(now) - (days - 1) * clock.DAY if days else 0


def _choice(request: AnyRequest, name: str, known: Sequence[Any], otherwise: Any) -> Any:
    """
    A parameter of the address that is one of a few words.

    Raises:
        Rejected: parameter_invalid.
    """
    value = request.query_params.get(name, otherwise)
    if value not in known:
        raise Rejected("parameter_invalid", parameter=name, problem=f"one of {', '.join(known)}")
    return value


def _page(found: Visitor, template: str, **context: Any) -> Response[str]:
    """A page of creators, with how their figures are written."""
    catalog = found.app.catalog
    share = found.app.settings.creator_share_bps
    written: dict[str, Any] = figures.writers(found.language)
    return frame.page(
        found,
        template,
        share=share,
        share_percent=figures.decimal_text(share / 100, found.language),
        item_of=catalog.gift_item,
        worths=partial(reports.worths, catalog),
        **written,
        **context,
    )


ROUTES = (
    get_creator,
    post_join,
    post_live,
    get_live,
    get_end,
    post_end,
    get_room,
    get_earnings,
    get_earnings_csv,
)
