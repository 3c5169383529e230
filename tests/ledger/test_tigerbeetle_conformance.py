"""
The conformance suite and the pages of rules on a TigerBeetle cluster: the independent witness.

Every test of those files that takes an engine runs here too, with the cluster in the engine's place.
"""

import inspect
from collections.abc import AsyncIterator

import pytest

from largesse.ledger import Ledger
from tests import ledger_script
from tests.ledger import test_conformance, test_precedence, test_query, test_tables
from tests.ledger import tigerbeetle_engine as tigerbeetle
from tests.ledger.conftest import Check

if not tigerbeetle.ADDRESS:
    pytest.skip(tigerbeetle.NO_CLUSTER, allow_module_level=True)

SUITES = (test_conformance, test_precedence, test_query, test_tables)
ON_AN_ENGINE = {"ledger", "world", "history", "check", "both"}
for suite in SUITES:
    for name, test in vars(suite).items():
        if name.startswith("test_") and ON_AN_ENGINE & inspect.signature(test).parameters.keys():
            globals()[name] = test
world, history, both = test_conformance.world, test_conformance.history, test_query.both


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> tigerbeetle.WaitingClock:
    tigerbeetle.skip_what_is_different(request)
    return tigerbeetle.WaitingClock()


@pytest.fixture
async def ledger(clock: tigerbeetle.WaitingClock) -> AsyncIterator[Ledger]:
    cluster = await tigerbeetle.open_cluster()
    yield cluster
    await cluster.close()


@pytest.fixture
async def check(ledger: Ledger, clock: tigerbeetle.WaitingClock) -> Check:
    async def run(script: str) -> None:
        await ledger_script.check(ledger, clock, script)

    return run
