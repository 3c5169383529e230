"""`largesse serve`: the API, from a data folder that is there."""

import asyncio
import contextlib
from typing import Annotated

from cyclopts import Parameter

from largesse.books.chart import Environment
from largesse.cli.start import quick_imports, settings_in_force
from largesse.settings import Settings


def serve(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on.")] = None,
    create: Annotated[
        Environment | None,
        Parameter(help="Make the data folder first where there is none: live, or test."),
    ] = None,
) -> None:
    """Serve the API until SIGINT or SIGTERM."""
    import uvloop

    settings = settings_in_force(host=host, port=port)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, create))


async def _serve(settings: Settings, create: Environment | None) -> None:
    async with contextlib.AsyncExitStack() as stack:
        with quick_imports():
            from largesse.cli.serving import begin_logging, serving

            begin_logging(settings.log_level)
            running = await stack.enter_async_context(serving(settings, create=create))
        folder = running.app.folder
        print(
            f"Largesse answers at {running.url} ({folder.environment}, {folder.path}).", flush=True
        )
        await running.stopped.wait()
        print("Stopping: finishing what was begun.", flush=True)
