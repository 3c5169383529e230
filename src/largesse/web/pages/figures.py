"""
Figures on pages: sums drawn as bars on the server, and amounts as people read them.

A drawing is a row of bars in SVG whose numbers stand beside it as a table (`staff/parts.html`), so
whoever does not see it misses nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

import msgspec

from largesse import clock, money, reports
from largesse.clock import DAY, HOUR, MINUTE, SECOND
from largesse.reports import Worth
from largesse.web import i18n

DRAWING_HEIGHT = 100
BAR_STEP = 10
"""Units of the drawing from one bar to the next, of which a bar takes most."""
BAR_WIDTH = 7
BAR_HEIGHT_MIN = 1.5
"""What is more than nothing is seen."""
WORTH_DIGITS = (2, 6)
DIAMOND_DIGITS = 4


class Bar(msgspec.Struct, frozen=True):
    """One bar: its place in the drawing, and what it stands for in words."""

    x: float
    y: float
    height: float
    label: str
    text: str


class Drawing(msgspec.Struct, frozen=True):
    """A row of bars. `width` is that of its view box; `peak` is what the highest stands for."""

    title: str
    label_of_bars: str
    label_of_values: str
    width: int
    bars: tuple[Bar, ...]
    peak: str
    is_empty: bool


def drawing(
    title: str,
    rows: Sequence[tuple[str, int, str]],
    *,
    label_of_bars: str,
    label_of_values: str,
) -> Drawing:
    """Rows of label, value and the value in words, from left to right."""
    highest = max((value for _, value, _ in rows), default=0)
    bars = []
    for place, (label, value, text) in enumerate(rows):
        assert value >= 0
        height = max(value * DRAWING_HEIGHT / highest, BAR_HEIGHT_MIN) if value else 0
        x = place * BAR_STEP + (BAR_STEP - BAR_WIDTH) / 2
        bars.append(Bar(x, round(DRAWING_HEIGHT - height, 2), round(height, 2), label, text))
    peak = next((text for _, value, text in rows if value == highest), "")
    return Drawing(
        title,
        label_of_bars,
        label_of_values,
        max(len(rows), 1) * BAR_STEP,
        tuple(bars),
        peak,
        highest == 0,
    )


def steps(found: Mapping[int, int], *, first: int, last: int, step: int) -> list[tuple[int, int]]:
    """Every step from the first to the last with its value, 0 where nothing was found."""
    return [(start, found.get(start, 0)) for start in range(first, last + 1, step)]


def day_text(instant: int, language: str) -> str:
    """The day (UTC) of an instant, short: `Nov 26`."""
    from babel.dates import format_date

    day = clock.to_datetime(instant).date()
    return format_date(day, "MMM d", locale=i18n.locale_of(language))


def hour_text(instant: int, language: str) -> str:
    """The hour (UTC) of an instant, short: `14:00`."""
    from babel.dates import format_time

    moment = clock.to_datetime(instant)
    return format_time(moment.time(), "HH:mm", locale=i18n.locale_of(language))


def worth_text(worth: Worth, language: str) -> str:
    """Money to the millionth, without the zeros at its end: `$0.010686`, `$0.35`."""
    from babel.numbers import parse_pattern

    locale = i18n.locale_of(language)
    pattern = parse_pattern(locale.currency_formats["standard"].pattern)
    pattern.frac_prec = WORTH_DIGITS
    text: str = pattern.apply(
        Decimal(worth.value), locale, currency=worth.currency, currency_digits=False
    )
    return text


def diamonds_text(units: int, language: str) -> str:
    """Ten-thousandths as diamonds, without the zeros at their end: `12.5`."""
    from babel.numbers import format_decimal

    amount = Decimal(money.diamonds(units))
    pattern = f"#,##0.{'#' * DIAMOND_DIGITS}"
    return format_decimal(amount, pattern, locale=i18n.locale_of(language))


def decimal_text(number: float, language: str) -> str:
    """A number with a part behind the point, where it has one: `33.3`, `50`."""
    from babel.numbers import format_decimal

    return format_decimal(number, "#,##0.##", locale=i18n.locale_of(language))


def moment_text(at: str, language: str) -> str:
    """An instant of the API (RFC 3339, UTC) as people write it there."""
    return i18n.instant_text(clock.from_datetime(datetime.fromisoformat(at)), language)


def duration_text(length: int) -> str:
    """So many nanoseconds as a clock counts them: `1:05:09`, `4:31`."""
    hours, rest = divmod(max(length, 0), HOUR)
    minutes, seconds = rest // MINUTE, rest % MINUTE // SECOND
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def day_start(now: int) -> int:
    """Midnight (UTC) of the day of `now`."""
    return now // DAY * DAY


def diamond_worth(units: int, language: str) -> str:
    """What diamonds are worth, to the millionth."""
    worth = reports.worth(units * reports.DIAMOND_AMOUNT, reports.DIAMOND_CURRENCY)
    return worth_text(worth, language)


def writers(language: str) -> dict[str, Callable[..., str]]:
    """How figures are written in this language, by the names that templates call them."""
    return {
        "worth_text": partial(worth_text, language=language),
        "diamonds_text": partial(diamonds_text, language=language),
        "diamonds_again": lambda text: diamonds_text(_units(text), language),
        "diamond_worth": partial(diamond_worth, language=language),
        "decimal_text": partial(decimal_text, language=language),
        "moment_text": partial(moment_text, language=language),
        "duration_text": duration_text,
    }


def _units(text: str) -> int:
    """Diamonds of the API, as `"12.5000"`, in ten-thousandths."""
    return int(Decimal(text) * money.DIAMOND_UNITS)
