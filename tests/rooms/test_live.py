"""A creator is live in one room at most, and a gift finds it without asking a database."""

import pytest

from largesse.clock import SECOND
from largesse.errors import Rejected
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
