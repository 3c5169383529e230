"""What goes wrong between a process and its PostgreSQL loses nothing, doubles nothing, and passes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import asyncpg  # type: ignore[import-untyped]
import pytest
from structlog.testing import capture_logs

from largesse.clock import SystemClock
from largesse.ledger import LedgerUnavailable, postgres
from largesse.ledger.model import Outcome
from largesse.ledger.postgres import PostgresLedger, migrate
from tests import postgres as postgres_servers
from tests.ledger.gifts import (
    ACCOUNTS,
    WALLET,
    gift,
    number,
    outcomes,
    problems,
    recharge,
    totals,
)
from tests.ledger.lossy import Wire, wire_to
from tests.postgres import Server

COMMIT = b"COMMIT\0"


def database_of(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.fixture
async def wire(postgres: Server) -> AsyncIterator[Wire]:
    async with wire_to(postgres) as made:
        yield made


@pytest.fixture
async def near(ledger_url: str) -> AsyncIterator[PostgresLedger]:
    """Another process, whose connections are good."""
    ledger = await PostgresLedger.open(ledger_url, SystemClock())
    await ledger.create_accounts(ACCOUNTS)
    await ledger.create_transfers([recharge(0, 1_000)])
    yield ledger
    await ledger.close()


@pytest.fixture
async def far(wire: Wire, ledger_url: str, near: PostgresLedger) -> AsyncIterator[PostgresLedger]:
    """A process behind a wire that can be cut. It has decided from memory once, so it will again."""
    ledger = await PostgresLedger.open(wire.url(database_of(ledger_url)), SystemClock())
    await ledger.create_transfers([gift(1)])
    await ledger.create_transfers([gift(2)])
    yield ledger
    await ledger.close()


async def head_of(url: str) -> int:
    connection = await asyncpg.connect(url)
    sequence: int = await connection.fetchval("SELECT sequence FROM ledger.head")
    await connection.close()
    return sequence


# The wire is cut.


@pytest.mark.parametrize("delivers", [True, False])
async def test_a_gift_whose_answer_is_lost_is_sent_once_and_answered_as_sent(
    wire: Wire, near: PostgresLedger, far: PostgresLedger, ledger_url: str, delivers: bool
) -> None:
    """One statement carries it; what is cut comes after the server has it, or before."""
    before = await head_of(ledger_url)
    wire.cut_at(number(3), delivers=delivers)
    [result] = await far.create_transfers([gift(3)], [WALLET])
    assert wire.was_cut.is_set()
    assert result.outcome is Outcome.CREATED
    assert result.balances[0] is not None
    assert result.balances[0].credit == 997
    assert await head_of(ledger_url) == before + 1
    [posted] = await near.lookup_transfers([number(3)])
    assert posted is not None
    assert posted.timestamp == result.timestamp
    assert await totals(near) == [-1_000, 997, 3]
    assert await problems(near) == []


@pytest.mark.parametrize("delivers", [True, False])
async def test_a_batch_whose_commit_is_not_answered_gets_the_answers_of_its_first_try(
    wire: Wire, near: PostgresLedger, far: PostgresLedger, ledger_url: str, delivers: bool
) -> None:
    """A hundred gifts and one that nobody can pay: it was refused, and has not failed already."""
    before = await head_of(ledger_url)
    wire.cut_at(COMMIT, delivers=delivers)
    said = await outcomes(far, [*(gift(n) for n in range(10, 110)), gift(200, 5_000)])
    assert wire.was_cut.is_set()
    assert said == [Outcome.CREATED] * 100 + [Outcome.EXCEEDS_CREDITS]
    assert await head_of(ledger_url) == before + 1
    assert await totals(near) == [-1_000, 898, 102]
    assert await problems(near) == []


@pytest.mark.parametrize("delivers", [True, False])
async def test_another_process_writes_before_the_one_that_was_cut_is_back(
    wire: Wire, near: PostgresLedger, far: PostgresLedger, delivers: bool
) -> None:
    """Also when it takes what was left in the wallet: then the gift counts only if it came first."""
    wire.cut_at(number(3), delivers=delivers)
    wire.close()
    asking = asyncio.create_task(far.create_transfers([gift(3, 500)]))
    await wire.was_cut.wait()
    assert await outcomes(near, [gift(4, 400), gift(5, 300)]) == [
        Outcome.CREATED,
        Outcome.EXCEEDS_CREDITS if delivers else Outcome.CREATED,
    ]
    wire.open()
    [result] = await asking
    assert result.outcome is (Outcome.CREATED if delivers else Outcome.EXCEEDS_CREDITS)
    assert await totals(near) == [-1_000, 98, 902] if delivers else [-1_000, 298, 702]
    assert await problems(near) == []


async def test_what_is_looked_up_over_a_wire_that_breaks_is_looked_up_again(
    wire: Wire, far: PostgresLedger
) -> None:
    await far.lookup_transfers([number(1)])
    wire.cut_at(number(2))
    [posted] = await far.lookup_transfers([number(2)])
    assert wire.was_cut.is_set()
    assert posted is not None


async def test_whoever_waits_too_long_is_told_that_nothing_is_known(
    wire: Wire, near: PostgresLedger, far: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same key, later, is the gift that was sent."""
    monkeypatch.setattr(postgres, "RETRY_SECONDS_MAX", 0.2)
    monkeypatch.setattr("largesse.ledger.postgres_server.CONNECT_SECONDS_MAX", 0.2)
    wire.cut_at(number(3))
    wire.close()
    with pytest.raises(LedgerUnavailable):
        await far.create_transfers([gift(3)])
    with pytest.raises(LedgerUnavailable):
        await far.lookup_transfers([number(3)])
    wire.open()
    assert await outcomes(far, [gift(3), gift(4)]) == [Outcome.EXISTS, Outcome.CREATED]
    assert await totals(near) == [-1_000, 996, 4]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - What is waited for says nothing.
            await asyncio.sleep(0)


