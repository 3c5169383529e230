"""
The front door: what every request passes, in front of the gift lane and of Litestar.

Pure ASGI, one wrapper: a request id, the caller's address, the limit of a body, security headers,
and an answer where something fell through. What is wrapped once costs once.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import count
from typing import Any

from largesse.app import App
from largesse.errors import Rejected
from largesse.limits import BODY_BYTES_MAX
from largesse.web import gift_lane, reply

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Networks = tuple[IPv4Network | IPv6Network, ...]

API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
"""What a browser may do with an answer of the API: nothing."""
FORWARDED_HOPS_MAX = 20
"""Proxies in one `X-Forwarded-For` that are looked at."""

_POLICY = b"content-security-policy"
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_OF_PAGES: reply.Headers = [
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def create(app: App, inner: Any) -> Asgi:
    """The whole application: this door, the gift lane behind it, and `inner` for all the rest."""
    lane = gift_lane.create(app)
    networks = trusted_networks(app.settings.trusted_proxies)
    always = [_NO_SNIFFING]
    if app.settings.public_url.startswith("https://"):
        always.append((b"strict-transport-security", b"max-age=31536000"))
    api_headers = [*always, (_POLICY, API_POLICY)]
    page_headers = [*always, *_OF_PAGES, (_POLICY, page_policy(app.settings.public_url))]
    start, numbers = app.entropy(5).hex(), count(1)

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        request_id = f"{start}{next(numbers):08x}"
        scope["request_id"] = request_id
        if networks:
            believe_proxies(scope, networks)
        named = (b"x-request-id", request_id.encode())
        room_id = gift_lane.room_id_of(scope)
        if room_id is not None:
            await lane(scope, receive, send, room_id, [*api_headers, named])
            return
        if scope["method"] == "HEAD":
            # What may be read may be asked about; the server itself leaves the body out.
            scope = {**scope, "method": "GET"}
        await guarded(inner, scope, receive, send, [*api_headers, named], [*page_headers, named])

    return door


def page_policy(public_url: str) -> bytes:
    """
    What our own pages may do: load our own files, talk to this server, and no more.

    Script makes no markup but through Lit's templates (Trusted Types). A form's way on to the
    checkout counts as its action, so the public address is named beside the page's own.
    """
    socket = public_url.replace("http", "ws", 1)
    rules = (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "media-src 'self' blob:",
        "worker-src 'self'",
        "manifest-src 'self'",
        f"connect-src 'self' {socket}",
        f"form-action 'self' {public_url}",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types lit-html",
    )
    return "; ".join(rules).encode()


def trusted_networks(addresses: tuple[str, ...]) -> Networks:
    """The networks behind the addresses and CIDR ranges of the setting `trusted_proxies`."""
    return tuple(ip_network(address, strict=False) for address in addresses)


def believe_proxies(scope: Scope, networks: Networks) -> None:
    """
    Take the caller's address and scheme from the headers, if a trusted proxy sent them.

    `X-Forwarded-For` is read from the right: the first address that is no proxy of ours is the
    caller; whatever stands left of it, anyone may have written.
    """
    client = scope.get("client")
    if client is None or not _is_trusted(client[0], networks):
        return
    found = {
        name: value
        for name, value in scope["headers"]
        if name in (b"x-forwarded-for", b"x-forwarded-proto")
    }
    hops = found.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
    for hop in reversed(hops[-FORWARDED_HOPS_MAX:]):
        address = hop.strip()
        if not _is_address(address):
            break
        scope["client"] = (address, 0)
        if not _is_trusted(address, networks):
            break
    if found.get(b"x-forwarded-proto") in (b"http", b"https"):
        scope["scheme"] = found[b"x-forwarded-proto"].decode()


async def guarded(
    inner: Any,
    scope: Scope,
    receive: Receive,
    send: Send,
    headers: reply.Headers,
    page_headers: reply.Headers,
) -> None:
    """`inner` with the limit of a body, our headers, and an answer to whatever it lets through."""
    has_begun = False

    async def sending(message: Message) -> None:
        nonlocal has_begun
        if message["type"] == "http.response.start":
            has_begun = True
            message["headers"] = _merged(list(message.get("headers", ())), headers, page_headers)
        await send(message)

    try:
        await inner(scope, _limited(scope, receive), sending)
    except Exception as error:  # Nobody further out can answer it in our words.
        if has_begun:
            raise
        answer = reply.of_error(error, request_id=scope["request_id"])
        await reply.send_answer(send, answer, headers)


def _limited(scope: Scope, receive: Receive) -> Receive:
    """`receive` with the limit of a body: by what is announced, else by what arrives."""
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value[:20]) > BODY_BYTES_MAX):
            raise Rejected("body_too_large", maximum=BODY_BYTES_MAX)
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES_MAX:
            raise Rejected("body_too_large", maximum=BODY_BYTES_MAX)
        return message

    return limited


def _merged(
    own: reply.Headers, headers: reply.Headers, page_headers: reply.Headers
) -> reply.Headers:
    """The answer's own headers, and ours for a page or for anything else where it has none."""
    there = {name.lower(): value for name, value in own}
    is_page = there.get(b"content-type", b"").startswith(b"text/html")
    for name, value in page_headers if is_page else headers:
        if name not in there:
            own.append((name, value))
    if b"cache-control" not in there:
        own.append((b"cache-control", b"no-store"))
    return own


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(address: str, networks: Networks) -> bool:
    if not _is_address(address):
        return False
    parsed = ip_address(address)
    return any(parsed in network for network in networks)
