"""
The socket of a room, `/v1/rooms/{room_id}/live`: watch it, and take part in it.

A person shows a ticket in his hello; a screen has a display key in the address, says no hello and
may do nothing. A gift is the same `give` as over HTTP: same rates, same refusals, same answer.
"""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from urllib.parse import parse_qs

from largesse import ids
from largesse.app import App
from largesse.errors import Rejected
from largesse.records import display_keys, users
from largesse.records.users import User
from largesse.rooms import messages, tickets
from largesse.rooms.hub import Watcher
from largesse.rooms.room import Person
from largesse.rooms.tickets import Purpose, Ticket
from largesse.rooms.wire import ChatOp, FollowOp, GiftOp, HelloOp, LikeOp, PingOp, ShareOp
from largesse.web import reply
from largesse.web.conversation import CLOSES, Act, Conversation, Seat
from largesse.web.gift_lane import GiftRequest, give
from largesse.web.socket import Connection, Opening, Receiver, is_foreign

_BEFORE, _AFTER = "/v1/rooms/", "/live"

FIELDS_MAX = 20
"""Fields in the query of a socket's address; in one with more no key is looked for."""

_shown: dict[str, set[Connection]] = {}
"""Open sockets by the id of the display key that opened them."""

Open = Callable[[Opening, Connection], Receiver | int]


def create(app: App) -> Open:
    """Who listens to a socket at an address of this kind; 404 for every other address."""
    app.rooms.on_key_drop.append(forget_key)

    def open_socket(opening: Opening, connection: Connection) -> Receiver | int:
        room_id = room_id_of(opening.path)
        if room_id is None:
            return 404
        key = key_of(opening.query)
        if key is not None:
            # Whoever has the key may show it anywhere: the page's host proves nothing beside it.
            enter = partial(_enter_by_key, app, room_id, key)
            return Conversation(app, connection, enter, OF_A_SCREEN, has_hello=False)
        if is_foreign(opening, app.settings.public_url):
            return 403
        return Conversation(app, connection, partial(_enter, app, room_id), OF_A_PERSON)

    return open_socket


def room_id_of(path: str) -> str | None:
    """The room whose socket this is the address of."""
    if not path.startswith(_BEFORE) or not path.endswith(_AFTER):
        return None
    parsed = ids.parse(path[len(_BEFORE) : -len(_AFTER)])
    return None if parsed is None else ids.text(parsed)


def key_of(query: bytes) -> str | None:
    """The display key in an address."""
    try:
        found = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:  # More fields than any address of ours has.
        return None
    return found["key"][0] if "key" in found else None


def key_hash(key: str) -> bytes:
    """As which a display key is kept: it is random, so nothing slower is needed."""
    return sha256(key.encode()).digest()


async def ticket_user(app: App, ticket: Ticket) -> User | None:
    """
    Whom a ticket is for, as he is now.

    Raises:
        Rejected: ticket_invalid, for who has no account any more or may not use it;
            session_changed, for who has logged out since, or has been: a ticket that outlived
            its session would open a socket that outlives both.
    """
    if ticket.user_id is None:
        return None
    user = await users.find_user(app.db, ticket.user_id)
    if user is None or user.disabled_at is not None:
        raise Rejected("ticket_invalid")
    if app.rooms.has_changed_since(user.id, ticket.issued_at):
        raise Rejected("session_changed")
    return user


async def _enter(app: App, room_id: str, hello: HelloOp | None, connection: Connection) -> Seat:
    assert hello is not None
    ticket = tickets.read(
        app.secret, Purpose.ROOM, hello.ticket, room_id=room_id, now=app.clock.now()
    )
    user = await ticket_user(app, ticket)

    def welcome(seq: int, person: Person | None, coins: int | None) -> bytes:
        can = _operations(app, room_id, user)
        return messages.welcome(seq=seq, room_id=room_id, person=person, can=can, coins=coins)

    watcher = await app.rooms.watch(
        room_id,
        connection,
        user,
        last_seq=hello.last_seq,
        is_batch=hello.batch,
        welcome=welcome,
    )
    return Seat(watcher, user, room_id)


