"""
Lots: which purchase or promotion each coin of a wallet came from, and where it went.

A wallet spends first-in first-out, so its history alone tells it, by the running totals that every
transfer carries: each credit is an interval of all coins that ever came in, each debit an interval
of all that ever went out, and where the two overlap, that purchase paid for that gift. A refund
shortens the lots of its own order and leaves every other coin where it is; what was spent before
keeps its place, what stands behind moves up (`docs/concepts/lots.md` has the example).
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import takewhile

import msgspec

from largesse import ids
from largesse.books import postings
from largesse.books.chart import TransferCode
from largesse.ledger.model import Posted, TransferFlags

MILLIUNITS = 100_000
"""A whole, in thousandths of a percent: how app stores ask for consumption."""

_PENDING_OR_VOID = int(TransferFlags.PENDING | TransferFlags.VOID_PENDING_TRANSFER)


class Origin(StrEnum):
    """Whether money was paid for a coin."""

    PAID = "paid"
    PROMOTIONAL = "promotional"


ORIGINS = {
    TransferCode.RECHARGE: Origin.PAID,
    TransferCode.RECHARGE_BONUS: Origin.PROMOTIONAL,
    TransferCode.BONUS: Origin.PROMOTIONAL,
}
"""The credits that make a lot."""
REMOVES_FROM = {
    TransferCode.REFUND: TransferCode.RECHARGE,
    TransferCode.REFUND_BONUS: TransferCode.RECHARGE_BONUS,
}
"""The debits that take from the lots of one order, and the code of those lots."""
SPENDS = frozenset({TransferCode.GIFT, TransferCode.DEBT_REPAYMENT})
"""The debits that take from the front of the queue."""


class Lot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    Coins that came into the wallet by one transfer.

    They are the coins from `begin` to `begin + coins` of all that ever came in. `cause` is the order's id, or the campaign's label where nothing was bought. `spent` went to
    gifts or repaid a debt, `removed` was refunded or corrected; `unspent` is the rest.
    """

    transfer_id: bytes
    timestamp: int
    code: TransferCode
    cause: bytes
    begin: int
    coins: int
    spent: int
    removed: int

    @property
    def origin(self) -> Origin:
        return ORIGINS[self.code]

    @property
    def unspent(self) -> int:
        return self.coins - self.spent - self.removed


class Use(msgspec.Struct, frozen=True, gc=False):
    """
    `coins` of the lot at place `lot` went into the transfer `transfer_id`, which was a `code`.

    `timestamp` is when, for stores that ask for usage events.
    """

    lot: int
    transfer_id: bytes
    code: TransferCode
    coins: int
    timestamp: int


class Lots(msgspec.Struct, frozen=True):
    """A wallet's lots in the order of its queue, and its uses in the order of its history."""

    lots: tuple[Lot, ...]
    uses: tuple[Use, ...]


class Outstanding(msgspec.Struct, frozen=True):
    """What a wallet holds, by whether money was paid for it."""

    paid: int
    promotional: int


