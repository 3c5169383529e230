"""The simulated audience against a real server, through real sockets."""

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from largesse import settings, simulate
from largesse.app import App
from largesse.books.chart import Environment, TransferCode
from largesse.cli.serving import Running, serving
from largesse.identity import passwords
from largesse.records import users
from largesse.records.users import User
from largesse.simulate import Login, Report, stage

HOME = Path(simulate.__file__).parent
PASSWORD = "nobody guesses this one"
VIEWERS = tuple(Login(f"watcher{n}", PASSWORD) for n in range(3))
CREATORS = tuple(Login(f"performer{n}", PASSWORD) for n in range(2))


@asynccontextmanager
async def server(folder: Path, port: int = 0) -> AsyncIterator[Running]:
    chosen = settings.load({"LARGESSE_DATA": str(folder), "LARGESSE_PORT": str(port)}, None)
    async with serving(chosen, create=Environment.TEST) as running:
        yield running


async def move_in(app: App) -> None:
    """Make the accounts of the audience; the password is hashed once, which is what takes long."""
    password_hash = await passwords.hash_password(PASSWORD)
    people = [(login, ("viewer",)) for login in VIEWERS]
    people += [(login, ("viewer", "creator")) for login in CREATORS]
    for n, (login, roles) in enumerate(people, 1):
        email = f"{login.login}@example.org"
        user = User(f"{n:032x}", login.login, email, "1990-05-17", "DE", roles, app.clock.now())
        await users.insert_user(app.db, user, password_hash=password_hash)


class Audience:
    """A play under way: its last report, and a way to wait for what it should come to."""

    def __init__(
        self, url: str, *, creators: tuple[Login, ...] = CREATORS, gifts_per_second: float = 30
    ) -> None:
        self.stop = asyncio.Event()
        self.last = Report()
        self._changed = asyncio.Event()
        self.play = asyncio.create_task(
            simulate.play(
                url,
                viewers=VIEWERS,
                creators=creators,
                seed=17,
                gifts_per_second=gifts_per_second,
                stop=self.stop,
                report=self._report,
            )
        )

    def _report(self, report: Report) -> None:
        self.last = report
        self._changed.set()

    async def until(self, holds: Callable[[Report], bool]) -> Report:
        """The first report for which this holds."""
        async with asyncio.timeout(60):
            while not holds(self.last):
                assert not self.play.done(), await self.play
                self._changed.clear()
                await self._changed.wait()
        return self.last

    async def end(self) -> Report:
        self.stop.set()
        async with asyncio.timeout(stage.GRACE_SECONDS + 10):
            return await self.play


async def get(client: httpx.AsyncClient, login: Login, *paths: str) -> list[dict[str, object]]:
    """What somebody reads at these paths."""
    body = {"login": login.login, "password": login.password}
    session = (await client.post("/v1/sessions", json=body)).raise_for_status().json()
    headers = {"authorization": f"Bearer {session['token']}"}
    return [(await client.get(path, headers=headers)).raise_for_status().json() for path in paths]


async def assert_told_the_truth(running: Running, report: Report) -> None:
    """
    Every gift it counted is there once, every coin has come from an order, all rooms are over, and
    what the rooms have told is what the ledger has.
    """
    async with httpx.AsyncClient(base_url=running.url) as client:
        held = bought = left = recharges = 0
        for creator in CREATORS:
            [earnings] = await get(client, creator, "/v1/earnings")
            held += Decimal(str(earnings["held"]))
        for viewer in VIEWERS:
            wallet, page = await get(client, viewer, "/v1/wallet", "/v1/orders?limit=200")
            left += wallet["coins"]
            credited = [order for order in page["orders"] if order["status"] == "credited"]
            bought += sum(order["coins"] for order in credited)
            recharges += len(credited)
        rooms = (await client.get("/v1/rooms?live=true")).raise_for_status().json()
    assert held * 2 == report.coins_gifted  # A creator's share is half.
    assert bought - left == report.coins_gifted
    # A payment that was under way at the end may be credited without the audience having seen it.
    assert bought >= report.coins_bought
    assert 0 <= recharges - report.recharges <= len(VIEWERS)
    assert rooms["rooms"] == []
    assert await gifts_in(running.app) == report.gifts
    assert report.repeats == report.resyncs == 0
    events = await told_from_the_first(running.url)
    finished = [data for name, data in events if name == "gift" and data["repeatEnd"]]
    assert sum(data["diamondCount"] * data["repeatCount"] for data in finished) == held * 2
    lines = [data["comment"] for name, data in events if name == "chat"]
    assert report.lines <= len(lines)


