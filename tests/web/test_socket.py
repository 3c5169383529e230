"""
The socket server by itself, with the client of `websockets` and bare TCP as witnesses.

What rooms do over it is in the other files; here whoever listens just answers with what he heard.
"""

import asyncio
import contextlib
import socket
from ipaddress import ip_network

import pytest
import uvicorn
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from largesse.limits import FRAME_BYTES_MAX
from largesse.rooms import wire
from largesse.web import socket as sockets

SECONDS = 10


class Echo:
    """Says back what it hears; "boom" is its fault, "bye" makes it close."""

    def __init__(self, connection):
        self.connection = connection
        self.writables = 0
        self.is_closed = asyncio.Event()
        self.times_closed = 0
        self.drained = asyncio.Event()

    def received(self, text):
        if text == b"boom":
            raise RuntimeError("as asked")
        if text == b"bye":
            self.connection.send(b"last words")
            self.connection.close(4410, "room_ended")
        self.connection.send(text)

    def writable(self):
        self.drained.set()

    def closed(self):
        self.times_closed += 1
        self.is_closed.set()


class House:
    """A server with sockets in this process, and everybody who listens in it."""

    def __init__(self, **options):
        self.echoes = []
        self.openings = []
        self.sockets = sockets.Sockets(self.accept, **options)

    def accept(self, opening, connection):
        self.openings.append(opening)
        if opening.path == "/none":
            return 404
        if opening.path == "/fault":
            raise RuntimeError("as asked")
        echo = Echo(connection)
        self.echoes.append(echo)
        return echo


