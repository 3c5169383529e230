"""What payment providers tell us: stored once, answered at once, handled by the worker."""

import msgspec
from litestar import post
from litestar.params import FromPath

from largesse.errors import Rejected
from largesse.payments import inbox
from largesse.web import auth
from largesse.web.auth import AnyRequest
from largesse.web.describe import OPEN, refusals

TAG = "Webhooks"


class Received(msgspec.Struct, frozen=True):
    """How many of the events were new to us."""

    stored: int


@post(
    "/v1/webhooks/{provider:str}",
    tags=[TAG],
    security=OPEN,
    status_code=200,
    summary="Tell us of a payment",
    description="For payment providers. The raw bytes are verified by the provider's own signature "
    "and stored once; the worker then asks the provider how the payment stands.",
    responses=refusals(
        "provider_not_found", "signature_invalid", "webhook_unreadable", "body_too_large"
    ),
)
async def post_webhook(request: AnyRequest, provider: FromPath[str]) -> Received:
    app = auth.app_of(request)
    known = app.providers.get(provider)
    if known is None:
        raise Rejected("provider_not_found", providers=sorted(app.providers))
    stored = await inbox.receive(
        app.db,
        known,
        headers={name.lower(): value for name, value in request.headers.items()},
        raw=await request.body(),
        now=app.clock.now(),
    )
    app.worker_wake.set()
    return Received(stored)


ROUTES = (post_webhook,)
