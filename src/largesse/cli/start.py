"""What commands begin with: the settings in force, a quick start, and where to print."""

import contextlib
import gc
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

from largesse import settings
from largesse.errors import Rejected
from largesse.settings import Settings


def settings_file() -> bytes | None:
    """The bytes of `largesse.toml` in the current folder, None where there is none."""
    file = Path(settings.FILE)
    if not file.exists():
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise Rejected(
            "file_unreadable", path=str(file), problem=error.strerror or str(error)
        ) from error


def settings_in_force(**flags: object) -> Settings:
    """
    The settings of this process; a flag of the command line that is not None wins over them.

    Raises:
        Rejected: settings_invalid, file_unreadable.
    """
    environ = dict(os.environ)
    for name, value in flags.items():
        if value is not None:
            environ[settings.PREFIX + name.upper()] = str(value)
    return settings.load(environ, settings_file())


def on_a_terminal() -> bool:
    """Whether a person watches: standard output is a terminal that can redraw."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """
    Import a server's packages in two thirds of the time.

    structlog and httpx import all of Rich for tracebacks and a command line that a server never
    shows, and Litestar imports pydantic for models that we do not have: each where it is installed,
    and each does without where it is not. And the collector finds nothing to collect among
    modules, however often it looks.
    """
    hidden = [name for name in ("rich", "pygments", "pydantic") if name not in sys.modules]
    was_enabled = gc.isenabled()
    gc.disable()
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        if was_enabled:
            gc.enable()


class _StandardError(io.TextIOBase):
    """Standard error as it is when something is written: a live panel puts itself in between."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def begin_logging(level: str) -> None:
    """Log to standard error, one line each; standard output is for what a person asked to see."""
    import structlog

    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        level=max(number, logging.WARNING),
        format="%(asctime)s %(levelname)-8s %(name)s: %(message)s",
        stream=_StandardError(),
    )
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _StandardError())),
    )
