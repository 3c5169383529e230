"""
The bus over PostgreSQL's LISTEN and NOTIFY, on a connection of its own.

It may be any database that all processes reach; a pooler in between must pool by sessions. A lost
connection is made anew, and then everybody looks for himself.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import structlog

from largesse.errors import Rejected
from largesse.rooms.bus import (
    CONNECT_SECONDS_MAX,
    RECONNECT_SECONDS_MAX,
    RECONNECT_SECONDS_MIN,
    Heard,
    HeardSegment,
    Outbox,
    Topic,
)

CHANNEL = "largesse"
ALIVE_SECONDS = 5.0
"""A connection that was quiet for so long is asked whether it is still there."""

log = structlog.get_logger()


class PostgresBus:
    """One process's end of the bus."""

    def __init__(self, url: str, process_id: str) -> None:
        self._url = url
        self._process_id = process_id
        self._heard: dict[str, Heard] = {}
        self._connection: Any = None
        self._lost = asyncio.Event()
        self._using = asyncio.Lock()
        self._outboxes: dict[Topic, Outbox[tuple[Topic, str]]] = {
            topic: Outbox(self._send) for topic in Topic
        }
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, url: str, process_id: str) -> "PostgresBus":
        """
        Connect.

        Raises:
            Rejected: bus_unreachable.
        """
        bus = cls(url, process_id)
        try:
            await bus._connect()
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            await bus.close()
            # Without the error's own words, which may show the URL.
            raise Rejected(
                "bus_unreachable", address=_address(url), problem=type(error).__name__
            ) from None
        bus._task = asyncio.create_task(bus._keep_connected(), name="bus")
        return bus

    def wake(self, topic: Topic, said: str = "") -> None:
        """Wake the other processes; soon, and together with what else is said."""
        self._outboxes[topic].add((topic, said))

    def listen(self, topic: Topic, heard: Heard) -> None:
        """From now on this is called with what the others say."""
        self._heard[topic] = heard

    def carry(self, room_id: str, segment: bytes) -> None:
        """A notice has no room for segments: they are read from the log."""

    def follow(self, room_id: str, heard: HeardSegment | None) -> None:
        """As `carry`."""

    async def close(self) -> None:
        """Say what waits, where that is possible, and go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for outbox in self._outboxes.values():
            await outbox.close()
        if self._connection is not None:
            self._connection.terminate()

    async def _connect(self) -> None:
        connection = await asyncpg.connect(
            self._url, timeout=CONNECT_SECONDS_MAX, command_timeout=CONNECT_SECONDS_MAX
        )
        try:
            await connection.add_listener(CHANNEL, self._on_notice)
        except BaseException:
            connection.terminate()
            raise
        self._lost.clear()
        connection.add_termination_listener(lambda _: self._lost.set())
        self._connection = connection

    async def _keep_connected(self) -> None:
        pause = RECONNECT_SECONDS_MIN
        while True:
            if self._connection is None:
                await asyncio.sleep(pause)
                try:
                    await self._connect()
                except Exception as error:
                    log.debug("bus_still_away", problem=repr(error))
                    pause = min(2 * pause, RECONNECT_SECONDS_MAX)
                    continue
                pause = RECONNECT_SECONDS_MIN
                log.info("bus_back")
                for heard in self._heard.values():
                    heard("")
                for outbox in self._outboxes.values():
                    outbox.again()
            try:
                async with asyncio.timeout(ALIVE_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                if await self._is_alive():
                    continue
            log.warning("bus_away", address=_address(self._url))
            self._connection.terminate()
            self._connection = None

    async def _is_alive(self) -> bool:
        try:
            async with self._using:
                await self._connection.fetchval("SELECT 1")
        except Exception:
            return False
        return True

    async def _send(self, items: Sequence[tuple[Topic, str]]) -> None:
        notices = [f"{self._process_id} {topic} {said}" for topic, said in items]
        async with self._using:
            if self._connection is None:
                raise ConnectionError
            await self._connection.execute(
                "SELECT pg_notify($1, notice) FROM unnest($2::text[]) AS notice", CHANNEL, notices
            )

    def _on_notice(self, _connection: object, _pid: int, _channel: str, notice: str) -> None:
        process_id, _, rest = notice.partition(" ")
        topic, _, said = rest.partition(" ")
        heard = self._heard.get(topic)
        if heard is not None and process_id != self._process_id:
            heard(said)


def _address(url: str) -> str:
    """Where a URL goes, without the password, which may hold any sign where it is not well made."""
    without = re.sub(r"[?&](?:password|passfile|sslpassword)=[^&]*", "", url.partition("://")[2])
    return without.rpartition("@")[2].partition("?")[0]
