"""A small world for ledger tests: a bank, a wallet, a creator's earnings, and what they do."""

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from largesse import ids
from largesse.clock import ManualClock
from largesse.ledger import Ledger, Problem, sqlite_file
from largesse.ledger.model import (
    Account,
    AccountFlags,
    Chain,
    Change,
    Outcome,
    Transfer,
    TransferFlags,
)
from largesse.ledger.sqlite import SqliteLedger
from tests.ledger_script import check, id_of

BANK, WALLET, EARNINGS, NOBODY = (id_of(n) for n in ("bank", "wallet", "earnings", "nobody"))
LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
ACCOUNTS = [
    Account(id=BANK, ledger=1, code=1),
    Account(id=WALLET, ledger=1, code=2, flags=LIMITED, user_data_128=b"ana" + bytes(13)),
    Account(id=EARNINGS, ledger=1, code=3, flags=LIMITED, user_data_64=7, user_data_32=8),
]
PENDING = int(TransferFlags.PENDING)


def number(n: int) -> bytes:
    """The n-th transfer's id."""
    return ids.ordered(1_800_000_000_000, n.to_bytes(9, "big"))


def gift(n: int, amount: int = 1, *, code: int = 5) -> Chain:
    """The wallet pays the creator."""
    return (Transfer(number(n), WALLET, EARNINGS, amount, 1, code),)


def recharge(n: int, amount: int, *, code: int = 4) -> Chain:
    return (Transfer(number(n), BANK, WALLET, amount, 1, code),)


async def outcomes(ledger: Ledger, chains: Sequence[Chain]) -> list[Outcome]:
    return [result.outcome for result in await ledger.create_transfers(chains)]


async def totals(ledger: Ledger) -> list[int]:
    """What bank, wallet and earnings hold."""
    accounts = await ledger.lookup_accounts([BANK, WALLET, EARNINGS])
    return [account.credits_posted - account.debits_posted for account in accounts if account]


async def problems(ledger: Ledger) -> list[Problem]:
    return [problem async for problem in ledger.verify() if isinstance(problem, Problem)]


def changes_of_file(ledger: SqliteLedger) -> list[Change]:
    """What the file says, whatever memory holds of it."""
    with closing(sqlite_file.connect_reader(ledger._path)) as db:
        return sqlite_file.changes(db, 0, 100_000)


def killed(path: Path, name: str = "killed.sqlite") -> Path:
    """What a process that died at this moment leaves behind, in a place of its own."""
    copy = path.with_name(name)
    for ending in ("", "-wal"):
        copy.with_name(name + ending).unlink(missing_ok=True)
        shutil.copy(path.with_name(path.name + ending), path.with_name(name + ending))
    return copy


async def play_eventful(ledger: Ledger, clock: ManualClock) -> None:
    await check(
        ledger,
        clock,
        """
        account  ana  may_overdraw
        account  bo
        transfer T1  ana  bo  5  &
        transfer T2  ana  bo  6              -> created
        pending  P1  bo  ana  1  timeout=5   -> created
        pending  P2  bo  ana  2  timeout=3   -> created
        pending  P3  bo  ana  3  timeout=4   -> created
        transfer T3  bo  ana  9              -> exceeds_credits
        transfer T1  ana  bo  5              -> exists
        void     V3  P3                      -> created
        account  cy
        pass     9
        transfer T4  ana  cy  1              -> created
        account  cy -> exists
        post     V1  P1  all                 -> pending_transfer_expired
        """,
    )
