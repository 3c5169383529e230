"""Watching: tickets that open sockets, keys that show a room on a screen, and who follows whom."""

from base64 import urlsafe_b64encode
from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from largesse import clock, ids
from largesse.app import App
from largesse.errors import Rejected
from largesse.records import display_keys
from largesse.records.display_keys import NAME_LENGTH_MAX, DisplayKey
from largesse.records.users import User
from largesse.rooms import tickets
from largesse.rooms.tickets import LIFETIME, Purpose
from largesse.web import auth, decode, room_socket
from largesse.web.auth import AnyConnection, AnyRequest
from largesse.web.describe import OPEN, SIGNED_IN, refusals

TAG = "Watching"

KEY_BYTES = 16
"""Of chance in a display key."""


class TicketAnswer(msgspec.Struct, frozen=True):
    """A ticket, to be sent in the `hello` of one socket before it expires."""

    ticket: str
    expires_at: str


class FollowAnswer(msgspec.Struct, frozen=True):
    """Whether one follows the creator now."""

    following: bool


class DisplayKeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key for a screen."""

    name: Annotated[
        str,
        Meta(
            description=f"What it is for, 1 to {NAME_LENGTH_MAX} characters.",
            examples=["Overlay on the left"],
        ),
    ]


class DisplayKeyAnswer(msgspec.Struct, frozen=True):
    """A key that shows the rooms of its creator and can do nothing in them."""

    id: str
    name: str
    created_at: str


class NewDisplayKeyAnswer(msgspec.Struct, frozen=True):
    """A new key. `key` goes into the address of a room's socket, as `?key=`; it is shown this once."""

    id: str
    name: str
    created_at: str
    key: str


class DisplayKeysAnswer(msgspec.Struct, frozen=True):
    """All keys of a creator, newest first."""

    keys: tuple[DisplayKeyAnswer, ...]


@post(
    "/v1/rooms/{room_id:str}/tickets",
    tags=[TAG],
    security=[*SIGNED_IN, *OPEN],
    summary="A ticket for a room",
    description="For the `hello` of the room's socket, `/v1/rooms/{room_id}/live`. Without a session "
    "it is a visitor's: he sees everything and can do nothing.",
    responses=refusals("room_not_found", session=True),
)
async def post_room_ticket(request: AnyRequest, room_id: FromPath[str]) -> TicketAnswer:
    app = auth.app_of(request)
    user = await _visitor(request)
    room = await app.rooms.find(decode.id_or_rejected(room_id, "room_not_found"))
    if room is None:
        raise Rejected("room_not_found")
    user_id = None if user is None else user.id
    return _ticket(app, Purpose.ROOM, room_id=room.id, user_id=user_id)


@post(
    "/v1/me/tickets",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs()],
    summary="A ticket for my own feed",
    description="For the `hello` of `/v1/me/live`, which tells what is in the wallet whenever it "
    "changes.",
    responses=refusals(session=True),
)
async def post_my_ticket(request: AnyRequest) -> TicketAnswer:
    user = auth.user_of(request)
    return _ticket(auth.app_of(request), Purpose.PERSON, room_id="", user_id=user.id)


@post(
    "/v1/creators/{creator_id:str}/follow",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs(limit="follow")],
    status_code=200,
    summary="Follow a creator",
    description="Told in his room if he is live. Again is no harm.",
    responses=refusals("creator_not_found", "self_follow", session=True),
)
async def post_follow(request: AnyRequest, creator_id: FromPath[str]) -> FollowAnswer:
    return await _follow(request, creator_id, is_following=True)


@delete(
    "/v1/creators/{creator_id:str}/follow",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs(limit="follow")],
    status_code=200,
    summary="Follow a creator no longer",
    description="Again is no harm.",
    responses=refusals("creator_not_found", "self_follow", session=True),
)
async def delete_follow(request: AnyRequest, creator_id: FromPath[str]) -> FollowAnswer:
    return await _follow(request, creator_id, is_following=False)


