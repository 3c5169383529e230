"""How the API document tells what a route needs and how it may refuse."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, SecurityRequirement
from litestar.params import HeaderParameter, QueryParameter
from msgspec import Meta

from largesse.web import reply

SIGNED_IN: list[SecurityRequirement] = [{"session": []}]
"""The security of a route that needs a session."""
OPEN: list[SecurityRequirement] = [{}]
"""The security of a route that anybody may call."""

IDEMPOTENCY_KEY = "Idempotency-Key"
PAGE_LIMIT = 50
PAGE_LIMIT_MAX = 200

_ALWAYS = ("rate_limited", "internal_error")
_WITH_SESSION = ("session_required", "session_expired", "csrf_token_invalid")
_WITH_BODY = ("body_not_json", "body_invalid", "unknown_field", "body_too_large", "body_too_deep")


class Problem(msgspec.Struct, frozen=True):
    """Problem details (RFC 9457). Programs hold on to `code`; the facts of a refusal stand beside."""

    type: Annotated[str, Meta(description="Where the code is explained.")]
    title: Annotated[str, Meta(description="The code in one sentence.")]
    status: Annotated[int, Meta(description="The HTTP status.")]
    code: Annotated[str, Meta(description="Stable and documented; programs hold on to it.")]
    detail: Annotated[str, Meta(description="The same with the figures of this case.")]
    request_id: Annotated[str, Meta(description="Names this request in our log.")]


Cursor = Annotated[
    str | None,
    QueryParameter(
        name="cursor",
        description="The `next_cursor` of the page before; without it, the newest rows.",
    ),
]
Limit = Annotated[
    int,
    QueryParameter(name="limit", ge=1, le=PAGE_LIMIT_MAX, description="Rows on the page."),
]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name=IDEMPOTENCY_KEY,
        description="Made and kept by the client before sending, best a UUIDv7. The same key with "
        "the same body is the same request, for ever.",
    ),
]


def refusals(*codes: str, session: bool = False, body: bool = False) -> Mapping[int, ResponseSpec]:
    """The refusals of a route by status, for its entry in the API document."""
    by_status: dict[int, list[str]] = {}
    for code in (
        *codes,
        *(_WITH_SESSION if session else ()),
        *(_WITH_BODY if body else ()),
        *_ALWAYS,
    ):
        by_status.setdefault(reply.REFUSALS[code].status, []).append(code)
    return {
        status: ResponseSpec(
            data_container=Problem,
            generate_examples=False,
            media_type=reply.PROBLEM_MEDIA_TYPE,
            description="\n".join(f"- `{code}`: {reply.REFUSALS[code].title}" for code in found),
            examples=[_example(code) for code in found],
        )
        for status, found in sorted(by_status.items())
    }


def _example(code: str) -> Example:
    refusal = reply.REFUSALS[code]
    return Example(
        id=code,
        summary=refusal.title,
        value={
            "type": reply.PROBLEM_TYPE + code,
            "title": refusal.title,
            "status": refusal.status,
            "code": code,
            "detail": refusal.title,
            "request_id": "5f0c3a9e1d0000002a",
        },
    )
