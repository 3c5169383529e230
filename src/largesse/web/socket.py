"""
WebSockets on the port of everything else: uvicorn hands a connection over when it asks to be one.

What a socket is for stands elsewhere (`room_socket.py`, `me_socket.py`); here are frames, closing,
silence and limits. The protocol is the sans-I/O core of `websockets`; around it go the two things
that happen all the time: a message that comes as one whole frame is read here, and a frame for many
is framed once. Why so, and what it costs: docs/decisions/0005-sockets.md.
"""

import asyncio
import logging
import resource
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, cast

import msgspec
import structlog
from websockets import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from largesse.limits import FRAME_BYTES_MAX, SOCKETS_MAX, SOCKETS_PER_ADDRESS_MAX
from largesse.web import reply
from largesse.web.door import Networks, believe_proxies

HEARTBEAT_SECONDS = 20.0
"""Between two pings to a socket."""
SILENCES_MAX = 3
"""Heartbeats in a row that may bring nothing, not even an answer to a ping: then it is gone."""
CLOSE_SECONDS = 2.0
"""How long a socket that we close may take to close its side and to take what is on its way."""
TICKS = 80
"""In so many parts a heartbeat visits the sockets, so that ten thousand pings stop nobody."""
BUFFER_BYTES_HIGH = 65_536
"""A socket that has not taken so much is told nothing more, nor listened to, until it has."""
BUFFER_BYTES_LOW = 0
FILES_KEPT = 500
"""Of the files that the process may have open, so many are for everything but sockets."""
CONTROL_FRAMES_MAX = 1_000
"""Pings, pongs and pieces of messages of one socket between two heartbeats."""

GOING_AWAY = int(CloseCode.GOING_AWAY)
BINARY_REFUSED = int(CloseCode.UNSUPPORTED_DATA)
NOT_TEXT = int(CloseCode.INVALID_DATA)
FAULT = int(CloseCode.INTERNAL_ERROR)
FLOODED = 4429

_REFUSED = {
    403: "origin_foreign",
    404: "not_found",
    429: "sockets_per_address",
    500: "internal_error",
    503: "sockets_full",
}
"""The refusal behind each status that refuses an upgrade."""

_PING = b"\x89\x00"
_FIN_TEXT = 0x81
_MASKED = 0x80

_log = structlog.get_logger()
_quiet = logging.getLogger("largesse.socket")
"""What `websockets` itself logs of each connection: told only where somebody asks for it."""
_quiet.setLevel(logging.ERROR)


class Opening(msgspec.Struct, frozen=True):
    """The request that asks for a socket; `address` is its caller's, by the proxies we trust."""

    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    address: str


class Connection(Protocol):
    """An open socket, for whoever has something to tell it."""

    address: str

    def send(self, frame: bytes) -> None:
        """One text frame. Never waits; after the close nothing is sent."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close after what was sent already. `reason` has at most 123 bytes."""
        ...

    def waiting(self) -> int:
        """Bytes that the kernel has not taken, because the other side does not read."""
        ...


class Receiver(Protocol):
    """Whoever listens to a socket. A fault of his closes that socket and no other."""

    def received(self, text: bytes) -> None:
        """A whole text message, at most `FRAME_BYTES_MAX` long: UTF-8, and nothing else is known."""
        ...

    def writable(self) -> None:
        """The other side has taken what waited."""
        ...

    def closed(self) -> None:
        """The socket is gone; called once."""
        ...


Accept = Callable[[Opening, Connection], Receiver | int]
"""Who listens to a socket that opens, or the HTTP status that refuses it."""


