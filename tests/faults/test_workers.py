"""
Three processes on one port and one PostgreSQL: one shop, whoever answers and whatever dies.
"""

import asyncio
import contextlib
import itertools
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import httpx
import msgspec
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

from bench import serving
from bench.serving import Server
from tests import postgres as postgres_servers
from tests.faults import house, promises, town
from tests.faults.house import House
from tests.faults.town import Gift, Order, Town
from tests.ledger import tigerbeetle_replicas
from tests.rooms import nats_server
from tests.rooms.nats_server import NatsServer
from tests.web.watchers import Watcher

WORKERS = 3
VIEWERS = 4
SEED = random.SystemRandom().getrandbits(32)
CONNECTIONS_MAX = 200
"""Connections to open until each process has one: which of them takes one is chance."""
GIFTS_EACH = 12
KILL_AFTER = 20
DOWN_AFTER = 20


@pytest.fixture
def home(tmp_path: Path, postgres_url: str) -> House:
    return house.found(tmp_path, database=postgres_url, workers=WORKERS)


@contextlib.contextmanager
def living(home: House) -> Iterator[Server]:
    """Its processes, which end in order unless the test has failed."""
    server = house.start(home)
    try:
        yield server
        assert serving.stop(server, signal.SIGTERM, seconds=60) == 0, home.log.read_text()
    finally:
        end_all(server)


def end_all(server: Server) -> None:
    left = workers_of(server)
    for process in [server.process, *left]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.process.wait()
    psutil.wait_procs(left)


def workers_of(server: Server) -> list[psutil.Process]:
    """The processes that answer, while the parent lives."""
    try:
        return psutil.Process(server.process.pid).children()
    except psutil.NoSuchProcess:
        return []


def worker_of(server: Server, socket: ClientConnection) -> int:
    """The process at the other end of a connection."""
    here = socket.local_address[:2]
    for worker in workers_of(server):
        if any(here == tuple(end.raddr) for end in worker.net_connections("tcp4") if end.raddr):
            return worker.pid
    raise AssertionError("nobody has taken the connection")


async def all_answer(server: Server, *, but: int = 0) -> None:
    """Wait until the parent has said, of every process there is now, that it answers."""

    async def answer() -> bool:
        pids = {worker.pid for worker in workers_of(server)} - {but}
        log = server.log.read_text()
        is_open = "Largesse answers at" in log
        restarted = log.count("worker_ended") <= log.count("worker_answers") - (WORKERS - 1)
        return is_open and restarted and len(pids) == WORKERS

    await town.true_soon("all processes answer", answer)


@contextlib.asynccontextmanager
async def watchers_everywhere(
    server: Server, client: httpx.AsyncClient, people: Town
) -> AsyncIterator[dict[int, Watcher]]:
    """One watcher of the room at each process, by the process."""
    found: dict[int, Watcher] = {}
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            if len(found) == WORKERS:
                break
            headers = town.bearer(people.tokens[len(found)])  # Whom no other process has.
            path = f"/v1/rooms/{people.room_id}"
            answer = await town.expect(client.post(f"{path}/tickets", headers=headers))
            url = f"ws://127.0.0.1:{server.port}{path}/live"
            socket = await stack.enter_async_context(connect(url))
            watcher = Watcher(socket)
            await watcher.say("hello", ticket=answer["ticket"], last_seq=0)
            await watcher.op("welcome")
            if found.setdefault(worker_of(server, socket), watcher) is not watcher:
                await socket.close()
        assert len(found) == WORKERS, f"{CONNECTIONS_MAX} connections went to {list(found)}"
        yield found


needs_nats = pytest.mark.skipif(
    nats_server.program() is None, reason="there is no nats-server here"
)
needs_cluster = pytest.mark.skipif(
    not tigerbeetle_replicas.PROGRAM, reason=tigerbeetle_replicas.NO_PROGRAM
)


