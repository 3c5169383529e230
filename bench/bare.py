"""The ceiling: an ASGI application that reads the request and answers 201, with no ledger behind."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

ANSWER = (
    b'{"gift":{"id":"019ab1c2d3e4f5061728394a5b6c7d00","coins":1,"diamonds":"0.5000",'
    b'"item_id":"firefly","quantity":1,"room_id":"019ab1c2d3e4f5061728394a5b6c7d00",'
    b'"created_at":"2026-01-01T00:00:00.000Z"},"balance":{"coins":999999}}'
)

Message = MutableMapping[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(ANSWER)).encode()),
    ]
    status = 201 if scope["method"] == "POST" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})
