"""The engines, and the oracle beside them, as fixtures."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest

from largesse.clock import Clock, ManualClock
from largesse.ledger import Ledger
from largesse.ledger.memory import MemoryLedger
from largesse.ledger.postgres import PostgresLedger, migrate
from largesse.ledger.sqlite import SqliteLedger
from tests import ledger_script
from tests import postgres as postgres_servers
from tests.databases import apart
from tests.ledger.lossy import Turns
from tests.ledger.oracle import Oracle
from tests.postgres import Server

ENGINES = ("memory", "sqlite", "postgres")
Check = Callable[[str], Awaitable[None]]
_shared: dict[str, str] = {}
"""The database of all tests of the session, by the name of the ledger that is in it now."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def server_of_the_engine(request: pytest.FixtureRequest) -> None:
    """A test on the engine `postgres` has the session's server, and an empty ledger in it."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and {"postgres", "postgres in turns"} & {*callspec.params.values()}:
        _shared.clear()
        _shared[""] = _database(request.getfixturevalue("postgres"))


@cache
def _database(server: Server) -> str:
    return server.url(postgres_servers.create_database(server, template=_template(server)))


async def _ledger_at(path: Path) -> str:
    """The session's ledger as it was left, if it was last opened under this path; else an empty one."""
    [(last, url)] = _shared.items()
    if last != str(path):
        await empty(url)
        _shared.clear()
        _shared[str(path)] = url
    return url


async def empty(url: str) -> None:
    """Nothing has happened in this ledger; far quicker than another database."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "DELETE FROM ledger.batches; DELETE FROM ledger.transfers; DELETE FROM ledger.accounts;"
        "DELETE FROM ledger.refused; DELETE FROM ledger.pendings;"
        "UPDATE ledger.head SET sequence = 0, last_timestamp = 0,"
        " hash = decode(repeat('00', 32), 'hex')"
    )
    await connection.close()


@pytest.fixture
def ledger_url(postgres: Server) -> Iterator[str]:
    """A ledger of this test's own, on the session's server."""
    name = postgres_servers.create_database(postgres, template=_template(postgres))
    yield postgres.url(name)
    postgres_servers.drop_database(postgres, name)


@cache
def _template(server: Server) -> str:
    name = postgres_servers.create_database(server)
    apart(migrate(server.url(name)))
    return name


async def open_engine(name: str, path: Path, clock: Clock) -> Ledger:
    if name == "oracle":
        return Oracle(clock)
    if name == "memory":
        return MemoryLedger(clock)
    if name == "postgres":
        return await PostgresLedger.open(await _ledger_at(path), clock)
    if name == "postgres in turns":
        url = await _ledger_at(path)
        ledgers = [await PostgresLedger.open(url, clock) for _ in range(2)]
        return Turns(*ledgers)
    assert name == "sqlite"
    return await SqliteLedger.open(path, clock)


@pytest.fixture(params=ENGINES)
async def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Ledger]:
    """Every engine of ours."""
    engine = await open_engine(request.param, tmp_path / "ledger.sqlite", clock)
    yield engine
    await engine.close()


@pytest.fixture(params=["oracle", *ENGINES])
async def check(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Check]:
    """Runs a page of the ledger on every engine, and on the oracle, which must agree."""
    engine = await open_engine(request.param, tmp_path / "ledger.sqlite", clock)

    async def run(script: str) -> None:
        await ledger_script.check(engine, clock, script)

    yield run
    await engine.close()