async def gifts_in(app: App) -> int:
    """How many gifts the ledger has."""
    gifts = after = 0
    while changes := await app.ledger.changes(after):
        codes = [change.chain[0].transfer.code for change in changes if change.chain]
        gifts += codes.count(TransferCode.GIFT)
        after = changes[-1].timestamp
    return gifts


async def told_from_the_first(url: str) -> list[tuple[str, dict[str, Any]]]:
    """Everything that was told in all rooms, which are over, with gap or repeat in none."""
    events: list[tuple[str, dict[str, Any]]] = []
    async with httpx.AsyncClient(base_url=url) as client:
        rooms = (await client.get("/v1/rooms?limit=200")).raise_for_status().json()["rooms"]
        for room in rooms:
            path = f"/v1/rooms/{room['id']}"
            ticket = (await client.post(f"{path}/tickets")).raise_for_status().json()["ticket"]
            async with connect(f"{url.replace('http', 'ws')}{path}/live", proxy=None) as socket:
                await socket.send(json.dumps({"op": "hello", "ticket": ticket, "last_seq": 0}))
                frames = []
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        frames.append(json.loads(await socket.recv()))
            assert socket.close_code == 4410
            told = [frame for frame in frames if "event" in frame]
            assert [frame["seq"] for frame in told] == list(range(1, len(told) + 1))
            assert told[-1]["event"] == "streamEnd"
            events += [(frame["event"], frame["data"]) for frame in told]
    return events


async def test_an_audience_recharges_and_gifts_until_it_is_stopped(tmp_path: Path) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url)
        await audience.until(lambda so_far: so_far.gifts >= 40 and so_far.recharges >= 2)
        seen = {"gift", "chat", "like", "member", "roomUser"}
        await audience.until(lambda so_far: so_far.events.keys() >= seen)
        report = await audience.end()
        assert report.errors == 0
        assert set(report.refusals) <= {"insufficient_coins", "rate_limited"}
        assert report.refusals["insufficient_coins"] >= 1
        assert report.visits >= 2
        assert report.gifts_by_socket == report.gifts
        assert report.entries >= len(CREATORS) + 2
        assert report.lines >= 1
        assert report.likes >= 1
        await assert_told_the_truth(running, report)


async def test_an_audience_waits_for_a_server_that_is_restarted(tmp_path: Path) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url)
        before = await audience.until(lambda so_far: so_far.gifts >= 20)
        port = running.app.settings.port
    await audience.until(lambda so_far: so_far.errors >= 3)
    async with server(tmp_path / "data", port) as running:
        again = await audience.until(lambda so_far: so_far.gifts >= before.gifts + 20)
        assert again.entries > before.entries
        await assert_told_the_truth(running, await audience.end())