@pytest.fixture(
    params=[
        "postgres",
        pytest.param("nats", marks=needs_nats),
        pytest.param("tigerbeetle", marks=needs_cluster),
    ]
)
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What is not PostgreSQL: nothing, the bus, or the ledger."""
    if request.param == "nats":
        server = NatsServer()
        server.start()
        yield {"bus": server.url}
        server.kill()
    elif request.param == "tigerbeetle":
        replicas = tigerbeetle_replicas.form(tmp_path, 1)
        yield {"ledger": f"{replicas.url}?cluster=0"}
        replicas.stop()
    else:
        yield {}


async def test_three_processes_are_one_shop(home: House, engines: dict[str, str]) -> None:
    """
    Sign up, log in, recharge, gift and watch, each time by whichever process takes the connection.

    One key sent over many connections at once is one gift; every watcher sees every gift, in the
    same order, once.
    """
    home = msgspec.structs.replace(home, **engines)
    with living(home) as server:
        await all_answer(server)
        async with town.visitor(server.url) as client:
            people = await town.settle(client, viewers=VIEWERS, seed=SEED)
            await promises.recharge_everybody(client, people)
            async with (
                watchers_everywhere(server, client, people) as watchers,
                clients_everywhere(server) as clients,
            ):
                await town.true_soon(
                    "every process says that there are as many viewers",
                    lambda: _all_count(clients, people, len(watchers)),
                )
                await _gift_everywhere(clients, people)
                await _one_key_is_one_gift(clients, people)
                answered = {gift.answer["id"] for gift in people.gifts if gift.answer}
                seen = [await _seen(watcher, answered) for watcher in watchers.values()]
            assert seen[0] == seen[1] == seen[2]
            assert len(seen[0]) == len(answered)
            await promises.nothing_is_left_open(client, people)
    assert not house.broken_checks(home)
    log = home.log.read_text()
    assert "Traceback" not in log
    assert f"{WORKERS} workers" in log


@contextlib.asynccontextmanager
async def clients_everywhere(server: Server) -> AsyncIterator[list[httpx.AsyncClient]]:
    """A client whose one connection is to each of the processes, as their request ids say."""
    found: dict[str, httpx.AsyncClient] = {}
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            if len(found) == WORKERS:
                break
            visitor = town.visitor(server.url, connections=1)
            client = await stack.enter_async_context(visitor)
            answer = await client.get("/livez")
            if found.setdefault(answer.headers["x-request-id"][:-8], client) is not client:
                await client.aclose()
        assert len(found) == WORKERS, f"{CONNECTIONS_MAX} connections went to {list(found)}"
        yield list(found.values())


async def test_two_hosts_are_one_shop(home: House, tmp_path: Path) -> None:
    """
    Two data folders, one database: who signs up at one host is let in by the other, with the ticket
    of the first, and sees what is given there.
    """
    first = msgspec.structs.replace(home, workers=1)
    second = msgspec.structs.replace(
        first, data=tmp_path / "other", log=tmp_path / "other.log", port=serving.free_port()
    )
    with living(first) as here, living(second) as there:
        async with town.visitor(here.url) as client, town.visitor(there.url) as other:
            people = await town.settle(client, viewers=2, seed=SEED)
            await promises.recharge_everybody(client, people)
            path = f"/v1/rooms/{people.room_id}"
            headers = town.bearer(people.tokens[0])
            ticket = (await town.expect(client.post(f"{path}/tickets", headers=headers)))["ticket"]
            async with connect(f"ws://127.0.0.1:{there.port}{path}/live") as socket:
                watcher = Watcher(socket)
                await watcher.say("hello", ticket=ticket, last_seq=0)
                await watcher.op("welcome")
                for number, host in enumerate([client, other] * 2):
                    gift = Gift(1, town.new_key(people), 1, is_other=number % 2 == 1)
                    people.gifts.append(gift)
                    await promises.send(host, people, gift)
                sent = [gift.answer["id"] for gift in people.gifts if gift.answer]
                assert [order_id for _, order_id in await _seen(watcher, set(sent))] == sent
            # Both hosts say the same of everybody's money. A checkout stays on its own host.
            assert await town.coins_of(client, people.tokens[1]) == await town.coins_of(
                other, people.tokens[1]
            )
    assert not house.broken_checks(first)
    assert not house.broken_checks(second)


async def _gift_everywhere(clients: list[httpx.AsyncClient], people: Town) -> None:
    """
    Each viewer gifts by each of the processes in turn, all viewers at once.

    Two items in turn: counts of one streak might be told together, and here each gift is counted.
    """

    async def gift(viewer: int) -> None:
        for number in range(GIFTS_EACH):
            gift = Gift(viewer, town.new_key(people), 1, is_other=number % 2 == 1)
            people.gifts.append(gift)
            await promises.send(clients[(viewer + number) % WORKERS], people, gift)

    await asyncio.gather(*(gift(viewer) for viewer in range(VIEWERS)))


async def _one_key_is_one_gift(clients: list[httpx.AsyncClient], people: Town) -> None:
    gift = Gift(0, town.new_key(people), 2)
    people.gifts.append(gift)
    answers = await asyncio.gather(*(town.send(client, people, gift) for client in clients * 4))
    assert {answer.status_code for answer in answers} == {201}
    assert len({str(answer.json()["gift"]) for answer in answers}) == 1
    gift.answer = answers[0].json()["gift"]


async def _all_count(clients: list[httpx.AsyncClient], people: Town, viewers: int) -> bool:
    path = f"/v1/rooms/{people.room_id}"
    said = [await town.expect(client.get(path)) for client in clients]
    return {room["viewers"] for room in said} == {viewers}


async def _seen(watcher: Watcher, gifts: set[str]) -> list[tuple[int, str]]:
    """The gifts that a watcher has seen when he has seen all of these: their number and order."""
    seen: list[tuple[int, str]] = []
    while {order_id for _, order_id in seen} < gifts:
        if not watcher.events:
            await watcher.next()
        for event in watcher.events:
            if event["event"] == "gift" and not event["data"]["repeatEnd"]:
                seen.append((event["seq"], event["data"]["orderId"]))
        watcher.events.clear()
    return seen


async def test_after_kill_9_of_one_of_three_nothing_is_lost_and_another_takes_its_place(
    home: House,
) -> None:
    """
    The others answer meanwhile; what the dead one answered is kept. It is the one that keeps lists
    and totals up to date: another takes that over.
    """
    with living(home) as server:
        await all_answer(server)
        async with town.visitor(server.url) as client:
            people = await town.settle(client, viewers=VIEWERS, seed=SEED)
            await promises.recharge_everybody(client, people)
        victim = psutil.Process(await _who_projects(home))

        async def kill() -> None:
            victim.kill()

        killed_at = await _live(server, people, KILL_AFTER, kill)
        await all_answer(server, but=victim.pid)
        print(f"another answers after {time.monotonic() - killed_at:.2f} s")
        assert victim.pid not in {worker.pid for worker in workers_of(server)}
        async with town.visitor(server.url) as client:
            await promises.are_kept(client, people, people.gifts)
            await promises.nothing_is_left_open(client, people)
            await town.true_soon("its job is taken over", lambda: _is_other(home, victim.pid))
            await town.true_soon("every gift is listed", lambda: _all_are_listed(client, people))
    assert not house.broken_checks(home)
    assert home.log.read_text().count("status=-9") == 1


async def test_a_postgresql_that_crashes_and_comes_back_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    """
    While it is away the processes live, say that they are not ready, and answer with 503; then they
    go on by themselves.
    """
    with postgres_servers.server() as database:
        url = database.url(postgres_servers.create_database(database))
        home = house.found(tmp_path, database=url, workers=WORKERS)
        with living(home) as server:
            await all_answer(server)
            async with town.visitor(server.url) as client:
                people = await town.settle(client, viewers=VIEWERS, seed=SEED)
                await promises.recharge_everybody(client, people)
                unseen = await town.log_in(client, "viewer0")
            born = {worker.pid for worker in workers_of(server)}
            is_down = asyncio.Event()

            async def stop() -> None:
                await asyncio.to_thread(database.stop, "immediate")
                is_down.set()

            living_on = asyncio.create_task(_live(server, people, DOWN_AFTER, stop))
            await is_down.wait()
            async with town.visitor(server.url) as client:
                assert await _answers(client, "/readyz", 503)
                # No process remembers this session, and whose it is cannot be asked now. The same
                # gift is sent again at the end.
                gift = Gift(0, town.new_key(people), 1)
                people.gifts.append(gift)
                answer = await town.send(client, people, gift, token=unseen)
                assert answer.status_code == 503, answer.text
                assert (await client.get("/livez")).status_code == 200
                await asyncio.to_thread(database.start)
                await town.true_soon("it is up again", lambda: _answers(client, "/readyz", 200))
                await living_on
                await promises.are_kept(client, people, people.gifts)
                await promises.nothing_is_left_open(client, people)
            assert {worker.pid for worker in workers_of(server)} == born
        assert not house.broken_checks(home)


async def _who_projects(home: House) -> int:
    """The process that holds the lease of the projections."""
    connection = await asyncpg.connect(home.database)
    try:
        holder = await connection.fetchval(
            "SELECT holder FROM records.leases WHERE name = 'projections'"
        )
        return int(str(holder).split(".")[-2])
    finally:
        await connection.close()


async def _is_other(home: House, pid: int) -> bool:
    return await _who_projects(home) != pid


async def _all_are_listed(client: httpx.AsyncClient, people: Town) -> bool:
    """Whether the creator's list of gifts, which follows the ledger, has every gift that was paid."""
    headers = town.bearer(people.creator_token)
    params = {"limit": "100"}
    page = await town.expect(client.get("/v1/earnings/gifts", params=params, headers=headers))
    listed = {earned["gift"]["id"] for earned in page["gifts"]}
    return listed == {gift.answer["id"] for gift in people.gifts if gift.answer}


