"""What somebody edited behind the ledger's back is found and named, on every store of batches."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import msgspec
import pytest

from largesse.clock import ManualClock
from largesse.ledger import Ledger, Total, sqlite_verify
from largesse.ledger.model import TransferFlags
from largesse.ledger.postgres import PostgresLedger
from largesse.ledger.reading import rows_of
from largesse.ledger.sqlite import SqliteLedger
from largesse.ledger.verify import PROBLEMS_MAX, Verification
from tests.ledger.gifts import ACCOUNTS, PENDING, gift, number, play_eventful, recharge
from tests.ledger_script import id_of

POST = int(TransferFlags.POST_PENDING_TRANSFER)
WALLET, BANK = id_of("wallet").hex(), id_of("bank").hex()
GIFT = number(7).hex()
REFUSED = number(0).hex()


async def live(ledger: Ledger, clock: ManualClock) -> None:
    await play_eventful(ledger, clock)
    await ledger.create_accounts(ACCOUNTS)
    await ledger.create_transfers([gift(0)])
    await ledger.create_transfers([recharge(1, 1_000)])
    for n in range(2, 20):
        clock.advance(1_000)
        await ledger.create_transfers([gift(n)])


async def found(ledger: Ledger) -> list[str]:
    """Each problem as a person reads it."""
    return [
        f"{step.what} ({step.where})"
        async for step in ledger.verify()
        if not isinstance(step, (int, Total))
    ]


@pytest.fixture
async def postgres_ledger(ledger_url: str, clock: ManualClock) -> str:
    ledger = await PostgresLedger.open(ledger_url, clock)
    await live(ledger, clock)
    assert await found(ledger) == []
    await ledger.close()
    return ledger_url


@pytest.fixture
async def sqlite_ledger(tmp_path: Path, clock: ManualClock) -> Path:
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await live(ledger, clock)
    assert await found(ledger) == []
    await ledger.close()
    return path


POSTGRES_EDITS = {
    f"UPDATE ledger.transfers SET amount = amount + 1 WHERE id = '{GIFT}'": [
        f"transfer {GIFT} does not follow from the ones before it",
        "its content is not what was hashed when it was written",
    ],
    f"UPDATE ledger.transfers SET user_data_64 = 9 WHERE id = '{GIFT}'": [
        "its content is not what was hashed when it was written"
    ],
    f"DELETE FROM ledger.transfers WHERE id = '{GIFT}'": [
        f"transfer {GIFT} is missing or damaged",
        f"transfer {number(8).hex()} does not follow from the ones before it",
        "rows where the batches made",
    ],
    f"UPDATE ledger.accounts SET credits_posted = credits_posted + 5 WHERE id = '{WALLET}'": [
        f"its totals are not what its transfers add up to (account {WALLET})"
    ],
    f"UPDATE ledger.accounts SET last_transfer_id = id WHERE id = '{WALLET}'": [
        f"its totals are not what its transfers add up to (account {WALLET})"
    ],
    f"DELETE FROM ledger.accounts WHERE id = '{WALLET}'": [
        f"account {WALLET} is missing or damaged",
    ],
    "INSERT INTO ledger.accounts SELECT '00000000-0000-0000-0000-000000000007', ledger, code, flags,"
    " user_data_128, user_data_64, user_data_32, timestamp, 0, 0, 0, 0, last_transfer_id"
    f" FROM ledger.accounts WHERE id = '{BANK}'": [
        "no batch made it (account 00000000000000000000000000000007)",
        "rows where the batches made",
    ],
    f"UPDATE ledger.refused SET available = 7 WHERE id = '{REFUSED}'": [
        f"refusal {REFUSED} is missing or damaged"
    ],
    f"DELETE FROM ledger.refused WHERE id = '{REFUSED}'": [
        f"refusal {REFUSED} is missing or damaged",
        "rows where the batches made",
    ],
    f"UPDATE ledger.pendings SET status = 2 WHERE id = '{id_of('P1').hex()}'": [
        f"pending transfer {id_of('P1').hex()} is not where the batches left it"
    ],
    f"DELETE FROM ledger.pendings WHERE id = '{id_of('P2').hex()}'": [
        f"pending transfer {id_of('P2').hex()} is"
    ],
    "UPDATE ledger.batches SET hash = decode(repeat('ab', 32), 'hex') WHERE sequence = 5": [
        "its content is not what was hashed when it was written (batch 5)",
        "its content is not what was hashed when it was written (batch 6)",
    ],
    "DELETE FROM ledger.batches WHERE sequence = 5": ["batch 5 is missing (batch 6)"],
    "UPDATE ledger.batches SET last_timestamp = last_timestamp + 1 WHERE sequence = 5": [
        "its content is not what was hashed when it was written (batch 5)"
    ],
    "UPDATE ledger.head SET sequence = sequence - 1": ["it is not the last of the batches (head)"],
}
NEXT = number(8).hex()
SWAPPED = (
    'UPDATE ledger.transfers a SET "timestamp" = b."timestamp",'
    " debit_account_debits_posted = b.debit_account_debits_posted,"
    " credit_account_credits_posted = b.credit_account_credits_posted,"
    " debit_account_previous_id = b.debit_account_previous_id,"
    " credit_account_previous_id = b.credit_account_previous_id FROM ledger.transfers b"
    f" WHERE (a.id, b.id) IN (('{GIFT}', '{NEXT}'), ('{NEXT}', '{GIFT}'))"
)
POSTGRES_EDITS[SWAPPED] = [
    f"transfer {GIFT} does not follow from the ones before it",
    "does not rise",
    "its content is not what was hashed when it was written",
]


@pytest.mark.parametrize("edit", POSTGRES_EDITS)
async def test_an_edit_in_postgresql_is_found_and_named(
    postgres_ledger: str, clock: ManualClock, edit: str
) -> None:
    connection = await asyncpg.connect(postgres_ledger)
    status = await connection.execute(edit)
    assert not status.endswith(" 0")
    await connection.close()
    ledger = await PostgresLedger.open(postgres_ledger, clock)
    problems = await found(ledger)
    await ledger.close()
    for expected in POSTGRES_EDITS[edit]:
        assert any(expected in problem for problem in problems), problems


def edit_row(table: str, id: str, position: int) -> str:
    """Flips the lowest bit of a byte of a record."""
    byte = f"substr(record, {position}, 1)"
    digits = "'0123456789ABCDEF'"
    value = f"(instr({digits}, substr(hex({byte}), 2, 1)) - 1)"
    low = f"substr({digits}, 1 + ({value} | 1) - ({value} & 1), 1)"
    new = f"unhex(substr(hex({byte}), 1, 1) || {low})"
    return (
        f"UPDATE {table} SET record = CAST(substr(record, 1, {position - 1}) || {new}"
        f" || substr(record, {position + 1}) AS BLOB) WHERE hex(id) = upper('{id}')"
    )


SQLITE_EDITS: dict[str, list[str]] = {
    edit_row("transfers", GIFT, 40): [
        f"transfer {GIFT} does not follow from the ones before it",
        "its content is not what was hashed when it was written",
    ],
    f"UPDATE transfers SET record = x'00' WHERE hex(id) = upper('{GIFT}')": [
        f"transfer {GIFT} is missing or damaged"
    ],
    f"DELETE FROM transfers WHERE hex(id) = upper('{GIFT}')": [
        f"transfer {GIFT} is missing or damaged"
    ],
    edit_row("accounts", WALLET, 60): [
        f"its totals are not what its transfers add up to (account {WALLET})"
    ],
    "UPDATE batches SET hash = zeroblob(32) WHERE sequence = 5": [
        "its content is not what was hashed when it was written (batch 5)"
    ],
}


@pytest.mark.parametrize("edit", SQLITE_EDITS)
async def test_an_edit_in_a_file_is_found_and_named(
    sqlite_ledger: Path, clock: ManualClock, edit: str
) -> None:
    with closing(sqlite3.connect(sqlite_ledger)) as db, db:
        db.create_function("unhex", 1, bytes.fromhex)
        assert db.execute(edit).rowcount == 1
    ledger = await SqliteLedger.open(sqlite_ledger, clock)
    problems = await found(ledger)
    await ledger.close()
    for expected in SQLITE_EDITS[edit]:
        assert any(expected in problem for problem in problems), problems


async def test_one_edited_amount_is_named_once_and_not_at_every_gift_after_it(
    postgres_ledger: str, clock: ManualClock
) -> None:
    """What follows is judged by what is written, so the finger points at the row itself."""
    connection = await asyncpg.connect(postgres_ledger)
    await connection.execute(f"UPDATE ledger.transfers SET amount = 2 WHERE id = '{GIFT}'")
    await connection.close()
    ledger = await PostgresLedger.open(postgres_ledger, clock)
    problems = await found(ledger)
    await ledger.close()
    assert len(problems) == 2


async def test_a_store_beyond_doubt_damaged_is_not_listed_row_by_row(
    postgres_ledger: str, clock: ManualClock
) -> None:
    ledger = await PostgresLedger.open(postgres_ledger, clock)
    for n in range(100, 100 + PROBLEMS_MAX):
        await ledger.create_transfers([gift(n)])
    connection = await asyncpg.connect(postgres_ledger)
    await connection.execute("UPDATE ledger.transfers SET code = 77")
    await connection.close()
    assert len(await found(ledger)) == PROBLEMS_MAX
    await ledger.close()


async def test_how_many_transfers_there_are_is_told_first(
    postgres_ledger: str, sqlite_ledger: Path, clock: ManualClock
) -> None:
    """So that a long check can say how long it still takes."""
    for ledger in (
        await PostgresLedger.open(postgres_ledger, clock),
        await SqliteLedger.open(sqlite_ledger, clock),
    ):
        steps = [step async for step in ledger.verify()]
        assert steps[0] == Total(26)
        assert steps[-1] == 26
        await ledger.close()


async def test_memory_holds_no_transfer_that_is_over(tmp_path: Path, clock: ManualClock) -> None:
    """Three hundred payouts were reserved and paid, one is still open: that one is held, and no other."""
    path = tmp_path / "ledger.sqlite"
    ledger = await SqliteLedger.open(path, clock)
    await ledger.create_accounts(ACCOUNTS)
    await ledger.create_transfers([recharge(1, 1_000)])
    for n in range(2, 303):
        held = msgspec.structs.replace(gift(n)[0], flags=PENDING)
        await ledger.create_transfers([(held,)])
        if n == 302:
            break
        paid = msgspec.structs.replace(gift(1_000 + n)[0], flags=POST, pending_id=held.id)
        await ledger.create_transfers([(paid,)])
    await ledger.close()
    verification = Verification()
    held_at_once = 0
    async with sqlite_verify.open_reader(path, asyncio.get_running_loop()) as reader:
        after = 0
        while batches := await reader.batches(after):
            for batch in batches:
                rows = await rows_of(reader, [batch])
                assert verification.take([batch], rows) == []
                held_at_once = max(held_at_once, len(verification._open))
            after = batches[-1].sequence
    assert held_at_once == 1
    assert verification.transfers == 1 + 300 * 2 + 1
