"""
What is said over a socket, from the hello to the end: operations in, acknowledgements and refusals out.

Which operations there are is the affair of whoever opens the socket (`room_socket.py`,
`me_socket.py`); what is the same everywhere stands here: the first frame in time, one decoder, bad
frames counted, limits, refusals in the words of the API, and the codes of the close.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import msgspec

from largesse.app import App
from largesse.errors import Rejected
from largesse.limits import BAD_FRAMES_MAX
from largesse.records.users import User
from largesse.rooms import messages
from largesse.rooms.hub import Watcher
from largesse.rooms.purses import Purse
from largesse.rooms.wire import ClientOp, HelloOp
from largesse.web import decode, reply
from largesse.web.socket import Connection

HELLO_SECONDS = 10
"""How long a socket may be open without a hello."""
EARLY_MAX = 20
"""Operations that may come while the room is being looked up; they wait for it."""

CLOSES = {
    "too_many_bad_frames": 4400,
    "ticket_invalid": 4401,
    "room_not_found": 4404,
    "hello_late": 4408,
    "room_ended": 4410,
    "session_changed": 4411,
    "rate_limited": 4429,
}
"""The code of the close behind each refusal that ends a socket."""
TRY_AGAIN_LATER = 1013
"""The close where it is not the other side's fault (RFC 6455, as registered with IANA)."""

_decode = msgspec.json.Decoder(ClientOp).decode

_running: set[asyncio.Task[None]] = set()
"""What is being done for a socket; a gift goes on when its socket is closed, for it may be paid."""


class Seat(msgspec.Struct, frozen=True):
    """
    What a socket has once it is in: who watches (None: nobody, or a screen), and as what the rooms
    know it. `room_id` is "" for one's own feed; `left` is told when the socket is gone.
    """

    watcher: Watcher | Purse
    user: User | None
    room_id: str = ""
    left: Callable[[], None] | None = None


Enter = Callable[[HelloOp | None, Connection], Coroutine[Any, Any, Seat]]
"""Lets a socket in by its hello, or without one; raises `Rejected` with a code of `CLOSES`."""
Act = Callable[[App, Seat, Any, int], "bytes | Awaitable[bytes | None] | None"]
"""Does what an operation says, now or soon; what comes back is sent."""


