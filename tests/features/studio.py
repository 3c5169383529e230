"""
Creator bo is live, viewer ana has ten coins, a rose costs three. After one rose the balances of
wallet, coins redeemed and bo's diamonds are `[7, 3, "1.5000"]`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from largesse import catalog as catalogs
from largesse import gifting, ids, money
from largesse.books import chart, postings
from largesse.books.chart import Environment
from largesse.clock import ManualClock, milliseconds
from largesse.ledger import Ledger
from largesse.ledger.memory import MemoryLedger
from largesse.ledger.model import Outcome
from largesse.ledger.sqlite import SqliteLedger
from largesse.money import Price
from largesse.records import database
from largesse.records.database import Database
from largesse.records.users import User
from largesse.rooms.live import LiveRooms
from tests import databases

TEST = Environment.TEST
PACKAGES = b"""
format = 1
[[lists]]
channel = "web"
country = "*"
currency = "USD"
tax_rate_bps = 0
packages = [
    { id = "coins-70", coins = 70, amount = 74 },
    { id = "coins-350", coins = 350, amount = 374 },
]
"""
GIFT_ITEMS = """
format = 1
items = [
    {{ number = 1, id = "rose", name = "Rose", coins = {rose}, art = "rose.svg", enabled = {on} }},
    {{ number = 2, id = "crown", name = "Crown", coins = 5, art = "crown.svg", exclusive = true }},
    {{ number = 3, id = "tulip", name = "Tulip", coins = 1, art = "tulip.svg" }},
]
"""


def catalog(*, rose: int = 3, enabled: bool = True, has_rose: bool = True) -> catalogs.Catalog:
    text = GIFT_ITEMS.format(rose=rose, on=str(enabled).lower())
    if not has_rose:
        text = "\n".join(line for line in text.splitlines() if '"rose"' not in line)
    return catalogs.load(PACKAGES, text.encode())


class Studio:
    """What `send_gift` needs, and the people. Any of it may be changed between two gifts."""

    def __init__(self, ledger: Ledger, db: Database, clock: ManualClock) -> None:
        self.ledger = ledger
        self.db = db
        self.clock = clock
        self.catalog = catalog()
        self.rooms = self.new_rooms()
        self.share_bps = 5_000
        self.price_list_version = 1
        self.ana = person("ana", 1, "viewer")
        self.bo = person("bo", 2, "viewer", "creator")
        self.room_id = ""
        self._entropy = 0

    def new_rooms(self) -> LiveRooms:
        """The rooms as a new process would have them; `load` them first."""
        return LiveRooms(self.db, self.ledger, self.catalog, self.clock, TEST)

    def entropy(self, size: int) -> bytes:
        self._entropy += 1
        return self._entropy.to_bytes(size, "big")

    async def open_room(self) -> str:
        room = await self.rooms.open(self.bo, "Sunday songs", self.clock.now(), self.entropy)
        return room.id

    async def give_coins(self, viewer: User, coins: int, *, order_id: str = "0" * 32) -> None:
        chain = postings.recharge(
            ids.derive("test recharge", self._entropy, viewer.id, coins),
            environment=TEST,
            viewer_id=viewer.id,
            order_id=order_id,
            provider="sandbox",
            coins=coins,
            price=Price(74, "USD"),
            tax=0,
        )
        [result] = await self.ledger.create_transfers([chain])
        assert result.outcome is Outcome.CREATED

    def key(self, number: int = 1) -> str:
        """A UUIDv7 of now."""
        time = f"{milliseconds(self.clock.now()):012x}"
        return f"{time[:8]}-{time[8:]}-7000-8000-{number:012x}"

    async def send(
        self,
        item_id: str = "rose",
        quantity: int = 1,
        *,
        key: str | None = "a key",
        viewer: User | None = None,
        room_id: str | None = None,
    ) -> gifting.SentGift:
        viewer = viewer or self.ana
        return await gifting.send_gift(
            self.ledger,
            self.catalog,
            self.rooms,
            viewer=viewer,
            room_id=self.room_id if room_id is None else room_id,
            item_id=item_id,
            quantity=quantity,
            key=key,
            environment=TEST,
            price_list_version=self.price_list_version,
            share_bps=self.share_bps,
            adult_age=18,
            channel="web",
            country="US",
            now=self.clock.now(),
        )

    async def balances(self) -> list[object]:
        wallet, redeemed, earnings = await self.ledger.lookup_accounts(
            (
                chart.wallet(TEST, self.ana.id),
                chart.redeemed(TEST),
                chart.earnings_held(TEST, self.bo.id),
            )
        )
        assert wallet
        assert redeemed
        assert earnings
        return [
            wallet.credits_posted - wallet.debits_posted,
            redeemed.credits_posted,
            money.diamonds(earnings.credits_posted),
        ]


def person(login: str, number: int, *roles: str, birth_on: str = "1990-05-17") -> User:
    id = number.to_bytes(16, "big").hex()
    return User(id, login, f"{login}@example.org", birth_on, "US", roles, 1)


@asynccontextmanager
async def open_studio(engine: str, folder: Path, records_url: str = "") -> AsyncIterator[Studio]:
    """`engine` of the ledger is memory or sqlite; the records are a file's unless a URL is given."""
    clock = ManualClock()
    if not records_url:
        file = folder / "records.sqlite"
        file.write_bytes(databases.empty_file())
        records_url = database.sqlite_url(file)
    db = await Database.open(records_url)
    ledger: Ledger
    if engine == "memory":
        ledger = MemoryLedger(clock)
    else:
        ledger = await SqliteLedger.open(folder / "ledger.sqlite", clock)
    studio = Studio(ledger, db, clock)
    try:
        await ledger.create_accounts(
            (
                *chart.house_accounts(TEST, ("USD",), ("sandbox",)),
                *chart.viewer_accounts(TEST, studio.ana.id),
                *chart.creator_accounts(TEST, studio.bo.id),
            )
        )
        studio.room_id = await studio.open_room()
        await studio.give_coins(studio.ana, 10)
        yield studio
    finally:
        await ledger.close()
        await db.close()
