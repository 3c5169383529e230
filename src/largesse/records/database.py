"""
The database behind the records: its connections, its transactions, and the version of its tables.

A file of SQLite has one writer at a time, a PostgreSQL many, in this process and in others. So what
reads and then writes says whom it must be alone with (`lock`, a row that is locked, a condition in
the change itself), and never relies on being the only one. The statements are the same for both; the
few places where dialects differ are in this file, and in `postgres.py` what only that one needs.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from largesse.errors import Rejected
from largesse.settings import database_facts

if TYPE_CHECKING:
    from largesse.records.postgres import Found

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""The revisions of `migrations/versions`, oldest first. A test keeps them in step."""
HEAD = REVISIONS[-1]

CONNECTIONS_MAX = 4
"""Open connections to a file; each is a thread. `postgres.py` has the number for a server."""
BUSY_SECONDS = 10
"""How long to wait for another process that is writing to the same file."""

SUPPORTED = ("sqlite", "postgresql")
_ROWS_PER_STATEMENT = (64, 8, 1)

# Larger than SQLite's 1,000 pages and 2 MB, because projections write many small random pages.
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA cache_size = -8000",
)

# https://sqlite.org/rescode.html: everything that the caller of a right statement cannot help.
_REASONS = {
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_PERM: "read_only",
    sqlite3.SQLITE_AUTH: "read_only",
    sqlite3.SQLITE_CANTOPEN: "cannot_open",
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_IOERR: "disk_error",
    sqlite3.SQLITE_PROTOCOL: "disk_error",
    sqlite3.SQLITE_NOMEM: "out_of_memory",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}


