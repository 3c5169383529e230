"""
The database behind the records: one engine, one writer at a time, and the version of its tables.

SQLite for now. The statements are portable; the few places where dialects differ are in this file.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from largesse.errors import Rejected

REVISIONS = ("0001", "0002", "0003")
"""The revisions of `migrations/versions`, oldest first. A test keeps them in step."""
HEAD = REVISIONS[-1]

CONNECTIONS_MAX = 4
"""Open connections to the records; each is a thread where the database is SQLite."""
BUSY_SECONDS = 10
"""How long to wait for another process that is writing to the same file."""

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

    `reason` is disk_full, read_only, cannot_open, busy, disk_error, out_of_memory, damaged or
    connection_lost. Nothing of the transaction has been kept.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Database:
    """
    The open records. `begin` writes, `connect` reads; each yields a connection in a transaction.

    Writers wait for one another inside the process, so nobody ever sees "database is locked". A
    write may not be nested in another of the same task.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.on_user_change: list[Callable[[str], None]] = []
        """Called with a user's id once a change to their record or sessions is committed."""
        self._engine = engine
        self._writing = asyncio.Lock()
        self._writer: asyncio.Task[Any] | None = None

    @classmethod
    async def open(cls, url: str) -> "Database":
        """
        Open migrated records; `url` as `sqlite:////folder/records.sqlite` (see `sqlite_url`).

        Raises:
            Rejected: database_not_supported, records_not_migrated, records_not_ours, records_newer.
            RecordsUnavailable: the file cannot be opened or written.
        """
        path = _path(url)
        if _known_version(path) != HEAD:
            raise Rejected("records_not_migrated", needed=HEAD)
        engine = create_async_engine(
            sa.URL.create("sqlite+aiosqlite", database=str(path)),
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
        )
        _prepare(engine.sync_engine)
        db = cls(engine)
        try:
            async with db.begin():
                pass
        except BaseException:
            await engine.dispose()
            raise
        return db

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """
        A write transaction: committed at the end of the block, undone by any exception.

        Raises:
            RecordsUnavailable: the disk is full or read-only, or the file is not in order.
        """
        assert self._writer is not asyncio.current_task(), "A write inside a write waits for ever."
        async with self._writing:
            self._writer = asyncio.current_task()
            try:
                with _translated():
                    async with self._engine.connect() as tx:
                        await tx.execution_options(largesse_writes=True)
                        async with tx.begin():
                            yield tx
            finally:
                self._writer = None

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """
        A read transaction: every statement in the block sees the same moment.

        Raises:
            RecordsUnavailable: the disk or the file is not in order.
        """
        with _translated():
            async with self._engine.connect() as tx:
                yield tx

    def user_changed(self, user_id: str) -> None:
        """Tell whoever remembers this user that what they remember is old."""
        for listener in self.on_user_change:
            listener(user_id)

    async def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the file."""
        await self._engine.dispose()


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
    row, measured so, took 1 ms a row instead of 10 microseconds.
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


def schema_version(url: str) -> str | None:
    """
    The revision that a records file is at; None where there is no file or it is empty.

    Raises:
        Rejected: database_not_supported, records_not_ours (a database of somebody else).
        RecordsUnavailable: the file cannot be read.
    """
    return _version(_path(url))


def migrate(url: str) -> None:
    """
    Bring a records file to `HEAD`, all of it or nothing; does nothing where it is there already.

    Alembic is imported only when there is work for it: it costs half a second of every start.

    Raises:
        Rejected: database_not_supported, records_not_ours, records_newer.
        RecordsUnavailable: the file cannot be read or written.
    """
    path = _path(url)
    if _known_version(path) == HEAD:
        return

    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "largesse.records:migrations")
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
    )
    _prepare(engine)
    try:
        with _translated(), engine.connect() as connection:
            connection = connection.execution_options(largesse_writes=True)
            with connection.begin():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    finally:
        engine.dispose()


def _path(url: str) -> Path:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise Rejected("database_not_supported", scheme=parsed.drivername, supported=["sqlite"])
    return Path(parsed.database)


def _known_version(path: Path) -> str | None:
    version = _version(path)
    if version is not None and version not in REVISIONS:
        raise Rejected("records_newer", found=version, known=HEAD)
    return version


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
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        reason = _unavailable(error.orig)
        if error.connection_invalidated:
            reason = RecordsUnavailable("connection_lost", str(error.orig))
        if reason is None:
            raise
        raise reason from error
    except TimeoutError as error:
        raise RecordsUnavailable("busy", str(error)) from error


def _unavailable(error: BaseException | None) -> RecordsUnavailable | None:
    code = getattr(error, "sqlite_errorcode", None)
    reason = _REASONS.get(code & 0xFF) if code is not None else None
    return None if reason is None else RecordsUnavailable(reason, str(error))
