"""`largesse simulate`: an audience for a server, from a seed; it knows only addresses and logins."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import Annotated

import msgspec
from cyclopts import Parameter

from largesse.errors import Rejected
from largesse.simulate import Login, Report, play

REPORT_SECONDS = 5.0


class Logins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of standard input, as JSON. Passwords never stand on a command line."""

    viewers: list[Login]
    creators: list[Login]


def simulate(
    *,
    url: Annotated[str, Parameter(help="The server's address.")] = "http://127.0.0.1:8080",
    seed: Annotated[int, Parameter(help="The same seed plans the same audience.")] = 1,
    gifts_per_second: Annotated[
        float, Parameter(help="What all viewers together wish to send, on average.")
    ] = 5.0,
    while_stdin_is_open: Annotated[
        bool,
        Parameter(help="End when standard input closes, as it does with its process.", negative=""),
    ] = False,
) -> None:
    """Play an audience until Ctrl-C, with the accounts that the first line of standard input names."""
    logins = read_logins(sys.stdin.readline())
    if gifts_per_second <= 0:
        raise Rejected("gifts_per_second_out_of_range", found=gifts_per_second)
    stop = asyncio.Event()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_simulate(url, logins, seed, gifts_per_second, stop, while_stdin_is_open))


def read_logins(line: str) -> Logins:
    """
    The accounts to play with.

    Raises:
        Rejected: logins_invalid.
    """
    try:
        logins = msgspec.json.decode(line, type=Logins)
    except msgspec.DecodeError as error:
        raise Rejected("logins_invalid", problem=str(error)) from error
    if not logins.viewers or not logins.creators:
        raise Rejected("logins_invalid", problem="it takes a viewer and a creator at least")
    return logins


async def _simulate(
    url: str,
    logins: Logins,
    seed: int,
    gifts_per_second: float,
    stop: asyncio.Event,
    while_stdin_is_open: bool,
) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if while_stdin_is_open:
        loop.add_reader(sys.stdin.fileno(), _until_closed, stop)
    printed_at = 0.0

    def report(so_far: Report) -> None:
        nonlocal printed_at
        if time.monotonic() - printed_at >= REPORT_SECONDS:
            printed_at = time.monotonic()
            print(told(so_far), flush=True)

    total = await play(
        url,
        viewers=logins.viewers,
        creators=logins.creators,
        seed=seed,
        gifts_per_second=gifts_per_second,
        stop=stop,
        report=report,
    )
    print(told(total), flush=True)


def _until_closed(stop: asyncio.Event) -> None:
    """Called when standard input has something to say: bytes are ignored, its end is the end."""
    if not os.read(sys.stdin.fileno(), 4_096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def told(report: Report) -> str:
    """One line of what has happened so far."""
    refused = ", ".join(f"{code} {times:,}" for code, times in sorted(report.refusals.items()))
    return (
        f"visits {report.visits:,}  recharges {report.recharges:,} ({report.coins_bought:,} coins)  "
        f"declined {report.declined:,}  gifts {report.gifts:,} ({report.coins_gifted:,} coins)  "
        f"lines {report.lines:,}  likes {report.likes:,}  events seen {sum(report.events.values()):,}  "
        f"resyncs {report.resyncs:,}  errors {report.errors:,}"
        + (f"  refused: {refused}" if refused else "")
    )
