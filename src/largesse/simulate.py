"""
An audience made of dice: viewers arrive, recharge in the sandbox and gift, all over public HTTP.

It knows the server as a stranger does, by its address and by logins, and imports nothing of ours.
`plan` decides everything beforehand from a seed and is pure; `play` carries it out against the
clock. The distributions are assumptions of ours, not measurements (`docs/guides/simulate.md`): the
shapes are those that live audiences are known for, the figures are round.
"""

import asyncio
import contextlib
import itertools
import math
import os
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import httpx
import msgspec

# Who is there. Arrivals are a Poisson process, sessions log-normal.
PRESENT_SHARE = 0.6
"""Of all viewers, how many are in some room at a time, on average."""
SESSION_SECONDS_MEDIAN = 240.0
SESSION_SIGMA = 1.0
"""Of the logarithm of a session's length: half stay under 4 minutes, one in twenty over 20."""
SESSION_SECONDS_MAX = 3 * 3_600.0
OPENING_SECONDS = 5.0
"""The first viewers come in within this, so that nobody watches an empty room fill up."""
ZIPF_EXPONENT = 1.0
"""The n-th creator is 1/n times as popular as the first."""

# What they do.
QUANTITIES = {1: 88, 5: 8, 10: 3, 99: 1}
"""How many of a streakable item are sent at once, with weights; of other items always one."""
RECHARGE_FIRST_SHARE = 0.25
"""Of all visits, how many begin with a recharge that nothing has asked for yet."""
DECLINED_SHARE = 0.03
"""Of all visits, in how many the card is declined once."""
WEBHOOKS = {"normal": 92, "doubled": 4, "before_redirect": 3, "late": 1}
"""How the provider tells the server of a payment, with weights."""
RECHARGE_LASTS_SECONDS = 60.0
"""Who runs short buys the offered package, or the next one that lasts him for this long."""

# How the player behaves.
LATE_SECONDS_MAX = 10.0
"""What is due longer than this, because the server was away, is left out and not made up for."""
TIMEOUT_SECONDS = 10.0
RETRY_PAUSE_SECONDS = 0.1
RETRY_PAUSE_SECONDS_MAX = 5.0
TRIES_MAX = 8
"""Faults of the server after which a viewer gives up; silence he answers with patience."""
RECHARGES_PER_GIFT_MAX = 5
CREDIT_SECONDS_MAX = 60.0
"""How long a viewer waits for coins that he paid for."""
POLL_SECONDS = 0.1
POLL_SECONDS_MAX = 2.0
GRACE_SECONDS = 3.0
"""What is under way when the play is stopped has this long to be answered."""
CONNECTIONS_MAX = 256
ROOM_LOST = ("room_not_found", "room_ended")
"""Refusals after which the creator opens a room again."""
TITLES = (
    "Evening sketching",
    "Piano requests",
    "Sourdough from scratch",
    "Chess with viewers",
    "Night sky, live",
    "Bicycle workshop",
)

T = TypeVar("T")


class Kind(msgspec.Struct, frozen=True):
    """
    How a sort of viewer spends.

    Prices he likes follow a Pareto distribution with this exponent (lower: more dear gifts), cut
    off at `gift_coins_max`. Of the packages, each is `package_ratio` times as likely as the next
    smaller one.
    """

    share: float
    price_exponent: float
    package_ratio: float
    gift_coins_max: int


KINDS = {
    "regular": Kind(0.88, 1.0, 0.45, 500),
    "supporter": Kind(0.10, 0.8, 0.9, 5_000),
    "whale": Kind(0.02, 0.45, 1.6, 50_000),
}


class Login(msgspec.Struct, frozen=True):
    """An account that the play may use; creators' accounts have the role already."""

    login: str
    password: str


class Report(msgspec.Struct, frozen=True):
    """
    What has happened so far.

    `refusals` counts refused requests by their code (a retried one as often as it was refused),
    `errors` tries without a proper answer: no connection, a fault of the server, coins not credited.
    """

    visits: int = 0
    recharges: int = 0
    declined: int = 0
    coins_bought: int = 0
    gifts: int = 0
    coins_gifted: int = 0
    refusals: Mapping[str, int] = {}
    errors: int = 0


