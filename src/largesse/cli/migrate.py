"""`largesse migrate`: the data folder and its tables, at the version this program needs."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from largesse.books.chart import Environment
from largesse.cli.start import settings_in_force
from largesse.clock import SystemClock
from largesse.settings import Settings


def migrate(
    *,
    environment: Annotated[
        Environment | None,
        Parameter(help="What to make where there is no folder yet: live money, or test money."),
    ] = None,
) -> None:
    """Make a data folder, or bring one up to date."""
    asyncio.run(_migrate(settings_in_force(), environment))


async def _migrate(settings: Settings, environment: Environment | None) -> None:
    from largesse.app import open_stores
    from largesse.folder import read_folder
    from largesse.records.database import HEAD

    create = environment or read_folder(Path(settings.data)).environment
    async with open_stores(settings, create=create, clock=SystemClock()) as stores:
        folder = stores.folder
        print(f"{folder.path} ({folder.environment}) is ready, its records at version {HEAD}.")
