"""Open records in a folder of their own; the file is migrated once and copied for each test."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from largesse.identity import passwords
from largesse.records.database import Database, migrate, sqlite_url


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "records.sqlite"
    asyncio.run(migrate(sqlite_url(file)))
    return file


@pytest.fixture
def url_of_db(tmp_path: Path, migrated: Path) -> str:
    return sqlite_url(Path(shutil.copy(migrated, tmp_path / "open.sqlite")))


@pytest.fixture
async def db(url_of_db: str) -> AsyncIterator[Database]:
    db = await Database.open(url_of_db)
    yield db
    await db.close()


@pytest.fixture(autouse=True)
def cheap_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real algorithm with as little work as it allows, but where the work is the subject."""
    if "real_passwords" not in request.fixturenames:
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        monkeypatch.setattr(passwords, "_hasher", cheap)
        monkeypatch.setattr(passwords, "NOBODY", cheap.hash("nobody"))


@pytest.fixture
def real_passwords() -> None:
    """Ask for it to hash as in production."""
