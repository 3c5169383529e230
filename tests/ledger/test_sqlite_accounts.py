"""Account rows are written after the batches that changed them, and nobody can tell."""

import asyncio
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from largesse.clock import ManualClock, SystemClock
from largesse.ledger import (
    AccountFilter,
    LedgerUnavailable,
    Problem,
    QueryFilter,
    encoding,
    sqlite,
    sqlite_accounts,
    sqlite_file,
    sqlite_verify,
)
from largesse.ledger.model import Account, Outcome, Transfer
from largesse.ledger.sqlite import SqliteLedger
from tests.ledger import sqlite_worker
from tests.ledger.gifts import (
    ACCOUNTS,
    BANK,
    EARNINGS,
    WALLET,
    gift,
    killed,
    number,
    outcomes,
    play_eventful,
    problems,
    recharge,
    totals,
)
from tests.ledger.test_sqlite_file import environment, flipped, worker


async def open_with_accounts(path: Path, clock: ManualClock) -> SqliteLedger:
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    return ledger


async def one_by_one(ledger: SqliteLedger, first: int, count: int) -> None:
    """Each in a batch of its own: the bank gives the wallet two, which gives the creator one."""
    for n in range(first, first + 2 * count, 2):
        await ledger.create_transfers([recharge(n, 2)])
        await ledger.create_transfers([gift(n + 1)])


def row_of(path: Path, account_id: bytes) -> Account:
    with closing(sqlite_file.connect_reader(path)) as db:
        [account] = sqlite_file.find_accounts(db, [account_id])
    assert account is not None
    return account


def totals_of_rows(path: Path) -> list[int]:
    """What bank, wallet and earnings hold by their rows alone."""
    rows = [row_of(path, id) for id in (BANK, WALLET, EARNINGS)]
    return [row.credits_posted - row.debits_posted for row in rows]


def standing(path: Path) -> tuple[int, int]:
    """The newest batch, and the newest one with which every row was written."""
    with closing(sqlite_file.connect_reader(path)) as db:
        row = db.execute("SELECT sequence, whole_sequence FROM standing").fetchone()
    return int(row[0]), int(row[1])


async def problems_of_file(path: Path) -> list[Problem]:
    """What is found in a file that no engine has open."""
    steps = sqlite_verify.verify(path, asyncio.get_running_loop())
    return [step async for step in steps if isinstance(step, Problem)]


