"""The people: what they log in with, how old they are, where, and what they may do."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from largesse.errors import Rejected
from largesse.records.database import Database
from largesse.records.tables import columns, users
from largesse.text import NICKNAME_LENGTH_MAX

ROLES = ("viewer", "creator", "operator")

# The limits of these fields stand here, below identity and limits, which both need them.
LOGIN_LENGTH_MIN = 3
LOGIN_LENGTH_MAX = 30
EMAIL_LENGTH_MAX = 254
PASSWORD_LENGTH_MIN = 10
PASSWORD_LENGTH_MAX = 200
FIND_MAX = 500
"""People looked up in one statement."""


class User(msgspec.Struct, frozen=True):
    """
    A person with an account. Never holds the password, so it cannot leak by being shown.

    `login` and `email` are in lower case, `birth_on` is an ISO date, `country` ISO 3166 alpha-2.
    `nickname` is what others see, "" where the person has chosen none.
    """

    id: str
    login: str
    email: str
    birth_on: str
    country: str
    roles: tuple[str, ...]
    created_at: int
    disabled_at: int | None = None
    nickname: str = ""

    @property
    def name(self) -> str:
        """What others see."""
        return self.nickname or self.login


COLUMNS = columns(users, User)


async def insert_user(db: Database, user: User, *, password_hash: str) -> User:
    """
    Add a person.

    Raises:
        Rejected: login_taken, email_taken.
    """
    assert set(user.roles) <= set(ROLES)
    row = msgspec.structs.asdict(user) | {"password_hash": password_hash}
    try:
        async with db.begin() as tx:
            await tx.execute(users.insert().values(row))
    except IntegrityError:
        # The unique constraints decide, so that two sign-ups at once cannot both win; what they
        # refused is looked up afterwards, because each database words it differently.
        if await find_by_login(db, user.login) is not None:
            raise Rejected("login_taken", login=user.login) from None
        if await find_by_email(db, user.email) is not None:
            raise Rejected("email_taken") from None
        raise
    return user


async def find_user(db: Database, user_id: str) -> User | None:
    """The person with this id."""
    return await _find(db, users.c.id == user_id)


async def find_by_login(db: Database, login: str) -> User | None:
    """The person with this login, which is in lower case."""
    return await _find(db, users.c.login == login)


async def find_by_email(db: Database, email: str) -> User | None:
    """The person with this e-mail address, which is in lower case."""
    return await _find(db, users.c.email == email)


async def find_credentials(db: Database, login: str) -> tuple[User, str] | None:
    """The person with this login and the hash of their password."""
    return await _find_with_hash(db, users.c.login == login)


async def find_credentials_of(db: Database, user_id: str) -> tuple[User, str] | None:
    """The person with this id and the hash of their password."""
    return await _find_with_hash(db, users.c.id == user_id)


async def replace_password_hash(
    tx: AsyncConnection, user_id: str, *, old: str | None, new: str
) -> bool:
    """Change the hash, if it still is `old` (None: whatever it is). Says whether it was changed."""
    statement = users.update().where(users.c.id == user_id).values(password_hash=new)
    if old is not None:
        statement = statement.where(users.c.password_hash == old)
    return (await tx.execute(statement)).rowcount == 1


async def add_user_role(db: Database, user_id: str, role: str) -> User | None:
    """Give a person one more role; None where there is no such person."""
    assert role in ROLES
    async with db.begin() as tx:
        user = await lock_user(tx, user_id)
        if user is None:
            return None
        roles = tuple(name for name in ROLES if name == role or name in user.roles)
        await tx.execute(users.update().where(users.c.id == user_id).values(roles=roles))
    db.user_changed(user_id)
    return msgspec.structs.replace(user, roles=roles)


async def set_nickname(db: Database, user_id: str, nickname: str) -> User | None:
    """Change what others see, "" to be shown by the login; None where there is no such person."""
    assert len(nickname) <= NICKNAME_LENGTH_MAX
    statement = users.update().where(users.c.id == user_id).values(nickname=nickname)
    async with db.begin() as tx:
        row = (await tx.execute(statement.returning(*COLUMNS))).one_or_none()
    db.user_changed(user_id)
    return None if row is None else User(*row)


async def set_disabled(tx: AsyncConnection, user_id: str, *, at: int | None) -> User | None:
    """Disable a person (None: no longer), then tell `user_changed`; None where there is nobody."""
    statement = users.update().where(users.c.id == user_id).values(disabled_at=at)
    row = (await tx.execute(statement.returning(*COLUMNS))).one_or_none()
    return None if row is None else User(*row)


async def lock_user(tx: AsyncConnection, user_id: str) -> User | None:
    """
    The person, who stays so until the end of the transaction; None where there is nobody.

    Whatever decides by a person what it writes about him takes this first, in whichever process.
    """
    statement = sa.select(*COLUMNS).where(users.c.id == user_id).with_for_update(key_share=True)
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else User(*row)


async def find_users(db: Database, user_ids: Sequence[str]) -> dict[str, User]:
    """The people with these ids, by id; who is not there is left out."""
    found: dict[str, User] = {}
    async with db.connect() as tx:
        for start in range(0, len(user_ids), FIND_MAX):
            some = user_ids[start : start + FIND_MAX]
            rows = await tx.execute(sa.select(*COLUMNS).where(users.c.id.in_(some)))
            found.update((row[0], User(*row)) for row in rows)
    return found


async def list_users(
    db: Database, *, search: str = "", before: tuple[int, str] | None, limit: int
) -> list[User]:
    """Everybody, newest first, or those whose login, e-mail address or nickname has this text."""
    statement = sa.select(*COLUMNS).order_by(users.c.created_at.desc(), users.c.id.desc())
    if search:
        fields = (users.c.login, users.c.email, users.c.nickname)
        statement = statement.where(
            sa.or_(*(field.icontains(search, autoescape=True) for field in fields))
        )
    if before is not None:
        statement = statement.where(sa.tuple_(users.c.created_at, users.c.id) < before)
    async with db.connect() as tx:
        return [User(*row) for row in await tx.execute(statement.limit(limit))]


async def _find(db: Database, condition: sa.ColumnElement[bool]) -> User | None:
    async with db.connect() as tx:
        row = (await tx.execute(sa.select(*COLUMNS).where(condition))).one_or_none()
    return None if row is None else User(*row)


async def _find_with_hash(
    db: Database, condition: sa.ColumnElement[bool]
) -> tuple[User, str] | None:
    statement: sa.Select[Any] = sa.select(*COLUMNS, users.c.password_hash).where(condition)
    async with db.connect() as tx:
        row = (await tx.execute(statement)).one_or_none()
    return None if row is None else (User(*row[:-1]), row[-1])
