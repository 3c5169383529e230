"""How long `serve` takes from the start of its process to its first answer, and its idle memory."""

import select
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine, serving, spread

IDLE_SECONDS = 5


def measure(console: Console, folder: Path, used: Path, *, rounds: int) -> None:
    """Print the table: fresh folders each time, and the folder that the HTTP part gifted in."""
    rows = [("a fresh folder", [_once(folder, folder / f"fresh-{n}") for n in range(rounds)])]
    if used.is_dir():
        rows.append(("a used folder", [_once(folder, used) for _ in range(rounds)]))
    console.print(_table(rows))


def _once(folder: Path, data: Path) -> tuple[float, float]:
    port = serving.free_port()
    server = serving.start(
        [*serving.LARGESSE, "serve", "--create", "test"],
        port=port,
        log=folder / "start.log",
        environ={"LARGESSE_DATA": str(data), "LARGESSE_PORT": str(port)},
    )
    try:
        seconds = serving.ready(server)
        select.select([], [], [], IDLE_SECONDS)
        return seconds, machine.resident_mib(server.process.pid)
    finally:
        serving.stop(server)


def _table(rows: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Table:
    table = Table(title="Start of `largesse serve`", title_justify="left")
    table.add_column("on")
    table.add_column("s to the first /readyz 200", justify="right")
    table.add_column(f"MiB resident, idle {IDLE_SECONDS} s later", justify="right")
    for name, found in rows:
        table.add_row(
            name,
            spread.told([seconds for seconds, _ in found], spread.seconds),
            spread.told([mib for _, mib in found], lambda value: f"{value:.0f}"),
        )
    return table
