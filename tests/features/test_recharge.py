"""Recharge through real records, real rules and the sandbox over HTTP: coins once, whatever happens."""

import asyncio
import itertools

import httpx
import msgspec
import pytest

from largesse import catalog as catalogs
from largesse import recharge
from largesse.books import chart
from largesse.clock import DAY, HOUR, MINUTE, SECOND
from largesse.errors import Rejected
from largesse.payments import PaymentStatus, ProviderUnavailable
from largesse.payments.sandbox import NewRefund, SandboxPayment, SandboxProvider
from largesse.payments.sandbox_service import Webhook
from largesse.records import inbox, orders
from tests.payments.shop import ANA, GIFT_ITEMS, PACKAGES, SECRET, TEST


def uuid7(instant, rest="7abc8def012345678901"):
    return f"{instant // 10**6:012x}{rest}"


def saying(**changes):
    """A provider that answers every question with this payment."""
    payment = SandboxPayment(
        id="pay_1",
        order_id="00" * 16,
        environment="test",
        status=PaymentStatus.PAID,
        amount=749,
        currency="USD",
        refunded_amount=0,
        checkout_url="",
    )
    answer = msgspec.json.encode(msgspec.structs.replace(payment, **changes))
    return SandboxProvider(
        base_url="http://sandbox.test",
        secret=SECRET,
        transport=httpx.MockTransport(lambda request: httpx.Response(200, content=answer)),
    )


async def events(shop):
    return await inbox.recent(shop.db, limit=100)


async def sweep(shop):
    shop.clock.advance(2 * MINUTE)
    return await recharge.finish_unfinished(
        shop.db, shop.ledger, shop.providers, now=shop.clock.now(), limit=10
    )


# Ordering.


async def test_an_order_holds_its_price_and_where_to_pay(shop):
    order = await shop.order()

    assert (order.coins, order.bonus_coins, order.amount, order.currency) == (700, 0, 749, "USD")
    assert order.status == "pending"
    assert order.checkout_url == f"{shop.address}/sandbox/payments/{order.payment_id}"
    assert await orders.find(shop.db, order.id) == order


async def test_tax_is_the_part_of_the_price_that_the_country_asks(shop):
    order = await shop.order(country="DE")

    assert (order.amount, order.currency, order.tax) == (799, "EUR", 128)  # 7.99 - 7.99 / 1.19


async def test_the_same_key_is_the_same_order_and_the_same_payment(shop):
    first = await shop.order()

    assert await shop.order() == first


@pytest.mark.parametrize(
    "other", [{"package_id": "coins-70"}, {"country": "DE"}, {"channel": "ios"}]
)
async def test_the_same_key_for_something_else_is_refused(shop, other):
    await shop.order()

    with pytest.raises(Rejected, match="idempotency_key_reused"):
        await shop.order(**other)


async def test_one_key_of_two_viewers_is_two_orders(shop):
    bo = msgspec.structs.replace(ANA, id="b0" * 16, login="bo")

    assert (await shop.order()).id != (await shop.order(viewer=bo)).id


async def test_a_retry_keeps_the_price_it_was_quoted(shop):
    """Between the attempts the price falls. The order is still the first one, at the first price."""
    first = await shop.order()
    cheaper = PACKAGES.replace(b"coins = 700, amount = 749", b"coins = 700, amount = 700")
    shop.catalog = catalogs.load(cheaper, GIFT_ITEMS)
    shop.price_list_version = 2
    assert (await shop.order(key="another")).amount == 700
    assert await shop.order() == first

    await shop.pay(first)
    await shop.sandbox.deliver_due()
    await shop.work()
    assert await shop.status(first) == "credited"
    assert await shop.coins() == 700


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"key": None}, "idempotency_key_required"),
        ({"key": ""}, "idempotency_key_required"),
        ({"key": "k" * 201}, "idempotency_key_invalid"),
        ({"key": "a\nb"}, "idempotency_key_invalid"),
        ({"viewer": msgspec.structs.replace(ANA, birth_on="2015-01-01")}, "adults_only"),
        ({"channel": "fax"}, "channel_not_found"),
        ({"country": "us"}, "country_unknown"),
        ({"country": "USA"}, "country_unknown"),
        ({"country": "12"}, "country_unknown"),
        ({"package_id": "coins-71"}, "package_not_found"),
        ({"provider": "piggy bank"}, "provider_not_found"),
    ],
)
async def test_a_request_that_cannot_be_an_order_is_refused_and_leaves_nothing(shop, asked, code):
    with pytest.raises(Rejected) as refused:
        await shop.order(**asked)

    assert refused.value.code == code
    assert await orders.recent(shop.db, limit=10) == []


