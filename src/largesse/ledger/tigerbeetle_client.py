"""
A session with a TigerBeetle cluster, over the C interface that the official client brings along.

The client's own Python objects convert record by record, which costs more than all the rest, and
they lack `get_change_events`. So the session hands whole buffers to the client's library, through
the functions of its published C header as `tigerbeetle.bindings` declares them, and through nothing
else of it. `load` looks once whether they are as this file expects them.
"""

import asyncio
import contextlib
import ctypes
import logging
import time
from enum import IntEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from largesse.errors import Rejected
from largesse.ledger import LedgerUnavailable

ANSWER_SECONDS_MAX = 20.0
"""So long an answer is waited for; a cluster that lost its primary has another one long before."""
OPEN_SECONDS_MAX = 5.0
PORT = 3001
REPLICAS_MAX = 12
"""Six that vote and six that stand by."""
FIELDS = {
    "CPacket": ("user_data", "data", "data_size", "user_tag", "operation", "status", "opaque"),
    "CClient": ("opaque",),
}
"""What is relied on of the client's library, and its version is pinned for."""


class Operation(IntEnum):
    """What a replica can be asked, by the numbers of its protocol."""

    GET_CHANGE_EVENTS = 137
    LOOKUP_ACCOUNTS = 140
    LOOKUP_TRANSFERS = 141
    GET_ACCOUNT_TRANSFERS = 142
    GET_ACCOUNT_BALANCES = 143
    QUERY_ACCOUNTS = 144
    QUERY_TRANSFERS = 145
    CREATE_ACCOUNTS = 146
    CREATE_TRANSFERS = 147


class Address(msgspec.Struct, frozen=True):
    """Where a cluster is: its replicas in the cluster's own order, and its number."""

    replicas: tuple[str, ...]
    cluster: int

    @property
    def text(self) -> str:
        """As a person writes it."""
        return ",".join(self.replicas)


class SessionEnded(Exception):
    """The cluster or this process let the session go; what was under way may have happened."""


class TooMuch(Exception):
    """More than the cluster takes in one message. Nothing was sent."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The records that came back, and the cluster's time of the answer."""

    data: bytes
    timestamp: int


def parse(url: str) -> Address:
    """
    Read `tigerbeetle://host:port[,host:port...][?cluster=N]`; the port is 3001 if left out.

    Raises:
        Rejected: ledger_url_invalid.
    """
    parts = urlsplit(url)
    replicas = tuple(part.strip() for part in parts.netloc.split(","))
    query = parse_qs(parts.query, keep_blank_values=True)
    numbers = query.pop("cluster", ["0"])
    if parts.scheme != "tigerbeetle":
        raise _invalid("it must begin with tigerbeetle://")
    if not all(replicas) or any("@" in replica for replica in replicas):
        raise _invalid("it must name each replica as host:port, separated by commas")
    if len(replicas) > REPLICAS_MAX:
        raise _invalid(f"it names more than {REPLICAS_MAX} replicas")
    if parts.path not in ("", "/") or query or parts.fragment:
        raise _invalid("nothing but ?cluster=NUMBER may follow the addresses")
    if len(numbers) != 1 or not numbers[0].isdecimal() or int(numbers[0]) >= 2**128:
        raise _invalid("cluster must be a whole number below 2^128")
    return Address(tuple(_with_port(replica) for replica in replicas), int(numbers[0]))


