"""
The other end of the measured sockets, a process of its own: `python -m bench.socket_load`.

What to do comes as one line of JSON on standard input, what was found goes out as one. Written on
picows' client, which costs a fifth of what any server spends on the same frame.
"""

import asyncio
import contextlib
import gc
import http.client
import itertools
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

WARM_UP_SECONDS = 1.0
PAUSE_SECONDS = 0.05
CONNECTING_MAX = 100
PER_ADDRESS = 900
"""Sockets from one address of this machine; it has sixteen million."""
SETTLE_SECONDS = 1.0
TEXT = WSMsgType.TEXT


class Echo(msgspec.Struct, tag=True):
    """Keep so many sockets busy, one message in flight each; with tickets by gifts, one a ticket."""

    url: str
    sockets: int
    seconds: float
    tickets: tuple[str, ...] = ()
    item_id: str = ""


class Fan(msgspec.Struct, tag=True):
    """
    One frame to so many sockets, again and again: asked for by `say`, known by what it holds. In a
    room everybody is a visitor, but for who says it.
    """

    url: str
    pid: int
    counts: tuple[int, ...]
    times: int
    say: str
    holds: str
    room_id: str = ""
    token: str = ""


class Watch(msgspec.Struct, tag=True):
    """Open so many sockets, say so, and keep them until standard input ends."""

    url: str
    sockets: int
    room_id: str


class Busy(msgspec.Struct):
    """Answers in the measured time. Times in seconds."""

    answers: int
    seconds: float
    p50: float
    p99: float
    refused: int


class Fanned(msgspec.Struct):
    """To `sockets` of them: seconds until the last had it. `kib` is what each costs the server."""

    sockets: int
    p50: float
    p99: float
    kib: float


