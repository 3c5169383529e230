"""A ledger moves to another engine: nothing changes but the place, and what differs is named."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest

from largesse import moving
from largesse.clock import ManualClock
from largesse.errors import Rejected
from largesse.ledger import Ledger, copying
from largesse.ledger.copying import Copied
from largesse.ledger.model import Outcome
from largesse.ledger.postgres import PostgresLedger
from largesse.ledger.sqlite import SqliteLedger
from tests.ledger.gifts import ACCOUNTS, gift, number, outcomes, play_eventful, problems, recharge
from tests.ledger_script import id_of

WORKER = Path(__file__).with_name("copy_worker.py")
NAMES = [id_of(name) for name in ("ana", "bo", "cy", "bank", "wallet", "earnings")]
TRANSFERS = [id_of(name) for name in ("T1", "T2", "T3", "T4", "P1", "P2", "P3", "V1", "V3")]


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


async def live(path: Path, clock: ManualClock) -> None:
    """One of everything, a refused gift, and thirty gifts in batches of their own."""
    ledger = await SqliteLedger.open(path, clock)
    await play_eventful(ledger, clock)
    await ledger.create_accounts(ACCOUNTS)
    assert await outcomes(ledger, [gift(0)]) == [Outcome.EXCEEDS_CREDITS]
    await ledger.create_transfers([recharge(1, 1_000)])
    for n in range(2, 32):
        clock.advance(1_000)
        await ledger.create_transfers([gift(n), gift(1_000 + n)])
    await ledger.close()


@pytest.fixture
async def source(tmp_path: Path, clock: ManualClock) -> Path:
    path = tmp_path / "ledger.sqlite"
    await live(path, clock)
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def target_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where there is no ledger yet."""
    if request.param == "sqlite":
        return url_of(tmp_path / "copy.sqlite")
    url: str = request.getfixturevalue("postgres_url")
    return url


async def copy(source_url: str, target_url: str) -> Copied:
    steps = [step async for step in moving.copy_ledger(source_url, target_url)]
    assert isinstance(steps[-1], Copied)
    return steps[-1]


async def open_ledger(url: str, clock: ManualClock) -> Ledger:
    if url.startswith("sqlite"):
        return await SqliteLedger.open(Path(url.removeprefix("sqlite:///")), clock)
    return await PostgresLedger.open(url, clock)


async def everything(url: str, clock: ManualClock) -> list[object]:
    """All that a ledger can be asked."""
    ledger = await open_ledger(url, clock)
    try:
        ids = [*TRANSFERS, number(0), number(1), number(31)]
        return [
            await ledger.changes(0, 10_000),
            await ledger.lookup_accounts(NAMES),
            await ledger.lookup_transfers(ids),
            await ledger.lookup_refused(ids),
        ]
    finally:
        await ledger.close()


async def test_a_copy_answers_everything_as_the_source_does(
    source: Path, target_url: str, clock: ManualClock
) -> None:
    copied = await copy(url_of(source), target_url)
    assert copied.counts.transfers > 60
    assert copied.counts.refused == 2
    assert copied.counts.pendings == 3
    assert await everything(target_url, clock) == await everything(url_of(source), clock)


async def test_a_copy_of_a_copy_is_back_where_it_was(
    source: Path, tmp_path: Path, postgres_url: str, clock: ManualClock
) -> None:
    there = await copy(url_of(source), postgres_url)
    back = tmp_path / "back.sqlite"
    assert await copy(postgres_url, url_of(back)) == there
    assert await everything(url_of(back), clock) == await everything(url_of(source), clock)


async def test_a_source_whose_process_was_killed_is_copied_with_what_it_had_answered(
    tmp_path: Path, target_url: str, clock: ManualClock
) -> None:
    """Its file as it lies there while the ledger is open: some of it only in the write-ahead log."""
    path = tmp_path / "open.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    await ledger.create_transfers([recharge(1, 1_000), *(gift(n) for n in range(2, 40))])
    await ledger.create_transfers([gift(50)])
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", tmp_path / f"killed.sqlite{suffix}")
    await ledger.close()
    await copy(url_of(tmp_path / "killed.sqlite"), target_url)
    assert await everything(target_url, clock) == await everything(url_of(path), clock)


async def test_life_goes_on_in_the_copy(source: Path, target_url: str, clock: ManualClock) -> None:
    """A gift asked for again is the first one, a no stays a no, a new one is paid, and it verifies."""
    await copy(url_of(source), target_url)
    ledger = await open_ledger(target_url, clock)
    asked = [gift(31), gift(0), gift(50)]
    assert await outcomes(ledger, asked) == [
        Outcome.EXISTS, Outcome.ID_ALREADY_FAILED, Outcome.CREATED
    ]  # fmt: skip
    assert await problems(ledger) == []
    await ledger.close()


