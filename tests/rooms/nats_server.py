"""A real NATS server for the tests, where one is installed."""

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.postgres import free_port

DEBIAN = Path("/usr/sbin/nats-server")
START_SECONDS = 20


def program() -> str | None:
    """Where the server is; None where there is none."""
    return shutil.which("nats-server") or (str(DEBIAN) if DEBIAN.exists() else None)


class NatsServer:
    """A server on one port of 127.0.0.1, running or not."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        found = program()
        assert found is not None
        command = [found, "-a", "127.0.0.1", "-p", str(self.port), *self._options]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False
