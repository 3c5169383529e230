"""Sign up, log in and out, one's own account, a new password."""

from typing import Annotated, Literal

import msgspec
from litestar import delete, get, post
from litestar.params import JSONBody
from msgspec import Meta

from largesse import clock
from largesse.app import App
from largesse.books import chart
from largesse.identity import accounts
from largesse.records.users import User
from largesse.web import auth
from largesse.web.auth import AnyRequest
from largesse.web.describe import OPEN, SIGNED_IN, refusals

TAG = "Accounts"

_PASSWORD_REFUSALS = (
    "password_too_short",
    "password_too_long",
    "password_malformed",
    "password_too_obvious",
    "passwords_busy",
)

Login = Annotated[str, Meta(description="What one logs in with.", examples=["ana"])]
Password = Annotated[
    str, Meta(description="Longer is better; nothing else is asked of it.", examples=["a long one"])
]
Email = Annotated[
    str, Meta(description="Where a password reset is sent to.", examples=["ana@example.org"])
]


class SignUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new account."""

    login: Login
    email: Email
    password: Password
    birth_date: Annotated[
        str,
        Meta(description="YYYY-MM-DD. Only adults buy, send and receive.", examples=["1990-05-17"]),
    ]
    country: Annotated[
        str, Meta(description="ISO 3166-1, two letters: whose prices apply.", examples=["US"])
    ]


class LogIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who one is, and the proof."""

    login: Login
    password: Password


class UserAnswer(msgspec.Struct, frozen=True):
    """A user as he sees himself."""

    id: str
    login: str
    roles: tuple[str, ...]
    email: str
    birth_date: str
    country: str
    created_at: str


class SessionAnswer(msgspec.Struct, frozen=True):
    """The token goes into `Authorization: Bearer <token>`; it is shown this once."""

    token: str
    expires_at: str
    user: UserAnswer


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password of now, and the new one."""

    current: Password
    new: Password


class RoleRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The role one wants to have as well."""

    role: Literal["creator"]


class PasswordReset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose password is forgotten."""

    email: Email


class PasswordResetConfirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token of the mail, and the new password."""

    token: Annotated[str, Meta(description="What the mail said.")]
    password: Password


@post(
    "/v1/users",
    tags=[TAG],
    security=OPEN,
    summary="Sign up",
    description="Makes an account with the role viewer. Log in next.",
    responses=refusals(
        "login_malformed",
        "login_taken",
        "email_malformed",
        "email_taken",
        *_PASSWORD_REFUSALS,
        "birth_date_malformed",
        "too_young",
        "country_unknown",
        body=True,
    ),
)
async def sign_up(request: AnyRequest, data: JSONBody[SignUp]) -> UserAnswer:
    app = auth.app_of(request)
    now = app.clock.now()
    app.limiter.take("sign_up", auth.address_of(request), now)
    user = await accounts.sign_up(
        app.db,
        login=data.login,
        email=data.email,
        password=data.password,
        birth_on=data.birth_date,
        country=data.country,
        now=now,
        entropy=app.entropy,
    )
    return answer(user)


@post(
    "/v1/sessions",
    tags=[TAG],
    security=OPEN,
    summary="Log in",
    description="Opens a session. Send its token with every request: "
    "`Authorization: Bearer <token>`.",
    responses=refusals("login_or_password_wrong", "account_disabled", "passwords_busy", body=True),
)
async def log_in(request: AnyRequest, data: JSONBody[LogIn]) -> SessionAnswer:
    app = auth.app_of(request)
    now = app.clock.now()
    address = auth.address_of(request)
    app.limiter.take("login_address", address, now)
    app.limiter.take("login", f"{data.login.lower()[:100]} {address}", now)
    token, user = await app.sessions.open(data.login, data.password, now, app.entropy)
    await ensure_wallet(app, user)
    expires_at = now + app.settings.session_hours * clock.HOUR
    return SessionAnswer(token, clock.to_text(expires_at), answer(user))


@delete(
    "/v1/sessions/current",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs()],
    summary="Log out",
    description="Ends the session whose token is sent; the token is worth nothing afterwards.",
    responses=refusals(session=True),
)
async def log_out(request: AnyRequest) -> None:
    app = auth.app_of(request)
    await app.sessions.close(auth.token_of(app, auth.sent(request)))


@get(
    "/v1/me",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs()],
    summary="Who am I?",
    description="The account behind the session.",
    responses=refusals(session=True),
)
async def get_me(request: AnyRequest) -> UserAnswer:
    return answer(auth.user_of(request))


@post(
    "/v1/me/password",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs()],
    status_code=204,
    summary="Change the password",
    description="Ends every session of the account but this one.",
    responses=refusals("password_wrong", *_PASSWORD_REFUSALS, session=True, body=True),
)
async def change_password(request: AnyRequest, data: JSONBody[PasswordChange]) -> None:
    user = auth.user_of(request)
    app = auth.app_of(request)
    now = app.clock.now()
    app.limiter.take("login", f"{user.login} {auth.address_of(request)}", now)
    await accounts.change_password(
        app.db,
        user_id=user.id,
        current=data.current,
        new=data.new,
        keep_token=auth.token_of(app, auth.sent(request)),
    )


@post(
    "/v1/me/roles",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs()],
    status_code=200,
    summary="Become a creator",
    description="Adds the role creator, with which one may open rooms. Adults only.",
    responses=refusals("adults_only", session=True, body=True),
)
async def add_role(request: AnyRequest, data: JSONBody[RoleRequest]) -> UserAnswer:
    user = auth.user_of(request)
    app = auth.app_of(request)
    accounts.require_adult(user, app.clock.now(), app.settings.adult_age)
    return answer(await accounts.add_role(app.db, user_id=user.id, role=data.role))


@post(
    "/v1/password-resets",
    tags=[TAG],
    security=OPEN,
    status_code=202,
    summary="Forgot the password",
    description="Sends a mail with a token if there is such an account; the answer does not tell.",
    responses=refusals(body=True),
)
async def request_reset(request: AnyRequest, data: JSONBody[PasswordReset]) -> None:
    app = auth.app_of(request)
    now = app.clock.now()
    app.limiter.take("password_reset", auth.address_of(request), now)
    await accounts.request_reset(
        app.db,
        app.mailer,
        email=data.email,
        now=now,
        entropy=app.entropy,
        public_url=app.settings.public_url,
    )


@post(
    "/v1/password-resets/confirm",
    tags=[TAG],
    security=OPEN,
    status_code=204,
    summary="Set a new password with the mail's token",
    description="A token works once; every session of the account ends.",
    responses=refusals("reset_token_invalid", *_PASSWORD_REFUSALS, body=True),
)
async def confirm_reset(request: AnyRequest, data: JSONBody[PasswordResetConfirmation]) -> None:
    app = auth.app_of(request)
    now = app.clock.now()
    app.limiter.take("password_reset", auth.address_of(request), now)
    await accounts.confirm_reset(app.db, token=data.token, password=data.password, now=now)


async def ensure_wallet(app: App, user: User) -> None:
    """Whoever logs in has a wallet: a gift never meets an account that is not there."""
    await app.ledger.create_accounts(chart.viewer_accounts(app.environment, user.id))


def answer(user: User) -> UserAnswer:
    """The user as he sees himself."""
    return UserAnswer(
        user.id,
        user.login,
        user.roles,
        user.email,
        user.birth_on,
        user.country,
        clock.to_text(user.created_at),
    )


ROUTES = (
    sign_up,
    log_in,
    log_out,
    get_me,
    change_password,
    add_role,
    request_reset,
    confirm_reset,
)
