"""What creators received adds up, however it is cut."""

import msgspec
import pytest

from largesse.clock import DAY, MINUTE
from largesse.records import received, sales
from largesse.records.database import insert_many
from largesse.records.received import Part, Received, Stretch
from largesse.records.sales import Given
from largesse.records.tables import gifts

BOB, BEA = b"\x0b" * 16, b"\x0e" * 16
ANA, ABE = b"\x01" * 16, b"\x02" * 16
SONGS, TALK = b"\x51" * 16, b"\x52" * 16
ROSE, ROCKET = 1, 2
START = 20_000 * DAY


def gift(at, viewer, room, item, quantity, coins, *, creator=BOB):
    id = at.to_bytes(16, "big")
    return (at, id, viewer, creator, room, item, quantity, coins, coins * 5_000, 5_000)


@pytest.fixture
async def feed(db):
    """Two rooms of bob over two days, and one gift to somebody else."""
    async with db.begin() as tx:
        await insert_many(
            tx,
            gifts,
            [
                gift(START + 1, ANA, SONGS, ROSE, 5, 5),
                gift(START + 2, ABE, SONGS, ROSE, 1, 1),
                gift(START + MINUTE, ANA, SONGS, ROCKET, 1, 6),
                gift(START + MINUTE + 1, ABE, SONGS, ROSE, 1, 1, creator=BEA),
                gift(START + DAY, ABE, TALK, ROCKET, 2, 20),
            ],
        )
    return db


def of_bob(**changes):
    return Stretch(creator_id=BOB.hex(), **changes)


async def test_everything_a_creator_received_is_one_sum(feed):
    assert await received.total(feed, of_bob()) == Received(4, 9, 32, 160_000, 2)
    assert await received.total(feed, of_bob(room_id=TALK.hex())) == Received(1, 2, 20, 100_000, 1)
    assert await received.total(feed, of_bob(since=START + 2, until=START + DAY)) == Received(
        2, 2, 7, 35_000, 2
    )
    assert await received.total(feed, Stretch(creator_id=ANA.hex())) == Received(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("item", [(ROCKET, 26), (ROSE, 6)]),
        ("room", [(TALK.hex(), 20), (SONGS.hex(), 12)]),
        ("gifter", [(ABE.hex(), 21), (ANA.hex(), 11)]),
    ],
)
async def test_every_cut_adds_up_to_the_whole_and_the_best_is_first(feed, by, keys):
    parts = await received.parts(feed, of_bob(), by, limit=10)

    assert [(part.key, part.coins) for part in parts] == keys
    whole = await received.total(feed, of_bob())
    assert sum(part.gifts for part in parts) == whole.gifts
    assert sum(part.items for part in parts) == whole.items
    assert sum(part.diamond_units for part in parts) == whole.diamond_units
    assert [part.key for part in await received.parts(feed, of_bob(), by, limit=1)] == [keys[0][0]]


async def test_every_sum_is_a_whole_number(feed):
    """Some databases add whole numbers up to something with decimals."""
    days = await received.days(feed, of_bob())
    found = [
        await received.total(feed, of_bob()),
        await received.best_minute(feed, of_bob()),
        *days,
        *await sales.given(feed, since=0, step=DAY),
    ]
    assert {type(value) for each in found for value in msgspec.structs.astuple(each)} == {int}


async def test_days_begin_at_midnight(feed):
    assert await received.days(feed, of_bob()) == [
        Part(START, 3, 7, 12, 60_000),
        Part(START + DAY, 1, 2, 20, 100_000),
    ]


async def test_the_best_minute_is_the_first_of_equals(feed):
    best = await received.best_minute(feed, of_bob(room_id=SONGS.hex()))

    assert best == Part(START, 2, 6, 6, 30_000)
    assert await received.best_minute(feed, Stretch(creator_id=ANA.hex())) is None


async def test_an_operator_sees_everybodys_gifts_by_the_step(feed):
    assert await sales.given(feed, since=START + 2, step=DAY) == [
        Given(START, 3, 8, 40_000),
        Given(START + DAY, 1, 20, 100_000),
    ]
