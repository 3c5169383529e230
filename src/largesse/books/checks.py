"""
Checks: what must be true of the books at every moment.

They are functions of a `Tally`, which is filled either from account rows (`add_account`) or from
the ledger's changes (`add_account_created`, `add_chain`, `add_expired`). The tally is as small as
the chart, however long the history. In the changes every total stands twice, as amounts and as
running totals: accounts of which there is one are tallied by the second, all others by the first,
so that an equation between them compares two things that were stored apart.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from largesse import ids
from largesse.books import chart, postings
from largesse.books.chart import COIN, DIAMOND, AccountCode, TransferCode
from largesse.ledger.model import Account, Posted, Transfer, TransferFlags

EXAMPLES_MAX = 5
"""Faults of one kind that are named; of the others only the number is kept."""

_PENDING = int(TransferFlags.PENDING)
_POST = int(TransferFlags.POST_PENDING_TRANSFER)
_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
_POST_OR_VOID = _POST | _VOID
_GIFT = int(TransferCode.GIFT)
_CORRECTION = int(TransferCode.CORRECTION)

SIDES_RULE = "every transfer is between the accounts its code names"
SHAPE_RULE = "every chain is a posting"
ENVIRONMENT_RULE = "test coins stay test coins"
CORRECTION_RULE = "every correction mirrors one chain, once"
GIFT_RULE = "every gift earns its coins x share"
SELF_RULE = "nobody gifts to themselves"
_CHAIN_RULES = (SHAPE_RULE, SIDES_RULE, ENVIRONMENT_RULE, GIFT_RULE, SELF_RULE, CORRECTION_RULE)
_LIMIT_RULES = {
    int(AccountCode.WALLET): "no wallet is below zero",
    int(AccountCode.EARNINGS_HELD): "no earnings held are below zero",
    int(AccountCode.EARNINGS_AVAILABLE): "no earnings available are below zero",
    int(AccountCode.CAMPAIGN): "every campaign spends within its funding",
    int(AccountCode.DEBT): "no debt is below zero",
}
_SINGLE = frozenset(int(code) for code in chart.SINGLE)
_SIDES = {int(code): (int(debit), int(credit)) for code, (debit, credit) in chart.SIDES.items()}


def _shapes() -> frozenset[tuple[int, ...]]:
    """Which codes a chain may have, in their order."""
    code = TransferCode
    shapes = [
        (code.CAMPAIGN_FUNDING,),
        (code.BONUS,),
        (code.GIFT, code.GIFT_EARNINGS),
    ]
    for tax in ((), (code.RECHARGE_TAX,)):
        for bonus in ((), (code.RECHARGE_BONUS,)):
            shapes.append((code.RECHARGE_NET, *tax, code.RECHARGE, *bonus, code.DEBT_REPAYMENT))
    for bonus in ((), (code.REFUND_BONUS,)):
        for net in ((), (code.REFUND_NET,)):
            for tax in ((), (code.REFUND_TAX,)):
                shapes.append((code.REFUND, *bonus, *net, *tax))
    return frozenset(tuple(int(part) for part in shape) for shape in shapes)


_SHAPES = _shapes()


class Check(msgspec.Struct, frozen=True):
    """One thing that must be true, whether it is, and the figures (or the faults) that show it."""

    name: str
    holds: bool
    detail: str


class Sums(msgspec.Struct, gc=False):
    """The four totals of all accounts of one kind."""

    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0


class Tally(msgspec.Struct):
    """
    What has been added up so far. `sums` goes by environment number, ledger and account code.

    `gift_units` are the diamonds that gifts' coins and shares come to, by environment number;
    `corrected` the chains that were corrected, which operators do by hand and seldom.
    """

    sums: dict[tuple[int, int, int], Sums] = {}
    faults: dict[str, list[str]] = {}
    faults_number: dict[str, int] = {}
    gift_units: dict[int, int] = {}
    corrected: set[bytes] = set()
    chains: int = 0
    gifts: int = 0
    recharges: int = 0


def fault(tally: Tally, rule: str, detail: str) -> None:
    """Note that a rule was broken, and where."""
    tally.faults_number[rule] = tally.faults_number.get(rule, 0) + 1
    examples = tally.faults.setdefault(rule, [])
    if len(examples) < EXAMPLES_MAX:
        examples.append(detail)


def rule_check(tally: Tally, rule: str, detail: str) -> Check:
    """A rule as a row: with `detail` where it holds, with the first faults where it does not."""
    number = tally.faults_number.get(rule, 0)
    if not number:
        return Check(rule, True, detail)
    return Check(rule, False, f"{number:,} not: " + "; ".join(tally.faults[rule]))


def add_account(tally: Tally, account: Account) -> None:
    """Add an account as it stands."""
    sums = _sums(tally, account)
    sums.debits_pending += account.debits_pending
    sums.debits_posted += account.debits_posted
    sums.credits_pending += account.credits_pending
    sums.credits_posted += account.credits_posted
    debits = account.debits_posted + account.debits_pending
    credits = account.credits_posted + account.credits_pending
    if account.code == AccountCode.DEBT:
        below = credits > account.debits_posted
    else:
        below = debits > account.credits_posted
    if below and account.code in _LIMIT_RULES:
        fault(tally, _LIMIT_RULES[account.code], chart.name_of(account))


def add_account_created(tally: Tally, account: Account) -> None:
    """Note an account from the changes, so that an environment without movement is known too."""
    _sums(tally, account)


def _sums(tally: Tally, account: Account) -> Sums:
    key = (account.user_data_32, account.ledger, account.code)
    sums = tally.sums.get(key)
    if sums is None:
        sums = tally.sums[key] = Sums()
    return sums


def referred_ids(chain: Sequence[Posted]) -> list[bytes]:
    """
    The transfers that a chain speaks of, to be looked up for `add_chain`.

    For a correction one more than it mirrors, which must not be there.
    """
    first = chain[0].transfer
    if first.code == _CORRECTION:
        head = ids.head(first.user_data_128)
        return [ids.nth(head, n) for n in range(len(chain) + 1)]
    return [posted.transfer.pending_id for posted in chain if posted.transfer.flags & _POST_OR_VOID]


def is_posting(chain: Sequence[Posted]) -> bool:
    """Whether the codes of this chain are those of one of our postings, in their order."""
    return tuple([posted.transfer.code for posted in chain]) in _SHAPES


def add_chain(
    tally: Tally,
    chain: Sequence[Posted],
    accounts: Mapping[bytes, Account],
    referred: Mapping[bytes, Posted],
) -> None:
    """
    Add a chain from the changes.

    `accounts` holds those it touches, `referred` the transfers of `referred_ids` that exist.
    """
    tally.chains += 1
    first = chain[0].transfer
    is_correction = first.code == _CORRECTION
    if not is_correction and not is_posting(chain):
        fault(tally, SHAPE_RULE, f"chain {ids.text(first.id)}")
    for posted in chain:
        _add_transfer(tally, posted, accounts, referred)
    if first.code == _GIFT and len(chain) > 1:
        _add_gift(tally, chain, accounts)
    elif is_correction:
        _add_correction(tally, chain, accounts, referred)
    elif first.code == TransferCode.RECHARGE_NET:
        tally.recharges += 1


def add_expired(tally: Tally, pending: Posted, accounts: Mapping[bytes, Account]) -> None:
    """Add from the changes that a pending transfer ran out."""
    transfer = pending.transfer
    debit = accounts.get(transfer.debit_account_id)
    credit = accounts.get(transfer.credit_account_id)
    if debit is not None and credit is not None:  # Noted by SIDES_RULE when it was made.
        _release(_sums(tally, debit), _sums(tally, credit), transfer)


def _release(debit: Sums, credit: Sums, pending: Transfer) -> None:
    debit.debits_pending -= pending.amount
    credit.credits_pending -= pending.amount


def _add_transfer(
    tally: Tally,
    posted: Posted,
    accounts: Mapping[bytes, Account],
    referred: Mapping[bytes, Posted],
) -> None:
    transfer = posted.transfer
    debit = accounts.get(transfer.debit_account_id)
    credit = accounts.get(transfer.credit_account_id)
    if debit is None or credit is None:
        fault(tally, SIDES_RULE, f"transfer {ids.text(transfer.id)} has an unknown account")
        return
    if not _is_between_its_accounts(transfer, debit, credit):
        fault(tally, SIDES_RULE, f"transfer {ids.text(transfer.id)}")
    if debit.user_data_32 != credit.user_data_32:
        fault(tally, ENVIRONMENT_RULE, f"transfer {ids.text(transfer.id)}")

    debit_sums, credit_sums = _sums(tally, debit), _sums(tally, credit)
    flags = transfer.flags
    if flags & _PENDING:
        debit_sums.debits_pending += transfer.amount
        credit_sums.credits_pending += transfer.amount
    elif flags & _POST_OR_VOID:
        pending = referred.get(transfer.pending_id)
        if pending is None:
            fault(tally, SIDES_RULE, f"transfer {ids.text(transfer.id)} has no pending one")
        else:
            _release(debit_sums, credit_sums, pending.transfer)
    moved = 0 if flags & (_PENDING | _VOID) else transfer.amount
    if debit.code in _SINGLE:
        debit_sums.debits_posted = posted.debit_account_debits_posted
        debit_sums.credits_posted = posted.debit_account_credits_posted
    else:
        debit_sums.debits_posted += moved
    if credit.code in _SINGLE:
        credit_sums.debits_posted = posted.credit_account_debits_posted
        credit_sums.credits_posted = posted.credit_account_credits_posted
    else:
        credit_sums.credits_posted += moved
    _add_limits(tally, posted, debit, credit)


def _is_between_its_accounts(transfer: Transfer, debit: Account, credit: Account) -> bool:
    kinds = (debit.code, credit.code)
    if transfer.code == _CORRECTION:
        kinds = (credit.code, debit.code)
        named = _SIDES.get(transfer.user_data_32)
    else:
        named = _SIDES.get(transfer.code)
    return kinds == named and transfer.ledger == debit.ledger == credit.ledger


def _add_limits(tally: Tally, posted: Posted, debit: Account, credit: Account) -> None:
    """Only a debit can overdraw what is limited, and only a credit a debt."""
    code = debit.code
    if (
        posted.debit_account_debits_posted > posted.debit_account_credits_posted
        and code in _LIMIT_RULES
        and code != AccountCode.DEBT
    ):
        fault(tally, _LIMIT_RULES[code], chart.name_of(debit))
    if (
        credit.code == AccountCode.DEBT
        and posted.credit_account_credits_posted > posted.credit_account_debits_posted
    ):
        fault(tally, _LIMIT_RULES[AccountCode.DEBT], chart.name_of(credit))


def _add_gift(tally: Tally, chain: Sequence[Posted], accounts: Mapping[bytes, Account]) -> None:
    tally.gifts += 1
    paid, earned = chain[0].transfer, chain[1].transfer
    wallet = accounts.get(paid.debit_account_id)
    earnings = accounts.get(earned.credit_account_id)
    if wallet is None or earnings is None:
        return  # Noted by SIDES_RULE.
    units = paid.amount * earned.user_data_32
    number = wallet.user_data_32
    tally.gift_units[number] = tally.gift_units.get(number, 0) + units
    if earned.amount != units:
        fault(tally, GIFT_RULE, f"gift {ids.text(paid.id)}")
    if earnings.user_data_32 != number:
        fault(tally, ENVIRONMENT_RULE, f"gift {ids.text(paid.id)}")
    if wallet.user_data_128 == earnings.user_data_128:
        fault(tally, SELF_RULE, f"gift {ids.text(paid.id)}")


def _add_correction(
    tally: Tally,
    chain: Sequence[Posted],
    accounts: Mapping[bytes, Account],
    referred: Mapping[bytes, Posted],
) -> None:
    first = chain[0].transfer
    head = ids.head(first.user_data_128)
    wrong = [referred.get(ids.nth(head, n)) for n in range(len(chain) + 1)]
    found = [posted for posted in wrong[:-1] if posted is not None]
    mirrors = (
        wrong[-1] is None
        and len(found) == len(chain)
        and all(
            _is_mirror(posted.transfer, head, place, found[place].transfer)
            for place, posted in enumerate(reversed(chain))
        )
    )
    if not mirrors or head in tally.corrected:
        fault(tally, CORRECTION_RULE, f"chain {ids.text(first.id)}")
    tally.corrected.add(head)
    if mirrors and postings.is_gift(found):
        details = postings.gift_details(found)
        wallet = accounts.get(details.viewer_account_id)
        if wallet is not None:
            number = wallet.user_data_32
            units = details.coins * details.share_bps
            tally.gift_units[number] = tally.gift_units.get(number, 0) - units


def _is_mirror(transfer: Transfer, head: bytes, place: int, wrong: Transfer) -> bool:
    return (
        transfer.code == _CORRECTION
        and wrong.code != _CORRECTION
        and transfer.user_data_128 == head
        and (transfer.user_data_64, transfer.user_data_32) == (place, wrong.code)
        and transfer.debit_account_id == wrong.credit_account_id
        and transfer.credit_account_id == wrong.debit_account_id
        and (transfer.ledger, transfer.amount) == (wrong.ledger, wrong.amount)
    )


def of_accounts(accounts: Iterable[Account]) -> list[Check]:
    """What can be checked on accounts alone, all of them at one moment."""
    tally = Tally()
    for account in accounts:
        add_account(tally, account)
    return of_balances(tally)


def of_balances(tally: Tally) -> list[Check]:
    """The checks on totals: each ledger in balance, nothing overdrawn, no coin from nowhere."""
    checks = [_ledger_in_balance(tally, ledger) for ledger in _ledgers(tally)]
    checks += (rule_check(tally, rule, "") for rule in _LIMIT_RULES.values())
    checks += (_coins_outstanding(tally, number) for number in _environments(tally))
    return checks


def of_changes(tally: Tally) -> list[Check]:
    """All checks, where the tally was filled from the changes."""
    checks = of_balances(tally)
    details = {
        SHAPE_RULE: f"{tally.chains:,} chains",
        GIFT_RULE: f"{tally.gifts:,} gifts",
        CORRECTION_RULE: f"{len(tally.corrected):,} corrections",
    }
    checks += (rule_check(tally, rule, details.get(rule, "")) for rule in _CHAIN_RULES)
    checks += (_diamonds_issued(tally, number) for number in _environments(tally))
    return checks


def _ledgers(tally: Tally) -> list[int]:
    """Coins and diamonds always, of the currencies those in which something was posted."""
    moved = {ledger for (_, ledger, _), sums in tally.sums.items() if sums != Sums()}
    return sorted({COIN, DIAMOND} | moved)


def _environments(tally: Tally) -> list[int]:
    return sorted({number for number, _, _ in tally.sums})


def _ledger_in_balance(tally: Tally, ledger: int) -> Check:
    rows = [sums for (_, of, _), sums in tally.sums.items() if of == ledger]
    debits = sum(sums.debits_posted for sums in rows)
    credits = sum(sums.credits_posted for sums in rows)
    debits_pending = sum(sums.debits_pending for sums in rows)
    credits_pending = sum(sums.credits_pending for sums in rows)
    return Check(
        f"{chart.ledger_name(ledger)}: debits equal credits",
        debits == credits and debits_pending == credits_pending >= 0,
        f"{debits:,} and {credits:,}; pending {debits_pending:,} and {credits_pending:,}",
    )


def _credit(tally: Tally, number: int, ledger: int, code: AccountCode) -> int:
    """Credits less debits of all accounts of this kind."""
    sums = tally.sums.get((number, ledger, int(code)))
    return 0 if sums is None else sums.credits_posted - sums.debits_posted


def _coins_outstanding(tally: Tally, number: int) -> Check:
    """What wallets hold, less what viewers owe, is what was ever given less what is gone."""
    code = AccountCode
    wallets = _credit(tally, number, COIN, code.WALLET)
    debts = -_credit(tally, number, COIN, code.DEBT)
    # Coins are issued into campaigns too; those that a campaign still holds are in no wallet yet.
    given = -_credit(tally, number, COIN, code.ISSUED) - _credit(tally, number, COIN, code.CAMPAIGN)
    redeemed = _credit(tally, number, COIN, code.REDEEMED)
    returned = _credit(tally, number, COIN, code.RETURNED)
    expired = _credit(tally, number, COIN, code.EXPIRED)
    return Check(
        f"coins outstanding are issued + promoted - redeemed - returned - expired"
        f" ({_environment_name(number)})",
        wallets - debts == given - redeemed - returned - expired,
        f"{wallets - debts:,} = {given:,} - {redeemed:,} - {returned:,} - {expired:,}",
    )


def _diamonds_issued(tally: Tally, number: int) -> Check:
    issued = -_credit(tally, number, DIAMOND, AccountCode.DIAMONDS_ISSUED)
    units = tally.gift_units.get(number, 0)
    return Check(
        f"diamonds issued are coins gifted x share ({_environment_name(number)})",
        issued == units,
        f"{issued:,} and {units:,} ten-thousandths",
    )


def _environment_name(number: int) -> str:
    name = chart.ENVIRONMENT_OF_NUMBER.get(number)
    return f"environment {number}" if name is None else name.value