def of(values: Sequence[float], share: float) -> float:
    """A quantile of values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Sender(WSListener):  # type: ignore[misc, unused-ignore]
    """Sends the next message when the last was answered."""

    def __init__(self, message: Callable[[], bytes], hello: bytes) -> None:
        self.message, self.hello = message, hello
        self.times: list[float] = []
        self.refused = 0
        self.is_on = False
        self.sent_at = 0.0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        if self.hello:
            transport.send(TEXT, self.hello)

    def go(self) -> None:
        self.is_on = True
        self._send()

    def _send(self) -> None:
        message = self.message()
        self.sent_at = time.perf_counter()
        self.transport.send(TEXT, message)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != TEXT:
            return
        if self.hello:
            text = frame.get_payload_as_memoryview()
            if text[:11] == b'{"op":"ack"':
                pass
            elif text[:1] == b"{" and b'"op":"refused"' in text[:1_000].tobytes():
                self.refused += 1
            else:
                return
        self.times.append(time.perf_counter() - self.sent_at)
        if self.is_on:
            self._send()


class Witness(WSListener):  # type: ignore[misc, unused-ignore]
    """Counts the frames that hold what was asked for, on all sockets together."""

    holds = b""
    seen = 0
    wanted = 0
    done: "asyncio.Future[float]"

    def __init__(self, hello: bytes) -> None:
        self.hello = hello

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        if self.hello:
            transport.send(TEXT, self.hello)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if Witness.wanted == 0 or Witness.holds not in frame.get_payload_as_bytes():
            return
        Witness.seen += 1
        if Witness.seen == Witness.wanted:
            Witness.wanted = 0
            Witness.done.set_result(time.perf_counter())


async def connect(url: str, make: Callable[[], Any], number: int, *, first: int = 0) -> list[Any]:
    """So many sockets, from as many addresses of this machine as it takes."""
    turns = asyncio.Semaphore(CONNECTING_MAX)

    async def one(n: int) -> Any:
        async with turns:
            _, listener = await ws_connect(
                make,
                url,
                websocket_handshake_timeout=30,
                local_addr=(f"127.0.0.{1 + n // PER_ADDRESS}", 0),
            )
        return listener

    return await asyncio.gather(*(one(first + n) for n in range(number)))


def messages(load: Echo) -> Callable[[], bytes]:
    """What is sent: the size of a gift and nothing in it, or gifts with a fresh UUIDv7 each."""
    if not load.tickets:
        text = b'{"op":"gift","key":"019ab1c2-d3e4-7000-8000-5a6b7c0d0001","item_id":"%b"}' % (
            b"x" * 60
        )
        return lambda: text
    numbers = itertools.count(int.from_bytes(os.urandom(4), "big") << 16)
    before, after = '{"op":"gift","key":"', f'","item_id":"{load.item_id}"}}'

    def gift() -> bytes:
        at, number = f"{time.time_ns() // 10**6:012x}", f"{next(numbers):016x}"
        key = f"{at[:8]}-{at[8:]}-7{number[:3]}-8{number[3:6]}-{number[6:]:0>12}"
        return f"{before}{key}{after}".encode()

    return gift


async def echo(load: Echo) -> Busy:
    """Answers a second, and how long each took."""
    message = messages(load)
    hellos = itertools.cycle([hello(ticket) for ticket in load.tickets] or [b""])
    senders = await connect(load.url, lambda: Sender(message, next(hellos)), load.sockets)
    await asyncio.sleep(SETTLE_SECONDS)
    for sender in senders:
        sender.go()
    await asyncio.sleep(WARM_UP_SECONDS)
    for sender in senders:
        sender.times.clear()
    began = time.perf_counter()
    await asyncio.sleep(load.seconds)
    took = time.perf_counter() - began
    times = [each for sender in senders for each in sender.times]
    for sender in senders:
        sender.is_on = False
    await asyncio.sleep(PAUSE_SECONDS)
    refused = sum(sender.refused for sender in senders)
    return Busy(len(times), took, of(times, 0.5), of(times, 0.99), refused)


async def fan(load: Fan) -> list[Fanned]:
    """Seconds to the last socket, for each number of sockets."""
    found: list[Fanned] = []
    witnesses: list[Witness] = []
    say, Witness.holds = load.say.encode(), load.holds.encode()
    first = hello_of(load.url, load.room_id, load.token)
    [sayer] = await connect(load.url, lambda: Witness(first), 1)
    await asyncio.sleep(SETTLE_SECONDS)
    before = resident(load.pid)
    for count in load.counts:
        more = count - len(witnesses)
        visitors = hello_of(load.url, load.room_id)  # A ticket is good for a minute.
        make = partial(Witness, visitors)
        witnesses += await connect(load.url, make, more, first=len(witnesses))
        await asyncio.sleep(SETTLE_SECONDS)
        kib = (resident(load.pid) - before) / len(witnesses)
        gc.collect()
        gc.freeze()
        times = []
        for _ in range(load.times):
            Witness.seen, Witness.wanted = 0, count + 1  # The sayer has it too.
            Witness.done = asyncio.get_running_loop().create_future()
            began = time.perf_counter()
            sayer.transport.send(TEXT, say)
            times.append(await asyncio.wait_for(Witness.done, 30) - began)
            await asyncio.sleep(PAUSE_SECONDS)
        found.append(Fanned(count, of(times, 0.5), of(times, 0.99), kib))
    return found


async def watch(load: Watch) -> None:
    """Sockets that are only there."""
    visitors = hello_of(load.url, load.room_id)
    await connect(load.url, lambda: Witness(visitors), load.sockets)
    await asyncio.sleep(SETTLE_SECONDS)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


def hello_of(url: str, room_id: str, token: str = "") -> bytes:
    """A hello for a room with a new ticket; nothing where there is no room."""
    return hello(ticket_for(urlsplit(url).netloc, room_id, token)) if room_id else b""


def ticket_for(host: str, room_id: str, token: str = "") -> str:
    """A ticket for a room, a visitor's where there is no token."""
    connection = http.client.HTTPConnection(host, timeout=30)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("POST", f"/v1/rooms/{room_id}/tickets", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        return str(msgspec.json.decode(answer.read())["ticket"])
    finally:
        connection.close()


def hello(ticket: str) -> bytes:
    """The first frame of somebody who takes arrays of events."""
    return msgspec.json.encode({"op": "hello", "ticket": ticket, "batch": True})


def resident(pid: int) -> int:
    """KiB of a process that are really there."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


async def main() -> None:
    """Do what is asked for."""
    load = msgspec.json.decode(sys.stdin.readline(), type=Echo | Fan | Watch)
    if isinstance(load, Watch):
        await watch(load)
        return
    found = await (echo(load) if isinstance(load, Echo) else fan(load))
    sys.stdout.buffer.write(msgspec.json.encode(found))
    sys.stdout.flush()
    os._exit(0)  # Ten thousand goodbyes would only keep the next one waiting.


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(main())