@pytest.mark.parametrize("off", [-DAY - SECOND, DAY + SECOND])
async def test_a_key_from_another_day_is_refused(shop, off):
    with pytest.raises(Rejected, match="idempotency_key_expired"):
        await shop.order(key=uuid7(shop.clock.now() + off))


async def test_a_known_key_is_answered_years_later(shop):
    key = uuid7(shop.clock.now() - DAY + MINUTE)
    first = await shop.order(key=key)
    shop.clock.advance(1_000 * DAY)

    assert await shop.order(key=key) == first


async def test_an_order_whose_payment_could_not_begin_begins_it_on_the_retry(shop):
    working = shop.provider
    shop.providers["sandbox"] = SandboxProvider(
        base_url="http://sandbox.test",
        secret=SECRET,
        transport=httpx.MockTransport(lambda request: httpx.Response(503)),
    )
    with pytest.raises(Rejected, match="provider_unavailable") as refused:
        await shop.order()
    found = await orders.find(shop.db, refused.value.facts["order_id"])
    assert found.status == "created"

    shop.providers["sandbox"] = working
    shop.clock.advance(HOUR)
    order = await shop.order()
    assert order.id == found.id
    assert order.checkout_url is not None


async def test_an_order_whose_webhook_was_faster_than_its_checkout_still_gets_its_checkout(shop):
    """The process died before it wrote down where to pay; a webhook had told of the payment."""
    order = await shop.order()
    await orders.update(shop.db, order.id, expected_statuses=("pending",), checkout_url=None)
    shop.clock.advance(HOUR)

    assert (await shop.order()).checkout_url == order.checkout_url


async def test_one_key_sent_twenty_times_at_once_is_one_order_and_one_payment(shop):
    made = await asyncio.gather(*(shop.order() for _ in range(20)))

    assert len({(order.id, order.payment_id) for order in made}) == 1


# Being paid.


async def test_a_paid_order_becomes_coins_and_money_in_the_books(shop):
    order = await shop.order(country="DE")
    await shop.pay(order)
    await shop.sandbox.deliver_due()
    await shop.work()

    assert await shop.status(order) == "credited"
    assert await shop.coins() == 700
    receivable, liability, tax = await shop.ledger.lookup_accounts(
        [
            chart.receivable(TEST, "sandbox", "EUR"),
            chart.coin_liability(TEST, "EUR"),
            chart.tax_payable(TEST, "EUR"),
        ]
    )
    assert receivable.debits_posted == 799
    assert liability.credits_posted == 799 - 128
    assert tax.credits_posted == 128


async def test_nothing_is_credited_until_the_worker_works(shop):
    """The webhook is stored and answered; the money waits in the inbox, where it cannot get lost."""
    order = await shop.order()
    await shop.pay(order, webhook=Webhook.DOUBLED)
    await shop.sandbox.deliver_due()
    assert [await shop.answers.get() for _ in range(2)] == [204, 204]
    assert await shop.coins() == 0
    assert await shop.status(order) == "pending"

    await shop.work()
    assert await shop.coins() == 700
    assert [event.handled_at is not None for event in await events(shop)] == [True]


async def test_a_declined_order_has_failed_and_costs_nothing(shop):
    order = await shop.order()
    await shop.decline(order)
    await shop.sandbox.deliver_due()
    await shop.work()

    found = await orders.find(shop.db, order.id)
    assert (found.status, found.failure) == ("failed", "failed")
    assert await shop.coins() == 0


async def test_a_payment_that_is_pending_for_a_while_is_credited_when_it_is_paid(shop):
    order = await shop.order()
    await shop.pay(order, delay_seconds=90)
    await shop.sandbox.deliver_due()
    await shop.work()
    assert await shop.status(order) == "pending"

    shop.clock.advance(90 * SECOND)
    await shop.sandbox.deliver_due()
    await shop.work()
    assert await shop.coins() == 700


async def test_an_order_taken_for_failed_is_credited_when_the_provider_says_paid(shop):
    order = await shop.order()
    await orders.update(shop.db, order.id, expected_statuses=("pending",), status="failed")
    await shop.pay(order)
    await shop.settle(order)

    assert await shop.status(order) == "credited"
    assert await shop.coins() == 700


