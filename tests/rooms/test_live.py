"""A creator is live in one room at most, and a gift finds it without asking a database."""

import pytest

from largesse.clock import SECOND
from largesse.errors import Rejected
from largesse.records import rooms as records
from largesse.rooms import live_list
from largesse.rooms.live_list import LiveList
from tests.features.studio import open_studio, person


@pytest.fixture
async def studio(tmp_path):
    async with open_studio("memory", tmp_path) as opened:
        yield opened


async def refusal(asking):
    with pytest.raises(Rejected) as caught:
        await asking
    return caught.value


async def open_as(studio, creator, title="Evening songs"):
    return await studio.rooms.open(creator, title, studio.clock.now(), studio.entropy)


async def test_an_open_room_is_found_at_once_and_after_a_restart(studio):
    room = studio.rooms.find_live(studio.room_id)
    restarted = studio.new_rooms()
    await restarted.load()

    assert (room.title, room.creator_id, room.ended_at) == ("Sunday songs", studio.bo.id, None)
    assert restarted.find_live(studio.room_id) == room


async def test_an_ended_room_is_no_longer_live_but_still_found(studio):
    studio.clock.advance(SECOND)
    ended = await studio.rooms.end(studio.room_id, studio.bo.id, studio.clock.now())
    again = await studio.rooms.end(studio.room_id, studio.bo.id, studio.clock.now() + SECOND)
    restarted = studio.new_rooms()
    await restarted.load()

    assert ended.ended_at == studio.clock.now()
    assert again == ended
    assert await studio.rooms.find(studio.room_id) == ended
    for rooms in (studio.rooms, restarted):
        assert rooms.find_live(studio.room_id) is None


async def test_a_creator_has_one_live_room(studio):
    refused = await refusal(open_as(studio, studio.bo))

    assert (refused.code, refused.facts) == ("room_already_live", {"room_id": studio.room_id})
    await studio.rooms.end(studio.room_id, studio.bo.id, studio.clock.now())
    assert (await open_as(studio, studio.bo)).title == "Evening songs"


async def test_only_a_creator_opens_a_room(studio):
    refused = await refusal(open_as(studio, studio.ana))

    assert (refused.code, refused.facts) == ("role_required", {"role": "creator"})


async def test_nobody_ends_the_room_of_another(studio):
    for room_id, creator_id in (
        (studio.room_id, studio.ana.id),
        ("0" * 32, studio.bo.id),
        ("no id", studio.bo.id),
    ):
        refused = await refusal(studio.rooms.end(room_id, creator_id, studio.clock.now()))
        assert refused.code == "room_not_found"
    assert studio.rooms.find_live(studio.room_id) is not None


@pytest.mark.parametrize("title", ["", "   ", "x" * 101, "two\nlines", "a bell \x07", "a\u202eb"])
async def test_a_title_is_one_line_that_people_can_read(studio, title):
    cleo = person("cleo", 3, "viewer", "creator")

    assert (await refusal(open_as(studio, cleo, title))).code == "title_invalid"


@pytest.mark.parametrize("title", ["x", "x" * 100, "  songs  ", "Lieder für alle 🎵"])
async def test_blanks_around_a_title_are_left_out(studio, title):
    cleo = person("cleo", 3, "viewer", "creator")

    assert (await open_as(studio, cleo, title)).title == title.strip()


# Among several processes ---------------------------------------------------------------------------


@pytest.fixture
def look_ups(monkeypatch):
    """The rooms that were looked up in the records, one by one or all of them."""
    found: list[str] = []
    find, live = records.find, records.live

    async def finding(db, room_id):
        found.append(room_id)
        return await find(db, room_id)

    async def listing(db):
        found.append("all")
        return await live(db)

    monkeypatch.setattr(records, "find", finding)
    monkeypatch.setattr(records, "live", listing)
    return found


async def test_a_room_that_is_none_is_looked_up_once_a_second_however_often_it_is_asked_for(
    studio, look_ups
):
    rooms = LiveList(studio.db, is_shared=True)
    await rooms.load()
    for _ in range(100):
        assert await rooms.find("0" * 32) is None
    assert look_ups == ["all", "0" * 32]


async def test_misses_that_are_remembered_are_bounded(studio, look_ups, monkeypatch):
    monkeypatch.setattr(live_list, "MISSES_MAX", 10)
    rooms = LiveList(studio.db, is_shared=True)
    for number in range(25):
        assert await rooms.find(f"{number:032x}") is None
    assert len(rooms._misses) <= 10


async def test_a_room_that_another_process_opened_is_live_here_once_it_was_asked_for(
    studio, look_ups
):
    rooms = LiveList(studio.db, is_shared=True)
    for _ in range(3):
        assert (await rooms.find(studio.room_id)).ended_at is None
    assert look_ups == [studio.room_id]
    assert rooms.rooms[studio.room_id].creator_id == studio.bo.id


async def test_all_live_rooms_are_read_again_only_when_others_have_changed(studio, look_ups):
    rooms = LiveList(studio.db, is_shared=True)
    for _ in range(3):
        await rooms.look()
    assert look_ups == ["all"]
    studio.clock.advance(SECOND)
    await studio.rooms.end(studio.room_id, studio.bo.id, studio.clock.now())
    await rooms.look()
    assert rooms.rooms == {}
    again = await open_as(studio, studio.bo)
    await rooms.look()
    assert list(rooms.rooms) == [again.id]
    assert look_ups == ["all", "all", "all"]


async def test_what_this_process_does_while_the_list_is_read_is_not_undone(studio, monkeypatch):
    rooms = LiveList(studio.db, is_shared=True)
    live = records.live

    async def slow(db):
        found = await live(db)
        rooms.ended(studio.room_id)
        return found

    await rooms.load()
    monkeypatch.setattr(records, "live", slow)
    await rooms.load()
    assert studio.room_id not in rooms.rooms
