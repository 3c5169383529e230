"""
Gifts from a process of its own, so that several can gift to one database: `python -m bench.other`.

It opens the app by the settings in its environment, seats the audience (which is there already), says
`ready`, and then answers each line of JSON on its standard input (a load and seconds) with what it
measured, until the input ends.
"""

import asyncio
import contextlib
import subprocess
import sys
from asyncio import subprocess as processes
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from bench.loads import Load, gift_to
from bench.serving import inherited
from largesse.app import close_app, open_app
from largesse.cli import bench
from largesse.cli.bench import Measured
from largesse.ledger import Ledger
from largesse.settings import load as settings_of

OTHER = (sys.executable, "-m", "bench.other")
READY = b"ready\n"
LINE_BYTES_MAX = 1 << 20


class Asked(msgspec.Struct, frozen=True):
    """One measurement."""

    load: Load
    seconds: float


Process = processes.Process


@contextlib.asynccontextmanager
async def others(
    environ: Mapping[str, str], *, creators: int, count: int
) -> AsyncIterator[Sequence[Process]]:
    """So many processes that are ready to gift; they end with the block."""
    started: list[Process] = []
    try:
        for _ in range(count):
            process = await processes.create_subprocess_exec(
                *OTHER,
                str(creators),
                env={**inherited(), **environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                limit=LINE_BYTES_MAX,
            )
            started.append(process)
        for process in started:
            await _line(process, READY)
        yield started
    finally:
        for process in started:
            assert process.stdin is not None
            process.stdin.close()
        for process in started:
            await process.wait()


async def together(running: Sequence[Process], load: Load, seconds: float) -> Measured:
    """
    The same load from each of them at once: gifts summed, the latencies those of the slower one.

    The time is that of the slowest, so gifts that one makes while nobody is beside it count little.
    """
    for process in running:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(Asked(load, seconds)) + b"\n")
    lines = [await _line(process) for process in running]
    found = [msgspec.json.decode(line, type=Measured) for line in lines]
    return Measured(
        sum(each.gifts for each in found),
        max(each.seconds for each in found),
        max(each.p50 for each in found),
        max(each.p99 for each in found),
    )


async def _line(process: Process, expected: bytes | None = None) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line or expected not in (None, line):
        raise ChildProcessError(
            f"a process that gifts has failed (what it said is above): {line!r}"
        )
    return line


async def _gift(creators: int) -> None:
    import os

    app = await open_app(settings_of(os.environ, None))
    try:
        audience = await bench.seat(
            app.ledger, viewers=bench.VIEWERS, creators=creators, environment=app.environment
        )
        print(READY.decode(), end="", flush=True)
        await _answer(app.ledger, audience)
    finally:
        await close_app(app)


async def _answer(ledger: Ledger, audience: bench.Audience) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = msgspec.json.decode(line, type=Asked)
        measured = await gift_to(ledger, audience, asked.load, asked.seconds)
        print(msgspec.json.encode(measured).decode(), flush=True)


def main() -> None:
    """Gift as one is told."""
    import uvloop

    bench.settle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_gift(int(sys.argv[1])))


if __name__ == "__main__":
    main()
