"""The faults themselves, one function each."""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import msgspec

from bench.faults.clocks import set_back
from bench.faults.scene import Scene, scene
from bench.http_gifts import environ_of
from tests import postgres

BETWEEN_GIFTS = 150
"""Gifts that are answered between one fault and the next."""
SMALL_DISK = "64m"
BALLAST_BYTES = 1 << 20
REFUSED_WHILE_FULL = 20
STATEMENT_TIMEOUT = "250ms"
BLOCKED_SECONDS = 2.0
DISCONNECT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Fault(msgspec.Struct, frozen=True):
    """`run(folder, rounds, seed)`; an AssertionError says what was not kept."""

    what: str
    rounds: int
    run: Callable[[Path, int, int], Coroutine[Any, Any, None]]


async def processes(folder: Path, rounds: int, seed: int) -> None:
    """Three processes on one database; one of them is killed in each round, and started again."""
    chance = _chance(seed)
    with postgres.server() as server:
        async with scene(_on(server, folder), folder, processes=3, seed=seed) as here:
            for number in range(rounds):
                await here.crowd.more(BETWEEN_GIFTS)
                await asyncio.sleep(chance.uniform(0, 0.1))
                killed = chance.randrange(len(here.servers))
                await asyncio.to_thread(here.kill, killed)
                await here.crowd.more(BETWEEN_GIFTS)
                await asyncio.to_thread(here.start, killed)
                _say(number, rounds, f"process {killed + 1} of 3 was killed", here)


async def database(folder: Path, rounds: int, seed: int) -> None:
    """The database crashes in each round and comes back a moment later; nobody restarts a process."""
    chance = _chance(seed)
    with postgres.server() as server:
        async with scene(_on(server, folder), folder, processes=2, seed=seed) as here:
            for number in range(rounds):
                await here.crowd.more(BETWEEN_GIFTS)
                await asyncio.sleep(chance.uniform(0, 0.1))
                await asyncio.to_thread(server.stop, "immediate")
                away = chance.uniform(0, 3)
                await asyncio.sleep(away)
                await asyncio.to_thread(server.start)
                await here.crowd.more(BETWEEN_GIFTS)
                _say(number, rounds, f"PostgreSQL crashed and was away for {away:.1f} s", here)


async def connections(folder: Path, rounds: int, seed: int) -> None:
    """Every connection to the database is cut at once, at any point of a batch."""
    chance = _chance(seed)
    with postgres.server() as server:
        environ = _on(server, folder)
        async with scene(environ, folder, processes=2, seed=seed) as here:
            for number in range(rounds):
                await here.crowd.more(BETWEEN_GIFTS)
                await asyncio.sleep(chance.uniform(0, 0.05))
                async with _connected(environ["LARGESSE_LEDGER_URL"]) as connection:
                    count = await connection.fetchval(DISCONNECT)
                _say(number, rounds, f"{count} connections were cut", here)


async def statement_timeout(folder: Path, rounds: int, seed: int) -> None:
    """Somebody holds what the ledger needs for longer than the database lets a statement take."""
    with postgres.server() as server:
        environ = _on(server, folder)
        name = environ["LARGESSE_LEDGER_URL"].rpartition("/")[2]
        timeout = f"ALTER DATABASE {name} SET statement_timeout = '{STATEMENT_TIMEOUT}'"
        postgres.sql(server, timeout)
        async with scene(environ, folder, processes=2, seed=seed) as here:
            for number in range(rounds):
                await here.crowd.more(BETWEEN_GIFTS)
                await _hold_the_head(environ["LARGESSE_LEDGER_URL"])
                await here.crowd.more(BETWEEN_GIFTS)
                told = f"the head was held for {BLOCKED_SECONDS:.0f} s, a statement may take {STATEMENT_TIMEOUT}"
                _say(number, rounds, told, here)


async def disk_full(folder: Path, rounds: int, seed: int) -> None:
    """The disk of a process on SQLite is filled to the last byte, and emptied again."""
    if os.geteuid() != 0:
        print("Skipped: only root can mount a small disk.")
        return
    with _small_disk(folder / "disk") as disk:
        ballast = disk / "ballast"
        environ = environ_of(disk / "data")
        async with scene(environ, folder, processes=1, seed=seed) as here:
            for number in range(rounds):
                await here.crowd.more(BETWEEN_GIFTS)
                await asyncio.to_thread(_fill, ballast)
                await here.crowd.refused(REFUSED_WHILE_FULL)
                ballast.unlink()
                if here.servers[0].process.poll() is not None:
                    await asyncio.to_thread(here.start, 0)
                await here.crowd.more(BETWEEN_GIFTS)
                _say(number, rounds, "the disk was full, and has room again", here)


FAULTS = {
    "processes": Fault("kill -9 of one of three processes on PostgreSQL", 50, processes),
    "database": Fault("an immediate stop of PostgreSQL, and back", 20, database),
    "connections": Fault("every connection to PostgreSQL cut at once", 100, connections),
    "statement-timeout": Fault(
        "a statement timeout of PostgreSQL while somebody holds a lock", 5, statement_timeout
    ),
    "disk-full": Fault("a full disk under SQLite (as root)", 10, disk_full),
    "clock": Fault("the clock set back by hours, on SQLite and PostgreSQL", 3, set_back),
}


def _on(server: postgres.Server, folder: Path) -> dict[str, str]:
    """The settings of an installation whose stores are in a new database of this server."""
    return environ_of(folder / "data", server.url(postgres.create_database(server)))


def _say(number: int, rounds: int, what: str, here: Scene) -> None:
    again = here.crowd.unanswered.total()
    print(
        f"{number + 1}/{rounds}: {what}; so far {here.crowd.answered:,} gifts answered, "
        f"{again:,} tries without success",
        flush=True,
    )


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - A course of events, not a secret.


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator["asyncpg.Connection"]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET statement_timeout = 0")
        yield connection
    finally:
        await connection.close()


async def _hold_the_head(url: str) -> None:
    """Hold the row that orders the batches of all processes, as a careless query by hand would."""
    async with _connected(url) as connection, connection.transaction():
        await connection.execute("LOCK TABLE ledger.head IN EXCLUSIVE MODE")
        await asyncio.sleep(BLOCKED_SECONDS)


@contextmanager
def _small_disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    options = f"size={SMALL_DISK}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)  # noqa: S603, S607 - As root, a disk of our own.
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)  # noqa: S603, S607 - The same.


def _fill(file: Path) -> None:
    """Write until the disk takes no more."""
    with file.open("wb", buffering=0) as out:
        size = BALLAST_BYTES
        while size:
            try:
                out.write(bytes(size))
            except OSError:
                size //= 2
