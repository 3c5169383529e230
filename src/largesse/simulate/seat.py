"""
Somebody's place in a room: the socket through which he hears and speaks.

It is opened again as often as it is lost, and goes on after the last event that he has heard.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from largesse.simulate import api
from largesse.simulate.choice import Heard, Package
from largesse.simulate.rooms import ROOM_LOST, forget_room, open_room
from largesse.simulate.stage import GivenUp, Player, Stage, Stopped, pause, retry_pause

OPEN_SECONDS_MAX = 10.0
"""How long the way to the welcome may take."""
AWAY_SECONDS_MAX = 5.0
"""How long somebody who wants to gift waits for his socket; then he does it over HTTP."""
ANSWER_SECONDS_MAX = 10.0
CLOSE_SECONDS_MAX = 1.0
PING_SECONDS = 20.0
FRAME_BYTES_MAX = 16 * 1024 * 1024
"""Two thousand events that were missed come as one frame."""
ROOM_CLOSED = (4404, 4410)
"""Close codes: there is no such room, or it is over."""


class Ticket(msgspec.Struct, frozen=True):
    """What lets somebody into a room."""

    ticket: str


class Data(msgspec.Struct, frozen=True, rename="camel"):
    """Of an event, who it is about, and whether its streak is over."""

    user_id: str = ""
    nickname: str = ""
    repeat_end: bool = True


class User(msgspec.Struct, frozen=True, rename="camel"):
    """Who the server says one is."""

    user_id: str


class Frame(msgspec.Struct, frozen=True):
    """
    Whatever a frame says, as far as the play reads it: an event has `event`, all others have `op`.

    The facts of a refusal are those that it has over HTTP.
    """

    op: str = ""
    event: str = ""
    seq: int = 0
    data: Data = Data()
    user: User | None = None
    following: bool = False
    key: str | None = None
    gift: api.Gift | None = None
    code: str = ""
    retry_after_seconds: float = 1.0
    package: Package | None = None


_decoder = msgspec.json.Decoder(Frame | list[Frame])


class Seat:
    """
    One person's place in one creator's room; `attend` keeps it.

    `last_seq` is the number of the last event that he has heard, None before the first.
    """

    def __init__(self, stage: Stage, player: Player, creator: int) -> None:
        self.stage = stage
        self.player = player
        self.creator = creator
        self.room_id: str | None = None
        self.last_seq: int | None = None
        self.is_following = False
        self.heard: Heard | None = None  # Whom one could answer.
        self._user_id = ""
        self._connection: ClientConnection | None = None
        self._is_in = asyncio.Event()
        self._asked: dict[str, asyncio.Future[Frame]] = {}
        self._out_since = time.monotonic()
        self._silent_until = 0.0

    @property
    def is_in(self) -> bool:
        """Whether he has been welcomed and not lost the connection since."""
        return self._is_in.is_set()

    async def until_in(self) -> bool:
        """
        Wait until he is in, but not beyond the end of the play, nor when the socket has been away
        for long.
        """
        seconds = max(0.0, self._out_since + AWAY_SECONDS_MAX - time.monotonic())
        waits = [asyncio.create_task(event.wait()) for event in (self._is_in, self.stage.stop)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self.is_in

    async def tell(self, **op: object) -> bool:
        """Say something that has no answer; whether it could be said."""
        return time.monotonic() >= self._silent_until and await self._speak(op)

    async def ask(self, key: str, **op: object) -> Frame | None:
        """Say something and wait for the answer; None where none came, whatever has become of it."""
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._asked[key] = answer
        try:
            if not await self._speak({"key": key, **op}):
                return None
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await answer
        except (TimeoutError, ConnectionError):
            return None
        finally:
            self._asked.pop(key, None)

    def received(self, text: str | bytes) -> None:
        """What came through the socket."""
        frames = _decoder.decode(text)
        if isinstance(frames, Frame):
            frames = [frames]
        self.stage.heard([frame.event for frame in frames if frame.event])
        for frame in frames:
            if frame.event:
                self._happened(frame)
            else:
                self._told(frame)

    def opened(self, connection: ClientConnection) -> None:
        """The socket is there; he is in once he is welcomed."""
        self._connection = connection

    def lost(self) -> None:
        """The socket is gone, and with it every answer that has not come."""
        if self.is_in:
            self._out_since = time.monotonic()
        self._is_in.clear()
        self._connection = None
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConnectionError())

    async def _speak(self, op: dict[str, object]) -> bool:
        if not self.is_in:
            return False
        assert self._connection is not None
        try:
            await self._connection.send(msgspec.json.encode(op).decode())
        except ConnectionClosed:
            return False
        return True

    def _happened(self, frame: Frame) -> None:
        if self.last_seq is not None and frame.seq <= self.last_seq:
            self.stage.count(repeats=1)
        self.last_seq = frame.seq
        is_gift = frame.event == "gift" and frame.data.repeat_end
        is_line = frame.event == "chat" and (self.heard is None or not self.heard.is_gift)
        if (is_gift or is_line) and frame.data.user_id != self._user_id:
            self.heard = Heard(frame.data.nickname, is_gift)

    def _told(self, frame: Frame) -> None:
        if frame.op == "welcome":
            self._user_id = "" if frame.user is None else frame.user.user_id
            self._is_in.set()
            self.stage.count(entries=1)
        elif frame.op == "snapshot":
            self.stage.count(resyncs=self.last_seq is not None)
            self.last_seq = frame.seq
            self.is_following = frame.following
        elif frame.key in self._asked:
            answer = self._asked[frame.key]
            if not answer.done():
                answer.set_result(frame)
        elif frame.op == "refused":
            self.stage.count(refusal=frame.code)
            if frame.code == "rate_limited":
                self._silent_until = time.monotonic() + frame.retry_after_seconds


@contextlib.asynccontextmanager
async def seated(stage: Stage, player: Player, creator: int) -> AsyncIterator[Seat]:
    """A place that is kept during the block; then he leaves."""
    seat = Seat(stage, player, creator)
    attending = asyncio.create_task(_attend(seat))
    try:
        yield seat
    finally:
        attending.cancel()
        await asyncio.wait([attending])


async def _attend(seat: Seat) -> None:
    """Be there, again and again, until the play is over."""
    failures = 0
    with contextlib.suppress(Stopped):
        while True:
            try:
                was_in = await _be_there(seat)
            except (
                *(GivenUp, OSError, TimeoutError, WebSocketException),
                *(httpx.HTTPError, msgspec.DecodeError),
            ):
                seat.stage.count(errors=1)
                was_in = False
            failures = 0 if was_in else failures + 1
            await pause(seat.stage, retry_pause(failures))


async def _be_there(seat: Seat) -> bool:
    """Enter once and stay until the connection ends; whether one was let in at all."""
    stage = seat.stage
    room_id = await open_room(stage, seat.creator)
    if room_id is None:
        return False
    if room_id != seat.room_id:
        seat.room_id, seat.last_seq = room_id, None
    path = f"/v1/rooms/{room_id}/tickets"
    answer = await api.call(stage, seat.player, "POST", path, Ticket)
    if isinstance(answer, api.Problem):
        if answer.code in ROOM_LOST:
            forget_room(stage, seat.creator, room_id)
        return False
    hello = {"op": "hello", "ticket": answer.ticket, "batch": True, "last_seq": seat.last_seq}
    if seat.last_seq is None:
        del hello["last_seq"]
    async with connect(
        stage.socket_url(f"/v1/rooms/{room_id}/live"),
        compression=None,
        proxy=None,
        open_timeout=OPEN_SECONDS_MAX,
        ping_interval=PING_SECONDS,
        ping_timeout=PING_SECONDS,
        close_timeout=CLOSE_SECONDS_MAX,
        max_size=FRAME_BYTES_MAX,
    ) as connection:
        seat.opened(connection)
        try:
            return await _listen(seat, connection, hello)
        finally:
            seat.lost()
            if connection.close_code in ROOM_CLOSED:
                forget_room(stage, seat.creator, room_id)


async def _listen(seat: Seat, connection: ClientConnection, hello: object) -> bool:
    """Greet, and hear whatever comes until the connection ends; whether one was welcomed."""
    await connection.send(msgspec.json.encode(hello).decode())
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(OPEN_SECONDS_MAX):
            while not seat.is_in:
                seat.received(await connection.recv())
        while True:
            seat.received(await connection.recv())
    return seat.is_in
