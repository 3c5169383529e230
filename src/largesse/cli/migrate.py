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
    new_secret: Annotated[
        bool,
        Parameter(
            help="Make this host's secret, which signs forms and tickets, that of all hosts of the "
            "installation; each needs it before its next start.",
            negative="",
        ),
    ] = False,
) -> None:
    """Make a data folder, or bring one up to date, and its stores wherever they are."""
    asyncio.run(_migrate(settings_in_force(), environment, new_secret))


async def _migrate(
    settings: Settings, environment: Environment | None, is_secret_new: bool
) -> None:
    from largesse.app import open_stores
    from largesse.folder import read_folder
    from largesse.records.database import HEAD

    create = environment or read_folder(Path(settings.data)).environment
    opening = open_stores(settings, create=create, is_secret_new=is_secret_new, clock=SystemClock())
    async with opening as stores:
        folder = stores.folder
        print(f"{folder.path} ({folder.environment}) is ready, its records at version {HEAD}.")