@post(
    "/v1/display-keys",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("creator")],
    summary="A key for a screen",
    description="With it in the address, `/v1/rooms/{room_id}/live?key=...`, a program shows what "
    "happens in my rooms. The key is shown this once.",
    responses=refusals(
        "role_required", "key_name_invalid", "display_keys_too_many", session=True, body=True
    ),
)
async def post_display_key(
    request: AnyRequest, data: JSONBody[DisplayKeyRequest]
) -> NewDisplayKeyAnswer:
    made, key = await new_display_key(auth.app_of(request), auth.user_of(request), data.name)
    return NewDisplayKeyAnswer(made.id, made.name, clock.to_text(made.created_at), key)


@get(
    "/v1/display-keys",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("creator")],
    summary="My keys for screens",
    description="Newest first, without the keys themselves.",
    responses=refusals("role_required", session=True),
)
async def get_display_keys(request: AnyRequest) -> DisplayKeysAnswer:
    found = await display_keys.list_keys(auth.app_of(request).db, auth.user_of(request).id)
    return DisplayKeysAnswer(
        tuple(DisplayKeyAnswer(key.id, key.name, clock.to_text(key.created_at)) for key in found)
    )


@delete(
    "/v1/display-keys/{key_id:str}",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("creator")],
    status_code=204,
    summary="Take a key back",
    description="What it opened is closed.",
    responses=refusals("role_required", "display_key_not_found", session=True),
)
async def delete_display_key(request: AnyRequest, key_id: FromPath[str]) -> None:
    found_id = decode.id_or_rejected(key_id, "display_key_not_found")
    await drop_display_key(auth.app_of(request), auth.user_of(request), found_id)


async def new_display_key(app: App, creator: User, name: str) -> tuple[DisplayKey, str]:
    """
    Make a key for a screen; the key itself is nowhere else.

    Raises:
        Rejected: key_name_invalid, display_keys_too_many.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise Rejected("key_name_invalid", maximum=NAME_LENGTH_MAX)
    now = app.clock.now()
    key = urlsafe_b64encode(app.entropy(KEY_BYTES)).decode().rstrip("=")
    made = DisplayKey(
        ids.text(ids.ordered(clock.milliseconds(now), app.entropy(9))), creator.id, name, now
    )
    await display_keys.insert(app.db, made, key_hash=room_socket.key_hash(key))
    return made, key


async def drop_display_key(app: App, creator: User, key_id: str) -> None:
    """
    Take a key back, and close what it opened.

    Raises:
        Rejected: display_key_not_found, also for a key of somebody else.
    """
    if not await display_keys.delete(app.db, creator.id, key_id):
        raise Rejected("display_key_not_found")
    app.rooms.drop_key(key_id)


async def _visitor(connection: AnyConnection) -> User | None:
    """Who is asking, or None for nobody; a session that is none is refused all the same."""
    app = auth.app_of(connection)
    now, address = app.clock.now(), auth.address_of(connection)
    try:
        user = await auth.signed_in(app, auth.sent(connection), address, now)
    except Rejected as refusal:
        if refusal.code != "session_required":
            raise
        app.limiter.take("read", address, now)
        return None
    app.limiter.take("read", user.id, now)
    return user


def _ticket(app: App, purpose: Purpose, *, room_id: str, user_id: str | None) -> TicketAnswer:
    now = app.clock.now()
    ticket = tickets.issue(app.secret, purpose, room_id=room_id, user_id=user_id, now=now)
    return TicketAnswer(ticket, clock.to_text(now + LIFETIME))


async def _follow(request: AnyRequest, creator_id: str, *, is_following: bool) -> FollowAnswer:
    app, user = auth.app_of(request), auth.user_of(request)
    found_id = decode.id_or_rejected(creator_id, "creator_not_found")
    await app.rooms.set_following(user.id, found_id, is_following=is_following)
    return FollowAnswer(is_following)


ROUTES = (
    post_room_ticket,
    post_my_ticket,
    post_follow,
    delete_follow,
    post_display_key,
    get_display_keys,
    delete_display_key,
)