async def test_what_came_after_the_first_copy_is_copied_by_the_next(
    source: Path, target_url: str, clock: ManualClock
) -> None:
    first = await copy(url_of(source), target_url)
    ledger = await SqliteLedger.open(source, clock)
    await ledger.create_transfers([gift(60)])
    await ledger.close()
    second = await copy(url_of(source), target_url)
    assert (second.batches, second.head.sequence) == (1, first.head.sequence + 1)
    assert await everything(target_url, clock) == await everything(url_of(source), clock)


async def test_a_source_that_goes_on_growing_is_copied_until_it_is_level(
    tmp_path: Path, postgres_url: str, ledger_url: str, clock: ManualClock
) -> None:
    """Gifts are sent while the copy is made; the last of them is in it."""
    ledger = await PostgresLedger.open(ledger_url, clock)
    await ledger.create_accounts(ACCOUNTS)
    await ledger.create_transfers([recharge(1, 1_000)])
    sent = 0
    async for step in moving.copy_ledger(ledger_url, postgres_url):
        if isinstance(step, copying.Step) and step.what.startswith("Copying") and sent < 5:
            sent += 1
            assert await outcomes(ledger, [gift(1 + sent)]) == [Outcome.CREATED]
    await ledger.close()
    assert sent == 5
    assert await everything(postgres_url, clock) == await everything(ledger_url, clock)


# Killed --------------------------------------------------------------------------------------


def run_until(
    source_url: str, target_url: str, is_enough: Callable[[list[str]], bool]
) -> list[str]:
    """Copy in a process of its own, step by step, and kill it when it has said enough."""
    paths = os.pathsep.join(path for path in sys.path if path)
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, str(WORKER), source_url, target_url],
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.strip())
            if is_enough(said):
                process.send_signal(signal.SIGKILL)
                break
            if said[-1] != "done":
                process.stdin.write("\n")
                process.stdin.flush()
        process.wait()
    return said


def run_to_line(source_url: str, target_url: str, lines: int) -> list[str]:
    """Kill it at its so-manieth step, if it has so many."""
    return run_until(source_url, target_url, lambda said: len(said) == lines)


async def is_unfinished(url: str, clock: ManualClock) -> bool:
    code = ""
    try:
        await (await open_ledger(url, clock)).close()
    except Rejected as rejected:
        code = rejected.code
    return code == "ledger_copy_unfinished"


async def test_a_copy_that_is_killed_goes_on_after_the_last_whole_batch(
    source: Path, target_url: str, clock: ManualClock
) -> None:
    """Killed again and again, a little later each time; nobody opens what is not finished."""
    for steps in (1, 1, 2, 3):

        def is_enough(said: list[str], steps: int = steps) -> bool:
            return sum(line.startswith("Copying") for line in said) == steps

        said = await asyncio.to_thread(run_until, url_of(source), target_url, is_enough)
        assert is_enough(said)
        assert await is_unfinished(target_url, clock)
    copied = await copy(url_of(source), target_url)
    assert copied.batches > 0
    assert not await is_unfinished(target_url, clock)
    assert await everything(target_url, clock) == await everything(url_of(source), clock)


def is_all_copied(said: list[str]) -> bool:
    """Every batch is there; totals are not, and nothing is proved."""
    what, done, total = said[-1].rsplit(" ", 2)
    return what == "Copying" and done == total


def is_being_proved(said: list[str]) -> bool:
    return said[-1].startswith("Recomputing")


@pytest.mark.parametrize("is_enough", [is_all_copied, is_being_proved])
async def test_a_copy_killed_at_its_end_is_not_open_yet_and_is_finished_by_the_next(
    source: Path, target_url: str, clock: ManualClock, is_enough: Callable[[list[str]], bool]
) -> None:
    said = await asyncio.to_thread(run_until, url_of(source), target_url, is_enough)
    assert is_enough(said)
    assert await is_unfinished(target_url, clock)
    copied = await copy(url_of(source), target_url)
    assert copied.batches == 0
    assert not await is_unfinished(target_url, clock)
    assert await everything(target_url, clock) == await everything(url_of(source), clock)


# What differs --------------------------------------------------------------------------------


def flipped(table: str, column: str, id: bytes, position: int) -> Callable[[Path], None]:
    """Edits one bit of a row in a ledger's file."""

    def edit(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db, db:
            [cell] = db.execute(f"SELECT {column} FROM {table} WHERE id = ?", (id,)).fetchone()
            cell = cell[:position] + bytes((cell[position] ^ 1,)) + cell[position + 1 :]
            db.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (cell, id))

    return edit


def deleted(table: str, id: bytes) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db, db:
            assert db.execute(f"DELETE FROM {table} WHERE id = ?", (id,)).rowcount == 1

    return edit


