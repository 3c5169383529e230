"""The catalogue that is shipped, and what an operator is told about his own."""

import hashlib
import re
import tomllib
from importlib.resources import files
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from largesse import catalog
from largesse.catalog import CatalogProblem, GiftItem, Package
from largesse.errors import Rejected
from largesse.money import Price

DATA = files("largesse") / "data" / "catalog"
ART = files("largesse") / "web" / "static" / "art"
PACKAGES = (DATA / "packages.toml").read_bytes()
GIFT_ITEMS = (DATA / "gift-items.toml").read_bytes()
SHIPPED = catalog.load(PACKAGES, GIFT_ITEMS)

SMALL_PACKAGES = """
format = 1
[[lists]]
channel = "web"
country = "*"
currency = "USD"
tax_rate_bps = 0
packages = [{ id = "few", coins = 100, amount = 100 }, { id = "many", coins = 1000, amount = 900 }]
"""
SMALL_ITEMS = """
format = 1
[[items]]
number = 1
id = "rose"
name = "Rose"
coins = 1
art = "rose.svg"
"""


def load(packages: str = SMALL_PACKAGES, items: str = SMALL_ITEMS) -> catalog.Catalog:
    return catalog.load(packages.encode(), items.encode())


def problems(packages: str = SMALL_PACKAGES, items: str = SMALL_ITEMS) -> list[CatalogProblem]:
    found = catalog.problems(packages.encode(), items.encode())
    if found:
        with pytest.raises(Rejected) as refusal:
            load(packages, items)
        assert refusal.value.code == "catalog_invalid"
        assert refusal.value.facts["problems"] == [f"{each.where}: {each.what}" for each in found]
    return found


def whats(packages: str = SMALL_PACKAGES, items: str = SMALL_ITEMS) -> list[str]:
    return [each.what for each in problems(packages, items)]


# What is shipped.


@pytest.mark.parametrize(
    ("channel", "cents"),
    [
        ("web", [74, 374, 749, 1499, 3749, 7499, 18749]),
        ("ios", [99, 499, 999, 1999, 4999, 9999, 24999]),
        ("android", [99, 499, 999, 1999, 4999, 9999, 24999]),
    ],
)
def test_seven_packages_are_sold_on_every_channel(channel: str, cents: list[int]) -> None:
    packages = SHIPPED.packages(channel, "US")
    assert [each.coins for each in packages] == [70, 350, 700, 1400, 3500, 7000, 17500]
    assert [each.price for each in packages] == [Price(amount, "USD") for amount in cents]
    assert {each.bonus_coins for each in packages} == {0}
    assert {each.tax_rate_bps for each in packages} == {0}


def test_a_country_with_a_list_of_its_own_pays_in_its_money_with_its_tax_inside() -> None:
    german = SHIPPED.package("coins-70", "web", "DE")
    assert german == Package("coins-70", 70, 0, Price(79, "EUR"), 1900)
    french, british = (SHIPPED.package("coins-70", "web", country) for country in ("FR", "GB"))
    assert french is not None
    assert british is not None
    assert (french.price.currency, french.tax_rate_bps) == ("EUR", 2000)
    assert (british.price.currency, british.tax_rate_bps) == ("GBP", 2000)


def test_a_country_without_a_list_gets_the_default_one() -> None:
    assert SHIPPED.packages("web", "NZ") == SHIPPED.packages("web", "*")
    assert SHIPPED.packages("ios", "DE") == SHIPPED.packages("ios", "US")


def test_nothing_is_sold_on_a_channel_that_is_not_there() -> None:
    assert SHIPPED.packages("fax", "US") == []
    assert SHIPPED.package("coins-70", "fax", "US") is None
    assert SHIPPED.cheapest_package_for(1, "fax", "US") is None
    assert SHIPPED.exact_price(100, "fax", "US") is None
    assert SHIPPED.package("coins-71", "web", "US") is None


@pytest.mark.parametrize("country", ["US", "DE", "FR", "GB"])
def test_an_exact_amount_costs_what_the_package_of_its_size_costs(country: str) -> None:
    for package in SHIPPED.packages("web", country):
        assert SHIPPED.exact_price(package.coins, "web", country) == package.price


def test_an_exact_amount_is_bought_like_a_package() -> None:
    package = SHIPPED.package("exact:123", "web", "US")
    assert package == Package("exact:123", 123, 0, Price(131, "USD"), 0)  # 131.78 rounded down.
    german = SHIPPED.package("exact:44999", "web", "DE")
    assert german is not None
    assert german.tax_rate_bps == 1900


