"""Several rounds of one measurement, told as a median with its spread."""

from collections.abc import Callable, Sequence
from statistics import median


def told(values: Sequence[float], form: Callable[[float], str]) -> str:
    """The median and, of several rounds, the smallest and the largest: `1,900 (1,700..2,000)`."""
    if not values:
        return "not measured"
    if len(values) == 1:
        return form(values[0])
    return f"{form(median(values))} ({form(min(values))}..{form(max(values))})"


def rate(value: float) -> str:
    """Gifts per second, whole."""
    return f"{value:,.0f}"


def milliseconds(value: float) -> str:
    """Seconds shown as milliseconds."""
    return f"{value * 1000:,.1f}"


def seconds(value: float) -> str:
    """Seconds with two decimals."""
    return f"{value:.2f}"
