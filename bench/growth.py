"""
What growth costs: the same load on an empty ledger and on one with millions of transfers, in turns.

The full ledger of each engine is filled through `Ledger` and kept in the scratch folder; a fill that was
stopped goes on where it was. The gifts come from a process of its own, whose memory is looked at.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from bench import machine, other
from bench.loads import HOLD, LOADS, Load
from bench.serving import free_port
from bench.spread import rate, told
from bench.systems import TIGERBEETLE, tigerbeetle_url
from largesse.app import App
from largesse.books import chart
from largesse.cli import bench
from largesse.cli.bench import Measured
from largesse.ledger import Problem
from tests import postgres

MEASURED = (Load(1_024), LOADS[-1])
FILLING = LOADS[-1]
FILL_SECONDS = 2.0
WARM_UP_SECONDS = 3.0
CREATORS = 1
TRANSFERS_A_GIFT = 2
BYTES_A_TRANSFER = {"sqlite": 260, "postgres": 340}
"""On the disk of the scratch folder with everything that belongs to it, rounded up."""
SPARE_BYTES = 2 << 30
"""For what an engine writes ahead, and for its empty ledger."""
GIB = 1 << 30
TITLES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "tigerbeetle": "TigerBeetle"}
ENGINES = tuple(TITLES)


def engines_here() -> tuple[str, ...]:
    """Those that can be had without being given an address."""
    return ENGINES if os.environ.get(TIGERBEETLE) else ENGINES[:2]


class Store(msgspec.Struct, frozen=True):
    """Where records and ledger are: in the data folder, where there is no URL."""

    data: Path
    database_url: str = ""
    ledger_url: str = ""

    @property
    def environ(self) -> dict[str, str]:
        """The settings that open it."""
        return {
            "LARGESSE_DATA": str(self.data),
            "LARGESSE_DATABASE_URL": self.database_url,
            "LARGESSE_LEDGER_URL": self.ledger_url,
        }

    def opened(self) -> AbstractAsyncContextManager[App]:
        """The app on it, in this process."""
        return bench.opened(self.data, database_url=self.database_url, ledger_url=self.ledger_url)


class Found(msgspec.Struct):
    """By engine, load and whether it was full: rates, and MiB of the process afterwards."""

    measured: dict[tuple[str, str, bool], list[Measured]] = {}
    memory: dict[tuple[str, bool], list[float]] = {}
    filling: dict[str, list[tuple[int, float]]] = {}
    """MiB of the process that filled, at so many transfers."""
    books: dict[str, str] = {}


def run(
    console: Console,
    folder: Path,
    scratch: Path,
    *,
    transfers: int,
    engines: Sequence[str],
    rounds: int,
    seconds: float,
    is_verified: bool,
) -> bool:
    """Print the tables; False where there is no room for it, or where a full ledger does not hold."""
    import uvloop

    scratch.mkdir(parents=True, exist_ok=True)
    if not _has_room(console, scratch, transfers, engines):
        return False
    found = Found()
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        _servers(scratch, engines) as server,
    ):
        full = {engine: _full(scratch, engine, server) for engine in engines}
        if "tigerbeetle" in engines:
            # A cluster cannot be emptied, so it is measured before it is filled, not in turns.
            for _ in range(rounds):
                runner.run(_measure(found, "tigerbeetle", full["tigerbeetle"], False, seconds))
        for engine in engines:
            runner.run(_fill(console, found, engine, full[engine], transfers))
        for _ in range(rounds):
            for engine in engines:
                runner.run(_compare(found, folder, engine, full[engine], server, seconds))
        for engine in engines if is_verified else ():
            found.books[engine] = runner.run(_verified(console, full[engine], transfers))
        counts = {engine: runner.run(_transfers_in(full[engine])) for engine in engines}
    console.print(_table(found, engines, counts))
    for engine, words in found.books.items():
        console.print(f"The full ledger on {TITLES[engine]}, all recomputed: {words}.")
    return all(words == HOLD for words in found.books.values())


def _has_room(console: Console, scratch: Path, transfers: int, engines: Sequence[str]) -> bool:
    """Say what the disk will be asked for before anything is written."""
    kept_here = [BYTES_A_TRANSFER[each] for each in engines if each in BYTES_A_TRANSFER]
    needed = sum(size * transfers + SPARE_BYTES for size in kept_here)
    there = sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file())
    free = shutil.disk_usage(scratch).free
    console.print(
        f"Growth to {transfers:,} transfers takes about {needed / GIB:.1f} GiB in {scratch} "
        f"({there / GIB:.1f} GiB are there already, {free / GIB:.1f} GiB are free)."
    )
    if free + there < needed:
        console.print("That is too little room: name another folder with --scratch.")
        return False
    return True


# Stores ------------------------------------------------------------------------------------------


@contextmanager
def _servers(scratch: Path, engines: Sequence[str]) -> Iterator[postgres.Server | None]:
    """The PostgreSQL that keeps its data in the scratch folder, where it is wanted."""
    if "postgres" not in engines:
        yield None
        return
    server = _kept_server(scratch / "postgres")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _kept_server(folder: Path) -> postgres.Server:
    made = folder / "made"
    if made.exists():
        programs = Path(made.read_text())
        server = postgres.Server(programs, folder, free_port())
        if server.is_running():
            # A run that was killed has left it.
            server.stop("immediate")
        return server
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    source = postgres.programs(18) or postgres.programs(15)
    assert source is not None, "PostgreSQL is not here"
    server = postgres.make(source, folder)
    server.configure(max_connections="50", shared_buffers="256MB")
    server.start()
    postgres.sql(server, "CREATE DATABASE filled")
    server.stop()
    made.write_text(str(server.programs))
    return server


def _full(scratch: Path, engine: str, server: postgres.Server | None) -> Store:
    data = scratch / f"{engine}-data"
    if engine == "tigerbeetle":
        return Store(data, ledger_url=tigerbeetle_url())
    if engine == "postgres":
        assert server is not None
        return Store(data, server.url("filled"), server.url("filled"))
    return Store(data)


@asynccontextmanager
async def _empty(folder: Path, engine: str, server: postgres.Server | None) -> AsyncIterator[Store]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        data = Path(place) / "data"
        if engine == "sqlite":
            yield Store(data)
            return
        assert server is not None
        postgres.drop_database(server, "empty")
        postgres.sql(server, "CREATE DATABASE empty")
        try:
            yield Store(data, server.url("empty"), server.url("empty"))
        finally:
            postgres.drop_database(server, "empty")


async def _seat(store: Store) -> None:
    """Make the folder and the tables where there are none; the processes find them."""
    async with store.opened() as app:
        await bench.seat(
            app.ledger, viewers=bench.VIEWERS, creators=CREATORS, environment=app.environment
        )


async def _transfers_in(store: Store) -> int:
    """How many transfers of gifts are there: each gift redeems its one coin in one account."""
    async with store.opened() as app:
        [redeemed] = await app.ledger.lookup_accounts([chart.redeemed(app.environment)])
    assert redeemed is not None
    return TRANSFERS_A_GIFT * redeemed.credits_posted // bench.COINS


# Fill, compare, verify ---------------------------------------------------------------------------


async def _fill(console: Console, found: Found, engine: str, store: Store, transfers: int) -> None:
    await _seat(store)
    there = await _transfers_in(store)
    quarters = [n * transfers // 4 for n in range(1, 5)]
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(
            f"Filling {TITLES[engine]}", total=transfers, completed=min(there, transfers)
        )
        async with other.others(store.environ, creators=CREATORS, count=1) as running:
            while there < transfers:
                measured = await other.together(running, FILLING, FILL_SECONDS)
                before, there = there, there + TRANSFERS_A_GIFT * measured.gifts
                progress.update(task, completed=min(there, transfers))
                if any(before < quarter <= there for quarter in quarters):
                    memory = machine.resident_mib(running[0].pid)
                    found.filling.setdefault(engine, []).append((there, memory))


async def _compare(
    found: Found,
    folder: Path,
    engine: str,
    full: Store,
    server: postgres.Server | None,
    seconds: float,
) -> None:
    """The same load on an empty ledger, where there can be one, and on the full one."""
    if engine != "tigerbeetle":
        async with _empty(folder, engine, server) as empty:
            await _measure(found, engine, empty, False, seconds)
    await _measure(found, engine, full, True, seconds)


async def _measure(found: Found, engine: str, store: Store, is_full: bool, seconds: float) -> None:
    """From a process that just began, which is also how much memory it has afterwards."""
    await _seat(store)
    async with other.others(store.environ, creators=CREATORS, count=1) as running:
        await other.together(running, FILLING, WARM_UP_SECONDS)
        for load in MEASURED:
            measured = await other.together(running, load, seconds)
            found.measured.setdefault((engine, load.name, is_full), []).append(measured)
        memory = machine.resident_mib(running[0].pid)
        found.memory.setdefault((engine, is_full), []).append(memory)


async def _verified(console: Console, store: Store, transfers: int) -> str:
    """What the ledger says of itself: every hash, total and history recomputed."""
    async with store.opened() as app:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Verifying", total=transfers)
            async for step in app.ledger.verify():
                if isinstance(step, Problem):
                    return f"{step.what} at {step.where}"
                if isinstance(step, int):
                    progress.update(task, completed=step)
    return HOLD


def _table(found: Found, engines: Sequence[str], counts: dict[str, int]) -> Table:
    table = Table(title="Growth: an empty ledger and a full one, in turns", title_justify="left")
    table.add_column("engine, load")
    for name in ("empty: gifts/s", "full: gifts/s", "kept", "transfers in the full one"):
        table.add_column(name, justify="right")
    for engine in engines:
        for load in MEASURED:
            empty, full = (
                [each.rate for each in found.measured[engine, load.name, is_full]]
                for is_full in (False, True)
            )
            table.add_row(
                f"{TITLES[engine]}: {load.name}",
                told(empty, rate),
                told(full, rate),
                f"{median(full) / median(empty):.0%}",
                f"{counts[engine]:,}",
            )
        empty, full = (found.memory[engine, is_full] for is_full in (False, True))
        table.add_row(
            f"{TITLES[engine]}: MiB of the process that gifted", told(empty, rate), told(full, rate)
        )
        for count, memory in found.filling.get(engine, ()):
            table.add_row(
                f"{TITLES[engine]}: MiB of the process that filled",
                "",
                rate(memory),
                "",
                f"{count:,}",
            )
        table.add_section()
    return table
