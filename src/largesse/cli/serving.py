"""
A server in this process, from its socket to its last answer; `serve` and `demo` stand on it.

Order of the start: the port is taken (so that a taken one is refused before anything opens), the
app is opened, the jobs begin, requests are answered. Order of the end: no new requests, those being
answered are finished, jobs stop, the stores are closed.
"""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from largesse.app import App, close_app, open_app
from largesse.books.chart import Environment
from largesse.cli import StoppedEarly
from largesse.cli.listening import BACKLOG_MAX, at_its_port, listening
from largesse.settings import Settings, address
from largesse.web.app import create as create_web
from largesse.web.app import server_protocol
from largesse.worker import Worker

TICKS_A_SECOND = 10
"""uvicorn's own."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept open."""
GRACE_SECONDS = 20
"""How long requests may take to finish once the server was told to stop."""
COLLECT_AFTER = (50_000, 20, 100)
"""Thresholds of the garbage collector. At its defaults it costs a tenfold p99 (0.35 s to 0.04 s)."""
FILES_MAX = 65_536
"""Open files that we ask the system for."""
REQUEST_SECONDS = 20
"""How long who connects may take for the head of his first request."""
SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter: the ledger's writer must not wait the default 5 ms."""


class Running(msgspec.Struct, frozen=True):
    """A server that answers. `stopped` is set when it was told to stop, or stopped by itself."""

    app: App
    url: str
    stopped: asyncio.Event


class Stop:
    """The wish that a server should end: first in order, then without waiting for requests."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        self.servers: list[uvicorn.Server] = []

    def ask(self) -> None:
        """Finish what was begun, and end."""
        self.stopped.set()

    def hurry(self) -> None:
        """End, and do not wait for requests any longer."""
        self.stopped.set()
        for server in self.servers:
            server.force_exit = True


@contextlib.asynccontextmanager
async def serving(
    settings: Settings,
    *,
    create: Environment | None = None,
    grace_seconds: int = GRACE_SECONDS,
) -> AsyncIterator[Running]:
    """
    Serve while the block runs; SIGINT and SIGTERM set `stopped`, which the block waits for.

    Raises:
        Rejected: address_in_use, address_unusable, and what `open_app` raises.
        StoppedEarly: it was told to stop before it answered.
    """
    stop = Stop()
    with listening(settings) as listener, _signals(stop):
        settings = at_its_port(settings, listener)
        async with answering(
            settings, listener, stop, create=create, grace_seconds=grace_seconds
        ) as running:
            yield running


@contextlib.asynccontextmanager
async def answering(
    settings: Settings,
    listener: socket.socket,
    stop: Stop,
    *,
    create: Environment | None = None,
    grace_seconds: int = GRACE_SECONDS,
) -> AsyncIterator[Running]:
    """
    Answer on a socket that listens, while the block runs.

    Raises:
        Rejected: what `open_app` raises.
        StoppedEarly: it was told to stop before it answered.
    """
    _allow_files()
    async with contextlib.AsyncExitStack() as closing:
        app = await _opened(settings, create, stop.stopped)
        closing.push_async_callback(close_app, app)
        await closing.enter_async_context(_jobs(app, stop.stopped))
        server = _Server(_config(app, grace_seconds))
        stop.servers.append(server)
        task = asyncio.create_task(server.serve(sockets=[listener]), name="server")
        task.add_done_callback(lambda _: stop.ask())
        task.add_done_callback(lambda _: server.ready.set())
        closing.push_async_callback(_stop, server, task)
        await server.ready.wait()
        _settle_memory()
        yield Running(app, address(*listener.getsockname()[:2]), stop.stopped)


async def _opened(settings: Settings, create: Environment | None, stopped: asyncio.Event) -> App:
    """
    The app, unless we are told to stop first: a start may wait for another host, as long as that
    one migrates.
    """
    opening = asyncio.create_task(open_app(settings, create=create), name="opening")
    asked = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({opening, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        opening.cancel()  # Does nothing to what is done.
        await asyncio.wait({opening})
    if opening.cancelled():
        raise StoppedEarly
    return opening.result()


class _Server(uvicorn.Server):
    """
    uvicorn's server; `ready` is set when it answers or when it has failed to.

    Its signals are ours: what runs beside it has to stop in order too.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._silent: dict[Any, float] = {}

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_SECOND == 0:
            self._close_silent()
        return await super().on_tick(counter)

    def _close_silent(self) -> None:
        """
        Close who connected and asks for nothing: uvicorn itself would wait for ever.

        A connection has a `cycle` from its first request on; a socket never has one, and takes care
        of itself.
        """
        now = asyncio.get_running_loop().time()
        silent = {
            connection: self._silent.get(connection, now)
            for connection in self.server_state.connections
            if isinstance(connection, HttpToolsProtocol) and connection.cycle is None
        }
        for connection, since in silent.items():
            if now - since >= REQUEST_SECONDS:
                connection.transport.abort()
        self._silent = silent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: App, grace_seconds: int) -> uvicorn.Config:
    config = uvicorn.Config(
        create_web(app),
        loop="none",
        http="httptools",
        ws=server_protocol(app),
        lifespan="auto",
        log_config=None,
        log_level="info",
        access_log=app.settings.access_log,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
    )
    errors = logging.getLogger("uvicorn.error")
    errors.setLevel(logging.WARNING)  # Below that it tells of each start and stop.
    errors.addFilter(_is_no_cancellation)
    return config


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """A request that was cut off at the end of the grace has been counted; its stack says nothing."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, asyncio.CancelledError)


@contextlib.asynccontextmanager
async def _jobs(app: App, stopped: asyncio.Event) -> AsyncIterator[None]:
    """
    What runs beside the requests: the rooms, the sandbox, and the worker where the settings want it
    here.

    One that ends by itself ends the server: requests without their jobs would only look well.
    """
    async with contextlib.AsyncExitStack() as stopping:
        _begin(app.rooms.run(), "rooms", stopping, stopped)
        stopping.callback(app.rooms.stop)
        if app.sandbox is not None:
            _begin(app.sandbox.run(), "sandbox", stopping, stopped)
            stopping.callback(app.sandbox.stop)
        if app.settings.worker:
            worker = Worker(app)
            app.health.jobs.update(worker.states)
            _begin(worker.run(), "worker", stopping, stopped)
            stopping.push_async_callback(worker.stop)
        yield


def _begin(
    job: Coroutine[Any, Any, None],
    name: str,
    stopping: contextlib.AsyncExitStack,
    stopped: asyncio.Event,
) -> None:
    """Start a job; at the end wait for it, and hear what went wrong with it."""
    task = asyncio.create_task(job, name=name)
    task.add_done_callback(lambda _: stopped.set())

    async def end() -> None:
        await task

    stopping.push_async_callback(end)


async def _stop(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    server.should_exit = True
    await task


@contextlib.contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """The first signal asks to stop, the second does not wait for requests any longer."""
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if stop.stopped.is_set():
            stop.hurry()
        stop.ask()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _allow_files() -> None:
    """Every socket is a file; the system's soft limit on them is often a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # The system may have a limit beside it.
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _settle_memory() -> None:
    """
    Everything alive now lives as long as the process: keep the collector away from it.

    Without collecting first: that would cost a tenth of a second for a megabyte.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_SECONDS)