async def test_a_server_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Killed while gifts, combos and lines are under way; the next one goes on from its disk."""
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        port = running.app.settings.port
    own = {name: value for name, value in os.environ.items() if not name.startswith("LARGESSE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "largesse", "serve"),
        env=own | {"LARGESSE_DATA": str(tmp_path / "data"), "LARGESSE_PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    audience = Audience(f"http://127.0.0.1:{port}", gifts_per_second=60)
    try:
        before = await audience.until(lambda so_far: so_far.gifts >= 60)
    finally:
        process.kill()
        await process.wait()
    away = await audience.until(lambda so_far: so_far.errors >= before.errors + 3)
    async with server(tmp_path / "data", port) as running:
        await audience.until(lambda so_far: so_far.gifts_by_socket >= away.gifts_by_socket + 20)
        await assert_told_the_truth(running, await audience.end())


@asynccontextmanager
async def lossy_way(url: str, *, sockets: bool) -> AsyncIterator[tuple[str, list[bytes]]]:
    """
    An address from where every third answer to a gift is lost, and with it the connection; and the
    keys it was lost for. Without `sockets` it lets none through.
    """
    there = httpx.URL(url)
    lost: list[bytes] = []
    gifts = count(1)

    async def pump(
        source: asyncio.StreamReader, drain: asyncio.StreamWriter, keys: list[bytes]
    ) -> None:
        """Carry what comes from one side to the other; `keys` of gifts in requests over HTTP."""
        while some := await source.read(65_536):
            if not sockets and b"upgrade: websocket" in some.lower():
                return
            if b"/gifts HTTP" in some:
                keys.append(re.search(rb"idempotency-key: (\S+)", some)[1])
            acks = re.findall(rb'"op":"ack","key":"([^"]+)","gift":', some)
            if b"HTTP/1.1 201" in some and keys:
                acks.append(keys[-1])
            if any(next(gifts) % 3 == 0 for _ in acks):
                lost.extend(acks)
                return
            drain.write(some)
            await drain.drain()

    async def carry(to_us: asyncio.StreamReader, from_us: asyncio.StreamWriter) -> None:
        to_server, from_server = await asyncio.open_connection(there.host, there.port)
        keys: list[bytes] = []
        ways = (pump(to_us, from_server, keys), pump(to_server, from_us, keys))
        pumps = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            from_server.close()
            from_us.close()

    async with await asyncio.start_server(carry, "127.0.0.1") as way:
        yield f"http://127.0.0.1:{way.sockets[0].getsockname()[1]}", lost


@pytest.mark.parametrize("sockets", [True, False])
async def test_a_gift_whose_answer_was_lost_is_asked_for_again_and_paid_once(
    tmp_path: Path, sockets: bool
) -> None:
    async with (
        server(tmp_path / "data") as running,
        lossy_way(running.url, sockets=sockets) as (url, lost),
    ):
        await move_in(running.app)
        audience = Audience(url)
        await audience.until(lambda so_far: so_far.gifts >= 30 and len(lost) >= 5)
        report = await audience.end()
        assert report.errors >= len(lost)
        assert (report.gifts_by_socket > 0) == sockets
        await assert_told_the_truth(running, report)


async def end_rooms(running: Running) -> None:
    """As if every creator had ended his room elsewhere."""
    now = running.app.clock.now()
    async with httpx.AsyncClient(base_url=running.url) as client:
        for room in (await client.get("/v1/rooms?live=true")).json()["rooms"]:
            await running.app.rooms.end(room["id"], room["creator_id"], now=now)


async def test_everybody_moves_on_when_a_room_is_over_though_nobody_gifts(tmp_path: Path) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url, gifts_per_second=1e-6)
        there = len(CREATORS) + 2
        await audience.until(lambda so_far: so_far.entries >= there)
        await end_rooms(running)
        await audience.until(lambda so_far: so_far.entries >= 2 * there)
        report = await audience.end()
        assert report.gifts == 0
        await assert_told_the_truth(running, report)


async def test_a_session_that_ends_and_a_room_that_is_closed_are_opened_again(
    tmp_path: Path,
) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url)
        await audience.until(lambda so_far: so_far.gifts >= 10)
        for n, _ in enumerate((*VIEWERS, *CREATORS), 1):
            await running.app.sessions.close_all(f"{n:032x}")
        await end_rooms(running)
        before = audience.last
        await audience.until(lambda so_far: so_far.gifts >= before.gifts + 10)
        report = await audience.end()
        assert report.refusals.keys() & {"session_required", "session_expired"}
        async with httpx.AsyncClient(base_url=running.url) as client:
            rooms = (await client.get("/v1/rooms")).raise_for_status().json()["rooms"]
        assert len(rooms) > len(CREATORS)
        await assert_told_the_truth(running, report)


async def test_whoever_gifts_too_fast_goes_on_when_he_may(tmp_path: Path) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url, gifts_per_second=100)
        limited = await audience.until(lambda so_far: so_far.refusals.get("rate_limited", 0) >= 1)
        await audience.until(lambda so_far: so_far.gifts >= limited.gifts + 20)
        await assert_told_the_truth(running, await audience.end())


async def test_without_a_creator_who_may_open_a_room_nobody_gifts(tmp_path: Path) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url, creators=VIEWERS[:1])
        await audience.until(lambda so_far: so_far.refusals.get("role_required", 0) >= 2)
        assert (await audience.end()).gifts == 0


async def test_an_audience_can_be_stopped_while_it_waits_for_a_server() -> None:
    audience = Audience("http://127.0.0.1:9")
    await audience.until(lambda so_far: so_far.errors >= 2)
    report = await audience.end()
    assert report.visits == 0


async def test_a_play_that_is_cut_off_leaves_nothing_running(tmp_path: Path) -> None:
    """As by Ctrl-C. The next play finds its creators still live, and takes their rooms over."""
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url)
        await audience.until(lambda so_far: so_far.gifts >= 5)
        audience.play.cancel()
        with pytest.raises(asyncio.CancelledError):
            await audience.play
        running_files = {task.get_coro().cr_code.co_filename for task in asyncio.all_tasks()}
        assert not [file for file in running_files if Path(file).is_relative_to(HOME)]
        again = Audience(running.url)
        await again.until(lambda so_far: so_far.gifts >= 5)
        assert (await again.end()).refusals["room_already_live"] >= 1
