"""
Recharge: choose coins and a way to pay, go to the checkout, come back to the order.

The form's address holds its idempotency key, so the back button and a reload come to the same form:
to press again there leads to the same order. Once that order is finished, the next visit gets a
new key. What is paid is what was shown: a price that has changed meanwhile is shown again first.
"""

from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from largesse import clock, ids, recharge
from largesse.books.chart import Environment
from largesse.catalog import EXACT_PREFIX, Catalog, Exact, Package
from largesse.errors import Rejected
from largesse.identity import accounts
from largesse.money import Price
from largesse.records import orders
from largesse.records.orders import Order
from largesse.records.users import User
from largesse.web import decode, i18n, reply
from largesse.web.auth import AnyRequest
from largesse.web.pages import forms, frame
from largesse.web.pages.frame import Visitor

CHANNEL = "web"
EXACT = "exact"
"""The choice of an exact amount; how many coins stands in a field of its own."""
NEED_MAX = 10_000_000
UNFINISHED = ("created", "pending")
KEY_LIFE = clock.DAY // 2
"""A form older than this gets a new key before the ledger's own day is over."""


class Offer(msgspec.Struct, frozen=True):
    """A package in the list, with what 100 of its coins cost."""

    package: Package
    per_hundred: Price


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the form holds: a package's id or `exact`, the exact coins as they were typed, how to pay.

    `shown` is the price that stood on the button, as `749 USD`; "" where none did.
    """

    package: str
    exact: str
    provider: str
    shown: str = ""


@get("/recharge", include_in_schema=False)
async def get_recharge(request: AnyRequest) -> Response[Any]:
    """The form; `need` preselects the cheapest way to so many coins."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "viewer")
    query = request.query_params
    need = _whole(query.get("need", ""), NEED_MAX)
    order, is_good = await _order_of(found, user, query.get("key", ""))
    if not is_good:
        kept = {name: query[name] for name in ("need", "package") if query.get(name)}
        key = frame.new_key(found.app)
        return frame.see(f"/recharge?{urlencode(kept | {'key': key})}")
    choice = _preselected(found, user, need, query.get("package", ""), order)
    return _page(found, user, query["key"], choice, need=need, began=order)


