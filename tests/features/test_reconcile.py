"""Reading everything again: what is in order says so, and what was tampered with is named."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from largesse import clock as clocks
from largesse import ids, reconcile
from largesse.books import chart, checks, postings
from largesse.books.chart import Environment
from largesse.books.checks import Check
from largesse.clock import ManualClock
from largesse.ledger import LedgerUnavailable, encoding
from largesse.ledger.memory import MemoryLedger
from largesse.ledger.model import Change, Outcome, Posted
from largesse.ledger.sqlite import SqliteLedger
from largesse.money import Price
from largesse.records import orders
from largesse.records.database import Database
from largesse.records.orders import Order

TEST = Environment.TEST
ANA, BO = (ids.text(ids.derive("person", name)) for name in ("ana", "bo"))
ROOM = ids.text(ids.derive("room"))


@pytest.fixture
async def db(records_url) -> AsyncIterator[Database]:
    db = await Database.open(records_url)
    yield db
    await db.close()


@pytest.fixture
async def ledger(clock) -> MemoryLedger:
    ledger = MemoryLedger(clock)
    await open_accounts(ledger)
    return ledger


async def open_accounts(ledger) -> None:
    await ledger.create_accounts(
        (
            *chart.house_accounts(TEST, ("USD",), ("sandbox",)),
            *chart.viewer_accounts(TEST, ANA),
            *chart.creator_accounts(TEST, BO),
        )
    )


async def check(db, ledger, *, environment=TEST, now=0) -> dict[str, Check]:
    """The rows by name; of several with one name the last."""
    now = now or ManualClock().now()
    found = reconcile.check(db, ledger, environment=environment, now=now)
    return {row.name: row async for row in found if isinstance(row, Check)}


def faults(rows: dict[str, Check]) -> dict[str, str]:
    return {row.name: row.detail for row in rows.values() if not row.holds}


def order_of(name: str, status: str = "credited", **changes) -> Order:
    asked = {
        "id": ids.text(ids.derive("order", name)),
        "viewer_id": ANA,
        "environment": "test",
        "provider": "sandbox",
        "channel": "web",
        "country": "US",
        "package_id": "coins-350",
        "coins": 350,
        "bonus_coins": 0,
        "amount": 374,
        "currency": "USD",
        "tax": 62,
        "price_list_version": 1,
        "status": status,
        "payment_id": f"payment {name}",
        "created_at": ManualClock().now(),
        "updated_at": ManualClock().now(),
    }
    return Order(**asked | changes)


def recharge_of(order: Order) -> postings.Chain:
    assert order.payment_id is not None
    return postings.recharge(
        postings.recharge_id(TEST, order.provider, order.payment_id),
        environment=TEST,
        viewer_id=order.viewer_id,
        order_id=order.id,
        provider=order.provider,
        coins=order.coins,
        price=Price(order.amount, order.currency),
        tax=order.tax,
    )


def gift_of(n: int) -> postings.Chain:
    return postings.gift(
        ids.derive("gift", n),
        environment=TEST,
        viewer_id=ANA,
        creator_id=BO,
        room_id=ROOM,
        item_number=1,
        quantity=1,
        price_list_version=1,
        coins=1,
        share_bps=5_000,
    )


def replace_amount(chain: postings.Chain, amount: int) -> postings.Chain:
    """The chain, whose first transfer moves another amount."""
    return (replace(chain[0], amount=amount), *chain[1:])


async def post(ledger, chain: postings.Chain) -> None:
    [result] = await ledger.create_transfers([chain])
    assert result.outcome is Outcome.CREATED, result.outcome


async def sell(db, ledger, name: str) -> Order:
    order = await orders.insert_or_get(db, order_of(name))
    await post(ledger, recharge_of(order))
    return order


async def test_an_empty_folder_is_in_order(db, ledger):
    assert faults(await check(db, ledger)) == {}


async def test_a_living_folder_is_in_order_and_is_counted(db, ledger):
    """More orders and more changes than fit into one page of either."""
    for n in range(reconcile.ORDERS_AT_ONCE + 5):
        await sell(db, ledger, str(n))
    for n in range(reconcile.CHANGES_AT_ONCE + 5):
        await post(ledger, gift_of(n))
    await orders.insert_or_get(db, order_of("never paid", "failed", payment_id=None))
    await orders.insert_or_get(db, order_of("declined", "failed"))
    rows = await check(db, ledger)
    assert faults(rows) == {}
    assert rows[reconcile.RECHARGE_RULE].detail == "105 recharges"
    assert rows[reconcile.ORDER_RULE].detail == "107 orders"
    assert rows[checks.GIFT_RULE].detail == "205 gifts"


async def test_progress_is_told_while_the_changes_are_read(db, ledger):
    order = await sell(db, ledger, "one")
    for n in range(350):
        await post(ledger, gift_of(n))
    assert order.coins == 350
    found = reconcile.check(db, ledger, environment=TEST, now=ManualClock().now())
    read = [step async for step in found if isinstance(step, int)]
    assert len(read) >= 2
    assert read[-1] == 4 + 2 * 350


async def test_an_order_paid_and_not_credited_yet_is_no_fault_but_is_told(db, ledger, clock):
    """The process died between the two; the worker will finish it."""
    await orders.insert_or_get(db, order_of("waiting", "paid"))
    rows = await check(db, ledger, now=clock.now() + 3 * clocks.MINUTE)
    assert faults(rows) == {}
    assert rows[reconcile.ORDER_RULE].detail == (
        "1 orders; 1 paid and about to be credited, the oldest 3 min old"
    )


async def test_coins_posted_for_an_order_that_does_not_say_so_yet_are_no_fault(db, ledger):
    """The process died after the chain and before the order's status."""
    order = await orders.insert_or_get(db, order_of("posted", "paid"))
    await post(ledger, recharge_of(order))
    assert faults(await check(db, ledger)) == {}


