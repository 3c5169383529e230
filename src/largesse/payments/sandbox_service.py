"""
The sandbox itself: a whole pretend provider, with a file, a memory and a will of its own.

It stands on the other side of HTTP. It knows nothing of our books: it holds payments, lets a person
(or a program) pay or decline, and tells us by signed webhooks, which it keeps as rows and repeats
until they are answered with 2xx, across restarts too. Several processes of one host may have its
file open at once: it is one sandbox all the same.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec
import structlog

from largesse.clock import DAY, HOUR, SECOND, Clock, to_text
from largesse.errors import Rejected
from largesse.payments import PaymentStatus
from largesse.payments.sandbox import (
    ENVIRONMENT,
    SIGNATURE_HEADER,
    Keys,
    NewPayment,
    NewRefund,
    SandboxEvent,
    SandboxPayment,
    keys_of,
    sign,
)

PAYMENT_LIFE = DAY
"""An undecided payment expires after a day, as checkout sessions do."""
DELAY_SECONDS_MAX = 3_600
LATE_SECONDS = 10
"""How long after the payment a late webhook is sent."""
DELIVERIES_AT_ONCE = 32
DELIVERY_SECONDS_MAX = 10
"""How long the receiver may take to answer a webhook."""
CLAIM_SECONDS = DELIVERY_SECONDS_MAX + 5
"""How long a webhook is left to the process that sends it; if that one dies, another sends it then."""
LOOK_SECONDS = 5
"""How often to look for webhooks that another process began and did not live to send."""
BUSY_SECONDS = 10
"""How long to wait for another process that is writing to the file."""
RETRY_PAUSE_MAX = HOUR
"""Pauses between repeats double from one second up to this."""
REPAIR_SECONDS = 1
"""The pause after the sandbox's own file failed."""
AMOUNT_MAX = 10**12

log = structlog.get_logger()
T = TypeVar("T")


class Webhook(StrEnum):
    """How the webhook of a decided payment travels."""

    NORMAL = "normal"
    DOUBLED = "doubled"
    LATE = "late"
    BEFORE_REDIRECT = "before_redirect"


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What the person at the checkout wants to see happen.

    With `delay_seconds` the payment is pending for that long, and only then paid or failed.
    """

    webhook: Webhook = Webhook.NORMAL
    delay_seconds: int = 0


class Payment(msgspec.Struct, frozen=True):
    """A payment as the sandbox's file holds it; the order of fields is that of the columns."""

    id: str
    order_id: str
    amount: int
    currency: str
    description: str
    return_url: str
    created_at: int
    decision: str | None
    settles_at: int | None
    refunded_amount: int


class _Delivery(msgspec.Struct, frozen=True):
    id: int
    body: bytes
    attempts: int


_SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL UNIQUE,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    description TEXT NOT NULL,
    return_url TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    decision TEXT CHECK (decision IN ('paid', 'failed')),
    settles_at INTEGER,
    refunded_amount INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS refunds (
    id TEXT PRIMARY KEY,
    payment_id TEXT NOT NULL REFERENCES payments (id),
    amount INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    delivered_at INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_at) WHERE delivered_at IS NULL;