@post("/recharge", include_in_schema=False)
async def post_recharge(request: AnyRequest) -> Response[Any]:
    """Order what was chosen and go on to its checkout; a second press finds the first order."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "viewer")
    fields = await frame.form(request, found)
    key = fields.get("key", "")
    choice = Choice(
        package=fields.get("package", ""),
        exact=fields.get("exact", "").strip(),
        provider=fields.get("provider", ""),
        shown=fields.get("shown", ""),
    )
    package = _chosen(found, user, choice)
    if package is None:
        return _not_sold(found, user, key, choice)
    version = fields.get("price_list", "")
    if not _is_shown(choice, package, version, found.app.price_list_version):
        return _page(found, user, key, choice, is_asked_again=True)
    try:
        found.app.limiter.take("order", user.id, found.app.clock.now())
        order = await _ordered(found, user, package.id, choice.provider, key)
    except Rejected as refusal:
        return await _refused(found, user, key, choice, refusal)
    if order.status in UNFINISHED and order.checkout_url is not None:
        return frame.see(order.checkout_url)
    return frame.see(f"/orders/{order.id}")


@get("/orders/{order_id:str}", include_in_schema=False)
async def get_order(request: AnyRequest, order_id: FromPath[str]) -> Response[Any]:
    """Where an order stands: on its way, credited with its receipt, or failed."""
    found = await frame.visitor(request)
    user = frame.needs_login(found)
    order = await orders.find(found.app.db, decode.id_or_rejected(order_id, "order_not_found"))
    if order is None or order.viewer_id != user.id:
        raise Rejected("order_not_found")
    context: dict[str, Any] = {
        "order": order,
        "price_of": Price(order.amount, order.currency),
        "tax": Price(order.tax, order.currency),
        "method": forms.method_name(found, order.provider),
        "again": _again(order),
        "failure": _failure(found, order),
    }
    return frame.page(found, "wallet/order.html", **context)


async def _ordered(found: Visitor, user: User, package_id: str, provider: str, key: str) -> Order:
    app = found.app
    return await recharge.start_order(
        app.db,
        app.ledger,
        app.catalog,
        app.providers,
        viewer=user,
        package_id=package_id,
        provider=provider,
        channel=CHANNEL,
        country=user.country,
        key=key,
        environment=app.environment,
        price_list_version=app.price_list_version,
        now=app.clock.now(),
        adult_age=app.settings.adult_age,
    )


async def _order_of(found: Visitor, user: User, key: str) -> tuple[Order | None, bool]:
    """
    The unfinished order that this key began, and whether the key is good for the form.

    It is not where it is none of ours, grows old, or its order is finished.
    """
    try:
        order_id = recharge.order_id_of(user.id, key)
    except Rejected:
        return None, False
    made_at = ids.key_time(bytes.fromhex(order_id))
    now = clock.milliseconds(found.app.clock.now())
    if made_at is None or abs(now - made_at) > clock.milliseconds(KEY_LIFE):
        return None, False
    order = await orders.find(found.app.db, order_id)
    return order, order is None or order.status in UNFINISHED


def _preselected(found: Visitor, user: User, need: int, asked: str, began: Order | None) -> Choice:
    """What was begun; else what was asked for; else the cheapest that covers the need, if any does."""
    catalog, exact = found.app.catalog, found.app.catalog.exact(CHANNEL, user.country)
    provider = began.provider if began else next(iter(found.app.providers), "")
    wanted = began.package_id if began else asked
    package = catalog.package(wanted, CHANNEL, user.country) if wanted else None
    if package is None:
        package = catalog.cheapest_package_for(need, CHANNEL, user.country)
    typed = ""
    if exact is not None and need:
        typed = str(min(max(need, exact.minimum), exact.maximum))
    if package is None:
        return Choice(package="", exact=typed, provider=provider)
    if package.id.startswith(EXACT_PREFIX):
        return Choice(package=EXACT, exact=str(package.coins), provider=provider)
    if not wanted and need > _most(found, user):
        return Choice(package="", exact=typed, provider=provider)
    if not wanted and typed and _is_exact_better(catalog, user, package, need, int(typed)):
        return Choice(package=EXACT, exact=typed, provider=provider)
    return Choice(package=package.id, exact=typed, provider=provider)


def _most(found: Visitor, user: User) -> int:
    """How many coins one order can have."""
    exact = found.app.catalog.exact(CHANNEL, user.country)
    sold = [package.coins for package in found.app.catalog.packages(CHANNEL, user.country)]
    return max([0 if exact is None else exact.maximum, *sold])


def _is_exact_better(
    catalog: Catalog, user: User, package: Package, need: int, amount: int
) -> bool:
    """Whether an exact amount covers the need where a package does not, or for less."""
    if package.coins < need:
        return True
    price = catalog.exact_price(amount, CHANNEL, user.country)
    return price is not None and amount >= need and price.amount < package.price.amount


def _chosen(found: Visitor, user: User, choice: Choice) -> Package | None:
    """The package that the form names; None where it is not sold."""
    id = choice.package
    if id == EXACT:
        id = f"{EXACT_PREFIX}{_whole(choice.exact, NEED_MAX)}"
    elif id.startswith(EXACT_PREFIX):
        return None
    return found.app.catalog.package(id, CHANNEL, user.country)


def _is_shown(choice: Choice, package: Package, version: str, now: int) -> bool:
    """Whether the price to be paid is the one that stood on the page."""
    if choice.package == EXACT:
        return choice.shown == shown(package)
    return version == str(now)


def shown(package: Package) -> str:
    """An exact amount and its price, as the form brings them back: `123:131:USD`."""
    return f"{package.coins}:{package.price.amount}:{package.price.currency}"


def _page(
    found: Visitor,
    user: User,
    key: str,
    choice: Choice,
    *,
    need: int = 0,
    began: Order | None = None,
    errors: dict[str, str] | None = None,
    status: int = 200,
    is_asked_again: bool = False,
) -> Response[Any]:
    app = found.app
    packages = app.catalog.packages(CHANNEL, user.country)
    exact = app.catalog.exact(CHANNEL, user.country)
    exact_package = _chosen(found, user, msgspec.structs.replace(choice, package=EXACT))
    context: dict[str, Any] = {
        "key": key,
        "choice": choice,
        "need": need,
        "is_too_much": need > _most(found, user),
        "began": began,
        "began_price": began and Price(began.amount, began.currency),
        "is_asked_again": is_asked_again,
        "offers": [Offer(package, _per_hundred(package)) for package in packages],
        "exact": exact,
        "exact_package": exact_package,
        "exact_shown": "" if exact_package is None else shown(exact_package),
        "currency": packages[0].price.currency,
        "tax_bps": packages[0].tax_rate_bps,
        "price_list": app.price_list_version,
        "methods": [(name, forms.method_name(found, name)) for name in app.providers],
        "seller": urlsplit(app.settings.public_url).netloc,
        "is_test": app.environment is Environment.TEST,
        "too_young": _too_young(found, user),
    }
    return frame.page(found, "wallet/recharge.html", status=status, errors=errors or {}, **context)


def _not_sold(found: Visitor, user: User, key: str, choice: Choice) -> Response[Any]:
    exact = found.app.catalog.exact(CHANNEL, user.country)
    if choice.package == EXACT and exact is not None:
        errors = {"exact": _bounds(found, exact)}
        return _page(found, user, key, choice, errors=errors, status=422)
    errors = {forms.WHOLE: found.say("Choose how many coins you want.")}
    return _page(found, user, key, choice, errors=errors, status=422)


async def _refused(
    found: Visitor, user: User, key: str, choice: Choice, refusal: Rejected
) -> Response[Any]:
    """The form again; where its key can serve no more, with a new one."""
    status = reply.REFUSALS[refusal.code].status
    errors = {forms.WHOLE: forms.words(found, refusal)}
    began = None
    match refusal.code:
        case "idempotency_key_reused":
            began = await orders.find(found.app.db, recharge.order_id_of(user.id, key))
            errors = {
                forms.WHOLE: found.say(
                    "You began to pay for something else on this page. Press again to order this "
                    "besides."
                )
            }
            key = frame.new_key(found.app)
        case "idempotency_key_required" | "idempotency_key_invalid" | "idempotency_key_expired":
            errors = {
                forms.WHOLE: found.say("This page was open for long. Look again, then press Pay.")
            }
            key = frame.new_key(found.app)
        case "provider_not_found":
            errors = {"provider": found.say("Choose how to pay.")}
    return _page(found, user, key, choice, began=began, errors=errors, status=status)


def _too_young(found: Visitor, user: User) -> str:
    """Why this person may not buy; "" for whoever may."""
    try:
        accounts.require_adult(user, found.app.clock.now(), found.app.settings.adult_age)
    except Rejected as refusal:
        return forms.words(found, refusal)
    return ""


def _bounds(found: Visitor, exact: Exact) -> str:
    return found.say(
        "An exact amount is from %(minimum)s to %(maximum)s coins.",
        minimum=i18n.number_text(exact.minimum, found.language),
        maximum=i18n.number_text(exact.maximum, found.language),
    )


def _per_hundred(package: Package) -> Price:
    """What 100 coins of a package cost, rounded half up to the minor unit."""
    amount = (200 * package.price.amount + package.coins) // (2 * package.coins)
    return Price(amount, package.price.currency)


def _whole(text: str, most: int) -> int:
    """The whole number that somebody typed, with or without separators; 0 where it is none."""
    digits = text.translate(_SEPARATORS)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(most))):
        return 0
    return min(int(digits), most)


def _again(order: Order) -> str:
    """The form for the same once more, with a key of its own."""
    return f"/recharge?{urlencode({'package': order.package_id})}"


def _failure(found: Visitor, order: Order) -> str:
    match order.failure:
        case "expired":
            return found.say("The checkout was left open for too long.")
        case "never_started":
            return found.say("The payment provider could not be reached.")
        case _:
            return found.say("The payment was declined.")


_SEPARATORS = str.maketrans("", "", " ,._'\u2019\u00a0\u202f")

ROUTES = (get_recharge, post_recharge, get_order)