async def test_a_credited_order_without_coins_is_named(db, ledger):
    order = await orders.insert_or_get(db, order_of("forged"))
    found = faults(await check(db, ledger))
    assert found == {reconcile.ORDER_RULE: f"1 not: order {order.id} was credited nothing"}


async def test_a_recharge_without_an_order_is_named(db, ledger):
    await sell(db, ledger, "honest")
    chain = recharge_of(order_of("conjured"))
    await post(ledger, chain)
    found = faults(await check(db, ledger))
    assert set(found) == {reconcile.RECHARGE_RULE}
    assert f"recharge {ids.text(chain[0].id)}" in found[reconcile.RECHARGE_RULE]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"coins": 351}, "coins differs"),
        ({"amount": 373}, "amount differs"),
        ({"tax": 61}, "tax differs"),
        ({"currency": "EUR"}, "provider differs"),
        ({"viewer_id": BO}, "wallet differs"),
    ],
)
async def test_a_recharge_that_is_not_what_was_ordered_is_named(db, ledger, change, what):
    ordered = order_of("odd")
    await orders.insert_or_get(db, order_of("odd", **change))
    await post(ledger, recharge_of(ordered))
    found = faults(await check(db, ledger))
    assert found == {reconcile.ORDER_RULE: f"1 not: order {ordered.id}: {what}"}


async def test_a_recharge_for_another_order_than_its_payment_is_named(db, ledger):
    order = await orders.insert_or_get(db, order_of("paid"))
    other = await orders.insert_or_get(db, order_of("other", "created", payment_id=None))
    await post(ledger, recharge_of(replace(order, id=other.id)))
    found = faults(await check(db, ledger))
    assert found == {reconcile.ORDER_RULE: f"1 not: order {order.id}: order differs"}


