"""
A bookkeeper's desk: ana and cleo buy and gift, bo earns, in US dollars at the sandbox provider.

Everything goes through the reference ledger and its rules. `post` insists that a chain is created.
"""

from collections.abc import Awaitable, Callable, Iterable

from largesse import ids
from largesse.books import chart, lots, postings
from largesse.books.chart import Environment
from largesse.clock import DAY, Clock, ManualClock
from largesse.ledger import AccountFilter, Ledger
from largesse.ledger.memory import MemoryLedger
from largesse.ledger.model import (
    Account,
    Chain,
    ChangeKind,
    Outcome,
    Posted,
    Transfer,
)
from largesse.money import Price

TEST = Environment.TEST
ANA = ids.text(ids.derive("person", "ana"))
BO = ids.text(ids.derive("person", "bo"))
CLEO = ids.text(ids.derive("person", "cleo"))
DANA = ids.text(ids.derive("person", "dana"))
ROOM = ids.text(ids.derive("room", "bo's"))
NAMES = {ANA: "ana", BO: "bo", CLEO: "cleo"}
SPRING = "spring"
PRICE = Price(374, "USD")
TAX = 62
HISTORY_MAX = 10_000


def order(name: str) -> str:
    """The id of an order that the test calls by this name."""
    return ids.text(ids.derive("order", name))


def chain_id(name: str) -> bytes:
    """The id of a chain that the test calls by this name."""
    return ids.derive("chain", name)


class Desk:
    """
    The ledger with everyone's accounts, and the shortest way to post each event.

    It is the reference ledger, unless another one is opened with `engine`.
    """

    def __init__(self, engine: Callable[[Clock], Awaitable[Ledger]] | None = None) -> None:
        self.clock = ManualClock()
        self.engine = engine
        self.ledger: Ledger = MemoryLedger(self.clock)

    async def open(self) -> "Desk":
        if self.engine is not None:
            self.ledger = await self.engine(self.clock)
        await self.ledger.create_accounts(
            (
                *chart.house_accounts(TEST, ("USD",), ("sandbox",)),
                *chart.viewer_accounts(TEST, ANA),
                *chart.viewer_accounts(TEST, CLEO),
                *chart.creator_accounts(TEST, BO),
                chart.campaign_account(TEST, SPRING),
            )
        )
        return self

    async def outcome(self, chain: Chain) -> Outcome:
        [result] = await self.ledger.create_transfers([chain])
        return result.outcome

    async def post(self, chain: Chain) -> tuple[Posted, ...]:
        outcome = await self.outcome(chain)
        assert outcome is Outcome.CREATED, outcome
        return await self.posted(chain)

    async def posted(self, chain: Chain) -> tuple[Posted, ...]:
        found = await self.ledger.lookup_transfers([transfer.id for transfer in chain])
        assert None not in found
        return tuple(posted for posted in found if posted is not None)

    async def recharge(self, name: str, coins: int = 350, bonus: int = 0) -> tuple[Posted, ...]:
        return await self.post(recharge(name, coins, bonus))

    async def fund(self, coins: int) -> tuple[Posted, ...]:
        head = chain_id(f"funding of {coins}")
        chain = postings.fund_campaign(head, environment=TEST, campaign_id=SPRING, coins=coins)
        return await self.post(chain)

    async def gift(self, name: str, coins: int) -> tuple[Posted, ...]:
        return await self.post(gift(name, coins))

    async def owe(self, coins: int) -> None:
        """Ana owes these, as after a dispute: there is no posting for it yet."""
        debt, returned = chart.debt(TEST, ANA), chart.returned(TEST)
        code = chart.TransferCode.REFUND
        await self.post((Transfer(chain_id("dispute"), debt, returned, coins, chart.COIN, code),))

    def end_of_day(self) -> int:
        """A day goes by; its last instant."""
        self.clock.advance(DAY)
        return self.clock.now() - 1

    async def account(self, account_id: bytes) -> Account:
        [account] = await self.ledger.lookup_accounts([account_id])
        assert account is not None
        return account

    async def coins(self, viewer_id: str = ANA) -> int:
        account = await self.account(chart.wallet(TEST, viewer_id))
        return account.credits_posted - account.debits_posted

    async def history(self, account_id: bytes) -> list[Posted]:
        """Everything that moved the account, newest first."""
        return await self.ledger.account_transfers(account_id, AccountFilter(limit=HISTORY_MAX))

    async def lots(self) -> lots.Lots:
        wallet = chart.wallet(TEST, ANA)
        return lots.of(wallet, reversed(await self.history(wallet)))

    async def accounts(self) -> list[Account]:
        """Every account as it stands, in the order of their creation."""
        changes = await self.ledger.changes(0, HISTORY_MAX)
        created = [change.account for change in changes if change.kind is ChangeKind.ACCOUNT]
        found = await self.ledger.lookup_accounts([account.id for account in created if account])
        return [account for account in found if account is not None]


def recharge(name: str, coins: int = 350, bonus: int = 0) -> Chain:
    """Ana buys coins at the price of 350, whatever their number."""
    return postings.recharge(
        postings.recharge_id(TEST, "sandbox", name),
        environment=TEST,
        viewer_id=ANA,
        order_id=order(name),
        provider="sandbox",
        coins=coins,
        price=PRICE,
        tax=TAX,
        bonus_coins=bonus,
        campaign_id=SPRING if bonus else None,
    )


def gift(name: str, coins: int, *, share_bps: int = 5_000, creator_id: str = BO) -> Chain:
    """Ana sends bo, or another, some roses, of a coin each."""
    return postings.gift(
        chain_id(name),
        environment=TEST,
        viewer_id=ANA,
        creator_id=creator_id,
        room_id=ROOM,
        item_number=7,
        quantity=coins,
        price_list_version=3,
        coins=coins,
        share_bps=share_bps,
    )


def refund(name: str, coins: lots.OrderCoins, attempt: str = "") -> Chain:
    """Ana gets back what is left of a purchase."""
    return postings.refund_of_unspent(
        chain_id(f"refund of {name}{attempt}"),
        environment=TEST,
        viewer_id=ANA,
        order_id=order(name),
        provider="sandbox",
        coins=coins.coins,
        price=PRICE,
        tax=TAX,
        unspent=coins.unspent,
        unspent_bonus=coins.unspent_bonus,
    )


def named(text: str) -> str:
    """The text with people's names in place of their ids."""
    for id, name in NAMES.items():
        text = text.replace(id, name)
    return text


def totals(accounts: Iterable[Account]) -> dict[bytes, int]:
    """Each account's balance, where it is not zero."""
    balances = {account.id: account.credits_posted - account.debits_posted for account in accounts}
    return {id: balance for id, balance in balances.items() if balance}
