"""
The languages of the pages: which one a person gets, its sentences, its numbers and dates.

Sentences are named by their English words (gettext); English needs no catalogue.
"""

from datetime import UTC

from largesse import clock, money
from largesse.money import Price

DEFAULT = "en"


def choose(cookie: str | None, accept: str | None, *, development: bool = False) -> str:
    """The language for somebody who chose by cookie, or whose browser asks for these."""
    return DEFAULT


def is_rtl(language: str) -> bool:
    """Whether the language is written from right to left."""
    return language.partition("-")[0] in ("ar", "fa", "he", "ur")


def gettext(language: str, message: str) -> str:
    """The sentence in this language."""
    return message


def ngettext(language: str, one: str, many: str, number: int) -> str:
    """The sentence for this number in this language."""
    return one if number == 1 else many


def price_text(price: Price, language: str) -> str:
    """An amount of money as people write it there: `$7.49`."""
    from decimal import Decimal

    from babel.numbers import format_currency

    amount = Decimal(money.decimal(price.amount, price.currency))
    return format_currency(amount, price.currency, locale=language)


def number_text(number: int, language: str) -> str:
    """A whole number as people write it there: `17,500`."""
    from babel.numbers import format_decimal

    return format_decimal(number, locale=language)


def instant_text(instant: int, language: str) -> str:
    """An instant (nanoseconds) in UTC as people write it there, to the minute."""
    from babel.dates import format_datetime

    moment = clock.to_datetime(instant).astimezone(UTC)
    return format_datetime(moment, "medium", locale=language)
