"""
Lots: which purchase or promotion each coin of a wallet came from, and where it went.

A wallet spends first-in first-out, so its history alone tells it: each credit is a lot at the end
of the queue, each debit takes from the front. A refund shortens the lots of its own order and
leaves every other coin where it is; what was spent before keeps its place, what stands behind moves
up (DESIGN 4, "Provenance"; `docs/concepts/lots.md` has the example).
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

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

    `cause` is the order's id, or the campaign's label where nothing was bought. `spent` went to
    gifts or repaid a debt, `removed` was refunded or corrected; `unspent` is the rest.
    """

    transfer_id: bytes
    timestamp: int
    code: TransferCode
    cause: bytes
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
    """`coins` of the lot at place `lot` went into the transfer `transfer_id`, which was a `code`."""

    lot: int
    transfer_id: bytes
    code: TransferCode
    coins: int


class Lots(msgspec.Struct, frozen=True):
    """A wallet's lots in the order of its queue, and its uses in the order of its history."""

    lots: tuple[Lot, ...]
    uses: tuple[Use, ...]


class Outstanding(msgspec.Struct, frozen=True):
    """What a wallet holds, by whether money was paid for it."""

    paid: int
    promotional: int


class OrderCoins(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one order: coins bought and bonus, and the unspent rest of each."""

    coins: int
    unspent: int
    bonus_coins: int
    unspent_bonus: int


class _Queue(msgspec.Struct):
    """The state of the walk: what is left of each lot, and which lots each debit took from."""

    credits: list[Posted]
    left: list[int]
    takes: dict[bytes, list[Use]]
    of_transfer: dict[bytes, int]
    of_cause: dict[tuple[bytes, TransferCode], list[int]]
    front: int


def of(wallet_id: bytes, history: Iterable[Posted]) -> Lots:
    """
    The lots of a wallet, from its whole history, oldest first.

    A correction puts things back: a gift undone gives its coins to the lots they came from, at
    their old place; a purchase undone shortens its lot. Where a refund or a correction takes more
    than its lots still hold, because the viewer spent meanwhile, the rest comes from the front of
    the queue as any debit does.
    """
    queue = _Queue([], [], {}, {}, {}, 0)
    last = None
    for posted in history:
        last = posted
        transfer = posted.transfer
        if transfer.amount == 0 or transfer.flags & _PENDING_OR_VOID:
            continue
        if transfer.credit_account_id == wallet_id:
            _credit(queue, posted)
        else:
            assert transfer.debit_account_id == wallet_id
            _debit(queue, posted)
    if last is not None:
        assert sum(queue.left) == _balance(wallet_id, last)
    return _result(queue)


def _credit(queue: _Queue, posted: Posted) -> None:
    transfer = posted.transfer
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
    code = TransferCode(transfer.code)
    missing = transfer.amount
    uses: list[Use] = []

    def take(lot: int) -> None:
        nonlocal missing
        coins = min(queue.left[lot], missing)
        if coins > 0:
            queue.left[lot] -= coins
            missing -= coins
            uses.append(Use(lot, transfer.id, code, coins))

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


def _balance(wallet_id: bytes, last: Posted) -> int:
    if last.transfer.credit_account_id == wallet_id:
        return last.credit_account_credits_posted - last.credit_account_debits_posted
    return last.debit_account_credits_posted - last.debit_account_debits_posted


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


def _places(lots: Lots, order_id: str) -> Sequence[int]:
    cause = ids.parse(order_id)
    assert cause is not None, order_id
    return [place for place, lot in enumerate(lots.lots) if lot.cause == cause]