async def test_trouble_that_was_over_long_ago_does_not_shorten_the_patience_of_today(
    wire: Wire, far: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came while nobody asked, and a look after it worked. A gift that is cut off is tried again."""
    monkeypatch.setattr(postgres, "EXPIRY_LOOK_SECONDS", 0)
    monkeypatch.setattr(postgres, "RETRY_SECONDS_MAX", 1)
    monkeypatch.setattr("largesse.ledger.postgres_server.CONNECT_SECONDS_MAX", 0.2)
    wire.close()
    assert far._connection is not None
    far._connection.terminate()
    far._queue.wake_up()
    with capture_logs() as logs:
        await until(lambda: bool(logs))
    wire.open()
    over = asyncio.get_running_loop().time() + 1
    await until(lambda: far._connection is not None and far._looked_at > over)
    wire.cut_at(b"FOR UPDATE", delivers=False)
    assert await outcomes(far, [gift(3)]) == [Outcome.CREATED]
    assert wire.was_cut.is_set()


# The server says no.


async def test_a_deadlock_with_somebody_elses_transaction_is_tried_again(
    near: PostgresLedger, ledger_url: str
) -> None:
    """An operator's hand-written transaction takes the same rows in the wrong order."""
    other = await asyncpg.connect(ledger_url)
    await other.execute("BEGIN; SET LOCAL deadlock_timeout = '10s'")
    await other.execute(f"SELECT 1 FROM ledger.accounts WHERE id = '{WALLET.hex()}' FOR UPDATE")
    with capture_logs() as logs:
        asking = asyncio.create_task(near.create_transfers([gift(1)]))
        while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass
        await other.execute("SELECT 1 FROM ledger.head FOR UPDATE")
        await other.execute("ROLLBACK")
        [result] = await asking
    assert result.outcome is Outcome.CREATED
    assert "DeadlockDetectedError" in {entry.get("problem") for entry in logs}
    await other.close()
    assert await problems(near) == []


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("statement_timeout = '100ms'", "QueryCanceledError"),
        ("lock_timeout = '100ms'", "LockNotAvailableError"),
    ],
)
async def test_a_statement_that_takes_too_long_is_tried_again(
    near: PostgresLedger, ledger_url: str, setting: str, problem: str
) -> None:
    assert near._connection is not None
    await near._connection.execute(f"SET {setting}")
    other = await asyncpg.connect(ledger_url)
    await other.execute("BEGIN")
    await other.execute("SELECT 1 FROM ledger.head FOR UPDATE")
    with capture_logs() as logs:
        asking = asyncio.create_task(near.create_transfers([gift(1)]))
        while not logs:
            await other.execute("SELECT 1")
        await other.execute("ROLLBACK")
        [result] = await asking
    assert result.outcome is Outcome.CREATED
    assert problem in {entry.get("problem") for entry in logs}
    await other.close()
    assert await totals(near) == [-1_000, 999, 1]


