"""What the embedded engine promises: a bounded queue, an orderly end, and a file that keeps all."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from largesse.clock import SECOND, ManualClock
from largesse.errors import Rejected
from largesse.ledger import (
    CHAINS_WAITING_MAX,
    AccountFilter,
    Ledger,
    LedgerUnavailable,
    recent,
    sqlite_file,
)
from largesse.ledger.model import Change, Outcome, Result
from largesse.ledger.sqlite import SqliteLedger
from tests.ledger.gifts import (
    ACCOUNTS,
    BANK,
    EARNINGS,
    WALLET,
    changes_of_file,
    gift,
    number,
    outcomes,
    play_eventful,
    problems,
    recharge,
    totals,
)
from tests.ledger_script import check, id_of


async def test_a_full_queue_refuses_at_once_and_loses_nothing(
    tmp_path: Path, clock: ManualClock
) -> None:
    """What was refused as busy was not begun, so the same ids may be sent again."""
    ledger = await SqliteLedger.open(tmp_path / "ledger.sqlite", clock)
    await ledger.create_accounts(ACCOUNTS)
    calls = [[recharge(1_000 * m + n, 1) for n in range(1_000)] for m in range(20)]
    answers = await asyncio.gather(
        *(ledger.create_transfers(chains) for chains in calls), return_exceptions=True
    )
    busy = [n for n, answer in enumerate(answers) if isinstance(answer, Rejected)]
    assert busy
    assert 1_000 * (len(calls) - len(busy)) <= CHAINS_WAITING_MAX
    for n, answer in enumerate(answers):
        if n in busy:
            assert isinstance(answer, Rejected)
            assert answer.code == "ledger_busy"
            assert await ledger.lookup_transfers([calls[n][0][0].id]) == [None]
        else:
            assert isinstance(answer, list)
            assert {result.outcome for result in answer} == {Outcome.CREATED}
    for n in busy:
        assert set(await outcomes(ledger, calls[n])) == {Outcome.CREATED}
    assert (await totals(ledger))[1] == 20_000
    assert await problems(ledger) == []
    await ledger.close()


async def test_closing_answers_or_fails_everyone_who_waits(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Nobody hangs; what was answered as created is there, and the rest can be asked again."""
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    calls = [[recharge(10 * n + m, 1) for m in range(10)] for n in range(300)]
    async with asyncio.timeout(30):
        tasks = [asyncio.create_task(ledger.create_transfers(chains)) for chains in calls]
        await asyncio.sleep(0)
        await ledger.close()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    for late in (ledger.create_transfers([gift(1)]), ledger.lookup_accounts([WALLET])):
        with pytest.raises(LedgerUnavailable):
            await late

    ledger = await SqliteLedger.open(path, clock)
    for chains, answer in zip(calls, answers, strict=True):
        found = await ledger.lookup_transfers([chain[0].id for chain in chains])
        if isinstance(answer, list):
            assert {result.outcome for result in answer} == {Outcome.CREATED}
            assert None not in found
        else:
            assert isinstance(answer, LedgerUnavailable)
    again = await outcomes(ledger, [chain for chains in calls for chain in chains])
    assert set(again) <= {Outcome.CREATED, Outcome.EXISTS}
    assert (await totals(ledger))[1] == 3_000
    await ledger.close()


async def _everything(ledger: Ledger, transfer_ids: Sequence[bytes]) -> list[object]:
    return [
        await ledger.lookup_accounts([BANK, WALLET, EARNINGS, id_of("ana"), id_of("bo")]),
        await ledger.lookup_transfers(transfer_ids),
        await ledger.lookup_refused(transfer_ids),
        await ledger.changes(0),
        await ledger.account_transfers(WALLET, AccountFilter()),
        await ledger.account_transfers(id_of("bo"), AccountFilter()),
    ]


async def test_opening_again_keeps_everything(tmp_path: Path, clock: ManualClock) -> None:
    """Also refusals, what is still pending and when it ends, and how far time had come."""
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    await play_eventful(ledger, clock)
    await ledger.create_transfers([recharge(1, 10), gift(2, 3), gift(3, 8)])
    await check(ledger, clock, "pending H bank wallet 4 timeout=60 -> created")
    names = ["T1", "T2", "T3", "T4", "P1", "P2", "P3", "V1", "V3", "H"]
    wanted = [number(1), number(2), number(3), *map(id_of, names)]
    said = await _everything(ledger, wanted)
    await ledger.close()

    for _ in range(2):
        ledger = await SqliteLedger.open(path, clock)
        assert await _everything(ledger, wanted) == said
        assert await problems(ledger) == []
        await ledger.close()

    ledger = await SqliteLedger.open(path, clock)
    again: list[Result] = await ledger.create_transfers([recharge(1, 10), gift(2, 3), gift(3, 8)])
    assert [result.outcome for result in again] == [
        Outcome.EXISTS,
        Outcome.EXISTS,
        Outcome.ID_ALREADY_FAILED,
    ]
    assert await _everything(ledger, wanted) == said
    await check(
        ledger,
        clock,
        """
        totals   wallet  0 3 4 10
        transfer T3  bo  ana  1  -> id_already_failed
        post     X1  P1  all     -> pending_transfer_expired
        void     X2  P3          -> pending_transfer_already_voided
        wait     61
        totals   wallet  0 3 0 10
        post     X3  H   all     -> pending_transfer_expired
        """,
    )
    await ledger.close()


