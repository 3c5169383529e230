"""
A process that asks a PostgreSQL ledger for chains, for tests that run several or kill one.

    python -m tests.ledger.postgres_worker URL FIRST COUNT TOGETHER

Says what `sqlite_worker.py` says, with the same chains: a line `N OUTCOME` was acknowledged.
"""

import asyncio
import itertools
import sys

from largesse.clock import SystemClock
from largesse.ledger.postgres import PostgresLedger
from tests.ledger.sqlite_worker import chain_of, say


async def main(url: str, first: int, count: int, together: int) -> None:
    ledger = await PostgresLedger.open(url, SystemClock())
    numbers = itertools.count(first) if count == 0 else iter(range(first, first + count))

    async def ask() -> None:
        for number in numbers:
            [result] = await ledger.create_transfers([chain_of(number)])
            say(f"{number} {result.outcome}")

    say("open")
    await asyncio.gather(*(ask() for _ in range(together)))
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5])))