async def no_http(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@contextlib.asynccontextmanager
async def opened(**options):
    house = House(**options)
    listener = socket.create_server(("127.0.0.1", 0))
    house.port = listener.getsockname()[1]
    house.url = f"ws://127.0.0.1:{house.port}"
    config = uvicorn.Config(
        no_http,
        http="httptools",
        ws=sockets.protocol(house.sockets),
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    house.server = server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    running = asyncio.create_task(server.main_loop())
    try:
        yield house
    finally:
        server.should_exit = True
        await running
        await server.shutdown(sockets=[listener])


@pytest.fixture
async def house():
    async with opened() as house:
        yield house


class Reads:
    """Every time that a socket of the server has taken what came after the request."""

    def __init__(self):
        self.times = asyncio.Semaphore(0)

    async def next(self):
        await asyncio.wait_for(self.times.acquire(), SECONDS)


@pytest.fixture
def reads(monkeypatch):
    found = Reads()
    take = sockets.Socket.data_received

    def taking(self, data):
        take(self, data)
        if not data.startswith(b"GET "):
            found.times.release()

    monkeypatch.setattr(sockets.Socket, "data_received", taking)
    return found


class Bare:
    """A client that sends the bytes it is told to, when it is told to."""

    def __init__(self, reader, writer, protocol):
        self.reader, self.writer, self.protocol = reader, writer, protocol

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def frames(self):
        """What comes until the other side closes."""
        frames = []
        async for data in self.chunks():
            self.protocol.receive_data(data)
            frames += self.protocol.events_received()
            if frames and frames[-1].opcode is Opcode.CLOSE:
                break
        return frames

    async def next_frame(self):
        while not (events := self.protocol.events_received()):
            data = await asyncio.wait_for(self.reader.read(65_536), SECONDS)
            assert data, "closed"
            self.protocol.receive_data(data)
        [frame] = events
        return frame

    async def chunks(self):
        while data := await asyncio.wait_for(self.reader.read(65_536), SECONDS):
            yield data

    def frame(self, text, **options):
        return Frame(Opcode.TEXT, text, **options).serialize(mask=True)


@contextlib.asynccontextmanager
async def bare(house, path="/"):
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    protocol = ClientProtocol(parse_uri(house.url + path))
    protocol.send_request(protocol.connect())
    writer.write(b"".join(protocol.data_to_send()))
    client = Bare(reader, writer, protocol)
    response = await client.next_frame()
    assert response.status_code == 101
    try:
        yield client
    finally:
        writer.transport.abort()


async def close_code(client):
    """With which code the server closes this client, as its library understands it."""
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(SECONDS):
            async for _ in client:
                pass
    return client.close_code


@pytest.mark.parametrize("size", [0, 1, 3, 125, 126, 127, 4_095, FRAME_BYTES_MAX])
async def test_text_of_every_length_goes_there_and_back(house, size):
    async with connect(house.url) as client:
        text = ("mañana ✨ " * size)[:size].encode()[:size].decode(errors="ignore")
        for _ in range(3):
            await client.send(text)
            assert await client.recv() == text


def test_the_limit_of_a_message_is_the_one_in_the_documents():
    assert sockets.HEARTBEAT_SECONDS == wire.HEARTBEAT_SECONDS


async def test_a_message_that_is_too_large_closes_with_1009(house):
    for text in ("x" * (FRAME_BYTES_MAX + 1), "x" * 1_000_000):
        async with connect(house.url) as client:
            await client.send(text)
            assert await close_code(client) == 1009


async def test_pieces_that_are_too_large_together_close_with_1009(house):
    async with connect(house.url) as client:
        await client.send(iter(["x" * 3_000, "x" * 1_000, "x" * 97]))
        assert await close_code(client) == 1009


async def test_binary_closes_with_1003(house):
    async with connect(house.url) as client:
        await client.send(b"\x00\x01")
        assert await close_code(client) == 1003


@pytest.mark.parametrize("bad", [b"\xff", b'{"op":"\xc3("}', "💐".encode()[:3], b"\xed\xa0\x80"])
async def test_what_is_not_utf_8_closes_with_1007(house, bad):
    async with connect(house.url) as client:
        await client.send(bad, text=True)
        assert await close_code(client) == 1007
        assert house.echoes[-1].times_closed <= 1


async def test_utf_8_that_is_cut_between_two_pieces_is_whole(house):
    async with bare(house) as client:
        flower = "💐".encode()
        await client.send(client.frame(flower[:2], fin=False))
        await client.send(Frame(Opcode.PING, b"hm").serialize(mask=True))
        assert (await client.next_frame()).opcode is Opcode.PONG
        await client.send(Frame(Opcode.CONT, flower[2:]).serialize(mask=True))
        assert (await client.next_frame()).data == flower


async def test_after_pieces_whole_messages_are_read_as_before(house):
    async with connect(house.url) as client:
        await client.send(iter(["one ", "two ", "three"]))
        assert await client.recv() == "one two three"
        await client.send("four")
        assert await client.recv() == "four"


async def test_a_whole_frame_amid_pieces_is_against_the_protocol(house, reads):
    async with bare(house) as client:
        await client.send(client.frame(b"begun", fin=False))
        await reads.next()
        await client.send(client.frame(b"whole"))
        [frame] = await client.frames()
        assert (frame.opcode, frame.data[:2]) == (Opcode.CLOSE, (1002).to_bytes(2, "big"))


async def test_bytes_that_come_one_by_one_are_the_same_messages(house):
    async with bare(house) as client:
        for byte in client.frame(b"slowly") + client.frame(b"x" * 200):
            await client.send(bytes((byte,)))
        assert (await client.next_frame()).data == b"slowly"
        assert (await client.next_frame()).data == b"x" * 200
        await client.send(client.frame(b"at once"))
        assert (await client.next_frame()).data == b"at once"


async def test_a_frame_and_a_half_is_one_message_and_then_another(house):
    async with bare(house) as client:
        second = client.frame(b"second")
        await client.send(client.frame(b"first") + second[:5])
        assert (await client.next_frame()).data == b"first"
        await client.send(second[5:])
        assert (await client.next_frame()).data == b"second"


async def test_the_rest_of_a_frame_that_looks_like_a_frame_is_none(house, reads):
    """A message may hold the bytes of a masked frame; they are text, wherever the packet is cut."""
    inner = b"\x81\x81ab\x80\x80c"
    mask = b"\x80\x80\x00\x00"
    wire_bytes = b"\x80\x80ab" + inner
    text = bytes(byte ^ mask[n % 4] for n, byte in enumerate(wire_bytes))
    assert text.isascii()
    async with bare(house) as client:
        await client.send(b"\x81" + bytes((0x80 | len(text),)) + mask + wire_bytes[: -len(inner)])
        await reads.next()
        await client.send(inner)
        assert (await client.next_frame()).data == text


async def test_a_length_that_is_written_too_long_is_read_all_the_same(house):
    async with bare(house) as client:
        for text in (b"odd", b"even"):
            wordy = b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text
            await client.send(wordy[:3])
            await client.send(wordy[3:])
            assert (await client.next_frame()).data == text
        await client.send(client.frame(b"brief"))
        assert (await client.next_frame()).data == b"brief"


@pytest.mark.parametrize(
    "bad",
    [
        Frame(Opcode.TEXT, b"not masked").serialize(mask=False),
        b"\xc1\x81\x00\x00\x00\x00x",
        b"\x83\x80\x00\x00\x00\x00",
        b"\x80\x81\x00\x00\x00\x00x",
        b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + b"x" * 126,
    ],
    ids=["not masked", "an extension", "no such opcode", "a piece of nothing", "a long ping"],
)
async def test_what_is_against_the_protocol_closes_with_1002(house, bad):
    async with bare(house) as client:
        await client.send(bad)
        [frame] = await client.frames()
        assert (frame.opcode, frame.data[:2]) == (Opcode.CLOSE, (1002).to_bytes(2, "big"))


async def test_nothing_is_compressed_whatever_the_client_offers(house):
    async with connect(house.url, compression="deflate") as client:
        assert client.protocol.extensions == []
        await client.send("plain")
        assert await client.recv() == "plain"


async def test_a_client_that_closes_is_answered_and_gone(house):
    async with connect(house.url) as client:
        await client.close(1000, "enough")
        assert client.close_code == 1000
    [echo] = house.echoes
    await asyncio.wait_for(echo.is_closed.wait(), SECONDS)
    assert echo.times_closed == 1
    assert len(house.sockets) == 0


async def test_a_client_that_is_cut_off_is_gone(house):
    async with bare(house) as client:
        client.writer.transport.abort()
        await asyncio.wait_for(house.echoes[0].is_closed.wait(), SECONDS)
    assert house.echoes[0].times_closed == 1


async def test_what_was_said_before_the_close_arrives_and_nothing_after_it(house):
    async with connect(house.url) as client:
        await client.send("bye")
        assert await client.recv() == "last words"
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4410, "room_ended")


async def test_a_client_that_does_not_answer_the_close_is_cut_off():
    async with opened(close_seconds=0.1, heartbeat_seconds=1) as house, bare(house) as client:
        await client.send(client.frame(b"bye"))
        said, close = await client.frames()
        assert (said.data, close.opcode) == (b"last words", Opcode.CLOSE)
        await asyncio.wait_for(house.echoes[0].is_closed.wait(), SECONDS)


async def test_a_fault_closes_its_own_socket_and_is_logged(house):
    async with connect(house.url) as client, connect(house.url) as other:
        with capture_logs() as logs:
            await client.send("boom")
            assert await close_code(client) == 1011
        assert "RuntimeError: as asked" in logs[0]["traceback"]
        await other.send("still here")
        assert await other.recv() == "still here"


@pytest.mark.parametrize(("path", "status"), [("/none", 404), ("/fault", 500)])
async def test_an_upgrade_is_refused_as_any_other_request(house, path, status):
    with pytest.raises(InvalidStatus) as refused, capture_logs():
        async with connect(house.url + path):
            pass
    response = refused.value.response
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert b'"code":"' in response.body
    assert len(house.sockets) == 0


async def test_an_upgrade_without_a_key_is_refused(house):
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), SECONDS)
    assert answer.startswith(b"HTTP/1.1 400 ")
    writer.close()
    assert house.openings == []