NO_EXACT_AMOUNT = """
exact:49 exact:50001 exact:0 exact:-70 exact:070 exact:7e3 exact: exact:70.5 exact:\u0667\u0660
"""


@pytest.mark.parametrize(
    "id", [*NO_EXACT_AMOUNT.split(), "exact: 70", "exact:70 ", "exact:70\n", "exact:" + "9" * 5000]
)
def test_no_other_exact_amount_is_sold(id: str) -> None:
    assert SHIPPED.package(id, "web", "US") is None


def test_the_bounds_of_an_exact_amount_belong_to_it() -> None:
    exact = SHIPPED.exact("web", "US")
    assert exact is not None
    assert (exact.minimum, exact.maximum) == (50, 50_000)
    assert SHIPPED.exact_price(50, "web", "US") == Price(53, "USD")
    assert SHIPPED.exact_price(50_000, "web", "US") == Price(53_568, "USD")
    assert exact.maximum >= max(item.coins for item in SHIPPED.gift_items)


def test_stores_sell_packages_only() -> None:
    for channel in ("ios", "android"):
        assert SHIPPED.exact(channel, "US") is None
        assert SHIPPED.package("exact:100", channel, "US") is None


@given(coins=st.integers(50, 49_999), country=st.sampled_from(["US", "DE", "FR", "GB"]))
def test_more_coins_never_cost_less_and_no_package_is_undercut(coins: int, country: str) -> None:
    price = SHIPPED.exact_price(coins, "web", country)
    one_more = SHIPPED.exact_price(coins + 1, "web", country)
    assert price is not None
    assert one_more is not None
    assert price.amount <= one_more.amount
    for package in SHIPPED.packages("web", country):
        if coins >= package.coins:
            assert price.amount >= package.price.amount


@given(coins=st.integers(0, 10**12), channel=st.sampled_from(catalog.CHANNELS))
def test_the_value_shown_is_never_less_than_was_paid(coins: int, channel: str) -> None:
    value = SHIPPED.money_value(coins, channel, "US")
    for package in SHIPPED.packages(channel, "US"):
        assert value.amount * package.coins >= package.price.amount * coins
    dearest = SHIPPED.packages(channel, "US")[-1]
    assert (value.amount - 1) * dearest.coins < dearest.price.amount * coins


def test_a_gift_is_shown_with_its_price_in_the_money_of_the_country() -> None:
    assert SHIPPED.money_value(700) == Price(750, "USD")
    assert SHIPPED.money_value(700, "ios", "US") == Price(1000, "USD")
    assert SHIPPED.money_value(700, "web", "DE") == Price(800, "EUR")
    assert SHIPPED.money_value(700, "fax", "DE") == Price(800, "EUR")
    assert SHIPPED.money_value(0) == Price(0, "USD")


@pytest.mark.parametrize(
    ("missing", "coins"), [(1, 70), (70, 70), (71, 350), (17_500, 17_500), (44_999, 17_500)]
)
def test_whoever_misses_coins_is_offered_the_cheapest_package_that_suffices(
    missing: int, coins: int
) -> None:
    package = SHIPPED.cheapest_package_for(missing, "web", "US")
    assert package is not None
    assert package.coins == coins


def test_the_gift_items_climb_from_1_to_44_999_coins() -> None:
    coins = [item.coins for item in SHIPPED.gift_items]
    assert 38 <= len(coins) <= 45
    assert coins == sorted(coins)
    assert (coins[0], coins[-1]) == (1, 44_999)
    assert max(more / less for less, more in pairwise(coins)) <= 5


def test_some_items_are_streakable_exclusive_seasonal_and_one_is_not_sold() -> None:
    items = SHIPPED.gift_items
    assert {item.streakable for item in items if item.coins <= 99} == {True}
    assert {item.streakable for item in items if item.coins > 99} == {False}
    assert sum(item.exclusive or item.season != "" for item in items) == 3
    assert [item.id for item in items if not item.enabled] == ["wind-chime"]


def test_an_item_is_found_by_its_id_and_by_the_number_in_the_ledger() -> None:
    rose = SHIPPED.gift_item("rose")
    assert rose == GiftItem(1, "rose", "Rose", 1, True, False, "", "rose.svg", True)
    for item in SHIPPED.gift_items:
        assert SHIPPED.gift_item(item.id) is item
        assert SHIPPED.item_of_number(item.number) is item
    assert SHIPPED.gift_item("tulip") is None
    assert SHIPPED.item_of_number(0) is None


