"""What people read about their coins is what the ledger holds, with the words beside it."""

import csv
import io

import msgspec
import pytest

from largesse import ids, reports
from largesse.books import chart, postings
from largesse.clock import DAY
from largesse.errors import Rejected
from largesse.ledger.model import Transfer
from largesse.money import Price
from largesse.records import orders, users
from largesse.records.orders import Order
from largesse.records.projections import GiftRow
from tests.features.studio import TEST, open_studio, person

ORDER_ID = "0c" * 16


@pytest.fixture
async def studio(tmp_path, records_url):
    """Ana bought ten coins, bo is known by name."""
    async with open_studio("memory", tmp_path, records_url) as opened:
        await users.insert_user(opened.db, opened.ana, password_hash="none")
        await users.insert_user(opened.db, opened.bo, password_hash="none")
        await orders.insert_or_get(opened.db, order(opened.clock.now(), viewer_id=opened.ana.id))
        yield opened


def order(now, **changes):
    made = Order(
        id=ORDER_ID,
        viewer_id="",
        environment="test",
        provider="sandbox",
        channel="web",
        country="US",
        package_id="coins-70",
        coins=70,
        bonus_coins=0,
        amount=74,
        currency="USD",
        tax=0,
        price_list_version=1,
        status="credited",
        created_at=now,
        updated_at=now,
    )
    return msgspec.structs.replace(made, **changes)


async def history(studio, *, before=None, limit=50, viewer=None, **filter):
    return await reports.history(
        studio.db,
        studio.ledger,
        studio.catalog,
        viewer_id=(viewer or studio.ana).id,
        country="US",
        environment=TEST,
        before=before,
        limit=limit,
        filter=reports.HistoryFilter(**filter),
    )


async def csv_rows(studio):
    lines = reports.history_csv(pages(studio))
    return list(csv.reader(io.StringIO("".join([line async for line in lines]))))


def pages(studio, **filter):
    return reports.history_pages(
        studio.db,
        studio.ledger,
        studio.catalog,
        viewer_id=studio.ana.id,
        country="US",
        environment=TEST,
        filter=reports.HistoryFilter(**filter),
    )


async def test_history_tells_each_movement_with_its_balance(studio):
    await studio.give_coins(studio.ana, 70, order_id=ORDER_ID)
    await studio.send(quantity=2)

    page = await history(studio)

    told = [(row.kind, row.coins, row.balance) for row in page.rows]
    assert told == [("gift", -6, 74), ("recharge", 70, 80), ("recharge", 10, 10)]
    gift, recharge, _ = page.rows
    assert gift.price == Price(7, "USD")
    assert (gift.gift.item_name, gift.gift.quantity) == ("Rose", 2)
    assert (gift.gift.room_title, gift.gift.creator_login) == ("Sunday songs", "bo")
    assert recharge.price == Price(74, "USD")
    assert recharge.order == reports.OrderFacts(ORDER_ID, "coins-70", "sandbox")
    assert page.next_before is None


async def test_history_leads_through_every_page_once(studio):
    for number in range(5):
        await studio.send("tulip", key=f"key {number}")
    whole = (await history(studio)).rows

    rows, before = [], None
    while True:
        page = await history(studio, before=before, limit=2)
        rows += page.rows
        before = page.next_before
        if before is None:
            break

    assert tuple(rows) == whole
    assert len(whole) == 6


async def test_one_looks_at_one_kind_and_at_some_days(studio):
    await studio.give_coins(studio.ana, 70, order_id=ORDER_ID)
    first_day = studio.clock.now()
    studio.clock.advance(DAY)
    for number in range(3):
        await studio.send("tulip", key=f"key {number}")
    second_day = studio.clock.now()

    async def told(**filter):
        return [(row.kind, row.coins) for row in (await history(studio, **filter)).rows]

    recharges = [("recharge", 70), ("recharge", 10)]
    gifts = [("gift", -1)] * 3
    assert await told(kind="recharge") == recharges
    assert await told(kind="gift") == gifts
    assert await told(kind="refund") == []
    assert await told(since=second_day) == gifts
    assert await told(until=first_day + DAY) == recharges
    assert await told(kind="gift", until=first_day + DAY) == []
    exported = [row.kind async for rows in pages(studio, kind="gift") for row in rows]
    assert exported == ["gift"] * 3


