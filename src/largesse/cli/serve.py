"""`largesse serve`: the API, from a data folder that is there."""

import asyncio
import contextlib
from typing import Annotated

from cyclopts import Parameter

from largesse.books.chart import Environment
from largesse.cli import EXIT_DONE
from largesse.cli.start import begin_logging, quick_imports, settings_in_force
from largesse.errors import Rejected
from largesse.settings import Settings, are_stores_shared


def serve(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on.")] = None,
    workers: Annotated[
        int | None, Parameter(help="Processes on that port; more than one needs PostgreSQL.")
    ] = None,
    create: Annotated[
        Environment | None,
        Parameter(help="Make the data folder first where there is none: live, or test."),
    ] = None,
) -> int:
    """Serve the API until SIGINT or SIGTERM."""
    import uvloop

    settings = settings_in_force(host=host, port=port, workers=workers)
    if settings.workers > 1:
        return _supervise(settings, create)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, create))
    return EXIT_DONE


def _supervise(settings: Settings, create: Environment | None) -> int:
    """Several processes on one port. What they open, this process does not even import."""
    from largesse.cli.supervising import supervise

    if not are_stores_shared(settings):
        raise Rejected("workers_need_postgres", workers=settings.workers)
    begin_logging(settings.log_level)
    return asyncio.run(supervise(settings, create))


async def _serve(settings: Settings, create: Environment | None) -> None:
    async with contextlib.AsyncExitStack() as stack:
        with quick_imports():
            from largesse.cli.serving import serving

            begin_logging(settings.log_level)
            running = await stack.enter_async_context(serving(settings, create=create))
        folder = running.app.folder
        print(
            f"Largesse answers at {running.url} ({folder.environment}, {folder.path}).", flush=True
        )
        await running.stopped.wait()
        print("Stopping: finishing what was begun.", flush=True)
