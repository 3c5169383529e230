"""
The chart of accounts: ledgers, accounts and the codes that say what a transfer was.

Numbers in this file are in every data folder, so they are never changed or used again. The ids of
accounts are derived from their names, so anyone who knows the name finds the account.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum, StrEnum
from functools import lru_cache, partial
from hashlib import blake2b

from largesse import ids, money
from largesse.ledger.model import Account, AccountFlags

COIN = 1
"""The ledger of coins; unit: 1 coin."""
DIAMOND = 2
"""The ledger of diamonds; unit: 1/10,000 diamond."""
POINT = 3
"""The ledger of points; unit: 1 point."""
BUDGET = 4
"""The ledger of spending caps; unit: coins for gifts, minor units for recharge."""

_LEDGER_NAMES = {COIN: "COIN", DIAMOND: "DIAMOND", POINT: "POINT", BUDGET: "BUDGET"}
assert not _LEDGER_NAMES.keys() & money.CURRENCY_OF_NUMBER.keys()

LABEL_LENGTH_MAX = 16
"""Characters in the name of a provider or a campaign: it must fit an account's `user_data_128`."""
IDS_KEPT_MAX = 131_072
"""Ids kept in memory per kind of account."""


class Environment(StrEnum):
    """Whether coins were bought with real money. The two never meet in one transfer."""

    LIVE = "live"
    TEST = "test"


NUMBER_OF_ENVIRONMENT = {Environment.LIVE: 1, Environment.TEST: 2}
"""What an account's `user_data_32` says."""
ENVIRONMENT_OF_NUMBER = {number: name for name, number in NUMBER_OF_ENVIRONMENT.items()}


class AccountCode(IntEnum):
    """What kind of account it is: 1xx coins, 2xx diamonds, 5xx money."""

    WALLET = 101
    DEBT = 102
    ISSUED = 103
    REDEEMED = 104
    RETURNED = 105
    EXPIRED = 106
    CAMPAIGN = 107

    DIAMONDS_ISSUED = 201
    EARNINGS_HELD = 202
    EARNINGS_AVAILABLE = 203
    CASHED_OUT = 204
    CLAWED_BACK = 205

    RECEIVABLE = 501
    BANK = 502
    COIN_LIABILITY = 503
    TAX_PAYABLE = 504
    FEES = 505
    CREATOR_PAYABLE = 506
    REVENUE = 507
    PROMOTION_COST = 508
    FX = 509
    LOSS = 510


class TransferCode(IntEnum):
    """What a transfer was. Each moves between two kinds of account and no others (`SIDES`)."""

    RECHARGE_NET = 1
    RECHARGE_TAX = 2
    RECHARGE = 3
    RECHARGE_BONUS = 4
    DEBT_REPAYMENT = 5
    CAMPAIGN_FUNDING = 10
    BONUS = 11
    GIFT = 20
    GIFT_EARNINGS = 21
    REFUND = 30
    REFUND_BONUS = 31
    REFUND_NET = 32
    REFUND_TAX = 33
    CORRECTION = 90


_A, _T = AccountCode, TransferCode
SIDES: dict[int, tuple[int, int]] = {
    _T.RECHARGE_NET: (_A.RECEIVABLE, _A.COIN_LIABILITY),
    _T.RECHARGE_TAX: (_A.RECEIVABLE, _A.TAX_PAYABLE),
    _T.RECHARGE: (_A.ISSUED, _A.WALLET),
    _T.RECHARGE_BONUS: (_A.CAMPAIGN, _A.WALLET),
    _T.DEBT_REPAYMENT: (_A.WALLET, _A.DEBT),
    _T.CAMPAIGN_FUNDING: (_A.ISSUED, _A.CAMPAIGN),
    _T.BONUS: (_A.CAMPAIGN, _A.WALLET),
    _T.GIFT: (_A.WALLET, _A.REDEEMED),
    _T.GIFT_EARNINGS: (_A.DIAMONDS_ISSUED, _A.EARNINGS_HELD),
    _T.REFUND: (_A.WALLET, _A.RETURNED),
    _T.REFUND_BONUS: (_A.WALLET, _A.RETURNED),
    _T.REFUND_NET: (_A.COIN_LIABILITY, _A.RECEIVABLE),
    _T.REFUND_TAX: (_A.TAX_PAYABLE, _A.RECEIVABLE),
}
"""The kinds of account a code debits and credits. A correction's are those it mirrors, swapped."""
assert SIDES.keys() == set(TransferCode) - {TransferCode.CORRECTION}

