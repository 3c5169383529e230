"""What is read from the ledger: every gift once, in order, through crashes and corrections."""

import asyncio

import msgspec
import pytest
from sqlalchemy.exc import IntegrityError

from largesse import ids
from largesse.records import orders, projections, rooms, users
from largesse.records.database import Database
from largesse.records.orders import Order
from largesse.records.projections import GiftRow, Paid, TopGifter, ViewerTotals
from largesse.records.rooms import Room
from largesse.records.users import User
from tests.records.town import ANA, BO, CLEO, DIRK, OTHER_ROOM, ROOM, Town


async def everything(db: Database, town: Town, limit: int = 1_000) -> int:
    taken = 0
    while batch := await projections.project(db, town.ledger, limit=limit):
        assert batch <= limit
        taken += batch
    return taken


async def state(db: Database) -> list[object]:
    """All that the projections say."""
    found: list[object] = [await projections.operator_totals(db)]
    for room_id in (ROOM, OTHER_ROOM):
        found.append(await projections.gifts_of_room(db, room_id, limit=9_999))
        found.append(await projections.top_gifters_of_room(db, room_id, limit=9_999))
    for creator_id in (CLEO, DIRK):
        found.append(await projections.gifts_of_creator(db, creator_id, limit=9_999))
        found.append(await projections.top_gifters_of_creator(db, creator_id, limit=9_999))
    return found


async def test_a_gift_is_shown_to_viewer_creator_and_room(db, town):
    gift_id = await town.gift(ANA, 30)
    await town.gift(BO, 5, room=OTHER_ROOM, creator=DIRK)
    await everything(db, town)
    [row] = await projections.gifts_of_viewer(db, ANA, limit=10)
    [posted] = await town.ledger.lookup_transfers([gift_id])
    assert row == GiftRow(
        id=ids.text(gift_id),
        timestamp=posted.timestamp,
        viewer_id=ANA,
        creator_id=CLEO,
        room_id=ROOM,
        item_number=7,
        quantity=1,
        coins=30,
        diamond_units=150_000,
        share_bps=5_000,
    )
    assert await projections.gifts_of_creator(db, CLEO, limit=10) == [row]
    assert await projections.gifts_of_room(db, ROOM, limit=10) == [row]
    assert [x.coins for x in await projections.gifts_of_creator(db, DIRK, limit=10)] == [5]


async def test_only_gifts_are_taken_for_gifts(db, town):
    """The recharges and the new accounts are changes too."""
    assert await everything(db, town) > 0
    assert (await projections.operator_totals(db)).gifts == 0
    assert await everything(db, town) == 0


async def test_pages_go_back_through_every_gift_once(db, town):
    for coins in range(1, 8):
        await town.gift(ANA, coins)
    await everything(db, town)
    seen, before = [], None
    while page := await projections.gifts_of_viewer(db, ANA, before=before, limit=3):
        seen += [row.coins for row in page]
        before = (page[-1].timestamp, page[-1].id)
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_of_two_who_gave_as_much_the_one_who_reached_it_first_stands_higher(db, town):
    """Bo begins, but ana is at ten first; then both are overtaken by nobody."""
    await town.gift(BO, 4)
    await town.gift(ANA, 10)
    await town.gift(BO, 6)
    await everything(db, town, limit=1)
    rows = await projections.top_gifters_of_room(db, ROOM, limit=10)
    assert [(row.viewer_id, row.coins, row.gifts) for row in rows] == [(ANA, 10, 1), (BO, 10, 2)]
    assert rows[0].reached_at < rows[1].reached_at
    assert await projections.top_gifters_of_creator(db, CLEO, limit=10) == rows
    await town.gift(BO, 1)
    await everything(db, town)
    assert (await projections.top_gifters_of_room(db, ROOM, limit=1))[0].viewer_id == BO


async def test_a_ranking_of_a_creator_goes_over_all_rooms(db, town):
    await town.gift(ANA, 10)
    await town.gift(ANA, 5, room=OTHER_ROOM)
    await everything(db, town)
    [row] = await projections.top_gifters_of_creator(db, CLEO, limit=10)
    assert (row.viewer_id, row.coins, row.gifts) == (ANA, 15, 2)
    [row] = await projections.top_gifters_of_room(db, OTHER_ROOM, limit=10)
    assert row == TopGifter(ANA, 5, 1, row.reached_at)


@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_batches_of_any_size_tell_the_same(db, town, limit):
    for n in range(1, 201):
        await town.gift((ANA, BO)[n % 2], n, room=(ROOM, OTHER_ROOM)[n % 3 == 0])
    await everything(db, town, limit=limit)
    totals = await projections.operator_totals(db)
    assert (totals.gifts, totals.coins_gifted) == (200, 20_100)
    assert totals.diamond_units == 20_100 * 5_000
    rows = await projections.gifts_of_creator(db, CLEO, limit=9_999)
    assert [row.coins for row in rows] == list(range(200, 0, -1))
    top = await projections.top_gifters_of_creator(db, CLEO, limit=10)
    assert [(row.viewer_id, row.coins) for row in top] == [(ANA, 10_100), (BO, 10_000)]


async def break_at(db: Database, place: str) -> None:
    """Whatever changes a row there fails."""
    async with db.begin() as tx:
        if tx.dialect.name == "sqlite":
            await tx.exec_driver_sql(
                f"CREATE TRIGGER crash AFTER {place} BEGIN SELECT RAISE(ABORT, 'crash'); END"
            )
            return
        await tx.exec_driver_sql(
            "CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'crash' USING ERRCODE = 'check_violation'; END $$"
        )
        await tx.exec_driver_sql(
            f"CREATE TRIGGER crash AFTER {place} FOR EACH ROW EXECUTE FUNCTION crash()"
        )


