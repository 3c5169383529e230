"""What a creator earned, gift by gift."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from largesse import reports
from largesse.errors import Rejected
from largesse.web import auth, decode
from largesse.web.auth import AnyRequest
from largesse.web.describe import PAGE_LIMIT, SIGNED_IN, Cursor, Limit, refusals

TAG = "Earnings"


class EarnedGiftsAnswer(msgspec.Struct, frozen=True):
    """A page of gifts with their splits, newest first."""

    gifts: tuple[reports.EarnedGift, ...]
    next_cursor: str | None


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
        room = await app.rooms.find(decode.id_or_rejected(room_id, "room_not_found"))
        if room is None or room.creator_id != creator.id:
            raise Rejected("room_not_found")
        room_id = room.id
    gifts, place = await reports.earned_gifts(
        app.db,
        app.ledger,
        app.catalog,
        creator_id=creator.id,
        room_id=room_id,
        country=creator.country,
        before=decode.cursor(cursor, "earnings", tuple[int, str]),
        limit=limit,
    )
    return EarnedGiftsAnswer(
        tuple(gifts), None if place is None else decode.to_cursor("earnings", place)
    )


ROUTES = (get_earnings, get_earned_gifts)
