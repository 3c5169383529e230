"""A process that copies a ledger, a few events at a time, and says so after each; made to be killed."""

import asyncio
import sys

from largesse import moving
from largesse.ledger import postgres_reader, sqlite_verify
from largesse.ledger.copying import Copied

FEW = 6


async def main(source: str, target: str) -> None:
    sqlite_verify.EVENTS_AT_ONCE = postgres_reader.EVENTS_AT_ONCE = FEW
    async for step in moving.copy_ledger(source, target):
        print("done" if isinstance(step, Copied) else step.what, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
