"""What is asked of a ledger in a measurement: how many gifts are on their way at once, and in what calls."""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from bench.prototype import Gift
from largesse import ids
from largesse.books import chart
from largesse.books.chart import Environment
from largesse.cli import bench
from largesse.cli.bench import Audience, Measured
from largesse.ledger import Ledger

CHAINS_PER_CALL = bench.CHAINS_PER_CALL


class Load(msgspec.Struct, frozen=True):
    """`in_flight` calls at any time, each of `chains_per_call` gifts."""

    in_flight: int
    chains_per_call: int = 1

    @property
    def name(self) -> str:
        if self.chains_per_call > 1:
            return f"calls of {self.chains_per_call:,} chains, {self.in_flight} in flight"
        chains = "chain" if self.in_flight == 1 else "chains"
        return f"{self.in_flight:,} {chains} in flight, a call each"


LOADS = (
    *(Load(in_flight) for in_flight in (1, 64, 256, 1_024, 4_096)),
    Load(bench.CALLS_IN_FLIGHT, CHAINS_PER_CALL),
)
"""The loads that every batching system is measured under."""


class Stand(msgspec.Struct, frozen=True):
    """
    A system that is open, with its audience seated.

    `books`, given how many gifts were answered, says `HOLD`, or what does not.
    """

    measure: Callable[[Load, float], Awaitable[Measured]]
    books: Callable[[int], Awaitable[str]]


class System(msgspec.Struct, frozen=True):
    """What is measured: `stand` opens it afresh in a folder, for so many creators."""

    name: str
    stand: Callable[[Path, int], AbstractAsyncContextManager[Stand]]
    loads: tuple[Load, ...] = LOADS


HOLD = "hold"


async def gift_to(ledger: Ledger, audience: Audience, load: Load, seconds: float) -> Measured:
    """Put this load on a ledger of ours, as `largesse serve` would: collector settled, a warm start."""
    with bench.steady():
        if load.chains_per_call > 1:
            return await bench.gifts_by_the_call(
                ledger, audience, chains_per_call=load.chains_per_call, seconds=seconds
            )
        return await bench.gifts_one_by_one(
            ledger, audience, in_flight=load.in_flight, seconds=seconds
        )


async def plain_gifts_to(
    create: Callable[[list[Gift]], Awaitable[list[bool]]],
    gifts: Iterator[Gift],
    load: Load,
    seconds: float,
) -> Measured:
    """Put this load on something that takes plain rows; every gift must come out as created."""

    async def send() -> None:
        assert all(await create(list(itertools.islice(gifts, load.chains_per_call))))

    with bench.steady():
        return await bench.drive(
            send, in_flight=load.in_flight, seconds=seconds, gifts_per_call=load.chains_per_call
        )


class House(msgspec.Struct, frozen=True):
    """The accounts of a measurement, as plain ids: the same people that `bench.seat` seats."""

    viewer_ids: tuple[str, ...]
    wallets: tuple[bytes, ...]
    earnings: tuple[bytes, ...]
    redeemed: bytes
    issued: bytes


def house(creators: int) -> House:
    """The accounts of `bench.VIEWERS` viewers and so many creators."""
    test = Environment.TEST
    viewer_ids = tuple(ids.text(ids.derive("bench viewer", n)) for n in range(bench.VIEWERS))
    creator_ids = [ids.text(ids.derive("bench creator", n)) for n in range(creators)]
    return House(
        viewer_ids,
        tuple(chart.wallet(test, viewer_id) for viewer_id in viewer_ids),
        tuple(chart.earnings_held(test, creator_id) for creator_id in creator_ids),
        chart.redeemed(test),
        chart.diamonds_issued(test),
    )


def plain_gifts(people: House) -> Iterator[Gift]:
    """The same gifts as ours, with ids made the same way, as plain rows."""
    room = ids.derive("bench room", 0)
    diamonds = bench.COINS * bench.SHARE_BPS
    pairs = zip(
        itertools.cycle(zip(people.viewer_ids, people.wallets, strict=True)),
        itertools.cycle(people.earnings),
        strict=False,
    )
    redeemed, issued = people.redeemed, people.issued
    for ((viewer_id, wallet), earnings), key in zip(pairs, bench.fresh_keys(), strict=False):
        id = ids.from_key(viewer_id, key)
        yield (
            (id, wallet, redeemed, bench.COINS, chart.COIN, room, 1),
            (ids.nth(id, 1), issued, earnings, diamonds, chart.DIAMOND, room, 1),
        )


Waiting = tuple[list[Gift], "asyncio.Future[list[bool]]"]


class Grouping:
    """
    One answer per caller from work that is done for many at once.

    `work` is given what waits, at most `gifts_max` at a time, one group after another; who sends in
    the same turn of the loop is in the same group.
    """

    def __init__(
        self,
        work: Callable[[list[Gift]], Awaitable[list[bool]]],
        *,
        gifts_max: int,
        groups_in_flight_max: int,
    ) -> None:
        self._work = work
        self._gifts_max = gifts_max
        self._left = groups_in_flight_max
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Waiting] = deque()
        self._roused = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def create(self, gifts: list[Gift]) -> list[bool]:
        """True for each gift that is there now."""
        future: asyncio.Future[list[bool]] = self._loop.create_future()
        self._waiting.append((gifts, future))
        if not self._roused:
            self._roused = True
            self._loop.call_soon(self._begin)
        return await future

    def _begin(self) -> None:
        self._roused = False
        while self._waiting and self._left:
            group: list[Waiting] = []
            size = 0
            while self._waiting and size < self._gifts_max:
                group.append(self._waiting.popleft())
                size += len(group[-1][0])
            self._left -= 1
            task = self._loop.create_task(self._finish(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _finish(self, group: list[Waiting]) -> None:
        answers = await self._work([gift for gifts, _ in group for gift in gifts])
        position = 0
        for gifts, future in group:
            future.set_result(answers[position : position + len(gifts)])
            position += len(gifts)
        self._left += 1
        self._begin()