class RecordsUnavailable(Exception):
    """
    The records could not be read or written, and it is not the caller's doing.

    `reason` is disk_full, read_only, cannot_open, busy, disk_error, out_of_memory, damaged,
    too_many_connections, not_allowed or connection_lost. Nothing of the transaction has been kept; only after
    connection_lost, at the very end, it may have been, so whatever is asked again must bear it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Database:
    """
    The open records. `begin` writes, `connect` reads; each yields a connection in a transaction.

    Writers of a file wait for one another inside the process, so nobody ever sees "database is
    locked". Those of a server write at once, each seeing what was committed when its statement
    began. A write may not be nested in another of the same task.
    """

    def __init__(self, engine: AsyncEngine, reading: AsyncEngine, *, writers: int) -> None:
        self.on_user_change: list[Callable[[str], None]] = []
        """Called with a user's id once a change to their record or sessions is committed."""
        self._engine = engine
        self._reading = reading
        self._is_server = engine.dialect.name == "postgresql"
        self._writing = asyncio.Semaphore(writers)
        self._writers: set[asyncio.Task[Any] | None] = set()

    @classmethod
    async def open(cls, url: str, *, allow_unsafe: bool = False) -> "Database":
        """
        Open migrated records: `sqlite:////folder/records.sqlite` (see `sqlite_url`), or
        `postgresql://user:password@host:port/database`.

        `allow_unsafe` takes a server that may lose what it has answered.

        Raises:
            Rejected: database_not_supported, records_not_migrated, records_not_ours, records_newer;
                of a server also database_unreachable, database_password_wrong, database_missing,
                database_not_allowed, database_too_old, database_unsafe.
            RecordsUnavailable: they cannot be opened or written.
        """
        if _is_postgres(url):
            return await cls._open_server(url, allow_unsafe)
        path = _path(url)
        if _known(_version(path)) != HEAD:
            raise Rejected("records_not_migrated", needed=HEAD)
        engine = create_async_engine(
            sa.URL.create("sqlite+aiosqlite", database=str(path)),
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
        )
        _prepare(engine.sync_engine)
        return await cls(engine, engine, writers=1)._tried()

    @classmethod
    async def _open_server(cls, url: str, allow_unsafe: bool) -> "Database":
        from largesse.records import postgres

        with _translated(is_server=True):
            found = await postgres.examine(url)
        if _known(_version_of(found, url)) != HEAD:
            raise Rejected("records_not_migrated", needed=HEAD)
        if found.unsafe and not allow_unsafe:
            raise Rejected("database_unsafe", **database_facts(url), settings=list(found.unsafe))
        engine = postgres.engine(url)
        return await cls(engine, postgres.reading(engine), writers=postgres.WRITERS_MAX)._tried()

    async def _tried(self) -> "Database":
        """Itself, once a write transaction has begun and ended."""
        try:
            async with self.begin() as tx:
                if self._is_server:
                    found = await tx.exec_driver_sql("SHOW transaction_read_only")
                    if found.scalar_one() == "on":
                        raise RecordsUnavailable("read_only", "the server takes no writes")
        except BaseException:
            await self._engine.dispose()
            raise
        return self

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """
        A write transaction: committed at the end of the block, undone by any exception.

        Raises:
            RecordsUnavailable: the disk is full or read-only, the file is not in order, or the
                server does not answer.
        """
        task = asyncio.current_task()
        assert task not in self._writers, "A write inside a write waits for ever."
        async with self._writing:
            self._writers.add(task)
            try:
                with _translated(is_server=self._is_server):
                    async with self._engine.connect() as tx:
                        await tx.execution_options(largesse_writes=True)
                        async with tx.begin():
                            yield tx
            finally:
                self._writers.discard(task)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """
        A read transaction: every statement in the block sees the same moment.

        Raises:
            RecordsUnavailable: the disk or the file is not in order, or the server does not answer.
        """
        with _translated(is_server=self._is_server):
            async with self._reading.connect() as tx:
                yield tx

    def user_changed(self, user_id: str) -> None:
        """Tell whoever remembers this user that what they remember is old."""
        for listener in self.on_user_change:
            listener(user_id)

    async def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the file."""
        await self._engine.dispose()


async def lock(tx: AsyncConnection, *what: str) -> None:
    """
    Wait until nobody else who locks the same is in a transaction, and keep others waiting.

    For what is counted before it is added to, where there is no row to lock. In a file, writers wait
    for one another anyway.
    """
    if tx.dialect.name == "postgresql":
        name = blake2b("\x1f".join(what).encode(), digest_size=8).digest()
        number = int.from_bytes(name, "big", signed=True)
        await tx.execute(
            sa.select(sa.func.pg_advisory_xact_lock(sa.literal(number, sa.BigInteger)))
        )


async def empty(tx: AsyncConnection, table: sa.Table) -> None:
    """Delete every row, without reading them."""
    if tx.dialect.name == "postgresql":
        await tx.exec_driver_sql(f"TRUNCATE {table.name}")
    else:
        await tx.execute(table.delete())  # Without a condition it is as quick there.


def insert(tx: AsyncConnection, table: sa.Table) -> sqlite.Insert:
    """
    An insert that may add `on_conflict_do_nothing` or `on_conflict_do_update`.

    Both dialects write these alike; Core has no common name for them.
    """
    return insert_for(tx.dialect, table)


def insert_for(dialect: sa.Dialect, table: sa.Table) -> sqlite.Insert:
    """`insert` where there is a dialect and no connection yet."""
    if dialect.name == "postgresql":
        return postgresql.insert(table)  # type: ignore[return-value]
    return sqlite.insert(table)


async def insert_many(
    tx: AsyncConnection,
    table: sa.Table,
    rows: Sequence[tuple[Any, ...]],
    *,
    conflict: Callable[[sqlite.Insert], sqlite.Insert] = lambda statement: statement,
) -> None:
    """
    Insert many rows, each in the order of the table's columns and as the driver takes it (ids are
    bytes). `conflict` says what happens to a row that is there already.

    Many rows go into one statement. SQLite's driver gives up Python's lock at every statement, and
    gets it back only after five milliseconds when the event loop is busy: an `executemany` row by
    row, measured so, took 1 ms a row instead of 10 microseconds. A PostgreSQL takes the statements
    without an answer to each: a thousand rows in 12 ms.
    """
    start = 0
    for size in _ROWS_PER_STATEMENT:
        stop = start + (len(rows) - start) // size * size
        if start < stop:
            text = _insert_text(tx.dialect, table, conflict, size)
            parameters = [
                tuple(chain.from_iterable(rows[place : place + size]))
                for place in range(start, stop, size)
            ]
            await tx.exec_driver_sql(text, parameters)
            start = stop


@lru_cache
def _insert_text(
    dialect: sa.Dialect,
    table: sa.Table,
    conflict: Callable[[sqlite.Insert], sqlite.Insert],
    size: int,
) -> str:
    values: list[dict[str, sa.BindParameter[Any]]] = [
        {column.name: sa.bindparam(f"{column.name}_{row}") for column in table.c}
        for row in range(size)
    ]
    return str(conflict(insert_for(dialect, table).values(values)).compile(dialect=dialect))


def sqlite_url(path: Path) -> str:
    """The URL of a records file."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


