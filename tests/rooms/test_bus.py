"""What one process says the others hear, soon and once; and when the bus is lost it comes back."""

import asyncio
import re
import sys

import pytest

from largesse.errors import Rejected
from largesse.rooms import bus_postgres
from largesse.rooms.bus import Bus, Topic, open_bus
from tests import postgres as postgres_servers
from tests.rooms.nats_server import NatsServer, program
from tests.rooms.town import PATIENCE_SECONDS

NO_NATS = "nats-server is not installed here"
needs_nats = pytest.mark.skipif(program() is None, reason=NO_NATS)


class Ear:
    """What a process has heard on one topic."""

    def __init__(self, bus: Bus, topic: Topic) -> None:
        self.heard: list[str] = []
        self._some = asyncio.Event()
        bus.listen(topic, self._hear)

    def _hear(self, said: str) -> None:
        self.heard.append(said)
        self._some.set()

    async def until(self, is_so) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so(self.heard):
                self._some.clear()
                await self._some.wait()


@pytest.fixture
async def nats():
    server = NatsServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["postgres", pytest.param("nats", marks=needs_nats)])
def url(request):
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return request.getfixturevalue("nats").url


@pytest.fixture
async def connect(request):
    opened: list[Bus] = []

    async def open_another(url: str) -> Bus:
        bus = await open_bus(url, f"process-{len(opened)}")
        assert bus is not None
        opened.append(bus)
        return bus

    yield open_another
    for bus in opened:
        await bus.close()


async def test_what_one_says_all_others_hear_and_not_he_himself(connect, url):
    one, two, three = [await connect(url) for _ in range(3)]
    ears = [Ear(bus, Topic.USER) for bus in (one, two, three)]
    other = Ear(two, Topic.LOG)
    one.wake(Topic.USER, "ana")
    for ear in ears[1:]:
        await ear.until(lambda heard: heard == ["ana"])
    two.wake(Topic.USER, "cy")
    await ears[0].until(lambda heard: heard == ["cy"])
    await ears[2].until(lambda heard: len(heard) == 2)
    assert [ear.heard for ear in ears] == [["cy"], ["ana"], ["ana", "cy"]]
    assert other.heard == []


async def test_a_thousand_wakes_are_a_few_and_no_word_is_lost(connect, url):
    one, two = [await connect(url) for _ in range(2)]
    log, users = Ear(two, Topic.LOG), Ear(two, Topic.USER)
    for number in range(1_000):
        one.wake(Topic.LOG)
        one.wake(Topic.USER, f"user-{number}")
        if number % 100 == 0:
            await asyncio.sleep(0)
    await users.until(lambda heard: len(heard) == 1_000)
    assert users.heard == [f"user-{number}" for number in range(1_000)]
    assert 1 <= len(log.heard) <= 5


async def test_a_connection_that_the_server_cut_is_made_anew_and_everybody_looks(
    connect, postgres, postgres_url
):
    one, two = [await connect(postgres_url) for _ in range(2)]
    ear = Ear(two, Topic.LOG)
    pid = two._connection.get_server_pid()
    postgres_servers.sql(postgres, f"SELECT pg_terminate_backend({pid})")
    await ear.until(lambda heard: "" in heard)
    one.wake(Topic.LOG, "more")
    await ear.until(lambda heard: "more" in heard)


class DeafWire:
    """A wire to a server over which nothing comes any more once it `is_deaf`, and no word of it."""

    def __init__(self, port: int) -> None:
        self._there = port
        self.is_deaf = False
        self._ends: list[asyncio.StreamWriter] = []

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_deaf_for_ever = self.is_deaf = False
        there, back = await asyncio.open_connection("127.0.0.1", self._there)
        self._ends += [back, writer]

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            nonlocal is_deaf_for_ever
            while data := await source.read(65_536):
                is_deaf_for_ever |= self.is_deaf
                if not is_deaf_for_ever:
                    target.write(data)

        await asyncio.gather(carry(reader, back), carry(there, writer), return_exceptions=True)

    def close(self) -> None:
        for end in self._ends:
            end.transport.abort()


