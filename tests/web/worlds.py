"""
A small installation that answers over real HTTP: viewers ana and cleo, creator bo with a live room,
operator olga. Nobody has coins until `give_coins`.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn

from largesse import ids
from largesse.app import App, close_app, open_app
from largesse.books import chart, postings
from largesse.books.chart import Environment
from largesse.clock import Clock, ManualClock, milliseconds
from largesse.ledger.model import Outcome
from largesse.money import Price
from largesse.records import users
from largesse.settings import Settings, address
from largesse.web import app as web

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

    async def person(self, login: str, *roles: str, birth_date: str = "1990-05-17") -> Person:
        """Somebody new, with further roles, logged in."""
        user_id = await self.sign_up(login, birth_date=birth_date)
        for role in roles:
            await users.add_user_role(self.app.db, user_id, role)
        return await self.log_in(login)

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

    async def last_transfer(self) -> int:
        """When anything last moved: equal before and after means that nothing did."""
        after = 0
        while changes := await self.app.ledger.changes(after):
            chains = [change.timestamp for change in changes if change.chain]
            after = changes[-1].timestamp
            self._moved = chains[-1] if chains else getattr(self, "_moved", 0)
        return getattr(self, "_moved", 0)


@asynccontextmanager
async def open_world(
    folder: Path, *, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[World]:
    """An installation in an empty data folder, served on a free port."""
    clock = clock or ManualClock()
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
        await closing.enter_async_context(_serving(app, listener))
        client = await closing.enter_async_context(
            httpx.AsyncClient(base_url=address("127.0.0.1", port), timeout=20, trust_env=False)
        )
        yield World(app, clock, client)


@asynccontextmanager
async def _serving(app: App, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        web.create(app), http="httptools", ws="none", log_config=None, proxy_headers=False
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
