"""Is it alive, and can it do its work?"""

import asyncio
from collections.abc import Awaitable
from typing import Literal

import msgspec
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec

from largesse.app import App
from largesse.books import chart
from largesse.ledger import LedgerUnavailable
from largesse.records import orders
from largesse.records.database import RecordsUnavailable
from largesse.web import auth
from largesse.web.auth import AnyRequest
from largesse.web.describe import OPEN

TAG = "Health"
ANSWER_SECONDS_MAX = 2.0
"""How long an engine may take before we say that it does not answer."""

Word = Literal["ok", "unavailable"]


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct, frozen=True):
    """Each engine, and all of them."""

    status: Word
    ledger: Word
    records: Word


@get(
    "/livez",
    tags=[TAG],
    security=OPEN,
    summary="Is the process alive?",
    description="Always 200: restart the process when this does not answer.",
)
async def get_livez() -> Alive:
    return Alive()


@get(
    "/readyz",
    tags=[TAG],
    security=OPEN,
    summary="Can it do its work?",
    description="200 only when ledger and records answer within two seconds, else 503.",
    responses={503: ResponseSpec(Ready, generate_examples=False, description="Not now.")},
)
async def get_readyz(request: AnyRequest) -> Response[Ready]:
    app = auth.app_of(request)
    ledger, records = await asyncio.gather(_within_time(_ledger(app)), _within_time(_records(app)))
    words: dict[bool, Word] = {True: "ok", False: "unavailable"}
    all_well = ledger and records
    return Response(
        Ready(words[all_well], words[ledger], words[records]), status_code=200 if all_well else 503
    )


async def _within_time(asking: Awaitable[None]) -> bool:
    try:
        await asyncio.wait_for(asking, ANSWER_SECONDS_MAX)
    except (LedgerUnavailable, RecordsUnavailable, TimeoutError):
        return False
    return True


async def _ledger(app: App) -> None:
    await app.ledger.lookup_accounts((chart.issued(app.environment),))


async def _records(app: App) -> None:
    await orders.find(app.db, "0" * 32)


ROUTES = (get_livez, get_readyz)
