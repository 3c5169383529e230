"""The simulated audience: its plan by itself, and its play against a real server."""

import asyncio
import re
import statistics
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import cache
from itertools import count, islice, pairwise
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from largesse import ids, settings, simulate
from largesse.app import App
from largesse.books.chart import Environment
from largesse.cli.serving import Running, serving
from largesse.identity import passwords
from largesse.records import users
from largesse.records.users import User
from largesse.simulate import Login, Report, api, choice, plan, stage
from largesse.simulate.choice import Item, Package
from largesse.simulate.plan import KINDS, Visit, Wish

ITEMS = [Item("rose", 1, True), Item("heart", 1, True), Item("kite", 30, True), Item("moon", 5_000)]
HOME = Path(simulate.__file__).parent
PACKAGES = [Package("few", 70), Package("some", 350), Package("many", 17_500)]


def freshly_planned(
    number: int, *, seed: int = 17, viewers: int = 200, creators: int = 10, per_second: float = 20
) -> tuple[Visit, ...]:
    planned = plan.plan(seed, viewers=viewers, creators=creators, gifts_per_second=per_second)
    return tuple(islice(planned, number))


visits = cache(freshly_planned)


def test_the_same_seed_gives_the_same_audience_and_another_seed_another() -> None:
    assert freshly_planned(300) == freshly_planned(300)
    assert freshly_planned(300, seed=18) != freshly_planned(300)
    assert freshly_planned(100) == freshly_planned(300)[:100]


def test_most_gifts_are_cheap_and_few_whales_pay_for_much() -> None:
    planned = visits(3_000)
    wishes = [(visit, wish) for visit in planned for wish in visit.wishes]
    cheap = sum(wish.coins <= 99 for _, wish in wishes) / len(wishes)
    assert 0.95 < cheap < 0.999
    assert 0.4 < sum(wish.coins == 1 for _, wish in wishes) / len(wishes) < 0.7
    coins = sum(wish.coins for _, wish in wishes)
    by_whales = sum(wish.coins for visit, wish in wishes if visit.kind is KINDS["whale"])
    assert by_whales > 0.25 * coins
    assert all(wish.coins <= visit.kind.gift_coins_max for visit, wish in wishes)