async def test_a_filtered_page_looks_back_only_so_far_and_says_where_to_go_on(studio, monkeypatch):
    monkeypatch.setattr(reports, "HISTORY_PAGE", 2)
    monkeypatch.setattr(reports, "HISTORY_LOOKED_AT_MAX", 4)
    for number in range(5):
        await studio.send("tulip", key=f"key {number}")

    first = await history(studio, kind="recharge", limit=5)
    assert first.rows == ()
    assert first.next_before is not None
    second = await history(studio, kind="recharge", limit=5, before=first.next_before)
    assert [row.coins for row in second.rows] == [10]
    assert second.next_before is None


async def test_the_export_as_json_is_one_object_with_every_row(studio):
    await studio.send()

    text = "".join([part async for part in reports.history_json(pages(studio))])

    told = msgspec.json.decode(text)["rows"]
    assert [row["kind"] for row in told] == ["gift", "recharge"]
    assert msgspec.json.encode(told) == msgspec.json.encode((await history(studio)).rows)


async def test_debt_that_is_repaid_is_told(studio):
    await owe(studio, 4)
    await studio.give_coins(studio.ana, 20)

    told = [(row.kind, row.coins, row.balance) for row in (await history(studio)).rows]

    assert told == [("debt_repaid", -4, 26), ("recharge", 20, 30), ("recharge", 10, 10)]


async def test_a_corrected_gift_comes_back(studio):
    sent = await studio.send()
    first = ids.parse(sent.gift.id)
    wrong = await studio.ledger.lookup_transfers([first, ids.nth(first, 1)])
    [result] = await studio.ledger.create_transfers(
        [postings.correction(ids.derive("a mistake"), wrong)]
    )
    assert result.outcome == "created"

    told = [(row.kind, row.coins, row.balance) for row in (await history(studio)).rows]

    assert told[0] == ("correction", 3, 10)


@pytest.mark.parametrize("before", ["", "no id", "0" * 32, "another's"])
async def test_a_place_in_another_wallet_is_refused(studio, before):
    if before == "another's":
        await studio.ledger.create_accounts(chart.viewer_accounts(TEST, studio.bo.id))
        await studio.give_coins(studio.bo, 5)
        before = (await history(studio, viewer=studio.bo)).rows[0].id

    with pytest.raises(Rejected, match="cursor_invalid"):
        await history(studio, before=before)


async def test_a_spreadsheet_runs_nothing_from_a_csv(studio):
    """Bo calls his room what a spreadsheet would run; ana only looks at what she gave."""
    await studio.rooms.end(studio.room_id, studio.bo.id, studio.clock.now())
    for title in ("=HYPERLINK(1)", "+1", "-1", "@SUM(1)", 'a "quoted", title'):
        room = await studio.rooms.open(studio.bo, title, studio.clock.now(), studio.entropy)
        await studio.send("tulip", room_id=room.id, key=title)
        await studio.rooms.end(room.id, studio.bo.id, studio.clock.now())

    head, *rows = await csv_rows(studio)

    rooms = [row[head.index("room")] for row in reversed(rows)][1:]
    assert rooms == ["'=HYPERLINK(1)", "'+1", "'-1", "'@SUM(1)", 'a "quoted", title']
    assert [row[head.index("coins")] for row in rows] == ["-1"] * 5 + ["10"]


async def test_the_csv_holds_more_than_a_page(studio, monkeypatch):
    monkeypatch.setattr(reports, "HISTORY_PAGE", 2)
    for number in range(5):
        await studio.send("tulip", key=f"key {number}")

    assert len(await csv_rows(studio)) == 1 + 6


async def test_the_wallet_tells_debt_and_what_was_spent_this_month(studio):
    await studio.send()
    studio.clock.advance(31 * DAY)
    await studio.send("tulip", 2, key="next month")
    await owe(studio, 4)

    wallet = await reports.wallet(
        studio.db,
        studio.ledger,
        studio.catalog,
        viewer_id=studio.ana.id,
        country="US",
        environment=TEST,
        now=studio.clock.now(),
    )

    assert (wallet.coins, wallet.debt, wallet.price) == (5, 4, Price(6, "USD"))
    assert (wallet.spent_this_month.gifts, wallet.spent_this_month.coins) == (1, 2)