class Sockets:
    """
    The open sockets of one server: how many and from where, and the one timer that they share.

    All times are of the event loop, in seconds.
    """

    def __init__(
        self,
        accept: Accept,
        *,
        proxies: Networks = (),
        total_max: int = SOCKETS_MAX,
        address_max: int = SOCKETS_PER_ADDRESS_MAX,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self.proxies = proxies
        self._accept = accept
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        has_limit = files != resource.RLIM_INFINITY
        self._total_max = min(total_max, max(1, files - FILES_KEPT)) if has_limit else total_max
        self._address_max = address_max
        self._tick_seconds = heartbeat_seconds / TICKS
        self._close_seconds = close_seconds
        self._open: dict[Socket, None] = {}
        self._of_address: dict[str, int] = {}
        self._closing: dict[Socket, float] = {}
        self._round: Iterator[list[Socket]] = iter(())
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, opening: Opening, socket: "Socket") -> Receiver | int:
        """Count the socket and find who listens to it, or the status that refuses it."""
        address = socket.address
        if len(self._open) >= self._total_max:
            return 503
        if self._of_address.get(address, 0) >= self._address_max:
            return 429
        try:
            receiver = self._accept(opening, socket)
        except Exception as error:
            _log_fault(error)
            return 500
        if isinstance(receiver, int):
            return receiver
        self._open[socket] = None
        self._of_address[address] = self._of_address.get(address, 0) + 1
        self._run()
        return receiver

    def closing(self, socket: "Socket") -> None:
        """The socket has some seconds to be gone by itself."""
        at = asyncio.get_running_loop().time() + self._close_seconds
        self._closing.setdefault(socket, at)
        self._run()

    def gone(self, socket: "Socket") -> None:
        """The connection is lost; whether it ever was a socket does not matter."""
        self._closing.pop(socket, None)
        if socket not in self._open:
            return
        del self._open[socket]
        left = self._of_address[socket.address] - 1
        if left:
            self._of_address[socket.address] = left
        else:
            del self._of_address[socket.address]

    def _run(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._tick_seconds, self._tick)

    def _tick(self) -> None:
        """Visit the next few sockets, end those whose time is over, and come again if any is left."""
        self._timer = None
        some = next(self._round, None)
        if some is None:
            self._round = _in_parts(list(self._open))
            some = next(self._round)
        for socket in some:
            socket.visit()
        now = asyncio.get_running_loop().time()
        for socket in [socket for socket, at in self._closing.items() if at <= now]:
            socket.abort()
        if self._open or self._closing:
            self._run()


