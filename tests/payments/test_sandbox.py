"""The pretend provider by itself: payments, decisions, refunds, and webhooks that are repeated."""

import asyncio
import os

import httpx
import msgspec
import pytest

from largesse.clock import DAY, HOUR, SECOND, ManualClock
from largesse.errors import Rejected
from largesse.payments import PaymentStatus
from largesse.payments.sandbox import NewPayment, NewRefund
from largesse.payments.sandbox_service import (
    CLAIM_SECONDS,
    LATE_SECONDS,
    SandboxService,
    Scenario,
    Webhook,
)

PAID, FAILED = PaymentStatus.PAID, PaymentStatus.FAILED
NEW = NewPayment(order_id="0a" * 16, amount=749, currency="USD", description="700 coins")


class Receiver:
    """Whoever receives the webhooks: it keeps them, and answers what it is told to answer."""

    def __init__(self):
        self.answer = 204
        self.is_deaf = False
        self.events = []
        self.arrived = asyncio.Event()

    async def __call__(self, request):
        self.arrived.set()
        if self.is_deaf:
            await asyncio.Event().wait()
        self.events.append(msgspec.json.decode(request.content))
        return httpx.Response(self.answer)

    @property
    def types(self):
        return [event["type"] for event in self.events]


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def open_sandbox(tmp_path, clock, receiver):
    """Opens the sandbox's file; a second time is a restart."""
    opened = []

    async def open():
        sandbox = await SandboxService.open(
            tmp_path / "sandbox.sqlite",
            clock,
            os.urandom,
            secret=b"a secret that only a test may know",
            public_url="http://shop.test/sandbox",
            webhook_url="http://shop.test/v1/webhooks/sandbox",
            transport=httpx.MockTransport(receiver),
        )
        opened.append(sandbox)
        return sandbox

    yield open
    await opened[-1].close()


@pytest.fixture
async def sandbox(open_sandbox):
    return await open_sandbox()


async def status(sandbox, payment):
    return sandbox.view(await sandbox.find(payment.id)).status


async def test_an_order_begins_one_payment_however_often_it_asks(sandbox):
    first = await sandbox.create(NEW)

    assert await sandbox.create(NEW) == first
    assert sandbox.view(first).checkout_url == f"http://shop.test/sandbox/payments/{first.id}"
    assert await status(sandbox, first) == "pending"


async def test_an_order_that_asks_for_another_amount_is_refused(sandbox):
    await sandbox.create(NEW)

    with pytest.raises(Rejected, match="idempotency_key_reused"):
        await sandbox.create(msgspec.structs.replace(NEW, amount=1))


@pytest.mark.parametrize("amount", [0, -1, 10**12 + 1, 10**30])
async def test_an_amount_of_nothing_or_too_much_is_refused(sandbox, amount):
    with pytest.raises(Rejected, match="amount_out_of_range"):
        await sandbox.create(msgspec.structs.replace(NEW, amount=amount))


async def test_the_first_decision_stands_and_is_told_once(sandbox, receiver):
    payment = await sandbox.create(NEW)
    await sandbox.decide(payment.id, PAID, Scenario())
    await sandbox.decide(payment.id, PAID, Scenario())
    await sandbox.decide(payment.id, FAILED, Scenario())
    await sandbox.deliver_due()

    assert await status(sandbox, payment) == "paid"
    assert receiver.types == ["payment.paid"]


async def test_a_declined_payment_is_failed(sandbox, receiver):
    payment = await sandbox.create(NEW)
    await sandbox.decide(payment.id, FAILED, Scenario())
    await sandbox.deliver_due()

    assert await status(sandbox, payment) == "failed"
    assert receiver.types == ["payment.failed"]


async def test_a_checkout_expires_after_a_day_and_can_no_longer_be_paid(sandbox, clock):
    payment = await sandbox.create(NEW)
    clock.advance(DAY - 1)
    assert await status(sandbox, payment) == "pending"
    clock.advance(1)
    await sandbox.decide(payment.id, PAID, Scenario())

    assert await status(sandbox, payment) == "expired"


async def test_a_delayed_payment_is_pending_first_and_tells_of_both(sandbox, clock, receiver):
    payment = await sandbox.create(NEW)
    await sandbox.decide(payment.id, PAID, Scenario(delay_seconds=90))
    await sandbox.deliver_due()
    assert await status(sandbox, payment) == "pending"
    assert receiver.types == ["payment.pending"]

    clock.advance(90 * SECOND - 1)
    await sandbox.deliver_due()
    assert await status(sandbox, payment) == "pending"

    clock.advance(1)
    await sandbox.deliver_due()
    assert await status(sandbox, payment) == "paid"
    assert receiver.types == ["payment.pending", "payment.paid"]


async def test_a_payment_may_be_pending_and_then_fail(sandbox, clock):
    payment = await sandbox.create(NEW)
    await sandbox.decide(payment.id, FAILED, Scenario(delay_seconds=1))
    clock.advance(SECOND)

    assert await status(sandbox, payment) == "failed"


@pytest.mark.parametrize("seconds", [-1, 3_601, 10**30])
async def test_a_delay_has_bounds(sandbox, seconds):
    payment = await sandbox.create(NEW)

    with pytest.raises(Rejected, match="delay_out_of_range"):
        await sandbox.decide(payment.id, PAID, Scenario(delay_seconds=seconds))


async def test_a_doubled_webhook_is_the_same_event_twice(sandbox, receiver):
    payment = await sandbox.create(NEW)
    await sandbox.decide(payment.id, PAID, Scenario(webhook=Webhook("doubled")))
    await sandbox.deliver_due()

    first, second = receiver.events
    assert first == second