async def _answers(client: httpx.AsyncClient, path: str, status: int) -> bool:
    return (await client.get(path)).status_code == status


async def _live(
    server: Server, people: Town, sends: int, strike: Callable[[], Awaitable[None]]
) -> float:
    """
    All viewers gift and recharge, and after so many sends something strikes; when that was.

    Whoever is cut off, or told that it does not work now, goes on with the next one.
    """
    numbers, struck_at = itertools.count(1), 0.0

    async def act(client: httpx.AsyncClient, viewer: int, number: int) -> None:
        if number == GIFTS_EACH // 2:
            order = Order(viewer, town.new_key(people))
            people.orders.append(order)
            try:
                await town.recharge(client, people, order)
            except AssertionError as refused:
                if not str(refused).startswith("503"):
                    raise
        else:
            gift = Gift(viewer, town.new_key(people), 1)
            people.gifts.append(gift)
            response = await town.send(client, people, gift)
            assert response.status_code in (201, 503), response.text
            if response.status_code == 201:
                gift.answer = response.json()["gift"]

    async def live(viewer: int) -> None:
        nonlocal struck_at
        async with town.visitor(server.url) as client:
            for number in range(GIFTS_EACH):
                if next(numbers) == sends:
                    struck_at = time.monotonic()
                    await strike()
                with contextlib.suppress(httpx.TransportError):
                    await act(client, viewer, number)

    await asyncio.gather(*(live(viewer) for viewer in range(VIEWERS)))
    assert struck_at, "nothing struck"
    return struck_at
