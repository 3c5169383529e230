"""Gift items, gifts, and who gave most. The gift route itself answers in `gift_lane.py`."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from largesse import clock, gifting, reports
from largesse.catalog import GiftItem
from largesse.errors import Rejected
from largesse.money import Price
from largesse.records import projections, users
from largesse.records.projections import Scope, TopGifter
from largesse.records.rooms import Room
from largesse.records.users import User
from largesse.web import auth, decode
from largesse.web.auth import AnyRequest
from largesse.web.describe import (
    OPEN,
    PAGE_LIMIT,
    SIGNED_IN,
    Cursor,
    IdempotencyKey,
    Limit,
    refusals,
)
from largesse.web.gift_lane import GiftRequest, give
from largesse.web.orders import ChannelParameter, CountryParameter

TAG = "Gifts"


class GiftItemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Something to send. `price` is what its coins are worth at the undiscounted rate."""

    id: str
    name: str
    coins: int
    price: Price
    streakable: bool
    exclusive: bool
    season: str | None
    art_url: str


class GiftItemsAnswer(msgspec.Struct, frozen=True):
    """All gift items on offer, cheapest first."""

    items: tuple[GiftItemAnswer, ...]


class GiftsAnswer(msgspec.Struct, frozen=True):
    """A page of gifts, newest first."""

    gifts: tuple[reports.GiftView, ...]
    next_cursor: str | None


class TopGifterAnswer(msgspec.Struct, frozen=True):
    """A viewer in the ranking; of two with as many coins, the one who had them first."""

    rank: int
    viewer_id: str
    viewer_login: str | None
    viewer_name: str | None
    coins: int
    gifts: int
    reached_at: str


class TopGiftersAnswer(msgspec.Struct, frozen=True):
    """Who gave most coins; `you` is the caller's own place, null where he has none."""

    top_gifters: tuple[TopGifterAnswer, ...]
    you: TopGifterAnswer | None


@get(
    "/v1/gift-items",
    tags=[TAG],
    security=OPEN,
    summary="What one can send",
    description="Every gift item on offer, cheapest first. Only some may send an exclusive one.",
    responses=refusals("parameter_invalid"),
)
async def get_gift_items(
    request: AnyRequest, channel: ChannelParameter = "web", country: CountryParameter = "US"
) -> GiftItemsAnswer:
    catalog = auth.anyone(request).catalog

    def item_answer(item: GiftItem) -> GiftItemAnswer:
        return GiftItemAnswer(
            id=item.id,
            name=item.name,
            coins=item.coins,
            price=catalog.money_value(item.coins, channel, country),
            streakable=item.streakable,
            exclusive=item.exclusive,
            season=item.season or None,
            art_url=f"/static/art/gifts/{item.art}",
        )

    return GiftItemsAnswer(tuple(item_answer(item) for item in catalog.gift_items if item.enabled))


@post(
    "/v1/rooms/{room_id:str}/gifts",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs(limit=None)],
    summary="Send a gift",
    description="Takes the coins and earns the creator diamonds, at once or not at all; 201 means "
    "that it is on the disk. Make a new key for each press, best a UUIDv7, and keep it until there "
    "is an answer: the same key with the same body is the same gift, however often it is sent, and "
    "is answered with the first gift, or the first refusal, and the balance of now.",
    responses=refusals(
        "quantity_out_of_range",
        "gift_item_not_found",
        "gift_item_disabled",
        "gift_item_exclusive",
        "room_not_found",
        "room_ended",
        "self_gift",
        "adults_only",
        "idempotency_key_required",
        "idempotency_key_invalid",
        "idempotency_key_expired",
        "idempotency_key_reused",
        "insufficient_coins",
        "role_required",
        "ledger_busy",
        "ledger_unavailable",
        session=True,
        body=True,
    ),
)
async def post_gift(
    request: AnyRequest,
    room_id: FromPath[str],
    data: JSONBody[GiftRequest],
    idempotency_key: IdempotencyKey = None,
) -> gifting.SentGift:
    app, viewer = auth.app_of(request), auth.user_of(request)
    return await give(app, viewer, room_id, data, idempotency_key, app.clock.now())


@get(
    "/v1/rooms/{room_id:str}/gifts",
    tags=[TAG],
    security=OPEN,
    summary="The gifts in a room",
    description="Newest first, in pages.",
    responses=refusals("room_not_found", "cursor_invalid", "parameter_invalid"),
)
async def get_room_gifts(
    request: AnyRequest,
    room_id: FromPath[str],
    country: CountryParameter = "US",
    cursor: Cursor = None,
    limit: Limit = PAGE_LIMIT,
) -> GiftsAnswer:
    app = auth.anyone(request)
    found_id = (await _room(request, room_id)).id
    gifts, place = await reports.room_gifts(
        app.db,
        app.ledger,
        app.catalog,
        room_id=found_id,
        country=country,
        before=decode.cursor(cursor, "gifts", decode.Place),
        limit=limit,
    )
    return GiftsAnswer(tuple(gifts), None if place is None else decode.to_cursor("gifts", place))


ScopeParameter = Annotated[
    Scope,
    QueryParameter(
        name="scope", description="`room`: in this room; `creator`: to its creator, for all time."
    ),
]


@get(
    "/v1/rooms/{room_id:str}/top-gifters",
    tags=[TAG],
    security=OPEN,
    summary="Who gave most in a room",
    description="By coins; of two who gave as much, the one who reached it first. Whoever sends a "
    "session is told his own place, too.",
    responses=refusals("room_not_found", "parameter_invalid"),
)
async def get_top_gifters(
    request: AnyRequest,
    room_id: FromPath[str],
    within: ScopeParameter = "room",
    limit: Limit = PAGE_LIMIT,
) -> TopGiftersAnswer:
    app = auth.anyone(request)
    room = await _room(request, room_id)
    scope_id = room.id if within == "room" else room.creator_id
    await reports.catch_up(app.db, app.ledger)
    rows = await projections.top_gifters_of(app.db, within, scope_id, limit=limit)
    viewer = await auth.user_if_any(request)
    place = None
    if viewer is not None:
        place = await projections.place_of_gifter(app.db, within, scope_id, viewer.id)
    found = await users.find_users(app.db, [row.viewer_id for row in rows])
    if viewer is not None:
        found[viewer.id] = viewer
    return TopGiftersAnswer(
        tuple(_top_gifter(rank, row, found) for rank, row in enumerate(rows, 1)),
        None if place is None else _top_gifter(*place, found),
    )


def _top_gifter(rank: int, row: TopGifter, people: dict[str, User]) -> TopGifterAnswer:
    user = people.get(row.viewer_id)
    return TopGifterAnswer(
        rank,
        row.viewer_id,
        None if user is None else user.login,
        None if user is None else user.name,
        row.coins,
        row.gifts,
        clock.to_text(row.reached_at),
    )


async def _room(request: AnyRequest, room_id: str) -> Room:
    room = await auth.app_of(request).rooms.find(decode.id_or_rejected(room_id, "room_not_found"))
    if room is None:
        raise Rejected("room_not_found")
    return room


ROUTES = (get_gift_items, post_gift, get_room_gifts, get_top_gifters)
