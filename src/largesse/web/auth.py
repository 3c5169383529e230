"""
Who is calling: a session's token to a user, and what that user may do.

Programs send the token as `Authorization: Bearer`. Our own pages have it in a cookie that no script
reads; there a request that changes something must also bring a token that no other site can know.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Guard

from largesse.app import App
from largesse.errors import Rejected
from largesse.records.users import User

AnyRequest = Request[Any, Any, Any]
AnyConnection = ASGIConnection[Any, Any, Any, Any]

ROLES = ("viewer", "creator", "operator")
TOKEN_LENGTH_MAX = 200

SESSION_COOKIE = "largesse_session"
CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing, so that nobody gains by having us sent one."""

_BEARER = "bearer "


class Sent(msgspec.Struct, frozen=True, gc=False):
    """What a request brings to say who sends it; `cookies` is the header as it came."""

    authorization: str | None
    cookies: str | None
    csrf: str | None
    is_safe: bool


def token_of(app: App, sent: Sent) -> str:
    """
    The token of an `Authorization: Bearer` header, else that of the session's cookie.

    Raises:
        Rejected: session_required; csrf_token_invalid where the cookie came without its proof.
    """
    authorization = sent.authorization
    if authorization is None and sent.cookies is not None:
        token = cookie_of(sent.cookies, cookie_name(app, SESSION_COOKIE))
        if token:
            if not sent.is_safe and not is_csrf_token(app, token, sent.csrf):
                raise Rejected("csrf_token_invalid")
            return token
    if authorization is None or authorization[:7].lower() != _BEARER:
        raise Rejected("session_required")
    token = authorization[7:].strip()
    if not 0 < len(token) <= TOKEN_LENGTH_MAX:
        raise Rejected("session_required")
    return token


def cookie_of(header: str, name: str) -> str | None:
    """The value of a cookie of ours; None also where it is longer than any that we set."""
    for pair in header.split(";"):
        found, _, value = pair.partition("=")
        if found.strip() == name:
            value = value.strip()
            return value if len(value) <= TOKEN_LENGTH_MAX else None
    return None


def cookie_name(app: App, name: str) -> str:
    """Behind https the name itself makes a browser take it from this host alone (RFC 6265bis)."""
    return f"__Host-{name}" if app.settings.public_url.startswith("https://") else name


def csrf_token(app: App, subject: str) -> str:
    """What a form of ours brings back, for the session (or the visit) it was made for."""
    digest = hmac.new(app.secret, b"csrf\0" + subject.encode(), sha256).digest()
    return urlsafe_b64encode(digest[:24]).decode()


def is_csrf_token(app: App, subject: str, found: str | None) -> bool:
    """Whether this is the token of the session or visit."""
    if found is None:
        return False
    return hmac.compare_digest(csrf_token(app, subject).encode(), found.encode())


def sent(connection: AnyConnection) -> Sent:
    """What a request behind Litestar brings."""
    headers: Mapping[str, str] = connection.headers
    return Sent(
        headers.get("authorization"),
        headers.get("cookie"),
        headers.get(CSRF_HEADER),
        connection.scope.get("method", "GET") in SAFE_METHODS,
    )


async def signed_in(app: App, sent: Sent, address: str, now: int) -> User:
    """
    The user behind a session. A token that is no session counts against its address; a good one
    does not, for a thousand viewers may share an address.

    Raises:
        Rejected: session_required, session_expired, csrf_token_invalid, rate_limited.
    """
    token = token_of(app, sent)
    user = app.sessions.cached(token, now)
    if user is not None:
        return user
    try:
        return await app.sessions.authenticate(token, now)
    except Rejected:
        app.limiter.take("session", address, now)
        raise


def needs(role: str | None = None, *, limit: str | None = "read") -> Guard:
    """
    A guard of Litestar: the caller has a session, and this role; None asks only for a session.

    Guards come before the body is read, so that who may not ask is told that and nothing else.

    Raises:
        Rejected: session_required, session_expired, role_required, rate_limited.
    """

    async def guard(connection: AnyConnection, _: BaseRouteHandler) -> None:
        app = app_of(connection)
        now = app.clock.now()
        user = await signed_in(app, sent(connection), address_of(connection), now)
        guard_role(user, role)
        if limit is not None:
            app.limiter.take(limit, user.id, now)
        connection.scope["user"] = user

    return guard


async def user_if_any(connection: AnyConnection) -> User | None:
    """
    The caller where he brings a session, for routes that are open to everybody; one that is over
    is nobody's.

    Raises:
        Rejected: rate_limited.
    """
    app = app_of(connection)
    try:
        return await signed_in(app, sent(connection), address_of(connection), app.clock.now())
    except Rejected as refusal:
        if refusal.code == "rate_limited":
            raise
        return None


def user_of(request: AnyRequest) -> User:
    """The user whom a guard made by `needs` let in."""
    user: User = request.user
    return user


def guard_role(user: User, role: str | None) -> None:
    """
    Raises:
        Rejected: role_required.
    """
    assert role is None or role in ROLES
    if role is not None and role not in user.roles:
        raise Rejected("role_required", role=role)


def anyone(request: AnyConnection) -> App:
    """The application, for a caller who need not be anybody; he still has a limit.

    Raises:
        Rejected: rate_limited.
    """
    app = app_of(request)
    app.limiter.take("read", address_of(request), app.clock.now())
    return app


def app_of(connection: AnyConnection) -> App:
    """The application that this request belongs to."""
    app: App = connection.app.state["largesse"]
    return app


def address_of(connection: AnyConnection) -> str:
    """The caller's address, by the proxies we trust."""
    return connection.client.host if connection.client else "unknown"


def request_id_of(request: AnyRequest) -> str:
    """What the door named this request."""
    scope: Any = request.scope
    request_id: str = scope["request_id"]
    return request_id
