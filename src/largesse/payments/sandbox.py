"""
The sandbox's adapter: how we talk to the pretend provider, over HTTP like to any other.

The pretend provider itself is `sandbox_service.py` (its state) and `web/sandbox.py` (its pages and
its API); what travels between the two sides is defined here once. All its money is test money.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import quote

import httpx
import msgspec

from largesse.clock import SECOND
from largesse.errors import Rejected
from largesse.payments import (
    Checkout,
    EventReference,
    PaymentState,
    PaymentStatus,
    ProviderUnavailable,
)
from largesse.records.orders import Order

NAME = "sandbox"
ENVIRONMENT = "test"
SIGNATURE_HEADER = "sandbox-signature"
SIGNATURE_AGE_SECONDS_MAX = 300
"""How far the time in a signature may be off, either way, as with card providers."""
REQUEST_SECONDS_MAX = 10
"""How long we wait for the provider to answer."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises at bytes that are not the JSON we want: bad UTF-8 and deep nesting too."""


class Keys(msgspec.Struct, frozen=True):
    """What the two sides share: the API key of our calls, and the key that signs webhooks."""

    api_key: str
    webhook_key: bytes


class NewPayment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What we ask for; `amount` in the minor unit. The order's id makes asking twice safe."""

    order_id: str
    amount: int
    currency: str
    description: str
    return_url: str = ""


class NewRefund(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give back `amount` in the minor unit. The refund's id makes asking twice safe."""

    refund_id: str
    amount: int


class SandboxPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as the sandbox's API shows it."""

    id: str
    order_id: str
    environment: str
    status: PaymentStatus
    amount: int
    currency: str
    refunded_amount: int
    checkout_url: str


class Refusal(msgspec.Struct, frozen=True):
    """The part of a refused call's problem document that we read."""

    code: str


class SandboxEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook: what happened to which payment."""

    id: str
    type: str
    payment_id: str
    environment: str
    created_at: str


def keys_of(secret: bytes) -> Keys:
    """Both keys from the one secret that the data folder holds for the sandbox."""
    assert len(secret) >= 16
    return Keys(
        api_key=hmac.new(secret, b"sandbox api key", sha256).hexdigest(),
        webhook_key=hmac.new(secret, b"sandbox webhook key", sha256).digest(),
    )


def sign(webhook_key: bytes, raw: bytes, now: int) -> str:
    """The signature header of these bytes: the time in Unix seconds, and an HMAC over both."""
    seconds = now // SECOND
    return f"t={seconds},v1={_digest(webhook_key, seconds, raw)}"


class SandboxProvider:
    """
    `Provider` for the sandbox.

    `base_url` is where it is mounted, as `http://127.0.0.1:8080/sandbox`. `return_url` is where a
    browser goes after the checkout, with `{order_id}` in it replaced; empty stays at the checkout.
    """

    name = NAME

    def __init__(
        self,
        *,
        base_url: str,
        secret: bytes,
        return_url: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._keys = keys_of(secret)
        self._return_url = return_url
        # The sandbox is on this machine: a proxy from the environment would only be in the way, and
        # to load certificates for a plain address would cost every start a tenth of a second.
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {self._keys.api_key}"},
            timeout=REQUEST_SECONDS_MAX,
            transport=transport,
            trust_env=False,
            verify=base_url.startswith("https:"),
        )

    async def start(self, order: Order) -> Checkout:
        """`Provider.start`."""
        body = NewPayment(
            order_id=order.id,
            amount=order.amount,
            currency=order.currency,
            description=f"{order.coins + order.bonus_coins:,} coins",
            return_url=self._return_url.replace("{order_id}", order.id),
        )
        payment = _payment(await self._send("POST", "/api/payments", body))
        return Checkout(payment_id=payment.id, url=payment.checkout_url)

    async def verify(self, headers: Mapping[str, str], raw: bytes, now: int) -> None:
        """`Provider.verify`."""
        parts = dict(
            part.strip().partition("=")[::2]
            for part in headers.get(SIGNATURE_HEADER, "").split(",")
        )
        time_text, signature = parts.get("t", ""), parts.get("v1", "")
        if not (time_text.isascii() and time_text.isdigit() and len(time_text) <= 12):
            raise Rejected("signature_invalid")
        seconds = int(time_text)
        expected = _digest(self._keys.webhook_key, seconds, raw)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise Rejected("signature_invalid")
        if abs(now // SECOND - seconds) > SIGNATURE_AGE_SECONDS_MAX:
            raise Rejected("signature_invalid")

    def read(self, raw: bytes) -> list[EventReference]:
        """`Provider.read`."""
        try:
            event = msgspec.json.decode(raw, type=SandboxEvent)
        except UNREADABLE as error:
            raise Rejected("webhook_unreadable") from error
        return [
            EventReference(
                event_id=event.id, payment_id=event.payment_id, environment=event.environment
            )
        ]

    async def fetch(self, payment_id: str) -> PaymentState | None:
        """`Provider.fetch`."""
        response = await self._send("GET", f"/api/payments/{quote(payment_id, safe='')}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        payment = _payment(response)
        return PaymentState(
            payment_id=payment.id,
            order_id=payment.order_id,
            environment=payment.environment,
            status=payment.status,
            amount=payment.amount,
            currency=payment.currency,
            refunded_amount=payment.refunded_amount,
        )

    async def refund(self, payment_id: str, amount: int, refund_id: str) -> None:
        """`Provider.refund`."""
        body = NewRefund(refund_id=refund_id, amount=amount)
        response = await self._send(
            "POST", f"/api/payments/{quote(payment_id, safe='')}/refunds", body
        )
        if response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            refusal = msgspec.json.decode(response.content, type=Refusal)
            raise Rejected(refusal.code, payment_id=payment_id)
        _payment(response)

    async def close(self) -> None:
        """`Provider.close`."""
        await self._client.aclose()

    async def _send(
        self, method: str, path: str, body: NewPayment | NewRefund | None = None
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        try:
            return await self._client.request(
                method, path, content=content, headers={"content-type": "application/json"}
            )
        except httpx.HTTPError as error:
            raise ProviderUnavailable(f"the sandbox did not answer: {error!r}") from error


def _payment(response: httpx.Response) -> SandboxPayment:
    if not response.is_success:
        raise ProviderUnavailable(f"the sandbox answered {response.status_code}")
    try:
        return msgspec.json.decode(response.content, type=SandboxPayment)
    except UNREADABLE as error:
        raise ProviderUnavailable("the sandbox's answer could not be read") from error


def _digest(webhook_key: bytes, seconds: int, raw: bytes) -> str:
    return hmac.new(webhook_key, b"%d.%b" % (seconds, raw), sha256).hexdigest()
