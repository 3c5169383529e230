"""
A process that copies a ledger a few events at a time; made to be killed.

It says how far it is after each step, and goes on when it is told to by a line.
"""

import asyncio
import sys

from largesse import moving
from largesse.ledger import postgres_reader, sqlite_verify
from largesse.ledger.copying import Copied

FEW = 6


async def main(source: str, target: str) -> None:
    sqlite_verify.EVENTS_AT_ONCE = postgres_reader.EVENTS_AT_ONCE = FEW
    async for step in moving.copy_ledger(source, target):
        if isinstance(step, Copied):
            print("done", flush=True)
            break
        print(step.what, step.done, step.total, flush=True)
        if not sys.stdin.readline():
            break


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
