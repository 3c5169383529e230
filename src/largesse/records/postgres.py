"""
Where the records are in a PostgreSQL: connections, what is checked of the server, what errors mean.

Ours is the schema `records`. The rest of the database may belong to the ledger, or to anybody. The
schema is the connection's search path, so that statements and migrations are those of SQLite.
"""

import time
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from largesse.errors import Rejected
from largesse.settings import database_facts

SCHEMA = "records"
VERSION_MIN = 14
"""The oldest PostgreSQL that we know to work."""
CONNECTIONS_MAX = 8
"""Open connections of one process."""
WRITERS_MAX = 5
"""How many of them may write at once: whoever waits for a row leaves readers their way."""
CONNECT_SECONDS_MAX = 10
STATEMENT_SECONDS_MAX = 60
"""How long a statement may take, so that a server which has gone without a word is noticed."""
REST_SECONDS_MAX = 5
"""A connection that nobody used for so long is asked whether it still works before it is used."""

MIGRATING = 0x6C617267_72656301
"""The advisory lock under which the tables are migrated, by one host at a time."""

DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
"""What must be on, or what has been answered may be lost."""

_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
)
"""What says that nobody is there to answer us, now."""

_READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

# https://www.postgresql.org/docs/current/errcodes-appendix.html: the whole code, or its class.
_REASONS = {
    "08": "connection_lost",
    "57P": "connection_lost",
    "25006": "read_only",
    "40": "busy",
    "53": "busy",
    "53100": "disk_full",
    "53200": "out_of_memory",
    "53300": "too_many_connections",
    "54": "busy",
    "55": "busy",
    "57": "busy",
    "58": "disk_error",
    "28": "cannot_open",
    "3D": "cannot_open",
    "42501": "not_allowed",
    "XX001": "damaged",
    "XX002": "damaged",
}


def reason_of(error: BaseException | None) -> str | None:
    """Why the records are not available, in a word; None where the error is not of that kind."""
    if isinstance(error, OSError):  # A time that ran out is one too.
        return "connection_lost"
    state = getattr(error, "sqlstate", None)
    if state is None:
        # The second is asyncpg's word for a connection that the server closed while it was asked.
        is_lost = any(
            words in str(error) for words in ("connection is closed", "cannot switch to state")
        )
        return "connection_lost" if is_lost else None
    for size in (5, 3, 2):
        if (reason := _REASONS.get(state[:size])) is not None:
            return reason
    return None


def is_text_unfit(error: BaseException | None) -> bool:
    """Whether a text holds what no text here can: the character of code zero."""
    return getattr(error, "sqlstate", None) == "22021"


def engine(url: str) -> AsyncEngine:
    """The connections of a process, made as they are needed."""
    made = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(url, statement_seconds=STATEMENT_SECONDS_MAX),
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS_MAX,
        isolation_level="READ COMMITTED",
    )
    _replace_what_broke(made.sync_engine.pool)
    return made


def reading(engine: AsyncEngine) -> AsyncEngine:
    """The same connections, in transactions that see one moment and write nothing."""
    return engine.execution_options(**_READING)


def migrating(url: str) -> AsyncEngine:
    """One connection on which a statement may take as long as it needs."""
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(url, statement_seconds=None),
        poolclass=sa.NullPool,
    )


async def migrate_alone(tx: AsyncConnection) -> None:
    """Wait for other hosts that migrate, and see that our schema is there."""
    await tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATING})")
    found = await tx.execute(sa.select(sa.func.to_regnamespace(SCHEMA)))
    if found.scalar_one() is None:
        await tx.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")


async def connect(url: str, *, statement_seconds: float | None) -> Any:
    """A connection that finds our tables without their schema's name."""
    connection = await asyncpg.connect(
        url, timeout=CONNECT_SECONDS_MAX, command_timeout=statement_seconds
    )
    try:
        # Said by a statement, because a pooler in between may refuse it at the start.
        await connection.execute(f"SET search_path TO {SCHEMA}")
    except BaseException:
        connection.terminate()
        raise
    return connection


class Found(msgspec.Struct, frozen=True):
    """
    What a server has for us: the names in our schema, the version written there, None where there
    is none, and which settings that keep what was answered are off.
    """

    names: frozenset[str]
    version: str | None
    unsafe: tuple[str, ...]


async def examine(url: str) -> Found:
    """
    Look at a server before anything is done with it.

    Raises:
        Rejected: database_unreachable, database_password_wrong, database_missing,
            database_not_allowed, database_too_old, records_not_ours.
    """
    connection = await _reach(url)
    try:
        return await _examine(connection, url)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Rejected(
            "database_not_allowed", **database_facts(url), problem=error.args[0]
        ) from None
    except _AWAY as error:
        raise Rejected(
            "database_unreachable", **database_facts(url), problem=type(error).__name__
        ) from None
    finally:
        await connection.close()


async def _examine(connection: Any, url: str) -> Found:
    version = connection.get_server_version().major
    if version < VERSION_MIN:
        raise Rejected("database_too_old", **database_facts(url), found=version, needed=VERSION_MIN)
    off = await connection.fetch(
        "SELECT name FROM pg_settings WHERE name = ANY($1) AND setting = 'off' ORDER BY name",
        list(DURABLE),
    )
    unsafe = tuple(row[0] for row in off)
    rows = await connection.fetch(
        "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = $1 AND relkind IN ('r', 'p', 'v', 'm', 'f')",
        SCHEMA,
    )
    names = frozenset(row[0] for row in rows)
    if not {"alembic_version", "users"} <= names:
        return Found(names, None, unsafe)
    versions = await connection.fetch("SELECT version_num FROM alembic_version")
    if len(versions) != 1:
        raise Rejected("records_not_ours", **database_facts(url), schema=SCHEMA)
    return Found(names, str(versions[0][0]), unsafe)


async def _reach(url: str) -> Any:
    try:
        return await connect(url, statement_seconds=STATEMENT_SECONDS_MAX)
    except asyncpg.InvalidAuthorizationSpecificationError:
        raise Rejected("database_password_wrong", **database_facts(url)) from None
    except asyncpg.InvalidCatalogNameError:
        raise Rejected("database_missing", **database_facts(url)) from None
    except (*_AWAY, ValueError, asyncpg.InterfaceError) as error:
        # Without the error's own words, which may show the URL.
        raise Rejected(
            "database_unreachable", **database_facts(url), problem=type(error).__name__
        ) from None


def _replace_what_broke(pool: sa.Pool) -> None:
    """
    A connection that was closed while nobody used it, as at a restart of the server, is made anew.

    To ask each one before each use would cost more than most of our statements do.
    """

    @sa.event.listens_for(pool, "checkin")
    def on_checkin(_connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @sa.event.listens_for(pool, "checkout")
    def on_checkout(connection: Any, record: Any, _proxy: object) -> None:
        if connection.driver_connection.is_closed():
            raise sa.exc.DisconnectionError
        rested = time.monotonic() - record.info.get("used_at", time.monotonic())
        if rested < REST_SECONDS_MAX:
            return
        try:
            connection.ping()
        except Exception as error:
            raise sa.exc.DisconnectionError from error
