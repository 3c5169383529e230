"""
The languages of the pages: which one a person gets, its sentences, its numbers and dates.

Sentences are named by their English words (gettext); English needs no catalogue. Every folder of
`locale` that has a `messages.po` is a language. Babel is imported with the first page, not with
the server, and a catalogue is read with the first page in its language.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from largesse import clock, money
from largesse.errors import Rejected
from largesse.money import Price

if TYPE_CHECKING:
    from babel import Locale
    from babel.numbers import NumberPattern

DEFAULT = "en"
LOCALE = Path(__file__).parent / "locale"
LONGER, MIRRORED = "en-XA", "ar-XB"
"""Pretend languages, for builders only: every text longer; every text from right to left."""
ACCEPT_LENGTH_MAX = 400
KEPT = "public, max-age=31536000, immutable"

_FACT = re.compile(r"(%\(\w+\)[a-z]|%%|\{\w+\}|<[^>]*>)")
_LETTER_BEFORE_NUMBER = re.compile(r"(?<=[^\W\d_])(?=\d)")
"""Where a currency is written in letters, a space stands behind it."""
_LONGER = str.maketrans("aeiouycnsAEIOUYCNS", "àéîöûýçñšÀÉÎÖÛÝÇÑŠ")


class Catalogue(msgspec.Struct, frozen=True):
    """The sentences of one language by their English words; `plural` picks a form for a number."""

    messages: dict[str, str | tuple[str, ...]]
    plural: Callable[[int], int]
    of_scripts: frozenset[str] = frozenset()
    """Those that scripts use, too."""


@cache
def languages(*, development: bool = False) -> tuple[str, ...]:
    """Every language there is, as a browser names it."""
    real = (DEFAULT, *sorted(file.parts[-3] for file in LOCALE.glob("*/LC_MESSAGES/messages.po")))
    return (*real, LONGER, MIRRORED) if development else real


def choose(cookie: str | None, accept: str | None, *, development: bool = False) -> str:
    """The language for somebody who chose by cookie, or whose browser asks for these."""
    known = {name.lower(): name for name in languages(development=development)}
    if cookie and cookie.lower() in known:
        return known[cookie.lower()]
    for wish in _wishes(accept):
        if wish in known:
            return known[wish]
        if wish.partition("-")[0] in known:
            return known[wish.partition("-")[0]]
    return DEFAULT


def is_rtl(language: str) -> bool:
    """Whether the language is written from right to left."""
    return language.partition("-")[0] in ("ar", "fa", "he", "ur")


def gettext(language: str, message: str) -> str:
    """The sentence in this language."""
    if language == DEFAULT:
        return message
    if language in (LONGER, MIRRORED):
        return pretend(language, message)
    found = catalogue(language).messages.get(message)
    return found if isinstance(found, str) else message


def ngettext(language: str, one: str, many: str, number: int) -> str:
    """The sentence for this number in this language."""
    english = one if number == 1 else many
    if language in (DEFAULT, LONGER, MIRRORED):
        return gettext(language, english)
    known = catalogue(language)
    found = known.messages.get(one)
    return found[known.plural(number)] if isinstance(found, tuple) else english


def pretend(language: str, message: str) -> str:
    """The sentence in a pretend language; facts and markup in it stay as they are."""
    parts = [part for part in _FACT.split(message) if part]
    if language == MIRRORED:
        words = [part if _FACT.fullmatch(part) else _mirrored(part) for part in parts]
        return "".join(words)
    words = [part if _FACT.fullmatch(part) else part.translate(_LONGER) for part in parts]
    more = " ·" * (len(message) * 2 // 5 // 2)
    return f"[{''.join(words)}{more}]"


@cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language, read once; of a pretend language for the scripts alone."""
    from gettext import c2py

    from babel.messages.pofile import read_po

    is_pretend = language in (LONGER, MIRRORED)
    file = LOCALE / ("messages.pot" if is_pretend else f"{language}/LC_MESSAGES/messages.po")
    with file.open("rb") as opened:
        read = read_po(opened)
    messages: dict[str, str | tuple[str, ...]] = {}
    of_scripts = set()
    for message in read:
        names = _words(message.id)
        said = tuple(pretend(language, name) for name in names) if is_pretend else None
        said = said or _words(message.string)
        if not names[0] or not all(said) or (message.fuzzy and not is_pretend):
            continue
        messages[names[0]] = said if message.pluralizable else said[0]
        if any(place.endswith(".js") for place, _ in message.locations):
            of_scripts.add(names[0])
    plural: Callable[[int], int] = c2py("n != 1" if is_pretend else read.plural_expr)
    return Catalogue(messages, plural, frozenset(of_scripts))