class Wish(msgspec.Struct, frozen=True):
    """
    A gift to come: seconds into the visit, what it may cost, how many of a streakable item.

    `draw`, from 0 to 1, picks one of the items of the same price.
    """

    after_seconds: float
    coins: int
    quantity: int
    draw: float


class Visit(msgspec.Struct, frozen=True):
    """
    One viewer's stay in one creator's room; both are indexes, times are seconds.

    `recharge_draw`, from 0 to 1, picks the package he buys first, None buys none. `declines` says
    that his card is declined once, `webhook` how the provider reports his payments.
    """

    at_seconds: float
    viewer: int
    creator: int
    lasts_seconds: float
    kind: Kind
    recharge_draw: float | None
    declines: bool
    webhook: str
    wishes: tuple[Wish, ...]


def plan(seed: int, *, viewers: int, creators: int, gifts_per_second: float) -> Iterator[Visit]:
    """
    All visits in the order of their beginning, without end: equal arguments give equal plans.

    A viewer is in one room at a time; who arrives where nobody is left to arrive is lost.
    """
    assert viewers > 0
    assert creators > 0
    assert gifts_per_second > 0
    dice = random.Random(f"{seed}/arrivals")  # noqa: S311  A seed must give the same audience.
    kinds = kinds_of(seed, viewers)
    present = max(1, round(PRESENT_SHARE * viewers))
    seconds_mean = SESSION_SECONDS_MEDIAN * math.exp(SESSION_SIGMA**2 / 2)
    popularity = [1 / rank**ZIPF_EXPONENT for rank in range(1, creators + 1)]
    leaves_at = [0.0] * viewers
    for number, at in enumerate(_arrivals(dice, present, present / seconds_mean)):
        absent = [n for n in range(viewers) if leaves_at[n] <= at]
        if not absent:
            continue
        viewer = dice.choice(absent)
        [creator] = dice.choices(range(creators), popularity)
        visit = _visit(
            random.Random(f"{seed}/visit/{number}"),  # noqa: S311
            at,
            viewer,
            creator,
            kinds[viewer],
            wishes_per_second=gifts_per_second / present,
        )
        leaves_at[viewer] = at + visit.lasts_seconds
        yield visit


def kinds_of(seed: int, viewers: int) -> list[Kind]:
    """Which kind each viewer is: by the shares, but with at least one whale."""
    whales = max(1, round(KINDS["whale"].share * viewers))
    supporters = round(KINDS["supporter"].share * viewers)
    kinds = [KINDS["whale"]] * whales + [KINDS["supporter"]] * supporters
    kinds += [KINDS["regular"]] * viewers
    kinds = kinds[:viewers]
    random.Random(f"{seed}/kinds").shuffle(kinds)  # noqa: S311
    return kinds


def _arrivals(dice: random.Random, at_once: int, per_second: float) -> Iterator[float]:
    """When somebody arrives: some at the opening, then a Poisson process."""
    yield from sorted(dice.uniform(0, OPENING_SECONDS) for _ in range(at_once))
    at = OPENING_SECONDS
    while True:
        at += dice.expovariate(per_second)
        yield at


def _visit(
    dice: random.Random,
    at: float,
    viewer: int,
    creator: int,
    kind: Kind,
    *,
    wishes_per_second: float,
) -> Visit:
    lasts = dice.lognormvariate(math.log(SESSION_SECONDS_MEDIAN), SESSION_SIGMA)
    lasts = min(lasts, SESSION_SECONDS_MAX)
    recharges_first = dice.random() < RECHARGE_FIRST_SHARE
    recharge_draw = dice.random()
    declines = dice.random() < DECLINED_SHARE
    webhook = pick(list(WEBHOOKS), list(WEBHOOKS.values()), dice.random())
    wishes = []
    after = dice.expovariate(wishes_per_second)
    while after < lasts:
        coins = min(int(dice.paretovariate(kind.price_exponent)), kind.gift_coins_max)
        quantity = pick(list(QUANTITIES), list(QUANTITIES.values()), dice.random())
        wishes.append(Wish(after, coins, quantity, dice.random()))
        after += dice.expovariate(wishes_per_second)
    return Visit(
        at_seconds=at,
        viewer=viewer,
        creator=creator,
        lasts_seconds=lasts,
        kind=kind,
        recharge_draw=recharge_draw if recharges_first else None,
        declines=declines,
        webhook=webhook,
        wishes=tuple(wishes),
    )


