"""
What goes back: structs as JSON, refusals as problem details (RFC 9457).

`REFUSALS` is the one table from a refusal's code to its HTTP status and its sentences.
"""

import traceback
from collections.abc import Mapping
from math import ceil
from typing import Any

import msgspec
import structlog

from largesse.errors import Rejected
from largesse.ledger import LedgerUnavailable
from largesse.records.database import RecordsUnavailable

PROBLEM_MEDIA_TYPE = "application/problem+json"
PROBLEM_TYPE = "/docs/errors#"
"""What a problem's `type` begins with; the page behind it explains every code."""
RETRY_AFTER_SECONDS = 1
"""When to ask again where the ledger could not answer."""

RETRIED_SOON = frozenset({"ledger_busy", "passwords_busy", "provider_unavailable"})
"""Refusals that pass by themselves, and so say when to ask again."""

Headers = list[tuple[bytes, bytes]]


class Refusal(msgspec.Struct, frozen=True):
    """
    `detail` may name facts in braces; without them `title` stands for it.

    `on_page` is what a page says instead, where `detail` is a word to programs.
    """

    status: int
    title: str
    detail: str = ""
    on_page: str = ""


class Answer(msgspec.Struct, frozen=True):
    """A whole HTTP answer, before any server or framework."""

    status: int
    headers: Headers
    body: bytes