async def test_a_bonus_that_nobody_ordered_is_named_and_a_smaller_one_is_not(db, ledger):
    """A campaign that runs dry gives what it has; none gives more than was ordered."""
    campaign = chart.campaign_account(TEST, "spring")
    await ledger.create_accounts([campaign])
    funding = postings.fund_campaign(
        ids.derive("funding"), environment=TEST, campaign_id="spring", coins=70
    )
    await post(ledger, funding)
    for name, ordered in (("promised", 50), ("dry", 50), ("conjured", 0)):
        order = await orders.insert_or_get(db, order_of(name, bonus_coins=ordered))
        chain = postings.recharge(
            postings.recharge_id(TEST, "sandbox", f"payment {name}"),
            environment=TEST,
            viewer_id=ANA,
            order_id=order.id,
            provider="sandbox",
            coins=350,
            price=Price(374, "USD"),
            tax=62,
            bonus_coins=50 if ordered else 1,
            campaign_id="spring",
        )
        if name == "conjured":
            more = postings.fund_campaign(
                ids.derive("more"), environment=TEST, campaign_id="spring", coins=1
            )
            await post(ledger, more)
        await post(ledger, chain)
    found = faults(await check(db, ledger))
    assert found == {reconcile.ORDER_RULE: f"1 not: order {order.id}: bonus coins differ"}


async def test_a_chain_in_a_recharges_place_that_is_none_is_named(db, ledger):
    """Coins without the money, under the id that the payment would have."""
    order = await orders.insert_or_get(db, order_of("odd"))
    net, *_, repayment = recharge_of(order)
    await post(ledger, (net, replace(repayment, amount=0)))
    found = faults(await check(db, ledger))
    assert found[reconcile.ORDER_RULE] == f"1 not: order {order.id}: its chain is no recharge"


async def test_a_refund_has_an_order_of_the_same_viewer(db, ledger):
    order = await sell(db, ledger, "bought")

    def refund(order_id: str) -> postings.Chain:
        return postings.refund_of_unspent(
            ids.derive("refund", order_id),
            environment=TEST,
            viewer_id=ANA,
            order_id=order_id,
            provider="sandbox",
            coins=350,
            price=Price(374, "USD"),
            tax=62,
            unspent=100,
            unspent_bonus=0,
        )

    await post(ledger, refund(order.id))
    rows = await check(db, ledger)
    assert faults(rows) == {}
    assert rows[reconcile.REFUND_RULE].detail == "1 refunds"
    bos = await orders.insert_or_get(db, order_of("bo's", viewer_id=BO, status="failed"))
    for wrong, number in ((ids.text(ids.derive("no order")), 1), (bos.id, 2)):
        await post(ledger, refund(wrong))
        found = faults(await check(db, ledger))
        assert set(found) == {reconcile.REFUND_RULE}
        assert found[reconcile.REFUND_RULE].startswith(f"{number} not: ")


async def test_a_folder_of_test_money_holds_no_live_accounts(db, ledger):
    await ledger.create_accounts(chart.viewer_accounts(Environment.LIVE, ANA))
    assert set(faults(await check(db, ledger))) == {reconcile.FOLDER_RULE}
    assert faults(await check(db, ledger, environment=Environment.LIVE)) == {}


async def test_a_moving_ledger_is_read_to_where_it_stood(db, clock):
    """Ana buys and gifts with every page that is read. The run ends, and its own figures agree."""

    class Busy:
        sent = 0

        def __getattr__(self, name: str) -> object:
            return getattr(ledger, name)

        async def changes(self, after: int, limit: int) -> list[Change]:
            found = await ledger.changes(after, limit)
            await sell(db, ledger, f"while reading {self.sent}")
            await post(ledger, gift_of(self.sent))
            self.sent += 1
            return found

    ledger, busy = MemoryLedger(clock), Busy()
    await open_accounts(ledger)
    await sell(db, ledger, "one")
    rows = await check(db, busy)
    assert faults(rows) == {}
    assert busy.sent == 1