class Socket(asyncio.Protocol):
    """
    One connection, made by uvicorn for a request that asks to become a WebSocket.

    It is a `Connection` for the rest of the house. Text goes to its receiver message by message;
    binary, too large, not UTF-8 or against the protocol closes it with the code of RFC 6455.
    """

    __slots__ = (
        "_connections",
        "_control_frames",
        "_has_spoken",
        "_is_open",
        "_is_whole",
        "_parts",
        "_pending",
        "_receiver",
        "_silences",
        "_sockets",
        "_transport",
        "_websocket",
        "address",
    )

    def __init__(self, sockets: Sockets, *, config: Any, server_state: Any, app_state: Any) -> None:
        """`config`, `server_state` and `app_state` are what uvicorn gives to every protocol."""
        self.address = "unknown"
        self._sockets = sockets
        self._connections: set[Any] = server_state.connections
        self._websocket = ServerProtocol(max_size=FRAME_BYTES_MAX, logger=_quiet)
        self._transport: asyncio.Transport
        self._receiver: Receiver | None = None
        self._is_open = False
        self._is_whole = False
        """No frame and no message is begun and unfinished: the next byte is the head of a frame."""
        self._pending = 0
        self._parts: list[bytes] = []
        self._has_spoken = True
        self._silences = 0
        self._control_frames = 0

    # What a `Connection` can do.

    def send(self, frame: bytes) -> None:
        """One text frame. Never waits; after the close nothing is sent."""
        if self._is_open:
            self._transport.write(_framed(frame))

    def close(self, code: int, reason: str) -> None:
        """Close after what was sent already. `reason` has at most 123 bytes."""
        if not self._is_open:
            return
        self._is_open = self._is_whole = False
        self._websocket.send_close(code, reason)
        self._flush()

    def waiting(self) -> int:
        """Bytes that the kernel has not taken, because the other side does not read."""
        return self._transport.get_write_buffer_size()

    # What uvicorn and the event loop call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(BUFFER_BYTES_HIGH, BUFFER_BYTES_LOW)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._is_open = self._is_whole = False
        self._sockets.gone(self)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            try:
                receiver.closed()
            except Exception as error:
                _log_fault(error)

    def shutdown(self) -> None:
        """uvicorn stops: say so, and see to it that it need not wait for long."""
        self.close(GOING_AWAY, "the server stops")
        self._sockets.closing(self)

    def pause_writing(self) -> None:
        """Who does not read is not listened to either, or his answers would pile up here."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()
        self._tell(lambda receiver: receiver.writable())

    def eof_received(self) -> None:
        """The other side is gone, with or without a close: so the transport closes too."""

    def data_received(self, data: bytes) -> None:
        self._has_spoken = True
        if self._is_whole:
            text = _whole_text(data)
            if text is not None:
                self._take(text)
                return
        self._feed(data)

    # What the timer of all sockets calls.

    def visit(self) -> None:
        """Once in every heartbeat: ping, and end what has been silent for too long."""
        if not self._is_open:
            return
        self._control_frames = 0
        self._silences = 0 if self._has_spoken else self._silences + 1
        self._has_spoken = False
        if self._silences >= SILENCES_MAX:
            self.abort()
        else:
            self._transport.write(_PING)

    def abort(self) -> None:
        """End the connection at once; what waits is lost."""
        self._transport.abort()

    # What it does in between.

    def _feed(self, data: bytes) -> None:
        """
        Everything that is not one whole text frame: the request, pieces, pings, closing, nonsense.

        Whether what was fed ends with a frame is known by its length. A frame with a length that is
        written longer than it need be counts too short, so that nothing is ever taken for whole that
        is not.
        """
        websocket = self._websocket
        websocket.receive_data(data)
        self._pending += len(data)
        for event in websocket.events_received():
            if isinstance(event, Frame):
                self._pending -= _wire_length(event)
                self._take_frame(event)
            elif isinstance(event, Request):
                self._pending = 0
                self._open(event)
        if websocket.state is not State.OPEN:
            self._is_open = False
        self._is_whole = self._is_open and not self._pending and not self._parts
        self._flush()

    def _open(self, request: Request) -> None:
        response = self._websocket.accept(request)
        if response.status_code == 101:
            opening = self._opening(request)
            receiver = self._sockets.admit(opening, self)
            if isinstance(receiver, int):
                response = _refusal(receiver)
            else:
                self._receiver = receiver
                self._is_open = True
        self._websocket.send_response(response)
        # The answer comes before anything that the receiver has to say.
        self._flush()

    def _opening(self, request: Request) -> Opening:
        path, _, query = request.path.partition("?")
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in request.headers.raw_items()
        ]
        peer = self._transport.get_extra_info("peername")
        scope: dict[str, Any] = {"client": peer or None, "headers": headers, "scheme": "http"}
        if self._sockets.proxies:
            believe_proxies(scope, self._sockets.proxies)
        if scope["client"]:
            self.address = scope["client"][0]
        return Opening(path, query.encode("latin-1", "replace"), headers, self.address)

    def _take_frame(self, frame: Frame) -> None:
        """One frame of an open socket; what comes after the close is let fall."""
        if not self._is_open:
            return
        if frame.opcode is Opcode.BINARY:
            self.close(BINARY_REFUSED, "text only")
            return
        if frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._parts.append(bytes(frame.data))
            if frame.fin:
                text = b"".join(self._parts)
                self._parts.clear()
                self._take(text)
                return
        self._control_frames += 1
        if self._control_frames > CONTROL_FRAMES_MAX:
            self.close(FLOODED, "rate_limited")

    def _take(self, text: bytes) -> None:
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                self.close(NOT_TEXT, "not UTF-8")
                return
        self._tell(lambda receiver: receiver.received(text))

    def _tell(self, what: Callable[[Receiver], None]) -> None:
        receiver = self._receiver
        if receiver is None:
            return
        try:
            what(receiver)
        except Exception as error:
            _log_fault(error)
            self.close(FAULT, "internal_error")

    def _flush(self) -> None:
        """Write what the protocol has to say; an empty piece is the end of our side."""
        for data in self._websocket.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
        if self._websocket.close_expected():
            self._sockets.closing(self)


def protocol(sockets: Sockets) -> type[asyncio.Protocol]:
    """What `uvicorn.Config(ws=...)` takes: it is called with uvicorn's three arguments."""
    return cast(type[asyncio.Protocol], partial(Socket, sockets))


