"""What a viewer picks from what the server sells: pure."""

from collections.abc import Sequence

import msgspec

from largesse.simulate.plan import Answer, Kind, Wish, pick
from largesse.simulate.sentences import REMARKS, REPLIES, THANKS


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


class Heard(msgspec.Struct, frozen=True):
    """Whom a creator has heard last, who sent a gift or wrote something."""

    name: str
    is_gift: bool


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


def sentence_for(answer: Answer, heard: Heard | None) -> str:
    """What a creator says: thanks for a gift, a reply to somebody, or something of his own."""
    if heard is None:
        return pick(REMARKS, [1] * len(REMARKS), answer.draw)
    sentences = THANKS if heard.is_gift else REPLIES
    return pick(sentences, [1] * len(sentences), answer.draw).format(name=heard.name)