async def test_a_connection_that_is_silently_dead_is_noticed_and_made_anew(
    connect, monkeypatch, postgres, postgres_url
):
    monkeypatch.setattr(bus_postgres, "ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(bus_postgres, "CONNECT_SECONDS_MAX", 1)
    wire = DeafWire(postgres.port)
    async with await asyncio.start_server(wire.pass_on, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        one = await connect(postgres_url)
        two = await connect(postgres_url.replace(f":{postgres.port}/", f":{port}/"))
        ear = Ear(two, Topic.LOG)
        one.wake(Topic.LOG, "before")
        await ear.until(lambda heard: heard == ["before"])
        wire.is_deaf = True
        await ear.until(lambda heard: "" in heard)
        one.wake(Topic.LOG, "after")
        await ear.until(lambda heard: "after" in heard)
        await two.close()
        wire.close()


async def test_a_postgresql_that_stops_and_starts_again(connect):
    with postgres_servers.server() as server:
        one, two = [await connect(server.url()) for _ in range(2)]
        ears = [Ear(bus, Topic.USER) for bus in (one, two)]
        server.stop("immediate")
        one.wake(Topic.USER, "said meanwhile")
        server.start()
        for ear in ears:  # What was said meanwhile may be lost, but not that something may be.
            await ear.until(lambda heard: "" in heard)
        one.wake(Topic.USER, "said after")
        await ears[1].until(lambda heard: "said after" in heard)
        for bus in (one, two):
            await bus.close()


@needs_nats
async def test_a_nats_that_is_killed_and_started_again(connect, nats):
    one, two = [await connect(nats.url) for _ in range(2)]
    ear, segments = Ear(two, Topic.LOG), Segments()
    two.follow("room", segments.hear)
    await _is_followed(two, "room")
    nats.kill()
    one.wake(Topic.LOG, "said meanwhile")
    nats.start()
    await ear.until(lambda heard: "" in heard)
    one.wake(Topic.LOG, "said after")
    await ear.until(lambda heard: "said after" in heard)
    one.carry("room", b"a segment")
    await segments.until(lambda heard: heard == [("room", b"a segment")])


class Segments:
    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._some = asyncio.Event()

    def hear(self, room_id: str, segment: bytes) -> None:
        self.heard.append((room_id, segment))
        self._some.set()

    async def until(self, is_so) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so(self.heard):
                self._some.clear()
                await self._some.wait()


@needs_nats
async def test_segments_go_to_whoever_follows_the_room_and_long_ones_to_nobody(connect, nats):
    one, two, three = [await connect(nats.url) for _ in range(3)]
    follower, stranger = Segments(), Segments()
    two.follow("a", follower.hear)
    three.follow("b", stranger.hear)
    await _is_followed(two, "a")
    one.carry("a", b"first")
    too_long = bytes(one._client.max_payload + 1)
    one.carry("a", too_long)
    one.carry("a", b"last")
    await follower.until(lambda heard: heard[-1:] == [("a", b"last")])
    assert follower.heard == [("a", b"first"), ("a", b"last")]
    two.follow("a", None)
    log = Ear(two, Topic.LOG)
    one.carry("a", b"nobody is here")
    one.wake(Topic.LOG, "after it")
    await log.until(lambda heard: heard)
    assert len(follower.heard) == 2
    assert stranger.heard == []


async def _is_followed(bus: Bus, room_id: str) -> None:
    """Until the server knows of it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while room_id not in bus._followed:  # noqa: ASYNC110 - Nothing tells of it.
            await asyncio.sleep(0.005)
        await bus._client.flush()


@needs_nats
async def test_installations_that_share_a_server_do_not_hear_one_another(connect, nats):
    ours, theirs = await connect(nats.url + "/ours"), await connect(nats.url + "/theirs")
    also_ours = await connect(nats.url + "/ours")
    heard, not_heard = Ear(also_ours, Topic.USER), Ear(theirs, Topic.USER)
    ours.wake(Topic.USER, "ana")
    await heard.until(lambda heard: heard == ["ana"])
    assert not_heard.heard == []


async def refusal(url: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await open_bus(url, "a-process")
    return caught.value


async def test_no_address_is_no_bus_and_an_unknown_one_is_refused():
    assert await open_bus("", "a-process") is None
    refused = await refusal("redis://127.0.0.1")
    assert (refused.code, refused.facts["found"]) == ("engine_unknown", "redis")


@pytest.mark.parametrize("scheme", ["postgresql", "nats"])
async def test_an_address_that_does_not_answer_is_refused_without_its_password(scheme):
    port = postgres_servers.free_port()
    refused = await refusal(f"{scheme}://ana:secret@127.0.0.1:{port}/x")
    assert refused.code == "bus_unreachable"
    assert f"127.0.0.1:{port}" in refused.facts["address"]
    assert "secret" not in str(refused.facts)


@pytest.mark.parametrize(
    "password", ["sec/ret", "sec?ret", "sec#ret", "sec@ret", "[sec", "x/sec@ret"]
)
@pytest.mark.parametrize("scheme", ["postgresql", "nats"])
async def test_no_part_of_a_password_is_shown_that_was_not_written_as_it_has_to_be(
    scheme, password
):
    port = postgres_servers.free_port()
    refused = await refusal(f"{scheme}://ana:{password}@127.0.0.1:{port}/x")
    assert refused.code == "bus_unreachable"
    assert f"127.0.0.1:{port}" in refused.facts["address"]
    assert not {"sec", "ret", "ana"} & set(re.split(r"\W+", str(refused.facts)))


async def test_a_wrong_password_is_refused(postgres):
    refused = await refusal(postgres.url(password="wrong"))
    assert (refused.code, "wrong" in str(refused.facts)) == ("bus_unreachable", False)


@pytest.mark.parametrize("url", ["nats://", "nats://127.0.0.1:1/a b", "nats://h:1/*"])
async def test_an_address_that_is_none_is_refused(url):
    assert (await refusal(url)).code == "bus_unreachable"


async def test_where_the_client_of_nats_is_not_installed_that_is_said(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "nats"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nats", None)
    monkeypatch.delitem(sys.modules, "largesse.rooms.bus_nats", raising=False)
    refused = await refusal("nats://127.0.0.1:4222")
    assert (refused.code, refused.facts) == (
        "engine_not_installed",
        {"engine": "nats", "extra": "nats"},
    )
