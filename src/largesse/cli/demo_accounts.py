"""The accounts of the demo: four for people, and those of the audience."""

import secrets

import msgspec

from largesse import clock, folder, ids
from largesse.app import App
from largesse.cli.simulate import Logins as Audience
from largesse.errors import Rejected
from largesse.identity import passwords
from largesse.records import rooms, users
from largesse.records.users import PASSWORD_LENGTH_MAX, User
from largesse.simulate import Login

PEOPLE = (
    ("viewer", ("viewer",), "buys coins and sends gifts"),
    ("viewer2", ("viewer",), "the same, to try things between two people"),
    ("creator", ("viewer", "creator"), "opens a room and receives gifts"),
    ("operator", ("viewer", "operator"), "sees totals and checks"),
)
"""Login, roles, and what one does with it."""
VIEWERS = (
    *("Mirela", "Tomasz_on_tea", "よしこ", "Zuri", "Lena im Zug", "Nilo", "Анечка", "Baptiste"),
    *("quiet_owl", "Priya ✨", "Joaquín", "Saoirse", "지우", "Old Teapot", "Amina", "Henrik N."),
    *("ليان", "Bea from Porto", "Kofi", "night.train", "Elif", "小雨", "Rosario", "Tuva 🌿"),
    *("Ravi", "Soup Season", "Oksana", "Théo", "Makena", "pixelfern", "Giulia", "अदिति"),
    *("Benno", "Lucía M.", "Sunday Socks", "Haruto", "Ximena", "noor_7", "Willem", "Candela 💛"),
)
"""What others see of the audience: made up, one for each of its viewers."""
CREATORS = (
    "Ilse draws",
    "Kenji at the keys",
    "Marisol's oven",
    "Wen plays chess",
    "Samir & the stars",
    "Lotte fixes bikes",
)
"""The same of its creators; `simulate/rooms.py` has the titles of their rooms in this order."""
PASSWORD_BYTES = 9
BIRTH_ON = "1990-01-01"
COUNTRY = "US"


class Logins(msgspec.Struct, frozen=True):
    """The password of the four people, who they are, and what the audience logs in with."""

    password: str
    people: tuple[tuple[str, str], ...]
    audience: Audience


async def prepare(app: App) -> Logins:
    """
    See to it that every account is there and that the password which is printed opens it.

    `creator` has no live room when a demo starts, also where the last one was cut off.
    """
    password = app.settings.demo_password or folder.secret(
        app.folder, "demo-password", _new_password
    )
    if len(password) > PASSWORD_LENGTH_MAX:
        raise Rejected("password_too_long", maximum=PASSWORD_LENGTH_MAX)
    hashed = await passwords.hash_password(password)
    people = [await _person(app, login, roles, hashed) for login, roles, _ in PEOPLE]
    for user in people:
        await _open_with(app, user, password, hashed)
    await _end_rooms(app, {user.id for user in people})

    shared = folder.secret(app.folder, "audience-password", _new_password)
    hashed = await passwords.hash_password(shared)
    viewers = {f"audience-{n:02}": name for n, name in enumerate(VIEWERS, 1)}
    creators = {f"on-air-{n}": name for n, name in enumerate(CREATORS, 1)}
    for login, nickname in viewers.items():
        await _person(app, login, ("viewer",), hashed, nickname)
    for login, nickname in creators.items():
        await _person(app, login, ("viewer", "creator"), hashed, nickname)
    return Logins(
        password=password,
        people=tuple((login, what) for login, _, what in PEOPLE),
        audience=Audience(
            viewers=[Login(login, shared) for login in viewers],
            creators=[Login(login, shared) for login in creators],
        ),
    )


async def _person(
    app: App, login: str, roles: tuple[str, ...], password_hash: str, nickname: str = ""
) -> User:
    """
    The person with this login, signed up now where there is none yet.

    A nickname is given to who has none, as those have whom an older demo has made.
    """
    user = await users.find_by_login(app.db, login)
    if user is None:
        now = app.clock.now()
        user = User(
            id=ids.text(ids.ordered(clock.milliseconds(now), app.entropy(9))),
            login=login,
            email=f"{login}@demo.invalid",
            birth_on=BIRTH_ON,
            country=COUNTRY,
            roles=roles,
            created_at=now,
            nickname=nickname,
        )
        await users.insert_user(app.db, user, password_hash=password_hash)
    elif nickname and not user.nickname:
        await users.set_nickname(app.db, user.id, nickname)
    return user


async def _open_with(app: App, user: User, password: str, hashed: str) -> None:
    """Make this the person's password, where it is not: the printed one always opens the door."""
    found = await users.find_credentials_of(app.db, user.id)
    assert found is not None
    if await passwords.is_right(found[1], password):
        return
    async with app.db.begin() as tx:
        await users.replace_password_hash(tx, user.id, old=None, new=hashed)
    app.db.user_changed(user.id)


async def _end_rooms(app: App, creator_ids: set[str]) -> None:
    for room in await rooms.live(app.db):
        if room.creator_id in creator_ids:
            await app.rooms.end(room.id, room.creator_id, now=app.clock.now())


def _new_password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)
