"""How far a long reading is: a bar with rate and time left on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_SECONDS = 10
"""Between two plain lines of one reading."""


class Reading:
    """The readings of one command, one after the other; in each, so many of `total`, where it is known."""

    def __init__(
        self, console: Console, bar: Progress | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._bar = bar
        self._clock = clock
        self._task: TaskID | None = None
        self._what = ""
        self.total: int | None = None
        self._begun = self._said = 0.0

    def begin(self, what: str, total: int | None) -> None:
        """The next reading, or the same one where its total has become known."""
        if self._bar is not None:
            if self._task is not None and what == self._what:
                self._bar.update(self._task, total=total)
            else:
                self._task = self._bar.add_task(what, total=total)
        elif what != self._what:
            self._console.print(f"{what} ...", highlight=False)
        if what != self._what:
            self._begun = self._said = self._clock()
        self._what, self.total = what, total

    def at(self, done: int) -> None:
        """So many are read."""
        if self._bar is not None:
            assert self._task is not None
            self._bar.update(self._task, completed=done)
            return
        now = self._clock()
        if now - self._said < LINE_SECONDS:
            return
        self._said = now
        rate = done / (now - self._begun)
        of = "" if self.total is None else f" of {self.total:,}"
        left = ""
        if self.total is not None and rate:
            left = f", {max(self.total - done, 0) / rate:,.0f} s left"
        self._console.print(
            f"{self._what}: {done:,}{of}, {rate:,.0f}/s{left}", highlight=False, soft_wrap=True
        )


class _Rate(ProgressColumn):
    """So many a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


@contextlib.contextmanager
def reading(console: Console) -> Iterator[Reading]:
    """Show readings on this console while the block runs."""
    if not console.is_terminal:
        yield Reading(console, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield Reading(console, bar)
