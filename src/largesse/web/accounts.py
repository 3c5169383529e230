"""Sign up, log in and out, one's own account, a new password."""

from typing import Annotated, Literal

import msgspec
from litestar import delete, get, patch, post
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
    """A user as he sees himself. `name` is what others see: the nickname, else the login."""

    id: str
    login: str
    name: str
    nickname: str
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


class MeChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one changes about oneself."""

    nickname: Annotated[
        str,
        Meta(description="What others see; empty to be shown by the login.", examples=["Ana"]),
    ]


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
    return answer(await make_account(auth.app_of(request), auth.address_of(request), data))


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
    token, user = await open_session(app, auth.address_of(request), data)
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


@delete(
    "/v1/sessions/others",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs()],
    summary="Log out everywhere else",
    description="Ends every session of the account but the one whose token is sent.",
    responses=refusals(session=True),
)
async def log_out_elsewhere(request: AnyRequest) -> None:
    user = auth.user_of(request)
    app = auth.app_of(request)
    await app.sessions.close_all(user.id, keep_token=auth.token_of(app, auth.sent(request)))


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


@patch(
    "/v1/me",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs()],
    summary="Choose what others see",
    description="Changes the nickname. Where it is empty, others see the login.",
    responses=refusals("nickname_invalid", session=True, body=True),
)
async def change_me(request: AnyRequest, data: JSONBody[MeChange]) -> UserAnswer:
    user, app = auth.user_of(request), auth.app_of(request)
    renamed = await accounts.change_nickname(app.db, user_id=user.id, nickname=data.nickname)
    return answer(renamed)


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
    token = auth.token_of(app, auth.sent(request))
    await set_password(app, auth.address_of(request), user, data, keep_token=token)


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
    await send_reset(auth.app_of(request), auth.address_of(request), data.email)


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
    await use_reset(auth.app_of(request), auth.address_of(request), data)


# What the routes above and the pages do alike, each within its limits. -----------------------


async def make_account(app: App, address: str, data: SignUp) -> User:
    """
    Make the account that somebody at this address signs up for.

    Raises:
        Rejected: rate_limited, and what `identity.accounts.sign_up` raises.
    """
    now = app.clock.now()
    app.limiter.take("sign_up", address, now)
    return await accounts.sign_up(
        app.db,
        login=data.login,
        email=data.email,
        password=data.password,
        birth_on=data.birth_date,
        country=data.country,
        now=now,
        entropy=app.entropy,
    )


async def open_session(app: App, address: str, data: LogIn) -> tuple[str, User]:
    """
    Log somebody in: the session's token, and who it is.

    Raises:
        Rejected: rate_limited, and what `identity.sessions.Sessions.open` raises.
    """
    now = app.clock.now()
    app.limiter.take("login_address", address, now)
    app.limiter.take("login", f"{data.login.lower()[:100]} {address}", now)
    token, user = await app.sessions.open(data.login, data.password, now, app.entropy)
    await ensure_wallet(app, user)
    return token, user


async def set_password(
    app: App, address: str, user: User, data: PasswordChange, *, keep_token: str
) -> None:
    """
    Change a password; only the session with `keep_token` stays.

    Raises:
        Rejected: rate_limited, and what `identity.accounts.change_password` raises.
    """
    app.limiter.take("login", f"{user.login} {address}", app.clock.now())
    await accounts.change_password(
        app.db, user_id=user.id, current=data.current, new=data.new, keep_token=keep_token
    )


async def send_reset(app: App, address: str, email: str) -> None:
    """
    Send a mail with which a password can be set anew, if anybody has this address.

    Raises:
        Rejected: rate_limited.
    """
    now = app.clock.now()
    app.limiter.take("password_reset", address, now)
    await accounts.request_reset(
        app.db,
        app.mailer,
        email=email,
        now=now,
        entropy=app.entropy,
        public_url=app.settings.public_url,
    )


async def use_reset(app: App, address: str, data: PasswordResetConfirmation) -> None:
    """
    Set a new password with the token of a mail.

    Raises:
        Rejected: rate_limited, and what `identity.accounts.confirm_reset` raises.
    """
    now = app.clock.now()
    app.limiter.take("password_reset", address, now)
    await accounts.confirm_reset(app.db, token=data.token, password=data.password, now=now)


async def ensure_wallet(app: App, user: User) -> None:
    """Whoever logs in has a wallet: a gift never meets an account that is not there."""
    await app.ledger.create_accounts(chart.viewer_accounts(app.environment, user.id))


def answer(user: User) -> UserAnswer:
    """The user as he sees himself."""
    return UserAnswer(
        user.id,
        user.login,
        user.name,
        user.nickname,
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
    log_out_elsewhere,
    get_me,
    change_me,
    change_password,
    add_role,
    request_reset,
    confirm_reset,
)
