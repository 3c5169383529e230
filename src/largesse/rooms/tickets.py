"""
Tickets: who may open which socket, signed by us and good for a minute.

Pure. A browser cannot send a header with a WebSocket, and an address with a session in it would end
up in logs; so the page asks for a ticket over HTTP and shows it in its first frame. Nothing of it is
kept here: whoever has the secret can read it.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import StrEnum
from hashlib import sha256

import msgspec

from largesse import ids
from largesse.clock import SECOND
from largesse.errors import Rejected

LIFETIME = 60 * SECOND
"""How long a ticket is good for, in nanoseconds."""

_INSTANT_SIZE = 8
_MAC_SIZE = 32
_SIZE = _INSTANT_SIZE + ids.SIZE + ids.SIZE + _MAC_SIZE
_TEXT_LENGTH = len(urlsafe_b64encode(bytes(_SIZE)))


class Purpose(StrEnum):
    """What a ticket opens; one that opens the one does not open the other."""

    ROOM = "room"
    PERSON = "person"


class Ticket(msgspec.Struct, frozen=True):
    """A ticket that was read. `room_id` is "" for a person's own feed, `user_id` None for nobody."""

    room_id: str
    user_id: str | None
    issued_at: int


def issue(
    secret: bytes, purpose: Purpose, *, room_id: str = "", user_id: str | None, now: int
) -> str:
    """A ticket for this room (none: a person's own feed) and this user (None: just to watch)."""
    content = b"".join(
        (
            now.to_bytes(_INSTANT_SIZE, "big"),
            bytes.fromhex(room_id) if room_id else ids.ZERO,
            ids.ZERO if user_id is None else bytes.fromhex(user_id),
        )
    )
    return urlsafe_b64encode(content + _mac(secret, purpose, content)).decode()


def read(secret: bytes, purpose: Purpose, text: str, *, room_id: str = "", now: int) -> Ticket:
    """
    The ticket in this text, if we made it for this purpose and this room not long ago.

    Raises:
        Rejected: ticket_invalid, and nobody is told why.
    """
    content, mac = _parts(text)
    if not hmac.compare_digest(mac, _mac(secret, purpose, content)):
        raise Rejected("ticket_invalid")
    issued_at = int.from_bytes(content[:_INSTANT_SIZE], "big")
    room, user = content[_INSTANT_SIZE : -ids.SIZE], content[-ids.SIZE :]
    if room != (bytes.fromhex(room_id) if room_id else ids.ZERO):
        raise Rejected("ticket_invalid")
    if not issued_at <= now < issued_at + LIFETIME:
        raise Rejected("ticket_invalid")
    return Ticket(room_id, None if user == ids.ZERO else ids.text(user), issued_at)


def _parts(text: str) -> tuple[bytes, bytes]:
    if len(text) != _TEXT_LENGTH or not text.isascii():
        raise Rejected("ticket_invalid")
    try:
        raw = urlsafe_b64decode(text)
    except ValueError:
        raise Rejected("ticket_invalid") from None
    if len(raw) != _SIZE:
        raise Rejected("ticket_invalid")
    return raw[:-_MAC_SIZE], raw[-_MAC_SIZE:]


def _mac(secret: bytes, purpose: Purpose, content: bytes) -> bytes:
    return hmac.digest(secret, b"ticket " + purpose.encode() + b" " + content, sha256)
