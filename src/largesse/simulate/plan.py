"""Who comes when into whose room and what he would like to do there: decided by a seed, pure."""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

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
