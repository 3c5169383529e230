"""
The sandbox's pages and its API: the pretend provider as browsers and programs meet it.

A small application of its own, because it stands in for somebody else's server: our accounts,
sessions and limits do not reach in here. Whoever has a checkout address may pay or decline; our
adapter's calls under `/sandbox/api` carry the API key.
"""

import hmac
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
from jinja2 import Environment, FileSystemLoader
from litestar import Litestar, MediaType, Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.handlers.base import BaseRouteHandler
from litestar.params import FromPath, SkipValidation

from largesse import money
from largesse.errors import Rejected
from largesse.payments import PaymentStatus
from largesse.payments.sandbox import UNREADABLE, NewPayment, NewRefund, SandboxPayment
from largesse.payments.sandbox_service import (
    DELAY_SECONDS_MAX,
    LATE_SECONDS,
    Payment,
    SandboxService,
    Scenario,
)

PREFIX = "/sandbox"
BODY_BYTES_MAX = 4_096
"""Nothing that is sent here is longer."""

_STATUSES = {
    "amount_out_of_range": HTTPStatus.UNPROCESSABLE_ENTITY,
    "api_key_required": HTTPStatus.UNAUTHORIZED,
    "body_invalid": HTTPStatus.BAD_REQUEST,
    "delay_out_of_range": HTTPStatus.UNPROCESSABLE_ENTITY,
    "idempotency_key_reused": HTTPStatus.CONFLICT,
    "payment_not_found": HTTPStatus.NOT_FOUND,
    "refund_exceeds_payment": HTTPStatus.CONFLICT,
}
_WEB = Path(__file__).parent
_templates = Environment(loader=FileSystemLoader(_WEB / "templates" / "sandbox"), autoescape=True)

T = TypeVar("T")
Service = NamedDependency[SkipValidation[SandboxService]]
AnyRequest = Request[Any, Any, Any]
AnyConnection = ASGIConnection[Any, Any, Any, Any]


class Answer(msgspec.Struct, frozen=True):
    """What a program that pays or declines is told."""

    payment_id: str
    status: PaymentStatus


