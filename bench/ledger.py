"""
Gifts a second of the ledger alone, every engine beside what it is held against, in one run.

In each round every system has its turn, on empty stores, for one hot creator and for many. Ids and
chains are made inside the measured time; nobody is answered before the gift is on the disk; after each turn
the accounts must have moved by the gifts that were answered.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.loads import HOLD, Load, System
from bench.spread import milliseconds, rate, told
from bench.systems import NAIVE, TIGERBEETLE, TIGERBEETLE_MISSING, all_of_them
from largesse.cli.bench import VIEWERS, Measured
from tests import postgres

CREATORS = (1, 1_000)
WARM_UP_SECONDS = 0.5
NAIVE_ROW = "one transaction a gift, a gift in flight for each connection"


class Found(msgspec.Struct):
    """What all rounds found: measurements by creators, load and system; what each one's books said."""

    measured: dict[tuple[int, str, str], list[Measured]] = {}
    books: dict[str, str] = {}


def run(console: Console, folder: Path, *, rounds: int, seconds: float) -> bool:
    """Print the table of all rounds; False where any books did not hold."""
    import uvloop

    with (
        postgres.server() as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        systems = all_of_them(server)
        found = runner.run(_measure(console, systems, folder, rounds=rounds, seconds=seconds))
    console.print(_table(found, systems))
    if not os.environ.get(TIGERBEETLE):
        console.print(TIGERBEETLE_MISSING)
    for name, words in found.books.items():
        console.print(f"Books of {name}: {words}.")
    return all(words == HOLD for words in found.books.values())


async def _measure(
    console: Console, systems: Iterable[System], folder: Path, *, rounds: int, seconds: float
) -> Found:
    found = Found()
    turns = [(creators, system) for creators in CREATORS for system in systems]
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=rounds * len(turns))
        for number in range(rounds):
            for creators, system in turns:
                what = f"round {number + 1}: {system.name}, {creators:,} creators"
                progress.update(task, description=what)
                await _turn(found, system, folder, creators, seconds)
                progress.advance(task)
    return found


async def _turn(found: Found, system: System, folder: Path, creators: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        async with system.stand(Path(place), creators) as stand:
            warm_up = await stand.measure(system.loads[-1], min(seconds, WARM_UP_SECONDS))
            given = warm_up.gifts
            for load in system.loads:
                row = (creators, _row(system, load), system.name)
                measured = await stand.measure(load, seconds)
                found.measured.setdefault(row, []).append(measured)
                given += measured.gifts
            words = await stand.books(given)
            # Once they were bad they stay bad.
            if found.books.get(system.name, HOLD) == HOLD:
                found.books[system.name] = words


def _row(system: System, load: Load) -> str:
    """The naive systems are measured with one gift in flight for each connection, in rows of their own."""
    return NAIVE_ROW if system.name in NAIVE else load.name


def _table(found: Found, systems: Iterable[System]) -> Table:
    table = Table(
        title=f"Ledger, gifts a second: {VIEWERS:,} viewers gift in turn", title_justify="left"
    )
    table.add_column("system")
    for creators in CREATORS:
        to = "to one creator" if creators == 1 else f"to {creators:,}"
        table.add_column(f"{to}: gifts/s", justify="right")
        table.add_column("p50 ms", justify="right")
        table.add_column("p99 ms", justify="right")
        table.add_column("x naive", justify="right")
    fastest = {creators: _fastest_naive(found, creators) for creators in CREATORS}
    for row in dict.fromkeys(row for _, row, _ in found.measured):
        table.add_row(f"[bold]{row}[/bold]")
        for system in systems:
            if (CREATORS[0], row, system.name) in found.measured:
                cells = [
                    cell
                    for creators in CREATORS
                    for cell in _cells(
                        found.measured[creators, row, system.name], fastest[creators]
                    )
                ]
                table.add_row(f"  {system.name}", *cells)
        table.add_section()
    return table


def _cells(measured: list[Measured], fastest_naive: float) -> tuple[str, str, str, str]:
    rates = [each.rate for each in measured]
    return (
        told(rates, rate),
        milliseconds(median(each.p50 for each in measured)),
        milliseconds(median(each.p99 for each in measured)),
        f"{median(rates) / fastest_naive:,.1f}",
    )


def _fastest_naive(found: Found, creators: int) -> float:
    """The best that the naive design reached in this run, with any number of connections."""
    return max(
        median(each.rate for each in found.measured[creators, NAIVE_ROW, name]) for name in NAIVE
    )