async def test_the_opening_is_told_as_it_came(house):
    async with connect(house.url + "/v1/x/live?key=a%20b", origin="https://elsewhere.example"):
        pass
    [opening] = house.openings
    assert (opening.path, opening.query) == ("/v1/x/live", b"key=a%20b")
    assert (b"origin", b"https://elsewhere.example") in opening.headers
    assert opening.address == "127.0.0.1"


async def test_the_address_is_the_one_that_a_trusted_proxy_tells():
    headers = {"x-forwarded-for": "198.51.100.7, 203.0.113.9"}
    proxies = (ip_network("127.0.0.0/8"),)
    for options, address in (({"proxies": proxies}, "203.0.113.9"), ({}, "127.0.0.1")):
        async with opened(**options) as house, connect(house.url, additional_headers=headers):
            assert house.openings[0].address == address
            assert house.echoes[0].connection.address == address


@pytest.mark.parametrize(
    ("headers", "is_foreign"),
    [
        ({"host": "live.example"}, False),
        ({"host": "live.example", "origin": "https://live.example"}, False),
        ({"host": "live.example:8080", "origin": "http://live.example:8080"}, False),
        ({"host": "inside:8000", "origin": "https://public.example"}, False),
        ({"host": "live.example", "origin": "https://evil.example"}, True),
        ({"host": "live.example", "origin": "https://live.example:444"}, True),
        ({"host": "live.example", "origin": "https://live.example.evil.example"}, True),
        ({"host": "live.example", "origin": "null"}, True),
        ({"host": "live.example", "origin": ""}, True),
        ({"host": "live.example", "origin": "file://live.example"}, True),
    ],
)
def test_a_page_of_another_host_is_foreign(headers, is_foreign):
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    opening = sockets.Opening("/", b"", raw, "127.0.0.1")
    assert sockets.is_foreign(opening, "https://public.example") is is_foreign


