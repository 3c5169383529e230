"""
A process that asks a SQLite ledger for chains, for tests that watch it, starve it or kill it.

    python sqlite_worker.py PATH FIRST COUNT TOGETHER

It sends COUNT chains numbered from FIRST (0 means for ever), TOGETHER at a time. Before each call it
writes a line `ask N`, and after the answer a line `N OUTCOME`, each with one write straight to standard
output: a line that can be read was acknowledged.
"""

import asyncio
import itertools
import os
import sys
from pathlib import Path

from largesse import ids
from largesse.clock import SystemClock
from largesse.ledger.model import Account, AccountFlags, Chain, Transfer
from largesse.ledger.sqlite import SqliteLedger

BANK, WALLET, EARNINGS = (ids.derive("worker", name) for name in ("bank", "wallet", "earnings"))
ACCOUNTS = [
    Account(id=BANK, ledger=1, code=1),
    Account(id=WALLET, ledger=1, code=2, flags=int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)),
    Account(id=EARNINGS, ledger=1, code=3),
]


def chain_of(number: int) -> Chain:
    """Three coins come into the wallet and two go out of it, whole or not at all."""
    head = ids.ordered(1_800_000_000_000, number.to_bytes(9, "big"))
    return (
        Transfer(ids.nth(head, 0), BANK, WALLET, 3, 1, 1, user_data_64=number),
        Transfer(ids.nth(head, 1), WALLET, EARNINGS, 2, 1, 2, user_data_64=number),
    )


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def main(path: Path, first: int, count: int, together: int) -> None:
    ledger = await SqliteLedger.open(path, SystemClock())
    await ledger.create_accounts(ACCOUNTS)
    numbers = itertools.count(first) if count == 0 else iter(range(first, first + count))

    async def ask() -> None:
        for number in numbers:
            say(f"ask {number}")
            [result] = await ledger.create_transfers([chain_of(number)])
            say(f"{number} {result.outcome}")

    say("open")
    await asyncio.gather(*(ask() for _ in range(together)))
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:5])))
