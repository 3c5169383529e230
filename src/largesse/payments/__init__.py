"""
Money from outside: what every provider offers, in one small list of facts.

A provider's webhook is a hint. It names a payment; whoever handles it asks the provider for that
payment's absolute state (`fetch`), so lost, doubled and reordered webhooks all end the same way.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from largesse.records.orders import Order


class PaymentStatus(StrEnum):
    """Where a payment stands at its provider. Only `paid` is money."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"


class Checkout(msgspec.Struct, frozen=True):
    """Where to send the viewer to pay: the provider's id of the payment, and its page."""

    payment_id: str
    url: str


class EventReference(msgspec.Struct, frozen=True):
    """What a webhook is taken to say: which event this is, and which payment it is about."""

    event_id: str
    payment_id: str
    environment: str


class PaymentState(msgspec.Struct, frozen=True, kw_only=True):
    """
    A payment as its provider holds it now, whole.

    `amount` and `refunded_amount` (cumulative) are in the minor unit of `currency`; `order_id` is
    the id of our order, which the provider was given at the start. `environment` is live or test.
    """

    payment_id: str
    order_id: str
    environment: str
    status: PaymentStatus
    amount: int
    currency: str
    refunded_amount: int = 0
    disputed: bool = False


class ProviderUnavailable(Exception):
    """The provider could not say what happened; asking again later with the same ids is safe."""


class Provider(Protocol):
    """What every payment provider's adapter offers."""

    @property
    def name(self) -> str:
        """The word in our addresses and records: `sandbox`."""
        ...

    async def start(self, order: Order) -> Checkout:
        """
        Begin a payment of the order's price. The order's id is the key: asked twice, one payment.

        Raises:
            ProviderUnavailable: whether the payment began is unknown.
        """
        ...

    async def verify(self, headers: Mapping[str, str], raw: bytes, now: int) -> None:
        """
        Check that the provider itself sent these bytes lately. Header names are in lower case.

        Raises:
            Rejected: signature_invalid.
        """
        ...

    def read(self, raw: bytes) -> list[EventReference]:
        """
        Which payments a verified webhook speaks of. Pure, and believes nothing else in it.

        Raises:
            Rejected: webhook_unreadable.
        """
        ...

    async def fetch(self, payment_id: str) -> PaymentState | None:
        """
        The payment's absolute state, or None where the provider knows no such payment.

        Raises:
            ProviderUnavailable: ask again later.
        """
        ...

    async def refund(self, payment_id: str, amount: int, refund_id: str) -> None:
        """
        Give back `amount` (minor unit) of a payment. `refund_id` is the key: asked twice, one refund.

        Raises:
            Rejected: payment_not_found, refund_exceeds_payment.
            ProviderUnavailable: whether the refund was made is unknown; ask again.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
