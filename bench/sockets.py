"""
Sockets: gifts over them, one frame to many of them, and what they cost beside HTTP.

One server process on one core, the load on the other, everything in turn in each round. Ceilings
stand beside: the same socket server with nothing behind it, and the other candidate of decision 0005.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from bench import audience, http_gifts, serving
from bench.audience import Audience
from bench.http_gifts import HOLDS, Load
from bench.machine import LOAD_CORE, SERVER_CORE, pinned
from bench.socket_load import Busy, Echo, Fan, Fanned, Watch, ticket_for
from bench.spread import milliseconds, rate, told

SOCKETS = 64
VIEWERS = 2_000
WATCHERS = 1_000
COUNTS = (1_000, 5_000, 10_000)
COUNTS_QUICK = (1_000,)
FANS = 30
OPEN_LARGESSE = (sys.executable, "-m", "bench.open_limits")
LOAD = (sys.executable, "-m", "bench.socket_load")
CANDIDATES = {
    "ours": "the same socket server, nothing behind it",
    "picows": "the other candidate, picows, nothing behind it",
}
OVER_HTTP = "gifts over HTTP, 64 connections"
BESIDE = f"gifts over HTTP, {WATCHERS:,} watch another room"
WATCHED = f"gifts over HTTP, {WATCHERS:,} watch this room"
OVER_SOCKETS = f"gifts over {SOCKETS} sockets, one in flight each"
IN_A_ROOM = "largesse: a chat in a room, its write to the disk included"

T = TypeVar("T")


class Found(msgspec.Struct):
    """What all rounds found so far, by the names of the rows."""

    busy: dict[str, list[Busy]] = {}
    fanned: dict[tuple[str, int], list[Fanned]] = {}


def measure(console: Console, folder: Path, *, rounds: int, seconds: int, is_quick: bool) -> bool:
    """Print the tables; whether the books of the data folder hold afterwards."""
    data = folder / "socket-data"
    made = asyncio.run(audience.seat(data, viewers=VIEWERS))
    tokens = folder / "socket-tokens"
    tokens.write_text("".join(f"{token}\n" for token in made.tokens))
    counts = COUNTS_QUICK if is_quick else COUNTS
    found = Found()
    for _ in range(rounds):
        for kind, name in CANDIDATES.items():
            with _echo_server(folder, kind) as server:
                _keep(found.busy, name, _ask(_echo(server, seconds), Busy))
                load = Fan(_url(server), server.process.pid, counts, FANS, "fan", "xxx")
                _keep_fans(found, name, _ask(load, list[Fanned]))
        with _largesse(folder, data) as server:
            _gifts(found, server, made, tokens, seconds=seconds)
        with _largesse(folder, data) as server:
            _keep_fans(found, IN_A_ROOM, _ask(_chat(server, made, counts), list[Fanned]))
    note = http_gifts.checked(http_gifts.environ_of(data))
    console.print(_busy_table(found, note=note))
    console.print(_fan_table(found, counts))
    return note == HOLDS


def _gifts(
    found: Found, server: serving.Server, made: Audience, tokens: Path, *, seconds: int
) -> None:
    target = http_gifts.Target("", lambda _: server, tokens, made.room_id, made.item_id)

    def over_http(name: str) -> None:
        load = http_gifts.wrk(target, server, seconds=seconds)
        _keep(found.busy, name, _busy(load))

    http_gifts.wrk(target, server, seconds=http_gifts.WARM_UP_SECONDS)
    over_http(OVER_HTTP)
    with _watching(server, made.quiet_room_id):
        over_http(BESIDE)
    with _watching(server, made.room_id):
        over_http(WATCHED)
    host = f"{serving.HOST}:{server.port}"
    tickets = tuple(ticket_for(host, made.room_id, token) for token in made.tokens[:SOCKETS])
    load = Echo(_url(server, made.room_id), SOCKETS, seconds, tickets, made.item_id)
    _keep(found.busy, OVER_SOCKETS, _ask(load, Busy))


def _echo(server: serving.Server, seconds: int) -> Echo:
    return Echo(_url(server), SOCKETS, seconds)


def _chat(server: serving.Server, made: Audience, counts: tuple[int, ...]) -> Fan:
    say = json.dumps({"op": "chat", "text": "x" * 40})
    return Fan(
        *(_url(server, made.quiet_room_id), server.process.pid, counts, FANS),
        *(say, '"event":"chat"', made.quiet_room_id, made.tokens[0]),
    )


def _ask(load: Echo | Fan, type: type[T]) -> T:
    """Have the other process do it."""
    done = subprocess.run(  # noqa: S603 - A command of our own.
        [*pinned(LOAD_CORE), *LOAD],
        input=msgspec.json.encode(load) + b"\n",
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise ChildProcessError(done.stderr.decode()[-2_000:])
    return msgspec.json.decode(done.stdout, type=type)


@contextmanager
def _watching(server: serving.Server, room_id: str) -> Iterator[None]:
    """So many watchers in a room, with nothing to do for themselves."""
    load = Watch(_url(server, room_id), WATCHERS, room_id)
    process = subprocess.Popen(  # noqa: S603 - A command of our own.
        [*pinned(LOAD_CORE), *LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(load) + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def _url(server: serving.Server, room_id: str | None = None) -> str:
    path = "/" if room_id is None else f"/v1/rooms/{room_id}/live"
    return f"ws://{serving.HOST}:{server.port}{path}"


@contextmanager
def _echo_server(folder: Path, kind: str) -> Iterator[serving.Server]:
    with _running(
        lambda port: serving.start(
            [*pinned(SERVER_CORE), sys.executable, "-m", "bench.echo_server", kind, str(port)],
            port=port,
            log=folder / "echo.log",
        ),
        "/",
    ) as server:
        yield server


@contextmanager
def _largesse(folder: Path, data: Path) -> Iterator[serving.Server]:
    with _running(
        lambda port: serving.start(
            [*pinned(SERVER_CORE), *OPEN_LARGESSE, "serve"],
            port=port,
            log=folder / "largesse-sockets.log",
            environ={"LARGESSE_DATA": str(data), "LARGESSE_PORT": str(port)},
        ),
        "/readyz",
    ) as server:
        yield server


@contextmanager
def _running(start: Callable[[int], serving.Server], path: str) -> Iterator[serving.Server]:
    server = start(serving.free_port())
    try:
        serving.ready(server, path=path)
        yield server
    finally:
        serving.stop(server)


def _busy(load: Load) -> Busy:
    return Busy(load.requests, load.seconds, load.p50, load.p99, load.refused + load.broken)


def _keep(found: dict[str, list[Busy]], name: str, busy: Busy) -> None:
    found.setdefault(name, []).append(busy)


def _keep_fans(found: Found, name: str, fans: list[Fanned]) -> None:
    for fanned in fans:
        found.fanned.setdefault((name, fanned.sockets), []).append(fanned)


def _busy_table(found: Found, *, note: str) -> Table:
    table = Table(title="Gifts, and messages that are only sent back", title_justify="left")
    table.add_column("what")
    for name in ("a second", "p50 ms", "p99 ms", "refused"):
        table.add_column(name, justify="right")
    table.add_column("afterwards")
    for name, loads in sorted(found.busy.items(), key=lambda pair: pair[0] in CANDIDATES.values()):
        table.add_row(
            name,
            told([load.answers / load.seconds for load in loads], rate),
            told([load.p50 for load in loads], milliseconds),
            told([load.p99 for load in loads], milliseconds),
            str(sum(load.refused for load in loads)),
            "" if name in CANDIDATES.values() else note,
        )
    return table


def _fan_table(found: Found, counts: tuple[int, ...]) -> Table:
    table = Table(title="One frame: ms until the last socket has it", title_justify="left")
    table.add_column("from")
    for count in counts:
        table.add_column(f"{count:,}: p50", justify="right")
        table.add_column("p99", justify="right")
    table.add_column("KiB a socket", justify="right")
    for name in (*CANDIDATES.values(), IN_A_ROOM):
        cells = []
        for count in counts:
            fans = found.fanned[name, count]
            cells.append(told([fan.p50 for fan in fans], milliseconds))
            cells.append(told([fan.p99 for fan in fans], milliseconds))
        last = found.fanned[name, counts[-1]]
        table.add_row(name, *cells, told([fan.kib for fan in last], lambda kib: f"{kib:.1f}"))
    return table