_DEBIT_ACCOUNTS = frozenset(
    {
        _A.DEBT,
        _A.ISSUED,
        _A.DIAMONDS_ISSUED,
        _A.RECEIVABLE,
        _A.BANK,
        _A.FEES,
        _A.PROMOTION_COST,
        _A.FX,
        _A.LOSS,
    }
)
_LABELLED = frozenset({_A.CAMPAIGN, _A.RECEIVABLE})
_HOUSE_COIN = (_A.ISSUED, _A.REDEEMED, _A.RETURNED, _A.EXPIRED)
_HOUSE_DIAMOND = (_A.DIAMONDS_ISSUED, _A.CASHED_OUT, _A.CLAWED_BACK)
_HOUSE_MONEY = (
    _A.BANK,
    _A.COIN_LIABILITY,
    _A.TAX_PAYABLE,
    _A.FEES,
    _A.CREATOR_PAYABLE,
    _A.REVENUE,
    _A.PROMOTION_COST,
    _A.FX,
    _A.LOSS,
)
SINGLE = frozenset((*_HOUSE_COIN, *_HOUSE_DIAMOND, *_HOUSE_MONEY))
"""Kinds of account of which an environment has one (of money: one in each currency)."""


def is_debit_account(code: int) -> bool:
    """Whether an account of this kind grows by debits; any other grows by credits."""
    return code in _DEBIT_ACCOUNTS


def money_ledger(currency: str) -> int:
    """The ledger of a currency's minor units: its ISO 4217 number."""
    return money.CURRENCIES[currency].number


def ledger_name(ledger: int) -> str:
    """`COIN`, `DIAMOND`, ... or the letters of a currency."""
    if ledger in money.CURRENCY_OF_NUMBER:
        return money.CURRENCY_OF_NUMBER[ledger].code
    return _LEDGER_NAMES.get(ledger, f"ledger {ledger}")


def code_name(code: int) -> str:
    """A kind of account as people read it: `coin_liability`."""
    return AccountCode(code).name.lower()


def name_of(account: Account) -> str:
    """An account as people read it: `wallet/<viewer id>`, `issued`, `receivable/<provider>/USD`."""
    parts = [code_name(account.code)]
    if account.code in _LABELLED:
        parts.append(label_text(account.user_data_128))
    elif account.user_data_128 != ids.ZERO:
        parts.append(ids.text(account.user_data_128))
    if account.ledger in money.CURRENCY_OF_NUMBER:
        parts.append(ledger_name(account.ledger))
    return "/".join(parts)


def label(name: str) -> bytes:
    """A provider's or campaign's name in 16 bytes, padded with zeros."""
    assert 0 < len(name) <= LABEL_LENGTH_MAX
    assert name.isascii()
    assert name.isprintable()
    return name.encode().ljust(ids.SIZE, b"\x00")


def label_text(data: bytes) -> str:
    """The name behind a `label`."""
    return data.rstrip(b"\x00").decode()


