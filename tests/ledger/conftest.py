"""The engines, and the oracle beside them, as fixtures."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from largesse.clock import Clock, ManualClock
from largesse.ledger import Ledger
from largesse.ledger.memory import MemoryLedger
from largesse.ledger.sqlite import SqliteLedger
from tests import ledger_script
from tests.ledger.oracle import Oracle

Check = Callable[[str], Awaitable[None]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def open_engine(name: str, path: Path, clock: Clock) -> Ledger:
    if name == "oracle":
        return Oracle(clock)
    if name == "memory":
        return MemoryLedger(clock)
    assert name == "sqlite"
    return await SqliteLedger.open(path, clock)


@pytest.fixture(params=["memory", "sqlite"])
async def ledger(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Ledger]:
    """Every engine of ours."""
    engine = await open_engine(request.param, tmp_path / "ledger.sqlite", clock)
    yield engine
    await engine.close()


@pytest.fixture(params=["oracle", "memory", "sqlite"])
async def check(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Check]:
    """Runs a page of the ledger on every engine, and on the oracle, which must agree."""
    engine = await open_engine(request.param, tmp_path / "ledger.sqlite", clock)

    async def run(script: str) -> None:
        await ledger_script.check(engine, clock, script)

    yield run
    await engine.close()
