"""Open sessions and password resets, by the SHA-256 of their tokens; a token itself is never kept."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from largesse.clock import HOUR
from largesse.records.database import Database
from largesse.records.tables import password_resets, sessions, users
from largesse.records.users import COLUMNS, User, lock_user

SESSIONS_PER_USER_MAX = 100
"""Open sessions of one person; one more closes the oldest."""
SESSIONS_CACHED_MAX = 20_000
"""Sessions that the serving process remembers without asking the database."""
FIND_MAX = 200
"""Sessions looked up in one statement."""
SESSION_CACHE_SECONDS = 30
"""How long it trusts what it remembers; another process may have closed the session meanwhile."""
RESETS_PER_USER_MAX = 5
"""Password resets of one person that are open at once."""
RESET_LIFETIME = 1 * HOUR
"""How long a password reset can be used, in nanoseconds."""


class OpenSession(msgspec.Struct, frozen=True):
    """A session that can be used until `expires_at`; what opens it is not kept."""

    created_at: int
    expires_at: int


async def insert_session(
    db: Database,
    token_hash: bytes,
    *,
    user_id: str,
    password_hash: str,
    created_at: int,
    expires_at: int,
) -> bool:
    """
    Open a session, if the password that was checked is still the person's.

    Otherwise a login that began before a password change would outlive it. Says whether it opened.
    """
    async with db.begin() as tx:
        # The row stays locked, so that a change of the password comes before all of this or after.
        current = (
            sa.select(users.c.id)
            .where(
                users.c.id == user_id,
                users.c.password_hash == password_hash,
                users.c.disabled_at.is_(None),
            )
            .with_for_update(key_share=True)
        )
        if (await tx.execute(current)).one_or_none() is None:
            return False
        await tx.execute(
            sessions.insert().values(
                token_hash=token_hash,
                user_id=user_id,
                created_at=created_at,
                expires_at=expires_at,
            )
        )
        newest = (
            sa.select(sessions.c.token_hash)
            .where(sessions.c.user_id == user_id)
            .order_by(sessions.c.created_at.desc(), sessions.c.token_hash)
            .limit(SESSIONS_PER_USER_MAX)
        )
        await tx.execute(
            sessions.delete().where(
                sessions.c.user_id == user_id, sessions.c.token_hash.not_in(newest)
            )
        )
    return True


async def find_sessions(
    db: Database, token_hashes: Sequence[bytes]
) -> dict[bytes, tuple[User, int]]:
    """Whose sessions these are and when they expire; a hash that is no session is left out."""
    assert len(token_hashes) <= FIND_MAX
    statement = (
        sa.select(sessions.c.token_hash, *COLUMNS, sessions.c.expires_at)
        .join(sessions, sessions.c.user_id == users.c.id)
        .where(sessions.c.token_hash.in_(token_hashes), users.c.disabled_at.is_(None))
    )
    async with db.connect() as tx:
        rows = (await tx.execute(statement)).all()
    return {row[0]: (User(*row[1:-1]), row[-1]) for row in rows}


async def open_sessions(db: Database, user_id: str, *, now: int) -> list[OpenSession]:
    """The sessions of a person that have not expired, newest first."""
    statement = (
        sa.select(sessions.c.created_at, sessions.c.expires_at)
        .where(sessions.c.user_id == user_id, sessions.c.expires_at > now)
        .order_by(sessions.c.created_at.desc())
    )
    async with db.connect() as tx:
        return [OpenSession(*row) for row in await tx.execute(statement)]


async def delete_session(db: Database, token_hash: bytes) -> str | None:
    """Close one session; whose it was, None where there is no such session."""
    statement = sessions.delete().where(sessions.c.token_hash == token_hash)
    async with db.begin() as tx:
        closed = await tx.execute(statement.returning(sessions.c.user_id))
        return closed.scalar_one_or_none()


async def delete_sessions_of(
    tx: AsyncConnection, user_id: str, *, but: bytes | None = None
) -> None:
    """Close every session of a person, but the one with this hash; then tell `user_changed`."""
    statement = sessions.delete().where(sessions.c.user_id == user_id)
    if but is not None:
        statement = statement.where(sessions.c.token_hash != but)
    await tx.execute(statement)


async def insert_reset(db: Database, token_hash: bytes, *, user_id: str, created_at: int) -> bool:
    """Open a password reset, unless the person has too many open already."""
    async with db.begin() as tx:
        await lock_user(tx, user_id)
        count = sa.select(sa.func.count()).where(
            password_resets.c.user_id == user_id, password_resets.c.expires_at > created_at
        )
        if (await tx.execute(count)).scalar_one() >= RESETS_PER_USER_MAX:
            return False
        await tx.execute(
            password_resets.insert().values(
                token_hash=token_hash,
                user_id=user_id,
                created_at=created_at,
                expires_at=created_at + RESET_LIFETIME,
            )
        )
    return True


async def find_reset(db: Database, token_hash: bytes, *, now: int) -> User | None:
    """Whose password this reset may change, while it has not been used and has not expired."""
    statement = (
        sa.select(*COLUMNS)
        .join(password_resets, password_resets.c.user_id == users.c.id)
        .where(password_resets.c.token_hash == token_hash, password_resets.c.expires_at > now)
    )
    async with db.connect() as tx:
        row = (await tx.execute(statement)).one_or_none()
    return None if row is None else User(*row)


async def use_reset(tx: AsyncConnection, token_hash: bytes, *, user_id: str) -> bool:
    """Use up a reset and with it all others of the person. Says whether it was still there."""
    await lock_user(tx, user_id)  # First, as everybody does: two who wait crosswise wait for ever.
    used = await tx.execute(
        password_resets.delete().where(password_resets.c.token_hash == token_hash)
    )
    await delete_resets_of(tx, user_id)
    return used.rowcount == 1


async def delete_resets_of(tx: AsyncConnection, user_id: str) -> None:
    """Close every password reset of a person."""
    await tx.execute(password_resets.delete().where(password_resets.c.user_id == user_id))


async def delete_expired(db: Database, *, now: int) -> int:
    """Remove sessions and resets that can no longer be used; the number removed."""
    async with db.begin() as tx:
        gone = await tx.execute(sessions.delete().where(sessions.c.expires_at <= now))
        resets = await tx.execute(
            password_resets.delete().where(password_resets.c.expires_at <= now)
        )
    return gone.rowcount + resets.rowcount