class Conversation:
    """One socket, and how far it has come."""

    __slots__ = (
        "_acts",
        "_app",
        "_bad_frames",
        "_connection",
        "_early",
        "_enter",
        "_is_closed",
        "_is_entering",
        "_late",
        "_seat",
        "_subject",
    )

    def __init__(
        self,
        app: App,
        connection: Connection,
        enter: Enter,
        acts: Mapping[type, Act],
        *,
        has_hello: bool = True,
    ) -> None:
        """Without a hello the socket is let in at once."""
        self._app = app
        self._connection = connection
        self._enter = enter
        self._acts = acts
        self._seat: Seat | None = None
        self._subject = connection.address
        self._bad_frames = 0
        self._early: list[Any] = []
        self._is_entering = self._is_closed = False
        self._late: asyncio.TimerHandle | None = None
        if has_hello:
            loop = asyncio.get_running_loop()
            self._late = loop.call_later(HELLO_SECONDS, self._end, Rejected("hello_late"))
        else:
            self._begin(None)

    def received(self, text: bytes) -> None:
        """One frame of the other side."""
        try:
            op = _decode(text)
        except (ValueError, RecursionError) as error:
            self._refuse_frame(_reason(error))
            return
        if self._seat is None:
            self._take_early(op)
        else:
            self._take(self._seat, op)

    def writable(self) -> None:
        """What waited is taken: the rooms may have more."""
        if self._seat is not None:
            self._app.rooms.drained(self._seat.watcher)

    def closed(self) -> None:
        """The socket is gone. What is being done goes on, and nobody is told of it."""
        self._is_closed = True
        self._stop_waiting()
        if self._seat is not None:
            self._leave(self._seat)

    def _take_early(self, op: Any) -> None:
        """Before it is in: a hello, and while that is being looked into whatever follows it."""
        if self._is_entering:
            if len(self._early) >= EARLY_MAX:
                self._end(Rejected("rate_limited", limit="op", retry_after_seconds=1))
            else:
                self._early.append(op)
        elif isinstance(op, HelloOp):
            self._begin(op)
        else:
            self._refuse_frame("the first frame is `hello`")

    def _begin(self, hello: HelloOp | None) -> None:
        self._stop_waiting()
        self._is_entering = True
        _run(self._let_in(hello))

    async def _let_in(self, hello: HelloOp | None) -> None:
        try:
            seat = await self._enter(hello, self._connection)
        except Exception as error:
            self._end(error)
            return
        if self._is_closed:
            self._leave(seat)
            return
        self._seat = seat
        if seat.user is not None:
            self._subject = seat.user.id
        early, self._early = self._early, []
        for op in early:
            self._take(seat, op)

    def _take(self, seat: Seat, op: Any) -> None:
        app = self._app
        try:
            now = app.clock.now()
            app.limiter.take("op", self._subject, now)
            act = self._acts.get(type(op))
            if act is None:
                self._refuse_frame(f"`{_name(op)}` has no place here")
                return
            done = act(app, seat, op, now)
        except Exception as error:
            self._refuse(op, error)
            return
        if done is None or isinstance(done, bytes):
            self._send(done)
        else:
            _run(self._finish(op, done))

    async def _finish(self, op: Any, doing: Awaitable[bytes | None]) -> None:
        try:
            self._send(await doing)
        except Exception as error:
            self._refuse(op, error)

    def _send(self, frame: bytes | None) -> None:
        if frame is not None:
            self._connection.send(frame)

    def _refuse(self, op: Any, error: Exception) -> None:
        """It is not done, and the socket stays; but who goes on and on in spite of it is closed."""
        refusal = self._say(getattr(op, "key", None), error)
        if refusal.code != "rate_limited":
            return
        try:
            self._app.limiter.take("flood", self._subject, self._app.clock.now())
        except Rejected:
            self._connection.close(CLOSES["rate_limited"], "rate_limited")

    def _refuse_frame(self, reason: str) -> None:
        self._bad_frames += 1
        if self._bad_frames > BAD_FRAMES_MAX:
            self._end(Rejected("too_many_bad_frames"))
        else:
            self._say(None, Rejected("frame_invalid", reason=reason))

    def _say(self, key: str | None, error: Exception) -> Rejected:
        request_id = self._app.entropy(8).hex()
        refusal = reply.refusal_or_fault(error, request_id=request_id)
        facts = refusal.facts
        if refusal.code == "internal_error":
            facts = {**facts, "request_id": request_id}
        detail = reply.detail(refusal.code, facts)
        self._send(messages.refused(key, refusal.code, detail, facts))
        return refusal

    def _end(self, error: Exception) -> None:
        """Say why, and close."""
        refusal = self._say(None, error)
        self._connection.close(CLOSES.get(refusal.code, TRY_AGAIN_LATER), refusal.code)

    def _leave(self, seat: Seat) -> None:
        self._app.rooms.leave(seat.watcher)
        if seat.left is not None:
            seat.left()

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _run(doing: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(doing)
    _running.add(task)
    task.add_done_callback(_running.discard)


def _name(op: Any) -> str:
    return str(type(op).__struct_config__.tag)


def _reason(error: Exception) -> str:
    """What is wrong with a frame, in the words of the API."""
    if not isinstance(error, msgspec.ValidationError):
        return "it is nested too deep" if isinstance(error, RecursionError) else "it is not JSON"
    refusal = decode.invalid_body(str(error))
    return reply.detail(refusal.code, refusal.facts).rstrip(".")
