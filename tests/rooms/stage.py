"""
Real rooms on real files: bo is live, ana and cy have coins, and the loop runs.

Only the far end of a socket is ours: a `Screen` keeps what it was sent and takes it or does not. The
clock stands still until it is told to move; the loop itself runs in real time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from largesse import catalog as catalogs
from largesse import gifting, ids
from largesse.books import chart, postings
from largesse.books.chart import Environment
from largesse.clock import SECOND, ManualClock, milliseconds
from largesse.ledger.model import Outcome
from largesse.ledger.sqlite import SqliteLedger
from largesse.money import Price
from largesse.records import database, room_log, users
from largesse.records.database import Database
from largesse.records.users import User
from largesse.rooms import log as logs
from largesse.rooms.hub import Watcher
from largesse.rooms.live import LiveRooms
from largesse.rooms.room import Entry, GiftEntry
from tests import databases
from tests.features.studio import PACKAGES, person

TEST = Environment.TEST
PATIENCE_SECONDS = 20
GIFT_ITEMS = b"""
format = 1
items = [
    { number = 1, id = "rose", name = "Rose", coins = 1, art = "rose.svg", streakable = true },
    { number = 2, id = "kite", name = "Kite", coins = 5, art = "kite.svg" },
    { number = 3, id = "tulip", name = "Tulip", coins = 2, art = "tulip.svg", streakable = true },
]
"""
CATALOG = catalogs.load(PACKAGES, GIFT_ITEMS)


class Screen:
    """The far end of a socket. `bytes_waiting` is what it does not take."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.bytes_waiting = 0
        self._heard = asyncio.Event()

    def send(self, frame: bytes) -> None:
        assert self.closed is None
        self.sent.append(frame)
        self._heard.set()

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)
        self._heard.set()

    def waiting(self) -> int:
        return self.bytes_waiting

    @property
    def frames(self) -> list[Any]:
        """Everything that was sent; an array of events is its events."""
        decoded = [msgspec.json.decode(frame) for frame in self.sent]
        return [part for each in decoded for part in (each if isinstance(each, list) else [each])]

    @property
    def events(self) -> list[Any]:
        return [frame for frame in self.frames if "event" in frame]

    def named(self, *names: str) -> list[Any]:
        """The events or answers with these names."""
        return [frame for frame in self.frames if (frame.get("event") or frame.get("op")) in names]

    async def until(self, is_so: Callable[["Screen"], object]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so(self):
                self._heard.clear()
                await self._heard.wait()


class Stage:
    """The installation, its people, and the rooms; `restart` is a new process on the same files."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.folder = folder
        self.clock = clock
        self.db: Database
        self.ledger: SqliteLedger
        self.rooms: LiveRooms
        self.task: asyncio.Task[None] | None = None
        self.room_id = ""
        self.ana = person("ana", 1, "viewer")
        self.bo = person("bo", 2, "viewer", "creator")
        self.cy = person("cy", 3, "viewer")
        self._number = 0

    async def open(self, *, runs: bool = True) -> None:
        self.db = await Database.open(database.sqlite_url(self.folder / "records.sqlite"))
        self.ledger = await SqliteLedger.open(self.folder / "ledger.sqlite", self.clock)
        self.rooms = LiveRooms(self.db, self.ledger, CATALOG, self.clock, TEST)
        await self.rooms.load()
        if runs:
            self.run()

    def run(self) -> None:
        self.task = asyncio.create_task(self.rooms.run())

    async def close(self, *, is_killed: bool = False) -> None:
        """End the process, in order or (as far as one process can play it) in the middle."""
        if self.task is not None:
            if is_killed:
                self.task.cancel()
            self.rooms.stop()
            await asyncio.gather(self.task, return_exceptions=is_killed)
            self.task = None
        await self.ledger.close()
        await self.db.close()

    async def restart(self, *, is_killed: bool = False, runs: bool = True) -> None:
        await self.close(is_killed=is_killed)
        await self.open(runs=runs)

    async def settle(self) -> None:
        """The people and their coins, and bo's room."""
        await self.ledger.create_accounts(
            (
                *chart.house_accounts(TEST, ("USD",), ("sandbox",)),
                *chart.creator_accounts(TEST, self.bo.id),
            )
        )
        for someone in (self.ana, self.bo, self.cy):
            await users.insert_user(self.db, someone, password_hash="none")
        for viewer in (self.ana, self.cy):
            await self.add_coins(viewer, 1_000_000)
        self.room_id = await self.open_room(self.bo)

    async def add_viewers(self, number: int) -> list[User]:
        viewers = [person(f"viewer{n}", 100 + n, "viewer") for n in range(number)]
        for viewer in viewers:
            await users.insert_user(self.db, viewer, password_hash="none")
            await self.add_coins(viewer, 1_000_000)
        return viewers

    async def add_coins(self, viewer: User, coins: int) -> None:
        await self.ledger.create_accounts(chart.viewer_accounts(TEST, viewer.id))
        self._number += 1
        [result] = await self.ledger.create_transfers(
            [
                postings.recharge(
                    ids.derive("test recharge", self._number),
                    environment=TEST,
                    viewer_id=viewer.id,
                    order_id="0" * 32,
                    provider="sandbox",
                    coins=coins,
                    price=Price(74, "USD"),
                    tax=0,
                )
            ]
        )
        assert result.outcome is Outcome.CREATED

    async def open_room(self, creator: User) -> str:
        self._number += 1
        number = self._number
        room = await self.rooms.open(
            creator, "Songs", self.clock.now(), lambda size: number.to_bytes(size, "big")
        )
        return room.id

    async def end(self) -> None:
        await self.rooms.end(self.room_id, self.bo.id, self.clock.now())

    async def watch(self, user: User | None, **wishes: Any) -> tuple[Screen, Watcher]:
        screen = Screen()
        watcher = await self.rooms.watch(
            wishes.pop("room_id", self.room_id), screen, user, **wishes
        )
        return screen, watcher

    async def gift(self, viewer: User, item_id: str = "rose", quantity: int = 1) -> str:
        """Send a gift as the API does; its id."""
        self._number += 1
        time = f"{milliseconds(self.clock.now()):012x}"
        sent = await gifting.send_gift(
            self.ledger,
            CATALOG,
            self.rooms,
            viewer=viewer,
            room_id=self.room_id,
            item_id=item_id,
            quantity=quantity,
            key=f"{time[:8]}-{time[8:]}-7000-8000-{self._number:012x}",
            environment=TEST,
            price_list_version=1,
            share_bps=5_000,
            adult_age=18,
            channel="web",
            country="US",
            now=self.clock.now(),
        )
        return sent.gift.id

    async def pay(self, viewer: User, room_id: str, number: int) -> str:
        """A gift of a rose that the ledger has, however the room is: as one that was on its way."""
        gift_id = ids.derive("test gift", number)
        chain = postings.gift(
            gift_id,
            environment=TEST,
            viewer_id=viewer.id,
            creator_id=self.bo.id,
            room_id=room_id,
            item_number=1,
            quantity=1,
            price_list_version=1,
            coins=1,
            share_bps=5_000,
        )
        [result] = await self.ledger.create_transfers((chain,))
        assert result.outcome is Outcome.CREATED
        return ids.text(gift_id)

    def advance(self, seconds: float) -> None:
        self.clock.advance(int(seconds * SECOND))
        self.rooms.wake()

    async def entries(self, room_id: str | None = None) -> list[Entry]:
        """The log on the disk, which has no gap."""
        room_id = room_id or self.room_id
        found = await room_log.find(self.db, room_id)
        assert found is not None
        return await logs.read(self.db, room_id, 0, found[0].seq)

    async def gifts_told(self, room_id: str | None = None) -> list[str]:
        """The ids of the gifts in the log, in its order; ends of streaks are no gifts."""
        return [
            entry.order_id
            for entry in await self.entries(room_id)
            if isinstance(entry, GiftEntry) and not (entry.is_streakable and entry.repeat_end)
        ]

    async def until(self, is_so: Callable[[], Any]) -> None:
        """Until it is so, asked again whenever the loop had a turn."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await is_so():  # noqa: ASYNC110 - Nothing tells of what is on the disk.
                await asyncio.sleep(0.005)


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    (folder / "records.sqlite").write_bytes(databases.empty_file())
    stage = Stage(folder, ManualClock())
    await stage.open()
    try:
        await stage.settle()
        yield stage
    finally:
        await stage.close()
