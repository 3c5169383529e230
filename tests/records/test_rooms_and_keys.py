"""The logs of rooms, who follows whom, and keys that only show, as they are kept."""

import sqlite3

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import IntegrityError

from largesse.clock import SECOND
from largesse.errors import Rejected
from largesse.records import database, display_keys, follows, room_log, rooms, users
from largesse.records.display_keys import DisplayKey
from largesse.records.follows import Follow
from largesse.records.room_log import Log, Segment, State
from largesse.records.rooms import Room
from tests.records.test_people_and_orders import ANA, NOW, id_of

ROOM = Room(id=id_of(500), creator_id=id_of(2), title="Songs", started_at=NOW)


@pytest.fixture
async def room(db):
    return await rooms.insert(db, ROOM)


def segment(first: int, last: int, *, closes: bool = False) -> Segment:
    return Segment(ROOM.id, first, last, f"{first}-{last}".encode(), closes)


async def test_a_log_is_appended_to_and_read_from_any_number(db, room):
    assert await room_log.find(db, room.id) == (Log(room.id, 0, closed=False), None)
    await room_log.append(db, [segment(1, 3)], [], after=-1, to=10)
    await room_log.append(db, [segment(4, 4)], [State(room.id, 4, b"four")], after=10, to=10)
    await room_log.append(db, [segment(5, 9)], [], after=10, to=20)

    assert await room_log.position(db) == 20
    log = Log(room.id, 9, closed=False)
    assert await room_log.find(db, room.id) == (log, State(room.id, 4, b"four"))
    for after, expected in (
        (0, [b"1-3", b"4-4", b"5-9"]),
        (2, [b"1-3", b"4-4", b"5-9"]),
        (3, [b"4-4", b"5-9"]),
        (7, [b"5-9"]),
        (9, []),
    ):
        assert await room_log.segments_after(db, room.id, after) == expected


async def test_no_number_is_given_twice_and_what_came_with_it_is_undone(db, room):
    await room_log.append(db, [segment(1, 3)], [], after=-1, to=10)
    with pytest.raises(IntegrityError):
        await room_log.append(db, [segment(1, 1)], [State(room.id, 1, b"one")], after=10, to=20)
    assert await room_log.position(db) == 10
    assert await room_log.find(db, room.id) == (Log(room.id, 3, closed=False), None)


async def test_two_cannot_both_move_on_from_one_place(db, room):
    await room_log.append(db, [segment(1, 1)], [], after=-1, to=10)
    with pytest.raises(AssertionError):
        await room_log.append(db, [segment(2, 2)], [], after=-1, to=20)
    assert await room_log.segments_after(db, room.id, 0) == [b"1-1"]


async def test_a_room_that_is_over_is_unfinished_until_its_end_is_in_the_log(db, room):
    assert await room_log.unfinished(db) == []
    await rooms.end(db, room.id, NOW + SECOND)
    assert await room_log.unfinished(db) == [room.id]
    await room_log.append(db, [segment(1, 2, closes=True)], [], after=-1, to=10)
    assert await room_log.unfinished(db) == []
    await room_log.append(db, [segment(3, 3)], [], after=10, to=20)
    assert await room_log.unfinished(db) == []  # A late gift does not open it again.


async def test_older_records_get_logs_for_the_rooms_that_are_live(tmp_path):
    file = tmp_path / "old.sqlite"
    config = Config()
    config.set_main_option("script_location", "largesse.records:migrations")
    engine = sa.create_engine(database.sqlite_url(file))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with sqlite3.connect(file) as old:
        old.executemany(
            "INSERT INTO rooms VALUES (?, ?, 'Songs', 1, ?)",
            [(b"a" * 16, b"c" * 16, None), (b"b" * 16, b"c" * 16, 2)],
        )
        old.execute(
            "INSERT INTO users VALUES (?, 'ana', 'ana@example.com', '-', '1990-05-01', 'US',"
            " 'viewer', 1, NULL)",
            (b"d" * 16,),
        )
    old.close()

    await database.migrate(database.sqlite_url(file))
    db = await database.Database.open(database.sqlite_url(file))
    try:
        live = (b"a" * 16).hex()
        assert await room_log.find(db, live) == (Log(live, 0, closed=False), None)
        assert await room_log.find(db, (b"b" * 16).hex()) is None
        assert await room_log.unfinished(db) == []
        assert await room_log.position(db) == room_log.NOWHERE
        ana = await users.find_by_login(db, "ana")
        assert ana is not None
        assert (ana.nickname, ana.name) == ("", "ana")
    finally:
        await db.close()


async def test_others_see_the_nickname_or_else_the_login(db):
    await users.insert_user(db, ANA, password_hash="hash")
    changed: list[str] = []
    db.on_user_change.append(changed.append)
    assert ANA.name == "ana"
    named = await users.set_nickname(db, ANA.id, "Ana of the hills")
    assert named is not None
    assert named.name == "Ana of the hills"
    assert await users.find_users(db, [id_of(2), ANA.id]) == {ANA.id: named}
    assert changed == [ANA.id]
    assert await users.set_nickname(db, id_of(2), "Nobody") is None


async def test_to_follow_twice_is_to_follow_once(db):
    ana, bo = id_of(1), id_of(2)
    assert await follows.follow(db, ana, bo, now=NOW)
    assert not await follows.follow(db, ana, bo, now=NOW + 1)
    assert await follows.is_following(db, ana, bo)
    assert not await follows.is_following(db, bo, ana)
    assert await follows.count_followers(db, bo) == 1
    assert await follows.followed_by(db, ana, limit=10) == [Follow(ana, bo, NOW)]
    assert await follows.followers_among(db, bo, [ana, id_of(3)]) == {ana}
    assert await follows.unfollow(db, ana, bo)
    assert not await follows.unfollow(db, ana, bo)
    assert await follows.count_followers(db, bo) == 0


async def test_a_display_key_is_found_by_its_hash_until_its_creator_takes_it_back(db):
    key = DisplayKey(id_of(7), id_of(2), "Alert box", NOW)
    await display_keys.insert(db, key, key_hash=b"h" * 32)
    assert await display_keys.find(db, b"h" * 32) == key
    assert await display_keys.list_keys(db, id_of(2)) == [key]
    assert not await display_keys.delete(db, id_of(3), key.id)
    assert await display_keys.delete(db, id_of(2), key.id)
    assert await display_keys.find(db, b"h" * 32) is None


async def test_a_creator_has_so_many_display_keys_and_no_more(db):
    for n in range(display_keys.KEYS_PER_CREATOR_MAX):
        key = DisplayKey(id_of(n), id_of(2), "", NOW)
        await display_keys.insert(db, key, key_hash=bytes(31) + bytes([n]))
    with pytest.raises(Rejected, match="display_keys_too_many"):
        await display_keys.insert(db, DisplayKey(id_of(99), id_of(2), "", NOW), key_hash=b"x" * 32)
