"""Records move to another database: every row is there, or none."""

from contextlib import ExitStack

import msgspec
import pytest

from largesse.clock import SECOND
from largesse.errors import Rejected
from largesse.records import copying, follows, leases, orders, rooms, users
from largesse.records.database import Database
from largesse.records.rooms import Room
from tests import databases
from tests.records.test_people_and_orders import ANA, NOW, ORDER, id_of

BO = msgspec.structs.replace(ANA, id=id_of(2), login="bo", email="bo@example.com")
ROOM = Room(id=id_of(200), creator_id=BO.id, title="Rosen und Späße", started_at=NOW)


@pytest.fixture
async def ends(request, tmp_path):
    """Opens empty records by the names of their engines."""
    opened: list[Database] = []
    with ExitStack() as urls:

        async def open_both(*engines: str) -> list[Database]:
            for engine in engines:
                url = urls.enter_context(
                    databases.records(engine, tmp_path / str(len(opened)), request)
                )
                opened.append(await Database.open(url))
            return opened

        for n in range(2):
            (tmp_path / str(n)).mkdir()
        yield open_both
        for db in opened:
            await db.close()


async def live(db: Database) -> None:
    await users.insert_user(db, ANA, password_hash="hash")
    await users.insert_user(db, BO, password_hash="hash")
    await orders.insert_or_get(db, ORDER)
    await rooms.insert(db, ROOM)
    await follows.follow(db, ANA.id, BO.id, now=NOW)


both_ways = pytest.mark.parametrize(
    "engines", [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite")]
)


@both_ways
async def test_everything_that_is_kept_is_copied(ends, engines):
    source, target = await ends(*engines)
    await live(source)
    steps = [step async for step in copying.copy(source, target)]
    copied = {step.table: step.rows for step in steps if step.rows}
    assert copied.pop("projections") > 0
    assert copied == {
        "users": 2, "orders": 1, "rooms": 1, "room_logs": 1, "follows": 1
    }  # fmt: skip
    for db in (source, target):
        assert await users.find_by_login(db, "ana") == ANA
        assert await users.find_credentials(db, "bo") == (BO, "hash")
        assert await orders.find(db, ORDER.id) == ORDER
        assert await rooms.find(db, ROOM.id) == ROOM


@both_ways
async def test_what_is_there_already_is_not_mixed_with_what_comes(ends, engines):
    source, target = await ends(*engines)
    await live(source)
    await users.insert_user(target, ANA, password_hash="another")
    with pytest.raises(Rejected) as refused:
        [step async for step in copying.copy(source, target)]
    assert refused.value.code == "records_copy_not_empty"
    assert refused.value.facts["table"] == "users"
    assert await orders.find(target, ORDER.id) is None


async def test_what_only_running_processes_need_stays_behind(ends):
    source, target = await ends("sqlite", "postgres")
    assert await leases.take(source, "checks", "somebody", now=NOW, until=NOW + 60 * SECOND)
    [step async for step in copying.copy(source, target)]
    assert await leases.take(target, "checks", "another", now=NOW, until=NOW + 60 * SECOND)


async def test_a_row_that_came_out_differently_undoes_the_copy(ends):
    """A trigger stands for whatever may change a value on its way."""
    source, target = await ends("sqlite", "sqlite")
    await live(source)
    async with target.begin() as tx:
        await tx.exec_driver_sql(
            "CREATE TRIGGER vandal AFTER INSERT ON users BEGIN"
            " UPDATE users SET country = 'XX' WHERE id = NEW.id; END"
        )
    with pytest.raises(Rejected) as refused:
        [step async for step in copying.copy(source, target)]
    assert (refused.value.code, refused.value.facts["table"]) == ("records_copy_differs", "users")
    assert await users.find_by_login(target, "ana") is None
