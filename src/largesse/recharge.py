"""
Recharge: a viewer orders a package, pays at a provider, and gets the coins exactly once.

The order is written first, with everything it was quoted, then the provider is asked to begin. What
the provider says later is only a hint: we ask it for the payment's absolute state, compare that with
our order, write `paid`, post the chain whose id comes from the payment, write `credited`. Each step
may be the last before a crash; doing all of them again changes nothing that was done.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from largesse import clock, ids, money
from largesse.books import chart, postings
from largesse.books.chart import Environment
from largesse.catalog import CHANNELS, Catalog
from largesse.errors import Rejected
from largesse.identity import accounts
from largesse.identity.countries import COUNTRIES
from largesse.ledger import Ledger, LedgerUnavailable
from largesse.ledger.model import Account, AccountOutcome, Outcome
from largesse.money import Price
from largesse.payments import PaymentState, PaymentStatus, Provider, ProviderUnavailable
from largesse.records import inbox, orders
from largesse.records.database import Database, RecordsUnavailable
from largesse.records.orders import Order
from largesse.records.users import User

KEY_OFF_MAX = clock.DAY
"""How far the time in an idempotency key may be off, either way, where the key is unknown."""
RETRY_PAUSE_MAX = clock.HOUR
"""An event that could not be handled waits one second, then twice as long each time, up to this."""
EVENT_CLAIM = 30 * clock.SECOND
"""
How long events are kept from other processes by the one that handles them. If it dies, they come
due again after that; if it is only slow, somebody else does them too, and that is no harm.
"""
UNFINISHED_AGE = clock.MINUTE
"""
An order that has not moved for so long is asked about, whether or not a webhook came; whoever does
so keeps it from others for as long.
"""
UNPAID_LIFE = clock.DAY
"""An order whose payment never began is given up after a day: its price is an old quote by then."""

_BEFORE_CHECKOUT = ("created", "pending")
_UNPAID = ("created", "pending", "failed")
"""From here an order may still become paid: what we held for failed the provider may hold for paid."""

log = structlog.get_logger()


async def start_order(
    db: Database,
    ledger: Ledger,
    catalog: Catalog,
    providers: Mapping[str, Provider],
    *,
    viewer: User,
    package_id: str,
    provider: str,
    channel: str,
    country: str,
    key: str | None,
    environment: Environment,
    price_list_version: int,
    now: int,
    adult_age: int,
) -> Order:
    """
    Order a package at today's price and begin its payment. A retry gets the first order again.

    The order is committed before the provider is asked, so no payment can come without its order.
    Where the provider does not answer, the order stays `created` and the same key asks it again.

    Raises:
        Rejected: idempotency_key_required, idempotency_key_invalid, idempotency_key_reused;
            idempotency_key_expired, adults_only, channel_not_found, country_unknown,
            package_not_found, provider_not_found; provider_unavailable.
        LedgerUnavailable: before anything was ordered.
    """
    order_id = order_id_of(viewer.id, key)
    order = await orders.find(db, order_id)
    if order is None:
        order = _quote(
            catalog,
            order_id,
            viewer=viewer,
            package_id=package_id,
            provider=provider,
            channel=channel,
            country=country,
            environment=environment,
            price_list_version=price_list_version,
            now=now,
            adult_age=adult_age,
        )
        if provider not in providers:
            raise Rejected("provider_not_found", providers=sorted(providers))
        # A ledger that cannot take the coins must refuse the order, not the payment.
        await _open_accounts(ledger, order)
        order = await orders.insert_or_get(db, order)

    asked = (package_id, provider, channel, country, environment)
    if asked != (order.package_id, order.provider, order.channel, order.country, order.environment):
        raise Rejected("idempotency_key_reused")
    if order.status in _BEFORE_CHECKOUT and order.checkout_url is None:
        if provider not in providers:
            raise Rejected("provider_not_found", providers=sorted(providers))
        return await _begin_payment(db, providers[provider], order, now)
    return order


def order_id_of(viewer_id: str, key: str | None) -> str:
    """
    The id that a viewer's order gets under this idempotency key.

    Raises:
        Rejected: idempotency_key_required, idempotency_key_invalid.
    """
    if not key:
        raise Rejected("idempotency_key_required")
    if not ids.is_key(key):
        raise Rejected("idempotency_key_invalid", maximum=ids.KEY_LENGTH_MAX)
    # Named apart from the viewer's gifts, so that one key may serve an order and a gift.
    return ids.text(ids.from_key(f"order:{viewer_id}", key))


async def settle(
    db: Database, ledger: Ledger, provider: Provider, *, payment_id: str, now: int
) -> Order | None:
    """
    Bring our side to where the provider says the payment stands; None where it has no order of ours.

    Safe at any time, any number of times, from several places at once.

    Raises:
        Rejected: payment_mismatch (the payment is not what was ordered), payment_disputed,
            payment_refunded (money has gone back, and no posting of ours answers to it yet).
        ProviderUnavailable, LedgerUnavailable: ask again later.
    """
    state = await provider.fetch(payment_id)
    if state is None or ids.parse(state.order_id) is None:
        return None
    order = await orders.find(db, state.order_id)
    if order is None:
        return None
    _guard_match(order, provider.name, state)

    match state.status:
        case PaymentStatus.PAID:
            return await _settle_paid(db, ledger, order, state, now)
        case PaymentStatus.PENDING:
            return await _move(db, order, ("created",), "pending", now, payment_id=payment_id)
        case PaymentStatus.FAILED | PaymentStatus.EXPIRED:
            return await _move(
                db,
                order,
                _BEFORE_CHECKOUT,
                "failed",
                now,
                payment_id=payment_id,
                failure=state.status.value,
            )


async def handle_inbox(
    db: Database, ledger: Ledger, providers: Mapping[str, Provider], *, now: int, limit: int
) -> int:
    """
    Handle the events that are due, oldest first, at most `limit`; says how many there were.

    An event that cannot be handled stays, with the problem written on it, and is tried again after
    a growing pause. None is ever dropped: behind each may be money that somebody paid. Several
    processes may do this at once; each handles events of its own.
    """
    events = await inbox.claim(db, now, now + EVENT_CLAIM, limit)
    for event in events:
        problem = await _try_settle(
            db, ledger, providers, event.provider, payment_id=event.reference, now=now
        )
        if problem is None:
            await inbox.mark_handled(db, event, now=now)
        else:
            log.warning(
                "inbox_event_waits",
                provider=event.provider,
                event_id=event.event_id,
                problem=problem,
                attempts=event.attempts + 1,
            )
            pause = min(clock.SECOND << min(event.attempts, 32), RETRY_PAUSE_MAX)
            await inbox.mark_failed(db, event, next_attempt_at=now + pause, problem=problem)
    return len(events)


async def finish_unfinished(
    db: Database, ledger: Ledger, providers: Mapping[str, Provider], *, now: int, limit: int
) -> int:
    """
    Ask the provider about orders that have not moved for a while, for webhooks get lost and
    processes die. Says how many orders were looked at; each waits its turn before the next look.
    """
    waiting = await orders.claim_unfinished(db, now - UNFINISHED_AGE, now, limit)
    for order in waiting:
        if order.payment_id is not None:
            problem = await _try_settle(
                db, ledger, providers, order.provider, payment_id=order.payment_id, now=now
            )
            if problem is not None:
                log.warning("order_waits", order=order.id, problem=problem)
        elif now - order.created_at > UNPAID_LIFE:
            await _move(db, order, ("created",), "failed", now, failure="never_started")
    return len(waiting)


def _quote(
    catalog: Catalog,
    order_id: str,
    *,
    viewer: User,
    package_id: str,
    provider: str,
    channel: str,
    country: str,
    environment: Environment,
    price_list_version: int,
    now: int,
    adult_age: int,
) -> Order:
    """The order as it stands for good: what it costs today is what it costs."""
    key_time = ids.key_time(bytes.fromhex(order_id))
    if key_time is not None and abs(clock.milliseconds(now) - key_time) > KEY_OFF_MAX // 10**6:
        raise Rejected("idempotency_key_expired")
    accounts.require_adult(viewer, now, adult_age)
    if channel not in CHANNELS:
        raise Rejected("channel_not_found", channels=list(CHANNELS))
    if country not in COUNTRIES:
        raise Rejected("country_unknown")
    package = catalog.package(package_id, channel, country)
    if package is None:
        raise Rejected("package_not_found")

    # After this point the order can be made.
    return Order(
        id=order_id,
        viewer_id=viewer.id,
        environment=environment,
        provider=provider,
        channel=channel,
        country=country,
        package_id=package.id,
        coins=package.coins,
        bonus_coins=package.bonus_coins,
        amount=package.price.amount,
        currency=package.price.currency,
        tax=money.tax_included(package.price.amount, package.tax_rate_bps),
        price_list_version=price_list_version,
        status="created",
        payment_id=None,
        checkout_url=None,
        failure=None,
        created_at=now,
        updated_at=now,
    )


async def _begin_payment(db: Database, provider: Provider, order: Order, now: int) -> Order:
    try:
        checkout = await provider.start(order)
    except ProviderUnavailable as error:
        log.warning(
            "provider_unavailable", provider=provider.name, order=order.id, error=str(error)
        )
        raise Rejected("provider_unavailable", provider=provider.name, order_id=order.id) from error
    moved = await orders.update(
        db,
        order.id,
        expected_statuses=_BEFORE_CHECKOUT,
        status="pending",
        payment_id=checkout.payment_id,
        checkout_url=checkout.url,
        updated_at=now,
    )
    return moved or await _found(db, order.id)  # A webhook may have brought it further already.


def _guard_match(order: Order, provider_name: str, state: PaymentState) -> None:
    """What was paid must be what was ordered, or a person has to look at it."""
    for field, ordered, found in (
        ("provider", order.provider, provider_name),
        ("environment", order.environment, state.environment),
        ("payment_id", order.payment_id or state.payment_id, state.payment_id),
        ("currency", order.currency, state.currency),
        ("amount", order.amount, state.amount),
    ):
        if ordered != found:
            raise Rejected("payment_mismatch", field=field, ordered=ordered, found=found)


async def _settle_paid(
    db: Database, ledger: Ledger, order: Order, state: PaymentState, now: int
) -> Order:
    """
    Coins for money, once. `paid` decides between credit and refund: whoever writes it first posts.

    A payment that went back whole before it was credited nets to nothing. Once it is `paid` the
    credit is posted in any case, so that what follows starts from books that show what happened.
    """
    if order.status in _UNPAID:
        if state.disputed:
            raise Rejected("payment_disputed")
        if state.refunded_amount == state.amount:
            return await _move(db, order, _UNPAID, "refunded", now, payment_id=state.payment_id)
        if state.refunded_amount:
            raise Rejected("payment_refunded", refunded_amount=state.refunded_amount)

    order = await _move(db, order, _UNPAID, "paid", now, payment_id=state.payment_id, failure=None)
    if order.status == "paid":
        await _credit(ledger, order)
        order = await _move(db, order, ("paid",), "credited", now)
    if order.status == "credited" and (state.disputed or state.refunded_amount):
        code = "payment_disputed" if state.disputed else "payment_refunded"
        raise Rejected(code, refunded_amount=state.refunded_amount)
    return order


async def _credit(ledger: Ledger, order: Order) -> None:
    """Post the order's chain, or find it posted. It is made of the order alone, never of today."""
    assert order.payment_id is not None
    assert order.bonus_coins == 0  # A price list gives no coins away; `catalog` says so.
    await _open_accounts(ledger, order)
    environment = Environment(order.environment)
    chain = postings.recharge(
        postings.recharge_id(environment, order.provider, order.payment_id),
        environment=environment,
        viewer_id=order.viewer_id,
        order_id=order.id,
        provider=order.provider,
        coins=order.coins,
        price=Price(order.amount, order.currency),
        tax=order.tax,
    )
    [result] = await ledger.create_transfers([chain])
    assert result.outcome in (Outcome.CREATED, Outcome.EXISTS), result.outcome


