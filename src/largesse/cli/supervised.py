"""
One of several processes on one port, started by `supervising.py` and by nobody else.

It is told by its parent when to stop, and stops when the parent is gone. A signal asks it to stop,
however often it comes: a service manager sends one to every process, beside the parent's word.
"""

import asyncio
import contextlib
import signal
import socket
import sys
from typing import TYPE_CHECKING

import msgspec

from largesse.cli import EXIT_DONE, EXIT_REFUSED, StoppedEarly
from largesse.cli.refusal import print_refusal
from largesse.cli.start import begin_logging, quick_imports
from largesse.errors import Rejected

if TYPE_CHECKING:
    from largesse.cli.serving import Stop


def main(descriptor: int) -> int:
    """Serve as the parent at the other end of this socket says; the exit status."""
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(socket.socket(fileno=descriptor)))
    except Rejected as rejected:
        print_refusal(rejected)
        return EXIT_REFUSED
    except StoppedEarly:
        return EXIT_DONE
    return EXIT_DONE


async def _serve(line: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=line)
    async with contextlib.AsyncExitStack() as stack:
        with quick_imports():
            from largesse.cli.serving import Stop, answering
            from largesse.cli.supervising import Handed, Ready

            handed = msgspec.json.decode(await reader.readline(), type=Handed)
            begin_logging(handed.settings.log_level)
            stop = Stop()
            obeying = asyncio.create_task(_obey(reader, stop), name="parent")
            stack.callback(obeying.cancel)
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop.ask)
            listener = stack.enter_context(socket.socket(fileno=handed.listener))
            running = await stack.enter_async_context(
                answering(handed.settings, listener, stop, create=handed.create)
            )
        folder = running.app.folder
        writer.write(msgspec.json.encode(Ready(str(folder.path), folder.environment)) + b"\n")
        await running.stopped.wait()
    writer.close()


async def _obey(reader: asyncio.StreamReader, stop: "Stop") -> None:
    """Do what the parent says; without a parent, stop."""
    with contextlib.suppress(ConnectionError):
        while word := (await reader.readline()).strip():
            if word == b"hurry":
                stop.hurry()
            stop.ask()
    stop.ask()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
