"""Users, orders, events, rooms and price lists as they are kept."""

import asyncio

import msgspec
import pytest
from sqlalchemy.exc import IntegrityError

from largesse.clock import SECOND
from largesse.errors import Rejected
from largesse.records import inbox, orders, price_lists, rooms, tables, users
from largesse.records.inbox import Event
from largesse.records.orders import Order
from largesse.records.rooms import Room
from largesse.records.users import User

NOW = 1_800_000_000 * SECOND


def id_of(n: int) -> str:
    return f"{n:032x}"


ANA = User(
    id=id_of(1),
    login="ana",
    email="ana@example.com",
    birth_on="1990-05-01",
    country="US",
    roles=("viewer",),
    created_at=NOW,
)
ORDER = Order(
    id=id_of(100),
    viewer_id=ANA.id,
    environment="test",
    provider="sandbox",
    channel="web",
    country="US",
    package_id="coins-350",
    coins=350,
    bonus_coins=0,
    amount=374,
    currency="USD",
    tax=0,
    price_list_version=1,
    status="created",
    created_at=NOW,
    updated_at=NOW,
)


async def test_a_person_is_found_by_id_login_and_email(db):
    await users.insert_user(db, ANA, password_hash="hash")
    assert await users.find_user(db, ANA.id) == ANA
    assert await users.find_by_login(db, "ana") == ANA
    assert await users.find_by_email(db, "ana@example.com") == ANA
    assert await users.find_credentials(db, "ana") == (ANA, "hash")
    assert await users.find_user(db, id_of(2)) is None


async def test_of_two_who_want_one_login_or_one_address_the_second_is_refused(db):
    await users.insert_user(db, ANA, password_hash="hash")
    same_login = msgspec.structs.replace(ANA, id=id_of(2), email="other@example.com")
    with pytest.raises(Rejected, match="login_taken"):
        await users.insert_user(db, same_login, password_hash="hash")
    same_email = msgspec.structs.replace(ANA, id=id_of(2), login="other")
    with pytest.raises(Rejected, match="email_taken"):
        await users.insert_user(db, same_email, password_hash="hash")
    assert await users.find_user(db, id_of(2)) is None


async def test_people_are_listed_newest_first_page_by_page(db):
    for n in range(1, 6):
        # Two of them signed up in the same nanosecond: the id decides, and none is skipped.
        person = msgspec.structs.replace(
            ANA, id=id_of(n), login=f"p{n}", email=f"p{n}@example.com", created_at=NOW + n // 2
        )
        await users.insert_user(db, person, password_hash="hash")
    seen, before = [], None
    while page := await users.list_users(db, before=before, limit=2):
        seen += [person.login for person in page]
        before = (page[-1].created_at, page[-1].id)
    assert seen == ["p5", "p4", "p3", "p2", "p1"]


async def test_an_order_asked_for_twice_is_one_order_with_its_first_price(db):
    first = await orders.insert_or_get(db, ORDER)
    dearer = msgspec.structs.replace(ORDER, amount=999)
    answers = await asyncio.gather(*(orders.insert_or_get(db, dearer) for _ in range(10)))
    assert set(answers) == {first} == {ORDER}
    assert await orders.find(db, ORDER.id) == ORDER
    assert await orders.find(db, id_of(101)) is None


async def test_of_two_who_credit_an_order_at_once_one_does(db):
    await orders.insert_or_get(db, msgspec.structs.replace(ORDER, status="paid"))
    answers = await asyncio.gather(
        *(
            orders.update(
                db,
                ORDER.id,
                expected_statuses=("pending", "paid"),
                status="credited",
                updated_at=NOW + n,
            )
            for n in range(5)
        )
    )
    changed = [answer for answer in answers if answer is not None]
    assert [order.status for order in changed] == ["credited"]
    assert await orders.find(db, ORDER.id) == changed[0]


async def test_a_payment_belongs_to_one_order(db):
    await orders.insert_or_get(db, ORDER)
    await orders.insert_or_get(db, msgspec.structs.replace(ORDER, id=id_of(101)))
    await orders.update(db, ORDER.id, expected_statuses=("created",), payment_id="pay-1")
    assert (await orders.find_by_payment(db, "sandbox", "test", "pay-1")).id == ORDER.id
    assert await orders.find_by_payment(db, "sandbox", "live", "pay-1") is None
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        await orders.update(db, id_of(101), expected_statuses=("created",), payment_id="pay-1")