def pick(values: Sequence[T], weights: Sequence[float], draw: float) -> T:
    """The value that a draw from 0 to 1 falls on, where each has room by its weight."""
    assert 0 <= draw < 1
    point = draw * sum(weights)
    for value, reached in zip(values, itertools.accumulate(weights), strict=True):
        if point < reached:
            return value
    return values[-1]  # Only the rounding of a sum of floats leads here.


class Item(msgspec.Struct, frozen=True):
    """A gift item as the server lists it; what is not said is taken as open to everyone."""

    id: str
    coins: int
    streakable: bool = False
    exclusive: bool = False
    enabled: bool = True


class Package(msgspec.Struct, frozen=True):
    """A coin package as the server lists or offers it."""

    id: str
    coins: int


def item_for(items: Sequence[Item], wish: Wish) -> Item:
    """The dearest item that a wish can pay for, by its draw where several cost the same."""
    affordable = [item for item in items if item.coins <= wish.coins]
    if not affordable:
        return min(items, key=lambda item: item.coins)
    dearest = max(item.coins for item in affordable)
    same = [item for item in affordable if item.coins == dearest]
    return pick(same, [1] * len(same), wish.draw)


def quantity_for(item: Item, wish: Wish, kind: Kind) -> int:
    """How many of it are sent: what was wished of a streakable item, within what he gives at most."""
    if not item.streakable:
        return 1
    return max(1, min(wish.quantity, kind.gift_coins_max // item.coins))


def package_for(packages: Sequence[Package], kind: Kind, draw: float) -> Package:
    """The package a viewer of this kind chooses by himself: small ones mostly, a whale large ones."""
    by_coins = sorted(packages, key=lambda package: package.coins)
    return pick(by_coins, [kind.package_ratio**n for n in range(len(by_coins))], draw)


def package_that_lasts(packages: Sequence[Package], offered: Package, coins: int) -> Package:
    """The offered package, or the smallest larger one with these coins, else the largest."""
    larger = [package for package in packages if package.coins > offered.coins]
    choice = sorted([offered, *larger], key=lambda package: package.coins)
    return next((package for package in choice if package.coins >= coins), choice[-1])


def key_of(milliseconds: int, entropy: bytes) -> str:
    """A UUIDv7 (RFC 9562) of this time and these ten random bytes, as an idempotency key."""
    assert 0 < milliseconds < 1 << 48
    assert len(entropy) == 10
    rest = int.from_bytes(entropy, "big")
    number = milliseconds << 80 | 0x7 << 76 | (rest >> 62 & 0xFFF) << 64
    number |= 0b10 << 62 | rest & (1 << 62) - 1
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


# What the server answers, as far as the play reads it.


class _Session(msgspec.Struct, frozen=True):
    token: str


class _Me(msgspec.Struct, frozen=True):
    country: str


class _Items(msgspec.Struct, frozen=True):
    items: list[Item]


class _Packages(msgspec.Struct, frozen=True):
    packages: list[Package]


class _Order(msgspec.Struct, frozen=True):
    id: str
    status: str
    coins: int
    checkout_url: str | None = None


class _Room(msgspec.Struct, frozen=True):
    id: str


class _Gift(msgspec.Struct, frozen=True):
    coins: int


class _SentGift(msgspec.Struct, frozen=True):
    gift: _Gift


class _Problem(msgspec.Struct, frozen=True):
    code: str = ""
    retry_after_seconds: float = 1.0
    package: Package | None = None
    room_id: str | None = None


class _Stopped(Exception):
    """The play is over."""


class _GivenUp(Exception):
    """The server's answer was a fault, or made no sense; whoever asked goes home."""


class _Player:
    """Somebody with an account: his session, and what he remembers between two visits."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.token: str | None = None
        self.country: str | None = None
        self.packages: list[Package] = []
        self.is_visiting = False
        self.door = asyncio.Lock()  # He logs in, or opens his room, once at a time.
        self.room_id: str | None = None


class _Stage:
    """One play: the connection, the count, and who takes part."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        stop: asyncio.Event,
        report: Callable[[Report], None],
        viewers: Sequence[Login],
        creators: Sequence[Login],
    ) -> None:
        self.client = client
        self.stop = stop
        self.viewers = [_Player(login) for login in viewers]
        self.creators = [_Player(login) for login in creators]
        self.items: list[Item] = []
        self.so_far = Report()
        self._report = report

    def count(self, *, refusal: str | None = None, **more: int) -> None:
        """Add to the report and show it."""
        changed: dict[str, Any] = {
            name: getattr(self.so_far, name) + number for name, number in more.items()
        }
        if refusal is not None:
            refusals = self.so_far.refusals
            changed["refusals"] = {**refusals, refusal: refusals.get(refusal, 0) + 1}
        self.so_far = msgspec.structs.replace(self.so_far, **changed)
        self._report(self.so_far)


class _Guest:
    """A viewer during one visit."""

    def __init__(self, stage: _Stage, visit: Visit) -> None:
        self.stage = stage
        self.visit = visit
        self.player = stage.viewers[visit.viewer]
        self.creator = stage.creators[visit.creator]
        self.will_decline = visit.declines


async def play(
    base_url: str,
    *,
    viewers: Sequence[Login],
    creators: Sequence[Login],
    seed: int,
    gifts_per_second: float,
    stop: asyncio.Event,
    report: Callable[[Report], None],
) -> Report:
    """
    Let this audience live until `stop` is set, then end its rooms; tells `report` of every change.

    `gifts_per_second` is what all viewers together wish to send, on average. A server that is away
    is waited for; what was asked for is asked for again under the same idempotency key.
    """
    visits = plan(
        seed, viewers=len(viewers), creators=len(creators), gifts_per_second=gifts_per_second
    )
    async with httpx.AsyncClient(
        base_url=base_url,
        timeout=httpx.Timeout(TIMEOUT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
        trust_env=False,  # No proxy stands between an audience and the server beside it.
    ) as client:
        stage = _Stage(client, stop, report, viewers, creators)
        with contextlib.suppress(_Stopped):
            await _load_items(stage)
            await _direct(stage, visits)
        for creator in stage.creators:
            await _end_room(stage, creator)
        return stage.so_far


async def _direct(stage: _Stage, visits: Iterator[Visit]) -> None:
    """Send every visitor in at his time; who is still there at the end may finish his sentence."""
    under_way: set[asyncio.Task[None]] = set()

    def begin(work: Coroutine[Any, Any, object]) -> None:
        task = group.create_task(_guarded(stage, work))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    async with asyncio.TaskGroup() as group:
        for n in range(len(stage.creators)):
            begin(_open_room(stage, n))
        begun = time.monotonic()
        try:
            for visit in visits:
                due = begun + visit.at_seconds
                await _pause(stage, due - time.monotonic())
                is_late = time.monotonic() - due > LATE_SECONDS_MAX
                if not is_late and not stage.viewers[visit.viewer].is_visiting:
                    begin(_stay(_Guest(stage, visit)))
        except _Stopped:
            if under_way:
                await asyncio.wait(under_way, timeout=GRACE_SECONDS)
            for task in under_way:
                task.cancel()


async def _guarded(stage: _Stage, work: Coroutine[Any, Any, object]) -> None:
    """Work that may end early: because the play is over, or because the server makes no sense."""
    try:
        await work
    except _Stopped:
        return
    except (_GivenUp, msgspec.DecodeError, httpx.HTTPError, httpx.InvalidURL):
        stage.count(errors=1)


async def _load_items(stage: _Stage) -> None:
    """Learn what may be sent, however long the server takes to come up."""
    while True:
        answer = await _call(stage, None, "GET", "/v1/gift-items", _Items, tries_max=None)
        if not isinstance(answer, _Problem):
            stage.items = [item for item in answer.items if item.enabled and not item.exclusive]
        if stage.items:
            return
        await _pause(stage, RETRY_PAUSE_SECONDS_MAX)


async def _stay(guest: _Guest) -> None:
    """One visit: perhaps a recharge, then every gift at its time."""
    guest.player.is_visiting = True
    try:
        guest.stage.count(visits=1)
        begun = time.monotonic()
        if guest.visit.recharge_draw is not None:
            packages = await _packages(guest)
            if packages:
                first = package_for(packages, guest.visit.kind, guest.visit.recharge_draw)
                await _recharge(guest, first)
        for wish in guest.visit.wishes:
            due = begun + wish.after_seconds
            await _pause(guest.stage, due - time.monotonic())
            if time.monotonic() - due <= LATE_SECONDS_MAX:
                await _give(guest, wish)
    finally:
        guest.player.is_visiting = False


async def _give(guest: _Guest, wish: Wish) -> None:
    """Send one gift, recharging where coins are missing. Every new attempt has a new key."""
    item = item_for(guest.stage.items, wish)
    quantity = quantity_for(item, wish, guest.visit.kind)
    for _ in range(RECHARGES_PER_GIFT_MAX + 1):
        room_id = await _open_room(guest.stage, guest.visit.creator)
        if room_id is None:
            return
        answer = await _call(
            guest.stage,
            guest.player,
            "POST",
            f"/v1/rooms/{room_id}/gifts",
            _SentGift,
            body={"item_id": item.id, "quantity": quantity},
            key=_new_key(),
        )
        if isinstance(answer, _SentGift):
            guest.stage.count(gifts=1, coins_gifted=answer.gift.coins)
            return
        if answer.code in ROOM_LOST:
            if guest.creator.room_id == room_id:
                guest.creator.room_id = None
            continue
        if answer.code != "insufficient_coins" or answer.package is None:
            return
        if not await _recharge(guest, await _choose(guest, wish, answer.package)):
            return


async def _choose(guest: _Guest, wish: Wish, offered: Package) -> Package:
    """What a viewer buys who has run short: the offer, unless it would not last him."""
    until = wish.after_seconds + RECHARGE_LASTS_SECONDS
    soon = 0
    for each in guest.visit.wishes:
        if wish.after_seconds < each.after_seconds <= until:
            item = item_for(guest.stage.items, each)
            soon += item.coins * quantity_for(item, each, guest.visit.kind)
    return package_that_lasts(await _packages(guest), offered, soon)


async def _recharge(guest: _Guest, package: Package) -> bool:
    """Order a package, pay for it at the sandbox's page, wait for the coins; whether they came."""
    order = await _call(
        guest.stage,
        guest.player,
        "POST",
        "/v1/orders",
        _Order,
        body={
            "package_id": package.id,
            "provider": "sandbox",
            "channel": "web",
            "country": await _country(guest),
        },
        key=_new_key(),
    )
    if isinstance(order, _Problem) or order.checkout_url is None:
        return False
    decision = "decline" if guest.will_decline else "confirm"
    guest.will_decline = False
    # The page is the provider's, so it gets no session of ours.
    paid = await _call(
        guest.stage,
        None,
        "POST",
        f"{order.checkout_url}/{decision}",
        msgspec.Raw,
        body={"webhook": guest.visit.webhook},
    )
    if isinstance(paid, _Problem):
        return False
    return await _credited(guest, order)


async def _credited(guest: _Guest, order: _Order) -> bool:
    """Wait until an order has come to its end, and count it."""
    deadline = time.monotonic() + CREDIT_SECONDS_MAX
    wait_seconds = POLL_SECONDS
    while time.monotonic() < deadline:
        answer = await _call(guest.stage, guest.player, "GET", f"/v1/orders/{order.id}", _Order)
        if isinstance(answer, _Problem):
            return False
        if answer.status == "credited":
            guest.stage.count(recharges=1, coins_bought=answer.coins)
            return True
        if answer.status == "failed":
            guest.stage.count(declined=1)
            return False
        await _pause(guest.stage, wait_seconds)
        wait_seconds = min(wait_seconds * 1.5, POLL_SECONDS_MAX)
    guest.stage.count(errors=1)
    return False


async def _packages(guest: _Guest) -> list[Package]:
    if not guest.player.packages:
        path = f"/v1/packages?channel=web&country={await _country(guest)}"
        answer = await _call(guest.stage, guest.player, "GET", path, _Packages)
        if not isinstance(answer, _Problem):
            guest.player.packages = answer.packages
    return guest.player.packages


async def _country(guest: _Guest) -> str:
    if guest.player.country is None:
        answer = await _call(guest.stage, guest.player, "GET", "/v1/me", _Me)
        if isinstance(answer, _Problem):
            raise _GivenUp
        guest.player.country = answer.country
    return guest.player.country


async def _open_room(stage: _Stage, number: int) -> str | None:
    """The room of a creator, opened if it is not; None where he may not open one."""
    creator = stage.creators[number]
    async with creator.door:
        if creator.room_id is None:
            body = {"title": TITLES[number % len(TITLES)]}
            answer = await _call(stage, creator, "POST", "/v1/rooms", _Room, body=body)
            if isinstance(answer, _Room):
                creator.room_id = answer.id
            elif answer.code == "room_already_live":  # An earlier play was cut off.
                creator.room_id = answer.room_id
        return creator.room_id


async def _end_room(stage: _Stage, creator: _Player) -> None:
    """Say good-bye, once: the server may be gone already."""
    if creator.room_id is not None:
        with contextlib.suppress(httpx.HTTPError):
            await stage.client.post(
                f"/v1/rooms/{creator.room_id}/end",
                headers={"authorization": f"Bearer {creator.token}"},
                timeout=GRACE_SECONDS,
            )


async def _log_in(stage: _Stage, player: _Player) -> None:
    body = {"login": player.login.login, "password": player.login.password}
    answer = await _call(stage, None, "POST", "/v1/sessions", _Session, body=body)
    if isinstance(answer, _Problem):
        raise _GivenUp
    player.token = answer.token


async def _call(
    stage: _Stage,
    player: _Player | None,
    method: str,
    path: str,
    type: type[T],
    *,
    body: object = None,
    key: str | None = None,
    tries_max: int | None = TRIES_MAX,
) -> T | _Problem:
    """
    Ask until there is an answer, with the same body and key every time.

    Silence is retried for ever, a limit when it says so, a fault `tries_max` times (None: for ever).
    What has a key and may have been carried out is asked for again even after the end of the play.

    Raises:
        _Stopped: the play is over.
        _GivenUp: the server has a fault that does not pass.
    """
    headers = {"accept": "application/json"}
    content = None
    if body is not None:
        headers["content-type"] = "application/json"
        content = msgspec.json.encode(body)
    if key is not None:
        headers["idempotency-key"] = key
    is_open = False  # Whether an earlier try may have been carried out.
    for attempt in itertools.count(1):
        if stage.stop.is_set() and not is_open:
            raise _Stopped
        if player is not None:
            if player.token is None:
                await _log_in(stage, player)
            headers["authorization"] = f"Bearer {player.token}"
        response = await _answer(stage, method, path, headers, content)
        if response is not None and response.is_success:
            return msgspec.json.decode(response.content, type=type)
        problem = _Problem() if response is None else _problem(stage, response)
        status = 0 if response is None else response.status_code
        if status == 401 and player is not None:
            player.token = None  # Sessions end; he logs in again.
            if attempt >= TRIES_MAX:
                return problem
        elif status == 429:
            await _pause(stage, problem.retry_after_seconds)
        elif 400 <= status < 500:
            return problem
        elif status and tries_max is not None and attempt >= tries_max:
            raise _GivenUp
        elif key is not None:  # Even at the end one wants to know what became of it.
            is_open = True
            await asyncio.sleep(_retry_pause(attempt))
        else:
            await _pause(stage, _retry_pause(attempt))
    raise AssertionError


async def _answer(
    stage: _Stage, method: str, path: str, headers: dict[str, str], content: bytes | None
) -> httpx.Response | None:
    """One request; None where no answer came, and nobody knows whether it was carried out."""
    try:
        return await stage.client.request(method, path, headers=headers, content=content)
    except httpx.TransportError:
        stage.count(errors=1)
        return None


def _problem(stage: _Stage, response: httpx.Response) -> _Problem:
    """The refusal in an answer, counted by its code; one without a code counts as an error."""
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem()
    if problem.code:
        stage.count(refusal=problem.code)
    else:
        stage.count(errors=1)
    return problem


def _retry_pause(attempt: int) -> float:
    """Twice as long each time, and not the same for everybody."""
    longest = min(RETRY_PAUSE_SECONDS * 2.0 ** min(attempt, 16), RETRY_PAUSE_SECONDS_MAX)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311


async def _pause(stage: _Stage, seconds: float) -> None:
    """
    Wait, but not beyond the end of the play.

    Raises:
        _Stopped: the play is over.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await stage.stop.wait()
            raise _Stopped


def _new_key() -> str:
    return key_of(time.time_ns() // 1_000_000, os.urandom(10))
