"""The records' file: made whole, refused when it is not ours, one writer at a time."""

import asyncio
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.schema import CreateIndex, CreateTable

from largesse.errors import Rejected
from largesse.records import database, projections, tables
from largesse.records.database import Database, RecordsUnavailable, migrate, schema_version
from tests import databases

only_a_file = pytest.mark.parametrize("engine", ["sqlite"])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return database.sqlite_url(tmp_path / "records.sqlite")


async def test_a_fresh_file_is_migrated_and_opened(url):
    assert await schema_version(url) is None
    await migrate(url)
    assert await schema_version(url) == database.HEAD
    db = await Database.open(url)
    async with db.connect() as tx:
        assert (await tx.execute(sa.select(tables.users))).all() == []
        pragmas = [
            (await tx.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    await db.close()
    assert pragmas == ["wal", 2, 1, database.BUSY_SECONDS * 1000]


async def test_the_migrated_file_has_exactly_the_tables_of_the_code(url, tmp_path):
    await migrate(url)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        # Alembic does not compare everything, so the text that made each table is compared too.
        migrated = _shape(connection)
    engine.dispose()
    engine = sa.create_engine(database.sqlite_url(tmp_path / "other.sqlite"))
    with engine.begin() as connection:
        tables.metadata.create_all(connection)
        created = _shape(connection)
    engine.dispose()
    assert migrated == created


def _shape(connection: sa.Connection) -> dict[str, list[str]]:
    rows = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'"
    )
    return {
        name: sorted(part.strip() for part in re.split(r"[,\n]", sql) if part.strip())
        for name, sql in rows
    }


def test_the_revisions_in_the_code_are_those_in_the_folder():
    config = Config()
    config.set_main_option("script_location", "largesse.records:migrations")
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [database.HEAD]
    found = [revision.revision for revision in script.walk_revisions()]
    assert tuple(reversed(found)) == database.REVISIONS


def test_every_table_can_be_made_on_postgresql():
    dialect = postgresql.dialect()
    for table in tables.metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect))


def test_what_is_written_in_bulk_can_be_written_on_postgresql_too():
    dialect = asyncpg.dialect()
    text = database._insert_text(dialect, tables.top_gifters, projections._add_up, 2)
    assert "VALUES ($1::VARCHAR, $2::BYTEA, $3::BYTEA, $4::BIGINT" in text
    assert "$12) ON CONFLICT (scope, scope_id, viewer_id) DO UPDATE" in text


def test_a_file_at_head_is_left_alone_without_loading_alembic(url):
    databases.apart(migrate(url))
    program = (
        "import asyncio, sys\n"
        "from largesse.records.database import migrate\n"
        f"asyncio.run(migrate({url!r}))\n"
        "sys.exit('alembic' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_a_file_of_a_newer_version_is_refused(url, tmp_path):
    await migrate(url)
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(Rejected, match="records_newer"):
        await migrate(url)


async def test_a_newer_file_is_not_opened_either(url, tmp_path):
    await migrate(url)
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(Rejected, match="records_newer"):
        await Database.open(url)


async def test_a_file_that_was_never_migrated_is_not_opened(url, tmp_path):
    with pytest.raises(Rejected, match="records_not_migrated"):
        await Database.open(url)
    assert not (tmp_path / "records.sqlite").exists()


async def test_somebody_elses_database_is_not_touched(url, tmp_path):
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        connection.execute("CREATE TABLE recipes (name)")
    connection.close()
    before = (tmp_path / "records.sqlite").read_bytes()
    with pytest.raises(Rejected, match="records_not_ours"):
        await migrate(url)
    assert (tmp_path / "records.sqlite").read_bytes() == before


async def test_a_file_that_is_no_database_is_damaged(url, tmp_path):
    (tmp_path / "records.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(RecordsUnavailable, match="damaged"):
        await migrate(url)


async def test_another_database_than_ours_is_refused_by_name():
    with pytest.raises(Rejected, match="database_not_supported"):
        await migrate("mysql://localhost/largesse")


async def test_a_migration_that_breaks_half_way_leaves_nothing(url, tmp_path, monkeypatch):
    """The disk fills up at the tenth page; the next attempt starts from nothing."""
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS, "PRAGMA max_page_count = 10"))
    with pytest.raises(RecordsUnavailable, match="disk_full"):
        await migrate(url)
    monkeypatch.undo()
    assert await schema_version(url) is None
    await migrate(url)
    assert await schema_version(url) == database.HEAD