"""


def status_at(payment: Payment, now: int) -> PaymentStatus:
    """What a payment is at an instant: decisions take effect, and undecided payments run out."""
    if payment.decision is None:
        expired = now >= payment.created_at + PAYMENT_LIFE
        return PaymentStatus.EXPIRED if expired else PaymentStatus.PENDING
    assert payment.settles_at is not None
    return PaymentStatus(payment.decision) if now >= payment.settles_at else PaymentStatus.PENDING


class SandboxService:
    """
    The pretend provider. `open` it, let `run` deliver its webhooks, `stop`, then `close`.

    `public_url` is where its pages are for people, `webhook_url` where our webhooks are received.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        thread: ThreadPoolExecutor,
        clock: Clock,
        entropy: Callable[[int], bytes],
        *,
        keys: Keys,
        public_url: str,
        webhook_url: str,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self.keys = keys
        self._connection = connection
        self._thread = thread
        self._clock = clock
        self._entropy = entropy
        self._public_url = public_url
        self._webhook_url = webhook_url
        self._client = httpx.AsyncClient(
            timeout=DELIVERY_SECONDS_MAX,
            transport=transport,
            trust_env=False,  # As in `sandbox.py`: it is on this machine.
            verify=webhook_url.startswith("https:"),
        )
        self._delivering = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stopping = False

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Clock,
        entropy: Callable[[int], bytes],
        *,
        secret: bytes,
        public_url: str,
        webhook_url: str,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> "SandboxService":
        """Open the sandbox's file, or begin it. `secret` is the one its adapter was given."""
        thread = ThreadPoolExecutor(1, "sandbox")
        connection = await asyncio.get_running_loop().run_in_executor(thread, _connect, path)
        return cls(
            connection,
            thread,
            clock,
            entropy,
            keys=keys_of(secret),
            public_url=public_url.rstrip("/"),
            webhook_url=webhook_url,
            transport=transport,
        )

    async def close(self) -> None:
        """Let go of the file. Webhooks that are still due wait in it."""
        self._stopping = True
        await self._client.aclose()
        await self._call(sqlite3.Connection.close)
        self._thread.shutdown()

    def now(self) -> int:
        """The sandbox's own time."""
        return self._clock.now()

    def view(self, payment: Payment) -> SandboxPayment:
        """The payment as the sandbox's API shows it."""
        return SandboxPayment(
            id=payment.id,
            order_id=payment.order_id,
            environment=ENVIRONMENT,
            status=status_at(payment, self.now()),
            amount=payment.amount,
            currency=payment.currency,
            refunded_amount=payment.refunded_amount,
            checkout_url=f"{self._public_url}/payments/{payment.id}",
        )

    async def create(self, new: NewPayment) -> Payment:
        """
        Begin a payment, or find the one that this order began.

        Raises:
            Rejected: amount_out_of_range, idempotency_key_reused.
        """
        if not 0 < new.amount <= AMOUNT_MAX:
            raise Rejected("amount_out_of_range", maximum=AMOUNT_MAX)
        id = "pay_" + self._entropy(16).hex()
        payment = await self._call(_create, id, new, self.now())
        if (payment.amount, payment.currency) != (new.amount, new.currency):
            raise Rejected("idempotency_key_reused")
        return payment

    async def find(self, payment_id: str) -> Payment:
        """
        The payment with this id.

        Raises:
            Rejected: payment_not_found.
        """
        return await self._call(_find, payment_id)

    async def decide(self, payment_id: str, decision: PaymentStatus, scenario: Scenario) -> Payment:
        """
        Pay or decline. The first decision stands; any later one changes nothing.

        Raises:
            Rejected: payment_not_found, delay_out_of_range.
        """
        assert decision in (PaymentStatus.PAID, PaymentStatus.FAILED)
        if not 0 <= scenario.delay_seconds <= DELAY_SECONDS_MAX:
            raise Rejected("delay_out_of_range", maximum=DELAY_SECONDS_MAX)

        now = self.now()
        settles_at = now + scenario.delay_seconds * SECOND
        deliveries = []
        if settles_at > now:
            deliveries.append((self._event(payment_id, PaymentStatus.PENDING, now), now))
        final = self._event(payment_id, decision, settles_at)
        late = LATE_SECONDS * SECOND if scenario.webhook is Webhook.LATE else 0
        copies = 2 if scenario.webhook is Webhook.DOUBLED else 1
        deliveries += [(final, settles_at + late)] * copies

        payment, decided_now = await self._call(
            _decide, payment_id, decision.value, now, settles_at, deliveries
        )
        if decided_now and scenario.webhook is Webhook.BEFORE_REDIRECT:
            await self.deliver_due()
        self._wake.set()
        return payment

    async def refund(self, payment_id: str, refund: NewRefund) -> Payment:
        """
        Give money back, once per refund id; a webhook tells of it.

        Raises:
            Rejected: payment_not_found, refund_exceeds_payment, idempotency_key_reused.
        """
        now = self.now()
        body = self._event(payment_id, "refunded", now)
        payment = await self._call(_refund, payment_id, refund, now, body)
        self._wake.set()
        return payment

    async def deliver_due(self) -> int:
        """Send every webhook that is due now, each once; says how many were tried here."""
        async with self._delivering:
            now = self.now()
            due = await self._call(_claim, now, now + CLAIM_SECONDS * SECOND)
            failures = await asyncio.gather(
                *(self._deliver(delivery) for delivery in due), return_exceptions=True
            )
        for failure in failures:
            if failure is not None:
                raise failure
        return len(due)

    async def run(self) -> None:
        """Deliver webhooks as they become due, until `stop`."""
        while not self._stopping:
            self._wake.clear()
            try:
                if await self.deliver_due():
                    continue
                next_due_at = await self._call(_next_due_at)
            except sqlite3.Error:
                # A full disk, most likely. What is due stays due.
                log.exception("sandbox_file_failed")
                next_due_at = self.now() + REPAIR_SECONDS * SECOND
            seconds = LOOK_SECONDS if next_due_at is None else (next_due_at - self.now()) / SECOND
            try:
                async with asyncio.timeout(min(max(0, seconds), LOOK_SECONDS)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Ask `run` to end; a webhook being sent is finished first."""
        self._stopping = True
        self._wake.set()

    def _event(self, payment_id: str, what: str, at: int) -> bytes:
        return msgspec.json.encode(
            SandboxEvent(
                id="evt_" + self._entropy(16).hex(),
                type=f"payment.{what}",
                payment_id=payment_id,
                environment=ENVIRONMENT,
                created_at=to_text(at),
            )
        )

    async def _deliver(self, delivery: _Delivery) -> None:
        headers = {
            "content-type": "application/json",
            SIGNATURE_HEADER: sign(self.keys.webhook_key, delivery.body, self.now()),
        }
        try:
            response = await self._client.post(
                self._webhook_url, content=delivery.body, headers=headers
            )
            answer = str(response.status_code)
            delivered = response.is_success
        except httpx.HTTPError as error:
            answer, delivered = repr(error), False

        now = self.now()
        if delivered:
            await self._call(_delivered, delivery.id, now)
        else:
            pause = min(SECOND << min(delivery.attempts, 32), RETRY_PAUSE_MAX)
            log.warning("sandbox_webhook_refused", answer=answer, attempts=delivery.attempts + 1)
            await self._call(_postpone, delivery.id, now + pause)

    async def _call(self, function: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, self._connection, *arguments)


def _connect(path: Path) -> sqlite3.Connection:
    # Opened and used in the service's one thread; only the last close may come from another.
    if not path.exists():
        _make(path)
    return _opened(path)


def _make(path: Path) -> None:
    """
    Make the file aside and give it its name when it is whole, unless another process was first.

    Two who turn one new file to WAL at once would refuse each other, without waiting.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.unlink(missing_ok=True)
    _opened(new).close()
    with suppress(FileExistsError):
        os.link(new, path)
    new.unlink()


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.executescript(_SCHEMA)
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _find(connection: sqlite3.Connection, payment_id: str) -> Payment:
    row = connection.execute("SELECT * FROM payments WHERE id = ?", (payment_id,)).fetchone()
    if row is None:
        raise Rejected("payment_not_found")
    return Payment(*row)


def _create(connection: sqlite3.Connection, id: str, new: NewPayment, now: int) -> Payment:
    with _transaction(connection):
        connection.execute(
            "INSERT INTO payments"
            " (id, order_id, amount, currency, description, return_url, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO NOTHING",
            (id, new.order_id, new.amount, new.currency, new.description, new.return_url, now),
        )
        row = connection.execute(
            "SELECT * FROM payments WHERE order_id = ?", (new.order_id,)
        ).fetchone()
    return Payment(*row)


def _decide(
    connection: sqlite3.Connection,
    payment_id: str,
    decision: str,
    now: int,
    settles_at: int,
    deliveries: list[tuple[bytes, int]],
) -> tuple[Payment, bool]:
    with _transaction(connection):
        payment = _find(connection, payment_id)
        if payment.decision is not None or status_at(payment, now) is PaymentStatus.EXPIRED:
            return payment, False
        connection.execute(
            "UPDATE payments SET decision = ?, settles_at = ? WHERE id = ?",
            (decision, settles_at, payment_id),
        )
        connection.executemany("INSERT INTO deliveries (body, due_at) VALUES (?, ?)", deliveries)
        return _find(connection, payment_id), True


def _refund(
    connection: sqlite3.Connection, payment_id: str, refund: NewRefund, now: int, body: bytes
) -> Payment:
    with _transaction(connection):
        payment = _find(connection, payment_id)
        known = connection.execute(
            "SELECT payment_id, amount FROM refunds WHERE id = ?", (refund.refund_id,)
        ).fetchone()
        if known == (payment_id, refund.amount):
            return payment
        if known is not None:
            raise Rejected("idempotency_key_reused")
        left = payment.amount - payment.refunded_amount
        if status_at(payment, now) is not PaymentStatus.PAID or not 0 < refund.amount <= left:
            raise Rejected("refund_exceeds_payment", refundable=left)
        connection.execute(
            "INSERT INTO refunds (id, payment_id, amount) VALUES (?, ?, ?)",
            (refund.refund_id, payment_id, refund.amount),
        )
        connection.execute(
            "UPDATE payments SET refunded_amount = refunded_amount + ? WHERE id = ?",
            (refund.amount, payment_id),
        )
        connection.execute("INSERT INTO deliveries (body, due_at) VALUES (?, ?)", (body, now))
        return _find(connection, payment_id)


def _claim(connection: sqlite3.Connection, now: int, until: int) -> list[_Delivery]:
    """What is due, the longest due first; until that instant nobody else finds it due."""
    if not _due(connection, now):
        return []  # Without keeping those who write waiting.
    with _transaction(connection):
        due = _due(connection, now)
        connection.executemany(
            "UPDATE deliveries SET due_at = ? WHERE id = ?", [(until, each.id) for each in due]
        )
    return due


def _due(connection: sqlite3.Connection, now: int) -> list[_Delivery]:
    rows = connection.execute(
        "SELECT id, body, attempts FROM deliveries"
        " WHERE delivered_at IS NULL AND due_at <= ? ORDER BY due_at, id LIMIT ?",
        (now, DELIVERIES_AT_ONCE),
    )
    return [_Delivery(*row) for row in rows]


def _next_due_at(connection: sqlite3.Connection) -> int | None:
    row = connection.execute(
        "SELECT min(due_at) FROM deliveries WHERE delivered_at IS NULL"
    ).fetchone()
    return None if row[0] is None else int(row[0])


def _delivered(connection: sqlite3.Connection, id: int, now: int) -> None:
    connection.execute("UPDATE deliveries SET delivered_at = ? WHERE id = ?", (now, id))


def _postpone(connection: sqlite3.Connection, id: int, due_at: int) -> None:
    connection.execute(
        "UPDATE deliveries SET attempts = attempts + 1, due_at = ? WHERE id = ?", (due_at, id)
    )