AMOUNT = 39
"""The last byte of an amount in a transfer's record."""
EDITS = [
    (flipped("transfers", "record", number(7), AMOUNT), f"transfer {number(7).hex()}"),
    (deleted("transfers", number(7)), f"transfer {number(7).hex()}"),
    (flipped("refused", "record", number(0), -1), f"refusal {number(0).hex()}"),
    (flipped("accounts", "record", id_of("wallet"), 50), f"account {id_of('wallet').hex()}"),
    (deleted("pendings", id_of("P1")), f"pending transfer {id_of('P1').hex()}"),
]


@pytest.mark.parametrize(("edit", "difference"), EDITS)
async def test_a_source_edited_after_the_copy_is_told_from_it(
    source: Path, target_url: str, edit: Callable[[Path], None], difference: str
) -> None:
    await copy(url_of(source), target_url)
    edit(source)
    with pytest.raises(Rejected) as refused:
        await copy(url_of(source), target_url)
    assert refused.value.code == "ledger_copy_differs"
    assert refused.value.facts["difference"] == difference


async def test_a_copy_edited_in_its_middle_is_told_from_its_source(
    source: Path, postgres_url: str
) -> None:
    await copy(url_of(source), postgres_url)
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "UPDATE ledger.transfers SET amount = amount + 1 WHERE id = $1", number(7).hex()
    )
    await connection.close()
    with pytest.raises(Rejected) as refused:
        await copy(url_of(source), postgres_url)
    assert refused.value.facts["difference"] == f"transfer {number(7).hex()}"


async def test_a_damaged_source_is_refused_where_it_is_damaged_and_its_copy_stays_shut(
    source: Path, target_url: str, clock: ManualClock
) -> None:
    flipped("transfers", "record", number(20), AMOUNT)(source)
    with pytest.raises(Rejected) as refused:
        await copy(url_of(source), target_url)
    assert refused.value.code == "ledger_copy_source_damaged"
    assert str(refused.value.facts["where"]).startswith("batch ")


async def test_totals_that_do_not_follow_are_found_though_every_batch_is_whole(
    source: Path, target_url: str, clock: ManualClock
) -> None:
    """Somebody made a wallet richer; the copy has it too, so only the transfers know."""
    flipped("accounts", "record", id_of("wallet"), 59)(source)
    with pytest.raises(Rejected) as refused:
        await copy(url_of(source), target_url)
    assert refused.value.code == "ledger_copy_source_damaged"
    assert id_of("wallet").hex() in str(refused.value.facts["where"])
    assert await is_unfinished(target_url, clock)


async def test_a_ledger_with_a_life_of_its_own_is_not_copied_onto(
    source: Path, postgres_url: str, ledger_url: str, clock: ManualClock
) -> None:
    other = await PostgresLedger.open(ledger_url, clock)
    await other.create_accounts(ACCOUNTS)
    await other.close()
    before = await everything(ledger_url, clock)
    with pytest.raises(Rejected) as refused:
        await copy(url_of(source), ledger_url)
    assert refused.value.code == "ledger_copy_differs"
    assert await everything(ledger_url, clock) == before


async def test_who_writes_into_the_target_meanwhile_stops_the_copy(
    source: Path, ledger_url: str, clock: ManualClock
) -> None:
    """A process that was there before the copy began still holds its connection."""
    other = await PostgresLedger.open(ledger_url, clock)
    steps: AsyncIterator[object] = moving.copy_ledger(url_of(source), ledger_url)
    await other.create_accounts(ACCOUNTS)
    with pytest.raises(Rejected) as refused:
        async for _ in steps:
            pass
    assert refused.value.code == "ledger_copy_differs"
    await other.close()


async def test_half_a_copy_is_no_source(source: Path, tmp_path: Path, postgres_url: str) -> None:
    await asyncio.to_thread(run_to_line, url_of(source), postgres_url, 3)
    with pytest.raises(Rejected, match="ledger_copy_unfinished"):
        await copy(postgres_url, url_of(tmp_path / "further.sqlite"))


@pytest.mark.parametrize(
    ("source_url", "target_url", "code"),
    [
        ("sqlite:////tmp/a.sqlite", "sqlite:////tmp/../tmp/a.sqlite", "copy_onto_itself"),
        ("tigerbeetle://localhost:3000", "sqlite:////tmp/a.sqlite", "copy_from_cluster"),
        ("mysql://localhost/a", "sqlite:////tmp/a.sqlite", "engine_unknown"),
    ],
)
async def test_ends_that_cannot_be_are_refused(source_url: str, target_url: str, code: str) -> None:
    with pytest.raises(Rejected, match=code):
        await copy(source_url, target_url)