@pytest.mark.parametrize(
    "changes",
    [{"status": "gone"}, {"coins": 0}, {"tax": 375}, {"amount": -1}],
    ids=["status", "coins", "tax", "amount"],
)
async def test_an_order_that_makes_no_sense_cannot_be_kept(db, changes):
    """Not even by whoever writes to the database with another program."""
    await orders.insert_or_get(db, ORDER)
    with pytest.raises(IntegrityError, match=r"(?i)check"):
        async with db.begin() as tx:
            await tx.execute(tables.orders.update().values(changes))


async def test_a_viewers_orders_come_newest_first_and_are_only_theirs(db):
    for n in range(5):
        viewer_id = ANA.id if n != 2 else id_of(2)
        row = msgspec.structs.replace(
            ORDER, id=id_of(100 + n), viewer_id=viewer_id, created_at=NOW + n // 2
        )
        await orders.insert_or_get(db, row)
    first = await orders.of_viewer(db, ANA.id, limit=2)
    cursor = (first[-1].created_at, first[-1].id)
    rest = await orders.of_viewer(db, ANA.id, before=cursor, limit=9)
    assert [order.id for order in first + rest] == [id_of(100 + n) for n in (4, 3, 1, 0)]
    assert len(await orders.recent(db, limit=9)) == 5
    assert await orders.recent(db, status="paid", limit=9) == []


async def test_orders_left_lying_are_found_the_oldest_first(db):
    statuses = ("created", "pending", "paid", "credited", "failed")
    for n, status in enumerate(statuses):
        row = msgspec.structs.replace(ORDER, id=id_of(100 + n), status=status, updated_at=NOW - n)
        await orders.insert_or_get(db, row)
    found = await orders.claim_unfinished(db, NOW, NOW + 9, 10)
    assert [order.status for order in found] == ["paid", "pending"]


async def test_an_order_that_somebody_looks_at_is_given_to_nobody_else_until_it_is_as_old_again(db):
    for n in range(6):
        row = msgspec.structs.replace(ORDER, id=id_of(100 + n), updated_at=NOW + n)
        await orders.insert_or_get(db, row)
    claims = await asyncio.gather(
        *(orders.claim_unfinished(db, NOW + 50, NOW + 99, 2) for _ in range(5))
    )
    assert sorted(order.id for claim in claims for order in claim) == [
        id_of(100 + n) for n in range(6)
    ]
    assert await orders.claim_unfinished(db, NOW + 99, NOW + 100, 9) == []
    assert len(await orders.claim_unfinished(db, NOW + 100, NOW + 101, 9)) == 6


def event(n: int, **changes: object) -> Event:
    fields = {
        "provider": "sandbox",
        "event_id": f"evt-{n}",
        "environment": "test",
        "reference": f"pay-{n}",
        "body": b"{}",
        "received_at": NOW + n,
        "next_attempt_at": NOW + n,
    }
    return Event(**(fields | changes))


async def test_a_webhook_sent_many_times_is_kept_once(db):
    stored = await asyncio.gather(*(inbox.store(db, event(1)) for _ in range(10)))
    assert sorted(stored) == [False] * 9 + [True]
    assert len(await inbox.waiting(db, 10)) == 1


async def test_a_live_and_a_test_event_of_one_name_are_two(db):
    assert await inbox.store(db, event(1))
    assert await inbox.store(db, event(1, environment="live"))


async def test_what_failed_comes_back_later_and_what_is_done_never(db):
    for n in (1, 2, 3):
        await inbox.store(db, event(n))
    one, two, three = await inbox.claim(db, NOW + 3, NOW + 50, 10)
    await inbox.mark_handled(db, one, now=NOW + 4)
    await inbox.mark_failed(db, two, next_attempt_at=NOW + 100, problem="no answer")
    assert await inbox.claim(db, NOW + 49, NOW + 80, 10) == []
    assert [x.event_id for x in await inbox.claim(db, NOW + 99, NOW + 101, 10)] == [three.event_id]
    [again] = await inbox.claim(db, NOW + 100, NOW + 200, 10)
    assert (again.event_id, again.attempts, again.problem) == ("evt-2", 1, "no answer")
    assert [x.event_id for x in await inbox.recent(db, limit=2)] == ["evt-3", "evt-2"]
    older = await inbox.recent(db, before=(NOW + 2, "evt-2"), limit=2)
    assert [(x.event_id, x.handled_at) for x in older] == [("evt-1", NOW + 4)]


