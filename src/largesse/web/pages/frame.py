"""
What every page is made in: who is looking, in which language; the template; forms and refusals.

A page works without scripts. A form carries a token of the session it was made for, and what a
refusal says stands beside the form that was refused, in words, with what was typed.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec
from jinja2 import Environment, FileSystemLoader
from litestar import MediaType, Response
from litestar.datastructures import Cookie
from markupsafe import Markup

from largesse import clock, ids
from largesse.app import App
from largesse.books import chart
from largesse.catalog import ANY_COUNTRY
from largesse.errors import Rejected
from largesse.money import Price
from largesse.records.users import User
from largesse.web import auth, i18n, reply
from largesse.web.assets import STATIC, asset
from largesse.web.auth import AnyRequest

VISIT_COOKIE = "largesse_visit"
VISIT_BYTES = 16
LANGUAGE_COOKIE = "language"
FIELDS_MAX = 64
"""Fields in one form."""
CSRF_FIELD = "csrf_token"
IN_ADDRESSES = "!#$%&'()*+,/:;=?@[]~"
"""What has its own meaning in an address, or is escaped already (RFC 3986, 2.2)."""


class Visitor(msgspec.Struct, kw_only=True):
    """
    Who looks at a page. `user` is None before the login; `coins` is what the wallet holds.

    `subject` is what the tokens of forms are made for: the session, or a visit before the login.
    """

    app: App
    request: AnyRequest
    user: User | None
    token: str | None
    subject: str
    is_new: bool
    language: str
    coins: int | None

    @property
    def csrf(self) -> str:
        """The token that forms and scripts bring back."""
        return auth.csrf_token(self.app, self.subject)

    @property
    def path(self) -> str:
        """The address of the page without its query."""
        return self.request.url.path

    @property
    def country(self) -> str:
        """Whose prices are shown."""
        return ANY_COUNTRY if self.user is None else self.user.country

    def is_a(self, role: str) -> bool:
        """Whether somebody is logged in who has this role."""
        return self.user is not None and role in self.user.roles

    def say(self, message: str, **facts: object) -> str:
        """A sentence in the visitor's language."""
        said = i18n.gettext(self.language, message)
        return said % facts if facts else said


class Redirected(Exception):
    """The page is elsewhere: whoever asked is sent there."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


async def visitor(request: AnyRequest) -> Visitor:
    """
    Who is looking. A session that is over is nobody's.

    Raises:
        Rejected: rate_limited.
    """
    app = auth.app_of(request)
    now = app.clock.now()
    user, token = await _session(app, request, now)
    app.limiter.take("read", auth.address_of(request) if user is None else user.id, now)
    return _visitor(request, user, token, coins=await _coins(app, user))


def needs_login(found: Visitor, role: str | None = None) -> User:
    """
    The user, where there is one with this role.

    Raises:
        Redirected: to the login, which leads back here.
        Rejected: role_required.
    """
    if found.user is None:
        url = found.request.url
        back = url.path + (f"?{url.query}" if url.query and found.request.method == "GET" else "")
        raise Redirected(f"/login?next={quote(back, safe='/')}")
    auth.guard_role(found.user, role)
    return found.user


def page(found: Visitor, template: str, *, status: int = 200, **context: Any) -> Response[str]:
    """The page that a template makes for this visitor."""
    text = (
        _templates(found.language)
        .get_template(template)
        .render(
            visitor=found,
            csrf_field=partial(_csrf_field, found),
            money_value=lambda coins: found.app.catalog.money_value(coins, "web", found.country),
            **context,
        )
    )
    cookies = [visit_cookie(found)] if found.is_new else []
    headers = {"vary": "Cookie, Accept-Language"}
    return Response(
        text, status_code=status, media_type=MediaType.HTML, cookies=cookies, headers=headers
    )


def see(location: str, *cookies: Cookie) -> Response[None]:
    """Go on there, with GET: what a form that was carried out answers."""
    # Whoever asked may have named the place, in letters that no header can hold.
    headers = {"location": quote(location, safe=IN_ADDRESSES)}
    return Response(None, status_code=303, headers=headers, cookies=list(cookies))


def local(address: str | None, otherwise: str = "/") -> str:
    """The address if it is one of ours, so that nobody is led away by a link into our login."""
    if address is None or not address.startswith("/") or address.startswith(("//", "/\\")):
        return otherwise
    return address if address.isprintable() else otherwise


async def form(request: AnyRequest, found: Visitor) -> dict[str, str]:
    """
    The fields of a form of ours, without its token; of a field that came twice the last.

    Raises:
        Rejected: csrf_token_invalid, request_invalid.
    """
    raw = await request.body()
    kind = request.headers.get("content-type", "")
    if not kind.startswith("application/x-www-form-urlencoded"):
        raise Rejected("request_invalid", problem="this is no form")
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError as error:  # Not ASCII, not UTF-8 behind the percent signs, or too many.
        raise Rejected("request_invalid", problem="the form cannot be read") from error
    fields = dict(pairs)
    if not auth.is_csrf_token(found.app, found.subject, fields.pop(CSRF_FIELD, None)):
        raise Rejected("csrf_token_invalid")
    return fields


def new_key(app: App) -> str:
    """An idempotency key for the form that is about to be shown."""
    return ids.new_key(clock.milliseconds(app.clock.now()), app.entropy(10))


def refusal_text(found: Visitor, refusal: Rejected) -> str:
    """What a refusal says, as a sentence for the person."""
    known = reply.REFUSALS[refusal.code]
    told = i18n.gettext(found.language, known.on_page or known.detail or known.title)
    try:
        return told.format_map(refusal.facts)
    except KeyError:
        return i18n.gettext(found.language, known.title)


def wants_page(request: AnyRequest) -> bool:
    """Whether the answer is for a person: a browser asks for a page that is not of the API."""
    is_api = request.url.path.startswith("/v1/")
    return not is_api and "text/html" in request.headers.get("accept", "")


def refusal_page(request: AnyRequest, refusal: Rejected) -> Response[str]:
    """
    A page that says what was refused, where no form is there to say it beside.

    Where what passes by itself is refused, who looks may not be known; nobody is told then that he
    is logged out.
    """
    app = auth.app_of(request)
    token = auth.cookie_of(
        request.headers.get("cookie", ""), auth.cookie_name(app, auth.SESSION_COOKIE)
    )
    user = app.sessions.cached(token, app.clock.now()) if token else None
    found = _visitor(request, user, token if user else None, coins=None)
    told = Rejected(refusal.code, request_id=auth.request_id_of(request), **refusal.facts)
    status = reply.REFUSALS[refusal.code].status
    url = request.url
    address = url.path + (f"?{url.query}" if url.query else "")
    may_try_again = request.method == "GET" and (status >= 500 or refusal.code == "rate_limited")
    return page(
        found,
        "refusal.html",
        status=status,
        refusal=refusal,
        text=refusal_text(found, told),
        is_unknown=bool(token) and user is None and status >= 500,
        again=local(address) if may_try_again else None,
    )


def session_cookie(app: App, token: str) -> Cookie:
    """The cookie of a new session; no script can read it."""
    return _cookie(
        app,
        auth.SESSION_COOKIE,
        token,
        max_age=app.settings.session_hours * clock.HOUR // clock.SECOND,
    )


def no_session_cookie(app: App) -> Cookie:
    """Takes the session's cookie away."""
    return _cookie(app, auth.SESSION_COOKIE, "", max_age=0)


