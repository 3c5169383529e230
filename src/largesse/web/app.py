"""The web application: the routes and the middleware, each as one visible list."""

import asyncio
from functools import cache
from typing import Any

from litestar import Litestar, Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.types import ControllerRouterHandler

from largesse.app import App
from largesse.errors import Rejected
from largesse.web import (
    accounts,
    assets,
    auth,
    decode,
    docs,
    door,
    earnings,
    gifts,
    health,
    i18n,
    me_socket,
    openapi,
    operator,
    orders,
    pages,
    reply,
    room_socket,
    rooms,
    socket,
    wallet,
    watching,
    webhooks,
)
from largesse.web.auth import AnyRequest
from largesse.web.pages import frame

ROUTES: tuple[ControllerRouterHandler, ...] = (
    *accounts.ROUTES,
    *orders.ROUTES,
    *wallet.ROUTES,
    *gifts.ROUTES,
    *rooms.ROUTES,
    *watching.ROUTES,
    *earnings.ROUTES,
    *operator.ROUTES,
    *webhooks.ROUTES,
    *health.ROUTES,
    *docs.ROUTES,
    *assets.ROUTES,
    *i18n.ROUTES,
    *pages.ROUTES,
)


FOR_PAGES_TOO = ("allow", "retry-after")
"""Headers of a refusal that a page that says it has as well."""


class StrictRequest(Request[Any, Any, Any]):
    """Litestar's request, whose JSON is decoded straight and strictly into the handler's struct."""

    async def json(self) -> Any:
        data = self.route_handler.parsed_fn_signature.parameters["data"]
        return decode.body(await self.body(), data.annotation)


def create(app: App) -> door.Asgi:
    """The ASGI application: door, gift lane, Litestar, and the sandbox where the folder has one."""
    inner = framework(app)
    if app.sandbox is None:
        return door.create(app, inner)

    from largesse.web.sandbox import PREFIX, sandbox_app

    return door.create(app, _mounted(sandbox_app(app.sandbox), PREFIX, inner))


def server_protocol(app: App) -> type[asyncio.Protocol]:
    """What `uvicorn.Config(ws=...)` makes of a request for a WebSocket; each address once."""
    openers = (room_socket.create(app), me_socket.create(app))

    def accept(opening: socket.Opening, connection: socket.Connection) -> socket.Receiver | int:
        for opener in openers:
            receiver = opener(opening, connection)
            if receiver != 404:
                return receiver
        return 404

    proxies = door.trusted_networks(app.settings.trusted_proxies)
    return socket.protocol(socket.Sockets(accept, proxies=proxies))


def framework(app: App) -> Litestar:
    """What stands behind the door: every route, the gift route's other door among them."""
    inner = Litestar(
        list(ROUTES),
        openapi_config=None,
        request_class=StrictRequest,
        exception_handlers={Exception: on_exception},
        request_max_body_size=None,  # The door has the limit, for every way in.
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
    inner.state["largesse"] = app
    inner.state["last_check"] = operator.LastCheck(asyncio.Lock())
    inner.state["openapi"] = cache(lambda: openapi.document(ROUTES))
    return inner


def _mounted(part: Any, prefix: str, rest: Any) -> door.Asgi:
    """One application under its prefix, whose paths it gets whole; another for everything else."""

    async def either(scope: door.Scope, receive: door.Receive, send: door.Send) -> None:
        path: str = scope.get("path", "")
        is_part = scope["type"] == "http" and (path == prefix or path.startswith(prefix + "/"))
        await (part if is_part else rest)(scope, receive, send)

    return either


def on_exception(request: AnyRequest, error: Exception) -> Response[Any]:
    """Every refusal and every fault behind Litestar, in our words: a page for a person."""
    if isinstance(error, frame.Redirected):
        return frame.see(error.location)
    request_id = auth.request_id_of(request)
    refusal = reply.refusal_or_fault(_in_our_words(error), request_id=request_id)
    answer = reply.problem(refusal.code, refusal.facts, request_id=request_id)
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    if isinstance(error, MethodNotAllowedException) and error.headers:
        headers |= {name.lower(): value for name, value in error.headers.items()}
    if frame.wants_page(request):
        page = frame.refusal_page(request, refusal)
        page.headers.update({name: headers[name] for name in FOR_PAGES_TOO if name in headers})
        return page
    media_type = headers.pop("content-type")
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=media_type)


def _in_our_words(error: Exception) -> Exception:
    """Litestar's own refusals as ours; everything else as it is."""
    if isinstance(error, NotFoundException):
        return Rejected("not_found")
    if isinstance(error, MethodNotAllowedException):
        return Rejected("method_not_allowed")
    if isinstance(error, ValidationException):
        return _validation(error)
    if isinstance(error, HTTPException) and 400 <= error.status_code < 500:
        return Rejected("request_invalid", problem=error.detail)
    return error


def _validation(error: ValidationException) -> Rejected:
    """The first thing that is wrong; a body that is missing is no JSON."""
    problems = error.extra if isinstance(error.extra, list) else []
    first = problems[0] if problems else {}
    name = str(first.get("key", ""))
    if name == "data":
        return Rejected("body_not_json")
    return Rejected(
        "parameter_invalid", parameter=name, problem=str(first.get("message", error.detail))
    )