REFUSALS: dict[str, Refusal] = {
    # The request itself.
    "body_not_json": Refusal(400, "The body is not JSON."),
    "body_too_deep": Refusal(400, "The body is nested too deep."),
    "body_invalid": Refusal(422, "A field of the body is not valid.", "`{field}`: {problem}."),
    "unknown_field": Refusal(
        422, "The body has a field that we do not know.", "`{field}` is not a field here."
    ),
    "body_too_large": Refusal(
        413, "The body is too large.", "A body may have at most {maximum} bytes."
    ),
    "parameter_invalid": Refusal(400, "A parameter is not valid.", "`{parameter}`: {problem}."),
    "cursor_invalid": Refusal(400, "The cursor is not one that this list gave."),
    "not_found": Refusal(404, "There is nothing at this address."),
    "method_not_allowed": Refusal(405, "This address does not answer to this method."),
    "request_invalid": Refusal(400, "The request could not be read."),
    "rate_limited": Refusal(
        429,
        "Too many requests in a short time.",
        "The limit `{limit}` is used up; ask again in {retry_after_seconds} s.",
    ),
    "internal_error": Refusal(
        500,
        "Something went wrong on our side.",
        "Retry with the same idempotency key, or report request {request_id}.",
        "Something went wrong on our side. Try again, or report it with this number: {request_id}.",
    ),
    "ledger_unavailable": Refusal(
        503,
        "The ledger could not say what happened.",
        "Retry with the same idempotency key: nothing happens twice.",
        "Something that this needs does not answer. Nothing is lost, and nothing happens twice: "
        "try again in a moment.",
    ),
    "records_unavailable": Refusal(
        503,
        "The records could not be read or written; ask again shortly.",
        "",
        "Something that this needs does not answer. Nothing is lost, and nothing happens twice: "
        "try again in a moment.",
    ),
    "ledger_busy": Refusal(
        503,
        "Too many transfers wait for the ledger; ask again shortly.",
        "",
        "Too many people want something at once. Nothing has happened yet: try again in a moment.",
    ),
    # Who is asking.
    "session_required": Refusal(401, "Log in first: send `Authorization: Bearer <token>`."),
    "session_expired": Refusal(401, "The session has expired; log in again."),
    "csrf_token_invalid": Refusal(
        403,
        "The page is older than your session.",
        "Load the page again and repeat what you did; nothing has happened yet.",
    ),
    "login_or_password_wrong": Refusal(401, "Login or password is wrong."),
    "account_disabled": Refusal(403, "This account is disabled."),
    "role_required": Refusal(
        403, "Your account lacks the role this needs.", "This needs the role {role}."
    ),
    "adults_only": Refusal(
        403, "This is for adults only.", "One must be {minimum_age} or older for this."
    ),
    # Accounts.
    "login_malformed": Refusal(
        422,
        "The login is not one that we can take.",
        "A login has {minimum} to {maximum} of these characters: {characters}.",
    ),
    "login_taken": Refusal(409, "Somebody else has this login."),
    "email_malformed": Refusal(422, "This is not an e-mail address."),
    "email_taken": Refusal(409, "There is an account with this e-mail address."),
    "password_too_short": Refusal(
        422, "The password is too short.", "A password has at least {minimum} characters."
    ),
    "password_too_long": Refusal(
        422, "The password is too long.", "A password has at most {maximum} characters."
    ),
    "password_malformed": Refusal(422, "The password holds characters that cannot be typed."),
    "password_too_obvious": Refusal(422, "Everybody who guesses begins with this password."),
    "password_wrong": Refusal(403, "The password of now is wrong."),
    "passwords_busy": Refusal(503, "Too many people log in at this moment; ask again shortly."),
    "birth_date_malformed": Refusal(422, "This is not a birth date.", "Write it as {form}."),
    "too_young": Refusal(403, "This is for older people.", "One must be {minimum_age} or older."),
    "country_unknown": Refusal(422, "There is no such country (ISO 3166-1, two letters)."),
    "nickname_invalid": Refusal(
        422,
        "The nickname cannot be shown.",
        "A nickname is one line of at most {maximum} characters that people can read.",
    ),
    "user_not_found": Refusal(404, "There is no such user."),
    "own_account": Refusal(409, "Nobody disables his own account."),
    "reset_token_invalid": Refusal(403, "The token is unknown, used, or too old."),
    # Recharge.
    "package_not_found": Refusal(404, "This package is not sold there."),
    "channel_not_found": Refusal(404, "There is no such channel."),
    "provider_unavailable": Refusal(
        503, "The payment provider does not answer; ask again with the same key."
    ),
    "order_not_found": Refusal(404, "There is no such order of yours."),
    # Rooms and gifts.
    "room_not_found": Refusal(404, "There is no such room."),
    "display_keys_too_many": Refusal(
        409, "You have too many display keys.", "A creator has at most {maximum}; delete one."
    ),
    "room_busy": Refusal(503, "Too much waits in this room; try again shortly."),
    "self_follow": Refusal(409, "One cannot follow oneself."),
    "creator_not_found": Refusal(404, "There is no such creator."),
    "room_ended": Refusal(409, "The room is over."),
    "room_already_live": Refusal(
        409, "You have a live room already; end it first.", "Room {room_id} is live."
    ),
    "title_invalid": Refusal(
        422,
        "The title is too short, too long, or has control characters.",
        "A title has 1 to {maximum} characters and no control characters.",
    ),
    "chat_empty": Refusal(422, "There is nothing to read in this message."),
    "chat_too_long": Refusal(
        422, "The message is too long.", "A message has at most {maximum} characters."
    ),
    "quantity_out_of_range": Refusal(
        422, "The quantity is out of range.", "The quantity is from {minimum} to {maximum}."
    ),
    "gift_item_not_found": Refusal(404, "There is no such gift item."),
    "gift_item_disabled": Refusal(409, "This gift item is not on offer at the moment."),
    "gift_item_exclusive": Refusal(403, "Only some viewers may send this gift item."),
    "self_gift": Refusal(409, "Nobody gifts to himself."),
    "insufficient_coins": Refusal(
        402,
        "There are too few coins in the wallet.",
        "This needs {needed} coins, the wallet has {balance}: {missing} are missing.",
    ),
    "idempotency_key_required": Refusal(400, "Send an `Idempotency-Key` header."),
    "idempotency_key_invalid": Refusal(
        400,
        "The idempotency key is not valid.",
        "A key has 1 to {maximum} printable ASCII characters, without spaces around them.",
    ),
    "idempotency_key_expired": Refusal(
        409,
        "The time in the idempotency key is too far off.",
        "A new UUIDv7 key must be at most a day off; this one is not known here.",
    ),
    "idempotency_key_reused": Refusal(
        409, "This idempotency key was used for another request; make a new one."
    ),
    "key_name_invalid": Refusal(
        422,
        "The name is too short, too long, or has control characters.",
        "A key's name has 1 to {maximum} characters and no control characters.",
    ),
    "display_key_not_found": Refusal(404, "There is no such display key of yours."),
    # Sockets.
    "origin_foreign": Refusal(403, "A page of another host asks for this socket."),
    "sockets_full": Refusal(503, "Too many sockets are open here; ask again shortly."),
    "sockets_per_address": Refusal(429, "Too many sockets are open from this address."),
    "ticket_invalid": Refusal(401, "The ticket is not good for this, or no longer; get a new one."),
    "hello_late": Refusal(408, "The first frame, `hello`, did not come in time."),
    "frame_invalid": Refusal(
        422, "The frame cannot be read.", "The frame cannot be read: {reason}."
    ),
    "too_many_bad_frames": Refusal(400, "Too many frames could not be read."),
    "display_only": Refusal(403, "A display key shows the room and can do nothing in it."),
    "session_changed": Refusal(401, "Your account has changed; get a new ticket."),
    "too_slow": Refusal(408, "The frames were not read in time."),
    # Webhooks.
    "provider_not_found": Refusal(404, "There is no such payment provider here."),
    "signature_invalid": Refusal(401, "The signature is not the provider's, or too old."),
    "webhook_unreadable": Refusal(400, "The webhook cannot be read."),
}
"""Every code that a person or a program outside may see."""

