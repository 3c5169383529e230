"""The language that somebody gets, what it makes of sentences, money and dates, and what scripts get."""

import re

import pytest

from largesse.money import Price
from largesse.web import i18n

ACCEPTED = [
    ("de-DE,de;q=0.9,en;q=0.8", "de"),
    ("fr, en;q=0.5", "en"),
    ("en;q=0.1, de;q=0.2", "de"),
    ("de;q=0", "en"),
    ("DE", "de"),
    ("en-XA", "en"),
    ("*", "en"),
    ("", "en"),
    (None, "en"),
    ("de" + ",x" * 300, "en"),
    ("de;q=many, ar-XB", "en"),
]


@pytest.fixture
def german(tmp_path, monkeypatch):
    """An installation with a second language, which has three sentences."""
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "messages.po").write_text(GERMAN)
    monkeypatch.setattr(i18n, "LOCALE", tmp_path)
    known = (i18n.languages, i18n.catalogue, i18n.of_scripts, i18n.catalogue_url)
    for each in known:
        each.cache_clear()
    yield
    for each in known:
        each.cache_clear()


GERMAN = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"Language: de\\n"

#: templates/wallet.html
msgid "Wallet"
msgstr "Geldbörse"

#: static/js/x.js
msgid "%(n)s coin"
msgid_plural "%(n)s coins"
msgstr[0] "%(n)s Münze"
msgstr[1] "%(n)s Münzen"

#: static/js/x.js
#, fuzzy
msgid "Close"
msgstr "Nah"
"""


@pytest.mark.parametrize(("accept", "language"), ACCEPTED)
@pytest.mark.usefixtures("german")
def test_one_gets_the_language_that_ones_browser_asks_for(accept, language):
    assert i18n.choose(None, accept) == language


@pytest.mark.usefixtures("german")
def test_whoever_chose_gets_what_he_chose_if_it_is_there():
    assert i18n.choose("de", "en") == "de"
    assert i18n.choose("xx", "de") == "de"
    assert i18n.choose("en-XA", None) == "en"
    assert i18n.choose("en-XA", None, development=True) == "en-XA"


@pytest.mark.usefixtures("german")
def test_a_sentence_that_is_missing_or_unsure_stays_english():
    assert i18n.gettext("de", "Wallet") == "Geldbörse"
    assert i18n.gettext("de", "Close") == "Close"
    assert i18n.gettext("de", "Home") == "Home"
    assert i18n.ngettext("de", "%(n)s coin", "%(n)s coins", 1) == "%(n)s Münze"
    assert i18n.ngettext("de", "%(n)s coin", "%(n)s coins", 0) == "%(n)s Münzen"
    assert i18n.ngettext("de", "%(n)s gift", "%(n)s gifts", 2) == "%(n)s gifts"


@pytest.mark.usefixtures("german")
async def test_scripts_get_their_own_sentences_at_an_address_that_names_them(world):
    url = i18n.catalogue_url("de")

    found = await world.client.get(url)
    other = await world.client.get(re.sub(r"\.[0-9a-f]+\.", ".0123456789ab.", url))
    unknown = await world.client.get("/i18n/en.json")

    assert found.json()["messages"] == {"%(n)s coin": ["%(n)s Münze", "%(n)s Münzen"]}
    assert found.json()["plurals"][:3] == "101"
    assert "immutable" in found.headers["cache-control"]
    assert (other.status_code, unknown.status_code) == (404, 404)


@pytest.mark.parametrize("language", [i18n.LONGER, i18n.MIRRORED])
def test_a_pretend_language_changes_words_and_keeps_facts(language):
    told = i18n.gettext(language, "You need %(coins)s more coins, {name}. <b>100%%</b>")

    assert all(fact in told for fact in ("%(coins)s", "{name}", "<b>", "%%", "</b>"))
    assert "more coins" not in told or language == i18n.MIRRORED
    assert "\u202e" in told if language == i18n.MIRRORED else len(told) > 60
    assert i18n.is_rtl(language) is (language == i18n.MIRRORED)


def test_prices_have_every_digit_of_their_currency():
    said = {
        (749, "USD"): "$7.49",
        (1_000, "JPY"): "¥1,000",
        (12_345, "KWD"): "KWD\xa012.345",
        (5, "EUR"): "€0.05",
        (-749, "USD"): "-$7.49",
        (123_456, "IDR"): "IDR\xa01,234.56",
        (10**15, "USD"): "$10,000,000,000,000.00",
    }
    for (amount, currency), text in said.items():
        assert i18n.price_text(Price(amount, currency), "en") == text
    assert i18n.price_text(Price(749, "EUR"), "de") == "7,49\xa0€"


def test_instants_are_said_to_the_minute_and_numbers_with_their_groups():
    instant = 1_795_345_200_123_456_789

    assert i18n.instant_text(instant, "en") == "Nov 22, 2026, 11:00\u202fAM UTC"
    assert i18n.instant_text(instant, "de") == "22.11.2026, 11:00 UTC"
    assert i18n.date_text(instant, "en") == "Nov 22, 2026"
    assert i18n.iso_text(instant) == "2026-11-22T11:00:00Z"
    assert i18n.number_text(17_500, "en") == "17,500"
    assert i18n.language_name("de") == "Deutsch"
