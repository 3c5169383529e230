"""The records on a real PostgreSQL: made whole, refused where they cannot be safe, healed."""

import asyncio
from itertools import pairwise

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from largesse.errors import Rejected
from largesse.records import database, tables
from largesse.records.database import Database, RecordsUnavailable, migrate, schema_version
from tests import databases, postgres


async def test_a_fresh_database_is_migrated_and_opened(postgres_url):
    assert await schema_version(postgres_url) is None
    with pytest.raises(Rejected, match="records_not_migrated"):
        await Database.open(postgres_url)
    await migrate(postgres_url)
    await migrate(postgres_url)
    assert await schema_version(postgres_url) == database.HEAD
    db = await Database.open(postgres_url)
    async with db.connect() as tx:
        assert (await tx.execute(sa.select(tables.users))).all() == []
    await db.close()


async def test_the_migrated_database_has_exactly_the_tables_of_the_code(postgres, postgres_url):
    await migrate(postgres_url)
    created_url = postgres.url(databases.postgres.create_database(postgres))
    migrated, differences = await inspected(postgres_url, create=False)
    created, _ = await inspected(created_url, create=True)
    assert differences == []
    assert migrated == created


async def inspected(url: str, *, create: bool) -> tuple[list[str], list[object]]:
    """Every column, constraint and index as the database itself tells it; and what Alembic sees."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as tx:
        if create:
            await tx.exec_driver_sql("CREATE SCHEMA records")
        await tx.exec_driver_sql("SET search_path TO records")
        if create:
            await tx.run_sync(tables.metadata.create_all)
        told: list[str] = []
        for query in (
            "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' '"
            " || coalesce(character_maximum_length::text, '') || coalesce(column_default, '')"
            " FROM information_schema.columns WHERE table_schema = 'records'",
            "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE connamespace = 'records'::regnamespace",
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'records'",
        ):
            told += (await tx.exec_driver_sql(query)).scalars()
        differences = await tx.run_sync(
            lambda connection: compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": True}),
                tables.metadata,
            )
        )
    await engine.dispose()
    return sorted(line for line in told if "alembic_version" not in line), differences


async def test_ten_hosts_that_migrate_at_once_do_it_once(postgres_url):
    await asyncio.gather(*(migrate(postgres_url) for _ in range(10)))
    assert await schema_version(postgres_url) == database.HEAD


async def test_what_others_have_in_the_database_is_no_matter_but_not_in_our_place(
    postgres, postgres_url
):
    name = postgres_url.rpartition("/")[2]
    postgres_sql(postgres, "CREATE TABLE public.users (name text)", name)
    await migrate(postgres_url)
    postgres_sql(postgres, "DROP TABLE records.alembic_version", name)
    for attempt in (migrate, schema_version, Database.open):
        with pytest.raises(Rejected, match="records_not_ours") as refused:
            await attempt(postgres_url)
        assert refused.value.facts["schema"] == "records"


async def test_a_database_of_a_newer_version_is_neither_opened_nor_migrated(postgres, postgres_url):
    await migrate(postgres_url)
    name = postgres_url.rpartition("/")[2]
    postgres_sql(postgres, "UPDATE records.alembic_version SET version_num = '9999'", name)
    for attempt in (migrate, Database.open):
        with pytest.raises(Rejected, match="records_newer"):
            await attempt(postgres_url)


async def test_a_server_that_cannot_be_used_is_refused_by_name_and_without_its_password(postgres):
    nowhere = f"postgresql://largesse:secret@127.0.0.1:{databases.postgres.free_port()}/shop"
    wrong = postgres.url("postgres", password="secret")
    missing = postgres.url("nowhere")
    for url, code in (
        (nowhere, "database_unreachable"),
        (wrong, "database_password_wrong"),
        (missing, "database_missing"),
        ("postgresql://largesse:secret@[/shop", "database_unreachable"),
        ("postgresql://largesse:sec/secret@127.0.0.1/shop", "database_unreachable"),
        ("postgresql://127.0.0.1:1/shop?password=x@secret", "database_unreachable"),
    ):
        with pytest.raises(Rejected) as refused:
            await Database.open(url)
        assert refused.value.code == code
        assert "secret" not in str(refused.value)
        assert postgres_password not in str(refused.value)
    assert refused.value.facts.keys() >= {"host", "port", "database"}


async def test_who_may_not_make_our_place_is_told(postgres, postgres_url):
    name = postgres_url.rpartition("/")[2]
    postgres_sql(postgres, "DROP ROLE IF EXISTS guest", name)
    postgres_sql(postgres, "CREATE ROLE guest LOGIN PASSWORD 'for-the-tests'", name)
    with pytest.raises(Rejected, match="database_not_allowed") as refused:
        await migrate(postgres_url.replace("//largesse:", "//guest:"))
    assert refused.value.facts["database"] == name


async def test_a_server_that_may_lose_what_it_answered_is_refused():
    with databases.postgres.server(fsync="off", synchronous_commit="off") as server:
        url = server.url(databases.postgres.create_database(server))
        await migrate(url)
        with pytest.raises(Rejected, match="database_unsafe") as refused:
            await Database.open(url)
        assert refused.value.facts["settings"] == ["fsync", "synchronous_commit"]
        db = await Database.open(url, allow_unsafe=True)
        await db.close()


async def test_after_a_restart_of_the_server_the_next_statement_finds_it():
    """The connections in the pool are those of the server before; nobody notices."""
    with databases.postgres.server() as server:
        url = server.url(databases.postgres.create_database(server))
        await migrate(url)
        db = await Database.open(url)
        await asyncio.gather(*(versions(db) for _ in range(5)))
        # In a thread, because a process that does nothing meanwhile hears of nothing.
        await asyncio.to_thread(server.stop, "immediate")
        await asyncio.to_thread(server.start)
        await add(db, 1)
        assert await asyncio.gather(*(versions(db) for _ in range(5))) == [[1]] * 5

        await asyncio.to_thread(server.stop, "immediate")
        for _ in range(3):
            with pytest.raises(RecordsUnavailable) as refused:
                await versions(db)
            assert refused.value.reason == "connection_lost"
        await asyncio.to_thread(server.start)
        assert await asyncio.gather(*(versions(db) for _ in range(5))) == [[1]] * 5
        await db.close()


async def test_a_write_whose_connection_is_cut_is_not_kept_and_says_so(db_on_server, postgres):
    db = db_on_server

    async def write() -> None:
        async with db.begin() as tx:
            await tx.execute(price_list(1))
            mine = (await tx.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
            postgres_sql(postgres, f"SELECT pg_terminate_backend({mine})", "postgres")
            await tx.execute(price_list(2))

    with pytest.raises(RecordsUnavailable) as refused:
        await write()
    assert refused.value.reason == "connection_lost"
    assert await versions(db) == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("40001", "busy"),
        ("40P01", "busy"),
        ("25006", "read_only"),
        ("53100", "disk_full"),
        ("53300", "too_many_connections"),
        ("57P01", "connection_lost"),
        ("57014", "busy"),
        ("XX001", "damaged"),
    ],
)
async def test_what_the_server_says_of_itself_is_no_fault_of_the_statement(
    db_on_server, state, reason
):
    async def fail() -> None:
        async with db_on_server.begin() as tx:
            await tx.execute(price_list(1))
            await tx.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")

    with pytest.raises(RecordsUnavailable) as refused:
        await fail()
    assert refused.value.reason == reason
    assert await versions(db_on_server) == []


async def test_a_reader_cannot_write(db_on_server):
    async def write() -> None:
        async with db_on_server.connect() as tx:
            await tx.execute(price_list(1))

    with pytest.raises(RecordsUnavailable, match="read_only"):
        await write()
    await add(db_on_server, 1)
    assert await versions(db_on_server) == [1]


async def test_two_who_wait_for_each_other_do_not_wait_for_ever(db_on_server):
    db = db_on_server
    await add(db, 1)
    await add(db, 2)
    have_one = asyncio.Barrier(2)

    async def touch(first: int, second: int) -> None:
        async with db.begin() as tx:
            await tx.execute(changed(first))
            await have_one.wait()
            await tx.execute(changed(second))

    outcomes = await asyncio.gather(touch(1, 2), touch(2, 1), return_exceptions=True)
    [refused] = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(refused, RecordsUnavailable)
    assert refused.reason == "busy"


async def test_writers_who_wait_for_a_row_leave_readers_their_way(db_on_server):
    """Twelve want the row that one holds: more than there are connections."""
    db = db_on_server
    await add(db, 1)
    may_end, inside = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with db.begin() as tx:
            await tx.execute(changed(1))
            inside.set()
            await may_end.wait()

    async def write() -> None:
        async with db.begin() as tx:
            await tx.execute(changed(1))

    tasks = [asyncio.create_task(slow())]
    await inside.wait()
    tasks += [asyncio.create_task(write()) for _ in range(12)]
    found = await asyncio.wait_for(asyncio.gather(*(versions(db) for _ in range(20))), 10)
    assert found == [[1]] * 20
    may_end.set()
    await asyncio.gather(*tasks)


async def test_a_text_that_no_database_server_can_hold_is_a_request_that_cannot_be_read(
    db_on_server,
):
    from largesse.records import users

    with pytest.raises(Rejected, match="request_invalid"):
        await users.find_by_login(db_on_server, "ana\x00")


async def test_who_locks_the_same_goes_one_after_another(db_on_server):
    """Each counts, lets the others run, and adds: no number is given twice."""

    async def take_next() -> None:
        async with db_on_server.begin() as tx:
            await database.lock(tx, "price_lists")
            last = (
                await tx.execute(sa.select(sa.func.max(tables.price_lists.c.version)))
            ).scalar_one()
            await asyncio.sleep(0)
            await tx.execute(price_list((last or 0) + 1))

    await asyncio.gather(*(take_next() for _ in range(30)))
    found = await versions(db_on_server)
    assert all(later == earlier + 1 for earlier, later in pairwise(found))
    assert len(found) == 30


@pytest.fixture
async def db_on_server(tmp_path, request):
    with databases.records("postgres", tmp_path, request) as url:
        db = await Database.open(url)
        yield db
        await db.close()


postgres_password = postgres.PASSWORD


def postgres_sql(server: postgres.Server, statement: str, name: str) -> None:
    postgres.sql(server, statement, database=name)


def price_list(version: int) -> sa.Insert:
    return tables.price_lists.insert().values(
        version=version, hash=version.to_bytes(32, "big"), content=b"", since=1
    )


def changed(version: int) -> sa.Update:
    table = tables.price_lists
    return table.update().where(table.c.version == version).values(since=table.c.since + 1)


async def add(db: Database, version: int) -> None:
    async with db.begin() as tx:
        await tx.execute(price_list(version))


async def versions(db: Database) -> list[int]:
    async with db.connect() as tx:
        rows = await tx.execute(sa.select(tables.price_lists.c.version).order_by("version"))
        return list(rows.scalars())
