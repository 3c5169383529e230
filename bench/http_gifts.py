"""
Gifts over HTTP: `wrk` with 64 keep-alive connections on one core, one server process on the other.

The servers take turns in each round: `largesse serve` as it is on SQLite, the same on PostgreSQL with one
process and with two, the usual design on PostgreSQL, and an application that does nothing, which is the
ceiling of this machine.
"""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench import audience, serving
from bench.machine import LOAD_CORE, SERVER_CORE, pinned
from bench.spread import milliseconds, rate, told
from tests import postgres

CONNECTIONS = 64
VIEWERS = 2_000
WARM_UP_SECONDS = 3
WORKERS = 2
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
    environ: Mapping[str, str] = {}
    """The settings of ours, by which its books are looked at afterwards; nothing for another's."""


def measure(console: Console, folder: Path, *, rounds: int, seconds: int) -> tuple[Path, bool]:
    """Print the table; the data folder that was gifted in, and whether the books hold."""
    if shutil.which("wrk") is None:
        console.print("HTTP: skipped, wrk is not installed (Debian: apt-get install wrk)")
        return folder / "none", True
    data = folder / "http-data"
    with postgres.server() as server:
        url = server.url(postgres.create_database(server))
        ours = _largesse(folder, "SQLite", environ_of(data))
        on_postgres = _largesse(folder, "PostgreSQL", environ_of(folder / "http-shared", url))
        targets = [ours, on_postgres, _with_workers(folder, on_postgres)]
        targets += [*_usual(folder, server), _bare(folder, ours)]
        found: dict[str, list[Load]] = {}
        for _ in range(rounds):
            for target in targets:
                found.setdefault(target.name, []).append(_round(target, seconds=seconds))
        notes = {each.name: checked(each.environ) for each in targets if each.environ}
    console.print(_table(found, notes))
    return data, all(note == HOLDS for note in notes.values())


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


def _table(found: dict[str, list[Load]], notes: Mapping[str, str]) -> Table:
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
            notes.get(name, ""),
        )
    return table


def environ_of(data: Path, url: str = "") -> dict[str, str]:
    """The settings of a data folder whose stores are its own, or both in this database."""
    return {
        "LARGESSE_DATA": str(data),
        "LARGESSE_DATABASE_URL": url,
        "LARGESSE_LEDGER_URL": url,
    }


def _largesse(folder: Path, store: str, environ: Mapping[str, str]) -> Target:
    made = asyncio.run(
        audience.seat(
            Path(environ["LARGESSE_DATA"]), viewers=VIEWERS, url=environ["LARGESSE_LEDGER_URL"]
        )
    )
    tokens = folder / f"tokens-{store}"
    tokens.write_text("".join(f"{token}\n" for token in made.tokens))

    def start(port: int) -> serving.Server:
        return serving.start(
            [*pinned(SERVER_CORE), *serving.LARGESSE, "serve"],
            port=port,
            log=folder / "largesse.log",
            environ={**environ, "LARGESSE_PORT": str(port)},
        )

    name = f"largesse serve on {store}"
    return Target(name, start, tokens, made.room_id, made.item_id, environ=environ)


def _with_workers(folder: Path, like: Target) -> Target:
    """The same with two processes behind the port, which no core of their own could be given to."""

    def start(port: int) -> serving.Server:
        return serving.start(
            [*serving.LARGESSE, "serve", "--workers", str(WORKERS)],
            port=port,
            log=folder / "largesse-workers.log",
            environ={**like.environ, "LARGESSE_PORT": str(port)},
        )

    return msgspec.structs.replace(like, name=f"{like.name}, {WORKERS} workers", start=start)


def checked(environ: Mapping[str, str]) -> str:
    """What `largesse check` says by these settings: `HOLDS`, or what does not."""
    done = subprocess.run(  # noqa: S603 - Our own command line.
        [*serving.LARGESSE, "check"],
        env={**serving.inherited(), **environ},
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

    name = "nothing behind it: bare ASGI on uvicorn"
    return msgspec.structs.replace(like, name=name, start=start, ready_path="/", environ={})


def _usual(folder: Path, server: postgres.Server) -> list[Target]:
    """The usual design in a database of its own; nothing where the bench extra is missing."""
    try:
        from bench import usual
    except ImportError:
        return []
    url = server.url(postgres.create_database(server)).replace("://", "+asyncpg://")
    tokens = folder / "viewers"
    tokens.write_text("".join(f"{n}\n" for n in range(1, VIEWERS + 1)))
    asyncio.run(usual.fill(url, viewers=VIEWERS))
    return [_usual_target(folder, url, tokens, room_id=usual.ROOM)]


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
