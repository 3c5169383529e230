"""
A ledger moves to a real TigerBeetle cluster.

A cluster cannot be emptied and takes one ledger, so each test starts a replica of its own, where
`LARGESSE_TEST_TIGERBEETLE_SERVER` holds the path of the server's program.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from largesse import moving
from largesse.clock import DAY, SECOND, ManualClock, SystemClock
from largesse.errors import Rejected
from largesse.ledger.copying import Copied
from largesse.ledger.model import (
    Account,
    AccountFlags,
    Change,
    Outcome,
    Posted,
    Transfer,
    TransferFlags,
)
from largesse.ledger.sqlite import SqliteLedger
from largesse.ledger.tigerbeetle import TigerBeetleLedger
from tests.ledger.gifts import ACCOUNTS, EARNINGS, WALLET, gift, number, outcomes, recharge
from tests.ledger.test_copying import AMOUNT, flipped, run_to_line, url_of
from tests.ledger.tigerbeetle_replicas import NO_PROGRAM, PROGRAM, form
from tests.ledger_script import id_of

if not PROGRAM:
    pytest.skip(NO_PROGRAM, allow_module_level=True)

PENDING, VOID, CLOSING = (
    int(TransferFlags.PENDING),
    int(TransferFlags.VOID_PENDING_TRANSFER),
    int(TransferFlags.CLOSING_DEBIT),
)
POST = int(TransferFlags.POST_PENDING_TRANSFER)
BALANCING = int(TransferFlags.BALANCING_DEBIT)


@pytest.fixture
def past() -> ManualClock:
    """A cluster imports no event of a time that is still to come."""
    return ManualClock(time.time_ns() - DAY)


async def live(path: Path, clock: ManualClock) -> None:
    """Gifts in pairs, one of each kind of transfer that a cluster takes, and two refusals."""
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    shut = Account(id=id_of("shut"), ledger=1, code=9, flags=int(AccountFlags.CLOSED))
    await ledger.create_accounts([shut])
    assert await outcomes(ledger, [gift(0)]) == [Outcome.EXCEEDS_CREDITS]
    await ledger.create_transfers([recharge(1, 1_000)])
    for n in range(2, 40):
        clock.advance(1_000)
        await ledger.create_transfers([gift(n) + gift(1_000 + n)])
    held = Transfer(number(50), WALLET, EARNINGS, 10, 1, 5, PENDING)
    post = Transfer(number(51), WALLET, EARNINGS, 4, 1, 5, POST, number(50))
    other = Transfer(number(52), WALLET, EARNINGS, 10, 1, 5, PENDING | CLOSING)
    void = Transfer(number(53), WALLET, EARNINGS, 0, 1, 5, VOID, number(52))
    still = Transfer(number(54), WALLET, EARNINGS, 7, 1, 5, PENDING)
    rest = Transfer(number(55), WALLET, EARNINGS, 10_000, 1, 5, BALANCING)
    for transfer in (held, post, other, void, still, rest):
        assert await outcomes(ledger, [(transfer,)]) == [Outcome.CREATED]
    assert await outcomes(ledger, [gift(60)]) == [Outcome.EXCEEDS_CREDITS]
    await ledger.close()


def told(change: Change) -> object:
    """A change without the ids that lead back through a history, which a cluster keeps elsewhere."""

    def body(posted: Posted) -> object:
        return (posted.transfer, posted.timestamp, posted.debit_account_debits_posted)

    return (change.timestamp, change.kind, [body(p) for p in change.chain], change.account)


async def changes_of(ledger: SqliteLedger | TigerBeetleLedger) -> list[object]:
    return [told(change) for change in await ledger.changes(0, 1_000)]


@pytest.fixture
def cluster_url(tmp_path: Path) -> Iterator[str]:
    """A new cluster of one replica."""
    replicas = form(tmp_path, 1)
    yield replicas.url
    replicas.stop()


async def test_a_ledger_moves_to_a_cluster(
    cluster_url: str, tmp_path: Path, past: ManualClock
) -> None:
    """Killed twice on the way, then the same in everything; a no stays a no, and life goes on."""
    source = tmp_path / "ledger.sqlite"
    await live(source, past)
    for lines in (1, 4):
        said = await asyncio.to_thread(run_to_line, url_of(source), cluster_url, lines)
        assert "done" not in said
        with pytest.raises(Rejected, match="ledger_copy_unfinished"):
            await TigerBeetleLedger.open(cluster_url, SystemClock())
    steps = [step async for step in moving.copy_ledger(url_of(source), cluster_url)]
    assert isinstance(steps[-1], Copied)
    assert steps[-1].counts.refused == 2

    here = await SqliteLedger.open(source, past)
    there = await TigerBeetleLedger.open(cluster_url, SystemClock())
    assert await changes_of(there) == await changes_of(here)
    refused = [number(0), number(60), number(2)]
    assert await there.lookup_refused(refused) == await here.lookup_refused(refused)
    asked = [gift(0), gift(60), recharge(1, 1_000), recharge(70, 5), gift(71)]
    assert await outcomes(there, asked) == [
        Outcome.ID_ALREADY_FAILED,
        Outcome.ID_ALREADY_FAILED,
        Outcome.EXISTS,
        Outcome.CREATED,
        Outcome.CREATED,
    ]
    await here.close()
    await there.close()

    with pytest.raises(Rejected) as rejected:
        [step async for step in moving.copy_ledger(url_of(source), cluster_url)]
    assert rejected.value.code == "ledger_copy_differs"
    flipped("transfers", "record", number(7), AMOUNT)(source)
    with pytest.raises(Rejected) as rejected:
        [step async for step in moving.copy_ledger(url_of(source), cluster_url)]
    assert number(7).hex() in str(rejected.value.facts["difference"])


async def test_a_ledger_with_a_timeout_is_not_imported_at_all(
    cluster_url: str, tmp_path: Path, past: ManualClock
) -> None:
    """Not even one that ran out long ago; and nothing of it is in the cluster afterwards."""
    ledger = await SqliteLedger.open(tmp_path / "ledger.sqlite", past)
    await ledger.create_accounts(ACCOUNTS)
    await ledger.create_transfers([recharge(1, 10)])
    held = Transfer(number(2), WALLET, EARNINGS, 5, 1, 5, PENDING, timeout=60)
    assert await outcomes(ledger, [(held,)]) == [Outcome.CREATED]
    past.advance(61 * SECOND)
    await ledger.create_transfers([gift(3)])
    await ledger.close()
    with pytest.raises(Rejected) as rejected:
        [step async for step in moving.copy_ledger(url_of(tmp_path / "ledger.sqlite"), cluster_url)]
    assert rejected.value.code == "ledger_copy_has_timeouts"
    cluster = await TigerBeetleLedger.open(cluster_url, SystemClock())
    assert await cluster.changes(0) == []
    await cluster.close()
