"""The wallet: what is there, and where it came from and went."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args
from urllib.parse import urlencode

import msgspec
from litestar import Response, get

from largesse import clock, reports
from largesse.errors import Rejected
from largesse.money import Price
from largesse.records import users
from largesse.records.users import User
from largesse.reports import HistoryFilter, HistoryRow, Kind
from largesse.web import decode
from largesse.web import wallet as api
from largesse.web.auth import AnyRequest
from largesse.web.pages import forms, frame
from largesse.web.pages.frame import Visitor

ROWS = 30
"""Movements on one page of the history."""
NEWEST = 5
"""Movements that the wallet shows."""
ICONS = {
    "recharge": "plus",
    "bonus": "spark",
    "gift": "gift",
    "refund": "back",
    "debt_repaid": "receipt",
    "correction": "refresh",
}


@get("/wallet", include_in_schema=False)
async def get_wallet(request: AnyRequest) -> Response[Any]:
    """Coins and their money, debt, this month, and the newest movements."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "viewer")
    app = found.app
    purse = await reports.wallet(
        app.db,
        app.ledger,
        app.catalog,
        viewer_id=user.id,
        country=user.country,
        environment=app.environment,
        now=app.clock.now(),
    )
    totals = await reports.totals(
        app.db,
        app.ledger,
        app.catalog,
        viewer_id=user.id,
        country=user.country,
        now=app.clock.now(),
    )
    newest = await _history(found, user, HistoryFilter(), before=None, limit=NEWEST)
    context: dict[str, Any] = {
        "wallet": purse,
        "month": totals.this_month,
        "rows": newest.rows,
        "words": await _words(found, newest.rows),
    }
    return frame.page(found, "wallet/wallet.html", **context)


@get("/wallet/history", include_in_schema=False)
async def get_history(request: AnyRequest) -> Response[Any]:
    """Every movement, of one kind or of some days, in pages."""
    found = await frame.visitor(request)
    user = frame.needs_login(found, "viewer")
    asked = {name: request.query_params.get(name, "").strip() for name in ("kind", "from", "to")}
    errors: dict[str, str] = {}
    filter = _filter(found, asked, errors)
    cursor = request.query_params.get("cursor")
    before = decode.cursor(cursor, "history", str)
    page = await _history(found, user, filter, before=before, limit=ROWS)
    kept = {name: text for name, text in asked.items() if text and name not in errors}
    older = page.next_before and decode.to_cursor("history", page.next_before)
    context: dict[str, Any] = {
        "asked": asked,
        "kept": urlencode(kept),
        "is_first": cursor is None,
        "newest": _address(kept),
        "older": _address(kept | {"cursor": older}) if older else "",
        "kinds": [(kind, _kind_words(found, kind)) for kind in get_args(Kind)],
    }
    status = 400 if errors else 200
    return frame.page(
        found,
        "wallet/history.html",
        status=status,
        rows=page.rows,
        errors=errors,
        words=await _words(found, page.rows),
        **context,
    )


async def _history(
    found: Visitor, user: User, filter: HistoryFilter, *, before: str | None, limit: int
) -> reports.HistoryPage:
    app = found.app
    return await reports.history(
        app.db,
        app.ledger,
        app.catalog,
        viewer_id=user.id,
        country=user.country,
        environment=app.environment,
        before=before,
        limit=limit,
        filter=filter,
    )


async def _words(found: Visitor, rows: Sequence[HistoryRow]) -> "Words":
    creators = {row.gift.creator_id for row in rows if row.gift and row.gift.creator_id}
    people = await users.find_users(found.app.db, sorted(creators))
    return Words(found, {id: person.name for id, person in people.items()})


def _filter(found: Visitor, asked: dict[str, str], errors: dict[str, str]) -> HistoryFilter:
    """What the form asks for; a part that is none is left out, and said to be wrong."""
    kind: Kind | None = None
    for known in get_args(Kind):
        if asked["kind"] == known:
            kind = known
    if asked["kind"] and kind is None:
        errors["kind"] = found.say("There is no such kind.")
    days: dict[str, str | None] = {}
    for name in ("from", "to"):
        days[name] = asked[name] or None
        try:
            api.history_filter(None, days[name], None)
        except Rejected:
            days[name] = None
            errors[name] = found.say("This is not a day: write year, month and day.")
    return api.history_filter(kind, days["from"], days["to"])


def _address(query: dict[str, str]) -> str:
    return "/wallet/history" + (f"?{urlencode(query)}" if query else "")


class Words(msgspec.Struct, frozen=True):
    """What the template of movements says of a row."""

    found: Visitor
    names: dict[str, str]
    """Of the creators in the rows, the name that everybody sees."""

    def creator(self, row: HistoryRow) -> str:
        """Who was given it; "" where nobody was, or nobody knows any longer."""
        if row.gift is None or row.gift.creator_id is None:
            return ""
        return self.names.get(row.gift.creator_id, "")

    def title(self, row: HistoryRow) -> str:
        """What it was."""
        if row.gift is None:
            return _kind_words(self.found, row.kind)
        item = row.gift.item_name or self.found.say("a gift")
        return self.found.say("%(quantity)s \u00d7 %(item)s", quantity=row.gift.quantity, item=item)

    def money(self, row: HistoryRow) -> Price:
        """What its coins cost, or are worth."""
        if row.price is not None:
            return row.price
        return self.found.app.catalog.money_value(abs(row.coins), "web", self.found.country)

    def method(self, row: HistoryRow) -> str:
        """How it was paid, where it was."""
        return "" if row.order is None else forms.method_name(self.found, row.order.provider)

    def icon(self, row: HistoryRow) -> str:
        """The drawing beside it."""
        return ICONS[row.kind]

    def at(self, row: HistoryRow) -> int:
        """When it was, as an instant."""
        return clock.from_datetime(datetime.fromisoformat(row.at))


def _kind_words(found: Visitor, kind: Kind) -> str:
    match kind:
        case "recharge":
            return found.say("Recharge")
        case "bonus":
            return found.say("Bonus coins")
        case "gift":
            return found.say("Gift")
        case "refund":
            return found.say("Refund")
        case "debt_repaid":
            return found.say("Debt repaid")
        case "correction":
            return found.say("Correction")


ROUTES = (get_wallet, get_history)
