"""
Postings: one pure function per business event, which returns its chain of transfers.

Each docstring shows the chain as Dr/Cr lines. The transfers of a chain are numbered from zero
(`ids.nth`), in the order of the lines. What the ledger holds of a chain is read back here too
(`gift_details`), so that what a `user_data` field means is written in one file.
"""

from collections.abc import Sequence

import msgspec

from largesse import ids
from largesse.books import chart
from largesse.books.chart import COIN, DIAMOND, Environment, TransferCode
from largesse.ledger.model import Chain, Posted, Transfer, TransferFlags
from largesse.money import BPS, Price

_ZERO = ids.ZERO
_NONE = int(TransferFlags.NONE)
_BALANCING_DEBIT = int(TransferFlags.BALANCING_DEBIT)
_BALANCING_BOTH = _BALANCING_DEBIT | int(TransferFlags.BALANCING_CREDIT)
_TWO_PHASE = int(
    TransferFlags.PENDING
    | TransferFlags.POST_PENDING_TRANSFER
    | TransferFlags.VOID_PENDING_TRANSFER
)

# Plain integers: reading an enum's member costs more than building a transfer's field.
_GIFT = int(TransferCode.GIFT)
_GIFT_EARNINGS = int(TransferCode.GIFT_EARNINGS)
_CORRECTION = int(TransferCode.CORRECTION)
_GIFT_ACCOUNTS = chart.GIFT_ACCOUNTS
_GIFT_ROOMS = chart.GIFT_ROOMS
_QUANTITY_BITS = 32
_QUANTITY_MASK = (1 << _QUANTITY_BITS) - 1
ITEM_NUMBER_MAX = 2**31 - 1
"""The highest number of a gift item: it shares 63 bits with the quantity."""
_ITEM_NUMBERS = ITEM_NUMBER_MAX + 1
_QUANTITIES = 1 << _QUANTITY_BITS

RECHARGE_TRANSFERS_MAX = 5
"""The most transfers that `recharge` makes."""

_Leg = tuple[int, TransferCode, bytes, bytes, int, int]
"""ledger, code, debit account, credit account, amount, flags"""


def recharge_id(environment: Environment, provider: str, payment_id: str) -> bytes:
    """
    The chain that a provider's payment becomes, however often and by whatever way we hear of it.

    The key is (provider, environment, payment id): DESIGN 6.
    """
    return ids.derive("recharge", environment, provider, payment_id)


def recharge(
    chain_id: bytes,
    *,
    environment: Environment,
    viewer_id: str,
    order_id: str,
    provider: str,
    coins: int,
    price: Price,
    tax: int,
    bonus_coins: int = 0,
    campaign_id: str | None = None,
) -> Chain:
    """
    A paid order becomes coins; what the viewer owes is repaid first.

        money  Dr  receivable(provider)   price less tax
               Cr  coin_liability             price less tax
        money  Dr  receivable(provider)   tax                    (where there is any)
               Cr  tax_payable                tax
        COIN   Dr  issued                 coins
               Cr  wallet(viewer)             coins
        COIN   Dr  campaign               bonus coins            (where there are any)
               Cr  wallet(viewer)             bonus coins
        COIN   Dr  wallet(viewer)         the debt, at most coins; nothing where there is none
               Cr  debt(viewer)               the same

    `tax` is the part of `price` that is tax, as the price list says. The bonus is limited by what
    the campaign still holds, so that a payment never waits for a promotion. `user_data_128` is the
    order's id on every transfer. Once posted, the same chain answers `exists`.
    """
    assert coins > 0
    assert price.amount > 0
    assert 0 <= tax < price.amount
    assert bonus_coins >= 0
    assert (bonus_coins > 0) == (campaign_id is not None)

    ledger = chart.money_ledger(price.currency)
    owed = chart.receivable(environment, provider, price.currency)
    liability = chart.coin_liability(environment, price.currency)
    state = chart.tax_payable(environment, price.currency)
    wallet = chart.wallet(environment, viewer_id)
    issued = chart.issued(environment)
    debt = chart.debt(environment, viewer_id)
    code = TransferCode
    legs: list[_Leg] = [(ledger, code.RECHARGE_NET, owed, liability, price.amount - tax, _NONE)]
    if tax:
        legs.append((ledger, code.RECHARGE_TAX, owed, state, tax, _NONE))
    legs.append((COIN, code.RECHARGE, issued, wallet, coins, _NONE))
    if campaign_id is not None:
        campaign = chart.campaign(environment, campaign_id)
        legs.append((COIN, code.RECHARGE_BONUS, campaign, wallet, bonus_coins, _BALANCING_DEBIT))
    legs.append((COIN, code.DEBT_REPAYMENT, wallet, debt, coins, _BALANCING_BOTH))
    assert sum(leg[4] for leg in legs if leg[0] == ledger) == price.amount
    assert len(legs) <= RECHARGE_TRANSFERS_MAX
    return _chain(chain_id, _id(order_id), legs)


