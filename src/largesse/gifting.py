"""
Send a gift: coins from the viewer's wallet, diamonds to the creator, one chain in the ledger.

The ledger is the record of a gift. Its id comes from viewer and idempotency key, so a retry is the
same gift; and what the first attempt was told stands for ever, whatever has changed since.
"""

from functools import lru_cache

import msgspec

from largesse import clock, ids, money
from largesse.books import chart, postings
from largesse.catalog import Catalog, GiftItem
from largesse.errors import Rejected
from largesse.identity import accounts
from largesse.ledger import Ledger
from largesse.ledger.model import Outcome, Posted, Result, Transfer
from largesse.limits import QUANTITY_MAX
from largesse.money import Price
from largesse.records.rooms import Room
from largesse.records.users import User
from largesse.rooms.live import LiveRooms

KEY_OFF_MAX = clock.DAY
"""How far the time in an idempotency key may be off, either way, where the key is unknown."""

ANSWERS_KEPT = 4_096
"""Sums whose words and prices are remembered: gifts cost one of few prices."""

NO_WALLET = (Outcome.EXCEEDS_CREDITS, Outcome.DEBIT_ACCOUNT_NOT_FOUND)
"""What the ledger says of a wallet that cannot pay; one that nobody opened yet is empty."""


class Gift(msgspec.Struct, frozen=True, gc=False):
    """
    One gift as its sender sees it. `diamonds` is what the creator earns, a decimal; `price` is
    what the coins are worth in money at today's undiscounted rate.
    """

    id: str
    room_id: str
    creator_id: str
    item_id: str
    quantity: int
    coins: int
    price: Price
    diamonds: str
    at: str


class CoinBalance(msgspec.Struct, frozen=True, gc=False):
    """What the wallet holds after the gift, or now where the gift is an old one."""

    coins: int


