"""
The worker: what happens without anybody asking, as one list of jobs and one loop that runs each.

It may run inside `serve` or in a process of its own, or in several: every job may be run twice.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from largesse import recharge, reconcile
from largesse.app import App, JobState
from largesse.records import projections, sessions

BATCH = 100
"""Events or orders that one run of a job takes on."""
CHANGES_BATCH = 500
"""Changes of the ledger that one run of the projections takes on: a short breath of the database."""
PROJECTIONS_REST = 3
"""A run that left changes behind rests this many times its own length, so that gifts go first."""
FAILURE_PAUSE_SECONDS_MAX = 60
"""A job that fails pauses one second, then twice as long each time, up to this."""
STOP_SECONDS_MAX = 10
"""How long a run in progress may take to finish when the worker is asked to stop."""

log = structlog.get_logger()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something done again and again.

    `run` says whether it left something that could be done at once; then the next run begins after
    a rest of `rest` times this run's length instead of `every_seconds`. A job `at_wake` is also run
    whenever the worker is woken; one not `at_start` waits its interval before the first run.
    """

    name: str
    every_seconds: float
    run: Callable[[], Awaitable[bool]]
    at_wake: bool = False
    at_start: bool = True
    rest: int = 0


def jobs(app: App) -> tuple[Job, ...]:
    """Everything the worker does."""

    async def handle_inbox() -> bool:
        handled = await recharge.handle_inbox(
            app.db, app.ledger, app.providers, now=app.clock.now(), limit=BATCH
        )
        if handled:
            app.rooms.wake()  # Whoever paid looks at the balance.
        return handled == BATCH

    async def finish_orders() -> bool:
        finished = await recharge.finish_unfinished(
            app.db, app.ledger, app.providers, now=app.clock.now(), limit=BATCH
        )
        return finished == BATCH

    async def project() -> bool:
        taken = await projections.project(app.db, app.ledger, limit=CHANGES_BATCH)
        return taken >= CHANGES_BATCH

    async def clean_sessions() -> bool:
        await sessions.delete_expired(app.db, now=app.clock.now())
        return False

    books = reconcile.Books()

    async def check_books() -> bool:
        found = await reconcile.verdict(
            app.db, app.ledger, environment=app.environment, now=app.clock.now, books=books
        )
        app.health.verdict = found
        for check in found.checks:
            if not check.holds:
                log.error("check_failed", check=check.name, detail=check.detail)
        return False

    checks_seconds = app.settings.checks_minutes * 60
    return (
        Job(name="inbox", every_seconds=1, run=handle_inbox, at_wake=True),
        Job(name="unfinished_orders", every_seconds=15, run=finish_orders, rest=PROJECTIONS_REST),
        Job(name="projections", every_seconds=0.5, run=project, rest=PROJECTIONS_REST),
        Job(name="sessions", every_seconds=600, run=clean_sessions, at_start=False),
        Job(name="checks", every_seconds=checks_seconds, run=check_books, at_start=False),
    )


class Worker:
    """
    Runs jobs until it is stopped. No failure of a job ends it, or keeps another job waiting.

    `work` takes the place of the standard list of jobs.
    """

    def __init__(self, app: App, work: tuple[Job, ...] | None = None) -> None:
        self.jobs = jobs(app) if work is None else work
        self.states = {job.name: JobState() for job in self.jobs}
        self._clock = app.clock
        self._wake = app.worker_wake
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Say that the inbox has something new."""
        self._wake.set()

    async def run(self) -> None:
        """Do the jobs until `stop`."""
        self._running = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as group:
                for job in self.jobs:
                    group.create_task(self._repeat(job), name=f"worker {job.name}")
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise

    async def stop(self) -> None:
        """End `run`: what is being done is finished, or left to the next start if it takes too long."""
        self._stopping.set()
        self._wake.set()
        if self._running is None:
            return
        _, unfinished = await asyncio.wait({self._running}, timeout=STOP_SECONDS_MAX)
        if unfinished:
            log.warning("worker_cut_short", seconds=STOP_SECONDS_MAX)
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _repeat(self, job: Job) -> None:
        pause = 0 if job.at_start else job.every_seconds
        while not await self._pause(job, pause):
            if job.at_wake:
                self._wake.clear()  # Before the run, so that a wake during it is another run.
            pause = await self._run(job)

    async def _run(self, job: Job) -> float:
        """Run a job once and say how many seconds to pause."""
        loop = asyncio.get_running_loop()
        state = self.states[job.name]
        state.run_at = self._clock.now()
        started = loop.time()
        try:
            more = await job.run()
        except Exception as error:
            state.failures += 1
            state.failures_in_a_row += 1
            state.problem = repr(error)
            log.exception("job_failed", job=job.name, failures_in_a_row=state.failures_in_a_row)
            return min(2.0 ** min(state.failures_in_a_row - 1, 10), FAILURE_PAUSE_SECONDS_MAX)
        state.runs += 1
        state.failures_in_a_row = 0
        state.problem = ""
        return (loop.time() - started) * job.rest if more else job.every_seconds

    async def _pause(self, job: Job, seconds: float) -> bool:
        """
        Wait, less long where the job is woken; True where the worker is stopping.

        What failed waits its pause out: to be woken a hundred times a second would not mend it.
        """
        is_well = self.states[job.name].failures_in_a_row == 0
        event = self._wake if job.at_wake and is_well else self._stopping
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await event.wait()
            except TimeoutError:
                pass
        return self._stopping.is_set()