async def mend(db: Database, place: str) -> None:
    async with db.begin() as tx:
        on_table = "" if tx.dialect.name == "sqlite" else f" ON {place.rpartition(' ')[2]}"
        await tx.exec_driver_sql(f"DROP TRIGGER crash{on_table}")


@pytest.mark.parametrize(
    "place",
    ["UPDATE ON projections", "INSERT ON gifts", "INSERT ON top_gifters", "UPDATE ON top_gifters"],
)
async def test_a_crash_at_any_statement_loses_and_doubles_nothing(db, town, place):
    """A statement of the second batch of gifts fails, twice; then all goes on as if it had not."""
    for n in range(1, 11):
        await town.gift(ANA, n)
    while (await projections.operator_totals(db)).gifts == 0:
        await projections.project(db, town.ledger, limit=12)
    for n in range(11, 31):
        await town.gift((ANA, BO)[n % 2], n)
    before = await state(db)
    await break_at(db, place)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="crash"):
            await projections.project(db, town.ledger, limit=12)
        assert await state(db) == before
    await mend(db, place)
    await everything(db, town, limit=12)
    crashed = await state(db)
    assert await projections.rebuild(db, town.ledger) > 30
    assert await state(db) == crashed
    totals = await projections.operator_totals(db)
    assert (totals.gifts, totals.coins_gifted) == (30, 465)


async def test_ten_that_project_at_once_count_every_gift_once(db, town):
    for n in range(1, 51):
        await town.gift(ANA, n)
    await asyncio.gather(*(everything(db, town, limit=5) for _ in range(10)))
    await everything(db, town)
    totals = await projections.operator_totals(db)
    assert (totals.gifts, totals.coins_gifted) == (50, 1_275)
    [row] = await projections.top_gifters_of_room(db, ROOM, limit=10)
    assert (row.coins, row.gifts) == (1_275, 50)


@pytest.mark.parametrize("limit", [1, 1_000])
async def test_a_corrected_gift_leaves_the_feed_and_the_ranking(db, town, limit):
    """Whether the correction comes in the same batch as the gift or in a later one."""
    await town.gift(ANA, 10)
    wrong = await town.gift(ANA, 500)
    only = await town.gift(BO, 3)
    if limit == 1:
        await everything(db, town)
    await town.correct(wrong)
    await town.correct(only)
    await everything(db, town, limit=limit)
    assert [row.coins for row in await projections.gifts_of_room(db, ROOM, limit=9)] == [10]
    [row] = await projections.top_gifters_of_room(db, ROOM, limit=9)
    assert (row.viewer_id, row.coins, row.gifts) == (ANA, 10, 1)
    totals = await projections.operator_totals(db)
    assert (totals.gifts, totals.coins_gifted, totals.diamond_units) == (1, 10, 50_000)


async def test_a_forgotten_owner_is_asked_for_again(db, town, monkeypatch):
    """With room for one owner only, everybody's name is still right."""
    monkeypatch.setattr(projections, "OWNERS_KEPT_MAX", 1)
    monkeypatch.setattr(projections, "_owners", {})
    for n in range(1, 7):
        await town.gift((ANA, BO)[n % 2], n)
    await everything(db, town, limit=1)
    assert len(projections._owners) <= 2
    rows = await projections.gifts_of_creator(db, CLEO, limit=9)
    assert [row.viewer_id for row in rows] == [ANA, BO] * 3


async def test_a_viewers_totals_are_what_was_bought_and_given_since(db, town):
    base = Order(
        id=f"{1:032x}",
        viewer_id=ANA,
        environment="test",
        provider="sandbox",
        channel="web",
        country="US",
        package_id="coins-350",
        coins=350,
        bonus_coins=50,
        amount=374,
        currency="USD",
        tax=0,
        price_list_version=1,
        status="credited",
        created_at=town.clock.now(),
        updated_at=town.clock.now(),
    )
    for n, changes in enumerate(
        (
            {},
            {"status": "refunded"},
            {"currency": "EUR", "amount": 400},
            {"status": "pending"},
            {"viewer_id": BO},
            {"created_at": 1},
        ),
        start=1,
    ):
        await orders.insert_or_get(db, msgspec.structs.replace(base, id=f"{n:032x}", **changes))
    since = town.clock.now()
    await town.gift(ANA, 10)
    await town.gift(BO, 99)
    await everything(db, town)
    assert await projections.totals_of_viewer(db, ANA, since=since) == ViewerTotals(
        coins_bought=1_050,
        bonus_coins=150,
        paid=(Paid("EUR", 400, 1), Paid("USD", 748, 2)),
        gifts=1,
        coins_gifted=10,
    )
    later = await projections.totals_of_viewer(db, ANA, since=town.clock.now() + 10**12)
    assert later == ViewerTotals(0, 0, (), 0, 0)


async def test_an_operator_sees_the_whole(db, town):
    now = town.clock.now()
    user = User(ANA, "ana", "ana@example.com", "1990-01-01", "US", ("viewer",), now)
    await users.insert_user(db, user, password_hash="hash")
    await rooms.insert(db, Room(ROOM, CLEO, "room", now))
    await rooms.insert(db, Room(OTHER_ROOM, DIRK, "room", now, now))
    await town.gift(ANA, 10)
    await everything(db, town)
    totals = await projections.operator_totals(db)
    assert (totals.users, totals.rooms_live, totals.gifts) == (1, 1, 1)
    assert totals.orders == dict.fromkeys(orders.STATUSES, 0)
    assert totals.paid == ()
    assert totals.gifts_after == await projections.position(db)