class SentGift(msgspec.Struct, frozen=True, gc=False):
    """A gift that is paid for, and what is left."""

    gift: Gift
    balance: CoinBalance


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What was asked for, by whom and where: all that a first answer is compared and priced with."""

    viewer: User
    room_id: str
    item_id: str
    quantity: int
    environment: chart.Environment
    channel: str
    country: str


async def send_gift(
    ledger: Ledger,
    catalog: Catalog,
    rooms: LiveRooms,
    *,
    viewer: User,
    room_id: str,
    item_id: str,
    quantity: int,
    key: str | None,
    environment: chart.Environment,
    price_list_version: int,
    share_bps: int,
    adult_age: int,
    channel: str,
    country: str,
    now: int,
) -> SentGift:
    """
    Pay for a gift. A retry, however late, gets the first gift again with the balance of now.

    The refusals are in order of precedence, all but the last two made before the ledger is asked.
    A key that has had its answer gets it again, before anything that may have changed since
    (price, share, room, item, age of the key) can speak.

    Raises:
        Rejected: quantity_out_of_range, gift_item_not_found, gift_item_disabled,
            gift_item_exclusive, room_not_found, room_ended, self_gift, adults_only,
            idempotency_key_required, idempotency_key_invalid, idempotency_key_expired,
            idempotency_key_reused, insufficient_coins; ledger_busy.
        LedgerUnavailable: the outcome is unknown; ask again with the same key.
    """
    asked = Asked(viewer, room_id, item_id, quantity, environment, channel, country)
    gift_id = None if key is None or not ids.is_key(key) else ids.from_key(viewer.id, key)
    try:
        item = _item(catalog, item_id, quantity)
        room = rooms.find_live(room_id)
        if room is None:
            room = await _other_room(rooms, room_id)
        _guard_viewer(viewer, room, adult_age=adult_age, now=now)
        if gift_id is None:
            raise _key_refusal(key)
        _guard_key_time(gift_id, now)
    except Rejected as refusal:
        return await _first_answer(ledger, catalog, gift_id, asked, refusal)

    # After this point only the ledger decides.
    coins = item.coins * quantity
    chain = postings.gift(
        gift_id,
        environment=environment,
        viewer_id=viewer.id,
        creator_id=room.creator_id,
        room_id=room.id,
        item_number=item.number,
        quantity=quantity,
        price_list_version=price_list_version,
        coins=coins,
        share_bps=share_bps,
    )
    wallet = chart.wallet(environment, viewer.id)
    [result] = await ledger.create_transfers((chain,), (wallet,))
    if result.outcome is Outcome.CREATED:
        rooms.wake()
        return _sent(catalog, asked, room, ids.text(gift_id), coins, coins * share_bps, result)
    if result.outcome in NO_WALLET:
        [left] = result.balances
        available = 0 if left is None else left.available
        raise await _insufficient_coins(ledger, catalog, asked, coins, available)
    return await _first_answer(ledger, catalog, gift_id, asked, None)


def _sent(
    catalog: Catalog,
    asked: Asked,
    room: Room,
    gift_id: str,
    coins: int,
    diamond_units: int,
    result: Result,
) -> SentGift:
    [left] = result.balances
    assert left is not None
    return SentGift(
        Gift(
            gift_id,
            room.id,
            room.creator_id,
            asked.item_id,
            asked.quantity,
            coins,
            _money_value(catalog, coins, asked.channel, asked.country),
            _diamonds(diamond_units),
            _at_text(result.timestamp),
        ),
        CoinBalance(left.available),
    )


_money_value = lru_cache(maxsize=ANSWERS_KEPT)(Catalog.money_value)
_diamonds = lru_cache(maxsize=ANSWERS_KEPT)(money.diamonds)


@lru_cache(maxsize=64)
def _second_text(second: int) -> str:
    return clock.to_text(second * clock.SECOND)[: -len(".000Z")]


def _at_text(instant: int) -> str:
    """As `clock.to_text`, at a fifth of the cost: the gifts of one second share its text."""
    second, rest = divmod(instant, clock.SECOND)
    return f"{_second_text(second)}.{rest // 1_000_000:03d}Z"


def _item(catalog: Catalog, item_id: str, quantity: int) -> GiftItem:
    if not 1 <= quantity <= QUANTITY_MAX:
        raise Rejected("quantity_out_of_range", minimum=1, maximum=QUANTITY_MAX)
    item = catalog.gift_item(item_id)
    if item is None:
        raise Rejected("gift_item_not_found")
    if not item.enabled:
        raise Rejected("gift_item_disabled")
    if item.exclusive:  # Nobody has the right to one yet.
        raise Rejected("gift_item_exclusive")
    return item


async def _other_room(rooms: LiveRooms, room_id: str) -> Room:
    room = await rooms.find(room_id)
    if room is None:
        raise Rejected("room_not_found")
    if room.ended_at is not None:
        raise Rejected("room_ended")
    return room


def _guard_viewer(viewer: User, room: Room, *, adult_age: int, now: int) -> None:
    if viewer.id == room.creator_id:
        raise Rejected("self_gift")
    accounts.require_adult(viewer, now, adult_age)


def _key_refusal(key: str | None) -> Rejected:
    if not key:
        return Rejected("idempotency_key_required")
    return Rejected("idempotency_key_invalid", maximum=ids.KEY_LENGTH_MAX)


def _guard_key_time(gift_id: bytes, now: int) -> None:
    milliseconds = ids.key_time(gift_id)
    if (
        milliseconds is not None
        and abs(clock.milliseconds(now) - milliseconds) > KEY_OFF_MAX // 10**6
    ):
        raise Rejected("idempotency_key_expired")


async def _first_answer(
    ledger: Ledger,
    catalog: Catalog,
    gift_id: bytes | None,
    asked: Asked,
    refusal: Rejected | None,
) -> SentGift:
    """What this id was answered first; `refusal` stands where it was never answered."""
    if gift_id is None:
        assert refusal is not None
        raise refusal
    posted = await ledger.lookup_transfers((gift_id, ids.nth(gift_id, 1)))
    chain = tuple(each for each in posted if each is not None)
    if chain:
        _guard_same(catalog, asked, chain[0].transfer)
        return await _gift_again(ledger, catalog, asked, chain)
    [refused] = await ledger.lookup_refused((gift_id,))
    if refused is not None:
        first = refused.chain[0]
        _guard_same(catalog, asked, first)
        assert refused.outcome in NO_WALLET
        raise await _insufficient_coins(ledger, catalog, asked, first.amount, refused.available)
    assert refusal is not None
    raise refusal


def _guard_same(catalog: Catalog, asked: Asked, first: Transfer) -> None:
    """An item that the catalogue has dropped since can only be the item of the first request."""
    assert first.code == chart.TransferCode.GIFT  # Ids from keys of orders are others.
    number, quantity = first.user_data_64 >> 32, first.user_data_64 & 0xFFFF_FFFF
    item = catalog.item_of_number(number)
    if item is None:
        is_same_item = catalog.gift_item(asked.item_id) is None
    else:
        is_same_item = item.id == asked.item_id
    is_same = (
        first.user_data_128 == ids.parse(asked.room_id)
        and quantity == asked.quantity
        and is_same_item
    )
    if not is_same:
        raise Rejected("idempotency_key_reused")


async def _gift_again(
    ledger: Ledger, catalog: Catalog, asked: Asked, chain: tuple[Posted, ...]
) -> SentGift:
    first = postings.gift_details(chain)
    wallet, creator = await ledger.lookup_accounts(
        (chart.wallet(asked.environment, asked.viewer.id), first.creator_account_id)
    )
    assert wallet is not None
    assert creator is not None
    gift = Gift(
        first.gift_id,
        first.room_id,
        ids.text(creator.user_data_128),
        asked.item_id,
        first.quantity,
        first.coins,
        catalog.money_value(first.coins, asked.channel, asked.country),
        money.diamonds(first.diamond_units),
        clock.to_text(first.timestamp),
    )
    left = wallet.credits_posted - wallet.debits_posted - wallet.debits_pending
    return SentGift(gift, CoinBalance(left))


async def _insufficient_coins(
    ledger: Ledger, catalog: Catalog, asked: Asked, needed: int, available: int
) -> Rejected:
    """
    The refusal with what is missing, what that is worth, and the cheapest package that mends it.

    A recharge repays debt first, so the package has to cover that too.
    """
    missing = needed - available
    assert missing > 0
    [debt] = await ledger.lookup_accounts((chart.debt(asked.environment, asked.viewer.id),))
    owed = 0 if debt is None else debt.debits_posted - debt.credits_posted
    package = catalog.cheapest_package_for(missing + owed, asked.channel, asked.country)
    return Rejected(
        "insufficient_coins",
        needed=needed,
        balance=available,
        missing=missing,
        price=msgspec.to_builtins(catalog.money_value(missing, asked.channel, asked.country)),
        package=None
        if package is None
        else {
            "id": package.id,
            "coins": package.coins,
            "bonus_coins": package.bonus_coins,
            "price": msgspec.to_builtins(package.price),
        },
    )