async def test_the_next_run_reads_only_what_is_new_and_forgets_no_fault(db, ledger):
    """What runs every ten minutes costs what happened in them; an order mended is no fault any more."""

    class Counting:
        read = 0

        def __getattr__(self, name: str) -> object:
            return getattr(ledger, name)

        async def changes(self, after: int, limit: int) -> list[Change]:
            found = await ledger.changes(after, limit)
            self.read += len(found)
            return found

    async def run() -> dict[str, Check]:
        found = reconcile.check(db, counting, environment=TEST, now=1, books=books)
        return {row.name: row async for row in found if isinstance(row, Check)}

    books, counting = reconcile.Books(), Counting()
    await sell(db, ledger, "one")
    await post(ledger, replace_amount(gift_of(1), 2))
    late = order_of("late")
    await post(ledger, recharge_of(late))
    issued = "diamonds issued are coins gifted x share (test)"
    assert set(faults(await run())) == {checks.GIFT_RULE, issued, reconcile.RECHARGE_RULE}
    read = counting.read
    await orders.insert_or_get(db, late)
    await post(ledger, gift_of(2))
    rows = await run()
    assert counting.read == read + 1
    assert faults(rows) == faults(await run())
    assert set(faults(rows)) == {checks.GIFT_RULE, issued}
    assert rows[checks.SHAPE_RULE].detail == "4 chains"


async def test_a_run_that_broke_off_is_followed_by_one_from_the_beginning(db, ledger):
    class Failing:
        fails = True

        def __getattr__(self, name: str) -> object:
            return getattr(ledger, name)

        async def lookup_accounts(self, account_ids: list[bytes]) -> object:
            if self.fails:
                raise LedgerUnavailable("the disk is gone")
            return await ledger.lookup_accounts(account_ids)

    books, failing = reconcile.Books(), Failing()
    await sell(db, ledger, "one")
    for fails in (True, False):
        failing.fails = fails
        verdict = await reconcile.verdict(db, failing, environment=TEST, now=lambda: 1, books=books)
        assert verdict.holds is not fails


async def test_few_accounts_are_remembered_however_many_there_are(db, ledger, monkeypatch):
    monkeypatch.setattr(reconcile, "ACCOUNTS_KEPT_MAX", 0)
    monkeypatch.setattr(reconcile, "CHANGES_AT_ONCE", 2)
    await sell(db, ledger, "one")
    for n in range(10):
        await post(ledger, gift_of(n))
    assert faults(await check(db, ledger)) == {}


async def test_a_correction_is_read_with_what_it_corrects(db, ledger):
    await sell(db, ledger, "one")
    await post(ledger, gift_of(1))
    found = await ledger.lookup_transfers([transfer.id for transfer in gift_of(1)])
    wrong = [posted for posted in found if isinstance(posted, Posted)]
    await post(ledger, postings.correction(ids.derive("correction"), wrong))
    rows = await check(db, ledger)
    assert faults(rows) == {}
    assert rows[checks.CORRECTION_RULE].detail == "1 corrections"


async def test_a_ledger_that_stops_answering_is_a_fault_not_a_crash(db, ledger):
    class Failing:
        def __getattr__(self, name: str) -> object:
            return getattr(ledger, name)

        async def changes(self, after: int, limit: int) -> list[Change]:
            raise LedgerUnavailable("the disk is gone")

    rows = await check(db, Failing())
    assert faults(rows) == {
        reconcile.READABLE_RULE: "stopped after 0 transfers: LedgerUnavailable('the disk is gone')"
    }


async def sqlite_folder(db, path: Path) -> None:
    ledger = await SqliteLedger.open(path, ManualClock())
    await open_accounts(ledger)
    await sell(db, ledger, "one")
    for n in range(10):
        await post(ledger, gift_of(n))
    await ledger.close()