@pytest.mark.parametrize(
    ("options", "status"), [({"address_max": 2}, 429), ({"total_max": 2}, 503)]
)
async def test_there_are_only_so_many_sockets_until_one_closes(options, status):
    async with opened(**options) as house, connect(house.url) as first, connect(house.url):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(house.url):
                pass
        assert refused.value.response.status_code == status
        await first.close()
        await asyncio.wait_for(house.echoes[0].is_closed.wait(), SECONDS)
        async with connect(house.url) as third:
            await third.send("room again")
            assert await third.recv() == "room again"


async def test_who_does_not_answer_pings_is_cut_off_and_who_does_is_not():
    async with (
        opened(heartbeat_seconds=0.2) as house,
        connect(house.url) as awake,
        bare(house) as asleep,
    ):
        async with asyncio.timeout(SECONDS):
            pings = [frame async for frame in _pings(asleep)]
        assert len(pings) >= sockets.SILENCES_MAX
        await asyncio.wait_for(house.echoes[1].is_closed.wait(), SECONDS)
        assert not house.echoes[0].is_closed.is_set()
        await awake.send("awake")
        assert await awake.recv() == "awake"


async def _pings(client):
    with contextlib.suppress(ConnectionError):
        async for data in client.chunks():
            for at in range(0, len(data), 2):
                assert data[at : at + 2] == b"\x89\x00"
                yield data[at : at + 2]


async def test_who_floods_with_pings_is_closed(house):
    async with bare(house) as client:
        ping = Frame(Opcode.PING, b"").serialize(mask=True)
        await client.send(ping * (sockets.CONTROL_FRAMES_MAX + 1))
        *_, close = await client.frames()
        assert (close.opcode, close.data[:2]) == (Opcode.CLOSE, (4429).to_bytes(2, "big"))


async def test_who_does_not_read_is_known_by_what_waits_and_nobody_else_notices(house):
    async with bare(house) as deaf, connect(house.url) as other:
        echo = house.echoes[0]
        frame = b"x" * 60_000
        while echo.connection.waiting() < 1_000_000:
            echo.connection.send(frame)
        await other.send("I read")
        assert await other.recv() == "I read"
        assert not echo.drained.is_set()

        while not echo.drained.is_set():
            assert await asyncio.wait_for(deaf.reader.read(1 << 20), SECONDS)
        assert echo.connection.waiting() == 0


async def test_who_does_not_read_his_answers_is_not_listened_to(house):
    """Else one socket could fill the memory with answers to what it keeps asking."""
    async with bare(house) as deaf:
        echo, asked = house.echoes[0], deaf.frame(b"x" * 4_000)
        with contextlib.suppress(TimeoutError):
            for _ in range(5_000):
                deaf.writer.write(asked)
                await asyncio.wait_for(deaf.writer.drain(), 0.5)
        assert echo.connection.waiting() < 4 * sockets.BUFFER_BYTES_HIGH


async def test_the_end_of_the_server_is_told_and_does_not_wait_for_who_does_not_listen():
    async with (
        opened(close_seconds=0.2, heartbeat_seconds=1) as house,
        connect(house.url) as polite,
        bare(house),
    ):
        deaf = house.echoes[1].connection
        while deaf.waiting() < 1_000_000:
            deaf.send(b"x" * 60_000)
        house.server.should_exit = True
        async with asyncio.timeout(3):
            await house.server.shutdown()
        assert await close_code(polite) == 1001
        assert len(house.sockets) == 0


async def test_uvicorn_hands_over_as_we_expect(house, monkeypatch):
    """`Config(ws=...)` takes any class; how it is built and what is called on it is not promised."""
    asked = []

    class Witness(asyncio.Protocol):
        def __init__(self, **named):
            asked.append(("made", sorted(named)))

        def connection_made(self, transport):
            asked.append("connection_made")
            transport.close()

        def data_received(self, data):
            asked.append(data.split(b"\r\n")[0])

    monkeypatch.setattr(house.server.config, "ws_protocol_class", Witness)
    with pytest.raises(InvalidMessage):
        async with connect(house.url + "/v1/here?x=1"):
            pass
    assert asked == [
        ("made", ["app_state", "config", "server_state"]),
        "connection_made",
        b"GET /v1/here?x=1 HTTP/1.1",
    ]
    assert isinstance(house.server.server_state.connections, set)