class RechargeDetails(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A recharge as the ledger holds it, read back from its chain.

    `net` and `tax` are in the minor unit of the currency whose ledger is `money_ledger`;
    `bonus_coins` is what the campaign gave, `repaid` what went to the viewer's debt at once.
    """

    order_id: str
    timestamp: int
    wallet_id: bytes
    receivable_id: bytes
    money_ledger: int
    net: int
    tax: int
    coins: int
    bonus_coins: int
    repaid: int


def recharge_details(chain: Sequence[Posted]) -> RechargeDetails:
    """What `recharge` wrote into the chain, read back."""
    first = chain[0].transfer
    by_code = {posted.transfer.code: posted.transfer for posted in chain}

    def amount(code: TransferCode) -> int:
        transfer = by_code.get(code)
        return 0 if transfer is None else transfer.amount

    return RechargeDetails(
        order_id=ids.text(first.user_data_128),
        timestamp=chain[0].timestamp,
        wallet_id=by_code[TransferCode.RECHARGE].credit_account_id,
        receivable_id=by_code[TransferCode.RECHARGE_NET].debit_account_id,
        money_ledger=by_code[TransferCode.RECHARGE_NET].ledger,
        net=amount(TransferCode.RECHARGE_NET),
        tax=amount(TransferCode.RECHARGE_TAX),
        coins=amount(TransferCode.RECHARGE),
        bonus_coins=amount(TransferCode.RECHARGE_BONUS),
        repaid=amount(TransferCode.DEBT_REPAYMENT),
    )


def fund_campaign(
    chain_id: bytes, *, environment: Environment, campaign_id: str, coins: int
) -> Chain:
    """
    An operator sets coins aside for a promotion, which can give these and no more.

        COIN   Dr  issued                 coins
               Cr  campaign                   coins

    `user_data_128` is the campaign's label.
    """
    assert coins > 0
    issued = chart.issued(environment)
    campaign = chart.campaign(environment, campaign_id)
    leg = (COIN, TransferCode.CAMPAIGN_FUNDING, issued, campaign, coins, _NONE)
    return _chain(chain_id, chart.label(campaign_id), [leg])


def bonus(
    chain_id: bytes, *, environment: Environment, viewer_id: str, campaign_id: str, coins: int
) -> Chain:
    """
    A viewer gets promotional coins, as long as the campaign holds them.

        COIN   Dr  campaign               coins
               Cr  wallet(viewer)             coins

    Refused whole with `exceeds_credits` where the campaign holds less. `user_data_128` is the
    campaign's label. Promotional coins repay no debt: only paid coins do.
    """
    assert coins > 0
    campaign = chart.campaign(environment, campaign_id)
    wallet = chart.wallet(environment, viewer_id)
    leg = (COIN, TransferCode.BONUS, campaign, wallet, coins, _NONE)
    return _chain(chain_id, chart.label(campaign_id), [leg])


def gift(
    chain_id: bytes,
    *,
    environment: Environment,
    viewer_id: str,
    creator_id: str,
    room_id: str,
    item_number: int,
    quantity: int,
    price_list_version: int,
    coins: int,
    share_bps: int,
) -> Chain:
    """
    A gift takes coins from the viewer's wallet and earns the creator diamonds.

        COIN     Dr  wallet(viewer)             coins
                 Cr  redeemed                       coins
        DIAMOND  Dr  diamonds_issued            coins x share_bps
                 Cr  earnings_held(creator)         coins x share_bps

    A diamond is ten thousand units and the share is in ten-thousandths, so nothing is rounded
    (DESIGN 2.5). `user_data_128` is the room, `user_data_64` the item's number above the quantity,
    `user_data_32` the price-list version on the coins and the share on the diamonds.
    """
    # The hottest path of the product, so it is written out flat: no helper, no loop, fields by
    # position, the second id by hand as `ids.nth` makes it.
    assert chain_id[15] == 0
    assert coins > 0
    assert 0 <= share_bps <= BPS
    assert 0 < quantity < _QUANTITIES
    assert 0 <= item_number < _ITEM_NUMBERS
    assert viewer_id != creator_id

    wallets, earnings, redeemed, diamonds_issued = _GIFT_ACCOUNTS[environment]
    room = _GIFT_ROOMS[room_id]
    what = item_number << _QUANTITY_BITS | quantity
    return (
        Transfer(
            chain_id,
            wallets[viewer_id],
            redeemed,
            coins,
            COIN,
            _GIFT,
            0,
            _ZERO,
            room,
            what,
            price_list_version,
        ),
        Transfer(
            chain_id[:15] + b"\x01",
            diamonds_issued,
            earnings[creator_id],
            coins * share_bps,
            DIAMOND,
            _GIFT_EARNINGS,
            0,
            _ZERO,
            room,
            what,
            share_bps,
        ),
    )


class GiftDetails(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A gift as the ledger holds it, read back from its chain.

    The accounts are the viewer's wallet and the creator's held earnings; whose they are stands in
    their `user_data_128`. `diamond_units` are ten-thousandths of a diamond.
    """

    gift_id: str
    timestamp: int
    room_id: str
    item_number: int
    quantity: int
    price_list_version: int
    share_bps: int
    coins: int
    diamond_units: int
    viewer_account_id: bytes
    creator_account_id: bytes


def is_gift(chain: Sequence[Posted]) -> bool:
    """Whether `gift` made this chain."""
    return chain[0].transfer.code == _GIFT


def gift_details(chain: Sequence[Posted]) -> GiftDetails:
    """What `gift` wrote into the chain, read back."""
    paid, earned = chain[0].transfer, chain[1].transfer
    assert paid.code == _GIFT
    assert earned.code == _GIFT_EARNINGS
    item_number, quantity = item_and_quantity(paid)
    return GiftDetails(
        gift_id=paid.id.hex(),
        timestamp=chain[0].timestamp,
        room_id=paid.user_data_128.hex(),
        item_number=item_number,
        quantity=quantity,
        price_list_version=paid.user_data_32,
        share_bps=earned.user_data_32,
        coins=paid.amount,
        diamond_units=earned.amount,
        viewer_account_id=paid.debit_account_id,
        creator_account_id=earned.credit_account_id,
    )


def item_and_quantity(transfer: Transfer) -> tuple[int, int]:
    """The number of the gift item and how many of it, from either transfer of a gift."""
    assert transfer.code in (_GIFT, _GIFT_EARNINGS)
    return transfer.user_data_64 >> _QUANTITY_BITS, transfer.user_data_64 & _QUANTITY_MASK


class MoneyBack(msgspec.Struct, frozen=True):
    """What a refund returns in the minor unit: `amount` in all, of which `tax` is tax."""

    amount: int
    tax: int


def money_back(price: int, *, tax: int, coins: int, unspent: int) -> MoneyBack:
    """
    What the unspent part of a purchase is worth: `unspent / coins` of its price (DESIGN 4).

    Rounded down to the minor unit, the rest stays with us; the tax in it is rounded down too, so
    that we never reclaim more tax than was taken with those coins. All unspent returns all, exactly.
    """
    assert 0 <= tax < price
    assert 0 <= unspent <= coins
    assert coins > 0
    back = MoneyBack(price * unspent // coins, tax * unspent // coins)
    assert back.tax <= back.amount <= price
    return back


def refund_of_unspent(
    chain_id: bytes,
    *,
    environment: Environment,
    viewer_id: str,
    order_id: str,
    provider: str,
    coins: int,
    price: Price,
    tax: int,
    unspent: int,
    unspent_bonus: int,
) -> Chain:
    """
    Take back what is left of a purchase and its bonus, and return that part of the price.

        COIN   Dr  wallet(viewer)         unspent
               Cr  returned                   unspent
        COIN   Dr  wallet(viewer)         unspent bonus          (where there is any)
               Cr  returned                   unspent bonus
        money  Dr  coin_liability         the rest of it
               Cr  receivable(provider)       the same
        money  Dr  tax_payable            tax x unspent / coins, rounded down (where there is any)
               Cr  receivable(provider)       the same

    `coins`, `price` and `tax` are the purchase's, `unspent` and `unspent_bonus` what `lots` says is
    left of it; the money is `money_back` of them and must not come to nothing. `user_data_128` is
    the order's id on every transfer, and the two codes tell `lots` which of its lots to shorten. A
    gift sent between the question and this chain is no harm: the coins are the viewer's all the
    same, and `lots` says whose place they take.
    """
    assert coins > 0
    assert 0 < unspent <= coins
    assert unspent_bonus >= 0
    back = money_back(price.amount, tax=tax, coins=coins, unspent=unspent)
    assert back.amount > 0

    ledger = chart.money_ledger(price.currency)
    owed = chart.receivable(environment, provider, price.currency)
    liability = chart.coin_liability(environment, price.currency)
    state = chart.tax_payable(environment, price.currency)
    wallet = chart.wallet(environment, viewer_id)
    returned = chart.returned(environment)
    code = TransferCode
    legs: list[_Leg] = [(COIN, code.REFUND, wallet, returned, unspent, _NONE)]
    if unspent_bonus:
        legs.append((COIN, code.REFUND_BONUS, wallet, returned, unspent_bonus, _NONE))
    if back.amount > back.tax:
        legs.append((ledger, code.REFUND_NET, liability, owed, back.amount - back.tax, _NONE))
    if back.tax:
        legs.append((ledger, code.REFUND_TAX, state, owed, back.tax, _NONE))
    assert sum(leg[4] for leg in legs if leg[0] == ledger) == back.amount
    assert sum(leg[4] for leg in legs if leg[0] == COIN) == unspent + unspent_bonus
    return _chain(chain_id, _id(order_id), legs)


def correction(chain_id: bytes, wrong: Sequence[Posted]) -> Chain:
    """
    Undo a posted chain that should not have been; nothing posted is ever edited.

        each transfer of it, the last one first:
               Dr  what it credited       what it moved
               Cr  what it debited            the same

    The last one first, because then every account can give what it is asked for, unless its owner
    spent it meanwhile: then the ledger refuses the whole with `exceeds_credits`. `user_data_128`
    names the chain, `user_data_64` the place in it of the transfer that this one mirrors,
    `user_data_32` that one's code. A correction is not corrected: post the event anew instead.
    """
    assert wrong
    head = wrong[0].transfer.id
    assert chain_id != head
    assert head == ids.head(head)
    mirrored = []
    for place, posted in enumerate(wrong):
        transfer = posted.transfer
        assert transfer.id == ids.nth(head, place)
        assert transfer.code != _CORRECTION
        assert not transfer.flags & _TWO_PHASE
        mirror = Transfer(
            ids.nth(chain_id, len(wrong) - 1 - place),
            transfer.credit_account_id,
            transfer.debit_account_id,
            transfer.amount,
            transfer.ledger,
            _CORRECTION,
            user_data_128=head,
            user_data_64=place,
            user_data_32=transfer.code,
        )
        mirrored.append(mirror)
    return tuple(reversed(mirrored))


def corrected_transfer_id(transfer: Transfer) -> bytes:
    """The transfer that this transfer of a correction mirrors."""
    assert transfer.code == _CORRECTION
    return ids.nth(transfer.user_data_128, transfer.user_data_64)


def meaning(transfer: Transfer) -> TransferCode:
    """A transfer's code, or where it is a correction's the code of what it corrects."""
    if transfer.code == _CORRECTION:
        return TransferCode(transfer.user_data_32)
    return TransferCode(transfer.code)


def _id(text: str) -> bytes:
    id = ids.parse(text)
    assert id is not None, text
    return id


def _chain(chain_id: bytes, cause: bytes, legs: Sequence[_Leg]) -> Chain:
    """The legs as transfers with one cause, numbered in their order."""
    assert legs
    assert all(leg[2] != leg[3] for leg in legs)
    return tuple(
        Transfer(
            ids.nth(chain_id, n),
            debit_account_id,
            credit_account_id,
            amount,
            ledger,
            int(code),
            flags,
            user_data_128=cause,
        )
        for n, (ledger, code, debit_account_id, credit_account_id, amount, flags) in enumerate(legs)
    )