async def test_totals_are_of_this_month_and_of_all_time(studio):
    await studio.send()
    studio.clock.advance(31 * DAY)
    await studio.send("tulip", 2, key="next month")

    totals = await reports.totals(
        studio.db,
        studio.ledger,
        studio.catalog,
        viewer_id=studio.ana.id,
        country="US",
        now=studio.clock.now(),
    )

    assert (totals.this_month.since, totals.this_month.coins_bought) == (
        "2027-02-01T00:00:00.000Z",
        0,
    )
    assert (totals.this_month.gifts, totals.this_month.coins_gifted) == (1, 2)
    assert (totals.all.gifts, totals.all.coins_gifted, totals.all.coins_bought) == (2, 5, 70)
    assert totals.all.paid == (Price(74, "USD"),)


async def test_earnings_are_the_creators_diamonds(studio):
    await studio.send()

    earnings = await reports.earnings(studio.ledger, creator_id=studio.bo.id, environment=TEST)

    assert (earnings.held, earnings.available) == ("1.5000", "0.0000")
    assert earnings.held_price == Price(1, "USD")


@pytest.mark.parametrize(
    ("coins", "share_bps", "paid", "platform", "yours"),
    [
        (1, 5_000, "0.010686", "0.005686", "0.005000"),
        (70, 5_000, "0.748000", "0.398000", "0.350000"),
        (1, 10_000, "0.010686", "0.000686", "0.010000"),
        (3, 0, "0.032058", "0.032058", "0.000000"),
        (44_999, 5_001, "480.846458", "255.806459", "225.039999"),
    ],
)
def test_the_parts_of_a_split_add_up(studio_catalog, coins, share_bps, paid, platform, yours):
    row = GiftRow("", 1, "", "", "", 1, 1, coins, coins * share_bps, share_bps)

    split = reports.split(studio_catalog, row)

    assert (split.paid.worth.value, split.platform.value) == (paid, platform)
    assert (split.yours.worth.value, split.yours.share_bps) == (yours, share_bps)
    millionths = [int(part.replace(".", "")) for part in (paid, platform, yours)]
    assert millionths[0] == millionths[1] + millionths[2]


@pytest.fixture
def studio_catalog():
    from tests.features.studio import catalog

    return catalog()


async def test_the_operator_sees_money_and_coins(studio):
    await studio.give_coins(studio.ana, 70, order_id=ORDER_ID)
    await studio.send()

    totals = await reports.operator_totals(
        studio.db,
        studio.ledger,
        environment=TEST,
        providers=["sandbox"],
        currencies=["USD"],
        now=studio.clock.now(),
    )

    assert (totals.users, totals.rooms_live, totals.inbox_waiting) == (2, 1, 0)
    assert totals.money_in == (reports.MoneyIn("sandbox", Price(148, "USD"), Price(0, "USD")),)
    assert (totals.coins_outstanding, totals.coins_gifted, totals.gifts) == (77, 3, 1)
    assert (totals.diamonds, totals.orders["credited"]) == ("1.5000", 1)


async def test_a_login_is_looked_up_once_and_nobody_is_none(studio):
    found = await reports.logins(studio.db, [studio.ana.id, "0" * 32])

    assert found == {studio.ana.id: "ana"}


async def test_a_viewer_without_a_wallet_has_nothing(studio):
    nobody = person("dora", 9, "viewer")

    assert (await history(studio, viewer=nobody)).rows == ()


async def owe(studio, coins):
    """A payment was taken back after its coins were spent."""
    transfer = Transfer(
        ids.derive("a chargeback"),
        chart.debt(TEST, studio.ana.id),
        chart.returned(TEST),
        coins,
        chart.COIN,
        chart.TransferCode.REFUND,
    )
    [result] = await studio.ledger.create_transfers([(transfer,)])
    assert result.outcome == "created"
