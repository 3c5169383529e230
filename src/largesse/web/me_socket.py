"""The socket of one's own feed, `/v1/me/live`: what is in the wallet, whenever it changes."""

from collections.abc import Mapping
from functools import partial

from largesse.app import App
from largesse.errors import Rejected
from largesse.rooms import messages, tickets
from largesse.rooms.room import Person
from largesse.rooms.tickets import Purpose
from largesse.rooms.wire import HelloOp, PingOp
from largesse.web.conversation import Act, Conversation, Seat
from largesse.web.room_socket import Open, pong, ticket_user
from largesse.web.socket import Connection, Opening, Receiver, is_foreign

PATH = "/v1/me/live"

ACTS: Mapping[type, Act] = {PingOp: pong}


def create(app: App) -> Open:
    """Who listens to a socket at this address; 404 for every other address."""

    def open_socket(opening: Opening, connection: Connection) -> Receiver | int:
        if opening.path != PATH:
            return 404
        if is_foreign(opening, app.settings.public_url):
            return 403
        return Conversation(app, connection, partial(_enter, app), ACTS)

    return open_socket


async def _enter(app: App, hello: HelloOp | None, connection: Connection) -> Seat:
    assert hello is not None
    ticket = tickets.read(app.secret, Purpose.PERSON, hello.ticket, now=app.clock.now())
    user = await ticket_user(app, ticket)
    if user is None:
        raise Rejected("ticket_invalid")
    person = Person(user.id, user.login, user.name)

    def welcome(coins: int) -> bytes:
        return messages.personal_welcome(person=person, coins=coins)

    return Seat(await app.rooms.watch_person(user, connection, welcome), user)
