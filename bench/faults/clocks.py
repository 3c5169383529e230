"""A clock that is set back while gifts are given: no timestamp is given twice, nothing stands still."""

from pathlib import Path

from bench.loads import Load, gift_to
from bench.systems import said_of
from largesse.app import App, close_app, open_app
from largesse.books.chart import Environment
from largesse.cli import bench
from largesse.clock import HOUR, SystemClock
from largesse.ledger import PAGE_MAX
from largesse.settings import Settings
from tests import postgres

OFFSETS_HOURS = (0, -1, -24, 2, -3)
LOAD = Load(64)
SECONDS = 0.5
VIEWERS = 200


class OffsetClock:
    """The system's clock, and how far it is off."""

    def __init__(self) -> None:
        self.hours = 0
        self._system = SystemClock()

    def now(self) -> int:
        return self._system.now() + self.hours * HOUR


async def set_back(folder: Path, rounds: int, seed: int) -> None:
    """The clock of one process jumps about; on PostgreSQL a second process keeps the right time."""
    await _one_process(folder, rounds)
    with postgres.server() as server:
        await _two_processes(folder, server.url(postgres.create_database(server)), rounds)


async def _one_process(folder: Path, rounds: int) -> None:
    clock = OffsetClock()
    app = await _opened(folder / "sqlite", clock)
    try:
        given = 0
        for _ in range(rounds):
            for hours in OFFSETS_HOURS:
                clock.hours = hours
                given += await _gifts(app, f"SQLite, the clock {hours:+} h off")
        await _account(app, given)
    finally:
        await close_app(app)


async def _two_processes(folder: Path, url: str, rounds: int) -> None:
    """Two engines on one database; they take turns, so each follows a batch of another clock."""
    wrong, right = OffsetClock(), OffsetClock()
    first = await _opened(folder / "postgres", wrong, url)
    try:
        second = await _opened(folder / "postgres", right, url)
        try:
            given = 0
            for _ in range(rounds):
                for hours in OFFSETS_HOURS:
                    wrong.hours = hours
                    given += await _gifts(first, f"PostgreSQL, the clock {hours:+} h off")
                    given += await _gifts(second, "PostgreSQL, another process, right")
            await _account(first, given)
        finally:
            await close_app(second)
    finally:
        await close_app(first)


async def _opened(data: Path, clock: OffsetClock, url: str = "") -> App:
    settings = Settings(data=str(data), database_url=url, ledger_url=url)
    return await open_app(settings, create=Environment.TEST, clock=clock)


async def _gifts(app: App, what: str) -> int:
    audience = await bench.seat(app.ledger, viewers=VIEWERS, environment=app.environment)
    measured = await gift_to(app.ledger, audience, LOAD, SECONDS)
    print(f"{what}: {measured.gifts:,} gifts answered, {measured.rate:,.0f} a second", flush=True)
    return measured.gifts


async def _account(app: App, given: int) -> None:
    """Every change in its order, every gift there, the books right."""
    place, chains = 0, 0
    while changes := await app.ledger.changes(place, PAGE_MAX):
        for change in changes:
            assert change.timestamp > place, "a timestamp was given twice, or out of order"
            place = change.timestamp
            chains += len(change.chain) == 2
    assert chains == given, f"{given:,} gifts were answered, {chains:,} are there"
    print(
        f"{given:,} gifts were answered and are there; timestamps rise from the first to the last."
    )
    words = await said_of(app)
    print(f"check: {words}")
    assert words == "hold", words
