"""A data folder with a serving process that tests start, kill and start again."""

import os
import signal
import subprocess
from pathlib import Path

import msgspec

from bench import serving
from bench.serving import Server

CHECK_SECONDS_MAX = 60
SECRET = "what all hosts of one database sign with"


class House(msgspec.Struct, frozen=True):
    """
    Where the data is, and the one port that every process of this house listens on.

    With a `database` its records are in that one, and the ledger too where it has no address of its
    own; `workers` may be several, and wake one another by the `bus`, or by that database.
    """

    data: Path
    log: Path
    port: int
    database: str = ""
    workers: int = 1
    bus: str = ""
    ledger: str = ""

    @property
    def environ(self) -> dict[str, str]:
        """The settings of every process of it."""
        named = {"DATA": str(self.data), "PORT": str(self.port), "WORKERS": str(self.workers)}
        if self.database:
            named |= {"DATABASE_URL": self.database, "LEDGER_URL": self.ledger or self.database}
            named["SECRET"] = SECRET
        if self.bus:
            named["BUS_URL"] = self.bus
        return {f"LARGESSE_{name}": value for name, value in named.items()}


def found(tmp_path: Path, *, database: str = "", workers: int = 1) -> House:
    """A house whose data folder is made, as test money, by its first process."""
    port = serving.free_port()
    return House(tmp_path / "data", tmp_path / "server.log", port, database, workers)


def start(house: House) -> Server:
    """Start `largesse serve` and wait until it answers."""
    server = serving.start(
        [*serving.LARGESSE, "serve", "--create", "test"],
        port=house.port,
        log=house.log,
        environ=house.environ,
        cwd=house.log.parent,
    )
    serving.ready(server)
    return server


def kill(server: Server) -> None:
    """`kill -9`, and wait until the process is gone."""
    assert serving.stop(server, signal.SIGKILL) == -signal.SIGKILL


def broken_checks(house: House) -> str:
    """What `largesse check` finds wrong in the folder, as it prints it; empty where all holds."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("LARGESSE_")
    }
    done = subprocess.run(
        [*serving.LARGESSE, "check", "--deep"],
        env={**inherited, **house.environ, "COLUMNS": "200"},
        cwd=house.log.parent,
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS_MAX,
        check=False,
    )
    return "" if done.returncode == 0 else f"{done.returncode}: {done.stdout}\n{done.stderr}"
