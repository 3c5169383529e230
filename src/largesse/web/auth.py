"""Who is calling: a bearer token to a user, and what that user may do."""

from typing import Any

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

_BEARER = "bearer "


def token_of(authorization: str | None) -> str:
    """
    The token of an `Authorization: Bearer` header.

    Raises:
        Rejected: session_required.
    """
    if authorization is None or authorization[:7].lower() != _BEARER:
        raise Rejected("session_required")
    token = authorization[7:].strip()
    if not 0 < len(token) <= TOKEN_LENGTH_MAX:
        raise Rejected("session_required")
    return token


async def signed_in(app: App, authorization: str | None, address: str, now: int) -> User:
    """
    The user behind a session. A token that is no session counts against its address; a good one
    does not, for a thousand viewers may share an address.

    Raises:
        Rejected: session_required, session_expired, rate_limited.
    """
    token = token_of(authorization)
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
        authorization = connection.headers.get("authorization")
        user = await signed_in(app, authorization, address_of(connection), now)
        guard_role(user, role)
        if limit is not None:
            app.limiter.take(limit, user.id, now)
        connection.scope["user"] = user

    return guard


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