def test_a_streak_waits_as_long_as_its_item_says_or_three_seconds() -> None:
    [usual] = load().gift_items
    [patient] = load(items=SMALL_ITEMS + "combo_seconds = 30\n").gift_items
    assert (usual.combo_seconds, patient.combo_seconds) == (3, 30)
    assert load(items=SMALL_ITEMS + "combo_seconds = 30\n").content != load().content
    assert b"combo_seconds" not in SHIPPED.content


GIVEN_OUT = """
rose little-heart lucky-clover cookie cup-of-coffee cupcake sunflower bubble-tea red-balloon
lollipop kite teddy-bear full-marks ladybird party-popper bouquet love-letter birthday-cake
crystal-ball magic-wand saxophone-solo trophy treasure-key comet peacock circus-tent rainbow
carousel sailboat mountain-summit helicopter-tour elephant-parade roller-coaster rocket-launch
volcano ringed-planet mammoth gentle-giant whole-world founders-crest inner-circle winter-pine
wind-chime
"""


def test_a_number_that_was_given_out_stays_with_its_item() -> None:
    """The ledger holds numbers only: one that moved would rename gifts that were sent long ago."""
    for number, id in enumerate(GIVEN_OUT.split(), 1):
        item = SHIPPED.item_of_number(number)
        assert item is not None
        assert item.id == id


# Art.


def test_every_item_has_its_art_and_all_art_is_used() -> None:
    there = {each.name for each in (ART / "gifts").iterdir()}
    assert there == {item.art for item in SHIPPED.gift_items}


