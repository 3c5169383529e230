"""
Amounts of money are whole numbers of the currency's minor unit; nothing here knows a float.

Rounding is said where it happens, and what is left over goes to somebody named.
"""

from collections.abc import Sequence

import msgspec

BPS = 10_000
"""Basis points in a whole: shares and tax rates are given in them."""

DIAMOND_UNITS = 10_000
"""Diamonds are kept in ten-thousandths, so that half of one coin is exact."""


class Currency(msgspec.Struct, frozen=True):
    """An ISO 4217 currency: its letters, its number (the ledger's), its decimal digits."""

    code: str
    number: int
    digits: int


_TABLE = """
AED 784 2  ARS 032 2  AUD 036 2  BGN 975 2  BRL 986 2  CAD 124 2  CHF 756 2  CLP 152 0  COP 170 2
CZK 203 2  DKK 208 2  EGP 818 2  EUR 978 2  GBP 826 2  HKD 344 2  HUF 348 2  IDR 360 2  ILS 376 2
INR 356 2  JPY 392 0  KRW 410 0  KWD 414 3  MXN 484 2  MYR 458 2  NOK 578 2  NZD 554 2  PEN 604 2
PHP 608 2  PLN 985 2  RON 946 2  SAR 682 2  SEK 752 2  SGD 702 2  THB 764 2  TRY 949 2  TWD 901 2
UAH 980 2  USD 840 2  VND 704 0  ZAR 710 2
"""
_WORDS = _TABLE.split()
CURRENCIES = {
    code: Currency(code, int(number), int(digits))
    for code, number, digits in zip(_WORDS[::3], _WORDS[1::3], _WORDS[2::3], strict=True)
}
"""The currencies that prices may be in (ISO 4217, 2026), by their letters."""

CURRENCY_OF_NUMBER = {currency.number: currency for currency in CURRENCIES.values()}


class Price(msgspec.Struct, frozen=True):
    """`amount` in the minor unit of `currency` (ISO 4217 letters)."""

    amount: int
    currency: str


def share_of(amount: int, bps: int) -> int:
    """`bps` of an amount, rounded down; the caller says who keeps the rest."""
    assert amount >= 0
    assert 0 <= bps <= BPS
    return amount * bps // BPS


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """
    Split a total by weights without losing a unit: largest remainder, ties to the earlier one.

    The parts always add up to `total`.
    """
    assert total >= 0
    assert weights
    assert all(weight >= 0 for weight in weights)
    whole = sum(weights)
    assert whole > 0
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
    for index in by_remainder[:left]:
        parts[index] += 1
    assert sum(parts) == total
    return parts


def tax_included(gross: int, rate_bps: int) -> int:
    """The tax inside a price that includes it, rounded half up to the minor unit."""
    assert gross >= 0
    assert rate_bps >= 0
    return (2 * gross * rate_bps + BPS + rate_bps) // (2 * (BPS + rate_bps))


def decimal(amount: int, currency: str) -> str:
    """The amount as a plain decimal: `decimal(749, "USD") == "7.49"`."""
    return _decimal(amount, CURRENCIES[currency].digits)


def diamonds(units: int) -> str:
    """Ten-thousandths of a diamond as people read them: `diamonds(125_000) == "12.5000"`."""
    return _decimal(units, 4)


def _decimal(amount: int, digits: int) -> str:
    sign = "-" if amount < 0 else ""
    if digits == 0:
        return f"{sign}{abs(amount)}"
    whole, part = divmod(abs(amount), 10**digits)
    return f"{sign}{whole}.{part:0{digits}d}"
