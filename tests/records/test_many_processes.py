"""
Several processes on one database, all at the same thing at once: what may be once is there once.

A process is a `Database` of its own here, with connections of its own; each has many tasks.
"""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from msgspec.structs import replace

from largesse.clock import SECOND
from largesse.errors import Rejected
from largesse.ledger import PAGE_MAX
from largesse.records import (
    database,
    display_keys,
    price_lists,
    projections,
    rooms,
    sessions,
    tables,
    users,
)
from largesse.records.database import Database
from largesse.records.display_keys import DisplayKey
from largesse.records.rooms import Room
from largesse.records.users import User
from tests.records.test_projections import state
from tests.records.town import ANA, BO

NOW = 1_800_000_000 * SECOND
PROCESSES = 3
TASKS = 8


@pytest.fixture
async def processes(url_of_db):
    async with AsyncExitStack() as opened:
        made = []
        for _ in range(PROCESSES):
            made.append(await Database.open(url_of_db))
            opened.push_async_callback(made[-1].close)
        yield made


async def all_at_once(processes, act):
    """`act(db, n)` by many tasks of every process; what each came to."""
    return await asyncio.gather(
        *(act(db, n) for n, db in enumerate(processes * TASKS)), return_exceptions=True
    )


def codes(outcomes):
    """How many went well, and how many were refused with which code."""
    return Counter(each.code if isinstance(each, Rejected) else type(each) for each in outcomes)


def person(n, **changes):
    id = f"{n:032x}"
    made = User(id, f"user{n}", f"{n}@example.org", "1990-05-17", "US", ("viewer",), NOW)
    return replace(made, **changes)


async def test_a_creator_has_one_live_room_whichever_process_is_asked(processes):
    async def start(db, n):
        return await rooms.insert(db, Room(f"{n:032x}", ANA, "Songs", NOW))

    outcomes = await all_at_once(processes, start)
    assert codes(outcomes) == {Room: 1, "room_already_live": PROCESSES * TASKS - 1}


async def test_a_creator_who_starts_and_ends_all_the_time_is_never_told_of_a_fault(processes):
    async def start_and_end(db, n):
        for turn in range(6):
            id = f"{100 * n + turn:032x}"
            try:
                await rooms.insert(db, Room(id, ANA, "Songs", NOW + n))
            except Rejected as refusal:
                id = refusal.facts["room_id"]
            room = await rooms.end(db, id, NOW + n)
        return room

    outcomes = await all_at_once(processes, start_and_end)
    assert codes(outcomes) == {Room: PROCESSES * TASKS}
    assert await rooms.live(processes[0]) == []


async def test_a_login_and_an_address_belong_to_one_person(processes):
    async def sign_up(db, n):
        same = {"login": "ana"} if n % 2 else {"email": "bo@example.org"}
        return await users.insert_user(db, person(n + 1, **same), password_hash="none")

    outcomes = await all_at_once(processes, sign_up)
    each = PROCESSES * TASKS // 2 - 1
    assert codes(outcomes) == {User: 2, "login_taken": each, "email_taken": each}


async def test_roles_given_at_once_are_all_there(processes):
    await users.insert_user(processes[0], person(1, roles=()), password_hash="none")

    async def give(db, n):
        return await users.add_user_role(db, person(1).id, users.ROLES[n % 3])

    await all_at_once(processes, give)
    found = await users.find_user(processes[0], person(1).id)
    assert found.roles == users.ROLES


async def test_no_session_outlives_the_password_it_was_opened_with(processes):
    """Log-ins with the old password and one change of it: whoever is too late is turned away."""
    user = person(1)
    await users.insert_user(processes[0], user, password_hash="old")

    async def log_in_or_change(db, n):
        if n == PROCESSES * TASKS // 3:
            async with db.begin() as tx:
                assert await users.replace_password_hash(tx, user.id, old="old", new="new")
                await asyncio.sleep(0)
                await sessions.delete_sessions_of(tx, user.id)
            return True
        return await sessions.insert_session(
            db,
            n.to_bytes(32, "big"),
            user_id=user.id,
            password_hash="old",
            created_at=NOW,
            expires_at=NOW + SECOND,
        )

    for _ in range(5):
        assert set(await all_at_once(processes, log_in_or_change)) <= {True, False}
        assert await sessions.open_sessions(processes[0], user.id, now=NOW) == []
        async with processes[0].begin() as tx:
            await users.replace_password_hash(tx, user.id, old="new", new="old")


