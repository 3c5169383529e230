"""`largesse records copy`: users, orders and rooms from one database to another."""

import asyncio
import sys
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from largesse.cli import EXIT_DONE, EXIT_REFUSED
from largesse.cli.progress import reading
from largesse.cli.start import settings_in_force


def copy(
    *,
    source: Annotated[
        str,
        Parameter(
            name="--from",
            help="Where they are: sqlite:////folder/records.sqlite or "
            "postgresql://user@host/database.",
        ),
    ],
    target: Annotated[str, Parameter(name="--to", help="Where they are to be; it must be empty.")],
) -> int:
    """Copy the records, in one transaction, and compare every table."""
    return asyncio.run(_copy(source, target))


async def _copy(source: str, target: str) -> int:
    from largesse import moving
    from largesse.records.database import RecordsUnavailable

    allow_unsafe = settings_in_force().allow_losing_acknowledged_money
    rows: dict[str, int] = {}
    try:
        with reading(Console(stderr=True)) as progress:
            async for step in moving.copy_records(source, target, allow_unsafe=allow_unsafe):
                rows[step.table] = step.rows
                progress.begin(f"Copying {step.table}", step.total)
                progress.at(step.rows)
    except RecordsUnavailable as error:
        print(f"largesse: copy_stopped: {error}. Nothing of it is kept.", file=sys.stderr)
        return EXIT_REFUSED
    for table, number in rows.items():
        print(f"{number:>12,} {table}")
    print(f"The same: {sum(rows.values()):,} rows in {len(rows)} tables.")
    return EXIT_DONE
