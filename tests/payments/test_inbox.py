"""Webhooks as they come in over HTTP: what is kept, what is refused, and what nobody believes."""

import httpx
import pytest

from largesse.clock import MINUTE
from largesse.payments.sandbox import SIGNATURE_HEADER, keys_of, sign
from largesse.records import inbox
from tests.payments.shop import SECRET

EVENT = (
    b'{"id":"evt_1","type":"payment.paid","payment_id":"%b","environment":"test",'
    b'"created_at":"2027-01-15T08:00:00.000Z","coins":1000000}'
)
KEY = keys_of(SECRET).webhook_key


@pytest.fixture
async def post(shop):
    """Sends a webhook, signed as the sandbox would unless the test gives a key or an age."""
    async with httpx.AsyncClient() as client:

        async def send(raw, key=KEY, age=0):
            signature = sign(key, raw, shop.clock.now() - age)
            answer = await client.post(
                f"{shop.address}/v1/webhooks/sandbox",
                content=raw,
                headers={SIGNATURE_HEADER: signature},
            )
            return answer.status_code

        yield send


async def kept(shop):
    return await inbox.recent(shop.db, limit=100)


async def test_a_webhook_is_kept_before_it_is_answered_and_handled_by_nobody_yet(shop, post):
    order = await shop.order()
    assert await post(EVENT % order.payment_id.encode()) == 204

    [event] = await kept(shop)
    assert (event.event_id, event.reference) == ("evt_1", order.payment_id)
    assert event.handled_at is None
    assert shop.worker_wake.is_set()


async def test_a_webhook_that_comes_twice_is_kept_once(shop, post):
    raw = EVENT % b"pay_1"
    assert [await post(raw), await post(raw)] == [204, 204]

    assert len(await kept(shop)) == 1


async def test_a_forged_an_old_and_an_unreadable_webhook_leave_nothing_behind(shop, post):
    raw = EVENT % b"pay_1"
    assert await post(raw, key=b"somebody else's key") == 400
    assert await post(raw, age=6 * MINUTE) == 400
    assert await post(b"not JSON") == 400

    assert await kept(shop) == []
    assert not shop.worker_wake.is_set()


async def test_a_webhook_is_not_believed_but_looked_into(shop, post):
    """It is signed and says that the order is paid with a million coins. The sandbox says: pending."""
    order = await shop.order()
    await post(EVENT % order.payment_id.encode())
    await shop.work()

    assert await shop.status(order) == "pending"
    assert await shop.coins() == 0


async def test_an_event_about_a_payment_nobody_knows_waits_and_says_why(shop, post):
    await post(EVENT % b"pay_of_nobody")
    await shop.work()

    [event] = await kept(shop)
    assert event.handled_at is None
    assert event.problem == "order_not_found"
    assert event.attempts == 1
    assert event.next_attempt_at > shop.clock.now()
