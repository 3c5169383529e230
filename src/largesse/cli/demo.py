"""
`largesse demo`: a whole installation in test money, with an audience that lives in it.

The audience is a process of its own and comes in by HTTP and sockets like everyone: what it does,
anyone can.
"""

import asyncio
import contextlib
import ipaddress
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from largesse.books.chart import Environment
from largesse.cli.start import begin_logging, on_a_terminal, quick_imports, settings_in_force
from largesse.errors import Rejected
from largesse.settings import PREFIX, Settings, without_password

if TYPE_CHECKING:
    from largesse.cli.demo_accounts import Logins
    from largesse.cli.serving import Running

GRACE_SECONDS = 1
"""How long requests may take to finish: Ctrl-C should end a demo at once."""
AUDIENCE_GRACE_SECONDS = 0.5


def demo(
    *,
    reset: Annotated[
        bool, Parameter(help="Begin afresh: delete the demo's data folder first.", negative="")
    ] = False,
    port: Annotated[int | None, Parameter(help="Port to listen on.")] = None,
    gifts_per_second: Annotated[
        float, Parameter(help="What the audience wishes to send; 0 leaves it at home.")
    ] = 5.0,
    seed: Annotated[int, Parameter(help="Plans the audience.")] = 1,
) -> None:
    """Run a living economy on this machine, in test money, until Ctrl-C. Every coin is kept."""
    import uvloop

    settings = settings_in_force(port=port, development="true")
    _refuse_other_machines(settings.host)
    if reset:
        _refuse_to_reset_elsewhere(settings)
        _reset(Path(settings.data))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_demo(settings, gifts_per_second=gifts_per_second, seed=seed))


def _refuse_other_machines(host: str) -> None:
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    if host != "localhost":
        raise Rejected("demo_on_loopback_only", host=host)


def _refuse_to_reset_elsewhere(settings: Settings) -> None:
    for name in ("database_url", "ledger_url"):
        url = getattr(settings, name)
        if url:
            setting, place = PREFIX + name.upper(), without_password(url)
            raise Rejected("demo_reset_elsewhere", setting=setting, place=place)


def _reset(path: Path) -> None:
    """Delete the demo's data folder where there is one; the next start makes it anew."""
    from largesse.clock import SystemClock
    from largesse.folder import close_folder, open_folder, remove

    if not path.exists():
        return
    # To be made is to be begun: an empty folder is no reason to refuse.
    folder = open_folder(
        path, create=Environment.TEST, now=SystemClock().now(), entropy=secrets.token_bytes
    )
    try:
        remove(folder)
    finally:
        close_folder(folder)


async def _demo(settings: Settings, *, gifts_per_second: float, seed: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        with quick_imports():
            from largesse.cli import demo_accounts
            from largesse.cli.serving import serving

            begin_logging(settings.log_level)
            running = await stack.enter_async_context(
                serving(settings, create=Environment.TEST, grace_seconds=GRACE_SECONDS)
            )
        logins = await demo_accounts.prepare(running.app)
        _print_welcome(running, logins)
        await stack.enter_async_context(_audience(running.url, logins, gifts_per_second, seed))

        from largesse.cli.demo_panel import show

        await show(running, live=on_a_terminal())
    print(f"Stopped. Every coin is kept in {settings.data}; the next start goes on from there.")


def _print_welcome(running: "Running", logins: "Logins") -> None:
    width = max(len(login) for login, _ in logins.people)
    lines = [
        "",
        f"Largesse demo: {running.url}",
        f"The API, to read and try: {running.url}/docs",
        f"Test money only, kept in {running.app.folder.path}. Ctrl-C ends it.",
        "",
        "Logins:",
        *(f"  {login:<{width}}  {logins.password}  {what}" for login, what in logins.people),
        "",
    ]
    print("\n".join(lines), flush=True)


@contextlib.asynccontextmanager
async def _audience(
    url: str, logins: "Logins", gifts_per_second: float, seed: int
) -> AsyncIterator[None]:
    """
    The audience beside us. Its end of a pipe tells it when we are gone, however we went.

    Logins go in by the pipe, for a command line is seen by everybody on the machine.
    """
    if gifts_per_second <= 0:
        yield
        return
    audience = await asyncio.create_subprocess_exec(
        *_command(url, gifts_per_second, seed),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us; we end it in our own time.
    )
    assert audience.stdin is not None
    audience.stdin.write(msgspec.json.encode(logins.audience) + b"\n")
    try:
        await audience.stdin.drain()
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            audience.terminate()
        try:
            async with asyncio.timeout(AUDIENCE_GRACE_SECONDS):
                await audience.wait()
        except TimeoutError:
            audience.kill()
            await audience.wait()


def _command(url: str, gifts_per_second: float, seed: int) -> Sequence[str]:
    return (
        sys.executable,
        "-m",
        "largesse",
        "simulate",
        f"--url={url}",
        f"--gifts-per-second={gifts_per_second}",
        f"--seed={seed}",
        "--while-stdin-is-open",
    )
