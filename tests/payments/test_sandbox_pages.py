"""The sandbox over HTTP: the checkout page for people, the same addresses for programs, the API."""

import os
import re

import httpx
import msgspec
import pytest

from largesse.clock import ManualClock
from largesse.payments.sandbox import NewPayment, SandboxProvider
from largesse.payments.sandbox_service import SandboxService
from largesse.web.sandbox import sandbox_app

SECRET = b"a secret that only a test may know"
NEW = NewPayment(order_id="0a" * 16, amount=749, currency="USD", description="<b>700</b> coins")
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
async def sandbox(tmp_path):
    opened = await SandboxService.open(
        tmp_path / "sandbox.sqlite",
        ManualClock(),
        os.urandom,
        secret=SECRET,
        public_url="http://shop.test/sandbox",
        webhook_url="http://shop.test/v1/webhooks/sandbox",
        transport=httpx.MockTransport(lambda request: httpx.Response(204)),
    )
    yield opened
    await opened.close()


@pytest.fixture
async def client(sandbox):
    transport = httpx.ASGITransport(sandbox_app(sandbox))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as opened:
        yield opened


@pytest.fixture
async def checkout(sandbox):
    """The address of a checkout page."""
    return sandbox.view(await sandbox.create(NEW)).checkout_url


async def test_the_page_says_that_it_pretends_and_what_it_would_cost(client, checkout):
    page = await client.get(checkout, headers=BROWSER)

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "No real money" in page.text
    assert "7.49 USD" in page.text
    assert "&lt;b&gt;700&lt;/b&gt; coins" in page.text


async def test_the_page_needs_no_script_and_allows_none(client, checkout):
    page = await client.get(checkout, headers=BROWSER)

    assert "<script" not in page.text
    assert not re.search(r"\son\w+=|style=", page.text)
    policy = page.headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert "form-action 'self'" in policy
    assert not [rule for rule in policy if rule.startswith("script-src")]


async def test_every_address_in_the_page_is_there(client, checkout):
    page = await client.get(checkout, headers=BROWSER)
    for address in re.findall(r'<link [^>]*href="([^"]+)"', page.text):
        found = await client.get(httpx.URL(checkout).join(address))
        assert found.status_code == 200
        assert found.content


async def test_a_browser_that_pays_is_sent_back_to_a_page_that_says_so(client, checkout):
    page = await client.get(checkout, headers=BROWSER)
    [action] = re.findall(r'action="([^"]+/confirm)"', page.text)
    paid = await client.post(httpx.URL(checkout).join(action), headers=BROWSER, data={})

    assert paid.status_code == 303
    back = await client.get(httpx.URL(str(paid.url)).join(paid.headers["location"]))
    assert str(back.url) == checkout
    assert "Paid." in back.text
    assert "<button" not in back.text


async def test_a_browser_that_declines_is_told_that_nothing_was_paid(client, checkout):
    page = await client.get(checkout, headers=BROWSER)
    [action] = re.findall(r'formaction="([^"]+/decline)"', page.text)
    await client.post(httpx.URL(checkout).join(action), headers=BROWSER, data={})

    assert "Nothing was paid" in (await client.get(checkout)).text


async def test_the_scenarios_are_fields_of_the_page_that_the_server_takes(client, checkout):
    page = await client.get(checkout, headers=BROWSER)
    names = set(re.findall(r'name="(\w+)"', page.text)) - {"viewport"} - {"color-scheme"}
    webhooks = re.findall(r'name="webhook" value="(\w+)"', page.text)

    assert names == {"webhook", "delay_seconds"}
    assert webhooks == ["normal", "doubled", "late", "before_redirect"]
    form = {"webhook": "late", "delay_seconds": "5"}
    assert (await client.post(f"{checkout}/confirm", headers=BROWSER, data=form)).status_code == 303
    assert "pending" in (await client.get(checkout)).text


