"""
A whole installation that answers over real HTTP, with a clock of its own and people in it.

Its sandbox and its worker do not run by themselves. Nobody has coins until `give_coins`.
"""

import asyncio
import secrets
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn

from largesse import ids, recharge
from largesse.app import App, close_app, open_app
from largesse.books import chart, postings
from largesse.books.chart import Environment
from largesse.clock import HOUR, Clock, ManualClock, milliseconds
from largesse.identity.accounts import token_hash
from largesse.ledger.model import Outcome
from largesse.money import Price
from largesse.records import sessions, users
from largesse.settings import Settings, address
from largesse.web import app as web
from largesse.web.accounts import ensure_wallet

PASSWORD = "a rather long one"


class Person(msgspec.Struct):
    """Somebody with a session."""

    id: str
    login: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


class World:
    """The running installation, its clock, and the people in it."""

    def __init__(self, app: App, clock: Clock, client: httpx.AsyncClient) -> None:
        self.app = app
        self.clock = clock
        self.client = client
        self.ana: Person
        self.bob: Person
        self.olga: Person
        self.room_id: str
        self._keys = 0

    async def sign_up(self, login: str, *, birth_date: str = "1990-05-17") -> str:
        """A new account's id."""
        answer = await self.client.post(
            "/v1/users",
            json={
                "login": login,
                "email": f"{login}@example.org",
                "password": PASSWORD,
                "birth_date": birth_date,
                "country": "US",
            },
        )
        assert answer.status_code == 201, answer.text
        user_id: str = answer.json()["id"]
        return user_id

    async def log_in(self, login: str) -> Person:
        answer = await self.client.post("/v1/sessions", json={"login": login, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        session = answer.json()
        return Person(session["user"]["id"], login, session["token"])

    async def person(
        self,
        login: str,
        *more_roles: str,
        roles: tuple[str, ...] = ("viewer",),
        birth_on: str = "1990-05-17",
    ) -> Person:
        """Somebody with these roles, logged in without the cost of a password."""
        now = self.clock.now()
        user = users.User(
            id=ids.text(ids.ordered(milliseconds(now), secrets.token_bytes(9))),
            login=login,
            email=f"{login}@example.org",
            birth_on=birth_on,
            country="US",
            roles=(*roles, *more_roles),
            created_at=now,
        )
        await users.insert_user(self.app.db, user, password_hash="none")
        await ensure_wallet(self.app, user)
        return Person(user.id, login, await self.session(user.id, hours=720))

    async def session(self, user_id: str, *, hours: int) -> str:
        """The token of a session of somebody whom `person` made."""
        token = secrets.token_urlsafe(32)
        now = self.clock.now()
        opened = await sessions.insert_session(
            self.app.db,
            token_hash(token),
            user_id=user_id,
            password_hash="none",
            created_at=now,
            expires_at=now + hours * HOUR,
        )
        assert opened
        return token

    async def open_room(self, creator: Person, title: str = "Sunday songs") -> str:
        answer = await self.client.post("/v1/rooms", json={"title": title}, headers=creator.headers)
        assert answer.status_code == 201, answer.text
        room_id: str = answer.json()["id"]
        return room_id

    async def give_coins(self, viewer: Person, coins: int) -> None:
        """Coins as a recharge posts them, without the order and the provider before it."""
        [result] = await self.app.ledger.create_transfers(
            [
                postings.recharge(
                    ids.derive("test recharge", secrets.token_hex(8)),
                    environment=self.app.environment,
                    viewer_id=viewer.id,
                    order_id=secrets.token_hex(16),
                    provider="sandbox",
                    coins=coins,
                    price=Price(74, "USD"),
                    tax=0,
                )
            ]
        )
        assert result.outcome is Outcome.CREATED

    async def recharge(self, viewer: Person, package_id: str = "coins-700") -> dict[str, Any]:
        """Order a package, pay at the sandbox, and let the webhook and the worker do their part."""
        answer = await self.client.post(
            "/v1/orders",
            json={"package_id": package_id, "provider": "sandbox"},
            headers=viewer.headers | {"idempotency-key": self.key()},
        )
        assert answer.status_code == 201, answer.text
        order: dict[str, Any] = answer.json()
        paid = await self.client.post(f"{order['checkout_url']}/confirm")
        assert paid.status_code == 200, paid.text
        await self.deliver()
        return order

    async def deliver(self) -> None:
        """The sandbox sends its webhooks, and the worker handles what they left in the inbox."""
        app = self.app
        assert app.sandbox is not None
        await app.sandbox.deliver_due()
        await recharge.handle_inbox(
            app.db, app.ledger, app.providers, now=self.clock.now(), limit=100
        )

    def key(self) -> str:
        """A new idempotency key: a UUIDv7 of now, by the clock of the world."""
        self._keys += 1
        time = f"{milliseconds(self.clock.now()):012x}"
        return f"{time[:8]}-{time[8:]}-7000-8000-{self._keys:012x}"

    async def gift(
        self,
        viewer: Person,
        room_id: str,
        item_id: str = "rose",
        quantity: Any = 1,
        *,
        key: str | None = None,
    ) -> httpx.Response:
        return await self.client.post(
            f"/v1/rooms/{room_id}/gifts",
            json={"item_id": item_id, "quantity": quantity},
            headers=viewer.headers | {"idempotency-key": key or self.key()},
        )

    async def balance(self, viewer: Person) -> int:
        wallet = chart.wallet(self.app.environment, viewer.id)
        [account] = await self.app.ledger.lookup_accounts([wallet])
        return 0 if account is None else account.credits_posted - account.debits_posted

    async def moved(self) -> int:
        """How many chains the ledger holds: equal before and after means that nothing moved."""
        chains = after = 0
        while changes := await self.app.ledger.changes(after):
            chains += sum(1 for change in changes if change.chain)
            after = changes[-1].timestamp
        return chains


def prepare(folder: Path) -> Path:
    """
    An empty installation for `open_world` to copy, because to make its tables takes half a second.

    Call it where no event loop runs.
    """

    async def make() -> None:
        await close_app(await open_app(Settings(data=str(folder)), create=Environment.TEST))

    asyncio.run(make())
    return folder


@asynccontextmanager
async def open_world(
    folder: Path, *, prepared: Path | None = None, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[World]:
    """An installation in an empty data folder, served on a free port."""
    clock = clock or ManualClock()
    if prepared is not None:
        shutil.copytree(prepared, folder / "data")
    async with AsyncExitStack() as closing:
        listener = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        app = await open_app(
            Settings(
                data=str(folder / "data"),
                port=port,
                public_url=address("127.0.0.1", port),
                **settings,
            ),
            create=Environment.TEST,
            clock=clock,
        )
        closing.push_async_callback(close_app, app)
        rooms = asyncio.create_task(app.rooms.run(), name="rooms")
        closing.push_async_callback(_finished, rooms)
        closing.callback(app.rooms.stop)
        await closing.enter_async_context(_serving(app, listener))
        client = await closing.enter_async_context(
            httpx.AsyncClient(base_url=address("127.0.0.1", port), timeout=20, trust_env=False)
        )
        yield World(app, clock, client)


async def _finished(task: asyncio.Task[None]) -> None:
    await task


@asynccontextmanager
async def _serving(app: App, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        web.create(app),
        http="httptools",
        ws=web.server_protocol(app),
        log_config=None,
        proxy_headers=False,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    loop = asyncio.create_task(server.main_loop())
    try:
        yield
    finally:
        server.should_exit = True
        await loop
        await server.shutdown(sockets=[listener])
