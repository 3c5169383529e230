"""`largesse check`: every invariant of a data folder, recomputed from its first transfer."""

import asyncio
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.status import Status
from rich.table import Table

from largesse.books.checks import Check
from largesse.cli import EXIT_DONE, EXIT_FOUND, EXIT_REFUSED
from largesse.cli.start import settings_in_force
from largesse.clock import SystemClock
from largesse.ledger import LedgerUnavailable
from largesse.settings import Settings


def check() -> int:
    """
    Recompute every invariant of the data folder, which no other process may be using.

    Exit status: 0 all of them hold, 1 one does not, 2 it could not be told.
    """
    return asyncio.run(_check(settings_in_force()))


async def _check(settings: Settings) -> int:
    from largesse import reconcile
    from largesse.app import open_stores
    from largesse.records.database import RecordsUnavailable

    clock = SystemClock()
    found: list[Check] = []
    async with open_stores(settings, clock=clock) as stores:
        folder = stores.folder
        progress = Console(stderr=True)
        try:
            with progress.status(f"Reading {folder.path}") as status:
                async for step in reconcile.check(
                    stores.db, stores.ledger, environment=folder.environment, now=clock.now()
                ):
                    _take(step, found, status)
        except (LedgerUnavailable, RecordsUnavailable) as error:
            print(f"largesse: check_stopped: {folder.path}: {error}", file=sys.stderr)
            return EXIT_REFUSED
    return _print(found, title=f"{folder.path} ({folder.environment})")


def _take(step: Check | int, found: list[Check], status: Status) -> None:
    if isinstance(step, Check):
        found.append(step)
    else:
        status.update(f"Reading: {step:,} transfers")


def _print(found: Sequence[Check], *, title: str) -> int:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("what must be true")
    table.add_column("found", overflow="fold")
    for row in sorted(found, key=lambda row: row.holds):
        mark = "[green]holds[/]" if row.holds else "[bold red]BROKEN[/]"
        table.add_row(mark, row.name, row.detail)
    console = Console()
    console.print(table)
    broken = sum(not row.holds for row in found)
    if broken:
        console.print(f"[bold red]{broken} of {len(found)} checks are broken.[/]")
        return EXIT_FOUND
    console.print(f"All {len(found)} checks hold.")
    return EXIT_DONE
