"""Who is calling: a bearer token to a user, and what that user may do."""

from typing import Any

from litestar import Request

from largesse.app import App
from largesse.errors import Rejected
from largesse.records.users import User

AnyRequest = Request[Any, Any, Any]

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


async def require(request: AnyRequest, role: str | None = None) -> User:
    """
    The caller, who must have this role; None asks only for a session.

    Raises:
        Rejected: session_required, session_expired, role_required, rate_limited.
    """
    app = app_of(request)
    now = app.clock.now()
    user = await signed_in(app, request.headers.get("authorization"), address_of(request), now)
    guard_role(user, role)
    app.limiter.take("read", user.id, now)
    return user


def guard_role(user: User, role: str | None) -> None:
    """
    Raises:
        Rejected: role_required.
    """
    assert role is None or role in ROLES
    if role is not None and role not in user.roles:
        raise Rejected("role_required", role=role)


def anyone(request: AnyRequest) -> App:
    """The application, for a caller who need not be anybody; he still has a limit.

    Raises:
        Rejected: rate_limited.
    """
    app = app_of(request)
    app.limiter.take("read", address_of(request), app.clock.now())
    return app


def app_of(request: AnyRequest) -> App:
    """The application that this request belongs to."""
    app: App = request.app.state["largesse"]
    return app


def address_of(request: AnyRequest) -> str:
    """The caller's address, by the proxies we trust."""
    return request.client.host if request.client else "unknown"


def request_id_of(request: AnyRequest) -> str:
    """What the door named this request."""
    scope: Any = request.scope
    request_id: str = scope["request_id"]
    return request_id