def test_all_art_is_what_the_manifest_says_and_has_its_licence() -> None:
    manifest = tomllib.loads((ART / "art.toml").read_text())
    assert {each["file"] for each in manifest["art"]} == {
        f"gifts/{item.art}" for item in SHIPPED.gift_items
    }
    for each in manifest["art"]:
        raw = (ART / each["file"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == each["sha256"], each["file"]
        assert each["source"] == f"icons/flat/{each['file'].removeprefix('gifts/')}"
        assert each["licence"] == "MIT"
    licence = (ART / manifest["licence_file"]).read_text()
    assert "MIT License" in licence
    assert "Copyright (c) Microsoft Corporation" in licence
    assert "The above copyright notice and this permission notice shall be included" in licence


@pytest.mark.parametrize("item", SHIPPED.gift_items, ids=lambda item: item.id)
def test_a_drawing_only_draws(item: GiftItem) -> None:
    """Nothing in it runs, refers to anything, or can be styled from outside."""
    raw = (ART / "gifts" / item.art).read_bytes()
    assert len(raw) < 20_000
    assert b"<!" not in raw
    assert b"<?" not in raw
    for element in ElementTree.fromstring(raw).iter():
        shape = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
        assert shape in {"svg", "g", "path", "circle", "ellipse", "rect"}
        for name, value in element.attrib.items():
            assert not re.search(r"href|style|^on", name, re.IGNORECASE)
            assert not re.search(r"url|script|data:|//", value, re.IGNORECASE)


# What makes a version.


def test_the_content_is_the_same_for_files_that_say_the_same() -> None:
    other_way_round = SMALL_PACKAGES.replace(
        '{ id = "few", coins = 100, amount = 100 }, { id = "many", coins = 1000, amount = 900 }',
        '{ amount = 900, id = "many", coins = 1000 },\n # The small one.\n {id="few",coins=100,amount=100}',
    )
    assert other_way_round != SMALL_PACKAGES
    assert load(other_way_round).content == load().content
    assert load(items=SMALL_ITEMS + "enabled = true\n").content == load().content
    assert load(items=SMALL_ITEMS + "combo_seconds = 3\n").content == load().content

    [rose] = SMALL_ITEMS.split("format = 1")[1:]
    kite = rose.replace("number = 1", "number = 2").replace("rose", "kite")
    one_way, other_way = (f"format = 1{rose}{kite}", f"format = 1{kite}{rose}")
    assert load(items=one_way).content == load(items=other_way).content


@pytest.mark.parametrize(
    ("packages", "items"),
    [
        (SMALL_PACKAGES.replace("amount = 900", "amount = 901"), SMALL_ITEMS),
        (SMALL_PACKAGES.replace("tax_rate_bps = 0", "tax_rate_bps = 1"), SMALL_ITEMS),
        (SMALL_PACKAGES, SMALL_ITEMS.replace("coins = 1", "coins = 2")),
        (SMALL_PACKAGES, SMALL_ITEMS + "streakable = true\n"),
    ],
)
def test_the_content_differs_where_anything_does(packages: str, items: str) -> None:
    assert load(packages, items).content != load().content


# What an operator is told.


def exact(fields: str) -> str:
    return f"{SMALL_PACKAGES}exact = {{ {fields} }}\n"


@pytest.mark.parametrize(
    ("packages", "what"),
    [
        (
            SMALL_PACKAGES.replace('"many"', '"few"'),
            "two packages have the id few",
        ),
        (SMALL_PACKAGES.replace("coins = 1000", "coins = 100"), "two packages have 100 coins"),
        (
            SMALL_PACKAGES.replace("amount = 900", "amount = 100"),
            "many has more coins than few and must cost more",
        ),
        (
            SMALL_PACKAGES.replace('"USD"', '"XXX"'),
            "currency must be an ISO 4217 code; it is 'XXX'",
        ),
        (
            SMALL_PACKAGES.replace('currency = "USD"', ""),
            "currency must be an ISO 4217 code; it is missing",
        ),
        (
            SMALL_PACKAGES.replace('"web"', '"fax"'),
            "channel must be web, ios or android; it is 'fax'",
        ),
        (
            SMALL_PACKAGES.replace('"*"', '"de"'),
            "country must be two capital letters or \"*\"; it is 'de'",
        ),
        (
            SMALL_PACKAGES.replace('"*"', '"DE"'),
            'channel web needs a list with country = "*"',
        ),
        (
            SMALL_PACKAGES.replace('"web"', '"ios"'),
            'channel web needs a list with country = "*"',
        ),
        (
            SMALL_PACKAGES + SMALL_PACKAGES.replace("format = 1", ""),
            "there are two lists for channel web and country *",
        ),
        (
            SMALL_PACKAGES.replace("amount = 900", "amount = -900"),
            "amount must be a whole number from 1 to 1000000000000; it is -900",
        ),
        (
            SMALL_PACKAGES.replace("amount = 900", "amount = 9.00"),
            "amount must be a whole number from 1 to 1000000000000; it is 9.0",
        ),
        (
            SMALL_PACKAGES.replace("coins = 1000", "coins = true"),
            "coins must be a whole number from 1 to 10000000; it is True",
        ),
        (
            SMALL_PACKAGES.replace("coins = 1000", f"coins = 0x{'f' * 6000}"),
            "coins must be a whole number from 1 to 10000000; it is a number that large",
        ),
        (
            SMALL_PACKAGES.replace("tax_rate_bps = 0", "tax_rate_bps = 10001"),
            "tax_rate_bps must be a whole number from 0 to 10000; it is 10001",
        ),
        (
            SMALL_PACKAGES.replace("id =", "name ="),
            "unknown field name; there are amount, coins, id",
        ),
        (
            SMALL_PACKAGES.replace('"few"', '"exact:100"'),
            "id must be small letters, digits and hyphens, at most 40; it is 'exact:100'",
        ),
        (
            SMALL_PACKAGES.replace("amount = 900 }", "amount = 900, bonus_coins = 50 }"),
            "unknown field bonus_coins; there are amount, coins, id",
        ),
        (SMALL_PACKAGES.replace("packages = [", "packages = [[]] #"), "packages must be a list of tables"),
        (SMALL_PACKAGES.replace("packages = [", "packages = [] #"), "must have 1 to 100 packages, has 0"),
        (SMALL_PACKAGES.replace("format = 1", "format = 2"), "format must be 1; it is 2"),
        (SMALL_PACKAGES.replace("format = 1", ""), "format must be 1; it is missing"),
        ("format = 1\nlists = 7", "lists must be a list of tables"),
        (f"{SMALL_PACKAGES}exact = 7", "must be a table"),
        (f"prices = 7\n{SMALL_PACKAGES}", "unknown field prices; there are format, lists"),
        (
            f"{SMALL_PACKAGES}since = 7",
            "unknown field since; there are channel, country, currency, exact, packages, tax_rate_bps",
        ),
        (
            exact("coins = 10, amount = 9, minimum = 5, maximum = 500"),
            "100 coins would cost less than the package few",
        ),
        (
            exact("coins = 100, amount = 101, minimum = 5, maximum = 500"),
            "100 coins would cost more than the smallest package, few",
        ),
        (
            exact("coins = 1, amount = 1, minimum = 5, maximum = 4"),
            "minimum must not be above maximum",
        ),
        (
            exact("coins = 100, amount = 100, minimum = 1, maximum = 99, per = 3"),
            "unknown field per; there are amount, coins, maximum, minimum",
        ),
    ],
)  # fmt: skip
def test_a_wrong_price_list_is_refused_with_the_reason(packages: str, what: str) -> None:
    assert what in whats(packages)


def test_an_exact_amount_that_is_too_small_to_cost_anything_is_refused() -> None:
    yen = SMALL_PACKAGES.replace("USD", "JPY").replace("amount = 100 ", "amount = 1 ")
    cheap = f"{yen}exact = {{ coins = 100, amount = 1, minimum = 99, maximum = 500 }}\n"
    assert "the minimum must cost at least one minor unit" in whats(cheap)


@pytest.mark.parametrize(
    ("items", "what"),
    [
        (SMALL_ITEMS.replace('"Rose"', '""'), "name must be printable text"),
        (SMALL_ITEMS.replace('"Rose"', '" Rose"'), "name must be printable text"),
        (SMALL_ITEMS.replace('"Rose"', f'"{"R" * 41}"'), "name must be printable text"),
        (SMALL_ITEMS.replace('"Rose"', '"Ro\\u202ese"'), "name must be printable text"),
        (SMALL_ITEMS.replace('"Rose"', "2026-11-23"), "it is date"),
        (SMALL_ITEMS.replace('"rose.svg"', '"../rose.svg"'), "art must be a file name"),
        (SMALL_ITEMS.replace('"rose.svg"', '"rose.png"'), "art must be a file name"),
        (SMALL_ITEMS.replace("number = 1", "number = 0"), "number must be a whole number"),
        (SMALL_ITEMS.replace("number = 1", f"number = {2**31}"), "number must be a whole number"),
        (SMALL_ITEMS.replace("coins = 1", "coins = 0"), "coins must be a whole number"),
        (SMALL_ITEMS.replace("coins = 1", "coins = 1000001"), "coins must be a whole number"),
        (SMALL_ITEMS.replace("coins = 1", "coins = nan"), "coins must be a whole number"),
        (SMALL_ITEMS + "streakable = 1\n", "streakable must be true or false; it is 1"),
        (SMALL_ITEMS + 'exclusive = "no"\n', "exclusive must be true or false"),
        (SMALL_ITEMS + "enabled = []\n", "enabled must be true or false; it is list"),
        (SMALL_ITEMS + "combo_seconds = 0\n", "combo_seconds must be a whole number from 1 to 30"),
        (SMALL_ITEMS + "combo_seconds = 31\n", "combo_seconds must be a whole number"),
        (SMALL_ITEMS + 'season = "In Winter"\n', "season must be a word such as winter"),
        (SMALL_ITEMS + "price = 1\n", "unknown field price"),
        (SMALL_ITEMS + SMALL_ITEMS.replace("format = 1", ""), "two items have the id rose"),
        (SMALL_ITEMS + SMALL_ITEMS.replace("format = 1", ""), "two items have the number 1"),
        ("format = 1\n", "items must be a list of tables"),
        ("format = 1\nitems = []\n", "must have 1 to 5000 items, has 0"),
    ],
)
def test_a_wrong_gift_item_is_refused_with_the_reason(items: str, what: str) -> None:
    assert any(what in each for each in whats(items=items))


def test_every_problem_is_found_at_once_with_its_place() -> None:
    packages = SMALL_PACKAGES.replace('"USD"', '"XXX"').replace("coins = 1000", "coins = -1")
    items = SMALL_ITEMS.replace("coins = 1", "coins = 1.5").replace("art", "picture")
    assert [each.where for each in problems(packages, items)] == [
        "packages.toml: list 1 (web, *)",
        "packages.toml: list 1 (web, *), package 2",
        "gift-items.toml: item 1 (rose)",
        "gift-items.toml: item 1 (rose)",
        "gift-items.toml: item 1 (rose)",
    ]


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"\xff", "is not TOML"),
        (b"format = ", "is not TOML"),
        (b"format = 1\nformat = 1", "is not TOML"),
        (b"format = " + b"9" * 6000, "is not TOML"),
        (b"format = " + b"[" * 10_000, "is nested too deeply"),
        (b"#" * (catalog.FILE_BYTES_MAX + 1), "is larger than 1048576 bytes"),
        (b"", "format must be 1; it is missing"),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused(raw: bytes, what: str) -> None:
    for found in (catalog.problems(raw, GIFT_ITEMS), catalog.problems(PACKAGES, raw)):
        assert any(each.what.startswith(what) for each in found)


def test_a_file_full_of_mistakes_is_not_repeated_to_the_last_one() -> None:
    rows = "[[items]]\n" * 1000
    assert len(problems(items=f"format = 1\n{rows}")) == catalog.PROBLEMS_MAX


def test_what_an_operator_wrote_cannot_play_with_his_terminal() -> None:
    for each in problems(items=SMALL_ITEMS.replace('"rose"', '"\\u001b[2Jro\\nse"')):
        assert f"{each.where}{each.what}".isprintable()


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_are_answered_with_problems(packages: bytes, items: bytes) -> None:
    assert catalog.problems(packages, items)
