"""
Sockets and nothing behind them, on uvicorn: `python -m bench.echo_server ours PORT`, or `picows`.

Text comes back as it is; the text `fan` sends `FRAME` to every socket, a few hundred at a time. `ours`
is the server of `largesse.web.socket`; `picows` is the other candidate of decision 0005, on its own C
parser and a constructor that is not public.
"""

import asyncio
import contextlib
import gc
import logging
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from bench.bare import app
from largesse.cli.serving import COLLECT_AFTER
from largesse.limits import FRAME_BYTES_MAX
from largesse.rooms.hub import SENDS_PER_TURN
from largesse.web import socket

FRAME = b"x" * 604
FAN = b"fan"

Send = Callable[[bytes], Any]

everybody: dict[Any, Send] = {}
running: set[Awaitable[None]] = set()


def take(text: bytes, send: Send) -> None:
    """What both servers do with a message."""
    if text != FAN:
        send(text)
        return
    task = asyncio.ensure_future(fan())
    running.add(task)
    task.add_done_callback(running.discard)


async def fan() -> None:
    """One frame to all."""
    for n, send in enumerate(tuple(everybody.values()), 1):
        send(FRAME)
        if n % SENDS_PER_TURN == 0:
            await asyncio.sleep(0)


class Echo:
    """A receiver of our own server."""

    __slots__ = ("connection",)

    def __init__(self, connection: socket.Connection) -> None:
        self.connection = connection
        everybody[self] = connection.send

    def received(self, text: bytes) -> None:
        take(text, self.connection.send)

    def writable(self) -> None: ...

    def closed(self) -> None:
        del everybody[self]


def ours() -> Any:
    """Our server, with as many sockets as one likes."""
    sockets = socket.Sockets(
        lambda _, connection: Echo(connection), total_max=10**6, address_max=10**6
    )
    return socket.protocol(sockets)


def picows() -> Any:
    """The same on picows, as small as it can be."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport
    from picows.picows import WSProtocol  # type: ignore[attr-defined]

    text, close = WSMsgType.TEXT, WSMsgType.CLOSE
    quiet = logging.getLogger("bench.picows")
    quiet.setLevel(logging.ERROR)

    class Listener(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            everybody[self] = self.send = lambda frame: transport.send(text, frame)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == text:
                take(frame.get_payload_as_bytes(), self.send)
            elif frame.msg_type == close:
                transport.send_close(frame.get_close_code())
                transport.disconnect()

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            del everybody[self]

        def pause_writing(self) -> None: ...

        def resume_writing(self) -> None: ...

    class OnUvicorn(WSProtocol):  # type: ignore[misc, unused-ignore]
        def __init__(self, **of_uvicorn: object) -> None:
            buffer = 2_048
            super().__init__(
                *(None, None, False, lambda _: Listener(), quiet, True, 10, False, 20, 20, 1),
                *(True, FRAME_BYTES_MAX, None, buffer),
            )

        def connection_made(self, transport: Any) -> None:
            transport.pause_reading()
            super().connection_made(transport)
            asyncio.get_running_loop().call_soon(transport.resume_reading)

        def data_received(self, data: bytes) -> None:
            self.get_buffer(-1)[: len(data)] = data
            self.buffer_updated(len(data))

    return OnUvicorn


def main() -> None:
    kind, port = sys.argv[1:]
    protocol = {"ours": ours, "picows": picows}[kind]()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.set_threshold(*COLLECT_AFTER)
    uvicorn.run(
        app,
        port=int(port),
        http="httptools",
        loop="uvloop",
        ws=protocol,
        log_level="error",
        access_log=False,
        backlog=2_048,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
