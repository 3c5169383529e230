"""
A room: as a page that works by itself, and as the frame in which its scripts make it live.

The gift form at `/rooms/{id}/gifts` does with a form what the gift panel does with a script: the
price in coins and in money first, a key that makes it one gift, and a question where it is dear.
"""

from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from largesse import clock, reports, studio
from largesse.catalog import GiftItem
from largesse.errors import Rejected
from largesse.limits import QUANTITY_MAX
from largesse.money import Price
from largesse.records import follows, projections, users
from largesse.records.rooms import Room
from largesse.records.users import User
from largesse.reports import GiftView
from largesse.rooms.messages import EFFECTS, user_data
from largesse.rooms.room import Person
from largesse.studio import Summary
from largesse.text import CHAT_LENGTH_MAX
from largesse.web import decode, gift_lane, reply
from largesse.web.assets import asset
from largesse.web.auth import AnyRequest
from largesse.web.pages import forms, frame
from largesse.web.pages.covers import cover_of
from largesse.web.pages.forms import method_name
from largesse.web.pages.frame import Visitor
from largesse.web.pages.worth import rate

CONFIRM_FROM = 500
"""What costs as much, in the minor unit, is asked once more before it is sent: five dollars."""
RECENT_GIFTS = 10
OWN_GIFTS = 20
TOP_GIFTERS = 10
QUANTITY_DIGITS_MAX = 6
"""More digits than any quantity has are not read as a number."""
SCRIPTS = (
    "vendor/lit/lit-html.js",
    *(f"js/core/{name}.js" for name in ("announce", "api", "i18n", "icons", "keys", "live")),
    *(f"js/core/{name}.js" for name in ("money", "preferences", "wallet")),
    *(f"js/room/{name}.js" for name in ("dialogs", "effects", "gifting", "particles", "parts")),
    *(f"js/room/{name}.js" for name in ("state", "trays")),
    *(f"js/elements/lg-{name}.js" for name in ("live-room", "chat-box", "chat-log", "gift-panel")),
    *(f"js/elements/lg-{name}.js" for name in ("gift-stage", "gift-tray", "like-button")),
    *(f"js/elements/lg-{name}.js" for name in ("recharge-sheet", "top-gifters", "toasts")),
)
"""What the room's script imports, named in the page so that the browser fetches all of it at once."""


class Offer(msgspec.Struct, frozen=True, rename="camel"):
    """A gift item as the panel shows it; `start` is the price from which its tier begins."""

    number: int
    id: str
    name: str
    coins: int
    streakable: bool
    combo_seconds: int
    tier: int
    start: int
    art: str


class Asked(msgspec.Struct, frozen=True):
    """What a gift form holds, as it was sent."""

    item_id: str = ""
    quantity: str = "1"
    key: str = ""
    is_confirmed: bool = False


@get("/rooms/{room_id:str}", include_in_schema=False)
async def get_room(request: AnyRequest, room_id: FromPath[str]) -> Response[Any]:
    """The room; one that is over as a summary."""
    found = await frame.visitor(request)
    room, creator = await _room(found, room_id)
    if room.ended_at is not None:
        return await _ended(found, room, creator)
    return frame.page(
        found,
        "room.html",
        room=room,
        creator=creator,
        picture=cover_of(creator.id),
        viewers=found.app.rooms.viewer_count(room.id),
        top=found.app.rooms.top(room.id),
        gifts=await _recent(found, room),
        is_mine=_is_mine(found, room),
        is_following=await _is_following(found, room),
        facts=_facts(found, room, creator),
        chat_length=CHAT_LENGTH_MAX,
        scripts=[asset(path) for path in SCRIPTS],
    )


@post("/rooms/{room_id:str}/follow", include_in_schema=False)
async def post_follow(request: AnyRequest, room_id: FromPath[str]) -> Response[Any]:
    """Follow the room's creator, or no longer."""
    found = await frame.visitor(request)
    room, creator = await _room(found, room_id)
    user = frame.needs_login(found)
    fields = await frame.form(request, found)
    wanted = fields.get("following") == "true"
    await found.app.rooms.set_following(user.id, creator.id, is_following=wanted)
    return frame.see(f"/rooms/{room.id}")


@get("/rooms/{room_id:str}/gifts", include_in_schema=False)
async def get_gifts(request: AnyRequest, room_id: FromPath[str]) -> Response[Any]:
    """The gift form; `sent` names a gift of the visitor's that has just been sent."""
    found = await frame.visitor(request)
    room, creator = await _room(found, room_id)
    frame.needs_login(found)
    key = frame.new_key(found.app)
    chosen = Asked(item_id=request.query_params.get("item", ""), key=key)
    return await _gift_page(found, room, creator, chosen, sent=request.query_params.get("sent"))


@post("/rooms/{room_id:str}/gifts", include_in_schema=False)
async def post_gift(request: AnyRequest, room_id: FromPath[str]) -> Response[Any]:
    """Send what the form says, and say what happened."""
    found = await frame.visitor(request)
    room, creator = await _room(found, room_id)
    user = frame.needs_login(found)
    fields = await frame.form(request, found)
    asked = Asked(
        fields.get("item_id", ""),
        fields.get("quantity", "1").strip(),
        fields.get("key", ""),
        fields.get("confirmed") == "true",
    )
    wish = gift_lane.GiftRequest(asked.item_id, _quantity(asked.quantity))
    if not asked.is_confirmed and (question := _question(found, wish)):
        return await _gift_page(found, room, creator, asked, question=question)
    app = found.app
    try:
        sent = await gift_lane.give(app, user, room.id, wish, asked.key, app.clock.now())
    except Rejected as refusal:
        # The key is used up with some refusals, and nothing was sent with any.
        again = msgspec.structs.replace(asked, key=frame.new_key(app), is_confirmed=False)
        return await _gift_page(found, room, creator, again, refusal=refusal)
    return frame.see(f"/rooms/{room.id}/gifts?sent={sent.gift.id}")


