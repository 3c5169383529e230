"""`largesse ledger copy`: a whole ledger from one engine to another."""

import asyncio
import sys
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from largesse.cli import EXIT_DONE, EXIT_REFUSED
from largesse.cli.progress import reading
from largesse.cli.start import settings_in_force
from largesse.ledger import LedgerUnavailable


def copy(
    *,
    source: Annotated[
        str,
        Parameter(
            name="--from",
            help="Where it is: sqlite:////folder/ledger.sqlite or postgresql://user@host/database.",
        ),
    ],
    target: Annotated[
        str,
        Parameter(
            name="--to",
            help="Where it is to be; also tigerbeetle://host:port,host:port?cluster=0.",
        ),
    ],
) -> int:
    """Copy a ledger, and prove that the copy is the same."""
    return asyncio.run(_copy(source, target))


async def _copy(source: str, target: str) -> int:
    from largesse import moving
    from largesse.ledger.copying import Copied

    allow_unsafe = settings_in_force().allow_losing_acknowledged_money
    copied = None
    try:
        with reading(Console(stderr=True)) as progress:
            async for step in moving.copy_ledger(source, target, allow_unsafe=allow_unsafe):
                if isinstance(step, Copied):
                    copied = step
                else:
                    progress.begin(step.what, step.total)
                    progress.at(step.done)
    except LedgerUnavailable as error:
        print(f"largesse: copy_stopped: {error}. Run it again, and it goes on.", file=sys.stderr)
        return EXIT_REFUSED
    assert copied is not None
    counts = copied.counts
    print(
        f"The same: {counts.accounts:,} accounts, {counts.transfers:,} transfers,"
        f" {counts.refused:,} refusals, {counts.pendings:,} pending transfers;"
        f" batch {copied.head.sequence:,}, hash {copied.head.hash.hex()}."
    )
    return EXIT_DONE