class Kept(dict[str, bytes]):
    """
    Ids by name, each made once: a gift asks for five, and must not hash one of them.

    A dictionary that fills itself, because a hit then costs a third of what `lru_cache` takes.
    When it is full it begins anew, which costs a hash per name.
    """

    def __init__(self, make: Callable[[str], bytes]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> bytes:
        if len(self) >= IDS_KEPT_MAX:
            self.clear()
        id = self[name] = self._make(name)
        return id


@lru_cache(maxsize=4_096)
def _house(code: AccountCode, environment: str, *parts: str) -> bytes:
    """House accounts sort before all others (eight zero bytes), where an index keeps them warm."""
    name = "\x1f".join((code.name, environment, *parts))
    return bytes(8) + blake2b(name.encode(), digest_size=8).digest()


WALLETS = {name: Kept(partial(ids.derive, _A.WALLET.name, name)) for name in Environment}
EARNINGS_HELD = {
    name: Kept(partial(ids.derive, _A.EARNINGS_HELD.name, name)) for name in Environment
}


def wallet(environment: Environment, viewer_id: str) -> bytes:
    """The viewer's coins."""
    return WALLETS[environment][viewer_id]


def debt(environment: Environment, viewer_id: str) -> bytes:
    """What the viewer owes: coins spent whose payment was taken back."""
    return ids.derive(_A.DEBT.name, environment, viewer_id)


def earnings_held(environment: Environment, creator_id: str) -> bytes:
    """What the creator earned and cannot cash out yet."""
    return EARNINGS_HELD[environment][creator_id]


def earnings_available(environment: Environment, creator_id: str) -> bytes:
    """What the creator may cash out."""
    return ids.derive(_A.EARNINGS_AVAILABLE.name, environment, creator_id)


def campaign(environment: Environment, campaign_id: str) -> bytes:
    """Coins set aside for a promotion."""
    return ids.derive(_A.CAMPAIGN.name, environment, campaign_id)


def issued(environment: Environment) -> bytes:
    """Every coin that was ever made, for a purchase or for a campaign."""
    return _house(_A.ISSUED, environment)


def redeemed(environment: Environment) -> bytes:
    """Coins spent on gifts."""
    return _house(_A.REDEEMED, environment)


def returned(environment: Environment) -> bytes:
    """Coins taken back against money."""
    return _house(_A.RETURNED, environment)


def expired(environment: Environment) -> bytes:
    """Promotional coins whose time ran out."""
    return _house(_A.EXPIRED, environment)


def diamonds_issued(environment: Environment) -> bytes:
    """Every diamond that was ever earned."""
    return _house(_A.DIAMONDS_ISSUED, environment)


def cashed_out(environment: Environment) -> bytes:
    """Diamonds paid out to creators."""
    return _house(_A.CASHED_OUT, environment)


def clawed_back(environment: Environment) -> bytes:
    """Diamonds taken back because the payment behind them was."""
    return _house(_A.CLAWED_BACK, environment)


def receivable(environment: Environment, provider: str, currency: str) -> bytes:
    """What a payment provider owes us."""
    return _house(_A.RECEIVABLE, environment, provider, currency)


def bank(environment: Environment, currency: str) -> bytes:
    """Our money at the bank."""
    return _house(_A.BANK, environment, currency)


def coin_liability(environment: Environment, currency: str) -> bytes:
    """What was paid for coins that are not spent yet, without tax."""
    return _house(_A.COIN_LIABILITY, environment, currency)


def tax_payable(environment: Environment, currency: str) -> bytes:
    """Tax that was taken with the price and is owed to the state."""
    return _house(_A.TAX_PAYABLE, environment, currency)


def fees(environment: Environment, currency: str) -> bytes:
    """What providers keep."""
    return _house(_A.FEES, environment, currency)


def creator_payable(environment: Environment, currency: str) -> bytes:
    """What creators are owed for their diamonds."""
    return _house(_A.CREATOR_PAYABLE, environment, currency)


def revenue(environment: Environment, currency: str) -> bytes:
    """What the platform earned."""
    return _house(_A.REVENUE, environment, currency)


def promotion_cost(environment: Environment, currency: str) -> bytes:
    """What promotional coins cost us in creators' earnings."""
    return _house(_A.PROMOTION_COST, environment, currency)


def fx(environment: Environment, currency: str) -> bytes:
    """Gains and losses between currencies."""
    return _house(_A.FX, environment, currency)


def loss(environment: Environment, currency: str) -> bytes:
    """What was lost to disputes and fraud."""
    return _house(_A.LOSS, environment, currency)


GIFT_ACCOUNTS = {
    name: (WALLETS[name], EARNINGS_HELD[name], redeemed(name), diamonds_issued(name))
    for name in Environment
}
"""What a gift touches, together, so that `postings.gift` looks up an environment once."""
GIFT_ROOMS = Kept(bytes.fromhex)
"""Rooms' ids as the ledger has them."""


def viewer_accounts(environment: Environment, viewer_id: str) -> tuple[Account, ...]:
    """A viewer's two accounts, to be created: the wallet, never overdrawn, and the debt."""
    wallet_flags = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
    debt_flags = AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS
    owner = _owner(viewer_id)
    return (
        _account(wallet(environment, viewer_id), COIN, _A.WALLET, environment, owner, wallet_flags),
        _account(debt(environment, viewer_id), COIN, _A.DEBT, environment, owner, debt_flags),
    )


def creator_accounts(environment: Environment, creator_id: str) -> tuple[Account, ...]:
    """A creator's two accounts, to be created: earnings held and earnings available."""
    flags = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
    owner = _owner(creator_id)
    held = earnings_held(environment, creator_id)
    available = earnings_available(environment, creator_id)
    return (
        _account(held, DIAMOND, _A.EARNINGS_HELD, environment, owner, flags),
        _account(available, DIAMOND, _A.EARNINGS_AVAILABLE, environment, owner, flags),
    )


def campaign_account(environment: Environment, campaign_id: str) -> Account:
    """A campaign's account, to be created: it gives what it was funded with and no more."""
    flags = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
    name = label(campaign_id)
    id = campaign(environment, campaign_id)
    return _account(id, COIN, _A.CAMPAIGN, environment, name, flags)


def house_accounts(
    environment: Environment, currencies: Iterable[str], providers: Iterable[str]
) -> tuple[Account, ...]:
    """The platform's own accounts, to be created: of coins, of diamonds, of money per currency."""
    providers = tuple(providers)
    accounts = [
        _account(_house(code, environment), COIN, code, environment) for code in _HOUSE_COIN
    ]
    accounts += (
        _account(_house(code, environment), DIAMOND, code, environment) for code in _HOUSE_DIAMOND
    )
    for currency in currencies:
        ledger = money_ledger(currency)
        accounts += (
            _account(_house(code, environment, currency), ledger, code, environment)
            for code in _HOUSE_MONEY
        )
        accounts += (
            _account(
                receivable(environment, provider, currency),
                ledger,
                _A.RECEIVABLE,
                environment,
                label(provider),
            )
            for provider in providers
        )
    return tuple(accounts)


def _owner(person_id: str) -> bytes:
    owner = ids.parse(person_id)
    assert owner is not None, person_id
    return owner


def _account(
    id: bytes,
    ledger: int,
    code: AccountCode,
    environment: Environment,
    owner: bytes = ids.ZERO,
    flags: AccountFlags = AccountFlags.NONE,
) -> Account:
    return Account(
        id=id,
        ledger=ledger,
        code=int(code),
        flags=int(flags),
        user_data_128=owner,
        user_data_32=NUMBER_OF_ENVIRONMENT[environment],
    )
