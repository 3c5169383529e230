"""`largesse check`: every invariant of an installation, recomputed from its first transfer."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from largesse.books.checks import Check
from largesse.cli import EXIT_DONE, EXIT_FOUND, EXIT_REFUSED
from largesse.cli.progress import Reading, reading
from largesse.cli.start import settings_in_force
from largesse.clock import SystemClock
from largesse.errors import Rejected
from largesse.ledger import LedgerUnavailable, Total
from largesse.settings import Settings

if TYPE_CHECKING:
    from largesse.app import Stores


def check(
    *,
    deep: Annotated[
        bool,
        Parameter(
            help="First recompute the ledger's store itself: the hash of every batch, every "
            "account's totals and history."
        ),
    ] = False,
) -> int:
    """
    Recompute every invariant of this installation.

    Exit status: 0 all of them hold, 1 one does not, 2 it could not be told.
    """
    return asyncio.run(_check(settings_in_force(), deep))


async def _check(settings: Settings, deep: bool) -> int:
    from largesse.app import open_stores
    from largesse.records.database import RecordsUnavailable

    clock = SystemClock()
    try:
        async with open_stores(settings, clock=clock) as stores:
            folder = stores.folder
            try:
                with reading(Console(stderr=True)) as progress:
                    found = await _read(stores, progress, deep=deep, now=clock.now())
            except (LedgerUnavailable, RecordsUnavailable) as error:
                print(f"largesse: check_stopped: {folder.path}: {error}", file=sys.stderr)
                return EXIT_REFUSED
    except Rejected as rejected:
        if rejected.code != "data_folder_damaged":
            raise
        # Whoever is told to run the check gets to know what is damaged, and where.
        found = await _read_damaged(settings)
        if all(check.holds for check in found):
            raise
        return _print(found, title=f"{settings.data}, which cannot be opened")
    return _print(found, title=f"{folder.path} ({folder.environment})")


async def _read_damaged(settings: Settings) -> list[Check]:
    from largesse import reconcile
    from largesse.app import verify_ledger_file

    steps = verify_ledger_file(settings)
    if steps is None:
        return []
    with reading(Console(stderr=True)) as progress:
        return await _recompute(reconcile.check_file(steps), progress)


async def _read(stores: "Stores", progress: Reading, *, deep: bool, now: int) -> list[Check]:
    from largesse import reconcile

    found: list[Check] = []
    if deep:
        found += await _recompute(reconcile.check_file(stores.ledger.verify()), progress)
    progress.begin("Reading the books", progress.total)
    async for row in reconcile.check(
        stores.db, stores.ledger, environment=stores.folder.environment, now=now
    ):
        if isinstance(row, Check):
            found.append(row)
        else:
            progress.at(row)
    return found


async def _recompute(steps: AsyncIterator[Check | Total | int], progress: Reading) -> list[Check]:
    found: list[Check] = []
    progress.begin("Recomputing the ledger", None)
    async for step in steps:
        if isinstance(step, Check):
            found.append(step)
        elif isinstance(step, Total):
            progress.begin("Recomputing the ledger", step.transfers)
        else:
            progress.at(step)
    return found


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