async def test_what_ran_out_while_nobody_was_there_runs_out_at_the_next_start(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    await check(
        ledger,
        clock,
        """
        transfer T1  bank    wallet    5                           -> created
        pending  P1  wallet  earnings  5  closing_debit timeout=9  -> created
        """,
    )
    await ledger.close()
    clock.advance(10 * SECOND)
    ledger = await SqliteLedger.open(path, clock)
    await check(
        ledger,
        clock,
        """
        transfer T2  wallet  earnings  5  -> created
        open     wallet
        post     Q1  P1  all              -> pending_transfer_expired
        """,
    )
    assert await problems(ledger) == []
    await ledger.close()


@pytest.mark.parametrize("doomed", [0, 600, 1_400])
async def test_what_was_decided_behind_a_failed_batch_fails_with_it(
    tmp_path: Path, clock: ManualClock, doomed: int
) -> None:
    """
    The disk refuses one write. The gift behind it was decided in the belief that the recharges
    were there, so nobody may hear that it was created.
    """
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON transfers"
        f" WHEN NEW.id = x'{number(doomed).hex()}'"
        " BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    recharges = [recharge(n, 1) for n in range(1_500)]
    gifts = [gift(n, 1_500 - doomed) for n in range(2_000, 2_003)]
    answers = await asyncio.gather(
        ledger.create_transfers(recharges),
        *(ledger.create_transfers([chain]) for chain in gifts),
        return_exceptions=True,
    )
    assert isinstance(answers[0], LedgerUnavailable)
    for chain, answer in zip(gifts, answers[1:], strict=True):
        [posted] = await ledger.lookup_transfers([chain[0].id])
        if isinstance(answer, list):
            assert (posted is not None) == (answer[0].outcome is Outcome.CREATED)
        else:
            assert isinstance(answer, LedgerUnavailable)
    assert await problems(ledger) == []

    db.execute("DROP TRIGGER no_room")
    db.close()
    again = await outcomes(ledger, recharges)
    assert set(again) <= {Outcome.CREATED, Outcome.EXISTS}
    assert again[doomed] is Outcome.CREATED
    bank, wallet, earnings = await totals(ledger)
    assert (bank, wallet + earnings) == (-1_500, 1_500)
    assert await problems(ledger) == []
    await ledger.close()


async def test_refusals_behind_a_failed_batch_are_forgotten_with_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A "no" that rests on money that was never moved uses up no id."""
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    await ledger.create_transfers([recharge(0, 10)])
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON transfers"
        f" WHEN NEW.id = x'{number(1).hex()}' BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    spent, poor = await asyncio.gather(
        ledger.create_transfers([gift(1, 10), *(recharge(n, 0) for n in range(100, 1_400))]),
        ledger.create_transfers([gift(2, 10)]),
        return_exceptions=True,
    )
    assert isinstance(spent, LedgerUnavailable)
    db.execute("DROP TRIGGER no_room")
    db.close()
    [refused] = await ledger.lookup_refused([number(2)])
    if isinstance(poor, LedgerUnavailable):
        assert refused is None
        assert await outcomes(ledger, [gift(2, 10)]) == [Outcome.CREATED]
    else:
        # It was decided after the engine had begun again from the file.
        assert isinstance(poor, list)
        assert poor[0].outcome is Outcome.CREATED
    assert (await totals(ledger))[1:] == [0, 10]
    assert await problems(ledger) == []
    await ledger.close()


async def test_who_keeps_up_with_the_changes_is_answered_without_a_look_at_the_file(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory and file say the same at every place, also where memory begins in between."""
    monkeypatch.setattr(recent, "CHANGES_KEPT_MAX", 5)
    ledger = await SqliteLedger.open(tmp_path / "ledger.sqlite", clock)
    await ledger.create_accounts(ACCOUNTS)
    await play_eventful(ledger, clock)
    everything = changes_of_file(ledger)
    assert len(everything) > 10
    for n, change in enumerate(everything):
        for limit in (1, 3, 1_000):
            expected = everything[n + 1 :][:limit]
            assert await ledger.changes(change.timestamp, limit) == expected

    reads = 0
    read = sqlite_file.changes

    def counted(*arguments: Any) -> list[Change]:
        nonlocal reads
        reads += 1
        return read(*arguments)

    monkeypatch.setattr(sqlite_file, "changes", counted)
    assert await ledger.changes(everything[-6].timestamp) == everything[-5:]
    assert reads == 0
    assert await ledger.changes(everything[-7].timestamp) == everything[-6:]
    assert reads == 1
    await ledger.close()


async def test_changes_are_seen_when_they_are_on_the_disk_and_not_before(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Two batches are on their way, one fails: whatever anybody saw of them is in the file."""
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON transfers"
        f" WHEN NEW.id = x'{number(1_000).hex()}' BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    calls = [
        asyncio.create_task(ledger.create_transfers([recharge(100 * n + m, 1) for m in range(100)]))
        for n in range(20)
    ]
    seen: list[Change] = []
    while not all(call.done() for call in calls):
        if changes := await ledger.changes(seen[-1].timestamp if seen else 0):
            seen += changes
            in_file = changes_of_file(ledger)
            assert in_file[: len(seen)] == seen
        await asyncio.sleep(0)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(answer, LedgerUnavailable) for answer in answers)
    db.execute("DROP TRIGGER no_room")
    db.close()
    await ledger.create_transfers([recharge(100 * n, 1) for n in range(20)])
    while changes := await ledger.changes(seen[-1].timestamp):
        seen += changes
    assert seen == changes_of_file(ledger)
    await ledger.close()