@cache
def of_scripts(language: str) -> bytes:
    """What scripts need of a language, as JSON: sentences, and the form for each of 200 numbers."""
    known = catalogue(language)
    found = {name: said for name, said in known.messages.items() if name in known.of_scripts}
    plurals = "".join(str(known.plural(number)) for number in range(200))
    return json.dumps(
        {"plurals": plurals, "messages": found}, ensure_ascii=False, sort_keys=True
    ).encode()


@cache
def catalogue_url(language: str) -> str:
    """Where scripts find them; empty for English, which needs none."""
    if language == DEFAULT:
        return ""
    return f"/i18n/{language}.{sha256(of_scripts(language)).hexdigest()[:12]}.json"


@get("/i18n/{name:str}", include_in_schema=False, sync_to_thread=False)
def get_sentences(name: FromPath[str]) -> Response[bytes]:
    """The sentences for scripts; the address names their content, so a browser keeps them."""
    language = name.partition(".")[0]
    is_known = language in languages(development=True) and language != DEFAULT
    if not is_known or catalogue_url(language) != f"/i18n/{name}":
        raise Rejected("not_found")
    headers = {"cache-control": KEPT}
    return Response(of_scripts(language), media_type="application/json", headers=headers)


def price_text(price: Price, language: str) -> str:
    """An amount of money as people write it there: `$7.49`, to the last minor unit."""
    from decimal import Decimal

    pattern = _money_pattern(language, money.CURRENCIES[price.currency].digits)
    text = pattern.apply(
        Decimal(money.decimal(price.amount, price.currency)),
        locale_of(language),
        currency=price.currency,
        currency_digits=False,
    )
    return _LETTER_BEFORE_NUMBER.sub("\u00a0", text)


def number_text(number: int, language: str) -> str:
    """A whole number as people write it there: `17,500`."""
    from babel.numbers import format_decimal

    return format_decimal(number, locale=locale_of(language))


def date_text(instant: int, language: str) -> str:
    """The day of an instant (nanoseconds) in UTC as people write it there."""
    from babel.dates import format_date

    return format_date(_moment(instant), "medium", locale=locale_of(language))


def instant_text(instant: int, language: str) -> str:
    """An instant (nanoseconds) in UTC as people write it there, to the minute."""
    from babel.dates import format_time

    locale = locale_of(language)
    time = format_time(_moment(instant), "short", tzinfo=UTC, locale=locale)
    pattern = str(locale.datetime_formats["medium"]).replace("'", "")
    return pattern.format(time, date_text(instant, language)) + " UTC"


def iso_text(instant: int) -> str:
    """An instant (nanoseconds) for `<time datetime>`."""
    return _moment(instant).strftime("%Y-%m-%dT%H:%M:%SZ")


def language_name(language: str) -> str:
    """What a language calls itself."""
    pretended = {LONGER: "English, longer (pretend)", MIRRORED: "English, mirrored (pretend)"}
    if language in pretended:
        return pretended[language]
    from babel import Locale

    name = str(Locale.parse(language, sep="-").get_display_name() or language)
    return name[0].upper() + name[1:]


def country_name(code: str, language: str) -> str:
    """A country (ISO 3166-1, two letters) as people call it there."""
    return str(locale_of(language).territories.get(code, code))


def _moment(instant: int) -> datetime:
    return clock.to_datetime(instant).astimezone(UTC)


@cache
def _money_pattern(language: str, digits: int) -> "NumberPattern":
    """How money is written, with just so many digits: a table of habits would round some off."""
    from babel.numbers import parse_pattern

    pattern = parse_pattern(locale_of(language).currency_formats["standard"].pattern)
    pattern.frac_prec = (digits, digits)
    return pattern


@cache
def locale_of(language: str) -> "Locale":
    """Whose numbers and dates; a pretend language counts as English does."""
    from babel import Locale

    pretended = language in (LONGER, MIRRORED)
    return Locale.parse("en-US" if pretended or language == DEFAULT else language, sep="-")


def _wishes(accept: str | None) -> list[str]:
    """The languages of an `Accept-Language` header, the dearest first."""
    if not accept or len(accept) > ACCEPT_LENGTH_MAX:
        return []
    weighed: list[tuple[float, int, str]] = []
    for part in accept.lower().split(","):
        name, _, weight = part.partition(";")
        found = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight) if weight else None
        quality = float(found[1]) if found else 0.0 if weight else 1.0
        if quality > 0:
            weighed.append((-quality, len(weighed), name.strip()))
    return [name for _, _, name in sorted(weighed)]


def _mirrored(text: str) -> str:
    return re.sub(r"\S+", lambda word: f"\u200f\u202e{word[0]}\u202c\u200f", text)


def _words(said: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said or ("",))


ROUTES = (get_sentences,)