def _with_port(replica: str) -> str:
    try:
        parts = urlsplit(f"//{replica}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise _invalid(f"{replica} is not a host and a port from 1 to 65535")
    return f"[{host}]:{port or PORT}" if ":" in host else f"{host}:{port or PORT}"


def _invalid(problem: str) -> Rejected:
    return Rejected("ledger_url_invalid", problem=problem)


def load() -> Any:
    """
    The client's bindings, where they are installed and as we know them. Its log is led to `logging`.

    Raises:
        Rejected: engine_not_installed.
    """
    # The client writes warnings of its own to standard error where nobody has asked for them.
    logger = logging.getLogger("tigerbeetle")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    try:
        import tigerbeetle
        from tigerbeetle import bindings
    except ImportError as error:
        raise _not_installed(str(error)) from error
    for name, fields in FIELDS.items():
        found = tuple(field[0] for field in getattr(getattr(bindings, name, None), "_fields_", ()))
        if found != fields:
            raise _not_installed(f"another version of it is installed, whose {name} is unknown")
    for operation in Operation:
        if getattr(bindings.Operation, operation.name, None) != operation:
            raise _not_installed(f"another version of it is installed, without {operation.name}")
    tigerbeetle.configure_logging(debug=False)
    return bindings


def _not_installed(problem: str) -> Rejected:
    return Rejected(
        "engine_not_installed", engine="TigerBeetle", extra="tigerbeetle", problem=problem
    )


async def resolve(address: Address) -> str:
    """
    The replicas as the client's library takes them: numbers, not names.

    Raises:
        OSError: a name is not known.
    """
    loop = asyncio.get_running_loop()
    found = []
    for replica in address.replicas:
        host, _, port = replica.rpartition(":")
        [first, *_] = await loop.getaddrinfo(host.strip("[]"), int(port))
        number = first[4][0]
        found.append(f"[{number}]:{port}" if ":" in str(number) else f"{number}:{port}")
    return ",".join(found)


class Session:
    """
    One registered client of the cluster. It has one message under way; the rest waits in order.

    What is asked with the same operation while a message is under way goes together in the next.
    Change events cannot go together, and the library ends the whole process where it finds two
    such questions that wait: so it is given one, and the others wait here.
    """

    def __init__(self, bindings: Any, replicas: str, cluster: int) -> None:
        """
        Raises:
            OSError: the client's library has no room or refuses the addresses.
        """
        self._bindings = bindings
        self._loop = asyncio.get_running_loop()
        self._client = bindings.CClient()
        self._under_way: dict[int, tuple[asyncio.Future[Reply], Any, object]] = {}
        self._changes_asked = False
        self._changes_waiting: dict[asyncio.Future[Reply], bytes] = {}
        self._asked = 0
        self._away = False
        self._ended = False
        # The library calls it from a thread of its own; it must live as long as the session.
        self._completed = bindings.OnCompletion(self._on_completion)
        encoded = replicas.encode("ascii")
        number = (ctypes.c_uint8 * 16).from_buffer_copy(cluster.to_bytes(16, "little"))
        status = bindings.tb_client_init(
            ctypes.byref(self._client),
            ctypes.byref(number),
            encoded,
            len(encoded),
            None,
            self._completed,
        )
        if status != bindings.InitStatus.SUCCESS:
            raise OSError(f"the client cannot start: {bindings.InitStatus(status).name.lower()}")

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be asked."""
        return self._ended

    def submit(self, operation: Operation, data: bytes) -> "asyncio.Future[Reply]":
        """
        Send it, or queue it behind what is under way. Submissions are sent in their order.

        The future may fail with SessionEnded or TooMuch. It is never cancelled by the session.
        """
        future: asyncio.Future[Reply] = self._loop.create_future()
        if self._ended:
            future.set_exception(SessionEnded("the session is over"))
        elif operation is Operation.GET_CHANGE_EVENTS and self._changes_asked:
            self._changes_waiting[future] = data
        else:
            self._send(operation, data, future)
        return future

    def _send(self, operation: Operation, data: bytes, future: "asyncio.Future[Reply]") -> None:
        self._asked += 1
        packet = self._bindings.CPacket()
        packet.user_data = self._asked
        packet.operation = int(operation)
        packet.data_size = len(data)
        packet.data = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)
        self._under_way[self._asked] = (future, packet, data)
        status = self._bindings.tb_client_submit(ctypes.byref(self._client), ctypes.byref(packet))
        if status != self._bindings.ClientStatus.OK:
            del self._under_way[self._asked]
            self._ended = True
            future.set_exception(SessionEnded("the cluster has let this session go"))
        elif operation is Operation.GET_CHANGE_EVENTS:
            self._changes_asked = True

    async def wait(self, future: "asyncio.Future[Reply]") -> Reply:
        """
        Wait for an answer as long as `ANSWER_SECONDS_MAX`.

        After one that never came nothing is waited for until the cluster has answered something:
        what is under way goes on, and is the question whether it is back.

        Raises:
            LedgerUnavailable: no answer in time.
            SessionEnded, TooMuch: what became of it.
        """
        if not (self._away and not future.done()):
            await asyncio.wait([future], timeout=ANSWER_SECONDS_MAX)
        if not future.done():
            self._away = True
            self._changes_waiting.pop(future, None)  # Nobody would hear its answer.
            raise _unanswered()
        return future.result()

    def _on_completion(
        self, _context: object, packet: Any, timestamp: int, data: int | None, size: int
    ) -> None:
        """In the library's thread: copy what it lends, and hand it to the loop."""
        key, status = packet[0].user_data, packet[0].status
        reply = Reply(ctypes.string_at(data, size) if data and size else b"", timestamp)
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
            self._loop.call_soon_threadsafe(self._complete, key, status, reply)

    def _complete(self, key: int, status: int, reply: Reply) -> None:
        future, packet, _ = self._under_way.pop(key)
        self._away = False
        if not future.done():
            self._settle(future, status, reply)
        if packet.operation == Operation.GET_CHANGE_EVENTS:
            self._changes_asked = False
            self._ask_next_changes()

    def _settle(self, future: "asyncio.Future[Reply]", status: int, reply: Reply) -> None:
        statuses = self._bindings.PacketStatus
        if status == statuses.OK:
            future.set_result(reply)
            return
        words = statuses(status).name.lower().replace("_", " ")
        if status == statuses.TOO_MUCH_DATA:
            future.set_exception(TooMuch())
        elif status in (statuses.CLIENT_EVICTED, statuses.CLIENT_SHUTDOWN):
            self._ended = True
            future.set_exception(SessionEnded(words))
        else:
            # A client too old or too new for the cluster: another session would be the same.
            self._ended = True
            future.set_exception(LedgerUnavailable(f"the cluster refuses this client: {words}"))
        # Who asked may have stopped waiting; nobody is to be told of that.
        future.exception()

    def _ask_next_changes(self) -> None:
        """Whoever waits for change events is next, or hears that the session is over."""
        while self._changes_waiting and not self._changes_asked:
            future = next(iter(self._changes_waiting))
            data = self._changes_waiting.pop(future)
            if future.done():  # Cancelled: nobody waits for it.
                continue
            if self._ended:
                future.set_exception(SessionEnded("the session is over"))
                future.exception()  # Who asked may have stopped waiting.
            else:
                self._send(Operation.GET_CHANGE_EVENTS, data, future)

    async def close(self) -> None:
        """Let go of the connection. What is under way ends with SessionEnded."""
        self._ended = True
        # It waits for the library's thread, which may be in the middle of something.
        await asyncio.to_thread(self._bindings.tb_client_deinit, ctypes.byref(self._client))
        # The library lets go of every question before its thread ends; they must live until then.
        while self._under_way:
            await asyncio.wait([future for future, _, _ in self._under_way.values()])
            await asyncio.sleep(0)


def _unanswered() -> LedgerUnavailable:
    return LedgerUnavailable("the TigerBeetle cluster does not answer")


class Connection:
    """
    A session that is made again when the cluster lets it go, with the same questions asked again.

    The cluster lets the oldest session go when there are more than it keeps (64).
    """

    def __init__(self, bindings: Any, address: Address) -> None:
        self._bindings = bindings
        self._address = address
        self._session: Session | None = None
        self._connecting = asyncio.Lock()
        self._closing = False
        self.last_timestamp = 0
        """The cluster's time of the newest answer."""

    async def connect(self) -> Session:
        """
        The session of now; a new one where the last is over.

        Raises:
            LedgerUnavailable: it cannot be made.
        """
        session = self._session
        if session is not None and not session.is_over:
            return session
        async with self._connecting:
            if self._closing:
                raise LedgerUnavailable("the ledger is closing")
            if self._session is None or self._session.is_over:
                await self._let_go()
                try:
                    replicas = await resolve(self._address)
                    self._session = Session(self._bindings, replicas, self._address.cluster)
                except OSError as error:
                    raise LedgerUnavailable(str(error)) from error
            return self._session

    def submit(self, operation: Operation, data: bytes) -> "asyncio.Future[Reply]":
        """Ask at once, in order, in the session of now."""
        assert self._session is not None
        return self._session.submit(operation, data)

    async def ask(self, operation: Operation, data: bytes) -> Reply:
        """
        Ask and wait.

        Raises:
            LedgerUnavailable: no answer in time.
            TooMuch: nothing was sent.
        """
        session = await self.connect()
        reply, _ = await self.answer(session.submit(operation, data), operation, data)
        return reply

    async def answer(
        self, future: "asyncio.Future[Reply]", operation: Operation, data: bytes
    ) -> tuple[Reply, bool]:
        """
        Wait for what was submitted, and whether it was asked again after its session had ended.

        Raises:
            LedgerUnavailable: no answer in time.
            TooMuch: nothing was sent.
        """
        until = time.monotonic() + ANSWER_SECONDS_MAX
        again = False
        session = self._session
        assert session is not None
        while True:
            try:
                reply = await session.wait(future)
            except SessionEnded as ended:
                if self._closing or time.monotonic() >= until:
                    raise LedgerUnavailable(str(ended)) from ended
            else:
                self.last_timestamp = max(self.last_timestamp, reply.timestamp)
                return reply, again
            again = True
            session = await self.connect()
            future = session.submit(operation, data)

    async def _let_go(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def close(self) -> None:
        """Let go of the session; whoever waits hears LedgerUnavailable."""
        self._closing = True
        async with self._connecting:
            await self._let_go()