def require_api_key(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """Only the adapter, which shares the data folder's secret, may call the API."""
    sent = connection.headers.get("authorization", "")
    wanted = f"Bearer {connection.app.state.api_key}"
    if not hmac.compare_digest(sent.encode(), wanted.encode()):
        raise Rejected("api_key_required")


@post("/")
async def create(request: AnyRequest, service: Service) -> SandboxPayment:
    """Begin a payment; the same order again answers with the same payment."""
    return service.view(await service.create(_decoded(await request.body(), NewPayment)))


@get("/{payment_id:str}")
async def fetch(payment_id: FromPath[str], service: Service) -> SandboxPayment:
    """A payment's absolute state."""
    return service.view(await service.find(payment_id))


@post("/{payment_id:str}/refunds")
async def refund(
    request: AnyRequest, payment_id: FromPath[str], service: Service
) -> SandboxPayment:
    """Give money back; the same refund id again changes nothing."""
    body = _decoded(await request.body(), NewRefund)
    return service.view(await service.refund(payment_id, body))


@get("/{payment_id:str}", media_type=MediaType.HTML)
async def checkout(payment_id: FromPath[str], service: Service) -> Response[str]:
    """The checkout page, which also shows how the payment ended."""
    payment = await service.find(payment_id)
    page = _templates.get_template("checkout.html").render(
        payment=payment,
        status=service.view(payment).status.value,
        price=f"{money.decimal(payment.amount, payment.currency)} {payment.currency}",
        delay_seconds_max=DELAY_SECONDS_MAX,
        late_seconds=LATE_SECONDS,
    )
    return Response(page, headers=_page_headers(payment), media_type=MediaType.HTML)


@post("/{payment_id:str}/confirm")
async def confirm(
    request: AnyRequest, payment_id: FromPath[str], service: Service
) -> Response[object]:
    """Pay, as a person at the checkout or as a program."""
    return await _decide(request, payment_id, service, PaymentStatus.PAID)


@post("/{payment_id:str}/decline")
async def decline(
    request: AnyRequest, payment_id: FromPath[str], service: Service
) -> Response[object]:
    """Let the payment fail, as a person at the checkout or as a program."""
    return await _decide(request, payment_id, service, PaymentStatus.FAILED)


@get("/sandbox.css", media_type=MediaType.CSS, sync_to_thread=False)
def style() -> bytes:
    """The page's style."""
    return (_WEB / "static" / "sandbox" / "sandbox.css").read_bytes()


@get("/icon.svg", media_type="image/svg+xml", sync_to_thread=False)
def icon() -> bytes:
    """The page's icon."""
    return (_WEB / "static" / "sandbox" / "icon.svg").read_bytes()


def refused(_: AnyRequest, refusal: Rejected) -> Response[object]:
    """A refusal as a problem document (RFC 9457)."""
    return _problem(_STATUSES[refusal.code], refusal.code, refusal.facts)


def refused_by_framework(_: AnyRequest, error: HTTPException) -> Response[object]:
    """An unknown address, a wrong method or a body too long, in the same form."""
    status = HTTPStatus(error.status_code)
    return _problem(status, status.name.lower(), {})


def sandbox_app(service: SandboxService) -> Litestar:
    """The ASGI application that answers every path under `/sandbox`; paths come in whole."""
    api = Router("/api/payments", route_handlers=[create, fetch, refund], guards=[require_api_key])
    pages = Router("/payments", route_handlers=[checkout, confirm, decline])
    return Litestar(
        route_handlers=[Router(PREFIX, route_handlers=[api, pages, style, icon])],
        state=State({"api_key": service.keys.api_key}),
        dependencies={"service": Provide(lambda: service, sync_to_thread=False)},
        exception_handlers={Rejected: refused, HTTPException: refused_by_framework},
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


async def _decide(
    request: AnyRequest, payment_id: str, service: SandboxService, decision: PaymentStatus
) -> Response[object]:
    scenario = _scenario(request.headers.get("content-type", ""), await request.body())
    payment = await service.decide(payment_id, decision, scenario)
    if "text/html" in request.headers.get("accept", ""):
        location = payment.return_url or f"../{payment_id}"
        return Response(None, status_code=HTTPStatus.SEE_OTHER, headers={"location": location})
    answer = Answer(payment_id=payment.id, status=service.view(payment).status)
    return Response(answer, status_code=HTTPStatus.OK)


def _scenario(content_type: str, raw: bytes) -> Scenario:
    if not raw:
        return Scenario()
    if not content_type.startswith("application/x-www-form-urlencoded"):
        return _decoded(raw, Scenario)
    try:
        fields = dict(parse_qsl(raw.decode("ascii"), max_num_fields=8))
        return msgspec.convert(fields, Scenario, strict=False)
    except ValueError as error:  # Not ASCII, too many fields, or not a scenario.
        raise Rejected("body_invalid") from error


def _decoded(raw: bytes, type: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=type)
    except UNREADABLE as error:
        raise Rejected("body_invalid") from error


def _page_headers(payment: Payment) -> dict[str, str]:
    # Browsers hold a form's redirect to form-action too, so the way back has to be named.
    back = urlsplit(payment.return_url)
    form_action = f"'self' {back.scheme}://{back.netloc}" if back.netloc else "'self'"
    return {
        "content-security-policy": (
            "default-src 'none'; style-src 'self'; img-src 'self'; "
            f"form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
        ),
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


def _problem(status: HTTPStatus, code: str, facts: dict[str, object]) -> Response[object]:
    body = {"type": "about:blank", "title": status.phrase, "status": status, "code": code} | facts
    return Response(body, status_code=status, media_type="application/problem+json")
