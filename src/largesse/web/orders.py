"""Coin packages, and the orders that buy them."""

from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from largesse import clock, recharge
from largesse.catalog import Package
from largesse.errors import Rejected
from largesse.money import Price
from largesse.records import orders as records
from largesse.records.orders import Order
from largesse.web import auth, decode
from largesse.web.auth import AnyRequest
from largesse.web.describe import (
    OPEN,
    PAGE_LIMIT,
    SIGNED_IN,
    Cursor,
    IdempotencyKey,
    Limit,
    refusals,
)

TAG = "Recharge"

Channel = Literal["web", "ios", "android"]
ChannelParameter = Annotated[
    Channel, QueryParameter(name="channel", description="Where the coins are bought.")
]
CountryParameter = Annotated[
    str,
    QueryParameter(
        name="country",
        pattern="^[A-Z]{2}$",
        description="ISO 3166-1, two letters: whose price list.",
    ),
]


class PackageAnswer(msgspec.Struct, frozen=True):
    """So many coins for this price, tax included. `amount` is in the currency's minor unit."""

    id: str
    coins: int
    bonus_coins: int
    price: Price


class ExactAmount(msgspec.Struct, frozen=True):
    """Any number of coins between the bounds, as package `exact:<coins>`, at this rate."""

    coins: int
    price: Price
    minimum_coins: int
    maximum_coins: int


class PackagesAnswer(msgspec.Struct, frozen=True):
    """A price list."""

    packages: tuple[PackageAnswer, ...]
    exact: ExactAmount | None


class OrderRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to buy, and how to pay."""

    package_id: Annotated[
        str, Meta(description="Id of a package, or `exact:<coins>`.", examples=["coins-350"])
    ]
    provider: Annotated[str, Meta(description="Who takes the payment.", examples=["sandbox"])]
    channel: Channel = "web"
    country: Annotated[
        str | None,
        Meta(description="Two letters; without it, the country of the account.", examples=["US"]),
    ] = None


class OrderAnswer(msgspec.Struct, frozen=True):
    """An order. Coins are in the wallet when `status` is `credited`."""

    id: str
    status: Annotated[
        str,
        Meta(description="created, pending, paid, credited, failed, refunded or disputed."),
    ]
    package_id: str
    coins: int
    bonus_coins: int
    price: Price
    tax: int
    provider: str
    channel: str
    country: str
    checkout_url: Annotated[str | None, Meta(description="Where to pay.")]
    failure: str | None
    created_at: str
    updated_at: str


class OrdersAnswer(msgspec.Struct, frozen=True):
    """A page of orders, newest first."""

    orders: tuple[OrderAnswer, ...]
    next_cursor: str | None


@get(
    "/v1/packages",
    tags=[TAG],
    security=OPEN,
    summary="What coins cost",
    description="The packages of a channel in a country. Prices include tax.",
    responses=refusals("parameter_invalid"),
)
async def get_packages(
    request: AnyRequest, channel: ChannelParameter = "web", country: CountryParameter = "US"
) -> PackagesAnswer:
    catalog = auth.anyone(request).catalog
    packages = catalog.packages(channel, country)
    exact = catalog.exact(channel, country)
    return PackagesAnswer(
        tuple(package_answer(package) for package in packages),
        None
        if exact is None
        else ExactAmount(
            exact.coins,
            Price(exact.amount, packages[0].price.currency),
            exact.minimum,
            exact.maximum,
        ),
    )


@post(
    "/v1/orders",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("viewer")],
    summary="Order coins",
    description="Starts an order and answers where to pay. The wallet rises when the provider has "
    "told us of the payment: ask for the order until its status is `credited`.",
    responses=refusals(
        "package_not_found",
        "provider_not_found",
        "provider_unavailable",
        "adults_only",
        "role_required",
        "channel_not_found",
        "country_unknown",
        "idempotency_key_required",
        "idempotency_key_invalid",
        "idempotency_key_expired",
        "idempotency_key_reused",
        session=True,
        body=True,
    ),
)
async def post_order(
    request: AnyRequest, data: JSONBody[OrderRequest], idempotency_key: IdempotencyKey = None
) -> OrderAnswer:
    viewer = auth.user_of(request)
    app = auth.app_of(request)
    now = app.clock.now()
    app.limiter.take("order", viewer.id, now)
    order = await recharge.start_order(
        app.db,
        app.ledger,
        app.catalog,
        app.providers,
        viewer=viewer,
        package_id=data.package_id,
        provider=data.provider,
        channel=data.channel,
        country=viewer.country if data.country is None else data.country,
        key=idempotency_key,
        environment=app.environment,
        price_list_version=app.price_list_version,
        now=now,
        adult_age=app.settings.adult_age,
    )
    return answer(order)


@get(
    "/v1/orders",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs()],
    summary="My orders",
    description="Newest first, in pages.",
    responses=refusals("cursor_invalid", "parameter_invalid", session=True),
)
async def get_orders(
    request: AnyRequest, cursor: Cursor = None, limit: Limit = PAGE_LIMIT
) -> OrdersAnswer:
    viewer = auth.user_of(request)
    app = auth.app_of(request)
    before = decode.cursor(cursor, "orders", decode.Place)
    found = await records.of_viewer(app.db, viewer.id, before=before, limit=limit)
    return page(found, limit)


@get(
    "/v1/orders/{order_id:str}",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs()],
    summary="One of my orders",
    description="Its status says how far it is.",
    responses=refusals("order_not_found", session=True),
)
async def get_order(request: AnyRequest, order_id: FromPath[str]) -> OrderAnswer:
    viewer = auth.user_of(request)
    app = auth.app_of(request)
    order = await records.find(app.db, decode.id_or_rejected(order_id, "order_not_found"))
    if order is None or order.viewer_id != viewer.id:
        raise Rejected("order_not_found")
    return answer(order)


def page(found: list[Order], limit: int) -> OrdersAnswer:
    """A page of orders and the cursor of the next."""
    last = found[-1] if len(found) == limit else None
    return OrdersAnswer(
        tuple(answer(order) for order in found),
        None if last is None else decode.to_cursor("orders", (last.created_at, last.id)),
    )


def answer(order: Order) -> OrderAnswer:
    """An order as its viewer sees it."""
    return OrderAnswer(
        order.id,
        order.status,
        order.package_id,
        order.coins,
        order.bonus_coins,
        Price(order.amount, order.currency),
        order.tax,
        order.provider,
        order.channel,
        order.country,
        order.checkout_url,
        order.failure,
        clock.to_text(order.created_at),
        clock.to_text(order.updated_at),
    )


def package_answer(package: Package) -> PackageAnswer:
    """A package as it is offered."""
    return PackageAnswer(package.id, package.coins, package.bonus_coins, package.price)


ROUTES = (get_packages, post_order, get_orders, get_order)
