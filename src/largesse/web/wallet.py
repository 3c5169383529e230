"""The viewer's wallet: what is there, where it went, and all of it as CSV or JSON."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter
from litestar.response import Stream

from largesse import clock, reports
from largesse.app import App
from largesse.errors import Rejected
from largesse.records.users import User
from largesse.reports import HistoryFilter, Kind
from largesse.web import auth, decode
from largesse.web.auth import AnyRequest
from largesse.web.describe import PAGE_LIMIT, SIGNED_IN, Cursor, Limit, refusals

TAG = "Wallet"


KindParameter = Annotated[
    Kind | None, QueryParameter(name="kind", description="Only movements of this kind.")
]
FromParameter = Annotated[
    str | None, QueryParameter(name="from", description="From this day on (YYYY-MM-DD, UTC).")
]
ToParameter = Annotated[
    str | None,
    QueryParameter(name="to", description="Until the end of this day (YYYY-MM-DD, UTC)."),
]


class HistoryAnswer(msgspec.Struct, frozen=True):
    """A page of movements, newest first."""

    rows: tuple[reports.HistoryRow, ...]
    next_cursor: str | None


@get(
    "/v1/wallet",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("viewer")],
    summary="My wallet",
    description="Coins, what they are worth, debt, and what was spent this month.",
    responses=refusals("role_required", session=True),
)
async def get_wallet(request: AnyRequest) -> reports.Wallet:
    viewer = auth.user_of(request)
    app = auth.app_of(request)
    return await reports.wallet(
        app.db,
        app.ledger,
        app.catalog,
        viewer_id=viewer.id,
        country=viewer.country,
        environment=app.environment,
        now=app.clock.now(),
    )


@get(
    "/v1/wallet/history",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("viewer")],
    summary="Where my coins came from and went",
    description="Newest first, in pages; read from the ledger itself. A page of one kind may be "
    "short and yet not be the last: follow `next_cursor`.",
    responses=refusals("role_required", "cursor_invalid", "parameter_invalid", session=True),
)
async def get_history(
    request: AnyRequest,
    cursor: Cursor = None,
    limit: Limit = PAGE_LIMIT,
    kind: KindParameter = None,
    since: FromParameter = None,
    until: ToParameter = None,
) -> HistoryAnswer:
    viewer = auth.user_of(request)
    app = auth.app_of(request)
    page = await reports.history(
        app.db,
        app.ledger,
        app.catalog,
        viewer_id=viewer.id,
        country=viewer.country,
        environment=app.environment,
        before=decode.cursor(cursor, "history", str),
        limit=limit,
        filter=history_filter(kind, since, until),
    )
    before = page.next_before
    return HistoryAnswer(page.rows, None if before is None else decode.to_cursor("history", before))


@get(
    "/v1/wallet/history.csv",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("viewer")],
    media_type="text/csv",
    summary="The whole history as CSV",
    description="Newest first. Text that a spreadsheet could take for a formula is led by an "
    "apostrophe.",
    responses=refusals("role_required", "parameter_invalid", session=True),
)
async def get_history_csv(
    request: AnyRequest,
    kind: KindParameter = None,
    since: FromParameter = None,
    until: ToParameter = None,
) -> Stream:
    viewer = auth.user_of(request)
    app = auth.app_of(request)
    pages = _pages(app, viewer, history_filter(kind, since, until))
    return _download(reports.history_csv(pages), "text/csv; charset=utf-8", "wallet-history.csv")


@get(
    "/v1/wallet/history.json",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("viewer")],
    media_type="application/json",
    summary="The whole history as JSON",
    description="Newest first: one object whose `rows` are those of `/v1/wallet/history`.",
    responses=refusals("role_required", "parameter_invalid", session=True),
)
async def get_history_json(
    request: AnyRequest,
    kind: KindParameter = None,
    since: FromParameter = None,
    until: ToParameter = None,
) -> Stream:
    viewer = auth.user_of(request)
    app = auth.app_of(request)
    pages = _pages(app, viewer, history_filter(kind, since, until))
    return _download(reports.history_json(pages), "application/json", "wallet-history.json")


@get(
    "/v1/wallet/totals",
    tags=[TAG],
    security=SIGNED_IN,
    guards=[auth.needs("viewer")],
    summary="What I bought and gave away",
    description="This calendar month (UTC), and in all.",
    responses=refusals("role_required", session=True),
)
async def get_totals(request: AnyRequest) -> reports.Totals:
    viewer = auth.user_of(request)
    app = auth.app_of(request)
    return await reports.totals(
        app.db,
        app.ledger,
        app.catalog,
        viewer_id=viewer.id,
        country=viewer.country,
        now=app.clock.now(),
    )


def history_filter(kind: Kind | None, since: str | None, until: str | None) -> HistoryFilter:
    """
    The movements of one kind between two days, both included; days are those of UTC.

    Raises:
        Rejected: parameter_invalid.
    """
    return HistoryFilter(
        kind=kind,
        since=None if since is None else _start(since, "from"),
        until=None if until is None else _start(until, "to") + clock.DAY,
    )


def _pages(
    app: App, viewer: User, filter: HistoryFilter
) -> AsyncIterator[tuple[reports.HistoryRow, ...]]:
    app.limiter.take("export", viewer.id, app.clock.now())
    return reports.history_pages(
        app.db,
        app.ledger,
        app.catalog,
        viewer_id=viewer.id,
        country=viewer.country,
        environment=app.environment,
        filter=filter,
    )


def _start(day: str, parameter: str) -> int:
    """The instant at which a day begins. `fromisoformat` also takes weeks, which nobody means."""
    try:
        if len(day) != len("2026-11-26") or "W" in day:
            raise ValueError("not YYYY-MM-DD")
        return clock.from_datetime(datetime.fromisoformat(day).replace(tzinfo=UTC))
    except ValueError as error:
        raise Rejected(
            "parameter_invalid", parameter=parameter, problem="expected a day as YYYY-MM-DD"
        ) from error


def _download(text: AsyncIterator[str], media_type: str, name: str) -> Stream:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Stream(text, media_type=media_type, headers=headers)


ROUTES = (get_wallet, get_history, get_history_csv, get_history_json, get_totals)