async def test_a_write_that_fails_leaves_nothing(db):
    async def fail() -> None:
        async with db.begin() as tx:
            await tx.execute(_price_list(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await _versions(db) == []


@only_a_file
async def test_a_full_disk_says_so_and_keeps_nothing(db):
    async def fill() -> None:
        async with db.begin() as tx:
            await tx.execute(_price_list(1))
            pages = (await tx.exec_driver_sql("PRAGMA page_count")).scalar_one()
            await tx.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            await tx.execute(_price_list(2, content=b"x" * 1_000_000))

    with pytest.raises(RecordsUnavailable) as refused:
        await fill()
    assert refused.value.reason == "disk_full"
    assert await _versions(db) == []


@only_a_file
async def test_a_read_only_disk_says_so(db):
    async def write() -> None:
        async with db.connect() as tx:
            await tx.exec_driver_sql("PRAGMA query_only = ON")
            try:
                await tx.execute(_price_list(1))
            finally:
                await tx.exec_driver_sql("PRAGMA query_only = OFF")

    with pytest.raises(RecordsUnavailable) as refused:
        await write()
    assert refused.value.reason == "read_only"


@only_a_file
async def test_many_writers_at_once_all_succeed(db):
    """Each reads, lets the others run, and writes: nobody is locked out, nothing is lost."""

    async def take_next() -> None:
        async with db.begin() as tx:
            found = await tx.execute(sa.select(sa.func.max(tables.price_lists.c.version)))
            await asyncio.sleep(0)
            await tx.execute(_price_list((found.scalar_one() or 0) + 1))

    await asyncio.gather(*(take_next() for _ in range(50)))
    assert await _versions(db) == list(range(1, 51))


async def test_writers_that_wait_leave_the_readers_their_way(db):
    """Ten wait for one that takes its time: more than there are connections."""
    may_end = asyncio.Event()

    async def slow() -> None:
        async with db.begin():
            await may_end.wait()

    async def write(version: int) -> None:
        async with db.begin() as tx:
            await tx.execute(_price_list(version))

    tasks = [asyncio.create_task(slow())]
    tasks += [asyncio.create_task(write(version)) for version in range(10)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(_versions(db), 5) == []
    may_end.set()
    await asyncio.gather(*tasks)
    assert await _versions(db) == list(range(10))


@only_a_file
async def test_two_processes_writing_wait_for_each_other(db, url_of_db):
    other = await Database.open(url_of_db)
    try:

        async def take_next(database_: Database) -> None:
            async with database_.begin() as tx:
                found = await tx.execute(sa.select(sa.func.max(tables.price_lists.c.version)))
                await tx.execute(_price_list((found.scalar_one() or 0) + 1))

        await asyncio.gather(*(take_next((db, other)[n % 2]) for n in range(20)))
        assert await _versions(db) == list(range(1, 21))
    finally:
        await other.close()


async def test_a_reader_sees_one_moment_while_others_write(db):
    async with db.connect() as reader:
        assert (await reader.execute(sa.select(tables.price_lists))).all() == []
        async with db.begin() as tx:
            await tx.execute(_price_list(1))
        assert (await reader.execute(sa.select(tables.price_lists))).all() == []
    assert await _versions(db) == [1]


async def test_a_cancelled_write_is_undone_and_the_next_one_runs(db):
    inside = asyncio.Event()

    async def slow() -> None:
        async with db.begin() as tx:
            await tx.execute(_price_list(1))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(slow())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with db.begin() as tx:
        await tx.execute(_price_list(2))
    assert await _versions(db) == [2]


async def test_a_write_inside_a_write_is_noticed_instead_of_waiting_for_ever(db):
    with pytest.raises(AssertionError):
        async with db.begin(), db.begin():
            pass


def _price_list(version: int, content: bytes = b"") -> sa.Insert:
    return tables.price_lists.insert().values(
        version=version, hash=version.to_bytes(32, "big"), content=content, since=1
    )


async def _versions(db: Database) -> list[int]:
    async with db.connect() as tx:
        rows = await tx.execute(sa.select(tables.price_lists.c.version).order_by("version"))
        return list(rows.scalars())