async def test_twenty_settlements_at_once_credit_once(shop):
    order = await shop.order()
    await shop.pay(order)
    settled = await asyncio.gather(*(shop.settle(order) for _ in range(20)))

    assert await shop.coins() == 700
    assert {each.status for each in settled} <= {"paid", "credited"}


async def test_a_payment_is_credited_though_its_order_never_heard_of_it(shop):
    """The process died between the provider's answer and writing it down; the webhook came first."""
    order = await shop.order()
    await orders.update(
        shop.db,
        order.id,
        expected_statuses=("pending",),
        status="created",
        payment_id=None,
        checkout_url=None,
    )
    await shop.pay(order)
    await shop.sandbox.deliver_due()
    await shop.work()

    found = await orders.find(shop.db, order.id)
    assert (found.status, found.payment_id) == ("credited", order.payment_id)
    assert await shop.coins() == 700


async def hear(shop, order, hint):
    """One way to hear of a payment: an event of the provider, or our own look at what is open."""
    if hint == "sweep":
        await sweep(shop)
        return
    event = inbox.Event(
        "sandbox", f"{order.id} {hint}", "test", order.payment_id, b"", shop.clock.now()
    )
    await inbox.store(shop.db, event)
    await shop.work()


@pytest.mark.parametrize("refunded", [False, True], ids=["paid", "refunded before it was credited"])
async def test_whatever_we_hear_in_whatever_order_ends_the_same(shop, refunded):
    """Each is a hint to look, so only what the provider holds counts: 24 orders, one result."""
    for n, hints in enumerate(itertools.permutations(["paid", "settled", "refunded", "sweep"]), 1):
        order = await shop.order(key=str(n))
        await shop.pay(order)
        if refunded:
            await shop.sandbox.refund(order.payment_id, NewRefund(order.id, order.amount))
        for hint in (*hints, hints[0]):
            await hear(shop, order, hint)

        assert await shop.status(order) == ("refunded" if refunded else "credited")
        assert await shop.coins() == (0 if refunded else 700 * n)


async def test_a_refund_after_the_credit_waits_in_sight_of_the_operator(shop):
    """No posting takes coins back yet, so the books stay true and the event is kept for the day."""
    order = await shop.order()
    await shop.pay(order)
    await shop.settle(order)
    await shop.sandbox.refund(order.payment_id, NewRefund("r1", 749))
    await shop.sandbox.deliver_due()
    await shop.work()

    assert await shop.coins() == 700
    [problem] = {event.problem for event in await events(shop)}
    assert problem == "payment_refunded (refunded_amount=749)"
    assert not [event for event in await events(shop) if event.handled_at]


# What does not fit.


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("amount", 748),
        ("amount", 1_000_000),
        ("currency", "EUR"),
        ("environment", "live"),
        ("payment_id", "pay_other"),
    ],
)
async def test_a_payment_that_is_not_what_was_ordered_credits_nothing(shop, field, found):
    order = await shop.order()
    payment = {"order_id": order.id, "id": order.payment_id}
    payment["id" if field == "payment_id" else field] = found
    shop.providers["sandbox"] = saying(**payment)
    event = inbox.Event("sandbox", "evt_1", "test", payment["id"], b"", shop.clock.now())
    await inbox.store(shop.db, event)
    await shop.work()

    [event] = await events(shop)
    assert event.handled_at is None
    assert event.problem.startswith(f"payment_mismatch (field='{field}'")
    assert await shop.status(order) == "pending"
    assert await shop.coins() == 0


async def test_a_payment_of_another_provider_is_not_taken_for_ours(shop):
    order = await shop.order()
    provider = saying(order_id=order.id, id=order.payment_id)
    provider.name = "somebody else"
    with pytest.raises(Rejected, match=r"payment_mismatch \(field='provider'"):
        await recharge.settle(
            shop.db, shop.ledger, provider, payment_id=order.payment_id, now=shop.clock.now()
        )


