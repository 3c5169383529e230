"""
The worker: what happens without anybody asking, as one list of jobs and one loop that runs each.

It may run inside `serve` or in a process of its own, or in several: every job may be run twice. What
one process is enough for is done by the one that holds the job's lease.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from largesse import recharge, reconcile
from largesse.app import App, JobState
from largesse.clock import SECOND, Clock
from largesse.ledger import LedgerUnavailable
from largesse.records import leases, projections, sessions
from largesse.records.database import Database, RecordsUnavailable

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
LEASE_SECONDS = 10
"""How long a job stays with a process that says nothing more: then another one does it."""
SILENT_SECONDS = 10
"""A lease that stays as it is for so long before our eyes is over, whatever its holder's clock said."""
RENEW_SECONDS = 3
"""How often its holder renews a lease, and the others ask for it."""

log = structlog.get_logger()


class Lease:
    """This process's hold on a job that one of several processes is enough for."""

    def __init__(self, db: Database, clock: Clock, *, name: str, holder: str) -> None:
        self._db = db
        self._clock = clock
        self._name = name
        self._holder = holder
        self._until = 0
        self._seen: leases.Held | None = None
        self._seen_at = 0.0

    def is_held(self) -> bool:
        """Whether the job is ours to do now."""
        return self._clock.now() < self._until

    async def renew(self) -> None:
        """
        Take the lease if nobody has it, hold it for longer if we do.

        One that was not renewed while we looked on is nobody's, also where its holder's clock was
        hours ahead of ours.
        """
        now, time = self._clock.now(), asyncio.get_running_loop().time()
        until = now + LEASE_SECONDS * SECOND
        gone = self._seen if time - self._seen_at >= SILENT_SECONDS else None
        is_ours = await leases.take(self._db, self._name, self._holder, now, until, gone=gone)
        self._until = until if is_ours else 0
        found = None if is_ours else await leases.find(self._db, self._name)
        if found != self._seen:
            self._seen, self._seen_at = found, time

    async def let_go(self) -> None:
        """Give the job to whoever asks next, without waiting for the end of the lease."""
        self._until = 0
        await leases.let_go(self._db, self._name, self._holder)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something done again and again.

    `run` says whether it left something that could be done at once; then the next run begins after
    a rest of `rest` times this run's length instead of `every_seconds`. A job `at_wake` is also run
    whenever the worker is woken; one not `at_start` waits its interval before the first run. One
    with a `lease` is run only while that is held.
    """

    name: str
    every_seconds: float
    run: Callable[[], Awaitable[bool]]
    at_wake: bool = False
    at_start: bool = True
    rest: int = 0
    lease: Lease | None = None


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
        if app.is_shared:
            await reconcile.keep(app.db, found)
        for check in found.checks:
            if not check.holds:
                log.error("check_failed", check=check.name, detail=check.detail)
        return False

    checks_seconds = app.settings.checks_minutes * 60
    # Events and orders are claimed one by one, so every process may do these two at once.
    shared = (
        Job(name="inbox", every_seconds=1, run=handle_inbox, at_wake=True),
        Job(name="unfinished_orders", every_seconds=15, run=finish_orders, rest=PROJECTIONS_REST),
    )
    single: tuple[Job, ...] = (
        Job(name="projections", every_seconds=0.5, run=project, rest=PROJECTIONS_REST),
        Job(name="sessions", every_seconds=600, run=clean_sessions, at_start=False),
        Job(name="checks", every_seconds=checks_seconds, run=check_books, at_start=False),
    )
    if app.is_shared:
        single = tuple(_leased(app, job) for job in single)
    return shared + single


def _leased(app: App, job: Job) -> Job:
    lease = Lease(app.db, app.clock, name=job.name, holder=app.process_id)
    return msgspec.structs.replace(job, lease=lease)


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
                    if job.lease is not None:
                        group.create_task(self._hold(job.lease), name=f"lease {job.name}")
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
        finally:
            await self._let_go()

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

    async def _hold(self, lease: Lease) -> None:
        """Hold a lease, or ask for it again and again, until the worker is stopped."""
        while True:
            try:
                await lease.renew()
            except Exception as error:  # The job itself tells of it, where it is the records.
                log.warning("lease_not_renewed", problem=repr(error))
            await _happens(self._stopping, RENEW_SECONDS)
            if self._stopping.is_set():
                return

    async def _let_go(self) -> None:
        for lease in [job.lease for job in self.jobs if job.lease is not None]:
            if lease.is_held():
                with contextlib.suppress(RecordsUnavailable):  # Then it ends by itself.
                    await lease.let_go()

    async def _run(self, job: Job) -> float:
        """Run a job once, where it is ours to run, and say how many seconds to pause."""
        if job.lease is not None and not job.lease.is_held():
            return min(job.every_seconds, RENEW_SECONDS)
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
            is_known = isinstance(error, (LedgerUnavailable, RecordsUnavailable))
            log.error(
                "job_failed",
                job=job.name,
                failures_in_a_row=state.failures_in_a_row,
                problem=state.problem,
                exc_info=not is_known,  # A database that is away is no fault of ours.
            )
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
        await _happens(self._wake if job.at_wake and is_well else self._stopping, seconds)
        return self._stopping.is_set()


async def _happens(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, so many seconds at most."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