async def _room(found: Visitor, room_id: str) -> tuple[Room, User]:
    room = await found.app.rooms.find(decode.id_or_rejected(room_id, "room_not_found"))
    if room is None:
        raise Rejected("room_not_found")
    creator = await users.find_user(found.app.db, room.creator_id)
    assert creator is not None
    return room, creator


async def _ended(found: Visitor, room: Room, creator: User) -> Response[Any]:
    app = found.app
    await reports.catch_up(app.db, app.ledger)
    summary: Summary = await studio.summary(app.db, room, now=app.clock.now())
    gifters = [row.viewer_id for row in summary.top_gifters]
    return frame.page(
        found,
        "room_over.html",
        room=room,
        creator=creator,
        picture=cover_of(creator.id),
        summary=summary,
        minutes=summary.length // clock.MINUTE,
        names=await _names(found, gifters),
        is_mine=_is_mine(found, room),
    )


async def _recent(found: Visitor, room: Room) -> list[GiftView]:
    app = found.app
    gifts, _ = await reports.room_gifts(
        app.db,
        app.ledger,
        app.catalog,
        room_id=room.id,
        country=found.country,
        before=None,
        limit=RECENT_GIFTS,
    )
    return gifts


async def _names(found: Visitor, user_ids: list[str]) -> dict[str, str]:
    people = await users.find_users(found.app.db, user_ids)
    return {user_id: user.name for user_id, user in people.items()}


def _is_mine(found: Visitor, room: Room) -> bool:
    return found.user is not None and found.user.id == room.creator_id


async def _is_following(found: Visitor, room: Room) -> bool:
    if found.user is None:
        return False
    return await follows.is_following(found.app.db, found.user.id, room.creator_id)


def _facts(found: Visitor, room: Room, creator: User) -> dict[str, Any]:
    """What the scripts know from the start."""
    dearest, user = rate(found), found.user
    facts = {
        "room": {"id": room.id, "title": room.title, "creatorId": creator.id},
        "user": None if user is None else user_data(Person(user.id, user.login, user.name)),
        "items": _offers(found),
        "rate": {
            "coins": dearest.coins,
            "amount": dearest.price.amount,
            "currency": dearest.price.currency,
        },
        "confirmFrom": Price(CONFIRM_FROM, dearest.price.currency),
        "quantityMax": QUANTITY_MAX,
        "country": found.country if user is not None else "US",
        "providers": [
            {"id": provider, "name": method_name(found, provider)}
            for provider in found.app.providers
        ],
    }
    told: dict[str, Any] = msgspec.to_builtins(facts)
    return told


def _offers(found: Visitor) -> list[Offer]:
    return [
        _offer(item) for item in found.app.catalog.gift_items if item.enabled and not item.exclusive
    ]


def _offer(item: GiftItem) -> Offer:
    start, tier, _ = next(each for each in EFFECTS if item.coins >= each[0])
    return Offer(
        item.number,
        item.id,
        item.name,
        item.coins,
        item.streakable,
        item.combo_seconds,
        tier,
        start,
        f"/static/art/gifts/{item.art}",
    )


async def _gift_page(
    found: Visitor,
    room: Room,
    creator: User,
    asked: Asked,
    *,
    sent: str | None = None,
    question: Price | None = None,
    refusal: Rejected | None = None,
) -> Response[Any]:
    """The form with what was typed, and what happened above it."""
    offers = _offers(found)
    status = 200 if refusal is None else reply.REFUSALS[refusal.code].status
    own = await _own_gifts(found, room)
    return frame.page(
        found,
        "room_gifts.html",
        status=status,
        room=room,
        creator=creator,
        offers=offers,
        chosen=next((offer for offer in offers if offer.id == asked.item_id), None),
        asked=asked,
        quantity=_quantity(asked.quantity),
        quantity_max=QUANTITY_MAX,
        question=question,
        refusal=refusal,
        refusal_text=None if refusal is None else forms.words(found, refusal),
        sent=next((gift for gift in own if gift.id == sent), None),
        own=own,
        is_mine=_is_mine(found, room),
    )


async def _own_gifts(found: Visitor, room: Room) -> list[GiftView]:
    """The visitor's own last gifts, those of them that were for this room."""
    app = found.app
    assert found.user is not None
    await reports.catch_up(app.db, app.ledger)
    rows = await projections.gifts_of_viewer(app.db, found.user.id, limit=OWN_GIFTS)
    here = [row for row in rows if row.room_id == room.id]
    return await reports.gift_views(app.db, app.catalog, here, country=found.country)


def _quantity(typed: str) -> int:
    """The number that was typed; 0, which is refused by name, for what is none."""
    is_number = typed.isascii() and typed.isdigit() and len(typed) <= QUANTITY_DIGITS_MAX
    return int(typed) if is_number else 0


def _question(found: Visitor, wish: gift_lane.GiftRequest) -> Price | None:
    """What the gift costs in money, where that must be confirmed first."""
    item = found.app.catalog.gift_item(wish.item_id)
    if item is None or wish.quantity < 1:
        return None  # Refused by name where it is sent.
    coins = item.coins * min(wish.quantity, QUANTITY_MAX)
    value = found.app.catalog.money_value(coins, "web", found.country)
    return value if value.amount >= CONFIRM_FROM else None


ROUTES = (get_room, post_follow, get_gifts, post_gift)
