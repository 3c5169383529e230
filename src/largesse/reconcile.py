"""
Reconcile: two independent records of the same money, read again and compared.

`check` reads every chain against the books' rules and every order against its chain; `check_file`
reads the ledger's store against itself (`Ledger.verify`), which takes longest and is for
`largesse check --deep`. Both stream: pages go by, totals stay. The ledger may go on moving
meanwhile, in this process or in others: what comes after the changes that were read is left for the
next run, and an order is kept before its chain is posted, so what is written meanwhile is no fault.
"""

from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from largesse import clock, ids
from largesse.books import chart, checks, postings
from largesse.books.chart import Environment, TransferCode
from largesse.books.checks import Check, Tally
from largesse.ledger import Ledger, Problem, Total
from largesse.ledger.model import Account, Change, ChangeKind, Posted
from largesse.money import CURRENCIES
from largesse.records import orders, verdicts
from largesse.records.database import Database, RecordsUnavailable
from largesse.records.orders import Order

CHANGES_AT_ONCE = 200
"""Changes read between two turns of the event loop: about two milliseconds of work."""
ORDERS_AT_ONCE = 100
ACCOUNTS_KEPT_MAX = 50_000
"""Accounts remembered, so that most transfers cost no look-up."""

FILE_RULE = "the ledger's file is as the ledger wrote it"
READABLE_RULE = "the ledger can be read to its end"
FOLDER_RULE = "a folder of test money holds no other"
RECHARGE_RULE = "every recharge has its order"
REFUND_RULE = "every refund has its order"
ORDER_RULE = "every credited order has its coins, as ordered"


class Books(msgspec.Struct):
    """
    What was read of the ledger's changes so far, up to the timestamp `after`.

    Kept between two runs, the second reads only what is new; what was read is not read again.
    `whole` is False while a page is being added up: a run that stopped there begins afresh.
    """

    tally: Tally = msgspec.field(default_factory=Tally)
    after: int = 0
    transfers: int = 0
    refunds: int = 0
    whole: bool = True