async def _enter_by_key(
    app: App, room_id: str, key: str, hello: HelloOp | None, connection: Connection
) -> Seat:
    found = await display_keys.find(app.db, key_hash(key))
    if found is None:
        # A key that is none counts as a token that is none.
        app.limiter.take("session", connection.address, app.clock.now())
        raise Rejected("ticket_invalid")
    # Before anything is waited for: the key may be taken back meanwhile.
    shown = _shown.setdefault(found.id, set())
    shown.add(connection)

    def left() -> None:
        shown.discard(connection)
        if not shown:
            _shown.pop(found.id, None)

    try:
        room = await app.rooms.find(room_id)
        if room is None:
            raise Rejected("room_not_found")
        if room.creator_id != found.creator_id:
            raise Rejected("ticket_invalid")
        watcher = await app.rooms.watch(room_id, connection, None, is_audience=False)
    except BaseException:
        left()
        raise
    return Seat(watcher, None, room_id, left)


def forget_key(key_id: str) -> None:
    """The key is taken back: whoever shows something by it does so no longer."""
    farewell = messages.refused(None, "ticket_invalid", reply.detail("ticket_invalid", {}), {})
    for connection in _shown.pop(key_id, set()):
        connection.send(farewell)
        connection.close(CLOSES["ticket_invalid"], "ticket_invalid")


def _operations(app: App, room_id: str, user: User | None) -> tuple[str, ...]:
    """What is open to this watcher; the rest is refused by name."""
    if user is None:
        return ("ping",)
    room = app.rooms.find_live(room_id)
    if room is None or room.creator_id == user.id:
        return ("chat", "like", "share", "ping")
    social = ("chat", "like", "follow", "share", "ping")
    return ("gift", *social) if "viewer" in user.roles else social


async def _gift(app: App, seat: Seat, op: GiftOp, now: int) -> bytes:
    user = _person(seat)
    asked = GiftRequest(op.item_id, op.quantity)
    sent = await give(app, user, seat.room_id, asked, op.key, now)
    return messages.ack(op.key, gift=sent.gift, balance=sent.balance)


def _chat(app: App, seat: Seat, op: ChatOp, now: int) -> bytes:
    app.limiter.take("chat", _person(seat).id, now)
    app.rooms.chat(_watcher(seat), op.text)
    return messages.ack(op.key)


def _like(app: App, seat: Seat, op: LikeOp, now: int) -> None:
    """No answer where it is done: likes come in handfuls, and everybody sees them anyway."""
    app.limiter.take("like", _person(seat).id, now)
    app.rooms.like(_watcher(seat), op.count)


async def _follow(app: App, seat: Seat, op: FollowOp, now: int) -> bytes:
    app.limiter.take("follow", _person(seat).id, now)
    await app.rooms.follow(_watcher(seat), is_following=op.following)
    return messages.ack(None)


def _share(app: App, seat: Seat, op: ShareOp, now: int) -> bytes:
    app.limiter.take("share", _person(seat).id, now)
    app.rooms.share(_watcher(seat))
    return messages.ack(None)


def pong(app: App, seat: Seat, op: PingOp, now: int) -> bytes:
    """I am here."""
    return messages.pong()


def _display_only(app: App, seat: Seat, op: object, now: int) -> bytes:
    raise Rejected("display_only")


def _person(seat: Seat) -> User:
    if seat.user is None:
        raise Rejected("session_required")
    return seat.user


def _watcher(seat: Seat) -> Watcher:
    assert isinstance(seat.watcher, Watcher)
    return seat.watcher


OF_A_PERSON: Mapping[type, Act] = {
    GiftOp: _gift,
    ChatOp: _chat,
    LikeOp: _like,
    FollowOp: _follow,
    ShareOp: _share,
    PingOp: pong,
}
OF_A_SCREEN: Mapping[type, Act] = {
    **dict.fromkeys((HelloOp, *OF_A_PERSON), _display_only),
    PingOp: pong,
}
