"""`largesse user`: people and their roles, beside a running server or without one."""

import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from largesse.cli.start import settings_in_force
from largesse.clock import SystemClock
from largesse.errors import Rejected
from largesse.settings import Settings

if TYPE_CHECKING:
    from largesse.records.database import Database
    from largesse.records.users import User

Role = Literal["viewer", "creator", "operator"]
PAGE = 500


def add(
    login: Annotated[str, Parameter(help="What the person logs in with.")],
    /,
    *,
    email: Annotated[str, Parameter(help="Where a password reset is sent.")],
    birth_date: Annotated[str, Parameter(help="As 1990-12-31.")],
    country: Annotated[str, Parameter(help="Two letters, such as US.")],
    role: Annotated[
        tuple[Role, ...], Parameter(help="A role besides viewer; may be given twice.", negative="")
    ] = (),
) -> None:
    """Add a user; the password is asked for, or read as the first line of standard input."""
    settings = settings_in_force()
    with_password = _password()
    asyncio.run(
        _add(
            settings,
            login=login,
            email=email,
            password=with_password,
            birth_on=birth_date,
            country=country,
            roles=role,
        )
    )


def role(
    login: Annotated[str, Parameter(help="Whose.")],
    role: Annotated[Role, Parameter(help="What to be, too.")],
    /,
) -> None:
    """Give a user one more role. A running server knows of it within half a minute."""
    asyncio.run(_role(settings_in_force(), login, role))


def list_users() -> None:
    """List the users, newest first."""
    asyncio.run(_list(settings_in_force()))


async def _add(
    settings: Settings,
    *,
    login: str,
    email: str,
    password: str,
    birth_on: str,
    country: str,
    roles: tuple[Role, ...],
) -> None:
    from largesse.identity import accounts

    async with _records(settings) as db:
        user = await accounts.sign_up(
            db,
            login=login,
            email=email,
            password=password,
            birth_on=birth_on,
            country=country,
            now=SystemClock().now(),
            entropy=os.urandom,
        )
        for role in roles:
            user = await accounts.add_role(db, user_id=user.id, role=role)
        print(f"{user.login} is there: {', '.join(user.roles)} ({user.id}).")


async def _role(settings: Settings, login: str, role: Role) -> None:
    from largesse.identity import accounts
    from largesse.records.users import find_by_login

    async with _records(settings) as db:
        user = await find_by_login(db, login.lower())
        if user is None:
            raise Rejected("user_not_found", login=login)
        user = await accounts.add_role(db, user_id=user.id, role=role)
        print(f"{user.login} is {', '.join(user.roles)}.")


async def _list(settings: Settings) -> None:
    from rich.console import Console
    from rich.table import Table

    from largesse.clock import to_text

    table = Table()
    for name in ("login", "roles", "country", "since"):
        table.add_column(name)
    table.add_column("id", no_wrap=True, min_width=32)
    async with _records(settings) as db:
        async for user in _all(db):
            since = to_text(user.created_at)[:10]
            state = " (disabled)" if user.disabled_at else ""
            table.add_row(user.login + state, ", ".join(user.roles), user.country, since, user.id)
    Console().print(table)


async def _all(db: "Database") -> "AsyncIterator[User]":
    from largesse.records.users import list_users

    before = None
    while page := await list_users(db, before=before, limit=PAGE):
        for user in page:
            yield user
        before = (page[-1].created_at, page[-1].id)


@asynccontextmanager
async def _records(settings: Settings) -> "AsyncIterator[Database]":
    """The records alone, without owning the folder: the server that does may be running."""
    from largesse.app import open_records
    from largesse.folder import read_folder

    read_folder(Path(settings.data))
    db = await open_records(settings)
    try:
        yield db
    finally:
        await db.close()


def _password() -> str:
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Rejected("password_missing")
    return password
