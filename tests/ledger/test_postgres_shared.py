"""Several processes on one PostgreSQL: the same hot accounts, one order, nothing lost or doubled."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest

from largesse.clock import SECOND, ManualClock, SystemClock
from largesse.ledger import AccountFilter, Ledger, postgres
from largesse.ledger.model import Change, Outcome, Transfer
from largesse.ledger.postgres import PostgresLedger
from largesse.ledger.sqlite import SqliteLedger
from tests.ledger import sqlite_worker
from tests.ledger.gifts import (
    ACCOUNTS,
    BANK,
    EARNINGS,
    PENDING,
    WALLET,
    gift,
    number,
    outcomes,
    play_eventful,
    problems,
    recharge,
    totals,
)
from tests.ledger_script import let_expire

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def three(ledger_url: str) -> AsyncIterator[list[PostgresLedger]]:
    """Three engines on one database, each with connections and a memory of its own."""
    ledgers = [await PostgresLedger.open(ledger_url, SystemClock()) for _ in range(3)]
    await ledgers[0].create_accounts(ACCOUNTS)
    yield ledgers
    for ledger in ledgers:
        await ledger.close()


async def test_three_at_once_spend_one_wallet_to_the_last_coin_and_no_further(
    three: list[PostgresLedger],
) -> None:
    """600 gifts are sent through three processes from a wallet that affords 400."""
    await three[0].create_transfers([recharge(0, 400)])
    said = await asyncio.gather(
        *(three[n % 3].create_transfers([gift(n)], [WALLET]) for n in range(1, 601))
    )
    created = [result for [result] in said if result.outcome is Outcome.CREATED]
    assert len(created) == 400
    assert {result.outcome for [result] in said} == {Outcome.CREATED, Outcome.EXCEEDS_CREDITS}
    left = sorted(balance.credit for result in created for balance in result.balances if balance)
    assert left == list(range(400))
    for ledger in three:
        assert await totals(ledger) == [-400, 0, 400]
    assert await problems(three[0]) == []


async def test_one_key_through_three_processes_is_one_gift(three: list[PostgresLedger]) -> None:
    await three[0].create_transfers([recharge(0, 100)])
    for n in range(1, 21):
        said = await asyncio.gather(*(each.create_transfers([gift(n, 2)]) for each in three))
        answers = sorted(result.outcome for [result] in said)
        assert answers == [Outcome.CREATED, Outcome.EXISTS, Outcome.EXISTS]
    assert await totals(three[1]) == [-100, 60, 40]


async def test_a_refusal_of_one_process_is_remembered_by_all(three: list[PostgresLedger]) -> None:
    first, second, third = three
    assert await outcomes(first, [gift(1)]) == [Outcome.EXCEEDS_CREDITS]
    await second.create_transfers([recharge(2, 100)])
    assert await outcomes(third, [gift(1)]) == [Outcome.ID_ALREADY_FAILED]
    assert await outcomes(second, [gift(1)]) == [Outcome.ID_ALREADY_FAILED]
    assert await totals(first) == [-100, 100, 0]


async def test_a_batch_of_which_every_chain_fails_leaves_nothing_but_its_refusals(
    three: list[PostgresLedger],
) -> None:
    first, second, _ = three
    chains = [gift(n, 5) for n in range(200)]
    assert set(await outcomes(first, chains)) == {Outcome.EXCEEDS_CREDITS}
    assert set(await outcomes(second, chains)) == {Outcome.ID_ALREADY_FAILED}
    assert await second.lookup_transfers([number(n) for n in range(200)]) == [None] * 200
    refused = await second.lookup_refused([number(n) for n in range(200)])
    assert [row.outcome for row in refused if row] == [Outcome.EXCEEDS_CREDITS] * 200
    assert await totals(first) == [0, 0, 0]
    assert await problems(first) == []


async def test_the_balance_with_an_old_gift_is_that_of_now_whoever_moved_it(
    three: list[PostgresLedger],
) -> None:
    first, second, _ = three
    await first.create_transfers([recharge(0, 100)])
    await first.create_transfers([gift(1)])
    await second.create_transfers([gift(2, 50)])
    [again] = await first.create_transfers([gift(1)], [WALLET])
    assert again.outcome is Outcome.EXISTS
    assert again.balances[0] is not None
    assert again.balances[0].credit == 49


async def test_what_was_decided_before_somebody_else_was_quicker_is_decided_anew(
    three: list[PostgresLedger],
) -> None:
    """The quicker one touched another wallet, so only the slower one's own belief is wrong."""
    first, second, _ = three
    await first.create_transfers([recharge(1, 5)])
    await first.create_transfers([recharge(2, 5)])
    await second.create_transfers([(Transfer(number(3), BANK, EARNINGS, 1, 1, 4),)])
    [result] = await first.create_transfers([recharge(4, 5)], [WALLET])
    assert result.balances[0] is not None
    assert result.balances[0].credit == 15
    assert await totals(second) == [-16, 15, 1]
    assert await problems(second) == []


