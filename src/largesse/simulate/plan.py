"""Who comes when into whose room and what he would like to do there: decided by a seed, pure."""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TypeVar

import msgspec

from largesse.simulate.sentences import EMOJI, GREETINGS, LANGUAGES, LINES

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

# Combos: one item pressed again and again, each press a gift.
COMBO_SHARE = 0.15
"""Of all wishes for a cheap item, how many are a combo."""
COMBO_COINS_MAX = 99
"""Nobody presses what costs more than this again and again."""
COMBO_PRESSES_MEAN = 6.0
"""At least 2; how many more is geometric."""
COMBO_PRESSES_MAX = 40
PRESS_SECONDS = (0.2, 0.6)
"""Between two presses, uniform."""

# What they say and do besides. Rates follow the gifts, up to what one person does at most.
CHAT_PER_GIFT = 0.3
CHAT_PER_SECOND_MAX = 0.2
"""Of one viewer."""
CHATTY_SHARE = 0.6
"""Of all visits, in how many somebody writes at all."""
GREETING_SHARE = 0.5
"""Of those who write, how many greet first, within `GREETING_SECONDS`."""
GREETING_SECONDS = (1.0, 8.0)
EMOJI_SHARE = 0.2
OWN_LANGUAGE_SHARE = 0.75
"""Of all sentences, how many are in the viewer's own language; the others are in English."""
BURSTS_PER_GIFT = 0.25
"""Bursts of likes, of all viewers."""
BURSTS_PER_SECOND_MAX = 0.1
"""Of one viewer."""
BURST_LIKES_MEAN = 12.0
"""Geometric, at least 1."""
LIKES_AT_ONCE = (2, 5)
"""Likes that are told together, and `LIKES_SECONDS` later the next ones."""
LIKES_SECONDS = 0.5
FOLLOW_SHARE = 0.1
SHARE_SHARE = 0.04
"""Of all visits, in how many somebody follows the creator, or shares the room."""

