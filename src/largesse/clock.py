"""
Time is an argument. One unit everywhere: whole nanoseconds since 1970, UTC.

What needs the time asks a `Clock` that it was given; what only calculates gets the instant itself.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Clock(Protocol):
    def now(self) -> int:
        """Nanoseconds since 1970, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns()


class ManualClock:
    """A clock that moves only when it is told to, for tests and for the simulator."""

    def __init__(self, now: int = 1_800_000_000 * SECOND) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def advance(self, nanoseconds: int) -> None:
        assert nanoseconds >= 0
        self._now += nanoseconds


def milliseconds(instant: int) -> int:
    """Whole Unix milliseconds of an instant."""
    return instant // 1_000_000


def to_text(instant: int) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-23T15:04:05.678Z`."""
    moment = to_datetime(instant)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def to_datetime(instant: int) -> datetime:
    """The instant as an aware `datetime` in UTC, to the microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant // 1000)


def from_datetime(moment: datetime) -> int:
    """The instant of an aware `datetime`."""
    assert moment.tzinfo is not None
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1000
