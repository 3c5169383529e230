"""
What is sold and what it costs: coin packages per channel and country, and gift items.

Pure: bytes of TOML in, a `Catalog` or a list of problems out. A catalogue is replaced whole, never
edited; two files that say the same thing give the same `content`, and so the same version.
"""

import re
import tomllib
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import msgspec

from largesse.errors import Rejected
from largesse.money import BPS, CURRENCIES, Price

CHANNELS = ("web", "ios", "android")
"""Where coins are bought: on our own page, or in an app through its store."""
ANY_COUNTRY = "*"
"""The country of the list for everyone who has no list of his own."""
EXACT_PREFIX = "exact:"
"""The id of an exact amount is this and the number of coins: `exact:123`."""

FORMAT = 1
FILE_BYTES_MAX = 1 << 20
LISTS_MAX = 1_000
PACKAGES_MAX = 100
ITEMS_MAX = 5_000
PROBLEMS_MAX = 100
"""Problems that one reading lists; the rest waits until these are mended."""
ID_LENGTH_MAX = 40
NAME_LENGTH_MAX = 40
PACKAGE_COINS_MAX = 10_000_000
PACKAGE_AMOUNT_MAX = 1_000_000_000_000
"""The dearest package, in the minor unit."""
ITEM_COINS_MAX = 1_000_000
COMBO_SECONDS, COMBO_SECONDS_MAX = 3, 30
"""How long a streak waits for the next gift, where the item does not say, and at most."""
ITEM_NUMBER_MAX = (1 << 31) - 1
"""The ledger keeps an item's number in the upper half of a 63-bit field."""

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_ART = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\.svg")
_COUNTRY = re.compile(r"[A-Z]{2}")
_EXACT_COINS = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_PACKAGES = "packages.toml"
_GIFT_ITEMS = "gift-items.toml"


class Package(msgspec.Struct, frozen=True):
    """
    Coins for a price that includes tax at `tax_rate_bps` (0 where a store settles the tax).

    `bonus_coins` is always 0 here: a price list cannot give coins away, only a funded promotion can.
    """

    id: str
    coins: int
    bonus_coins: int
    price: Price
    tax_rate_bps: int


class Exact(msgspec.Struct, frozen=True):
    """
    The rate of an exact amount: `coins` cost `amount` minor units; from `minimum` to `maximum`.

    The rate is a ratio of whole numbers, so no fraction of a cent is lost in writing it down.
    """

    coins: int
    amount: int
    minimum: int
    maximum: int


class PriceList(msgspec.Struct, frozen=True):
    """What one channel sells in one country (`*`: in every other one), packages by rising coins."""

    channel: str
    country: str
    currency: str
    tax_rate_bps: int
    packages: tuple[Package, ...]
    exact: Exact | None


class GiftItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    Something a viewer may send, at `coins` each.

    `number` names it in the ledger for ever and is never given to another item. A `streakable` item
    sent again within `combo_seconds` of the last one counts up as one streak; an `exclusive` one only some may send; `season` is
    a label to show ("" for none); what is not `enabled` is kept for the history and not sold.
    `art` is a file of `web/static/art/gifts`.
    """

    number: int
    id: str
    name: str
    coins: int
    streakable: bool
    exclusive: bool
    season: str
    art: str
    enabled: bool
    combo_seconds: int = COMBO_SECONDS
    """Left out of `content` at its default, so that catalogues of before keep their version."""


class CatalogProblem(msgspec.Struct, frozen=True):
    """One thing an operator has to mend: the place in the file, and what is wrong there."""

    where: str
    what: str


class Catalog(msgspec.Struct, frozen=True, eq=False):
    """
    Every price list and gift item, looked up by what a request names.

    `gift_items` holds all of them, cheapest first, also those not enabled. `content` is the same
    for equal catalogues, whatever their files look like; the version is given by it.
    """

    price_lists: tuple[PriceList, ...]
    gift_items: tuple[GiftItem, ...]
    content: bytes
    _list_of: dict[tuple[str, str], PriceList]
    _dearest_of: dict[tuple[str, str], Package]
    _item_of_id: dict[str, GiftItem]
    _item_of_number: dict[int, GiftItem]

    def price_list(self, channel: str, country: str) -> PriceList | None:
        """The list of this country, else the channel's list for every country, else None."""
        return self._list_of.get((channel, country)) or self._list_of.get((channel, ANY_COUNTRY))

    def packages(self, channel: str, country: str) -> list[Package]:
        """The packages this channel sells in this country, smallest first."""
        prices = self.price_list(channel, country)
        return list(prices.packages) if prices else []

    def package(self, id: str, channel: str, country: str) -> Package | None:
        """The package with this id, or the exact amount of `exact:<coins>`; None if not sold."""
        if id.startswith(EXACT_PREFIX):
            return self._exact_package(id, channel, country)
        for package in self.packages(channel, country):
            if package.id == id:
                return package
        return None

    def exact(self, channel: str, country: str) -> Exact | None:
        """The rate and the bounds of exact amounts, None where they are not sold."""
        prices = self.price_list(channel, country)
        return prices.exact if prices else None

    def exact_price(self, coins: int, channel: str, country: str) -> Price | None:
        """
        What exactly these coins cost; None where they are not sold or out of bounds.

        Rounded down to the minor unit: the fraction, less than one cent an order, is the seller's
        loss. `load` has made sure that no package is undercut and the smallest one's price is not
        exceeded at its own size.
        """
        prices = self.price_list(channel, country)
        if prices is None or prices.exact is None:
            return None
        if not prices.exact.minimum <= coins <= prices.exact.maximum:
            return None
        return Price(_exact_amount(prices.exact, coins), prices.currency)

    def cheapest_package_for(
        self, missing_coins: int, channel: str, country: str
    ) -> Package | None:
        """The cheapest package that holds the missing coins, else the largest; None if none is sold."""
        packages = self.packages(channel, country)
        for package in packages:  # Prices rise with coins, so the first that suffices is cheapest.
            if package.coins >= missing_coins:
                return package
        return packages[-1] if packages else None

    def money_value(self, coins: int, channel: str = "web", country: str = ANY_COUNTRY) -> Price:
        """
        What coins are worth in money, to be shown beside every price in coins.

        At the undiscounted rate, that of the package whose coins are dearest, and rounded up to the
        minor unit, so that nobody is shown less than he paid. An unknown channel counts as the web.
        Source: EU CPC Network, key principles on in-game virtual currencies, 21 March 2025.
        """
        assert coins >= 0
        dearest = self.dearest(channel, country)
        return Price(-(-coins * dearest.price.amount // dearest.coins), dearest.price.currency)

    def dearest(self, channel: str = "web", country: str = ANY_COUNTRY) -> Package:
        """The package whose coins are dearest: the rate of `money_value`, for who has to compute it."""
        return (
            self._dearest_of.get((channel, country))
            or self._dearest_of.get((channel, ANY_COUNTRY))
            or self._dearest_of.get(("web", country))
            or self._dearest_of["web", ANY_COUNTRY]
        )

    def gift_item(self, id: str) -> GiftItem | None:
        """The item with this id, also one that is not enabled."""
        return self._item_of_id.get(id)

    def item_of_number(self, number: int) -> GiftItem | None:
        """The item the ledger means by this number, also one that is not enabled."""
        return self._item_of_number.get(number)

    def _exact_package(self, id: str, channel: str, country: str) -> Package | None:
        digits = id[len(EXACT_PREFIX) :]
        if not _EXACT_COINS.fullmatch(digits):
            return None
        coins = int(digits)
        prices, price = self.price_list(channel, country), self.exact_price(coins, channel, country)
        if prices is None or price is None:
            return None
        return Package(id, coins, 0, price, prices.tax_rate_bps)


def load(packages_toml: bytes, gifts_toml: bytes) -> Catalog:
    """
    The catalogue that these two files describe; `docs/reference/catalog.md` explains every field.

    Raises:
        Rejected: catalog_invalid, with `problems`: every one found, as `where: what`.
    """
    price_lists, gift_items, problems = _read(packages_toml, gifts_toml)
    if problems:
        raise Rejected(
            "catalog_invalid", problems=[f"{each.where}: {each.what}" for each in problems]
        )

    # After this point it must succeed.
    by_number = sorted(gift_items, key=lambda item: item.number)
    return Catalog(
        price_lists=tuple(price_lists),
        gift_items=tuple(sorted(gift_items, key=lambda item: (item.coins, item.number))),
        content=msgspec.json.encode(
            {"format": FORMAT, "price_lists": price_lists, "gift_items": by_number}
        ),
        _list_of={(prices.channel, prices.country): prices for prices in price_lists},
        _dearest_of={
            (prices.channel, prices.country): _dearest(prices.packages) for prices in price_lists
        },
        _item_of_id={item.id: item for item in gift_items},
        _item_of_number={item.number: item for item in gift_items},
    )


def problems(packages_toml: bytes, gifts_toml: bytes) -> list[CatalogProblem]:
    """Everything that is wrong with these two files, at most `PROBLEMS_MAX`; empty if `load` takes them."""
    return _read(packages_toml, gifts_toml)[2]


def _dearest(packages: Sequence[Package]) -> Package:
    """The package with the highest price per coin, compared without a fraction."""
    dearest = packages[0]
    for package in packages[1:]:
        if package.price.amount * dearest.coins > dearest.price.amount * package.coins:
            dearest = package
    return dearest


def _exact_amount(exact: Exact, coins: int) -> int:
    return coins * exact.amount // exact.coins


# Reading: every reader adds what it finds wrong to `found` and answers None, so that one reading
# tells everything. What needs several good values is checked only where they are all there.

_Table = dict[str, Any]
_Found = list[CatalogProblem]
_T = TypeVar("_T", bound=Hashable)


def _read(
    packages_toml: bytes, gifts_toml: bytes
) -> tuple[list[PriceList], list[GiftItem], list[CatalogProblem]]:
    found: _Found = []
    price_lists = _price_lists(_tables(packages_toml, _PACKAGES, "lists", LISTS_MAX, found), found)
    gift_items = _gift_items(_tables(gifts_toml, _GIFT_ITEMS, "items", ITEMS_MAX, found), found)
    return price_lists, gift_items, found[:PROBLEMS_MAX]


def _tables(raw: bytes, file: str, name: str, maximum: int, found: _Found) -> list[_Table]:
    """The tables called `name` of a file, empty where the file as a whole cannot be read."""
    if len(raw) > FILE_BYTES_MAX:
        found.append(CatalogProblem(file, f"is larger than {FILE_BYTES_MAX} bytes"))
        return []
    try:
        document = tomllib.loads(raw.decode())
    except RecursionError:
        found.append(CatalogProblem(file, "is nested too deeply"))
        return []
    except (
        ValueError
    ) as error:  # Bad UTF-8, bad TOML and numbers with too many digits are all this.
        found.append(CatalogProblem(file, f"is not TOML: {_short(str(error))}"))
        return []
    _unknown(document, {"format", name}, file, found)
    version = document.get("format")
    if isinstance(version, bool) or version != FORMAT:
        _wrong("format", str(FORMAT), version, file, found)
    return _rows(document, name, file, maximum, found)


def _rows(table: _Table, name: str, where: str, maximum: int, found: _Found) -> list[_Table]:
    rows = table.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        found.append(CatalogProblem(where, f"{name} must be a list of tables"))
        return []
    if not 1 <= len(rows) <= maximum:
        found.append(CatalogProblem(where, f"must have 1 to {maximum} {name}, has {len(rows)}"))
        return []
    return rows


def _price_lists(tables: list[_Table], found: _Found) -> list[PriceList]:
    price_lists = []
    for n, table in enumerate(tables, 1):
        channel, country = table.get("channel"), table.get("country")
        where = f"{_PACKAGES}: list {n} ({_short(str(channel))}, {_short(str(country))})"
        prices = _price_list(table, where, found)
        if prices is not None:
            price_lists.append(prices)
    pairs = [(prices.channel, prices.country) for prices in price_lists]
    for channel, country in _repeated(pairs):
        what = f"there are two lists for channel {channel} and country {country}"
        found.append(CatalogProblem(_PACKAGES, what))
    if tables and len(price_lists) == len(tables):
        _check_defaults(pairs, found)
    return sorted(price_lists, key=lambda prices: (prices.channel, prices.country))


def _check_defaults(pairs: list[tuple[str, str]], found: _Found) -> None:
    """The web must be sold everywhere, and so must every other channel that is sold at all."""
    sold = {"web"} | {channel for channel, _ in pairs}
    for channel in CHANNELS:
        if channel in sold and (channel, ANY_COUNTRY) not in pairs:
            what = f'channel {channel} needs a list with country = "{ANY_COUNTRY}"'
            found.append(CatalogProblem(_PACKAGES, what))


def _price_list(table: _Table, where: str, found: _Found) -> PriceList | None:
    fields = {"channel", "country", "currency", "tax_rate_bps", "packages", "exact"}
    _unknown(table, fields, where, found)
    channel = _word(table, "channel", where, found, CHANNELS.__contains__, "web, ios or android")
    country = _word(table, "country", where, found, _is_country, 'two capital letters or "*"')
    currency = _word(table, "currency", where, found, CURRENCIES.__contains__, "an ISO 4217 code")
    tax_rate_bps = _whole(table, "tax_rate_bps", where, found, minimum=0, maximum=BPS)
    rows = _rows(table, "packages", where, PACKAGES_MAX, found)
    packages = [
        _package(row, currency, tax_rate_bps, f"{where}, package {n}", found)
        for n, row in enumerate(rows, 1)
    ]
    exact = _exact(table, f"{where}, exact", found) if "exact" in table else None
    whole = [package for package in packages if package is not None]
    _check_packages(whole, where, found)
    if channel is None or country is None or currency is None or tax_rate_bps is None:
        return None
    if not whole or len(whole) < len(packages):
        return None
    whole.sort(key=lambda package: package.coins)
    if exact is not None:
        _check_exact(exact, whole, f"{where}, exact", found)
    return PriceList(channel, country, currency, tax_rate_bps, tuple(whole), exact)


def _package(
    row: _Table, currency: str | None, tax_rate_bps: int | None, where: str, found: _Found
) -> Package | None:
    _unknown(row, {"id", "coins", "amount"}, where, found)
    id = _id(row, where, found)
    coins = _whole(row, "coins", where, found, minimum=1, maximum=PACKAGE_COINS_MAX)
    amount = _whole(row, "amount", where, found, minimum=1, maximum=PACKAGE_AMOUNT_MAX)
    if id is None or coins is None or amount is None:
        return None
    return Package(id, coins, 0, Price(amount, currency or ""), tax_rate_bps or 0)


def _exact(table: _Table, where: str, found: _Found) -> Exact | None:
    row = table["exact"]
    if not isinstance(row, dict):
        found.append(CatalogProblem(where, "must be a table"))
        return None
    _unknown(row, {"coins", "amount", "minimum", "maximum"}, where, found)
    coins = _whole(row, "coins", where, found, minimum=1, maximum=PACKAGE_COINS_MAX)
    amount = _whole(row, "amount", where, found, minimum=1, maximum=PACKAGE_AMOUNT_MAX)
    minimum = _whole(row, "minimum", where, found, minimum=1, maximum=PACKAGE_COINS_MAX)
    maximum = _whole(row, "maximum", where, found, minimum=1, maximum=PACKAGE_COINS_MAX)
    if coins is None or amount is None or minimum is None or maximum is None:
        return None
    return Exact(coins, amount, minimum, maximum)


def _check_packages(packages: list[Package], where: str, found: _Found) -> None:
    for id in _repeated([package.id for package in packages]):
        found.append(CatalogProblem(where, f"two packages have the id {id}"))
    for coins in _repeated([package.coins for package in packages]):
        found.append(CatalogProblem(where, f"two packages have {coins} coins"))
    by_coins = sorted(packages, key=lambda package: package.coins)
    for less, more in pairwise(by_coins):
        if less.coins < more.coins and less.price.amount >= more.price.amount:
            what = f"{more.id} has more coins than {less.id} and must cost more"
            found.append(CatalogProblem(where, what))


def _check_exact(exact: Exact, packages: list[Package], where: str, found: _Found) -> None:
    """Exact amounts must not make a package pointless, nor cost more than the smallest one's rate."""
    if exact.minimum > exact.maximum:
        found.append(CatalogProblem(where, "minimum must not be above maximum"))
    if _exact_amount(exact, exact.minimum) < 1:
        found.append(CatalogProblem(where, "the minimum must cost at least one minor unit"))
    for package in packages:
        if _exact_amount(exact, package.coins) < package.price.amount:
            what = f"{package.coins} coins would cost less than the package {package.id}"
            found.append(CatalogProblem(where, what))
    smallest = packages[0]
    if _exact_amount(exact, smallest.coins) > smallest.price.amount:
        what = f"{smallest.coins} coins would cost more than the smallest package, {smallest.id}"
        found.append(CatalogProblem(where, what))


def _gift_items(tables: list[_Table], found: _Found) -> list[GiftItem]:
    read = [
        _gift_item(row, f"{_GIFT_ITEMS}: item {n} ({_short(str(row.get('id')))})", found)
        for n, row in enumerate(tables, 1)
    ]
    items = [item for item in read if item is not None]
    for id in _repeated([item.id for item in items]):
        found.append(CatalogProblem(_GIFT_ITEMS, f"two items have the id {id}"))
    for number in _repeated([item.number for item in items]):
        found.append(CatalogProblem(_GIFT_ITEMS, f"two items have the number {number}"))
    return items


def _gift_item(row: _Table, where: str, found: _Found) -> GiftItem | None:
    _unknown(row, set(GiftItem.__struct_fields__), where, found)
    number = _whole(row, "number", where, found, minimum=1, maximum=ITEM_NUMBER_MAX)
    id = _id(row, where, found)
    expected = f"printable text of 1 to {NAME_LENGTH_MAX} characters"
    name = _word(row, "name", where, found, _is_name, expected)
    coins = _whole(row, "coins", where, found, minimum=1, maximum=ITEM_COINS_MAX)
    art = _word(row, "art", where, found, _is_art, "a file name such as rose.svg")
    season = _word(row, "season", where, found, _is_id, "a word such as winter", default="")
    streakable = _truth(row, "streakable", where, found, default=False)
    exclusive = _truth(row, "exclusive", where, found, default=False)
    enabled = _truth(row, "enabled", where, found, default=True)
    combo_seconds = COMBO_SECONDS
    if "combo_seconds" in row:
        whole = _whole(row, "combo_seconds", where, found, minimum=1, maximum=COMBO_SECONDS_MAX)
        combo_seconds = whole or COMBO_SECONDS
    if number is None or id is None or name is None or coins is None:
        return None
    if art is None or season is None:
        return None
    if streakable is None or exclusive is None or enabled is None:
        return None
    return GiftItem(
        number, id, name, coins, streakable, exclusive, season, art, enabled, combo_seconds
    )


def _whole(
    table: _Table, name: str, where: str, found: _Found, *, minimum: int, maximum: int
) -> int | None:
    value = table.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
        return value
    expected = f"a whole number from {minimum} to {maximum}"
    _wrong(name, expected, value, where, found)
    return None


def _word(
    table: _Table,
    name: str,
    where: str,
    found: _Found,
    is_good: Callable[[str], bool],
    expected: str,
    default: str | None = None,
) -> str | None:
    value = table.get(name, default)
    if isinstance(value, str) and (value == default or is_good(value)):
        return value
    _wrong(name, expected, value, where, found)
    return None


def _id(table: _Table, where: str, found: _Found) -> str | None:
    expected = f"small letters, digits and hyphens, at most {ID_LENGTH_MAX}"
    return _word(table, "id", where, found, _is_id, expected)


def _truth(table: _Table, name: str, where: str, found: _Found, *, default: bool) -> bool | None:
    value = table.get(name, default)
    if isinstance(value, bool):
        return value
    _wrong(name, "true or false", value, where, found)
    return None


def _wrong(name: str, expected: str, value: object, where: str, found: _Found) -> None:
    is_value = "is missing" if value is None else f"is {_shown(value)}"
    found.append(CatalogProblem(where, f"{name} must be {expected}; it {is_value}"))


def _unknown(table: _Table, fields: set[str], where: str, found: _Found) -> None:
    for name in sorted(table.keys() - fields):
        what = f"unknown field {_short(name)}; there are {', '.join(sorted(fields))}"
        found.append(CatalogProblem(where, what))


def _is_country(text: str) -> bool:
    return text == ANY_COUNTRY or _COUNTRY.fullmatch(text) is not None


def _is_id(text: str) -> bool:
    return len(text) <= ID_LENGTH_MAX and _ID.fullmatch(text) is not None


def _is_art(text: str) -> bool:
    return len(text) <= ID_LENGTH_MAX and _ART.fullmatch(text) is not None


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= NAME_LENGTH_MAX and text.isprintable() and text == text.strip()


def _repeated(values: Sequence[_T]) -> list[_T]:
    """Each value that is there more than once, once, in the order of its second appearance."""
    seen: set[_T] = set()
    repeated: dict[_T, None] = {}
    for value in values:
        if value in seen:
            repeated[value] = None
        seen.add(value)
    return list(repeated)


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        return "a number that large"  # Python refuses to print numbers of very many digits.
    return _short(repr(value)) if isinstance(value, str | int | float) else type(value).__name__


def _short(text: str) -> str:
    """Text of the operator's file in a problem: what fits a line, and nothing a terminal obeys."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:60])
    return shown if len(text) <= 60 else f"{shown}..."