async def test_whoever_follows_the_changes_misses_nothing_and_sees_nothing_twice(
    three: list[PostgresLedger],
) -> None:
    """One reads through the third process while the other two write."""
    await three[0].create_transfers([recharge(0, 10_000)])
    done = asyncio.Event()

    async def write(ledger: Ledger, first: int) -> None:
        for n in range(first, first + 60, 3):
            await ledger.create_transfers([gift(n), gift(n + 1), gift(n + 2)])

    async def follow(ledger: Ledger) -> list[Change]:
        seen: list[Change] = []
        last_round = False
        while True:
            page = await ledger.changes(seen[-1].timestamp if seen else 0, 7)
            seen += page
            if not page and last_round:
                return seen
            last_round = done.is_set()

    following = [asyncio.create_task(follow(each)) for each in three]
    await asyncio.gather(
        write(three[0], 100), write(three[1], 200), write(three[0], 300), write(three[1], 400)
    )
    done.set()
    first, second, third = await asyncio.gather(*following)
    assert first == second == third
    instants = [change.timestamp for change in first]
    assert instants == sorted(set(instants))
    gifts = {posted.transfer.id for change in first for posted in change.chain}
    assert len(gifts) == len([change for change in first if change.chain]) == 241


async def test_the_next_batch_is_on_its_way_before_the_many_of_the_last_one_are_answered(
    three: list[PostgresLedger],
) -> None:
    """A thousand gift at once: two batches. Whoever has an answer has it while the next is written."""
    ledger = three[0]
    await ledger.create_transfers([recharge(0, 1_000)])
    await ledger.create_transfers([recharge(1, 24)])
    next_is_written: list[bool] = []

    async def give(n: int) -> None:
        [result] = await ledger.create_transfers([gift(n)])
        assert result.outcome is Outcome.CREATED
        next_is_written.append(ledger._writing is not None and not ledger._writing.done())

    await asyncio.gather(*(give(n) for n in range(100, 1_124)))
    assert next_is_written[:64] == [True] * 64
    assert len(next_is_written) == 1_024
    assert await totals(three[1]) == [-1_024, 0, 1_024]
    assert await problems(three[1]) == []


async def test_two_that_are_both_full_give_in_turns_and_nobody_waits_for_long(
    three: list[PostgresLedger],
) -> None:
    """Each has 1,000 gifts to make; neither is done before the other one has begun."""
    await three[0].create_transfers([recharge(0, 2_000)])

    async def give(ledger: PostgresLedger, first: int) -> list[int]:
        said = await asyncio.gather(
            *(ledger.create_transfers([gift(n)]) for n in range(first, first + 1_000))
        )
        return [result.timestamp for [result] in said]

    ours, theirs = await asyncio.gather(give(three[0], 10_000), give(three[1], 20_000))
    assert min(ours) < max(theirs)
    assert min(theirs) < max(ours)
    assert await totals(three[2]) == [-2_000, 0, 2_000]
    assert await problems(three[2]) == []


async def test_timestamps_rise_between_processes_whose_clocks_disagree(ledger_url: str) -> None:
    """One host's clock is a day behind, another's goes back by an hour."""
    clocks = [ManualClock(n * SECOND) for n in (1_800_000_000, 1_799_913_600)]
    ledgers = [await PostgresLedger.open(ledger_url, clock) for clock in clocks]
    await ledgers[0].create_accounts(ACCOUNTS)
    instants = []
    for n in range(12):
        if n == 6:
            clocks[0]._now -= 3_600 * SECOND
        [result] = await ledgers[n % 2].create_transfers([recharge(n, 1)])
        instants.append(result.timestamp)
    assert instants == sorted(set(instants))
    assert await problems(ledgers[1]) == []
    for ledger in ledgers:
        await ledger.close()