class Earner(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A creator who got gifts from certain coins: so many gifts, coins and ten-thousandths of diamonds.

    Whose account it is stands in its `user_data_128`. A gift that only partly came from these coins
    counts as one gift, with that part of its coins and diamonds.
    """

    creator_account_id: bytes
    gifts: int
    coins: int
    diamond_units: int


class OrderCoins(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one order: coins bought and bonus, and the unspent rest of each."""

    coins: int
    unspent: int
    bonus_coins: int
    unspent_bonus: int


class _Queue(msgspec.Struct):
    """
    The state of the walk: what is left of each lot, and which lots each debit took from.

    `came` and `went` are the running totals so far.
    """

    credits: list[Posted]
    left: list[int]
    takes: dict[bytes, list[Use]]
    of_transfer: dict[bytes, int]
    of_cause: dict[tuple[bytes, TransferCode], list[int]]
    front: int = 0
    came: int = 0
    went: int = 0


def of(wallet_id: bytes, history: Iterable[Posted]) -> Lots:
    """
    The lots of a wallet, from its whole history, oldest first.

    A correction puts things back: a gift undone gives its coins to the lots they came from, at
    their old place; a purchase undone shortens its lot. Where a refund or a correction takes more
    than its lots still hold, because the viewer spent meanwhile, the rest comes from the front of
    the queue as any debit does.
    """
    queue = _Queue([], [], {}, {}, {})
    for posted in history:
        transfer = posted.transfer
        is_credit = transfer.credit_account_id == wallet_id
        assert is_credit or transfer.debit_account_id == wallet_id
        if transfer.amount and not transfer.flags & _PENDING_OR_VOID:
            if is_credit:
                _credit(queue, posted)
            else:
                _debit(queue, posted)
        # A history with a hole in it must not be answered as if it were whole.
        assert (queue.came, queue.went) == _running(posted, is_credit)
    assert sum(queue.left) == queue.came - queue.went
    return _result(queue)


def _running(posted: Posted, is_credit: bool) -> tuple[int, int]:
    """All that ever came into the wallet and all that ever went out, right after this transfer."""
    if is_credit:
        return posted.credit_account_credits_posted, posted.credit_account_debits_posted
    return posted.debit_account_credits_posted, posted.debit_account_debits_posted


def _credit(queue: _Queue, posted: Posted) -> None:
    transfer = posted.transfer
    queue.came += transfer.amount
    if transfer.code != TransferCode.CORRECTION:
        code = TransferCode(transfer.code)
        assert code in ORIGINS
        lot = len(queue.left)
        queue.credits.append(posted)
        queue.left.append(transfer.amount)
        queue.of_transfer[transfer.id] = lot
        queue.of_cause.setdefault((transfer.user_data_128, code), []).append(lot)
        return
    undone = queue.takes.pop(postings.corrected_transfer_id(transfer))
    assert sum(use.coins for use in undone) == transfer.amount
    for use in undone:
        queue.left[use.lot] += use.coins
        queue.front = min(queue.front, use.lot)


def _debit(queue: _Queue, posted: Posted) -> None:
    transfer = posted.transfer
    queue.went += transfer.amount
    code = TransferCode(transfer.code)
    missing = transfer.amount
    uses: list[Use] = []

    def take(lot: int) -> None:
        nonlocal missing
        coins = min(queue.left[lot], missing)
        if coins > 0:
            queue.left[lot] -= coins
            missing -= coins
            uses.append(Use(lot, transfer.id, code, coins, posted.timestamp))

    if code is TransferCode.CORRECTION:
        take(queue.of_transfer[postings.corrected_transfer_id(transfer)])
    elif code in REMOVES_FROM:
        for lot in queue.of_cause.get((transfer.user_data_128, REMOVES_FROM[code]), ()):
            take(lot)
    else:
        assert code in SPENDS
    while missing > 0:
        take(queue.front)
        if missing > 0:
            queue.front += 1
    queue.takes[transfer.id] = uses


def _result(queue: _Queue) -> Lots:
    spent = [0] * len(queue.left)
    removed = [0] * len(queue.left)
    uses = tuple(use for taken in queue.takes.values() for use in taken)
    for use in uses:
        (spent if use.code in SPENDS else removed)[use.lot] += use.coins
    lots = tuple(
        Lot(
            transfer_id=credit.transfer.id,
            timestamp=credit.timestamp,
            code=TransferCode(credit.transfer.code),
            cause=credit.transfer.user_data_128,
            begin=credit.credit_account_credits_posted - credit.transfer.amount,
            coins=credit.transfer.amount,
            spent=spent[place],
            removed=removed[place],
        )
        for place, credit in enumerate(queue.credits)
    )
    assert [lot.unspent for lot in lots] == queue.left
    return Lots(lots, uses)


def outstanding(lots: Lots) -> Outstanding:
    """Paid against promotional coins that the wallet still holds."""
    paid = sum(lot.unspent for lot in lots.lots if lot.origin is Origin.PAID)
    whole = sum(lot.unspent for lot in lots.lots)
    return Outstanding(paid, whole - paid)


def outstanding_at(wallet_id: bytes, history: Iterable[Posted], at: int) -> Outstanding:
    """
    Paid against promotional coins that the wallet held at this instant, from its whole history.

    Over all wallets it is what was owed to viewers that day, and how much of it somebody paid for.
    """
    return outstanding(of(wallet_id, takewhile(lambda posted: posted.timestamp <= at, history)))


def of_order(lots: Lots, order_id: str) -> OrderCoins:
    """What one order brought and what is left of it: the figures that a refund starts from."""
    places = _places(lots, order_id)
    paid = [lots.lots[n] for n in places if lots.lots[n].origin is Origin.PAID]
    bonus = [lots.lots[n] for n in places if lots.lots[n].origin is Origin.PROMOTIONAL]
    return OrderCoins(
        coins=sum(lot.coins for lot in paid),
        unspent=sum(lot.unspent for lot in paid),
        bonus_coins=sum(lot.coins for lot in bonus),
        unspent_bonus=sum(lot.unspent for lot in bonus),
    )


def consumption_milliunits(lots: Lots, order_id: str) -> int:
    """
    How much of the coins bought with this order was spent, from 0 to 100,000, rounded down.

    What Apple's `consumptionPercentage` and Google's `consumptionPercentageMilliunits` ask for. The
    bonus does not count: nobody paid for it. Refunded coins were not spent.
    """
    paid = [lots.lots[n] for n in _places(lots, order_id) if lots.lots[n].origin is Origin.PAID]
    coins = sum(lot.coins for lot in paid)
    assert coins > 0
    return sum(lot.spent for lot in paid) * MILLIUNITS // coins


def gifts_paid_by(lots: Lots, order_id: str, *, with_bonus: bool = False) -> list[Use]:
    """Which gifts the coins of this order paid for, and with how many; oldest gift first."""
    places = set(_places(lots, order_id))
    return [
        use
        for use in lots.uses
        if use.code is TransferCode.GIFT
        and use.lot in places
        and (with_bonus or lots.lots[use.lot].origin is Origin.PAID)
    ]


def gift_ids(uses: Iterable[Use]) -> list[bytes]:
    """The transfers of the gifts among these uses, to be looked up for `creators_paid_by`."""
    heads = dict.fromkeys(use.transfer_id for use in uses if use.code is TransferCode.GIFT)
    return [ids.nth(head, n) for head in heads for n in range(2)]


def creators_paid_by(uses: Iterable[Use], transfers: Mapping[bytes, Posted]) -> list[Earner]:
    """
    Who got the coins of these uses, as gifts; the one who got most first.

    A diamond unit is a coin times the gift's share, so what a part of a gift earned is exact.
    """
    gifts: dict[bytes, set[bytes]] = {}
    coins: dict[bytes, int] = {}
    units: dict[bytes, int] = {}
    for use in uses:
        if use.code is not TransferCode.GIFT:
            continue
        chain = [transfers[ids.nth(use.transfer_id, n)] for n in range(2)]
        gift = postings.gift_details(chain)
        account_id = gift.creator_account_id
        gifts.setdefault(account_id, set()).add(use.transfer_id)
        coins[account_id] = coins.get(account_id, 0) + use.coins
        units[account_id] = units.get(account_id, 0) + use.coins * gift.share_bps
    earners = [
        Earner(
            creator_account_id=id, gifts=len(gifts[id]), coins=coins[id], diamond_units=units[id]
        )
        for id in gifts
    ]
    return sorted(earners, key=lambda earner: (-earner.coins, earner.creator_account_id))


def _places(lots: Lots, order_id: str) -> Sequence[int]:
    cause = ids.parse(order_id)
    assert cause is not None, order_id
    return [place for place, lot in enumerate(lots.lots) if lot.cause == cause]