async def test_a_browser_goes_back_to_the_shop_where_the_shop_gave_an_address(client, sandbox):
    back = "https://other.test/orders/1"
    payment = await sandbox.create(msgspec.structs.replace(NEW, return_url=back))
    address = sandbox.view(payment).checkout_url
    page = await client.get(address, headers=BROWSER)
    paid = await client.post(f"{address}/confirm", headers=BROWSER)

    assert "form-action 'self' https://other.test;" in page.headers["content-security-policy"]
    assert paid.headers["location"] == back


@pytest.mark.parametrize(("verb", "status"), [("confirm", "paid"), ("decline", "failed")])
async def test_a_program_is_answered_with_json_and_twice_with_the_same(
    client, checkout, verb, status
):
    first = await client.post(f"{checkout}/{verb}")
    again = await client.post(f"{checkout}/{verb}", headers={"accept": "application/json"})

    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert first.json()["status"] == status


async def test_a_program_names_its_scenario_in_json(client, checkout):
    answer = await client.post(
        f"{checkout}/confirm", json={"webhook": "doubled", "delay_seconds": 3}
    )

    assert answer.json()["status"] == "pending"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"not JSON"),
        ("application/json", b'{"webhook": "never"}'),
        ("application/json", b'{"delay_seconds": 1.5}'),
        ("application/json", b'{"coins": 1000000}'),
        ("application/json", b'{"a":' + b"[" * 4_000),
        ("application/json", b'{"webhook": "\xff"}'),
        ("application/x-www-form-urlencoded", b"delay_seconds=soon"),
        ("application/x-www-form-urlencoded", b"a=1&" * 100),
        ("application/x-www-form-urlencoded", b"\xff"),
    ],
)
async def test_a_scenario_that_makes_no_sense_decides_nothing(client, checkout, kind, body):
    answer = await client.post(f"{checkout}/confirm", content=body, headers={"content-type": kind})

    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == "body_invalid"
    assert "<button" in (await client.get(checkout)).text


async def test_a_delay_out_of_bounds_is_refused_with_the_bound(client, checkout):
    answer = await client.post(f"{checkout}/confirm", json={"delay_seconds": 10**6})

    assert (answer.status_code, answer.json()["maximum"]) == (422, 3_600)


async def test_a_body_that_is_far_too_long_is_refused(client, checkout):
    answer = await client.post(f"{checkout}/confirm", content=b" " * 100_000)

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sandbox/payments/pay_0"),
        ("POST", "/sandbox/payments/pay_0/confirm"),
        ("POST", "/sandbox/payments/pay_0/decline"),
        ("GET", "/sandbox/nothing/here"),
    ],
)
async def test_what_is_not_there_is_a_problem_document(client, method, path):
    answer = await client.request(method, path)

    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] in ("payment_not_found", "not_found")


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer guess"}])
async def test_the_api_is_for_the_adapter_only(client, checkout, header):
    id = checkout.rpartition("/")[2]
    for method, path in (
        ("POST", "/sandbox/api/payments"),
        ("GET", f"/sandbox/api/payments/{id}"),
        ("POST", f"/sandbox/api/payments/{id}/refunds"),
    ):
        answer = await client.request(method, path, headers=header)
        assert answer.status_code == 401
        assert answer.json()["code"] == "api_key_required"


async def test_the_adapter_refunds_over_http_and_hears_why_it_may_not(sandbox, checkout):
    transport = httpx.ASGITransport(sandbox_app(sandbox))
    adapter = SandboxProvider(
        base_url="http://shop.test/sandbox", secret=SECRET, transport=transport
    )
    id = checkout.rpartition("/")[2]
    async with httpx.AsyncClient(transport=transport) as program:
        await program.post(f"{checkout}/confirm")

    await adapter.refund(id, 700, "r1")
    assert (await adapter.fetch(id)).refunded_amount == 700
    with pytest.raises(Exception, match="refund_exceeds_payment"):
        await adapter.refund(id, 50, "r2")
    with pytest.raises(Exception, match="payment_not_found"):
        await adapter.refund("pay_0", 50, "r3")
