"""What a creator earned, gift by gift."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParameter

from largesse import money, reports
from largesse.app import App
from largesse.errors import Rejected
from largesse.money import Price
from largesse.records import received
from largesse.records.received import Stretch
from largesse.records.rooms import Room
from largesse.records.users import User
from largesse.web import auth, decode
from largesse.web.auth import AnyRequest
from largesse.web.describe import PAGE_LIMIT, SIGNED_IN, Cursor, Limit, refusals

TAG = "Earnings"


class EarnedGiftsAnswer(msgspec.Struct, frozen=True):
    """A page of gifts with their splits, newest first."""

    gifts: tuple[reports.EarnedGift, ...]
    next_cursor: str | None


class RoomEarnings(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one of my rooms brought so far. `price` is what the coins are worth to viewers at today's
    rate, `worth` what the diamonds are worth, to the millionth; `platform` is null where the
    currencies differ.
    """

    room_id: str
    gifts: int
    items: int
    gifters: int
    coins: int
    price: Price
    diamonds: str
    worth: reports.Worth
    platform: reports.Worth | None


RoomId = Annotated[
    str | None,
    QueryParameter(name="room_id", description="Only the gifts of this room of mine."),
]


@get(
    "/v1/earnings",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("creator")],
    summary="My diamonds",
    description="Held until the hold is over, then available. Diamonds are decimal text, as "
    '`"12.5000"`; one is worth a cent.',
    responses=refusals("role_required", session=True),
)
async def get_earnings(request: AnyRequest) -> reports.Earnings:
    creator = auth.user_of(request)
    app = auth.app_of(request)
    return await reports.earnings(app.ledger, creator_id=creator.id, environment=app.environment)


@get(
    "/v1/earnings/gifts",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("creator")],
    summary="Each gift I received, and its split",
    description="Newest first: what the viewer paid, what the platform kept, what is yours.",
    responses=refusals(
        "role_required", "room_not_found", "cursor_invalid", "parameter_invalid", session=True
    ),
)
async def get_earned_gifts(
    request: AnyRequest, room_id: RoomId = None, cursor: Cursor = None, limit: Limit = PAGE_LIMIT
) -> EarnedGiftsAnswer:
    creator = auth.user_of(request)
    app = auth.app_of(request)
    if room_id is not None:
        room_id = (await own_room(app, creator, room_id)).id
    gifts, place = await reports.earned_gifts(
        app.db,
        app.ledger,
        app.catalog,
        creator_id=creator.id,
        room_id=room_id,
        country=creator.country,
        before=decode.cursor(cursor, "earnings", decode.Place),
        limit=limit,
    )
    return EarnedGiftsAnswer(
        tuple(gifts), None if place is None else decode.to_cursor("earnings", place)
    )


@get(
    "/v1/earnings/rooms/{room_id:str}",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("creator")],
    summary="What one of my rooms brought",
    description="Live or over, as far as the ledger is at the moment of the answer.",
    responses=refusals("role_required", "room_not_found", session=True),
)
async def get_room_earnings(request: AnyRequest, room_id: FromPath[str]) -> RoomEarnings:
    creator = auth.user_of(request)
    app = auth.app_of(request)
    room = await own_room(app, creator, room_id)
    await reports.catch_up(app.db, app.ledger)
    found = await received.total(app.db, Stretch(creator_id=creator.id, room_id=room.id))
    _, platform, worth = reports.worths(app.catalog, found.coins, found.diamond_units)
    return RoomEarnings(
        room_id=room.id,
        gifts=found.gifts,
        items=found.items,
        gifters=found.gifters,
        coins=found.coins,
        price=app.catalog.money_value(found.coins, country=creator.country),
        diamonds=money.diamonds(found.diamond_units),
        worth=worth,
        platform=platform,
    )


async def own_room(app: App, creator: User, room_id: str) -> Room:
    """
    A room of this creator.

    Raises:
        Rejected: room_not_found, also for a room of somebody else.
    """
    room = await app.rooms.find(decode.id_or_rejected(room_id, "room_not_found"))
    if room is None or room.creator_id != creator.id:
        raise Rejected("room_not_found")
    return room


ROUTES = (get_earnings, get_earned_gifts, get_room_earnings)
