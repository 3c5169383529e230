"""Replicas die under load and come back: nothing is lost, nothing is doubled, and the check is clean."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from largesse import ids
from largesse.clock import SystemClock
from largesse.errors import Rejected
from largesse.ledger import LedgerUnavailable
from largesse.ledger.model import Account, AccountFlags, Outcome, Transfer
from largesse.ledger.tigerbeetle import TigerBeetleLedger
from tests.ledger import tigerbeetle_replicas as servers
from tests.ledger.gifts import problems

if not servers.PROGRAM:
    pytest.skip(servers.NO_PROGRAM, allow_module_level=True)

START_SECONDS_MAX = 120
BANK, WALLET, EARNINGS = (ids.derive(name) for name in ("bank", "wallet", "earnings"))
COINS = 1_000_000
SENDERS = 32
SEATED = 4
"""What has changed when everybody is seated: three accounts and a recharge."""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[servers.Replicas]:
    replicas = servers.form(tmp_path, 1)
    yield replicas
    replicas.stop()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[servers.Replicas]:
    replicas = servers.form(tmp_path, 3)
    yield replicas
    replicas.stop()


async def open_when_up(replicas: servers.Replicas) -> TigerBeetleLedger:
    """The replicas take a while to begin."""
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until:
        with contextlib.suppress(Rejected):
            return await TigerBeetleLedger.open(replicas.url, SystemClock())
    raise AssertionError(replicas.log(0))


async def seat(ledger: TigerBeetleLedger) -> None:
    await ledger.create_accounts(
        [
            Account(id=BANK, ledger=1, code=1),
            Account(
                id=WALLET,
                ledger=1,
                code=2,
                flags=int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS),
            ),
            Account(id=EARNINGS, ledger=1, code=3),
        ]
    )
    await ledger.create_transfers([(Transfer(ids.derive("recharge"), BANK, WALLET, COINS, 1, 4),)])


class Crowd:
    """People who send gifts, each until it has its answer, and ask again where there was none."""

    def __init__(self, ledger: TigerBeetleLedger) -> None:
        self._ledger = ledger
        self.answered: set[bytes] = set()
        self.unanswered = asyncio.Event()
        self.is_over = False
        self._enough = asyncio.Event()
        self._wanted = 0

    async def send(self, sender: int) -> None:
        n = 0
        while not self.is_over:
            n += 1
            gift_id = ids.derive("gift", sender, n)
            chain = (Transfer(gift_id, WALLET, EARNINGS, 1, 1, 5),)
            while True:
                try:
                    [result] = await self._ledger.create_transfers([chain], [WALLET])
                except LedgerUnavailable:
                    self.unanswered.set()
                    await asyncio.sleep(0.05)
                    continue
                break
            assert result.outcome in (Outcome.CREATED, Outcome.EXISTS)
            self.answered.add(gift_id)
            if len(self.answered) >= self._wanted:
                self._enough.set()

    async def until(self, more: int) -> None:
        """Until so many more gifts have had their answer."""
        self._wanted = len(self.answered) + more
        self._enough.clear()
        await asyncio.wait_for(self._enough.wait(), START_SECONDS_MAX)


async def prove(ledger: TigerBeetleLedger, crowd: Crowd) -> None:
    """Every gift that was answered is there, once, and no other is."""
    wallet, earnings = await ledger.lookup_accounts([WALLET, EARNINGS])
    assert wallet is not None
    assert earnings is not None
    assert wallet.debits_posted == earnings.credits_posted == len(crowd.answered)
    found = await ledger.lookup_transfers(crowd.answered)
    assert None not in found
    after, told = 0, set()
    while page := await ledger.changes(after):
        after = page[-1].timestamp
        told |= {posted.transfer.id for change in page for posted in change.chain}
    assert told == crowd.answered | {ids.derive("recharge")}
    assert await problems(ledger) == []


async def test_a_lone_replica_is_killed_under_load_and_started_again(
    one: servers.Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is away every call ends in bounded time; then the same gifts get their answers."""
    monkeypatch.setattr("largesse.ledger.tigerbeetle_client.ANSWER_SECONDS_MAX", 1.0)
    ledger = await open_when_up(one)
    await seat(ledger)
    crowd = Crowd(ledger)
    sending = [asyncio.create_task(crowd.send(n)) for n in range(SENDERS)]
    await crowd.until(300)
    one.kill(0)
    asked = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        await ledger.lookup_accounts([WALLET])
    assert time.monotonic() - asked < 5
    await crowd.unanswered.wait()
    one.start(0)
    await crowd.until(300)
    crowd.is_over = True
    await asyncio.gather(*sending)
    await prove(ledger, crowd)
    one.kill(0)
    with pytest.raises(LedgerUnavailable):
        await ledger.create_transfers([(Transfer(ids.derive("late"), WALLET, EARNINGS, 1, 1, 5),)])
    begun = time.monotonic()
    await ledger.close()
    assert time.monotonic() - begun < 5


async def test_many_followers_at_once_hear_everything_also_after_the_replica_was_away(
    one: servers.Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's library would end the process with two questions for changes that wait."""
    monkeypatch.setattr("largesse.ledger.tigerbeetle_client.ANSWER_SECONDS_MAX", 1.0)
    ledger = await open_when_up(one)
    await seat(ledger)

    async def follow() -> int:
        return len(await ledger.changes(0))

    assert await asyncio.gather(*(follow() for _ in range(20))) == [SEATED] * 20
    one.kill(0)
    for _ in range(3):
        told = await asyncio.gather(*(follow() for _ in range(20)), return_exceptions=True)
        assert {type(each) for each in told} == {LedgerUnavailable}
    one.start(0)
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until:
        with contextlib.suppress(LedgerUnavailable):
            assert await follow() == SEATED
            break
        await asyncio.sleep(0.05)
    assert await asyncio.gather(*(follow() for _ in range(20))) == [SEATED] * 20
    one.kill(0)
    waiting = [asyncio.create_task(follow()) for _ in range(20)]
    await asyncio.sleep(0)
    await ledger.close()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in told} == {LedgerUnavailable}


async def test_the_primary_of_three_is_killed_under_load(three: servers.Replicas) -> None:
    """The other two elect another one, and nobody who sends a gift hears of it."""
    ledger = await open_when_up(three)
    await seat(ledger)
    crowd = Crowd(ledger)
    sending = [asyncio.create_task(crowd.send(n)) for n in range(SENDERS)]
    await crowd.until(300)
    killed = three.primary()
    three.kill(killed)
    await crowd.until(300)
    assert three.primary() != killed
    three.start(killed)
    await crowd.until(300)
    crowd.is_over = True
    await asyncio.gather(*sending)
    await prove(ledger, crowd)
    await ledger.close()
