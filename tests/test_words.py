"""The words everything is made of: ids, money, time, and the one refusal."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from largesse import clock, ids, money
from largesse.clock import SECOND, ManualClock, SystemClock
from largesse.errors import Rejected

UUID7 = "019ab3f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
UUID4 = "019ab3f0-1c2d-4e3f-8a4b-5c6d7e8f9a0b"
NOON = 1_764_072_000_000


# Ids -------------------------------------------------------------------------------------------


def test_the_same_words_give_the_same_id_on_every_machine_for_ever() -> None:
    assert ids.text(ids.derive("order", "ana", 1)) == "005b89fba5f957ba96085693f92ff900"
    assert ids.text(ids.from_key("ana", UUID7)) == "019ab3f01c2dc7f746e3438d35605900"


def test_parts_do_not_run_together() -> None:
    assert ids.derive("ab", "c") != ids.derive("a", "bc")


def test_new_ids_are_in_the_order_of_time() -> None:
    early = ids.ordered(NOON, b"\xff" * 9)
    late = ids.ordered(NOON + 1, b"\x00" * 9)
    assert early < late
    assert ids.key_time(late) == NOON + 1


def test_a_key_with_a_time_gives_an_id_with_that_time_and_any_other_is_hashed_whole() -> None:
    assert ids.key_time(ids.from_key("ana", UUID7)) == int(UUID7[:8] + UUID7[9:13], 16)
    assert ids.key_time(ids.from_key("ana", UUID4)) is None
    assert ids.key_time(ids.from_key("ana", "my-own-key-1")) is None
    assert ids.key_time(ids.derive("anything")) is None


def test_how_a_key_is_written_does_not_matter_but_whose_it_is_does() -> None:
    assert ids.from_key("ana", UUID7) == ids.from_key("ana", UUID7.upper().replace("-", ""))
    assert ids.from_key("ana", UUID7) != ids.from_key("bo", UUID7)
    assert ids.from_key("ana", "key") != ids.from_key("bo", "key")
    assert ids.from_key("ana", "key") != ids.from_key("ana", "Key")


@given(st.text(min_size=1, max_size=ids.KEY_LENGTH_MAX), st.integers(0, ids.CHAIN_LENGTH_MAX))
def test_the_chain_can_be_read_off_each_of_its_transfers(key: str, n: int) -> None:
    chain_id = ids.from_key("ana", key)
    assert ids.nth(chain_id, 0) == chain_id
    assert ids.head(ids.nth(chain_id, n)) == chain_id
    assert len({ids.nth(chain_id, 0), ids.nth(chain_id, n)}) == (1 if n == 0 else 2)


@given(st.binary(min_size=16, max_size=16))
def test_an_id_survives_being_written_down(id: bytes) -> None:
    assert ids.parse(ids.text(id)) == id


@pytest.mark.parametrize(
    "text",
    ["", "0" * 31, "0" * 33, "g" * 32, "0x" + "0" * 30, "é" * 32, "00 " * 10 + "00"],
)
def test_other_text_is_no_id(text: str) -> None:
    assert ids.parse(text) is None


# Money -----------------------------------------------------------------------------------------


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**6), min_size=1).filter(sum))
def test_splitting_loses_and_invents_nothing(total: int, weights: list[int]) -> None:
    parts = money.allocate(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * whole - total * weight) < whole


def test_the_last_unit_goes_to_the_largest_remainder_and_then_to_the_earlier() -> None:
    assert money.allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert money.allocate(10, [1, 5]) == [2, 8]


@given(st.integers(0, 10**12), st.integers(0, 5_000))
def test_the_tax_inside_a_price_is_right_to_half_a_minor_unit(gross: int, rate: int) -> None:
    tax = money.tax_included(gross, rate)
    assert 0 <= tax <= gross
    # The exact tax is gross x rate / (10,000 + rate): twice the difference is at most one.
    assert abs(2 * (tax * (money.BPS + rate) - gross * rate)) <= money.BPS + rate


def test_the_tax_in_an_everyday_price() -> None:
    assert money.tax_included(1_900, 1_900) == 303
    assert money.tax_included(999, 0) == 0


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (749, "USD", "7.49"),
        (5, "USD", "0.05"),
        (-5, "USD", "-0.05"),
        (1_200, "JPY", "1200"),
        (1_234, "KWD", "1.234"),
        (0, "EUR", "0.00"),
    ],
)
def test_an_amount_reads_as_people_write_it(amount: int, currency: str, text: str) -> None:
    assert money.decimal(amount, currency) == text


def test_a_gift_of_one_coin_earns_exactly_its_share() -> None:
    assert money.diamonds(1 * 5_000) == "0.5000"
    assert money.diamonds(125_000) == "12.5000"
    assert money.diamonds(-1) == "-0.0001"


def test_a_share_is_rounded_down() -> None:
    assert money.share_of(3, 5_000) == 1
    assert money.share_of(0, 10_000) == 0


def test_every_currency_has_its_own_number() -> None:
    assert len(money.CURRENCY_OF_NUMBER) == len(money.CURRENCIES)
    assert money.CURRENCIES["USD"].number == 840
    assert money.CURRENCIES["ARS"].number == 32


# Time ------------------------------------------------------------------------------------------


def test_a_manual_clock_moves_only_when_told(clock: ManualClock) -> None:
    before = clock.now()
    assert clock.now() == before
    clock.advance(SECOND)
    assert clock.now() == before + SECOND


def test_the_machines_clock_is_in_nanoseconds() -> None:
    assert abs(SystemClock().now() / SECOND - datetime.now(UTC).timestamp()) < 60


def test_an_instant_reads_as_rfc_3339_to_the_millisecond() -> None:
    assert clock.to_text(NOON * 1_000_000 + 5_999_999) == "2025-11-25T12:00:00.005Z"
    assert clock.milliseconds(NOON * 1_000_000 + 999_999) == NOON


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.integers(-12, 14))
def test_an_instant_is_the_same_in_every_time_zone(moment: datetime, hours: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert clock.to_datetime(clock.from_datetime(aware)) == aware


# Refusals --------------------------------------------------------------------------------------


def test_a_refusal_says_its_code_and_its_facts() -> None:
    refused = Rejected("insufficient_coins", missing=3)
    assert (refused.code, refused.facts) == ("insufficient_coins", {"missing": 3})
    assert str(refused) == "insufficient_coins (missing=3)"
    assert str(Rejected("self_gift")) == "self_gift"
