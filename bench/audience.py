"""Who gifts over HTTP: viewers with sessions and coins, and the room of one creator."""

import os
from hashlib import sha256
from pathlib import Path

import msgspec

from largesse import clock, ids
from largesse.app import App
from largesse.books import chart
from largesse.cli import bench
from largesse.records.tables import sessions, users
from largesse.records.users import find_user

SESSION_HOURS = 24


class Audience(msgspec.Struct, frozen=True):
    """
    What a load needs to know: one token a viewer, the room of the gifts, another room in which
    nothing happens, a gift item of one coin, and who the viewers are.
    """

    tokens: tuple[str, ...]
    room_id: str
    quiet_room_id: str
    item_id: str
    viewer_ids: tuple[str, ...]


async def seat(data: Path, *, viewers: int, url: str = "") -> Audience:
    """
    Make a test folder with its audience, with stores of its own or both in the database of `url`.

    Users and sessions are inserted as rows, because two thousand argon2 hashes would take minutes;
    everything else is done as the product does it.
    """
    async with bench.opened(data, database_url=url, ledger_url=url) as app:
        now = app.clock.now()
        tokens = tuple(os.urandom(32).hex() for _ in range(viewers))
        viewer_ids = tuple(_new_id(now) for _ in tokens)
        creator_ids = (_new_id(now), _new_id(now))
        people = [_person(id, f"viewer{n}", "viewer", now) for n, id in enumerate(viewer_ids)]
        people += [_person(id, f"creator{n}", "creator", now) for n, id in enumerate(creator_ids)]
        async with app.db.begin() as tx:
            await tx.execute(users.insert(), people)
            await tx.execute(
                sessions.insert(),
                [_session(*pair, now) for pair in zip(tokens, viewer_ids, strict=True)],
            )
        await bench.fund(app.ledger, environment=app.environment, viewer_ids=viewer_ids)
        room_id, quiet_room_id = [await _open_room(app, each, now) for each in creator_ids]
        return Audience(tokens, room_id, quiet_room_id, _one_coin_item(app), viewer_ids)


async def _open_room(app: App, creator_id: str, now: int) -> str:
    await app.ledger.create_accounts(chart.creator_accounts(app.environment, creator_id))
    creator = await find_user(app.db, creator_id)
    assert creator is not None
    return (await app.rooms.open(creator, "Measured", now, app.entropy)).id


def _one_coin_item(app: App) -> str:
    for item in app.catalog.gift_items:
        if item.coins == 1 and item.enabled and not item.exclusive:
            return item.id
    raise LookupError("the catalogue has no plain gift item of one coin")


def _new_id(now: int) -> str:
    return ids.text(ids.ordered(clock.milliseconds(now), os.urandom(9)))


def _person(id: str, login: str, roles: str, now: int) -> dict[str, object]:
    return {
        "id": id,
        "login": login,
        "email": f"{login}@example.com",
        "password_hash": "none",
        "birth_on": "1990-01-01",
        "country": "US",
        "roles": tuple(roles.split()),
        "created_at": now,
        "disabled_at": None,
    }


def _session(token: str, user_id: str, now: int) -> dict[str, object]:
    return {
        "token_hash": sha256(token.encode()).digest(),
        "user_id": user_id,
        "created_at": now,
        "expires_at": now + SESSION_HOURS * clock.HOUR,
    }
