"""
The gift route on its fast lane: bare ASGI, with the same auth, limits and refusals as Litestar.

Two doors, one function: Litestar declares the route from the same structs (`web/gifts.py`), so the
API document has it, and both call `give`.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from largesse import gifting
from largesse.app import App
from largesse.errors import Rejected
from largesse.limits import BODY_BYTES_MAX
from largesse.records.users import User
from largesse.web import auth, decode, reply

CHANNEL = "web"
"""The price list by which money values stand beside coins here."""

_BEFORE, _AFTER = "/v1/rooms/", "/gifts"
_BEFORE_LENGTH, _AFTER_LENGTH = len(_BEFORE), -len(_AFTER)

Lane = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Any, str, reply.Headers],
    Awaitable[None],
]


class GiftRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Which gift item, and how many of it at once."""

    item_id: Annotated[str, Meta(description="Id of a gift item.", examples=["rose"])]
    quantity: Annotated[int, Meta(description="How many, from 1 to 9,999.", examples=[1])] = 1


def room_id_of(scope: MutableMapping[str, Any]) -> str | None:
    """The room whose gift this request posts, None for every other request."""
    path: str = scope["path"]
    if scope["method"] != "POST" or not path.endswith(_AFTER) or not path.startswith(_BEFORE):
        return None
    room_id = path[_BEFORE_LENGTH:_AFTER_LENGTH]
    return None if not room_id or "/" in room_id else room_id


async def give(
    app: App, viewer: User, room_id: str, asked: GiftRequest, key: str | None, now: int
) -> gifting.SentGift:
    """
    Send the gift that a request asks for.

    Raises:
        Rejected: role_required, rate_limited, and what `gifting.send_gift` refuses.
    """
    auth.guard_role(viewer, "viewer")
    app.limiter.take("gift", viewer.id, now)
    return await gifting.send_gift(
        app.ledger,
        app.catalog,
        app.rooms,
        viewer=viewer,
        room_id=room_id,
        item_id=asked.item_id,
        quantity=asked.quantity,
        key=key,
        environment=app.environment,
        price_list_version=app.price_list_version,
        share_bps=app.settings.creator_share_bps,
        adult_age=app.settings.adult_age,
        channel=CHANNEL,
        country=viewer.country,
        now=now,
    )


def create(app: App) -> Lane:
    """The lane of this application: called with a room id and the headers every answer gets."""

    async def lane(
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Any,
        room_id: str,
        headers: reply.Headers,
    ) -> None:
        try:
            authorization = key = cookies = csrf = None
            for name, value in scope["headers"]:
                if name == b"authorization":
                    authorization = value.decode("latin-1")
                elif name == b"idempotency-key":
                    key = value.decode("latin-1")
                elif name == b"cookie":
                    cookies = value.decode("latin-1")
                elif name == b"x-csrf-token":
                    csrf = value.decode("latin-1")
            now = app.clock.now()
            client = scope.get("client")
            address = client[0] if client else "unknown"
            sent_by = auth.Sent(authorization, cookies, csrf, is_safe=False)
            viewer = await auth.signed_in(app, sent_by, address, now)
            raw = await _read_body(receive)
            if raw is None:  # The caller is gone; nobody is left to answer.
                return
            asked = decode.body(raw, GiftRequest)
            sent = await give(app, viewer, room_id, asked, key, now)
            answer = reply.json(sent, status=201)
        except Exception as error:
            answer = reply.of_error(error, request_id=scope["request_id"])
        await reply.send_answer(send, answer, headers)

    return lane


async def _read_body(receive: Callable[[], Awaitable[Any]]) -> bytes | None:
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        if len(body) > BODY_BYTES_MAX:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
    if len(body) > BODY_BYTES_MAX:
        raise Rejected("body_too_large", maximum=BODY_BYTES_MAX)
    return body
