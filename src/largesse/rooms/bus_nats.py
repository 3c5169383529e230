"""
The bus over NATS, for many hosts. It also carries the segments of rooms to whoever has watchers there.

A URL is `nats://host:4222`, several hosts separated by commas; a path at the end is the beginning
of every subject, for installations that share a server. The client comes with the extra `nats`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error

from largesse.errors import Rejected
from largesse.rooms.bus import (
    CONNECT_SECONDS_MAX,
    RECONNECT_SECONDS_MIN,
    Heard,
    HeardSegment,
    Outbox,
    Topic,
)

SUBJECT = "largesse"
"""How every subject begins where the URL says nothing else."""

log = structlog.get_logger()


class NatsBus:
    """One process's end of the bus."""

    def __init__(self, url: str) -> None:
        self._servers, self._prefix = _parts(url)
        self._client = Client()
        self._is_open = False
        self._heard: dict[Topic, Heard] = {}
        self._wanted: dict[str, HeardSegment] = {}
        self._followed: dict[str, Subscription] = {}
        self._segments: Outbox[tuple[str, bytes]] = Outbox(self._send)
        self._outboxes: dict[Topic, Outbox[tuple[str, bytes]]] = {
            topic: Outbox(self._send) for topic in Topic
        }
        self._interests: Outbox[str] = Outbox(self._follow)

    @classmethod
    async def open(cls, url: str) -> "NatsBus":
        """
        Connect.

        Raises:
            Rejected: bus_unreachable.
        """
        bus = cls(url)
        try:
            # Once without coming back, or a server that is not there would be called for ever.
            await bus._connect(Client(), comes_back=False)
            await bus._connect(bus._client, comes_back=True)
            bus._is_open = True
        except (OSError, ValueError, Error) as error:
            await bus.close()
            places = ",".join(_place(server) for server in bus._servers)
            # A malformed address's own words may show the password.
            problem = str(error) if isinstance(error, Error) else type(error).__name__
            raise Rejected("bus_unreachable", address=places, problem=problem) from None
        for topic in Topic:
            await bus._client.subscribe(f"{bus._prefix}.{topic}", cb=bus._hearing(topic))
        # From here on nothing is said that we do not hear. Twice, because the client's first question
        # may overtake what it has not written yet; the second one comes after it.
        await bus._client.flush()
        await bus._client.flush()
        return bus

    def wake(self, topic: Topic, said: str = "") -> None:
        """Wake the other processes; soon, and together with what else is said."""
        self._outboxes[topic].add((f"{self._prefix}.{topic}", said.encode()))

    def listen(self, topic: Topic, heard: Heard) -> None:
        """From now on this is called with what the others say."""
        self._heard[topic] = heard

    def carry(self, room_id: str, segment: bytes) -> None:
        """Hand a segment to whoever follows the room; one that is too long is read from the log."""
        if self._client.is_connected and len(segment) <= self._client.max_payload:
            self._segments.add((f"{self._prefix}.room.{room_id}", segment))

    def follow(self, room_id: str, heard: HeardSegment | None) -> None:
        """From now on this is called with a room's segments; None: no longer."""
        if heard is None:
            self._wanted.pop(room_id, None)
        else:
            self._wanted[room_id] = heard
        self._interests.add(room_id)

    async def close(self) -> None:
        """Say what waits, where that is possible, and go."""
        for outbox in (*self._outboxes.values(), self._segments):
            await (outbox.close() if self._client.is_connected else outbox.cancel())
        await self._interests.cancel()
        if self._is_open:
            await self._client.close()

    async def _connect(self, client: Client, *, comes_back: bool) -> None:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            await client.connect(
                self._servers,
                allow_reconnect=comes_back,
                max_reconnect_attempts=-1 if comes_back else 1,
                reconnect_time_wait=RECONNECT_SECONDS_MIN,  # type: ignore[arg-type]
                connect_timeout=int(CONNECT_SECONDS_MAX),
                ping_interval=int(CONNECT_SECONDS_MAX),
                no_echo=True,
                error_cb=_on_error,
                disconnected_cb=self._on_lost if comes_back else None,
                reconnected_cb=self._on_back if comes_back else None,
            )
        if not comes_back:
            await client.close()

    def _hearing(self, topic: Topic) -> Callable[[Msg], Awaitable[None]]:
        async def hear(message: Msg) -> None:
            heard = self._heard.get(topic)
            if heard is not None:
                heard(message.data.decode(errors="replace"))

        return hear

    async def _send(self, items: Sequence[tuple[str, bytes]]) -> None:
        for subject, content in items:
            await self._client.publish(subject, content)

    async def _follow(self, room_ids: Sequence[str]) -> None:
        for room_id in room_ids:
            heard = self._wanted.get(room_id)
            followed = self._followed.get(room_id)
            if heard is not None and followed is None:
                self._followed[room_id] = await self._client.subscribe(
                    f"{self._prefix}.room.{room_id}", cb=self._hearing_room(room_id)
                )
            elif heard is None and followed is not None:
                del self._followed[room_id]
                await followed.unsubscribe()

    def _hearing_room(self, room_id: str) -> Callable[[Msg], Awaitable[None]]:
        async def hear(message: Msg) -> None:
            heard = self._wanted.get(room_id)
            if heard is not None:
                heard(room_id, message.data)

        return hear

    async def _on_lost(self) -> None:
        if not self._client.is_closed:
            log.warning("bus_away", address=",".join(_place(each) for each in self._servers))

    async def _on_back(self) -> None:
        log.info("bus_back")
        for heard in self._heard.values():
            heard("")
        for outbox in self._outboxes.values():
            outbox.again()
        self._interests.again()


async def _on_error(error: Exception) -> None:
    log.debug("bus_error", problem=repr(error))


def _parts(url: str) -> tuple[list[str], str]:
    """The servers of a URL, and how its subjects begin."""
    scheme, _, rest = url.partition("://")
    # A password that was not written as it has to be may hold anything, also a slash.
    secret, at, open_part = rest.rpartition("@")
    places, _, path = open_part.partition("/")
    servers = []
    for place in (secret + at + places).split(","):
        server = f"{scheme}://{place}"
        if not _has_host(server):
            raise Rejected("bus_unreachable", address=_place(server), problem="no host")
        servers.append(server)
    prefix = ".".join(part for part in path.split("/") if part) or SUBJECT
    if any(mark in prefix for mark in " \t*>") or ".." in prefix:
        raise Rejected("bus_unreachable", address=places, problem="no subject")
    return servers, prefix


def _has_host(server: str) -> bool:
    try:
        return bool(urlsplit(server).hostname)
    except ValueError:
        return False


def _place(server: str) -> str:
    return server.partition("://")[2].rpartition("@")[2]
