"""The simulated audience against a real server, through real sockets."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path

import httpx
import pytest

from largesse import settings, simulate
from largesse.app import App
from largesse.books.chart import Environment
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
    for n, (login, roles) in enumerate(people):
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


async def assert_told_the_truth(url: str, report: Report) -> None:
    """Every gift it counted is there once, every coin has come from an order, all rooms are over."""
    async with httpx.AsyncClient(base_url=url) as client:
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


async def test_an_audience_recharges_and_gifts_until_it_is_stopped(tmp_path: Path) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url)
        await audience.until(lambda so_far: so_far.gifts >= 40 and so_far.recharges >= 3)
        report = await audience.end()
        assert report.errors == 0
        assert set(report.refusals) <= {"insufficient_coins", "rate_limited"}
        assert report.refusals["insufficient_coins"] >= 1
        assert report.visits >= 2
        await assert_told_the_truth(running.url, report)


async def test_an_audience_waits_for_a_server_that_is_restarted(tmp_path: Path) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url)
        before = await audience.until(lambda so_far: so_far.gifts >= 20)
        port = running.app.settings.port
    await audience.until(lambda so_far: so_far.errors >= 3)
    async with server(tmp_path / "data", port) as running:
        await audience.until(lambda so_far: so_far.gifts >= before.gifts + 20)
        await assert_told_the_truth(running.url, await audience.end())


@asynccontextmanager
async def lossy_way(url: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An address from where every third answer to a gift is lost; and the keys it was lost for."""
    there = httpx.URL(url)
    lost: list[bytes] = []
    gifts = count(1)

    async def carry(to_us: asyncio.StreamReader, from_us: asyncio.StreamWriter) -> None:
        to_server, from_server = None, None
        try:
            to_server, from_server = await asyncio.open_connection(there.host, there.port)
            while asked := await to_us.read(65_536):
                from_server.write(asked)
                answer = await to_server.read(65_536)
                if b"/gifts HTTP" in asked and next(gifts) % 3 == 0:
                    lost.append(re.search(rb"idempotency-key: (\S+)", asked)[1])
                    return
                from_us.write(answer)
        except ConnectionError:
            return
        finally:
            from_us.close()
            if from_server is not None:
                from_server.close()

    async with await asyncio.start_server(carry, "127.0.0.1") as way:
        yield f"http://127.0.0.1:{way.sockets[0].getsockname()[1]}", lost


async def test_a_gift_whose_answer_was_lost_is_asked_for_again_and_paid_once(
    tmp_path: Path,
) -> None:
    async with server(tmp_path / "data") as running, lossy_way(running.url) as (url, lost):
        await move_in(running.app)
        audience = Audience(url)
        await audience.until(lambda so_far: so_far.gifts >= 30)
        report = await audience.end()
        assert report.errors >= len(lost) >= 5
        await assert_told_the_truth(running.url, report)


async def test_a_session_that_ends_and_a_room_that_is_closed_are_opened_again(
    tmp_path: Path,
) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url)
        before = await audience.until(lambda so_far: so_far.gifts >= 10)
        now = running.app.clock.now()
        for n in range(len(VIEWERS) + len(CREATORS)):
            await running.app.sessions.close_all(f"{n:032x}")
        async with httpx.AsyncClient(base_url=running.url) as client:
            for room in (await client.get("/v1/rooms?live=true")).json()["rooms"]:
                await running.app.rooms.end(room["id"], room["creator_id"], now=now)
        await audience.until(lambda so_far: so_far.gifts >= before.gifts + 10)
        report = await audience.end()
        assert report.refusals["room_ended"] >= 1
        assert report.refusals.keys() & {"session_required", "session_expired"}
        await assert_told_the_truth(running.url, report)


async def test_whoever_gifts_too_fast_goes_on_when_he_may(tmp_path: Path) -> None:
    async with server(tmp_path / "data") as running:
        await move_in(running.app)
        audience = Audience(running.url, gifts_per_second=100)
        limited = await audience.until(lambda so_far: so_far.refusals.get("rate_limited", 0) >= 1)
        await audience.until(lambda so_far: so_far.gifts >= limited.gifts + 20)
        await assert_told_the_truth(running.url, await audience.end())


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
