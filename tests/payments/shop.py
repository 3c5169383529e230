"""
A small world: a shop with real records in a file or a PostgreSQL, a ledger in memory, and the sandbox behind real HTTP.

Ana is of age and buys coins. A shop has what the worker asks of an `App`. The shop's clock moves only when a test says so. Nothing runs by
itself: a test delivers the sandbox's webhooks and handles the inbox, or starts a worker.
"""

import asyncio
import contextlib
import os
import socket
from importlib import resources
from pathlib import Path

import uvicorn
from litestar.types import Receive, Scope, Send

from largesse import catalog as catalogs
from largesse import recharge
from largesse.app import Health
from largesse.books import chart
from largesse.books.chart import Environment
from largesse.clock import ManualClock
from largesse.errors import Rejected
from largesse.ledger.memory import MemoryLedger
from largesse.payments import PaymentStatus
from largesse.payments import inbox as payments_inbox
from largesse.payments.sandbox import SandboxProvider
from largesse.payments.sandbox_service import SandboxService, Scenario
from largesse.records import orders
from largesse.records.database import Database
from largesse.records.users import User
from largesse.rooms.live import LiveRooms
from largesse.settings import Settings
from largesse.web.sandbox import sandbox_app

TEST = Environment.TEST
SECRET = b"a secret that only a test may know"
_FILES = resources.files("largesse") / "data" / "catalog"
PACKAGES, GIFT_ITEMS = (
    (_FILES / name).read_bytes() for name in ("packages.toml", "gift-items.toml")
)
ANA = User(
    id="a1" * 16,
    login="ana",
    email="ana@example.org",
    birth_on="1990-05-17",
    country="US",
    roles=("viewer",),
    created_at=0,
)


class Shop:
    """See the top of the file; `open_shop` makes one."""

    def __init__(self, folder: Path, records_url: str, clock: ManualClock, port: int) -> None:
        self.folder = folder
        self.records_url = records_url
        self.clock = clock
        self.catalog = catalogs.load(PACKAGES, GIFT_ITEMS)
        self.price_list_version = 1
        self.ledger = MemoryLedger(clock)
        self.worker_wake = asyncio.Event()
        self.health = Health()
        self.environment = TEST
        self.settings = Settings()
        self.is_shared = False
        self.answers: asyncio.Queue[int] = asyncio.Queue()
        self.address = f"http://127.0.0.1:{port}"
        self.provider = SandboxProvider(base_url=f"{self.address}/sandbox", secret=SECRET)
        self.providers = {"sandbox": self.provider}
        self.db: Database
        self.rooms: LiveRooms
        self.sandbox: SandboxService

    async def open(self) -> None:
        self.db = await Database.open(self.records_url)
        self.rooms = LiveRooms(self.db, self.ledger, self.catalog, self.clock, TEST)
        self.sandbox = await SandboxService.open(
            self.folder / "sandbox.sqlite",
            self.clock,
            os.urandom,
            secret=SECRET,
            public_url=f"{self.address}/sandbox",
            webhook_url=f"{self.address}/v1/webhooks/sandbox",
        )
        self.sandbox_pages = sandbox_app(self.sandbox)

    async def close(self) -> None:
        await self.sandbox.close()
        await self.db.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The web server: our webhook route, and the sandbox's application beside it."""
        if scope["path"] != "/v1/webhooks/sandbox":
            await self.sandbox_pages(scope, receive, send)
            return
        raw, more = b"", True
        while more:
            message = await receive()
            raw, more = raw + message["body"], message["more_body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status = await self.webhook(headers, raw)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def webhook(self, headers: dict[str, str], raw: bytes) -> int:
        try:
            await payments_inbox.receive(
                self.db, self.provider, headers=headers, raw=raw, now=self.clock.now()
            )
        except Rejected:
            self.answers.put_nowait(400)
            return 400
        self.worker_wake.set()
        self.answers.put_nowait(204)
        return 204

    async def order(self, **asked: object) -> orders.Order:
        """Ana orders 700 coins on the web, unless the test asks for something else."""
        request = {
            "viewer": ANA,
            "package_id": "coins-700",
            "provider": "sandbox",
            "channel": "web",
            "country": "US",
            "key": "ana's first order",
            "environment": TEST,
            "price_list_version": self.price_list_version,
            "now": self.clock.now(),
            "adult_age": 18,
        } | asked
        return await recharge.start_order(
            self.db, self.ledger, self.catalog, self.providers, **request
        )

    async def pay(self, order: orders.Order, **scenario: object) -> None:
        await self.sandbox.decide(order.payment_id, PaymentStatus.PAID, Scenario(**scenario))

    async def decline(self, order: orders.Order, **scenario: object) -> None:
        await self.sandbox.decide(order.payment_id, PaymentStatus.FAILED, Scenario(**scenario))

    async def work(self) -> int:
        """What the worker does with the inbox, once."""
        return await recharge.handle_inbox(
            self.db, self.ledger, self.providers, now=self.clock.now(), limit=100
        )

    async def settle(self, order: orders.Order) -> orders.Order | None:
        return await recharge.settle(
            self.db,
            self.ledger,
            self.provider,
            payment_id=order.payment_id,
            now=self.clock.now(),
        )

    async def status(self, order: orders.Order) -> str:
        found = await orders.find(self.db, order.id)
        assert found is not None
        return found.status

    async def coins(self, viewer: User = ANA) -> int:
        [wallet] = await self.ledger.lookup_accounts([chart.wallet(TEST, viewer.id)])
        return 0 if wallet is None else wallet.credits_posted - wallet.debits_posted


@contextlib.asynccontextmanager
async def open_shop(folder: Path, records_url: str):
    """A shop on migrated records, with a web server on a free port of the loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    shop = Shop(folder, records_url, ManualClock(), listener.getsockname()[1])
    await shop.open()
    config = uvicorn.Config(shop, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    # Connections wait in the socket's queue, so there is nothing to wait for here.
    listener.listen()
    try:
        yield shop
    finally:
        server.should_exit = True
        await serving
        await shop.provider.close()
        await shop.close()
        listener.close()