async def test_a_balance_is_the_newest_although_its_row_is_not(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = await open_with_accounts(path, clock)
    await one_by_one(ledger, 0, 3)
    assert await totals(ledger) == [-6, 3, 3]
    assert row_of(path, WALLET).credits_posted == 0
    history = await ledger.account_transfers(WALLET, AccountFilter())
    assert [posted.transfer.id for posted in history] == [number(n) for n in range(5, -1, -1)]
    [earnings] = await ledger.query_accounts(QueryFilter(code=3))
    assert (earnings.id, earnings.credits_posted) == (EARNINGS, 3)
    assert await problems(ledger) == []
    await ledger.close()
    assert row_of(path, WALLET).credits_posted == 6
    assert standing(path) == (7, 7)


async def test_a_balance_is_told_when_it_is_on_the_disk(tmp_path: Path, clock: ManualClock) -> None:
    """Two batches are on their way and fail: nobody hears of what they would have moved."""
    path = tmp_path / "ledger.sqlite"
    ledger = await open_with_accounts(path, clock)
    await ledger.create_transfers([recharge(0, 5)])
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON transfers BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    calls = [
        asyncio.create_task(ledger.create_transfers([recharge(n, 1) for n in range(m, m + 1_000)]))
        for m in (1_000, 2_000, 3_000)
    ]
    asked = []
    while not all(call.done() for call in calls):
        asked.append(asyncio.create_task(totals(ledger)))
        await asyncio.sleep(0)
    assert all(isinstance(call.exception(), LedgerUnavailable) for call in calls)
    assert {tuple(await each) for each in asked} == {(-5, 5, 0)}
    db.execute("DROP TRIGGER no_room")
    db.close()
    assert await totals(ledger) == [-5, 5, 0]
    await ledger.create_transfers([recharge(1, 1)])
    assert await totals(ledger) == [-6, 6, 0]
    await ledger.close()


async def test_what_is_behind_after_a_kill_is_there_at_the_next_start(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Also what is reserved, what ran out and who is closed, and after more batches than slices."""
    path = tmp_path / "ledger.sqlite"
    ledger = await open_with_accounts(path, clock)
    await play_eventful(ledger, clock)
    everyone = [account.id for change in await ledger.changes(0) if (account := change.account)]
    for n in range(3):
        if n:
            await one_by_one(ledger, 1_000 * n, sqlite_accounts.SLICES)
        dead = killed(path)
        sequence, whole = standing(dead)
        assert whole < sequence
        assert await problems_of_file(dead) == []
        again = await SqliteLedger.open(dead, clock)
        assert await again.lookup_accounts(everyone) == await ledger.lookup_accounts(everyone)
        assert again._accounts.keys() == {id for ids in ledger._behind for id in ids}
        assert await outcomes(again, [gift(999)]) == await outcomes(ledger, [gift(999)])
        assert await problems(again) == []
        await again.close()
        assert await problems_of_file(dead) == []
    await ledger.close()


async def test_every_row_is_written_within_as_many_batches_as_there_are_slices(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = await open_with_accounts(path, clock)
    seen = set()
    for n in range(2 * sqlite_accounts.SLICES):
        await ledger.create_transfers([recharge(n, 1)])
        seen.add(n + 1 - row_of(path, WALLET).credits_posted)
    assert seen == set(range(sqlite_accounts.SLICES))
    await ledger.close()


async def test_what_a_batch_did_just_after_the_turn_of_its_account_is_not_forgotten(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Killed just before its next turn: the batch is the first that a start reads again."""
    path = tmp_path / "ledger.sqlite"
    ledger = await open_with_accounts(path, clock)
    while ledger._sequence % sqlite_accounts.SLICES != sqlite_accounts.slice_of(WALLET):
        await ledger.create_transfers([recharge(ledger._sequence, 1)])
    await ledger.create_transfers([recharge(1_000, 100)])
    for n in range(2_000, 1_998 + sqlite_accounts.SLICES):
        await ledger.create_transfers([(Transfer(number(n), BANK, EARNINGS, 1, 1, 1),)])
    dead = killed(path)
    again = await SqliteLedger.open(dead, clock)
    assert WALLET in again._accounts
    assert await totals(again) == await totals(ledger)
    assert await problems(again) == []
    await again.close()
    await ledger.create_transfers([gift(5_000, 1)])
    assert WALLET not in {id for slice in ledger._behind for id in slice}, "it was its turn"
    await ledger.close()


async def test_an_account_that_is_made_and_moved_by_one_batch_has_its_whole_row(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await asyncio.gather(
        ledger.create_accounts(ACCOUNTS), ledger.create_transfers([recharge(0, 5), gift(1, 2)])
    )
    assert ledger._sequence == 1
    dead = killed(path)
    await ledger.close()
    assert await problems_of_file(dead) == []
    assert totals_of_rows(dead) == [-5, 3, 2]
    again = await SqliteLedger.open(dead, clock)
    assert await totals(again) == [-5, 3, 2]
    await again.close()


async def test_a_process_killed_under_load_leaves_rows_that_are_behind(tmp_path: Path) -> None:
    """And a file that is sound as it lies there, and totals that nobody lost."""
    path = tmp_path / "ledger.sqlite"
    for life in range(3):
        process = await asyncio.create_subprocess_exec(
            *worker(path, 1_000_000 * (life + 1), 0, 8), env=environment(), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        answers = 0
        while answers < 100:
            answers += b" created" in await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.stdout.read()
        assert await process.wait() == -signal.SIGKILL
        sequence, whole = standing(path)
        assert whole < sequence
        assert await problems_of_file(path) == []
        ledger = await SqliteLedger.open(path, SystemClock())
        after, moved = 0, 0
        while page := await ledger.changes(after):
            moved += sum(len(change.chain) // 2 for change in page)
            after = page[-1].timestamp
        ids = [sqlite_worker.BANK, sqlite_worker.WALLET, sqlite_worker.EARNINGS]
        accounts = [account for account in await ledger.lookup_accounts(ids) if account]
        assert [a.credits_posted - a.debits_posted for a in accounts] == [
            -3 * moved, moved, 2 * moved,
        ]  # fmt: skip
        if life:
            await ledger.close()
        else:
            await _die_open(ledger)


async def _die_open(ledger: SqliteLedger) -> None:
    """Let go of the file as a killed process does: no row is written."""
    ledger._stale = True
    await ledger.close()


# Edits outside the engine.


@pytest.fixture
async def behind(tmp_path: Path, clock: ManualClock) -> Path:
    """A dead ledger's file: the wallet's row is behind, the creator's and the bank's are not."""
    path = tmp_path / "ledger.sqlite"
    ledger = await open_with_accounts(path, clock)
    await play_eventful(ledger, clock)
    await ledger.create_transfers([recharge(0, 50)])
    while sqlite_accounts.slice_of(WALLET) != ledger._sequence % sqlite_accounts.SLICES:
        await ledger.create_transfers([recharge(2 + ledger._sequence, 1)])
    await ledger.create_transfers([gift(1, 5)])
    dead = killed(path)
    await ledger.close()
    assert row_of(dead, WALLET).debits_posted == 0 < row_of(path, WALLET).debits_posted
    with closing(sqlite3.connect(dead)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return dead


async def test_an_edited_row_is_found_whether_it_is_behind_or_not(behind: Path) -> None:
    """Any byte of any account, in the file of a process that was killed."""
    assert await problems_of_file(behind) == []
    unnoticed = []
    with closing(sqlite3.connect(behind, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        for id, record in db.execute("SELECT id, record FROM accounts").fetchall():
            for position in range(len(record)):
                edited = flipped(record, position)
                db.execute("UPDATE accounts SET record = ? WHERE id = ?", (edited, id))
                if not await problems_of_file(behind):
                    unnoticed.append((id, position))
            db.execute("UPDATE accounts SET record = ? WHERE id = ?", (record, id))
    assert unnoticed == []
    assert await problems_of_file(behind) == []


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE standing SET sequence = sequence - 1",
        "UPDATE standing SET sequence = sequence + 1",
        "UPDATE standing SET whole_sequence = whole_sequence + 1",
        "UPDATE standing SET whole_sequence = sequence",
        "UPDATE standing SET whole_sequence = sequence, whole_hash = hash",
        "UPDATE standing SET hash = zeroblob(32)",
        "UPDATE standing SET whole_hash = hash",
        "DELETE FROM standing",
        "DELETE FROM batches WHERE sequence = (SELECT max(sequence) FROM batches)",
        "DELETE FROM transfers WHERE id = (SELECT max(id) FROM transfers)",
    ],
)
async def test_what_says_how_far_rows_go_cannot_be_edited(
    behind: Path, clock: ManualClock, edit: str
) -> None:
    """The check finds it, and the engine moves no money on totals that it cannot know."""
    with closing(sqlite3.connect(behind, isolation_level=None)) as db:
        db.execute(edit)
        assert db.total_changes == 1
    assert await problems_of_file(behind)
    if edit.endswith("whole_sequence = sequence, whole_hash = hash"):
        return  # Consistent, but for the totals: as any edited row, it is found by the check alone.
    with pytest.raises(LedgerUnavailable, match="run the check"):
        await SqliteLedger.open(behind, clock)


# Disks that say no.


async def test_rows_that_cannot_be_written_fail_their_batch_and_lose_nothing(
    tmp_path: Path, clock: ManualClock
) -> None:
    """The disk is full when it is the wallet's turn: that batch is not there, and all goes on."""
    path = tmp_path / "ledger.sqlite"
    ledger = await open_with_accounts(path, clock)
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON accounts BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    calls = [ledger.create_transfers([recharge(n, 1)]) for n in range(sqlite_accounts.SLICES + 1)]
    answers = [await asyncio.gather(call, return_exceptions=True) for call in calls]
    done = [isinstance(answer, LedgerUnavailable) for [answer] in answers].index(True)
    assert 0 < done <= sqlite_accounts.SLICES
    assert await totals(ledger) == [-done, done, 0]
    with pytest.raises(LedgerUnavailable, match="full"):
        await ledger.create_transfers([recharge(done, 1)])
    assert await problems(ledger) == []
    db.execute("DROP TRIGGER no_room")
    assert await outcomes(ledger, [recharge(done, 1), gift(9_999)]) == [Outcome.CREATED] * 2
    assert await totals(ledger) == [-done - 1, done, 1]
    assert await problems(ledger) == []

    # Nor is anything lost when they cannot be written at the end.
    db.execute(
        "CREATE TRIGGER no_room BEFORE INSERT ON accounts BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    await ledger.create_transfers([gift(10_000)])
    await ledger.close()
    assert standing(path)[1] < standing(path)[0]
    db.execute("DROP TRIGGER no_room")
    db.close()
    ledger = await SqliteLedger.open(path, clock)
    assert await totals(ledger) == [-done - 1, done - 1, 2]
    await ledger.close()
    assert await problems_of_file(path) == []


async def test_when_too_many_are_behind_all_are_written(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ACCOUNTS_BEHIND_MAX", 2)
    path = tmp_path / "ledger.sqlite"
    ledger = await open_with_accounts(path, clock)
    await ledger.create_transfers([recharge(0, 7)])
    assert row_of(path, WALLET).credits_posted == 0
    await ledger.create_transfers([gift(1, 2)])
    assert row_of(path, WALLET).debits_posted == 2
    assert row_of(path, BANK).debits_posted == 7
    assert standing(path) == (3, 3)
    assert await problems(ledger) == []
    await ledger.close()


async def test_accounts_that_are_behind_are_not_let_go_of(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few are to be kept in memory: what the file does not say must be said by it."""
    monkeypatch.setattr(sqlite, "ACCOUNTS_CACHED_MAX", 0)
    ledger = await open_with_accounts(tmp_path / "ledger.sqlite", clock)
    await one_by_one(ledger, 0, 5)
    assert await totals(ledger) == [-10, 5, 5]
    assert ledger._accounts.keys() == {BANK, WALLET, EARNINGS}
    await ledger.close()


# A file of the format before.


FORMAT_1_TRIGGER = f"""
CREATE TRIGGER incoming_batch_arrives INSTEAD OF INSERT ON incoming_batch BEGIN
    INSERT INTO batches (sequence, first_timestamp, last_timestamp, events, hash)
        VALUES (NEW.sequence, NEW.first_timestamp, NEW.last_timestamp, NEW.events, NEW.hash);
    INSERT INTO transfers (id, record)
        SELECT substr(NEW.transfers, n * {encoding.TRANSFER_SIZE} + 1, 16),
               substr(NEW.transfers, n * {encoding.TRANSFER_SIZE} + 17)
        FROM numbers WHERE n < NEW.transfer_count;
    INSERT OR REPLACE INTO accounts (id, record)
        SELECT substr(NEW.accounts, n * {encoding.ACCOUNT_SIZE} + 1, 16),
               substr(NEW.accounts, n * {encoding.ACCOUNT_SIZE} + 17)
        FROM numbers WHERE n < NEW.account_count;
END
"""


@pytest.fixture
async def format_1(tmp_path: Path, clock: ManualClock) -> Path:
    """The file as the version before left it: every row whole, and nothing that says so."""
    path = tmp_path / "format-1.sqlite"
    ledger = await open_with_accounts(path, clock)
    await play_eventful(ledger, clock)
    await ledger.create_transfers([recharge(0, 50), gift(1, 5)])
    await ledger.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TABLE standing")
        db.execute("DROP TRIGGER incoming_batch_arrives")
        db.execute(FORMAT_1_TRIGGER)
        db.execute("PRAGMA user_version = 1")
    return path


async def test_a_file_of_the_format_before_is_brought_up(
    format_1: Path, clock: ManualClock
) -> None:
    assert await problems_of_file(format_1) == []
    ledger = await SqliteLedger.open(format_1, clock)
    sequence, whole = standing(format_1)
    assert sequence == whole == ledger._sequence
    assert await totals(ledger) == [-50, 45, 5]
    assert await outcomes(ledger, [gift(1, 5), gift(2, 1)]) == [Outcome.EXISTS, Outcome.CREATED]
    dead = killed(format_1)
    assert await problems_of_file(dead) == []
    await ledger.close()
    for path in (format_1, dead):
        ledger = await SqliteLedger.open(path, clock)
        assert await totals(ledger) == [-50, 44, 6]
        assert await problems(ledger) == []
        await ledger.close()


async def test_bringing_up_is_whole_or_not_at_all(
    format_1: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the middle: the file stays what it was, for the next start."""
    with closing(sqlite3.connect(format_1, isolation_level=None)) as db:
        before = list(db.iterdump())
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    script = sqlite_file._script
    monkeypatch.setattr(sqlite_file, "_script", lambda name: script(name) + "INSERT INTO nowhere;")
    with pytest.raises(LedgerUnavailable):
        await SqliteLedger.open(format_1, clock)
    monkeypatch.undo()
    with closing(sqlite3.connect(format_1, isolation_level=None)) as db:
        assert list(db.iterdump()) == before
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    ledger = await SqliteLedger.open(format_1, clock)
    assert await totals(ledger) == [-50, 45, 5]
    await ledger.close()