async def test_a_late_webhook_comes_long_after_the_money(sandbox, clock, receiver):
    payment = await sandbox.create(NEW)
    await sandbox.decide(payment.id, PAID, Scenario(webhook=Webhook("late")))
    await sandbox.deliver_due()
    assert await status(sandbox, payment) == "paid"
    assert receiver.events == []

    clock.advance(LATE_SECONDS * SECOND)
    await sandbox.deliver_due()
    assert receiver.types == ["payment.paid"]


async def test_a_webhook_before_the_redirect_has_arrived_when_the_decision_is_answered(
    sandbox, receiver
):
    payment = await sandbox.create(NEW)
    await sandbox.decide(payment.id, PAID, Scenario(webhook=Webhook("before_redirect")))

    assert receiver.types == ["payment.paid"]


async def test_a_webhook_is_repeated_with_growing_pauses_until_it_is_taken(
    sandbox, clock, receiver
):
    payment = await sandbox.create(NEW)
    receiver.answer = 503
    await sandbox.decide(payment.id, PAID, Scenario())
    for pause in (1, 2, 4, 8):
        assert await sandbox.deliver_due() == 1
        clock.advance(pause * SECOND - 1)
        assert await sandbox.deliver_due() == 0
        clock.advance(1)
    receiver.answer = 204
    assert await sandbox.deliver_due() == 1
    clock.advance(HOUR)

    assert await sandbox.deliver_due() == 0
    assert len(receiver.events) == 5


async def test_a_webhook_that_nobody_took_is_still_due_after_a_restart(
    open_sandbox, clock, receiver
):
    sandbox = await open_sandbox()
    payment = await sandbox.create(NEW)
    receiver.answer = 500
    await sandbox.decide(payment.id, PAID, Scenario(webhook=Webhook("late")))
    await sandbox.close()

    sandbox = await open_sandbox()
    receiver.answer = 204
    clock.advance(LATE_SECONDS * SECOND)
    await sandbox.deliver_due()

    assert await status(sandbox, payment) == "paid"
    assert receiver.types == ["payment.paid"]


async def test_two_processes_begin_a_payment_and_end_it_together(open_sandbox, receiver):
    """A checkout begun in one process is served by the other; its webhook is sent by one of them."""
    first = await open_sandbox()
    second = await open_sandbox()
    payment = await first.create(NEW)
    assert await second.find(payment.id) == payment
    await second.decide(payment.id, PAID, Scenario())
    tried = await asyncio.gather(first.deliver_due(), second.deliver_due())

    assert sorted(tried) == [0, 1]
    assert receiver.types == ["payment.paid"]
    assert await status(first, payment) == "paid"
    await first.close()


async def test_a_webhook_of_a_process_that_died_is_sent_by_another(open_sandbox, clock, receiver):
    first = await open_sandbox()
    second = await open_sandbox()
    payment = await first.create(NEW)
    await first.decide(payment.id, PAID, Scenario())
    receiver.is_deaf = True
    dying = asyncio.create_task(first.deliver_due())
    await receiver.arrived.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    await first.close()

    assert await second.deliver_due() == 0
    clock.advance(CLAIM_SECONDS * SECOND)
    receiver.is_deaf = False
    assert await second.deliver_due() == 1
    assert receiver.types == ["payment.paid"]


async def test_the_loop_delivers_what_is_decided_and_ends_when_asked(sandbox, receiver):
    running = asyncio.create_task(sandbox.run())
    payment = await sandbox.create(NEW)
    await sandbox.decide(payment.id, PAID, Scenario())
    await asyncio.wait_for(receiver.arrived.wait(), 10)
    sandbox.stop()
    await asyncio.wait_for(running, 10)

    assert receiver.types == ["payment.paid"]


async def test_a_refund_is_made_once_and_never_exceeds_the_payment(sandbox, receiver):
    payment = await sandbox.create(NEW)
    await sandbox.decide(payment.id, PAID, Scenario())
    await sandbox.refund(payment.id, NewRefund("r1", 500))
    await sandbox.refund(payment.id, NewRefund("r1", 500))
    with pytest.raises(Rejected, match="refund_exceeds_payment"):
        await sandbox.refund(payment.id, NewRefund("r2", 250))
    with pytest.raises(Rejected, match="idempotency_key_reused"):
        await sandbox.refund(payment.id, NewRefund("r1", 1))
    await sandbox.refund(payment.id, NewRefund("r3", 249))
    await sandbox.deliver_due()

    assert (await sandbox.find(payment.id)).refunded_amount == 749
    assert receiver.types == ["payment.paid", "payment.refunded", "payment.refunded"]


@pytest.mark.parametrize("decision", [None, FAILED])
async def test_what_was_not_paid_is_not_refunded(sandbox, decision):
    payment = await sandbox.create(NEW)
    if decision is not None:
        await sandbox.decide(payment.id, decision, Scenario())

    with pytest.raises(Rejected, match="refund_exceeds_payment"):
        await sandbox.refund(payment.id, NewRefund("r1", 1))


async def test_an_unknown_payment_is_refused_by_name(sandbox):
    for ask in (
        sandbox.find("pay_0"),
        sandbox.decide("pay_0", PAID, Scenario()),
        sandbox.refund("pay_0", NewRefund("r1", 1)),
    ):
        with pytest.raises(Rejected, match="payment_not_found"):
            await ask
