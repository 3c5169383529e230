"""The viewer's wallet: what is there, where it went, and all of it as CSV."""

import msgspec
from litestar import get
from litestar.response import Stream

from largesse import reports
from largesse.web import auth, decode
from largesse.web.auth import AnyRequest
from largesse.web.describe import PAGE_LIMIT, SIGNED_IN, Cursor, Limit, refusals

TAG = "Wallet"


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
    description="Newest first, in pages; read from the ledger itself.",
    responses=refusals("role_required", "cursor_invalid", "parameter_invalid", session=True),
)
async def get_history(
    request: AnyRequest, cursor: Cursor = None, limit: Limit = PAGE_LIMIT
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
    responses=refusals("role_required", session=True),
)
async def get_history_csv(request: AnyRequest) -> Stream:
    viewer = auth.user_of(request)
    app = auth.app_of(request)
    app.limiter.take("export", viewer.id, app.clock.now())
    lines = reports.history_csv(
        app.db,
        app.ledger,
        app.catalog,
        viewer_id=viewer.id,
        country=viewer.country,
        environment=app.environment,
    )
    return Stream(
        lines,
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="wallet-history.csv"'},
    )


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


ROUTES = (get_wallet, get_history, get_history_csv, get_totals)
