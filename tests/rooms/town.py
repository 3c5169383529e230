"""
Several processes on the same records of a real PostgreSQL, with the same ledger, all in this one.

Each has connections, rooms and a loop of its own, and perhaps an end of a bus. The clock stands
still until it is told to move; the loops run in real time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from largesse import gifting, ids
from largesse.books import chart, postings
from largesse.clock import SECOND, Clock, ManualClock, milliseconds
from largesse.ledger import Ledger
from largesse.ledger.memory import MemoryLedger
from largesse.ledger.model import Outcome
from largesse.ledger.postgres import PostgresLedger, migrate
from largesse.money import Price
from largesse.records import room_log, users
from largesse.records.database import Database
from largesse.records.users import User
from largesse.rooms import log as logs
from largesse.rooms.bus import Bus, open_bus
from largesse.rooms.hub import Watcher
from largesse.rooms.live import LiveRooms
from largesse.rooms.room import Entry, GiftEntry
from tests.features.studio import person
from tests.rooms.stage import CATALOG, PATIENCE_SECONDS, TEST, Screen

_numbers = count(1)


class Process:
    """One process of the installation, as far as one process can play several."""

    def __init__(
        self, town: "Town", db: Database, ledger: Ledger, rooms: LiveRooms, bus: Bus | None
    ) -> None:
        self.town = town
        self.db = db
        self.ledger = ledger
        self.rooms = rooms
        self.bus = bus
        self.task = asyncio.create_task(rooms.run())

    async def stop(self) -> None:
        """End it in order, as far as it still runs."""
        self.rooms.stop()
        if not self.task.cancelled():
            await self.task
        await self._close()

    async def stall(self) -> None:
        """Its loop is no more, and it still answers requests."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def kill(self) -> None:
        """End it in the middle of whatever it does."""
        await self.stall()
        await self._close()

    async def _close(self) -> None:
        self.town.processes.remove(self)
        if self.bus is not None:
            await self.bus.close()
        if self.ledger is not self.town.ledger:
            await self.ledger.close()
        await self.db.close()

    async def watch(self, user: User | None, **wishes: Any) -> tuple[Screen, Watcher]:
        screen = Screen()
        room_id = wishes.pop("room_id", self.town.room_id)
        return screen, await self.rooms.watch(room_id, screen, user, **wishes)

    async def gift(self, viewer: User, item_id: str = "rose", quantity: int = 1) -> str:
        """Send a gift as the API does; its id."""
        now = self.town.clock.now()
        time = f"{milliseconds(now):012x}"
        sent = await gifting.send_gift(
            self.ledger,
            CATALOG,
            self.rooms,
            viewer=viewer,
            room_id=self.town.room_id,
            item_id=item_id,
            quantity=quantity,
            key=f"{time[:8]}-{time[8:]}-7000-8000-{next(_numbers):012x}",
            environment=TEST,
            price_list_version=1,
            share_bps=5_000,
            adult_age=18,
            channel="web",
            country="US",
            now=now,
        )
        return sent.gift.id

    async def open_room(self, creator: User) -> str:
        number = next(_numbers)
        room = await self.rooms.open(
            creator, "Songs", self.town.clock.now(), lambda size: number.to_bytes(size, "big")
        )
        return room.id

    def viewers(self) -> int:
        return self.rooms.viewer_count(self.town.room_id)