async def check_file(db, path: Path) -> dict[str, Check]:
    """The deep check and the plain one; of several rows with one name one that does not hold."""
    ledger = await SqliteLedger.open(path, ManualClock())
    try:
        deep = [
            row async for row in reconcile.check_file(ledger.verify()) if isinstance(row, Check)
        ]
        return {row.name: row for row in sorted(deep, key=lambda row: not row.holds)} | (
            await check(db, ledger)
        )
    finally:
        await ledger.close()


async def test_a_file_is_in_order(db, tmp_path):
    path = tmp_path / "ledger.sqlite"
    await sqlite_folder(db, path)
    rows = await check_file(db, path)
    assert faults(rows) == {}
    assert rows[reconcile.FILE_RULE].detail == "24 transfers"


def edit(path: Path, transfer_id: bytes, **changes: object) -> None:
    """Change a transfer in the file behind the ledger's back."""
    with closing(sqlite3.connect(path)) as file, file:
        [record] = file.execute(
            "SELECT record FROM transfers WHERE id = ?", (transfer_id,)
        ).fetchone()
        posted = encoding.decode_posted(transfer_id, record)
        edited = replace(posted, transfer=replace(posted.transfer, **changes))
        row = encoding.encode_posted(edited)[ids.SIZE :]
        file.execute("UPDATE transfers SET record = ? WHERE id = ?", (row, transfer_id))


async def test_an_edited_amount_is_found_in_the_file_and_in_the_books(db, tmp_path):
    path = tmp_path / "ledger.sqlite"
    await sqlite_folder(db, path)
    edit(path, gift_of(3)[0].id, amount=2)
    found = faults(await check_file(db, path))
    assert {reconcile.FILE_RULE, "COIN: debits equal credits", checks.GIFT_RULE} <= set(found)


async def test_an_edited_room_is_found_in_the_file(db, tmp_path):
    """No total is wrong; only the batch's hash knows."""
    path = tmp_path / "ledger.sqlite"
    await sqlite_folder(db, path)
    edit(path, gift_of(3)[0].id, user_data_128=ids.derive("another room"))
    assert set(faults(await check_file(db, path))) == {reconcile.FILE_RULE}


@pytest.mark.parametrize(
    "changes",
    [
        {"debit_account_id": ids.derive("nobody")},
        {"code": chart.TransferCode.CORRECTION},
        {"code": 12_345},
        {"ledger": 9_999},
        {"flags": 8},
        {"user_data_128": b"\xff" * 16, "code": chart.TransferCode.CORRECTION},
    ],
)
async def test_whatever_was_edited_the_check_goes_on_to_its_end(db, tmp_path, changes):
    path = tmp_path / "ledger.sqlite"
    await sqlite_folder(db, path)
    for transfer in (gift_of(3)[0], recharge_of(order_of("one"))[0]):
        edit(path, transfer.id, **changes)
    rows = await check_file(db, path)
    assert not rows[reconcile.FILE_RULE].holds
    assert reconcile.FOLDER_RULE in rows


async def test_a_deleted_transfer_is_found(db, tmp_path):
    path = tmp_path / "ledger.sqlite"
    await sqlite_folder(db, path)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("DELETE FROM transfers WHERE id = ?", (gift_of(3)[1].id,))
    found = faults(await check_file(db, path))
    assert {reconcile.FILE_RULE, reconcile.READABLE_RULE} <= set(found)


async def test_a_wallet_made_richer_is_found(db, tmp_path):
    path = tmp_path / "ledger.sqlite"
    await sqlite_folder(db, path)
    with closing(sqlite3.connect(path)) as file, file:
        wallet = chart.wallet(TEST, ANA)
        [record] = file.execute("SELECT record FROM accounts WHERE id = ?", (wallet,)).fetchone()
        account = encoding.decode_account(wallet, record)
        richer = replace(account, credits_posted=account.credits_posted + 1_000)
        row = encoding.encode_account(richer)[ids.SIZE :]
        file.execute("UPDATE accounts SET record = ? WHERE id = ?", (row, wallet))
    assert reconcile.FILE_RULE in faults(await check_file(db, path))
