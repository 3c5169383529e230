"""The SQLite ledger's file: what is on the disk, and what is found out about it."""

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from largesse.clock import ManualClock, SystemClock
from largesse.errors import Rejected
from largesse.ledger import LedgerUnavailable, Problem
from largesse.ledger.model import Change, Outcome
from largesse.ledger.sqlite import SqliteLedger
from tests.ledger.sqlite_worker import ACCOUNTS, BANK, EARNINGS, WALLET, chain_of
from tests.ledger_script import check

WORKER = Path(__file__).with_name("sqlite_worker.py")
EVENTFUL = """
    account  bank  may_overdraw
    account  wallet
    account  earnings
    account  debt   may_overfill
    transfer T1  bank    wallet    100                             -> created
    transfer T2  wallet  earnings   10  &
    transfer T3  wallet  earnings   11                             -> created
    pending  P1  wallet  earnings   12                             -> created
    pending  P2  wallet  earnings   13                             -> created
    pending  P3  wallet  earnings   14  timeout=5                  -> created
    pending  P4  wallet  earnings   15  timeout=500000             -> created
    pending  P5  wallet  earnings    0  closing_credit             -> created
    void     V5  P5                                                -> created
    post     V1  P1  7                                             -> created
    void     V2  P2                                                -> created
    transfer R1  wallet  earnings  999                             -> exceeds_credits
    transfer R2  wallet  nobody      1                             -> credit_account_not_found
    wait     9
    account  late
    transfer T4  bank    debt        1                             -> exceeds_debits
    transfer T5  debt    wallet     20                             -> created
    transfer T6  wallet  debt       50  balancing_debit balancing_credit -> created
"""


async def problems(ledger: SqliteLedger) -> list[Problem]:
    return [problem async for problem in ledger.verify() if isinstance(problem, Problem)]


@pytest.fixture
async def eventful(tmp_path: Path, clock: ManualClock) -> Path:
    """The file of a ledger in which one of everything happened, closed."""
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await check(ledger, clock, EVENTFUL)
    assert await problems(ledger) == []
    await ledger.close()
    return path


async def found_out(path: Path) -> bool:
    """Whether opening or verifying the file says that something is wrong with it."""
    try:
        ledger = await SqliteLedger.open(path, ManualClock())
    except (Rejected, LedgerUnavailable):
        return True
    try:
        return bool(await problems(ledger))
    finally:
        await ledger.close()