async def test_what_was_handled_stays_handled_though_another_worker_says_it_failed(db):
    await inbox.store(db, event(1))
    [due] = await inbox.claim(db, NOW + 1, NOW + 2, 10)
    await inbox.mark_handled(db, due, now=NOW + 2)
    await inbox.mark_failed(db, due, next_attempt_at=NOW + 3, problem="late")
    assert await inbox.claim(db, NOW + 100, NOW + 200, 10) == []
    [kept] = await inbox.recent(db, limit=10)
    assert (kept.handled_at, kept.attempts, kept.problem) == (NOW + 2, 1, None)


async def test_many_workers_at_once_are_given_each_event_once_and_the_longest_due_first(db):
    for n in range(30):
        await inbox.store(db, event(n))
    claims = await asyncio.gather(*(inbox.claim(db, NOW + 30, NOW + 99, 7) for _ in range(6)))
    given = [event.event_id for claim in claims for event in claim]
    assert sorted(given) == sorted(f"evt-{n}" for n in range(30))
    for claim in claims:
        assert [x.next_attempt_at for x in claim] == sorted(x.next_attempt_at for x in claim)


async def test_what_a_dead_worker_claimed_comes_due_again(db):
    await inbox.store(db, event(1))
    [claimed] = await inbox.claim(db, NOW + 1, NOW + 50, 10)
    assert await inbox.claim(db, NOW + 49, NOW + 99, 10) == []
    [again] = await inbox.claim(db, NOW + 50, NOW + 99, 10)
    assert (again.event_id, again.attempts) == (claimed.event_id, 0)


def room(n: int, creator: int = 7, **changes: object) -> Room:
    return msgspec.structs.replace(Room(id_of(n), id_of(creator), f"room {n}", NOW + n), **changes)


async def test_a_creator_has_one_live_room_even_when_asking_ten_times_at_once(db):
    answers = await asyncio.gather(
        *(rooms.insert(db, room(n)) for n in range(10)), return_exceptions=True
    )
    opened = [answer for answer in answers if isinstance(answer, Room)]
    refused = [answer for answer in answers if isinstance(answer, Rejected)]
    assert len(opened) == 1
    assert {(x.code, x.facts["room_id"]) for x in refused} == {("room_already_live", opened[0].id)}
    assert await rooms.live(db) == opened


async def test_after_the_end_the_creator_may_open_another(db):
    await rooms.insert(db, room(1))
    ended = await rooms.end(db, id_of(1), NOW + 5)
    assert ended.ended_at == NOW + 5
    assert (await rooms.end(db, id_of(1), NOW + 9)).ended_at == NOW + 5
    assert await rooms.end(db, id_of(9), NOW) is None
    await rooms.insert(db, room(2))
    assert [x.id for x in await rooms.live(db)] == [id_of(2)]
    assert await rooms.find(db, id_of(1)) == ended


async def test_rooms_are_listed_newest_first_live_or_over(db):
    for n in range(1, 5):
        await rooms.insert(db, room(n, creator=n))
    await rooms.end(db, id_of(2), NOW + 9)
    first = await rooms.list_rooms(db, is_live=True, limit=2)
    rest = await rooms.list_rooms(
        db, is_live=True, before=(first[-1].started_at, first[-1].id), limit=2
    )
    assert [x.id for x in first + rest] == [id_of(4), id_of(3), id_of(1)]
    assert [x.id for x in await rooms.list_rooms(db, is_live=False, limit=9)] == [id_of(2)]
    assert len(await rooms.list_rooms(db, limit=9)) == 4
    assert [x.id for x in await rooms.list_rooms(db, creator_id=id_of(3), limit=9)] == [id_of(3)]


async def test_a_price_list_keeps_its_version_and_a_new_one_gets_the_next(db):
    assert await price_lists.current_version(db, b"one", NOW) == 1
    assert await price_lists.current_version(db, b"two", NOW + 1) == 2
    assert await price_lists.current_version(db, b"one", NOW + 2) == 1
    assert await price_lists.find(db, 2) == price_lists.PriceList(2, b"two", NOW + 1)
    assert await price_lists.find(db, 3) is None


async def test_two_processes_that_start_with_one_new_price_list_agree(db):
    versions = await asyncio.gather(
        *(price_lists.current_version(db, b"one", NOW + n) for n in range(5))
    )
    assert set(versions) == {1}
