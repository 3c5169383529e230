"""
The PostgreSQL behind a ledger: connections, what is checked at the start, and what errors mean.

A server that may lose what it has acknowledged is refused before anything is asked of it.
"""

from importlib.resources import files
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from largesse import ids
from largesse.errors import Rejected
from largesse.settings import database_facts

VERSION_MIN = 14
"""The oldest PostgreSQL that we know to work."""
STEPS = 1
"""Migration steps, each a file `postgres_NNNN.sql`. A ledger of more steps is of a newer version."""
CONNECT_SECONDS_MAX = 10
COMMAND_SECONDS_MAX = 20
"""How long an answer may take, so that a server which has gone without a word is noticed."""
MIGRATE_SECONDS_MAX = 86_400
"""How long a step of a migration may take, or the wait for another host that makes them."""
CLOSE_SECONDS_MAX = 2
"""How long the server may take to say good-bye."""

_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""
The connection is gone: a time that ran out is an `OSError`, and asyncpg calls it an error of its own
when a server that shuts down says so at a moment at which it should say nothing.
"""
FAILURES = (*_BROKEN, asyncpg.PostgresError, Rejected)
"""What talking to a server may end with."""

Connection = Any
"""An asyncpg connection; the package has no types."""

_MIGRATING = 0x6C617267_6C656467
"""The advisory lock under which the tables are made, by one process at a time."""
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
_SESSION = """
    SET application_name = 'largesse ledger';
    SET default_transaction_isolation = 'read committed';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '5s';
    SET tcp_keepalives_idle = 5;
    SET tcp_keepalives_interval = 2;
    SET tcp_keepalives_count = 3;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET plan_cache_mode = force_generic_plan;
"""
"""
A process that stands still or is gone gives the head's row back soon. Every access of ours goes by a
primary key, also before the server has counted the rows, so a statement is planned once. Said by a
statement, because a pooler in between may refuse settings at the start.
"""
_PASSING_CLASSES = ("08", "40", "57P")
_PASSING_CODES = frozenset(
    {
        "25006",  # read-only: this server is no longer the one to write to
        "25P03",  # the transaction was idle for too long
        "53300",  # too many connections
        "55P03",  # a lock was not to be had in time
        "57014",  # a statement took too long
    }
)


async def connect(url: str, *, allow_unsafe: bool) -> Connection:
    """
    A connection to a server that keeps what it acknowledges; ids travel as bytes.

    Raises:
        Rejected: database_unreachable, database_password_wrong, database_missing,
            database_too_old, database_unsafe.
    """
    connection = await _reach(url)
    try:
        version = connection.get_server_version().major
        if version < VERSION_MIN:
            raise Rejected(
                "database_too_old", **database_facts(url), found=version, needed=VERSION_MIN
            )
        await connection.execute(_SESSION)
        off = await connection.fetch(
            "SELECT name FROM pg_settings WHERE name = ANY($1) AND setting = 'off' ORDER BY name",
            list(_DURABLE),
        )
        if off and not allow_unsafe:
            settings = ", ".join(row[0] for row in off)
            raise Rejected("database_unsafe", **database_facts(url), settings=settings)
        await connection.set_type_codec(
            "uuid", schema="pg_catalog", format="binary", encoder=_id, decoder=bytes
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


def _id(id: bytes) -> bytes:
    """Said here, because the server would call it a broken connection."""
    if len(id) != ids.SIZE:
        raise ValueError("an id has 16 bytes")
    return id


async def _reach(url: str) -> Connection:
    try:
        return await asyncpg.connect(
            url, timeout=CONNECT_SECONDS_MAX, command_timeout=COMMAND_SECONDS_MAX
        )
    except asyncpg.InvalidAuthorizationSpecificationError:
        raise Rejected("database_password_wrong", **database_facts(url)) from None
    except asyncpg.InvalidCatalogNameError:
        raise Rejected("database_missing", **database_facts(url)) from None
    except (ValueError, *FAILURES) as error:
        # Without the error's own words, which may show the password.
        raise Rejected(
            "database_unreachable", **database_facts(url), problem=type(error).__name__
        ) from None


async def migrate(url: str, *, allow_unsafe: bool = False) -> None:
    """
    Make the tables, or bring them up to date; all of it or nothing.

    Raises:
        Rejected: as `connect`, and database_not_allowed, ledger_not_ours, ledger_newer.
    """
    connection = await connect(url, allow_unsafe=allow_unsafe)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = 0")
            await connection.execute(
                f"SELECT pg_advisory_xact_lock({_MIGRATING})", timeout=MIGRATE_SECONDS_MAX
            )
            step = await _step(connection, url)
            if step is None:
                await connection.execute(
                    "CREATE SCHEMA IF NOT EXISTS ledger;"
                    "CREATE TABLE ledger.migrations (step integer PRIMARY KEY,"
                    " applied_at timestamptz NOT NULL DEFAULT now())"
                )
            for number in range((step or 0) + 1, STEPS + 1):
                file = files("largesse.ledger").joinpath(f"postgres_{number:04d}.sql")
                await connection.execute(file.read_text(), timeout=MIGRATE_SECONDS_MAX)
                await connection.execute("INSERT INTO ledger.migrations VALUES ($1)", number)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Rejected(
            "database_not_allowed", **database_facts(url), problem=error.args[0]
        ) from None
    finally:
        await let_go(connection)


async def check_migrated(connection: Connection, url: str) -> None:
    """
    See that the tables are those of this version.

    Raises:
        Rejected: ledger_not_migrated, ledger_not_ours, ledger_newer, database_not_allowed.
    """
    try:
        step = await _step(connection, url)
    except asyncpg.InsufficientPrivilegeError as error:
        raise Rejected(
            "database_not_allowed", **database_facts(url), problem=error.args[0]
        ) from None
    if step is None or step < STEPS:
        raise Rejected("ledger_not_migrated", **database_facts(url))


async def _step(connection: Connection, url: str) -> int | None:
    """The newest migration step that was applied, None where nothing of ours is there."""
    names = {
        row[0]
        for row in await connection.fetch(
            "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = 'ledger'"
        )
    }
    if not names:
        return None
    if not {"migrations", "head"} <= names:
        raise Rejected("ledger_not_ours", file="ledger", **database_facts(url))
    step: int = await connection.fetchval("SELECT coalesce(max(step), 0) FROM ledger.migrations")
    if step > STEPS:
        raise Rejected(
            "ledger_newer", file="ledger", format=step, known=STEPS, **database_facts(url)
        )
    return step


async def let_go(connection: Connection) -> None:
    """Close the connection in order, where the server still answers."""
    try:
        await connection.close(timeout=CLOSE_SECONDS_MAX)
    except FAILURES:
        connection.terminate()


def is_passing(error: BaseException) -> bool:
    """Whether the same request may well be answered on another connection, a little later."""
    if isinstance(error, Rejected):
        # Also a wrong password: a server that has just taken over may not be ready in everything.
        return error.code.startswith("database_")
    if isinstance(error, ValueError):  # What we handed over cannot be sent at all.
        return False
    if isinstance(error, _BROKEN):
        return True
    state = getattr(error, "sqlstate", None) or ""
    return state in _PASSING_CODES or state.startswith(_PASSING_CLASSES)
