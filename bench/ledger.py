"""
Gifts a second of the ledger alone, as `app.py` wires it, beside three that say what the figure means.

In each round every system has its turn: ours on a fresh folder, ours with millions of transfers
already there, the bare prototype, and the prototype with one transaction per gift. Ids and chains
are made inside the measured time.
"""

import asyncio
import gc
import itertools
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.prototype import Gift, Prototype, balanced
from bench.spread import milliseconds, rate, told
from largesse import ids
from largesse.books import chart
from largesse.books.chart import Environment
from largesse.cli import bench
from largesse.cli.bench import CHAINS_PER_CALL, IN_FLIGHT, VIEWERS, Measured
from largesse.ledger import Problem

ROWS = (
    *(f"{n:,} chains in flight, a call each" for n in IN_FLIGHT),
    f"calls of {CHAINS_PER_CALL:,} chains, {bench.CALLS_IN_FLIGHT} in flight",
)
FULL_TRANSFERS = 5_000_000
FULL = f"largesse, {FULL_TRANSFERS:,} transfers there before"
BATCH_MAX = 1_024
GOOD = ("hold", "balanced", "file verified")
Found = dict[tuple[str, str], list[Measured]]
Run = Callable[[str, float], Awaitable[Measured]]


async def measure(
    console: Console, folder: Path, scratch: Path | None, *, rounds: int, seconds: float
) -> bool:
    """Print the table of all rounds; False where any books did not hold. No `scratch`: no full one."""
    found: Found = {}
    books: dict[str, str] = {}
    full = None if scratch is None else await _filled(console, scratch)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            fresh = Path(place)
            await _ours(found, books, "largesse", fresh / "data", seconds=seconds)
            if full is not None:
                await _ours(found, books, FULL, full, seconds=seconds, checked=False)
            for name, batch_max in (
                ("bare SQLite prototype, no rules", BATCH_MAX),
                ("the same, one transaction a gift", 1),
            ):
                path = fresh / f"prototype-{batch_max}.sqlite"
                await _prototype(found, books, name, path, batch_max=batch_max, seconds=seconds)
    if full is not None:
        books[FULL] = await _verified(console, full)
    console.print(_table(found, books))
    return all(word in GOOD for word in books.values())


async def _ours(
    found: Found,
    books: dict[str, str],
    name: str,
    data: Path,
    *,
    seconds: float,
    checked: bool = True,
) -> None:
    async with bench.opened(data) as app:
        audience = await bench.seat(app.ledger, viewers=VIEWERS, environment=app.environment)
        with _steady():
            for row, in_flight in zip(ROWS, IN_FLIGHT, strict=False):
                measured = await bench.gifts_one_by_one(
                    app.ledger, audience, in_flight=in_flight, seconds=seconds
                )
                found.setdefault((name, row), []).append(measured)
            measured = await bench.gifts_by_the_call(
                app.ledger, audience, chains_per_call=CHAINS_PER_CALL, seconds=seconds
            )
            found.setdefault((name, ROWS[-1]), []).append(measured)
        if checked:
            failures = await bench.failures_in_books(app)
            _note(books, name, "hold" if not failures else "; ".join(failures), good="hold")


async def _verified(console: Console, data: Path) -> str:
    """What the ledger says of its own file: every hash, total and history recomputed."""
    async with bench.opened(data) as app:
        with console.status("Verifying the full ledger"):
            problems = [step async for step in app.ledger.verify() if isinstance(step, Problem)]
    return GOOD[-1] if not problems else str(problems[0])


async def _prototype(
    found: Found,
    books: dict[str, str],
    name: str,
    path: Path,
    *,
    batch_max: int,
    seconds: float,
) -> None:
    prototype = Prototype(path, batch_max=batch_max)
    gifts = _plain_gifts()

    async def send_one() -> None:
        assert await prototype.create([next(gifts)]) == [True]

    async def send_many() -> None:
        assert all(await prototype.create(list(itertools.islice(gifts, CHAINS_PER_CALL))))

    with _steady():
        for row, in_flight in zip(ROWS, IN_FLIGHT, strict=False):
            measured = await bench.drive(send_one, in_flight=in_flight, seconds=seconds)
            found.setdefault((name, row), []).append(measured)
        if batch_max > 1:
            measured = await bench.drive(
                send_many,
                in_flight=bench.CALLS_IN_FLIGHT,
                seconds=seconds,
                gifts_per_call=CHAINS_PER_CALL,
            )
            found.setdefault((name, ROWS[-1]), []).append(measured)
    await prototype.close()
    _note(books, name, balanced(path), good="balanced")


def _note(books: dict[str, str], name: str, word: str, *, good: str) -> None:
    """Keep what a check of the books said; once it was bad it stays bad."""
    if books.get(name, good) == good:
        books[name] = word


def _plain_gifts() -> Iterator[Gift]:
    """The same gifts as ours, with ids made the same way, as the prototype's plain rows."""
    house = Environment.TEST
    viewer_ids = [ids.text(ids.derive("bench viewer", n)) for n in range(VIEWERS)]
    wallets = {viewer_id: chart.wallet(house, viewer_id) for viewer_id in viewer_ids}
    redeemed, issued = chart.redeemed(house), chart.diamonds_issued(house)
    earnings = chart.earnings_held(house, ids.text(ids.derive("bench creator")))
    room = ids.derive("bench room")
    diamonds = bench.COINS * bench.SHARE_BPS
    for viewer_id, key in zip(itertools.cycle(viewer_ids), bench.fresh_keys(), strict=False):
        id = ids.from_key(viewer_id, key)
        yield (
            (id, wallets[viewer_id], redeemed, bench.COINS, chart.COIN, room, 1),
            (ids.nth(id, 1), issued, earnings, diamonds, chart.DIAMOND, room, 1),
        )


@contextmanager
def _steady() -> Iterator[None]:
    """The process as `largesse serve` has it: what lives long is kept from the collector."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def _filled(console: Console, scratch: Path) -> Path:
    """A folder with the transfers there already, filled once through the ledger and then kept."""
    data = scratch / "filled"
    done = scratch / "filled.done"
    if done.exists():
        return data
    shutil.rmtree(data, ignore_errors=True)
    async with bench.opened(data) as app:
        audience = await bench.seat(app.ledger, viewers=VIEWERS, environment=app.environment)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Filling", total=FULL_TRANSFERS)
            while not progress.finished:
                measured = await bench.gifts_by_the_call(
                    app.ledger, audience, chains_per_call=CHAINS_PER_CALL, seconds=1
                )
                progress.advance(task, 2 * measured.gifts)
    done.touch()
    return data


def _table(found: Found, books: dict[str, str]) -> Table:
    table = Table(title=f"Ledger: {VIEWERS:,} viewers, one creator", title_justify="left")
    table.add_column("load")
    table.add_column("ledger")
    for name in ("gifts/s", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right")
    table.add_column("books")
    for row in ROWS:
        for name in dict.fromkeys(name for name, _ in found):
            measured = found.get((name, row))
            if measured is not None:
                table.add_row(
                    row,
                    name,
                    told([m.rate for m in measured], rate),
                    told([m.p50 for m in measured], milliseconds),
                    told([m.p99 for m in measured], milliseconds),
                    books.get(name, "not checked"),
                )
        table.add_section()
    return table


def run(
    console: Console, folder: Path, scratch: Path | None, *, rounds: int, seconds: float
) -> bool:
    """The same from a process without a loop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(console, folder, scratch, rounds=rounds, seconds=seconds))
