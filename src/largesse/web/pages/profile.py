"""One's own pages: profile, settings and privacy, and the help beside them."""

from typing import Any

from litestar import Response, get, post
from litestar.datastructures import Cookie

from largesse.errors import Rejected
from largesse.identity import accounts as people
from largesse.text import NICKNAME_LENGTH_MAX
from largesse.web import accounts, auth, i18n
from largesse.web.auth import AnyRequest
from largesse.web.pages import forms, frame
from largesse.web.pages.frame import Visitor

SETTINGS = "/settings"
LANGUAGE_SECONDS = 365 * 86_400


@get("/profile", include_in_schema=False)
async def get_profile(request: AnyRequest) -> Response[Any]:
    """Who one is here, and the ways on."""
    found = await frame.visitor(request)
    user = frame.needs_login(found)
    roles = [_role(found, role) for role in user.roles]
    return frame.page(found, "profile.html", role_words=roles)


@get(SETTINGS, include_in_schema=False)
async def get_settings(request: AnyRequest) -> Response[Any]:
    """Settings and privacy, as rows; `done` says which one was just changed."""
    found = await frame.visitor(request)
    frame.needs_login(found)
    context: dict[str, Any] = {
        "done": _done(found, request.query_params.get("done")),
        "languages": [(each, i18n.language_name(each)) for each in _languages(found)],
    }
    return frame.page(found, "settings/settings.html", **context)


@get("/settings/name", include_in_schema=False)
async def get_name(request: AnyRequest) -> Response[Any]:
    """The form for the name that others see."""
    found = await frame.visitor(request)
    user = frame.needs_login(found)
    context: dict[str, Any] = {"nickname": user.nickname, "longest": NICKNAME_LENGTH_MAX}
    return frame.page(found, "settings/name.html", errors={}, **context)


@post("/settings/name", include_in_schema=False)
async def post_name(request: AnyRequest) -> Response[Any]:
    """Change the name that others see."""
    found = await frame.visitor(request)
    user = frame.needs_login(found)
    fields = await frame.form(request, found)
    nickname = fields.get("nickname", "")
    try:
        await people.change_nickname(found.app.db, user_id=user.id, nickname=nickname)
    except Rejected as refusal:
        context = {"nickname": nickname, "longest": NICKNAME_LENGTH_MAX}
        return forms.refused(found, "settings/name.html", refusal, **context)
    return frame.see(f"{SETTINGS}?done=name")


@get("/settings/password", include_in_schema=False)
async def get_password(request: AnyRequest) -> Response[Any]:
    """The form for another password."""
    found = await frame.visitor(request)
    frame.needs_login(found)
    return frame.page(found, "settings/password.html", errors={})


@post("/settings/password", include_in_schema=False)
async def post_password(request: AnyRequest) -> Response[Any]:
    """Change the password; only this browser stays logged in."""
    found = await frame.visitor(request)
    user = frame.needs_login(found)
    fields = await frame.form(request, found)
    data = accounts.PasswordChange(fields.get("current", ""), fields.get("password", ""))
    assert found.token is not None
    try:
        await accounts.set_password(
            found.app, auth.address_of(request), user, data, keep_token=found.token
        )
    except Rejected as refusal:
        return forms.refused(found, "settings/password.html", refusal)
    return frame.see(f"{SETTINGS}?done=password")


@post("/settings/sessions", include_in_schema=False)
async def post_sessions(request: AnyRequest) -> Response[Any]:
    """Log out everywhere else."""
    found = await frame.visitor(request)
    user = frame.needs_login(found)
    await frame.form(request, found)
    await found.app.sessions.close_all(user.id, keep_token=found.token)
    return frame.see(f"{SETTINGS}?done=sessions")


@post("/settings/language", include_in_schema=False)
async def post_language(request: AnyRequest) -> Response[Any]:
    """Choose the language of this browser; one that there is not changes nothing."""
    found = await frame.visitor(request)
    fields = await frame.form(request, found)
    chosen = fields.get("language", "")
    if chosen not in _languages(found):
        return frame.see(SETTINGS)
    cookie = Cookie(
        key=frame.LANGUAGE_COOKIE,
        value=chosen,
        path="/",
        max_age=LANGUAGE_SECONDS,
        httponly=True,
        secure=found.app.settings.public_url.startswith("https://"),
        samesite="lax",
    )
    return frame.see(f"{SETTINGS}?done=language", cookie)


@get("/settings/privacy", include_in_schema=False)
async def get_privacy(request: AnyRequest) -> Response[Any]:
    """What others see of one, in words."""
    found = await frame.visitor(request)
    frame.needs_login(found)
    return frame.page(found, "settings/privacy.html")


@get("/help", include_in_schema=False)
async def get_help(request: AnyRequest) -> Response[Any]:
    """What people ask most."""
    found = await frame.visitor(request)
    return frame.page(found, "help.html", adult_age=found.app.settings.adult_age)


def _languages(found: Visitor) -> tuple[str, ...]:
    return i18n.languages(development=found.app.settings.development)


def _role(found: Visitor, role: str) -> str:
    match role:
        case "creator":
            return found.say("Creator")
        case "operator":
            return found.say("Operator")
        case _:
            return found.say("Viewer")


def _done(found: Visitor, what: str | None) -> str:
    match what:
        case "name":
            return found.say("Your name is changed.")
        case "password":
            return found.say("Your password is changed, and you are logged out everywhere else.")
        case "sessions":
            return found.say("You are logged out everywhere else.")
        case "language":
            return found.say("Your language is changed.")
        case _:
            return ""


ROUTES = (
    get_profile,
    get_settings,
    get_name,
    post_name,
    get_password,
    post_password,
    post_sessions,
    post_language,
    get_privacy,
    get_help,
)
