"""
Several processes on one port: the parent, which holds the socket and answers nothing itself.

It starts the processes that answer (`supervised.py`), starts another for each that ends, and passes
on the wish to stop. It opens no store: the first process is started alone and may be refused, so that
a refusal is printed once; the others follow when it answers.

Processes are started anew rather than forked: none inherits a thread, a connection or a lock of
another. What they are to do goes to them by a pair of sockets, for a command line is seen by
everybody; its end tells them that the parent is gone, however it went.
"""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator

import msgspec
import structlog

from largesse.books.chart import Environment
from largesse.cli import EXIT_DONE, EXIT_REFUSED
from largesse.cli.listening import at_its_port, listening
from largesse.errors import Rejected
from largesse.settings import Settings, address

PAUSE_SECONDS_MIN = 0.1
PAUSE_SECONDS_MAX = 10.0
"""The pause before a process is started again doubles from the one to the other."""
WELL_SECONDS = 10.0
"""A process that lived this long was well: the next one is started at once."""
FAULTS_IN_A_ROW_MAX = 10
"""Processes that end at once by a fault, one after the other, until we give up."""
STOP_SECONDS_MAX = 45
"""How long a process may take to end: the grace of its requests, its jobs, its stores."""

log = structlog.get_logger()


class Handed(msgspec.Struct, frozen=True):
    """What a process is told when it starts; `listener` is the number of the socket's file."""

    settings: Settings
    listener: int
    create: Environment | None


class Ready(msgspec.Struct, frozen=True):
    """What a process says when it answers."""

    folder: str
    environment: Environment


class Child(msgspec.Struct, frozen=True):
    """A process that answers, or will, and the line to it."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ready(self) -> Ready | None:
        """Wait until it answers; None where it ended before."""
        line = b""
        with contextlib.suppress(ConnectionError):  # It ended before it had read what it is to do.
            line = await self.reader.readline()
        return msgspec.json.decode(line, type=Ready) if line.endswith(b"\n") else None

    def tell(self, word: str) -> None:
        """Tell it `stop` or `hurry`."""
        if not self.writer.is_closing():
            self.writer.write(word.encode() + b"\n")

    async def ended(self) -> int:
        """Wait for its end; its exit status."""
        status = await self.process.wait()
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
        return status


class Supervisor:
    """The parent of `settings.workers` processes."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._children: dict[int, Child] = {}
        self._stopping = asyncio.Event()
        self._failure: Rejected | None = None

    def stop(self) -> None:
        """Ask every process to finish and end; again: not to wait for requests any longer."""
        word = "hurry" if self._stopping.is_set() else "stop"
        if word == "stop":
            print("Stopping: finishing what was begun.", flush=True)
        self._end(word)

    async def run(self, create: Environment | None) -> int:
        """
        Keep the processes running until `stop`; the exit status.

        Raises:
            Rejected: worker_kept_dying.
        """
        first = await self._start(0, create)
        ready = await first.ready()
        if ready is None:
            status = await first.ended()
            return EXIT_DONE if self._stopping.is_set() else abs(status)

        others = range(1, self._settings.workers)
        answering = [asyncio.Event() for _ in others]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(0, asyncio.Event(), first))
            for place, event in zip(others, answering, strict=True):
                group.create_task(self._keep(place, event))
            group.create_task(self._tell(ready, answering))
        if self._failure is not None:
            raise self._failure
        return EXIT_DONE

    async def _tell(self, ready: Ready, answering: list[asyncio.Event]) -> None:
        for event in answering:
            await event.wait()
        if self._stopping.is_set():
            return
        url = address(*self._listener.getsockname()[:2])
        workers = f"{self._settings.workers} workers"
        print(
            f"Largesse answers at {url} ({ready.environment}, {ready.folder}, {workers}).",
            flush=True,
        )

    async def _keep(self, place: int, answering: asyncio.Event, child: Child | None = None) -> None:
        """Keep one process running: start another when it ends, after a pause if that was at once."""
        loop = asyncio.get_running_loop()
        pause, faults = 0.0, 0
        while child is not None or not self._stopping.is_set():
            started = loop.time()
            if child is None:
                child = await self._start(place)
                if await child.ready() is not None:
                    log.info("worker_answers", process=child.process.pid)
                    answering.set()
            status = await self._end_of(child)
            del self._children[place]
            if self._stopping.is_set():
                break
            log.error("worker_ended", process=child.process.pid, status=status)
            child = None
            if loop.time() - started >= WELL_SECONDS:
                pause, faults = 0.0, 0
                continue
            # Who is refused, as by a database that is away, said so and is tried for ever.
            faults += status != EXIT_REFUSED
            if faults >= FAULTS_IN_A_ROW_MAX:
                self._failure = Rejected("worker_kept_dying", times=faults, status=status)
                self._end("stop")
                break
            pause = min(max(PAUSE_SECONDS_MIN, 2 * pause), PAUSE_SECONDS_MAX)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        answering.set()

    async def _start(self, place: int, create: Environment | None = None) -> Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "largesse.cli.supervised",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(), self._listener.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us, who pass it on.
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        handed = Handed(self._settings, self._listener.fileno(), create)
        writer.write(msgspec.json.encode(handed) + b"\n")
        child = self._children[place] = Child(process, reader, writer)
        if self._stopping.is_set():
            child.tell("stop")
        return child

    async def _end_of(self, child: Child) -> int:
        """Wait for the end of a process, and once we stop, for so long and no longer."""
        ending = asyncio.create_task(child.ended())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await asyncio.wait({ending}, timeout=STOP_SECONDS_MAX)
        if not ending.done():
            log.error("worker_killed", process=child.process.pid, seconds=STOP_SECONDS_MAX)
            child.process.kill()
        return await ending

    def _end(self, word: str) -> None:
        self._stopping.set()
        for child in self._children.values():
            child.tell(word)


async def supervise(settings: Settings, create: Environment | None) -> int:
    """
    Serve with several processes until SIGINT or SIGTERM; the exit status.

    Raises:
        Rejected: address_in_use, address_unusable, worker_kept_dying.
    """
    with listening(settings) as listener:
        supervisor = Supervisor(at_its_port(settings, listener), listener)
        with _signals(supervisor):
            return await supervisor.run(create)


@contextlib.contextmanager
def _signals(supervisor: Supervisor) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
