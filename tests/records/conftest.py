"""Open records of a test's own, in a file and in a PostgreSQL: what holds, holds in both."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from largesse.clock import ManualClock
from largesse.records.database import Database
from tests import databases
from tests.records.town import Town, open_town


@pytest.fixture(params=databases.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def url_of_db(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    with databases.records(engine, tmp_path, request) as url:
        yield url


@pytest.fixture
async def db(url_of_db: str) -> AsyncIterator[Database]:
    db = await Database.open(url_of_db)
    yield db
    await db.close()


@pytest.fixture
async def town(clock: ManualClock) -> AsyncIterator[Town]:
    async with open_town(clock) as opened:
        yield opened
