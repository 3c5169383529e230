"""Everybody may do so much and no more, and one person's haste costs nobody else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from largesse import limits
from largesse.clock import DAY, HOUR, MINUTE, SECOND
from largesse.errors import Rejected
from largesse.limits import LIMITS, RATES, RateLimiter

NOW = 1_800_000_000 * SECOND


def taken(limiter: RateLimiter, subject: str, now: int, tries: int, limit: str = "gift") -> int:
    count = 0
    for _ in range(tries):
        try:
            limiter.take(limit, subject, now)
        except Rejected:
            break
        count += 1
    return count


def test_the_page_of_the_documentation_is_the_table():
    page = Path(__file__).parents[1] / "docs" / "reference" / "limits.md"
    assert page.read_text() == limits.as_markdown()


def test_every_limit_has_a_name_of_its_own_and_says_of_what():
    names = [limit.name for limit in LIMITS]
    assert len(set(names)) == len(names)
    assert all(limit.help.endswith(".") for limit in LIMITS)


@pytest.mark.parametrize("name", RATES)
def test_at_once_the_burst_and_then_by_the_rate(name):
    rate = RATES[name]
    limiter = RateLimiter()
    assert taken(limiter, "ana", NOW, 10_000, name) == rate.burst
    assert taken(limiter, "bo", NOW, 10_000, name) == rate.burst
    assert taken(limiter, "ana", NOW + rate.period, 10_000, name) == rate.times
    assert taken(limiter, "ana", NOW + DAY, 10_000, name) == rate.burst


def test_the_gifts_of_a_viewer_are_twenty_a_second_and_sixty_at_once():
    assert RATES["gift"] == limits.Rate(20, SECOND, 60)
    assert RATES["login"] == limits.Rate(10, MINUTE, 10)
    assert RATES["sign_up"] == limits.Rate(20, HOUR, 20)
    assert RATES["order"] == limits.Rate(10, MINUTE, 10)
    assert RATES["read"] == limits.Rate(50, SECOND, 200)


def test_who_waits_as_long_as_told_is_let_in_and_not_before():
    limiter = RateLimiter()
    assert taken(limiter, "ana", NOW, 10_000, "login") == 10
    with pytest.raises(Rejected) as refused:
        limiter.take("login", "ana", NOW + 100)
    assert refused.value.code == "rate_limited"
    assert refused.value.facts == {"limit": "login", "retry_after_seconds": 6}
    assert taken(limiter, "ana", NOW + 100 + 5 * SECOND, 10, "login") == 0
    assert taken(limiter, "ana", NOW + 100 + 6 * SECOND, 10, "login") == 1


def test_being_refused_costs_nothing_more():
    limiter = RateLimiter()
    taken(limiter, "ana", NOW, 10_000)
    for _ in range(100):
        assert taken(limiter, "ana", NOW, 1) == 0
    assert taken(limiter, "ana", NOW + SECOND, 10_000) == 20


def test_one_limit_does_not_count_for_another():
    limiter = RateLimiter()
    taken(limiter, "ana", NOW, 10_000, "login")
    assert taken(limiter, "ana", NOW, 10_000, "order") == 10


def test_a_clock_that_is_set_back_keeps_nobody_out_for_longer_than_a_burst():
    limiter = RateLimiter()
    taken(limiter, "ana", NOW, 10_000)
    assert taken(limiter, "ana", NOW - HOUR, 10_000) == 0
    assert taken(limiter, "ana", NOW - HOUR + 3 * SECOND, 10_000) == 60


def test_only_so_many_subjects_are_remembered():
    limiter = RateLimiter(subjects_max=100)
    for n in range(10_000):
        limiter.take("gift", f"viewer {n}", NOW)
        assert len(limiter._kept["gift"]) <= 100


def test_strangers_by_the_thousand_do_not_make_us_forget_who_has_taken_too_much():
    """They come one after the other and have each paid off; ana has not."""
    limiter = RateLimiter(subjects_max=100)
    now = NOW
    taken(limiter, "ana", now, 10_000)
    for n in range(1_000):
        now += SECOND // 400  # 2.5 s in all; ana's burst is paid off after 3 s.
        limiter.take("gift", f"stranger {n}", now)
    assert taken(limiter, "ana", now, 10_000) <= 50


@given(st.lists(st.integers(min_value=0, max_value=SECOND), max_size=300))
def test_no_second_ever_sees_more_than_burst_and_rate(pauses):
    limiter, now, passed = RateLimiter(), NOW, []
    for pause in pauses:
        now += pause // 10
        passed += [now] * taken(limiter, "ana", now, 3)
    for start in passed:
        assert sum(start <= at < start + SECOND for at in passed) <= 60 + 20


def test_an_unknown_limit_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        RateLimiter().take("giift", "ana", NOW)