async def test_an_event_for_an_order_we_do_not_have_yet_is_tried_until_we_have_it(shop):
    order = await shop.order()
    unknown = msgspec.structs.replace(order, id="0f" * 16, payment_id=None, status="created")
    shop.providers["sandbox"] = saying(order_id=unknown.id, id="pay_9")
    event = inbox.Event("sandbox", "evt_1", "test", "pay_9", b"", shop.clock.now())
    await inbox.store(shop.db, event)
    waits = []
    for _ in range(14):
        await shop.work()
        [event] = await events(shop)
        waits.append((event.next_attempt_at - shop.clock.now()) // SECOND)
        shop.clock.advance(event.next_attempt_at - shop.clock.now())
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == HOUR // SECOND
    assert event.problem == "order_not_found"

    await orders.insert_or_get(shop.db, unknown)
    await shop.work()
    [event] = await events(shop)
    assert event.handled_at is not None
    assert await shop.status(unknown) == "credited"
    assert await shop.coins() == 700


@pytest.mark.parametrize("order_id", ["", "not an id", "zz" * 16])
async def test_a_payment_that_names_no_order_of_ours_is_parked(shop, order_id):
    shop.providers["sandbox"] = saying(order_id=order_id)
    await inbox.store(shop.db, inbox.Event("sandbox", "evt_1", "test", "pay_1", b"", 0))
    await shop.work()

    [event] = await events(shop)
    assert event.problem == "order_not_found"


async def test_one_event_that_trips_us_up_does_not_hold_up_the_next(shop):
    class Broken:
        name = "broken"

        async def fetch(self, payment_id):
            raise ZeroDivisionError

    shop.providers["broken"] = Broken()
    order = await shop.order()
    await shop.pay(order)
    await inbox.store(shop.db, inbox.Event("broken", "evt_1", "test", "pay_1", b"", 0))
    await inbox.store(shop.db, inbox.Event("nobody", "evt_1", "test", "pay_1", b"", 0))
    await shop.sandbox.deliver_due()
    await shop.work()

    assert await shop.coins() == 700
    problems = {event.provider: event.problem for event in await events(shop)}
    assert problems["broken"] == "fault: ZeroDivisionError()"
    assert problems["nobody"] == "provider_not_found"


# Webhooks that never come, and orders that nobody pays.


async def test_a_payment_whose_webhook_got_lost_is_found(shop):
    order = await shop.order()
    await shop.pay(order)
    await sweep(shop)

    assert await shop.status(order) == "credited"
    assert await shop.coins() == 700


async def test_an_order_that_nobody_pays_fails_when_its_checkout_expires(shop):
    order = await shop.order()
    await sweep(shop)
    assert await shop.status(order) == "pending"

    shop.clock.advance(DAY)
    await sweep(shop)
    found = await orders.find(shop.db, order.id)
    assert (found.status, found.failure) == ("failed", "expired")


async def test_an_order_whose_payment_never_began_is_given_up_after_a_day(shop):
    shop.providers["sandbox"] = SandboxProvider(
        base_url="http://sandbox.test",
        secret=SECRET,
        transport=httpx.MockTransport(lambda request: httpx.Response(503)),
    )
    with pytest.raises(Rejected, match="provider_unavailable") as refused:
        await shop.order()
    order_id = refused.value.facts["order_id"]
    await sweep(shop)
    assert (await orders.find(shop.db, order_id)).status == "created"

    shop.clock.advance(DAY)
    await sweep(shop)
    found = await orders.find(shop.db, order_id)
    assert (found.status, found.failure) == ("failed", "never_started")
    assert await shop.order() == found


async def test_orders_that_wait_take_turns(shop):
    """Three wait, two are asked about at a time: nobody is asked about for ever before the last."""
    for n in range(3):
        await shop.order(key=f"order {n}")
        shop.clock.advance(1)
    last = await shop.order(key="order 2")
    await shop.pay(last)
    shop.clock.advance(2 * MINUTE)
    for _ in range(2):
        await recharge.finish_unfinished(
            shop.db, shop.ledger, shop.providers, now=shop.clock.now(), limit=2
        )

    assert await shop.status(last) == "credited"


async def test_a_provider_that_is_down_keeps_every_event_waiting(shop):
    order = await shop.order()
    await shop.pay(order)
    await shop.sandbox.deliver_due()
    working = shop.providers["sandbox"]
    shop.providers["sandbox"] = SandboxProvider(
        base_url="http://sandbox.test",
        secret=SECRET,
        transport=httpx.MockTransport(lambda request: httpx.Response(500)),
    )
    await shop.work()
    assert [event.problem for event in await events(shop)] == ["provider_unavailable"]
    with pytest.raises(ProviderUnavailable):
        await shop.providers["sandbox"].fetch(order.payment_id)

    shop.providers["sandbox"] = working
    shop.clock.advance(SECOND)
    await shop.work()
    assert await shop.coins() == 700
