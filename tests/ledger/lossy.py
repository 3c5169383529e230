"""A wire to a PostgreSQL that can be cut at a chosen moment, and ledgers that take turns."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from largesse.ledger.model import Account, AccountOutcome, Chain, Result
from largesse.ledger.postgres import PostgresLedger
from tests.postgres import Server


class Wire:
    """Listens on a port of its own and passes everything on, until it is told to lose something."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._marker = b""
        self._delivers = True
        self._open = asyncio.Event()
        self._open.set()
        self.was_cut = asyncio.Event()
        self.port = 0

    def url(self, database: str) -> str:
        """The database's address at this end of the wire."""
        there = self._server.url(database)
        return there.replace(f":{self._server.port}/", f":{self.port}/")

    def cut_at(self, marker: bytes, *, delivers: bool = True) -> None:
        """
        Lose the connection that sends these bytes next.

        What was sent still arrives, and only its answer is lost, if it `delivers`.
        """
        self._marker, self._delivers = marker, delivers
        self.was_cut.clear()

    def close(self) -> None:
        """Let nobody in any more, until it is opened."""
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        await self._open.wait()
        far = await asyncio.open_connection("127.0.0.1", self._server.port)
        lost = asyncio.Event()
        back = asyncio.create_task(self._back(far[0], writer, lost))
        sent = b""
        while data := await reader.read(65_536):
            # A marker may come in two pieces.
            sent = (sent + data)[-131_072:]
            if self._marker and self._marker in sent:
                self._marker = b""
                lost.set()
                if self._delivers:
                    far[1].write(data)
                    await far[1].drain()
                    await back
                break
            far[1].write(data)
            await far[1].drain()
        back.cancel()
        with suppress(asyncio.CancelledError):
            await back
        far[1].transport.abort()
        writer.transport.abort()
        if lost.is_set():
            self.was_cut.set()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if lost.is_set():
                    return
                writer.write(data)
                await writer.drain()
            writer.close()


@asynccontextmanager
async def wire_to(server: Server) -> AsyncIterator[Wire]:
    wire = Wire(server)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(wire.pass_on(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    wire.port = listening.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Turns:
    """Two ledgers on one database, as if two processes were asked in turn."""

    def __init__(self, first: PostgresLedger, second: PostgresLedger) -> None:
        self._ledgers = [first, second]

    def _next(self) -> PostgresLedger:
        self._ledgers.reverse()
        return self._ledgers[0]

    async def create_accounts(self, accounts: Sequence[Account]) -> list[AccountOutcome]:
        return await self._next().create_accounts(accounts)

    async def create_transfers(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes] = ()
    ) -> list[Result]:
        return await self._next().create_transfers(chains, balances_of)

    def __getattr__(self, name: str) -> Any:
        """Everything else is a question, and both must know the answer."""
        return getattr(self._next(), name)

    async def close(self) -> None:
        for ledger in self._ledgers:
            await ledger.close()