_JSON = (b"content-type", b"application/json")
_PROBLEM_JSON = (b"content-type", PROBLEM_MEDIA_TYPE.encode())
_NO_STORE = (b"cache-control", b"no-store")
_BASE: Headers = [_JSON, _NO_STORE]
_encoder = msgspec.json.Encoder()
_log = structlog.get_logger()


def json(value: object, *, status: int = 200) -> Answer:
    """A struct as a JSON answer that no cache keeps."""
    raw = _encoder.encode(value)
    return Answer(status, [*_BASE, (b"content-length", str(len(raw)).encode())], raw)


def problem(code: str, facts: Mapping[str, object], *, request_id: str) -> Answer:
    """A refusal as problem details: type, title, status, code, detail, request_id and its facts."""
    refusal = REFUSALS[code]
    told = {**facts, "request_id": request_id}
    retry_after = facts.get("retry_after_seconds")
    raw = _encoder.encode(
        {
            "type": PROBLEM_TYPE + code,
            "title": refusal.title,
            "status": refusal.status,
            "code": code,
            "detail": detail(code, told),
            **told,
        }
    )
    headers = [_PROBLEM_JSON, _NO_STORE, (b"content-length", str(len(raw)).encode())]
    if isinstance(retry_after, int | float):
        headers.append((b"retry-after", str(ceil(retry_after)).encode()))
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Answer(refusal.status, headers, raw)


def refusal_of(error: Exception) -> Rejected | None:
    """What an exception tells the client, or None where it is a fault of ours."""
    if isinstance(error, Rejected) and error.code in REFUSALS:
        if error.code in RETRIED_SOON:
            return Rejected(error.code, **error.facts, retry_after_seconds=RETRY_AFTER_SECONDS)
        return error
    if isinstance(error, LedgerUnavailable):
        return Rejected("ledger_unavailable", retry_after_seconds=RETRY_AFTER_SECONDS)
    if isinstance(error, RecordsUnavailable):
        return Rejected("records_unavailable", retry_after_seconds=RETRY_AFTER_SECONDS)
    return None


def refusal_or_fault(error: Exception, *, request_id: str) -> Rejected:
    """What whatever was raised tells the client; a fault of ours is logged whole and told to nobody."""
    refusal = refusal_of(error)
    if refusal is None:
        # As text, because some log renderers show every local variable: passwords, tokens.
        told = "".join(traceback.format_exception(error))
        _log.error("internal_error", request_id=request_id, traceback=told)
        refusal = Rejected("internal_error")
    return refusal


def of_error(error: Exception, *, request_id: str) -> Answer:
    """The answer to whatever was raised."""
    refusal = refusal_or_fault(error, request_id=request_id)
    return problem(refusal.code, refusal.facts, request_id=request_id)


async def send_answer(send: Any, answer: Answer, more_headers: Headers) -> None:
    """Give an answer to an ASGI server."""
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": answer.headers + more_headers,
        }
    )
    await send({"type": "http.response.body", "body": answer.body})


def detail(code: str, facts: Mapping[str, object]) -> str:
    """What a refusal says with the figures of this case; its title, where they are not all there."""
    refusal = REFUSALS[code]
    try:
        return (refusal.detail or refusal.title).format_map(facts)
    except KeyError:
        return refusal.title
