"""Open records in a folder of their own; the file is migrated once and copied for each test."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from largesse.records.database import Database, migrate, sqlite_url


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "records.sqlite"
    migrate(sqlite_url(file))
    return file


@pytest.fixture
def url_of_db(tmp_path: Path, migrated: Path) -> str:
    return sqlite_url(Path(shutil.copy(migrated, tmp_path / "open.sqlite")))


@pytest.fixture
async def db(url_of_db: str) -> AsyncIterator[Database]:
    db = await Database.open(url_of_db)
    yield db
    await db.close()
