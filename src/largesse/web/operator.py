"""What an operator sees: totals, orders, the inbox, and whether the books hold."""

import asyncio
from typing import Annotated, Literal

import msgspec
from litestar import get
from litestar.params import QueryParameter

from largesse import clock, reconcile, reports
from largesse.app import App
from largesse.clock import SECOND
from largesse.records import inbox as inbox_records
from largesse.records import leases
from largesse.records import orders as order_records
from largesse.records.inbox import Event
from largesse.web import auth, decode, orders
from largesse.web.auth import AnyRequest
from largesse.web.describe import PAGE_LIMIT, SIGNED_IN, Cursor, Limit, refusals

TAG = "Operator"
CHECK_AGE_MAX = 10 * SECOND
"""A check that is no older than this is shown again instead of run again."""

Status = Literal["created", "pending", "paid", "credited", "failed", "refunded", "disputed"]


class CheckAnswer(msgspec.Struct, frozen=True):
    """One invariant of the books."""

    name: str
    holds: bool
    detail: str


class ChecksAnswer(msgspec.Struct, frozen=True):
    """Every invariant, recomputed from the beginning."""

    holds: bool
    checked_at: str
    seconds: float
    checks: tuple[CheckAnswer, ...]


class EventAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a provider, and how far its handling is. Its body stays inside."""

    provider: str
    event_id: str
    environment: str
    payment_id: str
    received_at: str
    handled_at: str | None
    attempts: int
    next_attempt_at: str | None
    problem: str | None


class InboxAnswer(msgspec.Struct, frozen=True):
    """A page of events, newest first."""

    events: tuple[EventAnswer, ...]
    next_cursor: str | None


class LastCheck(msgspec.Struct):
    """What keeps a process from checking twice at once; the newest verdict is in its health."""

    running: asyncio.Lock


@get(
    "/v1/operator/totals",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("operator")],
    summary="The installation at a glance",
    description="Money in by provider and currency, coins sold, outstanding and gifted, diamonds, "
    "orders by status, events that wait.",
    responses=refusals("role_required", session=True),
)
async def get_operator_totals(request: AnyRequest) -> reports.OperatorTotals:
    return await totals(auth.app_of(request))


@get(
    "/v1/operator/check",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("operator")],
    summary="Do the books hold?",
    description="Reads every chain and every order, as `largesse check` does; on a "
    "large ledger this takes a while. A check of the last ten seconds is shown again.",
    responses=refusals("role_required", session=True),
)
async def get_check(request: AnyRequest) -> ChecksAnswer:
    return _checks(await run_checks(request))


@get(
    "/v1/operator/orders",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("operator")],
    summary="Everybody's orders",
    description="Newest first, in pages; of one status or all.",
    responses=refusals("role_required", "cursor_invalid", "parameter_invalid", session=True),
)
async def get_operator_orders(
    request: AnyRequest,
    status: Annotated[Status | None, QueryParameter(name="status")] = None,
    cursor: Cursor = None,
    limit: Limit = PAGE_LIMIT,
) -> orders.OrdersAnswer:
    app = auth.app_of(request)
    before = decode.cursor(cursor, "orders", decode.Place)
    found = await order_records.recent(app.db, status=status, before=before, limit=limit)
    return orders.page(found, limit)


@get(
    "/v1/operator/inbox",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("operator")],
    summary="What providers told us",
    description="Newest first, in pages. `problem` says what keeps an event waiting.",
    responses=refusals("role_required", "cursor_invalid", "parameter_invalid", session=True),
)
async def get_inbox(
    request: AnyRequest, cursor: Cursor = None, limit: Limit = PAGE_LIMIT
) -> InboxAnswer:
    app = auth.app_of(request)
    before = decode.cursor(cursor, "inbox", decode.EventPlace)
    found = await inbox_records.recent(app.db, before=before, limit=limit)
    last = found[-1] if len(found) == limit else None
    return InboxAnswer(
        tuple(_event(event) for event in found),
        None if last is None else decode.to_cursor("inbox", (last.received_at, last.event_id)),
    )


async def totals(app: App) -> reports.OperatorTotals:
    """The installation at a glance, over every provider and currency that it has."""
    return await reports.operator_totals(
        app.db,
        app.ledger,
        environment=app.environment,
        providers=sorted(app.providers),
        currencies=sorted({prices.currency for prices in app.catalog.price_lists}),
        now=app.clock.now(),
    )


async def run_checks(request: AnyRequest) -> reconcile.Verdict:
    """Check the books, or give the verdict of a moment ago."""
    app = auth.app_of(request)
    last: LastCheck = request.app.state["last_check"]
    async with last.running:
        known = app.health.verdict
        if known is not None:
            ended = known.at + round(known.seconds * SECOND)
            if app.clock.now() - ended <= CHECK_AGE_MAX:
                return known
        found = await reconcile.verdict(
            app.db, app.ledger, environment=app.environment, now=app.clock.now
        )
        app.health.verdict = found
        if app.is_shared:
            await reconcile.keep(app.db, found)
        return found


async def last_verdict(app: App) -> reconcile.Verdict | None:
    """The newest verdict on the books, whichever process came to it."""
    return await reconcile.last(app.db) if app.is_shared else app.health.verdict


async def holders(app: App) -> dict[str, str]:
    """Which process does each job that one is enough for; nothing where there is one process."""
    return await leases.holders(app.db, app.clock.now()) if app.is_shared else {}


def _checks(found: reconcile.Verdict) -> ChecksAnswer:
    rows = tuple(CheckAnswer(check.name, check.holds, check.detail) for check in found.checks)
    return ChecksAnswer(found.holds, clock.to_text(found.at), found.seconds, rows)


def _event(event: Event) -> EventAnswer:
    is_handled = event.handled_at is not None
    return EventAnswer(
        provider=event.provider,
        event_id=event.event_id,
        environment=event.environment,
        payment_id=event.reference,
        received_at=clock.to_text(event.received_at),
        handled_at=None if event.handled_at is None else clock.to_text(event.handled_at),
        attempts=event.attempts,
        next_attempt_at=None if is_handled else clock.to_text(event.next_attempt_at),
        problem=event.problem,
    )


ROUTES = (get_operator_totals, get_check, get_operator_orders, get_inbox)
