"""
The style guide: every token and every part in its states, for those who build pages.

Only there with the setting `development`. `?theme=light` or `dark` holds the page to one scheme,
`/styleguide/language/ar-XB` chooses a language, the pretend ones among them.
"""

import re
from functools import cache

import msgspec
from litestar import Response, get
from litestar.datastructures import Cookie
from litestar.params import FromPath

from largesse import ids
from largesse.errors import Rejected
from largesse.money import Price
from largesse.web import i18n
from largesse.web.assets import STATIC
from largesse.web.auth import AnyRequest
from largesse.web.pages import frame

THEMES = ("", "light", "dark")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202eesrever ni emoclew\u202c",
    "مرحبا بالجميع في البث",
    "Z\u0351\u036b\u0343\u036ba\u0329\u0333l\u0324g\u030do",
    "👩‍👩‍👧‍👦" * 8,
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "a" * 120,
)
"""Names and words that somebody will send."""


class Token(msgspec.Struct, frozen=True):
    """One custom property of tokens.css, and the group that it stands in there."""

    name: str
    value: str
    group: str


@cache
def tokens() -> tuple[Token, ...]:
    """Every token, in the order of the file."""
    found, group = [], ""
    text = (STATIC / "css" / "tokens.css").read_text().partition("\n  }\n")[0]
    for comment, name, value in re.findall(
        r"/\* ([^*]+?)\.? \*/|--([a-z0-9-]+): ([^;]+);", text.partition(":root")[2]
    ):
        group = comment or group
        if name:
            found.append(Token(name, " ".join(value.split()), group))
    return tuple(found)


@cache
def icons() -> tuple[str, ...]:
    """The names of all drawings."""
    return tuple(re.findall(r'<symbol id="([a-z-]+)"', (STATIC / "icons.svg").read_text()))


@get("/styleguide", include_in_schema=False)
async def get_styleguide(request: AnyRequest) -> Response[str]:
    """Every token and part."""
    found = await _builder(request)
    theme = request.query_params.get("theme", "")
    return frame.page(
        found,
        "styleguide.html",
        theme=theme if theme in THEMES else "",
        tokens=tokens(),
        icons=icons(),
        hostile=HOSTILE,
        someone=ids.text(found.app.entropy(16)) if found.user is None else found.user.id,
        languages=[(name, i18n.language_name(name)) for name in i18n.languages(development=True)],
        price=Price(749, "USD"),
        large_price=Price(123_456_789, "USD"),
        now=found.app.clock.now(),
    )


@get("/styleguide/language/{language:str}", include_in_schema=False)
async def get_language(request: AnyRequest, language: FromPath[str]) -> Response[None]:
    """Choose a language, a pretend one among them, and go back."""
    await _builder(request)
    if language not in i18n.languages(development=True):
        raise Rejected("not_found")
    chosen = Cookie(key=frame.LANGUAGE_COOKIE, value=language, path="/", samesite="lax")
    return frame.see("/styleguide", chosen)


async def _builder(request: AnyRequest) -> frame.Visitor:
    found = await frame.visitor(request)
    if not found.app.settings.development:
        raise Rejected("not_found")
    return found


ROUTES = (get_styleguide, get_language)
