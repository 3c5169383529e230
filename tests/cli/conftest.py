"""The command line as people use it, each time in an empty folder."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from bench.serving import free_port
from largesse import cli

PASSWORD = "a password of the demo"
SECONDS_MAX = 60
"""The machine may be busy; what must be quick says so itself."""


class Ended(msgspec.Struct):
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


class Command:
    """Runs `largesse` in a folder, with the settings of this test only."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.settings = {"LARGESSE_PORT": str(free_port())}
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, says: str = "") -> Ended:
        """Run a command to its end, in this process; `says` is its standard input."""
        with (
            self._monkeypatch.context() as here,
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            here.chdir(self.folder)
            here.setattr(sys, "stdin", io.StringIO(says))
            for name in [name for name in os.environ if name.startswith("LARGESSE_")]:
                here.delenv(name)
            for name, value in {**self.settings, "COLUMNS": "200"}.items():
                here.setenv(name, value)
            status = cli.run(arguments)
        return Ended(status, out.getvalue(), err.getvalue())

    def start(self, *arguments: str, python: tuple[str, ...] = ()) -> "Started":
        """Start a command as a process of its own; its output is read line by line."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("LARGESSE_")
        }
        process = subprocess.Popen(
            [sys.executable, *python, "-m", "largesse", *arguments],
            cwd=self.folder,
            env={**inherited, **self.settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Started(process)


class Started:
    """A running command."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.printed: list[str] = []

    def line(self, pattern: str) -> "re.Match[str]":
        """Read on to the first line that has this in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError("it ended and said:\n" + "".join(self.printed))

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """Send a signal and wait for the end: the exit status, and how many seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=SECONDS_MAX)
        self.printed.append(rest)
        return self.process.returncode, time.monotonic() - begun


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(tmp_path, monkeypatch)


@pytest.fixture
def start(command: Command) -> Iterator[Callable[..., Started]]:
    """Starts a command; what a test leaves running is killed after it."""
    running: list[Started] = []

    def start_it(*arguments: str, python: tuple[str, ...] = ()) -> Started:
        running.append(command.start(*arguments, python=python))
        return running[-1]

    yield start_it
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


@pytest.fixture
def api(command: Command) -> Iterator[httpx.Client]:
    """Who comes by HTTP to the server of this test."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{command.settings['LARGESSE_PORT']}",
        timeout=SECONDS_MAX,
        trust_env=False,
    ) as client:
        yield client


def log_in(api: httpx.Client, login: str, password: str = PASSWORD) -> dict[str, str]:
    """The header of a new session."""
    answer = api.post("/v1/sessions", json={"login": login, "password": password})
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}
