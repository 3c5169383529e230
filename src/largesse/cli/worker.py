"""`largesse worker`: the periodic jobs without the API."""

import asyncio
import signal

from largesse.cli.start import begin_logging, settings_in_force
from largesse.errors import Rejected
from largesse.settings import Settings


def worker() -> None:
    """Run only the periodic jobs, until SIGINT or SIGTERM."""
    asyncio.run(_run(settings_in_force()))


async def _run(settings: Settings) -> None:
    from largesse.app import close_app, open_app
    from largesse.worker import Worker

    begin_logging(settings.log_level)
    try:
        app = await open_app(settings)
    except Rejected as rejected:
        if rejected.code == "data_folder_in_use":
            raise Rejected("worker_inside_serve", **rejected.facts) from rejected
        raise
    try:
        jobs = Worker(app)
        task = asyncio.create_task(jobs.run(), name="worker")
        stopped = asyncio.Event()
        task.add_done_callback(lambda _: stopped.set())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        print(f"The jobs of {app.folder.path} run; stop them with Ctrl-C.", flush=True)
        await stopped.wait()
        await jobs.stop()
        await task
    finally:
        await close_app(app)