async def schema_version(url: str) -> str | None:
    """
    The revision that the records are at; None where there are none yet.

    Raises:
        Rejected: database_not_supported, records_not_ours (a database of somebody else); of a
            server also that it cannot be reached, as `Database.open`.
        RecordsUnavailable: they cannot be read.
    """
    if not _is_postgres(url):
        return _version(_path(url))
    from largesse.records import postgres

    with _translated(is_server=True):
        return _version_of(await postgres.examine(url), url)


async def migrate(url: str) -> None:
    """
    Bring the records to `HEAD`, all of it or nothing; does nothing where they are there already.

    Several hosts may do this at once: one does it, the others wait. Alembic is imported only when
    there is work for it: it costs half a second of every start.

    Raises:
        Rejected: as `schema_version`; records_newer.
        RecordsUnavailable: they cannot be read or written.
    """
    if _known(await schema_version(url)) == HEAD:
        return
    if _is_postgres(url):
        await _migrate_server(url)
        return
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(_path(url))),
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
    )
    _prepare(engine)
    try:
        with _translated(), engine.connect() as connection:
            connection = connection.execution_options(largesse_writes=True)
            with connection.begin():
                _upgrade(connection)
    finally:
        engine.dispose()


async def _migrate_server(url: str) -> None:
    from largesse.records import postgres

    engine = postgres.migrating(url)
    try:
        with _translated(is_server=True):
            async with engine.connect() as connection, connection.begin():
                await postgres.migrate_alone(connection)
                # Does nothing where whoever was here before us has done it all.
                await connection.run_sync(_upgrade)
    except RecordsUnavailable as error:
        if error.reason != "not_allowed":
            raise
        raise Rejected("database_not_allowed", **database_facts(url), problem=str(error)) from None
    finally:
        await engine.dispose()


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "largesse.records:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _is_postgres(url: str) -> bool:
    return url.partition("://")[0] in ("postgresql", "postgres")


def _path(url: str) -> Path:
    scheme = url.partition("://")[0]
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise Rejected("database_not_supported", scheme=scheme, supported=list(SUPPORTED))
    return Path(parsed.database)


def _known(version: str | None) -> str | None:
    if version is not None and version not in REVISIONS:
        raise Rejected("records_newer", found=version, known=HEAD)
    return version


def _version_of(found: "Found", url: str) -> str | None:
    """The version of a server's records; anything else in our place is not ours."""
    if found.version is None and found.names:
        from largesse.records import postgres

        raise Rejected("records_not_ours", **database_facts(url), schema=postgres.SCHEMA)
    return found.version


def _version(path: Path) -> str | None:
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            tables = {
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            }
            if "alembic_version" in tables and "users" in tables:
                [(version,)] = connection.execute("SELECT version_num FROM alembic_version")
                return str(version)
    except sqlite3.Error as error:
        raise _unavailable(error) or RecordsUnavailable("disk_error", str(error)) from error
    except ValueError:
        raise Rejected("records_not_ours", file=path.name) from None
    if tables:
        raise Rejected("records_not_ours", file=path.name)
    return None


def _prepare(engine: sa.Engine) -> None:
    """Settings of every connection, and who writes says so with BEGIN IMMEDIATE."""

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        # A reader that turns into a writer half-way is refused at once when another one wrote
        # meanwhile; a writer that says so at the beginning waits for its turn.
        writes = connection.get_execution_options().get("largesse_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated(*, is_server: bool = False) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        reason = _unavailable(error.orig)
        if error.connection_invalidated:
            reason = RecordsUnavailable("connection_lost", str(error.orig))
        if is_server and reason is None:
            _refuse_unfit(error.orig)
        if reason is None:
            raise
        raise reason from error
    except TimeoutError as error:
        raise RecordsUnavailable("busy", str(error)) from error
    except OSError as error:
        if not is_server:
            raise
        raise RecordsUnavailable("connection_lost", repr(error)) from error


def _refuse_unfit(error: BaseException | None) -> None:
    from largesse.records import postgres

    if postgres.is_text_unfit(error):
        raise Rejected("request_invalid") from error


def _unavailable(error: BaseException | None) -> RecordsUnavailable | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        reason = _REASONS.get(code & 0xFF)
    else:
        from largesse.records import postgres

        reason = postgres.reason_of(error)
    return None if reason is None else RecordsUnavailable(reason, str(error))
