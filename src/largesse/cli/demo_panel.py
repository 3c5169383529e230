"""What the demo shows while it runs: the economy at a glance, live on a terminal or in lines."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable
from itertools import pairwise

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from largesse import money, reconcile, reports
from largesse.app import App
from largesse.cli.serving import Running
from largesse.ledger import LedgerUnavailable
from largesse.records.database import RecordsUnavailable
from largesse.reports import OperatorTotals

SAMPLE_SECONDS = 1.0
SAMPLES_MAX = 60
"""Samples that the sparkline shows."""
RATE_SAMPLES = 10
"""The rate is that of this many samples."""
LINE_SECONDS = 5.0
"""How often a line is printed where no terminal redraws."""
CHECK_SECONDS = 30.0
CHECK_REST = 20
"""Between two checks lies at least this many times what the last one took."""
BARS = "▁▂▃▄▅▆▇█"


class Checked(msgspec.Struct, frozen=True):
    """How the last check of the books ended: how many there were, and those that do not hold."""

    count: int = 0
    broken: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """In a few words."""
        if not self.count:
            return "not yet"
        if self.broken:
            return f"{len(self.broken)} BROKEN: {self.broken[0]}"
        return f"all {self.count} hold"


class Board(msgspec.Struct):
    """Everything that is shown, and the samples behind the rate and the sparkline."""

    started: float
    samples: deque[tuple[float, int]]
    totals: OperatorTotals | None = None
    checked: Checked = Checked()
    trouble: str = ""


async def show(running: Running, *, live: bool) -> None:
    """Show the economy until the server stops."""
    board = Board(time.monotonic(), deque(maxlen=SAMPLES_MAX + 1))
    checking = asyncio.create_task(_check_again_and_again(running, board))
    try:
        if live:
            await _show_live(running, board)
        else:
            await _show_lines(running, board)
    finally:
        checking.cancel()
        await asyncio.wait([checking])


async def _show_live(running: Running, board: Board) -> None:
    console = Console()
    with Live(console=console, auto_refresh=False) as screen:
        while not await _stopped_within(running, SAMPLE_SECONDS):
            await _sample(running.app, board)
            screen.update(panel(board, running.url), refresh=True)


async def _show_lines(running: Running, board: Board) -> None:
    while not await _stopped_within(running, LINE_SECONDS):
        await _sample(running.app, board)
        print(line(board), flush=True)


async def _stopped_within(running: Running, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await running.stopped.wait()
    except TimeoutError:
        pass
    return running.stopped.is_set()


async def _sample(app: App, board: Board) -> None:
    """Look again. A store that cannot answer is told of; the demo goes on, as a server would."""
    try:
        totals = await reports.operator_totals(
            app.db,
            app.ledger,
            environment=app.environment,
            providers=sorted(app.providers),
            currencies=sorted({prices.currency for prices in app.catalog.price_lists}),
            now=app.clock.now(),
        )
    except (LedgerUnavailable, RecordsUnavailable) as error:
        board.trouble = str(error)
        return
    board.totals, board.trouble = totals, ""
    board.samples.append((time.monotonic(), totals.gifts))


async def _check_again_and_again(running: Running, board: Board) -> None:
    app = running.app
    while True:
        begun = time.monotonic()
        with contextlib.suppress(LedgerUnavailable, RecordsUnavailable):
            found = await reconcile.verdict(
                app.db, app.ledger, environment=app.environment, now=app.clock.now
            )
            app.health.verdict = found
            board.checked = Checked(
                len(found.checks), tuple(row.name for row in found.checks if not row.holds)
            )
        took = time.monotonic() - begun
        if await _stopped_within(running, max(CHECK_SECONDS, took * CHECK_REST)):
            return


def line(board: Board) -> str:
    """The economy in one line."""
    totals = board.totals
    if board.trouble or totals is None:
        return f"up {_uptime(board)}  {board.trouble}"
    return "  ".join(
        (
            f"up {_uptime(board)}",
            f"coins sold {totals.coins_sold:,}",
            f"money in {_money_in(totals)}",
            f"gifts {totals.gifts:,}",
            f"diamonds {totals.diamonds}",
            f"{_rate(board.samples):.1f} gifts/s",
            f"checks {board.checked.told}",
        )
    )


def panel(board: Board, url: str) -> RenderableType:
    """The economy as a panel."""
    totals = board.totals
    if totals is None:
        return Panel(board.trouble, title=f"Largesse demo  {url}", title_align="left", expand=False)
    grid = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "left", "right"):
        grid.add_column(justify=justify, min_width=12)
    rows = (
        ("Coins sold", f"{totals.coins_sold:,}", "Money in", _money_in(totals)),
        ("Gifts", f"{totals.gifts:,}", "Coins gifted", f"{totals.coins_gifted:,}"),
        ("Diamonds", totals.diamonds, "Coins held", f"{totals.coins_outstanding:,}"),
        ("Rooms live", f"{totals.rooms_live:,}", "People", f"{totals.users:,}"),
    )
    for left, value, right, other in rows:
        grid.add_row(
            f"[dim]{left}[/]", f"[bold]{value}[/]", f"[dim]{right}[/]", f"[bold]{other}[/]"
        )
    style = "bold red" if board.checked.broken else "green"
    footer = Text.assemble(
        (f"{_rate(board.samples):5.1f} gifts/s  ", "bold"),
        (sparkline(_steps(board.samples)), "cyan"),
        "\n",
        ("Checks ", "dim"),
        (board.checked.told, style),
        (f"   up {_uptime(board)}", "dim"),
        (f"\n{board.trouble}" if board.trouble else "", "bold red"),
    )
    body = Table.grid()
    body.add_row(grid)
    body.add_row("")
    body.add_row(footer)
    return Panel(body, title=f"Largesse demo  {url}", title_align="left", expand=False)


def sparkline(values: Iterable[float]) -> str:
    """The values as bars, the highest of them full."""
    values = list(values)
    highest = max(values, default=0) or 1
    return "".join(BARS[round(value / highest * (len(BARS) - 1))] for value in values)


def _steps(samples: Iterable[tuple[float, int]]) -> list[float]:
    """Gifts per second between each sample and the next."""
    pairs = list(samples)
    return [
        (gifts - gifts_before) / max(at - before, 1e-9)
        for (before, gifts_before), (at, gifts) in pairwise(pairs)
    ]


def _rate(samples: Iterable[tuple[float, int]]) -> float:
    pairs = list(samples)[-RATE_SAMPLES - 1 :]
    if len(pairs) < 2:
        return 0.0
    (before, gifts_before), (at, gifts) = pairs[0], pairs[-1]
    return (gifts - gifts_before) / max(at - before, 1e-9)


def _money_in(totals: OperatorTotals) -> str:
    """What came in less what went back, each currency by itself: they do not add up."""
    sums: dict[str, int] = {}
    for row in totals.money_in:
        currency = row.taken.currency
        sums[currency] = sums.get(currency, 0) + row.taken.amount - row.returned.amount
    return (
        ", ".join(
            f"{money.decimal(amount, currency)} {currency}"
            for currency, amount in sorted(sums.items())
        )
        or "0"
    )


def _uptime(board: Board) -> str:
    seconds = int(time.monotonic() - board.started)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
