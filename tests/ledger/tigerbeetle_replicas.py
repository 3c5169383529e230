"""
Replicas of TigerBeetle that a test starts, kills and starts again.

They need the server's program, which is in no package registry: `LARGESSE_TEST_TIGERBEETLE_SERVER`
holds its path.
"""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import msgspec

PROGRAM = os.environ.get("LARGESSE_TEST_TIGERBEETLE_SERVER", "")
NO_PROGRAM = "LARGESSE_TEST_TIGERBEETLE_SERVER holds no path of the TigerBeetle server"


class Replicas(msgspec.Struct):
    """A cluster of one or more replicas on this machine, each with its file and its log."""

    folder: Path
    ports: list[int]
    running: dict[int, "subprocess.Popen[bytes]"] = {}

    @property
    def url(self) -> str:
        return "tigerbeetle://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def log(self, replica: int) -> str:
        return (self.folder / f"{replica}.log").read_text(errors="replace")

    def start(self, replica: int) -> None:
        with (self.folder / f"{replica}.log").open("ab") as log:
            self.running[replica] = subprocess.Popen(
                [
                    PROGRAM,
                    "start",
                    "--development",
                    "--addresses=" + self.url.removeprefix("tigerbeetle://"),
                    str(self.folder / f"{replica}.tigerbeetle"),
                ],
                stdout=log,
                stderr=log,
            )

    def kill(self, replica: int) -> None:
        """As a power cut does: nothing is said, nothing is finished."""
        process = self.running.pop(replica)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def primary(self) -> int:
        """The replica that leads now, by what they wrote in their logs of the newest view."""
        views = []
        for replica in self.running:
            for view in re.findall(r"view=(?:\d+\.\.)?(\d+) primary", self.log(replica)):
                views.append((int(view), replica))
        return max(views)[1]

    def stop(self) -> None:
        for replica in list(self.running):
            self.kill(replica)


def form(folder: Path, count: int) -> Replicas:
    """Format the files of a new cluster and start its replicas."""
    replicas = Replicas(folder, [_free_port() for _ in range(count)])
    for replica in range(count):
        subprocess.run(
            [
                PROGRAM,
                "format",
                "--development",
                "--cluster=0",
                f"--replica={replica}",
                f"--replica-count={count}",
                str(folder / f"{replica}.tigerbeetle"),
            ],
            check=True,
            capture_output=True,
        )
        replicas.start(replica)
    return replicas


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