class Edited:
    """A file whose rows are edited one way after the other, each on a copy of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copy = path.with_name("edited.sqlite")

    async def unnoticed(self, edit: Callable[[sqlite3.Connection], None]) -> bool:
        """Whether this edit goes unnoticed."""
        for old in self.path.parent.glob("edited.sqlite*"):
            old.unlink()
        shutil.copy(self.path, self.copy)
        db = sqlite3.connect(self.copy)
        db.execute("PRAGMA synchronous = OFF")
        edit(db)
        db.commit()
        assert db.total_changes > 0
        db.close()
        return not await found_out(self.copy)


def tables(path: Path) -> list[str]:
    db = sqlite3.connect(path)
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    db.close()
    return names


def columns(path: Path, table: str) -> list[tuple[str, str]]:
    db = sqlite3.connect(path)
    rows = [(row[1], row[2]) for row in db.execute(f"PRAGMA table_info({table})")]
    db.close()
    return rows


def keys(path: Path, table: str) -> list[object]:
    db = sqlite3.connect(path)
    key = columns(path, table)[0][0]
    rows = [row[0] for row in db.execute(f"SELECT {key} FROM {table} ORDER BY 1")]
    db.close()
    return rows


def flipped(blob: bytes, position: int) -> bytes:
    return blob[:position] + bytes((blob[position] ^ 1,)) + blob[position + 1 :]


def change_cell(
    table: str, key: str, value: object, column: str, position: int
) -> Callable[[sqlite3.Connection], None]:
    """Flip one bit of a cell: of the byte at `position`, or of a number; a key moves far away."""

    def edit(db: sqlite3.Connection) -> None:
        [cell] = db.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (value,)).fetchone()
        if isinstance(cell, bytes):
            new: object = flipped(cell, position)
        else:
            new = cell + 1_000_000 if column == key else cell ^ (1 << position)
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (new, value))

    return edit


def delete_row(table: str, key: str, value: object) -> Callable[[sqlite3.Connection], None]:
    def edit(db: sqlite3.Connection) -> None:
        db.execute(f"DELETE FROM {table} WHERE {key} = ?", (value,))

    return edit


def test_the_file_has_the_tables_that_are_tried_here(eventful: Path) -> None:
    """A new table needs a way to find out that somebody edited it."""
    assert sorted(tables(eventful)) == sorted(TABLES)


TABLES = ["accounts", "batches", "numbers", "pendings", "refused", "standing", "transfers"]


@pytest.mark.parametrize("table", TABLES)
async def test_an_edited_cell_is_found(eventful: Path, table: str) -> None:
    """The lowest bit of each column, and the one above it, in the first, middle and last row."""
    edited = Edited(eventful)
    key = columns(eventful, table)[0][0]
    rows = keys(eventful, table)
    unnoticed = []
    for value in {rows[0], rows[len(rows) // 2], rows[-1]}:
        for column, _ in columns(eventful, table):
            for position in (0, 1):
                if await edited.unnoticed(change_cell(table, key, value, column, position)):
                    unnoticed.append((rows.index(value), column, position))
    assert unnoticed == []


@pytest.mark.parametrize(
    ("table", "column"),
    [("transfers", "record"), ("accounts", "record"), ("refused", "record"), ("batches", "events")],
)
async def test_any_edited_byte_of_a_record_is_found(
    eventful: Path, clock: ManualClock, table: str, column: str
) -> None:
    """While the ledger is open: `verify` reads the file, not what the engine remembers of it."""
    key = columns(eventful, table)[0][0]
    rows = keys(eventful, table)
    value = rows[len(rows) // 2]
    ledger = await SqliteLedger.open(eventful, clock)
    db = sqlite3.connect(eventful, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    [record] = db.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (value,)).fetchone()
    write = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"
    unnoticed = []
    for position in range(len(record)):
        db.execute(write, (flipped(record, position), value))
        if not await problems(ledger):
            unnoticed.append(position)
    db.execute(write, (record, value))
    assert await problems(ledger) == []
    db.close()
    await ledger.close()
    assert unnoticed == []


@pytest.mark.parametrize("table", TABLES)
async def test_a_deleted_row_is_found(eventful: Path, table: str) -> None:
    edited = Edited(eventful)
    key = columns(eventful, table)[0][0]
    rows = keys(eventful, table)
    tried = rows if len(rows) < 30 else [rows[0], rows[len(rows) // 2], rows[-1]]
    unnoticed = [
        rows.index(value)
        for value in tried
        if await edited.unnoticed(delete_row(table, key, value))
    ]
    assert unnoticed == []


@pytest.mark.parametrize("table", [name for name in TABLES if name not in ("numbers", "standing")])
async def test_swapped_rows_are_found(eventful: Path, table: str) -> None:
    """The contents of two rows change places; so does only the last column, a batch's hash."""
    edited = Edited(eventful)
    names = [name for name, _ in columns(eventful, table)]
    first, second = keys(eventful, table)[:2]
    unnoticed = []
    for wanted in (names[1:], names[-1:]):

        def swap(db: sqlite3.Connection, wanted: list[str] = wanted) -> None:
            listed = ", ".join(wanted)
            placed = ", ".join(f"{name} = ?" for name in wanted)
            read = f"SELECT {listed} FROM {table} WHERE {names[0]} = ?"
            write = f"UPDATE {table} SET {placed} WHERE {names[0]} = ?"
            one, two = (db.execute(read, (id,)).fetchone() for id in (first, second))
            db.execute(write, (*two, first))
            db.execute(write, (*one, second))

        if wanted and await edited.unnoticed(swap):
            unnoticed.append(wanted)
    assert unnoticed == []


@pytest.mark.parametrize("table", ["accounts", "pendings", "refused", "transfers"])
async def test_a_row_that_no_batch_brought_is_found(eventful: Path, table: str) -> None:
    edited = Edited(eventful)
    names = [name for name, _ in columns(eventful, table)]

    def forge(db: sqlite3.Connection) -> None:
        row = db.execute(f"SELECT * FROM {table} ORDER BY 1 LIMIT 1").fetchone()
        marks = ", ".join("?" * len(names))
        db.execute(f"INSERT INTO {table} VALUES ({marks})", (flipped(row[0], 15), *row[1:]))

    assert not await edited.unnoticed(forge)