async def test_what_a_process_reserved_runs_out_after_its_death(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one, which has nothing else to do, looks now and then and gives it back."""
    monkeypatch.setattr(postgres, "EXPIRY_LOOK_SECONDS", 0.05)
    clock = ManualClock()
    survivor = await PostgresLedger.open(ledger_url, clock)
    dying = await PostgresLedger.open(ledger_url, clock)
    await survivor.create_accounts(ACCOUNTS)
    await dying.create_transfers([recharge(1, 10)])
    hold = (Transfer(number(2), WALLET, EARNINGS, 7, 1, 5, PENDING, timeout=60),)
    await dying.create_transfers([hold])
    await dying.close()
    clock.advance(61 * SECOND)
    seen: list[Change] = []
    while not seen or seen[-1].kind != "expired":
        seen += await survivor.changes(seen[-1].timestamp if seen else 0)
    assert await outcomes(survivor, [gift(3, 10)]) == [Outcome.CREATED]
    assert await problems(survivor) == []
    await survivor.close()


async def test_the_same_requests_make_the_same_hashes_as_in_a_file(
    ledger_url: str, tmp_path: Path
) -> None:
    clock = ManualClock()
    shared = await PostgresLedger.open(ledger_url, clock)
    await play_eventful(shared, clock)
    await let_expire(shared)
    clock = ManualClock()
    file = tmp_path / "ledger.sqlite"
    embedded = await SqliteLedger.open(file, clock)
    await play_eventful(embedded, clock)
    await let_expire(embedded)
    assert await shared.changes(0) == await embedded.changes(0)
    ana = (await shared.changes(0))[0].account
    assert ana is not None
    history = AccountFilter(limit=100)
    assert await shared.account_transfers(ana.id, history) == await embedded.account_transfers(
        ana.id, history
    )
    await shared.close()
    await embedded.close()
    query = "SELECT sequence, events, hash FROM {}batches ORDER BY sequence"
    connection = await asyncpg.connect(ledger_url)
    rows = [tuple(row) for row in await connection.fetch(query.format("ledger."))]
    await connection.close()
    with closing(sqlite3.connect(file)) as db:
        assert rows == db.execute(query.format("")).fetchall()


# Processes of their own.


async def _start(url: str, first: int, count: int, together: int) -> asyncio.subprocess.Process:
    arguments = [url, *map(str, (first, count, together))]
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.ledger.postgres_worker",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=os.environ,
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"open\n"
    return worker


def _acknowledged(lines: Sequence[bytes]) -> list[int]:
    said = [line.split() for line in lines if line.endswith(b"\n")]
    assert {outcome for _, outcome in said} <= {b"created"}
    return [int(n) for n, _ in said]


async def test_a_process_that_is_killed_in_its_work_leaves_all_that_it_acknowledged(
    ledger_url: str,
) -> None:
    """Two write, one is killed; the other goes on at once, and the books balance."""
    ledger = await PostgresLedger.open(ledger_url, SystemClock())
    await ledger.create_accounts(sqlite_worker.ACCOUNTS)
    killed = await _start(ledger_url, 0, 0, 40)
    survivor = await _start(ledger_url, 1_000_000, 400, 40)
    assert killed.stdout is not None
    lines = [await killed.stdout.readline() for _ in range(300)]
    killed.kill()
    lines += (await killed.stdout.read()).splitlines(keepends=True)
    await killed.wait()
    rest, _ = await survivor.communicate()
    acknowledged = _acknowledged(lines) + _acknowledged(rest.splitlines(keepends=True))
    assert len(acknowledged) >= 700
    assert len(set(acknowledged)) == len(acknowledged)
    heads = [sqlite_worker.chain_of(n)[0].id for n in acknowledged]
    assert all(await ledger.lookup_transfers(heads))
    bank, wallet, earnings = await ledger.lookup_accounts(
        [sqlite_worker.BANK, sqlite_worker.WALLET, sqlite_worker.EARNINGS]
    )
    assert bank is not None
    assert wallet is not None
    assert earnings is not None
    assert bank.debits_posted == wallet.credits_posted
    assert wallet.debits_posted == earnings.credits_posted
    assert 3 * earnings.credits_posted == 2 * bank.debits_posted
    assert await problems(ledger) == []
    await ledger.close()
