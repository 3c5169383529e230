"""The sandbox's adapter by itself: signatures, reading, and a provider that does not answer."""

import httpx
import msgspec
import pytest

from largesse.clock import SECOND, ManualClock
from largesse.errors import Rejected
from largesse.payments import EventReference, ProviderUnavailable
from largesse.payments.sandbox import SIGNATURE_HEADER, SandboxProvider, keys_of, sign

SECRET = b"a secret that only a test may know"
KEY = keys_of(SECRET).webhook_key
NOW = ManualClock().now()
EVENT = (
    b'{"id":"evt_1","type":"payment.paid","payment_id":"pay_1","environment":"test",'
    b'"created_at":"2027-01-15T08:00:00.000Z"}'
)


def provider(answer=None):
    """An adapter whose network is replaced by one answer."""

    def handler(request):
        if isinstance(answer, Exception):
            raise answer
        return answer

    return SandboxProvider(
        base_url="http://sandbox.test/sandbox",
        secret=SECRET,
        transport=httpx.MockTransport(handler),
    )


async def refusal_of(headers, raw=EVENT, now=NOW):
    with pytest.raises(Rejected) as refused:
        await provider().verify(headers, raw, now)
    return refused.value.code


async def test_a_webhook_that_the_sandbox_signed_is_taken():
    await provider().verify({SIGNATURE_HEADER: sign(KEY, EVENT, NOW)}, EVENT, NOW)


@pytest.mark.parametrize("seconds", [-300, 300])
async def test_a_clock_that_is_five_minutes_off_is_borne(seconds):
    signed = sign(KEY, EVENT, NOW + seconds * SECOND)

    await provider().verify({SIGNATURE_HEADER: signed}, EVENT, NOW)


@pytest.mark.parametrize("seconds", [-301, 301])
async def test_an_old_or_a_future_webhook_is_refused_though_its_signature_is_right(seconds):
    signed = sign(KEY, EVENT, NOW + seconds * SECOND)

    assert await refusal_of({SIGNATURE_HEADER: signed}) == "signature_invalid"


async def test_a_webhook_signed_with_another_key_is_refused():
    signed = sign(b"a key of somebody else", EVENT, NOW)

    assert await refusal_of({SIGNATURE_HEADER: signed}) == "signature_invalid"


async def test_a_body_written_anew_no_longer_fits_its_signature():
    signed = sign(KEY, EVENT, NOW)
    same_meaning = EVENT.replace(b'":', b'": ')

    assert msgspec.json.decode(same_meaning) == msgspec.json.decode(EVENT)
    assert await refusal_of({SIGNATURE_HEADER: signed}, same_meaning) == "signature_invalid"


async def test_the_time_in_the_header_is_signed_too():
    _, _, signature = sign(KEY, EVENT, NOW - 3_600 * SECOND).partition(",")
    renewed = f"t={NOW // SECOND},{signature}"

    assert await refusal_of({SIGNATURE_HEADER: renewed}) == "signature_invalid"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=",
        "t=1800000000",
        "v1=00",
        "t=now,v1=00",
        "t=-1,v1=00",
        "t=\u0661,v1=\u00e9",
        ",,,",
        "t=1=2,v1",
    ],
)
async def test_a_header_that_is_no_signature_is_refused(header):
    assert await refusal_of({SIGNATURE_HEADER: header}) == "signature_invalid"


async def test_a_webhook_without_a_signature_is_refused():
    assert await refusal_of({}) == "signature_invalid"


def test_a_webhook_is_read_as_the_payment_it_speaks_of():
    assert provider().read(EVENT) == [EventReference("evt_1", "pay_1", "test")]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not JSON",
        b"[]",
        b'{"id": 1}',
        EVENT[:-1],
        EVENT.replace(b"pay_1", b"\xff\xfe"),
        b"[" * 100_000,
        EVENT[:-1] + b',"more":' + b"[" * 100_000,
    ],
)
def test_a_webhook_that_cannot_be_read_is_refused_by_name(raw):
    with pytest.raises(Rejected, match="webhook_unreadable"):
        provider().read(raw)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("nobody is there"),
        httpx.ReadTimeout("too slow"),
        httpx.Response(500, text="oh no"),
        httpx.Response(401, text="who are you"),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"id": "pay_1"}),
    ],
)
async def test_a_provider_that_gives_no_clear_answer_is_unavailable(answer):
    with pytest.raises(ProviderUnavailable):
        await provider(answer).fetch("pay_1")


async def test_a_payment_that_the_provider_does_not_know_is_none():
    assert await provider(httpx.Response(404, json={})).fetch("pay_1") is None


async def test_a_payment_id_cannot_leave_its_place_in_the_address():
    asked = []

    def handler(request):
        asked.append(request.url.raw_path)
        return httpx.Response(404, json={})

    adapter = SandboxProvider(
        base_url="http://sandbox.test/sandbox",
        secret=SECRET,
        transport=httpx.MockTransport(handler),
    )
    await adapter.fetch("../../v1/wallet?x=1#y")

    assert asked == [b"/sandbox/api/payments/..%2F..%2Fv1%2Fwallet%3Fx%3D1%23y"]