class Town:
    """The installation: records, ledger, people, and the processes that run."""

    def __init__(self, url: str, clock: Clock, ledger: Ledger, *, shares_ledger: bool) -> None:
        self.url = url
        self.clock = clock
        self.ledger = ledger
        self.shares_ledger = shares_ledger
        self.processes: list[Process] = []
        self.bus_url = ""
        self.room_id = ""
        self.ana = person("ana", 1, "viewer")
        self.bo = person("bo", 2, "viewer", "creator")
        self.cy = person("cy", 3, "viewer")

    async def start(self, *, url: str | None = None, bus_url: str | None = None) -> Process:
        """One process more."""
        process_id = f"process-{next(_numbers)}"
        db = await Database.open(url or self.url)
        bus = await open_bus(self.bus_url if bus_url is None else bus_url, process_id)
        ledger = self.ledger
        if not self.shares_ledger:
            ledger = await PostgresLedger.open(self.url, self.clock)
        rooms = LiveRooms(
            db, ledger, CATALOG, self.clock, TEST,
            is_shared=True, process_id=process_id, bus=bus,
        )  # fmt: skip
        await rooms.load()
        process = Process(self, db, ledger, rooms, bus)
        self.processes.append(process)
        return process

    async def start_many(self, number: int) -> list[Process]:
        """So many processes, and bo live in a room that all of them know."""
        started = [await self.start() for _ in range(number)]
        if not self.room_id:
            self.room_id = await started[0].open_room(self.bo)
        for process in started:
            await self.until(lambda process=process: _knows(process, self.room_id))
        return started

    async def settle(self, db: Database) -> None:
        """The people and their coins."""
        await self.ledger.create_accounts(
            (
                *chart.house_accounts(TEST, ("USD",), ("sandbox",)),
                *chart.creator_accounts(TEST, self.bo.id),
            )
        )
        for someone in (self.ana, self.bo, self.cy):
            await users.insert_user(db, someone, password_hash="none")
        for viewer in (self.ana, self.cy):
            await self.add_coins(viewer, 1_000_000)

    async def add_viewers(self, number: int) -> list[User]:
        viewers = [person(f"viewer{n}", 100 + n, "viewer") for n in range(number)]
        for viewer in viewers:
            await users.insert_user(self.processes[0].db, viewer, password_hash="none")
            await self.add_coins(viewer, 1_000_000)
        return viewers

    async def add_coins(self, viewer: User, coins: int) -> None:
        await self.ledger.create_accounts(chart.viewer_accounts(TEST, viewer.id))
        chain = postings.recharge(
            ids.derive("test recharge", next(_numbers)),
            environment=TEST,
            viewer_id=viewer.id,
            order_id="0" * 32,
            provider="sandbox",
            coins=coins,
            price=Price(74, "USD"),
            tax=0,
        )
        [result] = await self.ledger.create_transfers([chain])
        assert result.outcome is Outcome.CREATED

    async def late_gift(self, viewer: User) -> None:
        """A gift of a rose that the ledger has, however the room is: as one that was on its way."""
        chain = postings.gift(
            ids.derive("test gift", next(_numbers)),
            environment=TEST,
            viewer_id=viewer.id,
            creator_id=self.bo.id,
            room_id=self.room_id,
            item_number=1,
            quantity=1,
            price_list_version=1,
            coins=1,
            share_bps=5_000,
        )
        [result] = await self.ledger.create_transfers((chain,))
        assert result.outcome is Outcome.CREATED

    def advance(self, seconds: float) -> None:
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(int(seconds * SECOND))
        for process in self.processes:
            process.rooms._open.awake.set()

    async def entries(self, room_id: str | None = None) -> list[Entry]:
        """The log on the disk, which has no gap."""
        room_id, db = room_id or self.room_id, self.processes[0].db
        found = await room_log.find(db, room_id)
        assert found is not None
        return await logs.read(db, room_id, 0, found[0].seq)

    async def gifts_told(self) -> list[str]:
        """The ids of the gifts in the log, in its order; ends of streaks are no gifts."""
        return [
            entry.order_id
            for entry in await self.entries()
            if isinstance(entry, GiftEntry) and not (entry.is_streakable and entry.repeat_end)
        ]

    async def until(self, is_so: Callable[[], Awaitable[object]]) -> None:
        """Until it is so, asked again whenever the loops had a turn."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await is_so():  # noqa: ASYNC110 - Nothing tells of what is on the disk.
                await asyncio.sleep(0.005)


async def _knows(process: Process, room_id: str) -> bool:
    return room_id in process.rooms._open.rooms


@asynccontextmanager
async def open_town(
    url: str, *, clock: Clock | None = None, has_postgres_ledger: bool = False
) -> AsyncIterator[Town]:
    """
    A town without processes; those that still run at the end are stopped.

    With `has_postgres_ledger` each process has an engine of its own on one ledger, beside the
    records; otherwise all of them ask the same one in memory.
    """
    clock = clock or ManualClock()
    ledger: Ledger = MemoryLedger(clock)
    if has_postgres_ledger:
        await migrate(url)
        ledger = await PostgresLedger.open(url, clock)
    town = Town(url, clock, ledger, shares_ledger=not has_postgres_ledger)
    db = await Database.open(url)
    try:
        await town.settle(db)
        yield town
    finally:
        await db.close()
        for process in list(town.processes):
            await process.stop()
        await ledger.close()


def numbers(screen: Screen) -> list[int]:
    """The numbers of the events that a screen was sent."""
    return [event["seq"] for event in screen.events]


async def happens(event: asyncio.Event) -> None:
    """Until it has happened."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await event.wait()


async def see(screens: Sequence[Screen], name: str, number: int = 1) -> None:
    """Until each of them has been sent so many events of this name."""
    for screen in screens:
        await screen.until(lambda screen: len(screen.named(name)) >= number)
