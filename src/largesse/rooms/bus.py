"""
The bus: how processes wake one another, so that nobody waits for the next look into a database.

Nothing depends on it. What it says may be lost, may come twice, and is found by looking anyway; with
a bus it is found within milliseconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

import structlog

from largesse.errors import Rejected

COALESCE_SECONDS = 0.02
"""What is said within this time goes out together, and what is the same once."""
WAITING_MAX = 10_000
"""Words that wait while the bus is away; the oldest are lost."""
RECONNECT_SECONDS_MIN = 0.1
RECONNECT_SECONDS_MAX = 5.0
"""The pause before a lost bus is called again doubles from the one to the other."""
CONNECT_SECONDS_MAX = 5.0

Item = TypeVar("Item", bound=Hashable)

log = structlog.get_logger()


class Topic(StrEnum):
    """What a process may wake the others for."""

    LOG = "log"
    """The rooms' logs have more."""
    LEDGER = "ledger"
    """The ledger has more."""
    ROOMS = "rooms"
    """A room was opened or ended."""
    USER = "user"
    """Something about a user has changed, whose id it says."""
    KEY = "key"
    """A display key was taken back, whose id it says."""


Heard = Callable[[str], None]
"""Called in the event loop with what was said; with "" where something may have been missed."""
HeardSegment = Callable[[str, bytes], None]
"""Called with a room's id and a segment of its log."""


class Bus(Protocol):
    """What every engine offers. Nothing here waits but `close`."""

    def wake(self, topic: Topic, said: str = "") -> None:
        """Wake the other processes; soon, and together with what else is said."""
        ...

    def listen(self, topic: Topic, heard: Heard) -> None:
        """From now on this is called with what the others say."""
        ...

    def carry(self, room_id: str, segment: bytes) -> None:
        """Hand a segment of a room's log to whoever follows the room; or do nothing."""
        ...

    def follow(self, room_id: str, heard: HeardSegment | None) -> None:
        """From now on this is called with a room's segments; None: no longer."""
        ...

    async def close(self) -> None:
        """Say what waits, where that is possible, and go."""
        ...


async def open_bus(url: str, process_id: str) -> Bus | None:
    """
    The bus that a URL names by its scheme; "" is none.

    `process_id` is another one for every start of a process, without blanks.

    Raises:
        Rejected: engine_unknown, engine_not_installed, bus_unreachable.
    """
    assert process_id
    assert " " not in process_id
    scheme = url.partition("://")[0]
    if not url:
        return None
    if scheme in ("postgresql", "postgres"):
        from largesse.rooms.bus_postgres import PostgresBus

        return await PostgresBus.open(url, process_id)
    if scheme in ("nats", "tls"):
        try:
            from largesse.rooms.bus_nats import NatsBus
        except ModuleNotFoundError:
            raise Rejected("engine_not_installed", engine="nats", extra="nats") from None
        return await NatsBus.open(url)
    raise Rejected(
        "engine_unknown", setting="LARGESSE_BUS_URL", found=scheme, known="postgresql, nats"
    )


class Outbox(Generic[Item]):
    """
    What waits to be said: each item once, in order. The first goes out at once, what is added soon
    after goes out together after `COALESCE_SECONDS`.

    What could not be sent goes with the next items, or when it is asked for by `again`.
    """

    def __init__(self, send: Callable[[Sequence[Item]], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: dict[Item, None] = {}
        self._some = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def add(self, item: Item) -> None:
        """Say this soon."""
        if len(self._waiting) >= WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[item] = None
        self._some.set()

    def again(self) -> None:
        """Try what is left from before."""
        self._some.set()

    async def cancel(self) -> None:
        """Say nothing more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        """Say what waits, where that is possible, and nothing more."""
        await self.cancel()
        await self._send_waiting()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            await self._send_waiting()
            await asyncio.sleep(COALESCE_SECONDS)

    async def _send_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        try:
            if waiting:
                await self._send(list(waiting))
        except Exception as error:
            # The bus says for itself that it is away; whoever is to hear it looks by himself.
            log.debug("bus_not_heard", problem=repr(error))
            self._waiting = waiting | self._waiting
