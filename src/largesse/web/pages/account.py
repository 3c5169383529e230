"""The door: sign up, log in, log out, and the way back in for who forgot the password."""

from functools import cache
from typing import Any
from urllib.parse import quote

from litestar import Response, get, post

from largesse.errors import Rejected
from largesse.identity.countries import COUNTRIES
from largesse.web import accounts, auth, i18n
from largesse.web.auth import AnyRequest
from largesse.web.pages import forms, frame
from largesse.web.pages.frame import Visitor

HOME = "/"


@get("/login", include_in_schema=False)
async def get_login(request: AnyRequest) -> Response[Any]:
    """The form; who is logged in already goes on."""
    found = await frame.visitor(request)
    onward = _onward(request.query_params.get("next"))
    if found.user is not None:
        return frame.see(onward or HOME)
    is_reset = "reset" in request.query_params
    return frame.page(found, "account/login.html", errors={}, **_login(onward, is_reset=is_reset))


@post("/login", include_in_schema=False)
async def post_login(request: AnyRequest) -> Response[Any]:
    """Open a session in a cookie; whoever was logged in before is no longer."""
    found = await frame.visitor(request)
    fields = await frame.form(request, found)
    onward = _onward(fields.get("next"))
    data = accounts.LogIn(fields.get("login", "").strip(), fields.get("password", ""))
    try:
        token, _ = await accounts.open_session(found.app, auth.address_of(request), data)
    except Rejected as refusal:
        return forms.refused(found, "account/login.html", refusal, **_login(onward, data.login))
    return await _signed_in(found, token, onward)


@get("/signup", include_in_schema=False)
async def get_sign_up(request: AnyRequest) -> Response[Any]:
    """The form; who is logged in already goes on."""
    found = await frame.visitor(request)
    onward = _onward(request.query_params.get("next"))
    if found.user is not None:
        return frame.see(onward or HOME)
    values = {"country": _country_asked_for(request)}
    return frame.page(found, "account/signup.html", errors={}, **_sign_up(found, onward, values))


@post("/signup", include_in_schema=False)
async def post_sign_up(request: AnyRequest) -> Response[Any]:
    """Make the account and log in at once."""
    found = await frame.visitor(request)
    fields = await frame.form(request, found)
    onward = _onward(fields.get("next"))
    data = accounts.SignUp(
        login=fields.get("login", "").strip(),
        email=fields.get("email", "").strip(),
        password=fields.get("password", ""),
        birth_date=fields.get("birth_date", "").strip(),
        country=fields.get("country", "").strip(),
    )
    try:
        token = await _made(found, auth.address_of(request), data)
    except Rejected as refusal:
        values = {name: fields.get(name, "") for name in _KEPT}
        context = _sign_up(found, onward, values)
        return forms.refused(found, "account/signup.html", refusal, **context)
    return await _signed_in(found, token, onward)


@post("/logout", include_in_schema=False)
async def post_logout(request: AnyRequest) -> Response[Any]:
    """End this session."""
    found = await frame.visitor(request)
    await frame.form(request, found)
    if found.token is not None:
        await found.app.sessions.close(found.token)
    return frame.see(HOME, frame.no_session_cookie(found.app))


@get("/reset", include_in_schema=False)
async def get_reset(request: AnyRequest) -> Response[Any]:
    """Ask for a mail; afterwards the same page says that it is on its way."""
    found = await frame.visitor(request)
    is_sent = "sent" in request.query_params
    return frame.page(found, "account/reset.html", values={}, errors={}, is_sent=is_sent)


@post("/reset", include_in_schema=False)
async def post_reset(request: AnyRequest) -> Response[Any]:
    """Send the mail, if there is such an account; the answer does not tell."""
    found = await frame.visitor(request)
    fields = await frame.form(request, found)
    email = fields.get("email", "").strip()
    try:
        await accounts.send_reset(found.app, auth.address_of(request), email)
    except Rejected as refusal:
        context = {"values": {"email": email}, "is_sent": False}
        return forms.refused(found, "account/reset.html", refusal, **context)
    return frame.see("/reset?sent=1")


@get("/reset/confirm", include_in_schema=False)
async def get_reset_confirm(request: AnyRequest) -> Response[Any]:
    """Where the mail's link leads: a new password."""
    found = await frame.visitor(request)
    token = request.query_params.get("token", "")[: auth.TOKEN_LENGTH_MAX]
    return frame.page(found, "account/reset_confirm.html", token=token, errors={})


@post("/reset/confirm", include_in_schema=False)
async def post_reset_confirm(request: AnyRequest) -> Response[Any]:
    """Set the new password; every session of the account ends."""
    found = await frame.visitor(request)
    fields = await frame.form(request, found)
    token = fields.get("token", "").strip()[: auth.TOKEN_LENGTH_MAX]
    data = accounts.PasswordResetConfirmation(token, fields.get("password", ""))
    try:
        await accounts.use_reset(found.app, auth.address_of(request), data)
    except Rejected as refusal:
        return forms.refused(found, "account/reset_confirm.html", refusal, token=token)
    return frame.see("/login?reset=1", frame.no_session_cookie(found.app))


_KEPT = ("login", "email", "birth_date", "country")
"""What a refused sign-up shows again; a password is typed again."""


async def _made(found: Visitor, address: str, data: accounts.SignUp) -> str:
    """
    Make the account and open a session. Pressed twice, the second finds what the first has made:
    a login that is taken, whose password this is.
    """
    proof = accounts.LogIn(data.login, data.password)
    try:
        await accounts.make_account(found.app, address, data)
    except Rejected as refusal:
        if refusal.code != "login_taken":
            raise
        try:
            token, _ = await accounts.open_session(found.app, address, proof)
        except Rejected:
            raise refusal from None
        return token
    token, _ = await accounts.open_session(found.app, address, proof)
    return token


async def _signed_in(found: Visitor, token: str, onward: str) -> Response[None]:
    if found.token is not None:
        await found.app.sessions.close(found.token)
    return frame.see(onward or HOME, frame.session_cookie(found.app, token))


def _onward(address: str | None) -> str:
    """Where to go afterwards; "" where nothing was asked for, or nothing of ours."""
    return frame.local(address, "")


def _login(onward: str, login: str = "", *, is_reset: bool = False) -> dict[str, Any]:
    return {
        "values": {"login": login},
        "onward": onward,
        "with_onward": _with(onward),
        "is_reset": is_reset,
    }


def _sign_up(found: Visitor, onward: str, values: dict[str, str]) -> dict[str, Any]:
    return {
        "values": values,
        "onward": onward,
        "with_onward": _with(onward),
        "countries": countries(found.language),
        "adult_age": found.app.settings.adult_age,
    }


def _with(onward: str) -> str:
    return f"?next={quote(onward, safe='/')}" if onward else ""


@cache
def countries(language: str) -> tuple[tuple[str, str], ...]:
    """Every country one can live in, as (two letters, name), by its name in this language."""
    named = ((code, i18n.country_name(code, language)) for code in COUNTRIES)
    return tuple(sorted(named, key=lambda each: each[1].casefold()))


def _country_asked_for(request: AnyRequest) -> str:
    """The country that the browser's first language names, as a first guess: `en-US` is US."""
    first = request.headers.get("accept-language", "").split(",")[0].split(";")[0]
    country = first.strip().rpartition("-")[2].upper()
    return country if country in COUNTRIES else ""


ROUTES = (
    get_login,
    post_login,
    get_sign_up,
    post_sign_up,
    post_logout,
    get_reset,
    post_reset,
    get_reset_confirm,
    post_reset_confirm,
)