async def test_the_oldest_sessions_close_and_no_more_are_open_than_may_be(processes, monkeypatch):
    monkeypatch.setattr(sessions, "SESSIONS_PER_USER_MAX", 5)
    user = person(1)
    await users.insert_user(processes[0], user, password_hash="it")

    async def log_in(db, n):
        return await sessions.insert_session(
            db,
            n.to_bytes(32, "big"),
            user_id=user.id,
            password_hash="it",
            created_at=NOW + n,
            expires_at=NOW + SECOND,
        )

    await all_at_once(processes, log_in)
    assert len(await sessions.open_sessions(processes[0], user.id, now=NOW)) == 5


async def test_so_many_resets_and_no_more_are_open_and_one_is_used_once(processes):
    user = person(1)
    await users.insert_user(processes[0], user, password_hash="it")

    async def ask(db, n):
        return await sessions.insert_reset(
            db, n.to_bytes(32, "big"), user_id=user.id, created_at=NOW
        )

    opened = await all_at_once(processes, ask)
    assert sum(opened) == sessions.RESETS_PER_USER_MAX

    there = [n for n, is_open in enumerate(opened) if is_open]

    async def use(db, n):
        token = there[n % len(there)].to_bytes(32, "big")
        async with db.begin() as tx:
            return await sessions.use_reset(tx, token, user_id=user.id)

    assert sum(await all_at_once(processes, use)) == 1


async def test_so_many_display_keys_and_no_more(processes):
    async def make(db, n):
        key = DisplayKey(f"{n:032x}", ANA, f"key {n}", NOW)
        return await display_keys.insert(db, key, key_hash=n.to_bytes(32, "big"))

    outcomes = await all_at_once(processes, make)
    most = display_keys.KEYS_PER_CREATOR_MAX
    assert codes(outcomes) == {
        DisplayKey: most,
        "display_keys_too_many": PROCESSES * TASKS - most,
    }


async def test_price_lists_get_the_next_numbers_without_gap_whoever_brings_them(processes):
    async def start(db, n):
        return await price_lists.current_version(db, b"list %d" % (n % 6), NOW)

    versions = await all_at_once(processes, start)
    assert set(versions) == set(range(1, 7))


async def test_changes_are_taken_in_once_and_a_rebuild_beside_it_ends_the_same(processes, town):
    for n in range(1, 61):
        await town.gift((ANA, BO)[n % 2], n)

    async def follow(db, _):
        while await projections.project(db, town.ledger, limit=7):
            pass

    await all_at_once(processes, follow)
    while await projections.project(processes[0], town.ledger, limit=PAGE_MAX):
        pass
    once = await state(processes[0])
    totals = await projections.operator_totals(processes[0])
    assert (totals.gifts, totals.coins_gifted) == (60, 1_830)

    async def rebuild_or_follow(db, n):
        if n == 1:
            await projections.rebuild(db, town.ledger)
        else:
            await follow(db, n)

    assert set(await all_at_once(processes, rebuild_or_follow)) == {None}
    assert await state(processes[0]) == once


async def test_a_thousand_rows_are_written_in_a_moment(db):
    """In bulk: row by row they would take a second on either database."""
    rows = [
        (n, n.to_bytes(16, "big"), b"v" * 16, b"c" * 16, b"r" * 16, 1, 1, 10, 50_000, 5_000)
        for n in range(1, 1_001)
    ]
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with db.begin() as tx:
        await database.insert_many(tx, tables.gifts, rows)
    assert loop.time() - started < 2
    totals = await projections.gifts_of_creator(db, (b"c" * 16).hex(), limit=2_000)
    assert [row.timestamp for row in totals] == list(range(1_000, 0, -1))