def is_foreign(opening: Opening, public_url: str) -> bool:
    """
    Whether a page of another host asks for the socket, in a browser that says so by `Origin`.

    Programs send none. Our own pages are those of the host that was asked, or of `public_url`.
    """
    found = dict(opening.headers)
    origin = found.get(b"origin")
    if origin is None:
        return False
    scheme, _, host = origin.partition(b"://")
    is_asked = scheme in (b"http", b"https") and host == found.get(b"host")
    return not is_asked and origin.decode("latin-1") != public_url.rstrip("/")


def _in_parts(sockets: list[Socket]) -> Iterator[list[Socket]]:
    """All sockets in `TICKS` parts, one a tick."""
    size = -(-len(sockets) // TICKS)
    for n in range(TICKS):
        yield sockets[n * size : (n + 1) * size]


def _whole_text(data: bytes) -> bytes | None:
    """The message, if this is one whole, final, masked text frame and nothing else."""
    size = len(data)
    if size < 6 or data[0] != _FIN_TEXT or data[1] < _MASKED:
        return None
    length, start = data[1] - _MASKED, 6
    if length == 126:
        length, start = (data[2] << 8) | data[3], 8
    if length > 126 and start == 6:
        return None
    if size != start + length or length > FRAME_BYTES_MAX:
        return None
    mask = (data[start - 4 : start] * (length // 4 + 1))[:length]
    masked = int.from_bytes(data[start:], "big")
    return (masked ^ int.from_bytes(mask, "big")).to_bytes(length, "big")


def _wire_length(frame: Frame) -> int:
    """The least bytes that a masked frame has on the wire."""
    length = len(frame.data)
    return length + (6 if length < 126 else 8 if length < 65_536 else 14)


class _LastFramed:
    """The frame that was framed last: a frame for many is framed once, and shared while it waits."""

    __slots__ = ("framed", "text")

    def __init__(self) -> None:
        self.text = b""
        self.framed = b"\x81\x00"


_last = _LastFramed()


def _framed(text: bytes) -> bytes:
    if text is _last.text:
        return _last.framed
    length = len(text)
    if length < 126:
        framed = bytes((_FIN_TEXT, length)) + text
    elif length < 65_536:
        framed = b"\x81\x7e" + length.to_bytes(2, "big") + text
    else:
        framed = b"\x81\x7f" + length.to_bytes(8, "big") + text
    _last.text, _last.framed = text, framed
    return framed


def _refusal(status: int) -> Response:
    """A refused upgrade as problem details, as any other request would be answered."""
    answer = reply.problem(_REFUSED[status], {}, request_id="")
    headers = Headers([(name.decode(), value.decode()) for name, value in answer.headers])
    headers["connection"] = "close"
    return Response(status, "Refused", headers, answer.body)


def _log_fault(error: Exception) -> None:
    # As text, because some log renderers show every local variable: tickets, keys.
    _log.error("socket_fault", traceback="".join(traceback.format_exception(error)))