def visit_cookie(found: Visitor) -> Cookie:
    """What ties the forms before a login to this browser, until it is closed."""
    return _cookie(found.app, VISIT_COOKIE, found.subject, max_age=None)


def _cookie(app: App, name: str, value: str, *, max_age: int | None) -> Cookie:
    return Cookie(
        key=auth.cookie_name(app, name),
        value=value,
        path="/",
        max_age=max_age,
        httponly=True,
        secure=app.settings.public_url.startswith("https://"),
        samesite="lax",
    )


async def _session(app: App, request: AnyRequest, now: int) -> tuple[User | None, str | None]:
    header = request.headers.get("cookie", "")
    token = auth.cookie_of(header, auth.cookie_name(app, auth.SESSION_COOKIE))
    if not token:
        return None, None
    try:
        sent = auth.Sent(None, header, None, is_safe=True)
        return await auth.signed_in(app, sent, auth.address_of(request), now), token
    except Rejected as refusal:
        if refusal.code == "rate_limited":
            raise
        return None, None


def _visitor(
    request: AnyRequest, user: User | None, token: str | None, *, coins: int | None
) -> Visitor:
    app = auth.app_of(request)
    header = request.headers.get("cookie", "")
    subject, is_new = token, False
    if subject is None:
        subject = auth.cookie_of(header, auth.cookie_name(app, VISIT_COOKIE))
        if not subject:
            subject, is_new = app.entropy(VISIT_BYTES).hex(), True
    language = i18n.choose(
        auth.cookie_of(header, LANGUAGE_COOKIE),
        request.headers.get("accept-language"),
        development=app.settings.development,
    )
    return Visitor(
        app=app,
        request=request,
        user=user,
        token=token,
        subject=subject,
        is_new=is_new,
        language=language,
        coins=coins,
    )


async def _coins(app: App, user: User | None) -> int | None:
    if user is None:
        return None
    [wallet] = await app.ledger.lookup_accounts((chart.wallet(app.environment, user.id),))
    if wallet is None:
        return 0
    return wallet.credits_posted - wallet.debits_posted - wallet.debits_pending


def _csrf_field(found: Visitor) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, found.csrf)


@cache
def _templates(language: str) -> Environment:
    """The templates in one language: its sentences, its numbers and dates."""
    templates = Environment(
        loader=FileSystemLoader(STATIC.parent / "templates"),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    install: Callable[..., None] = templates.install_gettext_callables  # type: ignore[attr-defined]
    install(
        gettext=partial(i18n.gettext, language),
        ngettext=partial(i18n.ngettext, language),
        newstyle=True,
    )
    templates.globals.update(
        asset=asset,
        is_rtl=i18n.is_rtl(language),
        catalogue_url=i18n.catalogue_url(language),
    )
    templates.filters.update(
        price=lambda price: i18n.price_text(_price(price), language),
        number=lambda number: i18n.number_text(number, language),
        instant=lambda instant: i18n.instant_text(instant, language),
        day=lambda instant: i18n.date_text(instant, language),
        iso=i18n.iso_text,
    )
    return templates


def _price(found: Price | dict[str, Any]) -> Price:
    return found if isinstance(found, Price) else msgspec.convert(found, Price)