def test_there_is_a_whale_however_small_the_audience() -> None:
    for viewers in (1, 2, 20, 200):
        kinds = plan.kinds_of(17, viewers)
        assert len(kinds) == viewers
        assert kinds.count(KINDS["whale"]) == max(1, viewers // 50)
    assert plan.kinds_of(17, 200).count(KINDS["supporter"]) == 20


def test_viewers_arrive_as_a_poisson_process_after_the_opening() -> None:
    """Gaps are exponential: as long on average as their deviation, and by their rate."""
    planned = visits(3_000)
    opening = [visit for visit in planned if visit.at_seconds <= plan.OPENING_SECONDS]
    assert 115 <= len(opening) <= 120
    at = [visit.at_seconds for visit in planned[len(opening) :]]
    gaps = [later - earlier for earlier, later in pairwise(at)]
    expected = plan.SESSION_SECONDS_MEDIAN * 2.718281828**0.5 / 120
    assert min(gaps) >= 0
    assert abs(statistics.mean(gaps) / expected - 1) < 0.1
    assert abs(statistics.stdev(gaps) / statistics.mean(gaps) - 1) < 0.1


def test_sessions_are_log_normal() -> None:
    lengths = sorted(visit.lasts_seconds for visit in visits(3_000))
    median = plan.SESSION_SECONDS_MEDIAN
    assert abs(statistics.median(lengths) / median - 1) < 0.1
    # One standard deviation of the logarithm to either side holds 68%.
    within = sum(median / 2.718 < length < median * 2.718 for length in lengths) / len(lengths)
    assert 0.64 < within < 0.72
    assert lengths[-1] <= plan.SESSION_SECONDS_MAX


def test_creators_are_popular_by_zipf() -> None:
    planned = visits(3_000)
    counts = [sum(visit.creator == n for visit in planned) for n in range(10)]
    harmonic = sum(1 / rank for rank in range(1, 11))
    for rank, visitors in enumerate(counts, 1):
        assert abs(visitors / len(planned) - 1 / rank / harmonic) < 0.03


def test_the_audience_wishes_to_send_as_many_gifts_as_it_was_told() -> None:
    """Counted over the hour after the rooms have settled."""
    planned = visits(2_400, per_second=5)
    sent = [visit.at_seconds + wish.after_seconds for visit in planned for wish in visit.wishes]
    assert planned[-1].at_seconds > 7_200
    within = sum(3_600 <= at < 7_200 for at in sent)
    assert abs(within / 3_600 / 5 - 1) < 0.15


def test_nobody_is_in_two_rooms_at_once() -> None:
    leaves_at: dict[int, float] = {}
    for visit in visits(1_000, viewers=7, per_second=0.5):
        assert leaves_at.get(visit.viewer, 0.0) <= visit.at_seconds
        leaves_at[visit.viewer] = visit.at_seconds + visit.lasts_seconds
        times = [wish.after_seconds for wish in visit.wishes]
        assert times == sorted(times)
        assert all(0 < after < visit.lasts_seconds for after in times)


def test_some_recharge_first_some_cards_are_declined_and_webhooks_travel_every_way() -> None:
    planned = visits(3_000)
    first = sum(visit.recharge_draw is not None for visit in planned) / len(planned)
    declined = sum(visit.declines for visit in planned) / len(planned)
    assert abs(first - plan.RECHARGE_FIRST_SHARE) < 0.03
    assert abs(declined - plan.DECLINED_SHARE) < 0.01
    assert {visit.webhook for visit in planned} == set(plan.WEBHOOKS)


def test_one_viewer_of_one_creator_is_an_audience() -> None:
    assert len(visits(50, viewers=1, creators=1, per_second=0.01)) == 50


@given(draw=st.floats(0, 1, exclude_max=True))
def test_a_draw_picks_by_weight(draw: float) -> None:
    assert plan.pick(["a", "b", "c"], [1, 2, 1], draw) == (
        "a" if draw < 0.25 else "b" if draw < 0.75 else "c"
    )


def test_the_dearest_item_that_a_wish_can_pay_for_is_sent() -> None:
    def sent(coins: int, draw: float = 0.0) -> str:
        return choice.item_for(ITEMS, Wish(0.0, coins, 1, draw)).id

    assert [sent(1), sent(1, 0.7), sent(29), sent(30), sent(4_999), sent(50_000)] == [
        *("rose", "heart", "rose", "kite", "kite", "moon")
    ]
    assert choice.item_for(ITEMS[3:], Wish(0.0, 1, 1, 0.0)).id == "moon"


def test_only_streakable_items_are_sent_in_numbers_and_within_what_he_gives() -> None:
    def quantity(item: Item, wished: int, kind: str) -> int:
        return choice.quantity_for(item, Wish(0.0, 1, wished, 0.0), KINDS[kind])

    assert quantity(ITEMS[0], 99, "regular") == 99
    assert quantity(ITEMS[2], 99, "regular") == 16  # 500 coins are 16 kites.
    assert quantity(ITEMS[2], 99, "whale") == 99
    assert quantity(ITEMS[3], 99, "whale") == 1
    assert quantity(Item("sun", 600, True), 5, "regular") == 1


def test_a_regular_chooses_small_packages_and_a_whale_large_ones() -> None:
    def shares(kind: str) -> list[float]:
        draws = [(n + 0.5) / 1_000 for n in range(1_000)]
        chosen = [choice.package_for(PACKAGES, KINDS[kind], draw).coins for draw in draws]
        return [chosen.count(package.coins) / 1_000 for package in PACKAGES]

    assert shares("regular") == [0.605, 0.272, 0.123]
    assert shares("whale") == [0.194, 0.310, 0.496]


def test_who_runs_short_buys_the_offer_unless_it_would_not_last() -> None:
    few, some, many = PACKAGES
    assert choice.package_that_lasts(PACKAGES, few, 70) == few
    assert choice.package_that_lasts(PACKAGES, few, 71) == some
    assert choice.package_that_lasts(PACKAGES, some, 1) == some
    assert choice.package_that_lasts(PACKAGES, few, 99_999) == many
    assert choice.package_that_lasts([], few, 99_999) == few


@given(milliseconds=st.integers(2**40, 2**48 - 1), entropy=st.binary(min_size=10, max_size=10))
def test_keys_are_uuids_that_carry_their_time(milliseconds: int, entropy: bytes) -> None:
    key = api.key_of(milliseconds, entropy)
    parsed = uuid.UUID(key)
    assert (str(parsed), parsed.version, parsed.variant) == (key, 7, uuid.RFC_4122)
    assert ids.key_time(ids.from_key("ana", key)) == milliseconds


def test_keys_differ_by_every_random_bit() -> None:
    keys = {api.key_of(1, (1 << bit).to_bytes(10, "big")) for bit in range(74)}
    assert len(keys) == 74


# The play, against a real server on a real socket.

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