async def test_a_database_that_is_serializable_by_default_changes_nothing(
    ledger_url: str,
) -> None:
    connection = await asyncpg.connect(ledger_url)
    name = database_of(ledger_url)
    await connection.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
    )
    await connection.close()
    ledgers = [await PostgresLedger.open(ledger_url, SystemClock()) for _ in range(2)]
    await ledgers[0].create_accounts(ACCOUNTS)
    await ledgers[1].create_transfers([recharge(0, 1_000)])
    said = await asyncio.gather(*(ledgers[n % 2].create_transfers([gift(n)]) for n in range(1, 99)))
    assert {result.outcome for [result] in said} == {Outcome.CREATED}
    for ledger in ledgers:
        await ledger.close()


async def test_a_row_that_somebody_put_there_by_hand_fails_its_callers_and_nobody_else(
    near: PostgresLedger, ledger_url: str
) -> None:
    """The engine does not know of it, the database does: what cannot be is not tried for ever."""
    connection = await asyncpg.connect(ledger_url)
    await near.create_transfers([gift(1)])
    query = "INSERT INTO ledger.transfers SELECT '{}', {} FROM ledger.transfers WHERE id = '{}'"
    columns = await connection.fetch(
        "SELECT quote_ident(attname) FROM pg_attribute WHERE attnum > 1"
        " AND attrelid = 'ledger.transfers'::regclass ORDER BY attnum"
    )
    names = ", ".join(row[0] for row in columns)
    await connection.execute(query.format(number(2).hex(), names, number(1).hex()))
    await connection.close()
    with pytest.raises(LedgerUnavailable):
        await near.create_transfers([gift(2)])
    assert await outcomes(near, [gift(3)]) == [Outcome.CREATED]
    assert await problems(near) != []


# The server goes away.


@pytest.fixture
def own_server() -> Iterator[Server]:
    with postgres_servers.server() as made:
        yield made


@pytest.mark.parametrize("way", ["immediate", "kill", "fast"])
async def test_a_server_that_goes_down_under_load_and_comes_back_is_not_noticed_by_callers(
    own_server: Server, way: str
) -> None:
    """Three processes send gifts meanwhile; each is answered as created, once, and is there."""
    url = own_server.url()
    await migrate(url)
    ledgers = [await PostgresLedger.open(url, SystemClock()) for _ in range(3)]
    await ledgers[0].create_accounts(ACCOUNTS)
    await ledgers[0].create_transfers([recharge(0, 100_000)])
    sent: dict[int, Outcome] = {}
    many = asyncio.Event()
    over = asyncio.Event()

    async def send(ledger: PostgresLedger, first: int) -> None:
        n = first
        while not over.is_set():
            [result] = await ledger.create_transfers([gift(n)])
            assert n not in sent
            sent[n] = result.outcome
            n += 1
            if len(sent) > 500:
                many.set()

    sending = [asyncio.create_task(send(ledgers[n % 3], 10_000 * (n + 1))) for n in range(24)]
    await many.wait()
    await asyncio.to_thread(own_server.kill if way == "kill" else lambda: own_server.stop(way))
    before = len(sent)
    await asyncio.to_thread(own_server.start)
    many.clear()
    while len(sent) < before + 200:
        await many.wait()
        many.clear()
    over.set()
    await asyncio.gather(*sending)
    assert set(sent.values()) == {Outcome.CREATED}
    assert all(await ledgers[0].lookup_transfers([number(n) for n in sent]))
    assert await totals(ledgers[1]) == [-100_000, 100_000 - len(sent), len(sent)]
    changes = []
    while page := await ledgers[2].changes(changes[-1].timestamp if changes else 0):
        changes += page
    gifts = [posted.transfer.id for change in changes for posted in change.chain]
    assert len(gifts) == len(set(gifts)) == len(sent) + 1
    assert await problems(ledgers[0]) == []
    for ledger in ledgers:
        await ledger.close()
