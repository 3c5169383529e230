"""The start: who is live now, for everybody; and for who is logged in, what he came for."""

from typing import Any

import msgspec
from litestar import Response, get

from largesse.records import follows, rooms, users
from largesse.records.rooms import Room
from largesse.records.users import User
from largesse.web.auth import AnyRequest
from largesse.web.pages import frame
from largesse.web.pages.covers import Cover, cover_of
from largesse.web.pages.frame import Visitor

ROOMS_MAX = 60
"""Live rooms on the start page."""


class Card(msgspec.Struct, frozen=True):
    """A live room as it is offered: `is_followed` where the visitor follows its creator."""

    room: Room
    creator: User
    cover: Cover
    viewers: int
    is_followed: bool


@get("/", include_in_schema=False)
async def get_home(request: AnyRequest) -> Response[Any]:
    """Live rooms: those of creators one follows first, then where most people are."""
    found = await frame.visitor(request)
    cards = await _cards(found)
    mine = next((card for card in cards if found.user and card.creator.id == found.user.id), None)
    return frame.page(
        found,
        "home.html",
        followed=[card for card in cards if card.is_followed],
        cards=[card for card in cards if not card.is_followed],
        mine=mine,
    )


async def _cards(found: Visitor) -> list[Card]:
    app = found.app
    live = await rooms.list_rooms(app.db, is_live=True, limit=ROOMS_MAX)
    creators = await users.find_users(app.db, [room.creator_id for room in live])
    following = await _following(found, [room.creator_id for room in live])
    cards = [
        Card(
            room,
            creators[room.creator_id],
            cover_of(room.creator_id),
            app.rooms.viewer_count(room.id),
            room.creator_id in following,
        )
        for room in live
    ]
    return sorted(cards, key=lambda card: (-card.viewers, -card.room.started_at))


async def _following(found: Visitor, creator_ids: list[str]) -> set[str]:
    if found.user is None:
        return set()
    return await follows.following_among(found.app.db, found.user.id, creator_ids)


ROUTES = (get_home,)