async def test_a_tail_cut_off_is_found(eventful: Path) -> None:
    """The last batch vanishes with its transfers: the hashes agree, the accounts do not."""
    edited = Edited(eventful)

    def cut(db: sqlite3.Connection) -> None:
        [count] = db.execute("SELECT count(*) FROM transfers").fetchone()
        [events] = db.execute(
            "SELECT events FROM batches ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        for id in [events[at + 1 : at + 17] for at in range(0, len(events), 17)]:
            db.execute("DELETE FROM transfers WHERE id = ?", (id,))
        db.execute("DELETE FROM batches WHERE sequence = (SELECT max(sequence) FROM batches)")
        assert db.execute("SELECT count(*) FROM transfers").fetchone()[0] < count

    assert not await edited.unnoticed(cut)


async def test_a_batch_that_was_made_up_is_found(eventful: Path) -> None:
    edited = Edited(eventful)

    def forge(db: sqlite3.Connection) -> None:
        db.execute(
            "INSERT INTO batches SELECT sequence + 1, last_timestamp + 1, last_timestamp + 1,"
            " x'', hash FROM batches ORDER BY sequence DESC LIMIT 1"
        )

    assert not await edited.unnoticed(forge)


async def test_verify_tells_how_far_it_is(eventful: Path, clock: ManualClock) -> None:
    """Numbers rise to the number of transfers, so that a long check can show its progress."""
    ledger = await SqliteLedger.open(eventful, clock)
    steps = [step async for step in ledger.verify() if isinstance(step, int)]
    await ledger.close()
    db = sqlite3.connect(eventful)
    [count] = db.execute("SELECT count(*) FROM transfers").fetchone()
    db.close()
    assert steps == sorted(steps)
    assert steps[-1] == count


async def test_verify_works_beside_the_writer(eventful: Path, clock: ManualClock) -> None:
    """It reads one moment of the file while chains go on arriving."""
    ledger = await SqliteLedger.open(eventful, clock)
    await ledger.create_accounts(ACCOUNTS)
    done = asyncio.Event()

    async def write() -> None:
        for number in range(1_000):
            if done.is_set():
                break
            await ledger.create_transfers([chain_of(number)])

    writing = asyncio.create_task(write())
    for _ in range(5):
        assert await problems(ledger) == []
    done.set()
    await writing
    assert await problems(ledger) == []
    await ledger.close()


# Files that are not ours.


async def test_a_file_that_is_not_a_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "diary.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE diary (day TEXT)")
    db.commit()
    db.close()
    (tmp_path / "letter.sqlite").write_bytes(b"Dear bo, " * 1_000)
    for name in ("diary.sqlite", "letter.sqlite"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(Rejected, match="ledger_not_ours"):
            await SqliteLedger.open(tmp_path / name, ManualClock())
        assert (tmp_path / name).read_bytes() == before


async def test_a_newer_ledger_is_refused(eventful: Path, clock: ManualClock) -> None:
    db = sqlite3.connect(eventful)
    db.execute("PRAGMA user_version = 99")
    before = list(db.iterdump())
    with pytest.raises(Rejected, match="ledger_newer"):
        await SqliteLedger.open(eventful, clock)
    assert list(db.iterdump()) == before
    db.close()


async def test_a_ledger_in_no_folder_is_unavailable(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(LedgerUnavailable):
        await SqliteLedger.open(tmp_path / "nowhere" / "ledger.sqlite", clock)


# What reaches the disk, and when.


def worker(path: Path, *numbers: int) -> list[str]:
    return [sys.executable, str(WORKER), str(path), *map(str, numbers)]


def environment() -> dict[str, str]:
    """The worker finds the package where this process found it."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


async def test_the_file_keeps_a_write_ahead_log(eventful: Path) -> None:
    db = sqlite3.connect(eventful)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def strace_output(path: Path, trace: Path) -> str:
    """What the worker did to its files for twenty chains, one after the other."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], check=False)
    if tried.returncode != 0:
        pytest.skip("this machine does not let strace trace")
    calls = "trace=fdatasync,fsync,pwrite64,write"
    strace = ["strace", "-f", "-y", "-s", "64", "-e", calls, "-o", str(trace)]
    done = subprocess.run(
        [*strace, *worker(path, 1, 20, 1)],
        check=False,
        env=environment(),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return trace.read_text()


def test_a_chain_is_on_the_disk_before_it_is_answered(tmp_path: Path) -> None:
    """Between asking and each answer: the log was written, then synced, and nothing written after."""
    path = tmp_path / "ledger.sqlite"
    trace = strace_output(path, tmp_path / "trace")
    asked: dict[int, list[str]] = {}
    current: list[str] | None = None
    for line in trace.splitlines():
        said = re.search(r'write\(1<.*>, "(ask )?(\d+)( created)?\\n"', line)
        if said and said[1]:
            current = asked[int(said[2])] = []
        elif said and said[3]:
            current = None
        elif current is not None and "resumed>" not in line:
            call = re.search(r"\b(fdatasync|fsync|pwrite64)\(\d+<(.*?)>", line)
            if call and call[2] == f"{path}-wal":
                current.append(call[1])
        elif current is not None and "sync resumed>" in line:
            assert line.rstrip().endswith("= 0")
    assert sorted(asked) == list(range(1, 21))
    for calls in asked.values():
        assert calls[0] == "pwrite64"
        assert calls[-1] in ("fdatasync", "fsync")


# A process that is killed.


async def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """Five times in a row on one file, each time in the middle of 32 chains at once."""
    path = tmp_path / "ledger.sqlite"
    acknowledged: set[int] = set()
    asked: set[int] = set()
    for life in range(5):
        lines = await _live_and_die(path, first=1_000_000 * (life + 1), answers=150 + 70 * life)
        for line in lines:
            word, rest = line.split()
            if word == "ask":
                asked.add(int(rest))
            else:
                assert rest == "created"
                acknowledged.add(int(word))
        await _check_after_death(path, acknowledged, asked)
    assert len(acknowledged) > 5 * 150


async def _live_and_die(path: Path, *, first: int, answers: int) -> list[str]:
    """Let a worker run until it has acknowledged so many chains, kill it, and read what it said."""
    process = await asyncio.create_subprocess_exec(
        *worker(path, first, 0, 32), env=environment(), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    lines: list[bytes] = []
    seen = 0
    while seen < answers:
        lines.append(await process.stdout.readline())
        seen += not lines[-1].startswith(b"ask")
    process.send_signal(signal.SIGKILL)
    lines += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -signal.SIGKILL
    return [line.decode().rstrip() for line in lines if line.endswith(b"\n")]


async def _check_after_death(path: Path, acknowledged: set[int], asked: set[int]) -> None:
    ledger = await SqliteLedger.open(path, SystemClock())
    numbers = sorted(asked)
    heads = await ledger.lookup_transfers([chain_of(number)[0].id for number in numbers])
    tails = await ledger.lookup_transfers([chain_of(number)[1].id for number in numbers])
    there = {number for number, head in zip(numbers, heads, strict=True) if head}
    assert there == {number for number, tail in zip(numbers, tails, strict=True) if tail}
    assert acknowledged <= there
    assert await problems(ledger) == []
    accounts = await ledger.lookup_accounts([BANK, WALLET, EARNINGS])
    balances = [account.credits_posted - account.debits_posted for account in accounts if account]
    assert balances == [-3 * len(there), len(there), 2 * len(there)]
    told = [
        posted.transfer.user_data_64
        async for change in _all_changes(ledger)
        for posted in change.chain[:1]
    ]
    assert sorted(told) == sorted(there)
    results = await ledger.create_transfers([chain_of(number) for number in sorted(acknowledged)])
    assert {result.outcome for result in results} == {Outcome.EXISTS}
    await ledger.close()


async def _all_changes(ledger: SqliteLedger) -> AsyncIterator[Change]:
    after = 0
    while page := await ledger.changes(after):
        for change in page:
            yield change
        after = page[-1].timestamp


# A disk that is full.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_stops_the_ledger_and_room_lets_it_go_on(small_disk: Path) -> None:
    """Nothing acknowledged is lost, nothing is half there, and the process need not be restarted."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1_500_000))
    path = small_disk / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, SystemClock())
    await ledger.create_accounts(ACCOUNTS)
    acknowledged: list[int] = []
    unknown: list[int] = []

    async def ask(number: int) -> None:
        try:
            [result] = await ledger.create_transfers([chain_of(number)])
        except LedgerUnavailable:
            unknown.append(number)
        else:
            assert result.outcome is Outcome.CREATED
            acknowledged.append(number)

    number = 0
    while not unknown:
        await asyncio.gather(*(ask(n) for n in range(number, number + 100)))
        number += 100
        assert number < 200_000
    assert acknowledged

    # Still full: still no, and what was acknowledged can still be read.
    refused = len(unknown)
    while len(unknown) == refused:
        await ask(number)
        number += 1
    found = await ledger.lookup_transfers([chain_of(n)[1].id for n in acknowledged])
    assert None not in found

    filler.unlink()
    results = await ledger.create_transfers([chain_of(n) for n in unknown])
    assert {result.outcome for result in results} <= {Outcome.CREATED, Outcome.EXISTS}
    await _check_room(ledger, acknowledged + unknown)
    await ledger.close()
    ledger = await SqliteLedger.open(path, SystemClock())
    await _check_room(ledger, acknowledged + unknown)
    await ledger.close()


async def _check_room(ledger: SqliteLedger, numbers: list[int]) -> None:
    results = await ledger.create_transfers([chain_of(n) for n in numbers])
    assert {result.outcome for result in results} == {Outcome.EXISTS}
    assert await problems(ledger) == []
    [wallet] = await ledger.lookup_accounts([WALLET])
    assert wallet is not None
    assert wallet.credits_posted - wallet.debits_posted >= len(numbers)