async def _open_accounts(ledger: Ledger, order: Order) -> None:
    """The accounts that the order's chain needs; those that are there already stay as they are."""
    environment = Environment(order.environment)
    needed: tuple[Account, ...] = (
        *chart.viewer_accounts(environment, order.viewer_id),
        *chart.house_accounts(environment, (order.currency,), (order.provider,)),
    )
    outcomes = await ledger.create_accounts(needed)
    assert set(outcomes) <= {AccountOutcome.CREATED, AccountOutcome.EXISTS}, outcomes


async def _move(
    db: Database, order: Order, expected: tuple[str, ...], status: str, now: int, **changes: Any
) -> Order:
    """The order in its new status, or as it is where it has left the expected ones."""
    if order.status not in expected:
        return order
    moved = await orders.update(
        db, order.id, expected_statuses=expected, status=status, updated_at=now, **changes
    )
    return moved or await _found(db, order.id)


async def _found(db: Database, order_id: str) -> Order:
    order = await orders.find(db, order_id)
    assert order is not None, "An order is never deleted."
    return order


async def _try_settle(
    db: Database,
    ledger: Ledger,
    providers: Mapping[str, Provider],
    provider_name: str,
    *,
    payment_id: str,
    now: int,
) -> str | None:
    """What keeps this payment from being settled now, in words for an operator; None when it is."""
    provider = providers.get(provider_name)
    if provider is None:
        return "provider_not_found"
    try:
        order = await settle(db, ledger, provider, payment_id=payment_id, now=now)
    except RecordsUnavailable:
        raise  # No other payment can be settled either.
    except Rejected as refusal:
        return str(refusal)
    except ProviderUnavailable:
        return "provider_unavailable"
    except LedgerUnavailable:
        return "ledger_unavailable"
    except Exception as error:
        # A fault of ours in one payment must not hold up everybody else's.
        log.exception("settle_failed", provider=provider_name, payment=payment_id)
        return f"fault: {error!r}"
    return "order_not_found" if order is None else None
