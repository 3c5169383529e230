"""
A server as a process of its own: started, waited for, stopped, killed.

The measurements use it and so do `tests/faults`, which need the same thing: a real process that
can be killed, and the moment from which it answers.
"""

import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

HOST = "127.0.0.1"
READY_SECONDS_MAX = 60.0
POLL_SECONDS = 0.005
LARGESSE = (sys.executable, "-m", "largesse")
"""The command line of the package under measurement."""


class Server(msgspec.Struct, frozen=True):
    """A process that listens on `port` of this machine and writes what it has to say to `log`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def inherited() -> dict[str, str]:
    """Our environment without the settings of Largesse: a measurement has its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LARGESSE_")}


def start(
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Server:
    """Start the command; `ready` tells when it answers. Our own variables are not handed on."""
    started = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - A command of our own.
            command,
            env={**inherited(), **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
        )
    return Server(process, port, log, started)


def ready(server: Server, *, path: str = "/readyz") -> float:
    """
    Wait until the path answers 200; the seconds from the start of the process to that answer.

    Raises:
        ChildProcessError: the process ended, or did not answer in time; with what it had to say.
    """
    deadline = server.started + READY_SECONDS_MAX
    while server.process.poll() is None and time.perf_counter() < deadline:
        if _answers(server.port, path):
            return time.perf_counter() - server.started
        select.select([], [], [], POLL_SECONDS)
    raise ChildProcessError(f"not ready: {server.log.read_text()[-2000:]}")


def stop(server: Server, number: signal.Signals = signal.SIGTERM, *, seconds: float = 30) -> int:
    """Send the signal and wait for the end; its exit status (minus the signal where it was killed)."""
    if server.process.poll() is None:
        server.process.send_signal(number)
    try:
        return server.process.wait(seconds)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
        raise


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