# What creators say.
ANSWERS_PER_GIFT = 0.08
ANSWER_SECONDS_MIN = 4.0
"""Between two sentences of one creator, at least."""

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

    `draw`, from 0 to 1, picks one of the items of the same price. `repeats` says that this is one
    more press in a combo; of an item that is not streakable it is left out.
    """

    after_seconds: float
    coins: int
    quantity: int
    draw: float
    repeats: bool = False


class Line(msgspec.Struct, frozen=True):
    """Something to say, at so many seconds into the visit."""

    after_seconds: float
    text: str


class Likes(msgspec.Struct, frozen=True):
    """So many likes at once."""

    after_seconds: float
    count: int


class Follow(msgspec.Struct, frozen=True):
    """To follow the creator, if one does not already."""

    after_seconds: float


class Share(msgspec.Struct, frozen=True):
    """To share the room."""

    after_seconds: float


Act = Wish | Line | Likes | Follow | Share


class Visit(msgspec.Struct, frozen=True):
    """
    One viewer's stay in one creator's room; both are indexes, times are seconds.

    `recharge_draw`, from 0 to 1, picks the package he buys first, None buys none. `declines` says
    that his card is declined once, `webhook` how the provider reports his payments. `acts` are in
    the order of their time.
    """

    at_seconds: float
    viewer: int
    creator: int
    lasts_seconds: float
    kind: Kind
    recharge_draw: float | None
    declines: bool
    webhook: str
    acts: tuple[Act, ...]

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """The gifts among the acts."""
        return tuple(act for act in self.acts if isinstance(act, Wish))


class Answer(msgspec.Struct, frozen=True):
    """When a creator says something; `draw`, from 0 to 1, picks the sentence."""

    at_seconds: float
    draw: float


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
    languages = languages_of(seed, viewers)
    present = max(1, round(PRESENT_SHARE * viewers))
    seconds_mean = SESSION_SECONDS_MEDIAN * math.exp(SESSION_SIGMA**2 / 2)
    popularity = _popularity(creators)
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
            languages[viewer],
            gifts_per_second=gifts_per_second / present,
        )
        leaves_at[viewer] = at + visit.lasts_seconds
        yield visit


def answers(seed: int, *, creator: int, creators: int, gifts_per_second: float) -> Iterator[Answer]:
    """When a creator says something, without end; more often the more popular he is."""
    assert 0 <= creator < creators
    assert gifts_per_second > 0
    dice = random.Random(f"{seed}/answers/{creator}")  # noqa: S311
    weights = _popularity(creators)
    per_second = ANSWERS_PER_GIFT * gifts_per_second * weights[creator] / sum(weights)
    at = 0.0
    while True:
        at += ANSWER_SECONDS_MIN + dice.expovariate(per_second)
        yield Answer(at, dice.random())


def _popularity(creators: int) -> list[float]:
    return [1 / rank**ZIPF_EXPONENT for rank in range(1, creators + 1)]


def kinds_of(seed: int, viewers: int) -> list[Kind]:
    """Which kind each viewer is: by the shares, but with at least one whale."""
    whales = max(1, round(KINDS["whale"].share * viewers))
    supporters = round(KINDS["supporter"].share * viewers)
    kinds = [KINDS["whale"]] * whales + [KINDS["supporter"]] * supporters
    kinds += [KINDS["regular"]] * viewers
    kinds = kinds[:viewers]
    random.Random(f"{seed}/kinds").shuffle(kinds)  # noqa: S311
    return kinds


def languages_of(seed: int, viewers: int) -> list[str]:
    """Which language each viewer speaks."""
    dice = random.Random(f"{seed}/languages")  # noqa: S311
    return dice.choices(list(LANGUAGES), list(LANGUAGES.values()), k=viewers)


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
    language: str,
    *,
    gifts_per_second: float,
) -> Visit:
    lasts = dice.lognormvariate(math.log(SESSION_SECONDS_MEDIAN), SESSION_SIGMA)
    lasts = min(lasts, SESSION_SECONDS_MAX)
    recharges_first = dice.random() < RECHARGE_FIRST_SHARE
    recharge_draw = dice.random()
    declines = dice.random() < DECLINED_SHARE
    webhook = pick(list(WEBHOOKS), list(WEBHOOKS.values()), dice.random())
    acts: list[Act] = [
        *_wishes(dice, kind, gifts_per_second, lasts),
        *_lines(dice, language, gifts_per_second, lasts),
        *_likes(dice, gifts_per_second, lasts),
    ]
    if dice.random() < FOLLOW_SHARE:
        acts.append(Follow(dice.uniform(0, lasts)))
    if dice.random() < SHARE_SHARE:
        acts.append(Share(dice.uniform(0, lasts)))
    within = [act for act in acts if act.after_seconds < lasts]
    return Visit(
        at_seconds=at,
        viewer=viewer,
        creator=creator,
        lasts_seconds=lasts,
        kind=kind,
        recharge_draw=recharge_draw if recharges_first else None,
        declines=declines,
        webhook=webhook,
        acts=tuple(sorted(within, key=attrgetter("after_seconds"))),
    )


def _wishes(
    dice: random.Random, kind: Kind, gifts_per_second: float, lasts: float
) -> Iterator[Wish]:
    """Gifts, of which a combo is several; so there are fewer wishes than gifts."""
    per_wish = 1 + COMBO_SHARE * (COMBO_PRESSES_MEAN - 1)
    for after in _moments(dice, gifts_per_second / per_wish, lasts):
        coins = min(int(dice.paretovariate(kind.price_exponent)), kind.gift_coins_max)
        quantity = pick(list(QUANTITIES), list(QUANTITIES.values()), dice.random())
        draw = dice.random()
        if coins > COMBO_COINS_MAX or dice.random() >= COMBO_SHARE:
            yield Wish(after, coins, quantity, draw)
            continue
        yield Wish(after, coins, 1, draw)
        presses = 1 + _geometric(dice, COMBO_PRESSES_MEAN - 1)
        for _ in range(1, min(presses, COMBO_PRESSES_MAX)):
            after += dice.uniform(*PRESS_SECONDS)
            yield Wish(after, coins, 1, draw, repeats=True)


def _lines(
    dice: random.Random, language: str, gifts_per_second: float, lasts: float
) -> Iterator[Line]:
    if dice.random() >= CHATTY_SHARE:
        return
    if dice.random() < GREETING_SHARE:
        yield Line(dice.uniform(*GREETING_SECONDS), dice.choice(GREETINGS[language]))
    per_second = min(CHAT_PER_GIFT * gifts_per_second / CHATTY_SHARE, CHAT_PER_SECOND_MAX)
    for after in _moments(dice, per_second, lasts):
        if dice.random() < EMOJI_SHARE:
            yield Line(after, dice.choice(EMOJI))
        else:
            spoken = language if dice.random() < OWN_LANGUAGE_SHARE else "en"
            yield Line(after, dice.choice(LINES[spoken]))


def _likes(dice: random.Random, gifts_per_second: float, lasts: float) -> Iterator[Likes]:
    per_second = min(BURSTS_PER_GIFT * gifts_per_second, BURSTS_PER_SECOND_MAX)
    for after in _moments(dice, per_second, lasts):
        left = _geometric(dice, BURST_LIKES_MEAN)
        while left > 0:
            count = min(left, dice.randint(*LIKES_AT_ONCE))
            yield Likes(after, count)
            left -= count
            after += LIKES_SECONDS


def _moments(dice: random.Random, per_second: float, lasts: float) -> Iterator[float]:
    """A Poisson process."""
    after = dice.expovariate(per_second)
    while after < lasts:
        yield after
        after += dice.expovariate(per_second)


def _geometric(dice: random.Random, mean: float) -> int:
    """A number from 1 upwards with this mean, each step as likely as the last."""
    assert mean > 1
    return 1 + int(math.log(1 - dice.random()) / math.log(1 - 1 / mean))


def pick(values: Sequence[T], weights: Sequence[float], draw: float) -> T:
    """The value that a draw from 0 to 1 falls on, where each has room by its weight."""
    assert 0 <= draw < 1
    point = draw * sum(weights)
    for value, reached in zip(values, itertools.accumulate(weights), strict=True):
        if point < reached:
            return value
    return values[-1]  # Only the rounding of a sum of floats leads here.
