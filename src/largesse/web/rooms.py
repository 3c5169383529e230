"""Rooms: who is live, open one, end it."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from largesse import clock
from largesse.app import App
from largesse.books import chart
from largesse.errors import Rejected
from largesse.identity import accounts
from largesse.records import rooms as records
from largesse.records import users
from largesse.records.rooms import Room
from largesse.records.users import User
from largesse.rooms.live import TITLE_LENGTH_MAX
from largesse.web import auth, decode
from largesse.web.auth import AnyRequest
from largesse.web.describe import OPEN, PAGE_LIMIT, SIGNED_IN, Cursor, Limit, refusals

TAG = "Rooms"


class RoomRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The room to open."""

    title: Annotated[
        str,
        Meta(
            description=f"What the room is about, 1 to {TITLE_LENGTH_MAX} characters.",
            examples=["Sunday songs"],
        ),
    ]


class RoomAnswer(msgspec.Struct, frozen=True):
    """A room; it is live while `ended_at` is null. `creator_name` is the name to show."""

    id: str
    title: str
    is_live: bool
    creator_id: str
    creator_login: str | None
    creator_name: str | None
    viewers: int
    started_at: str
    ended_at: str | None


class RoomsAnswer(msgspec.Struct, frozen=True):
    """A page of rooms, newest first."""

    rooms: tuple[RoomAnswer, ...]
    next_cursor: str | None


Live = Annotated[
    bool | None,
    QueryParameter(
        name="live", description="true: only live rooms, false: only rooms that are over."
    ),
]


@get(
    "/v1/rooms",
    tags=[TAG],
    security=OPEN,
    summary="Rooms",
    description="Newest first, in pages; `live=true` for those one can gift in now.",
    responses=refusals("cursor_invalid", "parameter_invalid"),
)
async def get_rooms(
    request: AnyRequest, live: Live = None, cursor: Cursor = None, limit: Limit = PAGE_LIMIT
) -> RoomsAnswer:
    app = auth.anyone(request)
    before = decode.cursor(cursor, "rooms", decode.Place)
    found = await records.list_rooms(app.db, is_live=live, before=before, limit=limit)
    creators = await users.find_users(app.db, [room.creator_id for room in found])
    last = found[-1] if len(found) == limit else None
    return RoomsAnswer(
        tuple(answer(app, room, creators.get(room.creator_id)) for room in found),
        None if last is None else decode.to_cursor("rooms", (last.started_at, last.id)),
    )


@post(
    "/v1/rooms",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("creator")],
    summary="Open a room",
    description="A creator has at most one live room.",
    responses=refusals(
        "role_required",
        "adults_only",
        "title_invalid",
        "room_already_live",
        session=True,
        body=True,
    ),
)
async def post_room(request: AnyRequest, data: JSONBody[RoomRequest]) -> RoomAnswer:
    creator = auth.user_of(request)
    app = auth.app_of(request)
    return answer(app, await open_room(app, creator, data.title), creator)


@get(
    "/v1/rooms/{room_id:str}",
    tags=[TAG],
    security=OPEN,
    summary="One room",
    description="Live or over.",
    responses=refusals("room_not_found"),
)
async def get_room(request: AnyRequest, room_id: FromPath[str]) -> RoomAnswer:
    app = auth.anyone(request)
    room = await app.rooms.find(decode.id_or_rejected(room_id, "room_not_found"))
    if room is None:
        raise Rejected("room_not_found")
    return answer(app, room, await users.find_user(app.db, room.creator_id))


@post(
    "/v1/rooms/{room_id:str}/end",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("creator")],
    status_code=200,
    summary="End my room",
    description="No gift begins in it any more. A room that is over stays as it is.",
    responses=refusals("role_required", "room_not_found", session=True),
)
async def end_room(request: AnyRequest, room_id: FromPath[str]) -> RoomAnswer:
    creator = auth.user_of(request)
    app = auth.app_of(request)
    found_id = decode.id_or_rejected(room_id, "room_not_found")
    room = await app.rooms.end(found_id, creator.id, app.clock.now())
    return answer(app, room, creator)


async def open_room(app: App, creator: User, title: str) -> Room:
    """
    Let a creator go live.

    Raises:
        Rejected: adults_only, role_required, title_invalid, room_already_live.
    """
    now = app.clock.now()
    accounts.require_adult(creator, now, app.settings.adult_age)
    # A gift must never meet a creator whose earnings have no account.
    await app.ledger.create_accounts(chart.creator_accounts(app.environment, creator.id))
    return await app.rooms.open(creator, title, now, app.entropy)


def answer(app: App, room: Room, creator: User | None) -> RoomAnswer:
    """A room as everybody sees it."""
    return RoomAnswer(
        room.id,
        room.title,
        room.ended_at is None,
        room.creator_id,
        None if creator is None else creator.login,
        None if creator is None else creator.name,
        app.rooms.viewer_count(room.id),
        clock.to_text(room.started_at),
        None if room.ended_at is None else clock.to_text(room.ended_at),
    )


ROUTES = (get_rooms, post_room, get_room, end_room)