class _Orders(msgspec.Struct):
    """What this run found in the orders, which are all read each time."""

    tally: Tally
    orders: int = 0
    recharges_with_order: int = 0
    waiting: int = 0
    waiting_since: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """Every check of one run, which began at `at` and took so many seconds."""

    at: int
    seconds: float
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether all of them hold."""
        return all(check.holds for check in self.checks)


async def keep(db: Database, found: Verdict) -> None:
    """Let the other processes know of a verdict."""
    await verdicts.write(db, msgspec.json.encode(found))


async def last(db: Database) -> Verdict | None:
    """The last verdict that any process kept."""
    body = await verdicts.read(db)
    return None if body is None else msgspec.json.decode(body, type=Verdict)


async def verdict(
    db: Database,
    ledger: Ledger,
    *,
    environment: Environment,
    now: Callable[[], int],
    books: Books | None = None,
) -> Verdict:
    """
    Run every check and say what came of it; see `check`.

    Raises:
        RecordsUnavailable: the records cannot be read.
    """
    at = now()
    rows = check(db, ledger, environment=environment, now=at, books=books)
    found = [row async for row in rows if not isinstance(row, int)]
    return Verdict(at, round((now() - at) / clock.SECOND, 3), tuple(found))


async def check_file(
    steps: AsyncIterator[Problem | Total | int],
) -> AsyncIterator[Check | Total | int]:
    """
    What a `Ledger.verify` says, as checks: hashes, totals, histories of the ledger's store.

    Yields a `Check` per problem, or one that all is well, and `verify`'s progress between them.
    """
    found_problem = False
    read = 0
    async for step in steps:
        if isinstance(step, Problem):
            found_problem = True
            yield Check(FILE_RULE, False, f"{step.what} ({step.where})")
            continue
        if isinstance(step, int):
            read = step
        yield step
    if not found_problem:
        yield Check(FILE_RULE, True, f"{read:,} transfers")


async def check(
    db: Database,
    ledger: Ledger,
    *,
    environment: Environment,
    now: int,
    books: Books | None = None,
) -> AsyncIterator[Check | int]:
    """
    Check the books and the orders of this installation, whose environment this is.

    Yields a `Check` per rule, and before them how many transfers were read so far, for progress.
    With `books` of an earlier run, only the changes since then are read.

    Raises:
        RecordsUnavailable: the records cannot be read.
    """
    books = Books() if books is None else books
    if not books.whole:
        books.tally, books.after, books.transfers, books.refunds = Tally(), 0, 0, 0
    try:
        books.whole = False
        async for transfers in _read_changes(db, ledger, books):
            yield transfers
        books.whole = True
        found = _Orders(Tally())
        await _read_orders(db, ledger, books, found)
        if found.recharges_with_order != books.tally.recharges:
            await _find_recharges_without_order(db, ledger, books, found)
    except RecordsUnavailable:
        raise
    except Exception as error:
        # A store that is not as the ledger wrote it may hold anything, and break anything that reads.
        detail = f"stopped after {books.transfers:,} transfers: {error!r}"
        yield Check(READABLE_RULE, False, detail)
        return
    for row in checks.of_changes(books.tally):
        yield row
    for row in _rows(books, found, environment, now):
        yield row


def _rows(books: Books, found: _Orders, environment: Environment, now: int) -> list[Check]:
    tally = found.tally
    live = chart.NUMBER_OF_ENVIRONMENT[Environment.LIVE]
    if environment is Environment.TEST and any(number == live for number, _, _ in books.tally.sums):
        checks.fault(tally, FOLDER_RULE, "there are live accounts")

    orders_detail = f"{found.orders:,} orders"
    if found.waiting:
        minutes = (now - found.waiting_since) // clock.MINUTE
        orders_detail += (
            f"; {found.waiting:,} paid and about to be credited, the oldest {minutes:,} min old"
        )
    return [
        checks.rule_check(tally, RECHARGE_RULE, f"{books.tally.recharges:,} recharges"),
        checks.rule_check(tally, ORDER_RULE, orders_detail),
        checks.rule_check(books.tally, REFUND_RULE, f"{books.refunds:,} refunds"),
        checks.rule_check(tally, FOLDER_RULE, environment.value),
    ]


async def _read_changes(db: Database, ledger: Ledger, books: Books) -> AsyncIterator[int]:
    """Read the changes from the first to the last of this moment into the books."""
    accounts: dict[bytes, Account] = {}
    at_end = False
    while not at_end:
        changes = await ledger.changes(books.after, CHANGES_AT_ONCE)
        # A short page is the end of this moment; to wait for an empty one could be to run for ever.
        at_end = len(changes) < CHANGES_AT_ONCE
        if not changes:
            break
        await _learn_accounts(ledger, accounts, changes)
        referred = await _referred(ledger, changes)
        for change in changes:
            match change.kind:
                case ChangeKind.ACCOUNT:
                    assert change.account is not None
                    checks.add_account_created(books.tally, change.account)
                case ChangeKind.EXPIRED:
                    checks.add_expired(books.tally, change.chain[0], accounts)
                case ChangeKind.CHAIN:
                    checks.add_chain(books.tally, change.chain, accounts, referred)
                    books.transfers += len(change.chain)
        await _check_refunds(db, books, changes)
        books.after = changes[-1].timestamp
        yield books.transfers


async def _learn_accounts(
    ledger: Ledger, accounts: dict[bytes, Account], changes: Sequence[Change]
) -> None:
    if len(accounts) > ACCOUNTS_KEPT_MAX:
        accounts.clear()
    needed = {
        account_id
        for change in changes
        for posted in change.chain
        for account_id in (posted.transfer.debit_account_id, posted.transfer.credit_account_id)
    }
    missing = list(needed - accounts.keys())
    if missing:
        for account in await ledger.lookup_accounts(missing):
            if account is not None:
                accounts[account.id] = account


async def _referred(ledger: Ledger, changes: Sequence[Change]) -> dict[bytes, Posted]:
    needed = [
        transfer_id
        for change in changes
        if change.kind is ChangeKind.CHAIN
        for transfer_id in checks.referred_ids(change.chain)
    ]
    if not needed:
        return {}
    found = await ledger.lookup_transfers(needed)
    return {posted.transfer.id: posted for posted in found if posted is not None}


async def _check_refunds(db: Database, books: Books, changes: Sequence[Change]) -> None:
    for change in changes:
        if not change.chain or change.chain[0].transfer.code != TransferCode.REFUND:
            continue
        books.refunds += 1
        refund = change.chain[0].transfer
        order = await orders.find(db, ids.text(refund.user_data_128))
        if order is None or refund.debit_account_id != _wallet(order):
            checks.fault(books.tally, REFUND_RULE, f"refund {ids.text(refund.id)}")


async def _read_orders(db: Database, ledger: Ledger, books: Books, found: _Orders) -> None:
    """
    Compare every order with the chain that its payment would have become.

    Orders are read after the changes, and an order is kept before its chain is posted: so every
    chain that was counted has its order among those read here.
    """
    before = None
    while page := await orders.recent(db, before=before, limit=ORDERS_AT_ONCE):
        before = (page[-1].created_at, page[-1].id)
        chain_ids = [_recharge_id(order) for order in page]
        transfer_ids = [
            ids.nth(chain_id, n)
            for chain_id in chain_ids
            if chain_id is not None
            for n in range(postings.RECHARGE_TRANSFERS_MAX)
        ]
        posted: dict[bytes, list[Posted]] = {}
        for each in await ledger.lookup_transfers(transfer_ids):
            if each is not None:
                posted.setdefault(ids.head(each.transfer.id), []).append(each)
        for order, chain_id in zip(page, chain_ids, strict=True):
            chain = [] if chain_id is None else posted.get(chain_id, [])
            _check_order(found, order, chain, books.after)


def _check_order(found: _Orders, order: Order, chain: Sequence[Posted], after: int) -> None:
    found.orders += 1
    if order.status == "paid" and not chain:
        found.waiting += 1
        since = found.waiting_since or order.created_at
        found.waiting_since = min(since, order.created_at)
    if not chain:
        if order.status == "credited":
            checks.fault(found.tally, ORDER_RULE, f"order {order.id} was credited nothing")
        return
    if not checks.is_posting(chain) or chain[0].transfer.code != TransferCode.RECHARGE_NET:
        checks.fault(found.tally, ORDER_RULE, f"order {order.id}: its chain is no recharge")
        return
    if chain[0].timestamp <= after:
        found.recharges_with_order += 1
    different = _difference(order, postings.recharge_details(chain))
    if different is not None:
        checks.fault(found.tally, ORDER_RULE, f"order {order.id}: {different}")


def _difference(order: Order, chain: postings.RechargeDetails) -> str | None:
    """What the chain and its order do not agree on; a campaign may give less than was ordered."""
    environment = Environment(order.environment)
    receivable = chart.receivable(environment, order.provider, order.currency)
    for what, ordered, moved in (
        ("order", order.id, chain.order_id),
        ("wallet", _wallet(order), chain.wallet_id),
        ("provider", receivable, chain.receivable_id),
        ("currency", CURRENCIES[order.currency].number, chain.money_ledger),
        ("amount", order.amount, chain.net + chain.tax),
        ("tax", order.tax, chain.tax),
        ("coins", order.coins, chain.coins),
    ):
        if ordered != moved:
            return f"{what} differs"
    if chain.bonus_coins > order.bonus_coins:
        return "bonus coins differ"
    return None


async def _find_recharges_without_order(
    db: Database, ledger: Ledger, books: Books, found: _Orders
) -> None:
    """Read the changes once more, to name the recharges that the numbers show to be too many."""
    detail = f"{books.tally.recharges:,} recharges, {found.recharges_with_order:,} of them ordered"
    checks.fault(found.tally, RECHARGE_RULE, detail)
    after = 0
    while after < books.after:
        changes = await ledger.changes(after, CHANGES_AT_ONCE)
        if not changes:
            break
        after = changes[-1].timestamp
        for change in changes:
            if not change.chain or change.timestamp > books.after:
                continue
            first = change.chain[0].transfer
            if first.code != TransferCode.RECHARGE_NET:
                continue
            order = await orders.find(db, ids.text(first.user_data_128))
            if order is None or _recharge_id(order) != first.id:
                checks.fault(found.tally, RECHARGE_RULE, f"recharge {ids.text(first.id)}")


def _recharge_id(order: Order) -> bytes | None:
    if order.payment_id is None:
        return None
    return postings.recharge_id(Environment(order.environment), order.provider, order.payment_id)


def _wallet(order: Order) -> bytes:
    return chart.wallet(Environment(order.environment), order.viewer_id)
