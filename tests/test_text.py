"""What people write is shown to everybody: nothing in it hides, turns, drips or breaks the page."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from largesse import text
from largesse.errors import Rejected
from largesse.limits import LIMITS
from largesse.text import CHAT_LENGTH_MAX, MARKS_MAX, NICKNAME_LENGTH_MAX, cleaned

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
RAINBOW_FLAG = "\U0001f3f3\ufe0f\u200d\U0001f308"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
KEYCAP = "1\ufe0f\u20e3"
RUNNER = "\U0001f3c3\U0001f3fe\u200d\u2640\ufe0f"
NEWER_THAN_OUR_TABLES = "\U0001faea"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
SINHALA = "\u0dc1\u0dca\u200d\u0dbb\u0dd3"
BENGALI = "\u09b0\u200d\u09cd\u09af"
TIBETAN = "\u0f56\u0f66\u0f92\u0fb2\u0f74\u0f56\u0f66"
BURMESE = "\u1015\u103c\u1031\u102c\u1037\u103a"


@pytest.mark.parametrize(
    "written",
    [
        "good evening",
        "<b>bold</b> & \"quoted\" 'too'",
        "שלום",
        "مرحبا",
        "안녕하세요",
        "Việt Nam",
        *(FAMILY, RAINBOW_FLAG, SCOTLAND, KEYCAP, RUNNER, NEWER_THAN_OUR_TABLES),
        *(PERSIAN, SINHALA, BENGALI, TIBETAN, BURMESE),
        f"{SCOTLAND}{SCOTLAND} {FAMILY}",
    ],
)
def test_what_people_mean_stays_as_it_is(written):
    assert cleaned(written) == unicodedata.normalize("NFC", written)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("  two   words  ", "two words"),
        ("a\nb\r\nc\td", "a b c d"),
        ("a\u2028b\u2029c\u00a0d\u3000e", "a b c d e"),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("e\u0301", "\u00e9"),
        ("e\u200d\u0301", "\u00e9"),
        ("pay\u202egnp.exe", "paygnp.exe"),
        ("\u2067abc\u2069 \u202bdef\u202c \u200eg\u200fh\u061c", "abc def gh"),
        ("mi\u200bra", "mira"),
        ("mi\u200dra", "mira"),
        ("\ufeffmi\u00adra", "mira"),
        ("\u200d\U0001f600\u200d", "\U0001f600"),
        (f"{FAMILY}\u200d\u200d!", f"{FAMILY}!"),
        ("\u0301\u0302 \u0303x", "x"),
        ("flag \U000e0067\U000e0062 hidden", "flag hidden"),
        ("\U0001f600\U000e0101\U000e0110", "\U0001f600"),
        ("\ue000\U000f0000\ufdd0\uffff\ufffc", ""),
        ("\u3164\u115f\u2800\uffa0", ""),
        ("\u200b\u200c\u200d\ufe0f", ""),
    ],
)
def test_what_is_unseen_or_turns_text_goes(written, shown):
    assert cleaned(written) == shown


def test_text_that_drips_keeps_a_few_marks_on_each_character():
    dripping = "".join(
        char + "\u0316\u0317\u0318\u0319\u031c\u031d\u031e\u031f" * 5 for char in "abc"
    )
    assert [cleaned(dripping).count(char) for char in "abc"] == [1, 1, 1]
    assert len(cleaned(dripping)) == 3 * (1 + MARKS_MAX)


strange = st.text(
    st.one_of(
        st.sampled_from(
            "ae \u0301\u0316\u0345\u20e3\u200c\u200d\u202e\u2066\ufe0f\u05d0\u0915\u094d"
        ),
        st.sampled_from("\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e007f\U0001f468\u1100\u1161"),
        st.characters(),
    ),
    max_size=40,
)


@given(strange)
@example("e\u200d\u0301")
@example("\u0915\u200d" + "\u0316" * 9 + "a")
@example("\U0001f3f4\U000e0067\u202e\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f")
def test_cleaned_text_is_clean(written):
    shown = cleaned(written)

    assert cleaned(shown) == shown
    assert unicodedata.is_normalized("NFC", shown)
    assert shown == " ".join(shown.split())
    rest = text._FLAG.sub("", shown).replace("\u200c", "").replace("\u200d", "")
    assert {unicodedata.category(char) for char in rest}.isdisjoint({"Cc", "Cf", "Cs", "Co"})
    assert not any(unicodedata.category(char)[0] == "M" for char in shown[:1])
    shown.encode()


@pytest.mark.parametrize("written", ["", "   ", "\n", "\u200d", "\u202e\u2066", "\u0301"])
def test_a_message_of_nothing_is_refused(written):
    with pytest.raises(Rejected) as refusal:
        text.chat_text(written)
    assert refusal.value.code == "chat_empty"


def test_a_message_has_its_length_in_code_points_after_cleaning():
    assert text.chat_text("\U0001f600" * CHAT_LENGTH_MAX) == "\U0001f600" * CHAT_LENGTH_MAX
    assert text.chat_text("a\u202e" * CHAT_LENGTH_MAX) == "a" * CHAT_LENGTH_MAX
    for written in ("a" * (CHAT_LENGTH_MAX + 1), "\U0001f600" * 10_000):
        with pytest.raises(Rejected) as refusal:
            text.chat_text(written)
        assert refusal.value.code == "chat_too_long"
        assert refusal.value.facts == {"maximum": CHAT_LENGTH_MAX}


@pytest.mark.parametrize("written", ["", " ", "\u3164", "x" * (NICKNAME_LENGTH_MAX + 1)])
def test_a_name_that_is_none_or_too_long_is_refused(written):
    with pytest.raises(Rejected) as refusal:
        text.nickname(written)
    assert refusal.value.code == "nickname_invalid"
    assert refusal.value.facts == {"maximum": NICKNAME_LENGTH_MAX}


def test_a_name_is_cleaned():
    assert text.nickname(" Mira\u202e  Blue ") == "Mira Blue"
    assert text.nickname("<script>") == "<script>"  # Harmless as text; a page escapes it.


def test_the_table_of_limits_has_these_too():
    listed = {limit.name: limit.value for limit in LIMITS}
    assert listed["chat_length"] == CHAT_LENGTH_MAX
    assert listed["nickname_length"] == NICKNAME_LENGTH_MAX
