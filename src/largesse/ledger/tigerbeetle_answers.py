"""
From a cluster's answers, one for each transfer, to ours, one for each chain.

Most chains are created, and that is all there is to it. What is left open is asked for together, a
message's worth at a time: whether the whole of a chain is there, what a refused account still had,
and the balances after a chain; and each refusal is noted before anybody hears of it.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from largesse import ids
from largesse.ledger import rules
from largesse.ledger import tigerbeetle_reading as reading
from largesse.ledger.model import (
    PASSING_OUTCOMES,
    Account,
    AccountFlags,
    AccountOutcome,
    Balance,
    Chain,
    Outcome,
    Refused,
    Result,
    Transfer,
    TransferFlags,
)
from largesse.ledger.tigerbeetle_client import Connection, Operation
from largesse.ledger.tigerbeetle_notes import pack_note
from largesse.ledger.tigerbeetle_wire import (
    CREATED,
    EXISTS,
    LINKED_EVENT_FAILED,
    TRANSFER_OUTCOMES,
    Stored,
    unpack_results,
    unpack_totals,
)

_CREATED = Outcome.CREATED
_PENDING = int(TransferFlags.PENDING)
_PLAIN_FLAGS = (0, _PENDING)
_ACCOUNT_EXISTS = 21
_replace = msgspec.structs.replace
Rows = list[tuple[int, int, int]]


class Call:
    """One call, or a part of a large one, with its records as they are sent."""

    __slots__ = ("balances_of", "chains", "data", "events", "future", "operation", "results")

    def __init__(
        self,
        operation: Operation,
        chains: Sequence[Chain],
        balances_of: Sequence[bytes],
        data: bytes,
        events: int,
        future: "asyncio.Future[Any]",
    ) -> None:
        self.operation = operation
        self.chains = chains
        self.balances_of = balances_of
        self.data = data
        self.events = events
        self.future = future
        self.results: list[Result] = []


class Open(msgspec.Struct, gc=False):
    """
    A chain whose answer needs more than the cluster said: `failed` is where in it.

    `decided_at` is the moment in which the cluster looked at that transfer.
    """

    call: Call
    at: int
    chain: Chain
    failed: int
    decided_at: int

    @property
    def transfer(self) -> Transfer:
        """The one that was not created."""
        return self.chain[self.failed]

    @property
    def result(self) -> Result:
        """The answer so far."""
        return self.call.results[self.at]

    def answer(self, **changes: object) -> None:
        """Change the answer."""
        self.call.results[self.at] = _replace(self.result, **changes)


class LookedUp(msgspec.Struct, frozen=True):
    """
    Accounts as they were after a message, and the messages decided between it and that moment.

    Each of `later` is its calls and the cluster's answer, in order.
    """

    accounts: bytes
    later: list[tuple[Sequence[Call], bytes]]


class Answers:
    """Finds out what is open and tells the callers."""

    def __init__(self, looking: Connection, message_max: int) -> None:
        self._looking = looking
        self._message_max = message_max

    def tell_accounts(self, calls: Sequence[Call], data: bytes, newest_before: int | None) -> None:
        """Give each call the statuses of its accounts; of one asked again see `tell`."""
        rows = unpack_results(data)
        at = 0
        for call in calls:
            statuses = []
            for timestamp, status, _ in rows[at : at + call.events]:
                is_new = newest_before is not None and timestamp > newest_before
                is_ours = status == _ACCOUNT_EXISTS and is_new
                statuses.append(CREATED if is_ours else status)
            at += call.events
            if not call.future.done():
                call.future.set_result(statuses)

    async def compare_accounts(
        self, accounts: Sequence[Account], outcomes: list[AccountOutcome]
    ) -> list[AccountOutcome]:
        """An account that was closed since has other flags there; ours does not count that one."""
        differing = [
            n
            for n, outcome in enumerate(outcomes)
            if outcome is AccountOutcome.EXISTS_WITH_DIFFERENT_FLAGS
        ]
        if differing:
            found = await reading.find_accounts(self._looking, [accounts[n].id for n in differing])
            for n in differing:
                asked = accounts[n]
                state = rules.State(accounts={asked.id: found[asked.id]})
                outcomes[n] = rules.create_account(state, asked, 0)
        return outcomes

    async def tell(
        self,
        calls: Sequence[Call],
        data: bytes,
        looked_up: LookedUp | None,
        newest_before: int | None,
    ) -> None:
        """
        Answer the calls of a message, with the balances that were looked up after it.

        `newest_before` is None, or the cluster's newest time before a message that had to be sent
        again: a chain that exists since is this one, which was created the first time.
        """
        rows = unpack_results(data)
        left_open = _outcomes(calls, rows)
        wanting = [call for call in calls if call.balances_of]
        if wanting:
            await self._balances(calls, wanting, rows, looked_up, newest_before)
        waiting = {id(each.call) for each in left_open}
        for call in calls:
            if id(call) not in waiting and not call.future.done():
                call.future.set_result(call.results)
        if not left_open:
            return
        await self._whether_whole(left_open)
        if newest_before is not None:
            _were_ours(left_open, newest_before)
        await self._refused(left_open, asked_again=newest_before is not None)
        for each in left_open:
            if not each.call.future.done():
                each.call.future.set_result(each.call.results)

    # Balances --------------------------------------------------------------------------------

    async def _balances(
        self,
        calls: Sequence[Call],
        wanting: Sequence[Call],
        rows: Rows,
        looked_up: LookedUp | None,
        newest_before: int | None,
    ) -> None:
        """
        The balances right after each chain.

        Chains of single and pending transfers are taken back from the accounts as they were looked
        up; where one has posted, voided or balanced, the accounts' histories are asked.
        """
        later = [] if looked_up is None else looked_up.later
        told = [(calls, rows), *((calls, unpack_results(data)) for calls, data in later)]
        if looked_up is not None and all(_is_plain(calls, rows) for calls, rows in told):
            totals = unpack_totals(looked_up.accounts)
            for later_calls, later_rows in reversed(told[1:]):
                _take_back(later_calls, later_rows, totals)
            _take_back(calls, rows, totals, is_told=True)
            return
        wanted = list(dict.fromkeys(id for call in wanting for id in call.balances_of))
        found = await reading.find_accounts(self._looking, wanted)
        moments: list[tuple[bytes, int]] = []
        for call, instant in _instants(calls, rows, newest_before):
            moments += [(id, instant) for id in call.balances_of if id in found]
        balances = iter(await reading.balances_at(self._looking, moments))
        for call in wanting:
            for n, result in enumerate(call.results):
                after = tuple([next(balances) if id in found else None for id in call.balances_of])
                call.results[n] = _replace(result, balances=after)

    # Chains that are there already -----------------------------------------------------------

    async def _whether_whole(self, left_open: Sequence[Open]) -> None:
        """
        What is there is said of one transfer; a chain exists if all its transfers do, unchanged.

        The cluster counts among a transfer's flags whether its chain goes on, which ours do not: so
        a difference in flags is looked at again by our rules.
        """
        chains = [each for each in left_open if each.result.outcome in _THERE and _is_unsure(each)]
        stored = await self._with_pendings([t for each in chains for t in each.chain])
        for each in chains:
            outcome = _outcome_by_rules(stored, each.chain, each.failed)
            if outcome is Outcome.EXISTS and not all(
                t.id in stored and _outcome_by_rules(stored, each.chain, n) is Outcome.EXISTS
                for n, t in enumerate(each.chain)
            ):
                outcome = Outcome.EXISTS_WITH_DIFFERENT_CHAIN
            timestamp = each.decided_at
            if outcome is Outcome.EXISTS:
                timestamp = stored[each.chain[0].id].timestamp
            each.answer(outcome=outcome, timestamp=timestamp)

    async def _with_pendings(self, chain: Sequence[Transfer]) -> dict[bytes, Stored]:
        """These transfers as they are there, and the pending ones that they post or void."""
        stored = await reading.find_stored(self._looking, [t.id for t in chain])
        pendings = {t.pending_id for t in chain}
        pendings.update(each.transfer.pending_id for each in stored.values())
        wanted = pendings - stored.keys() - {ids.ZERO, ids.MAXIMUM}
        stored.update(await reading.find_stored(self._looking, list(wanted)))
        return stored

    # Refusals --------------------------------------------------------------------------------

    async def _refused(self, left_open: Sequence[Open], *, asked_again: bool) -> None:
        """Note every refusal that uses up an id, those too of which the note was never written."""
        new = [each for each in left_open if each.result.outcome in PASSING_OUTCOMES]
        refusals = await self._with_available(new)
        failed = [each for each in left_open if each.result.outcome is Outcome.ID_ALREADY_FAILED]
        noted = await reading.find_refused(self._looking, [each.transfer.id for each in failed])
        for each in failed:
            if each.transfer.id in noted:
                continue
            refused = await self._reason(each)
            refusals.append(refused)
            if asked_again:
                each.answer(outcome=refused.outcome)
        await self._note(refusals)

    async def _with_available(self, refused: Sequence[Open]) -> list[Refused]:
        """What the refusing accounts still had, and the balances asked for, at that very moment."""
        moments: list[tuple[bytes, int]] = []
        for each in refused:
            moments.append((_limiting_account(each), each.decided_at))
            known = zip(each.call.balances_of, each.result.balances, strict=True)
            moments += [(id, each.decided_at) for id, balance in known if balance is not None]
        balances = iter(await reading.balances_at(self._looking, moments))
        refusals = []
        for each in refused:
            outcome = each.result.outcome
            available = _available(outcome, next(balances))
            after = [None if old is None else next(balances) for old in each.result.balances]
            each.answer(balances=tuple(after))
            refusals.append(
                Refused(each.transfer.id, outcome, each.decided_at, available, each.chain)
            )
        return refusals

    async def _reason(self, failed: Open) -> Refused:
        """
        Why this id was used up, where the process that knew died before it wrote it down.

        Nobody has heard an answer then. So it is what the rules say now; and where they would let
        it pass by now, that the account that is limited had nothing to give.
        """
        chain = failed.chain
        stored = await reading.find_stored(
            self._looking, [t.pending_id for t in chain if t.pending_id != ids.ZERO]
        )
        named = {id for t in chain for id in (t.debit_account_id, t.credit_account_id)}
        for pending in stored.values():
            named |= {pending.transfer.debit_account_id, pending.transfer.credit_account_id}
        accounts = await reading.find_accounts(self._looking, list(named - {ids.ZERO, ids.MAXIMUM}))
        transfers = await reading.posted(self._looking, list(stored.values()))
        state = rules.State(
            accounts={id: _replace(account) for id, account in accounts.items()},
            transfers={each.transfer.id: each for each in transfers},
            pendings={
                each.transfer.id: rules.Pending(each.transfer.id, rules.PendingStatus.PENDING, 0)
                for each in transfers
            },
        )
        outcome = rules.create_chain(state, chain, failed.decided_at, [])
        refused = state.refused.get(failed.transfer.id)
        if outcome in PASSING_OUTCOMES and refused is not None:
            return refused
        debit = accounts.get(failed.transfer.debit_account_id)
        limited = debit is not None and debit.flags & AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
        outcome = Outcome.EXCEEDS_CREDITS if limited else Outcome.EXCEEDS_DEBITS
        return Refused(failed.transfer.id, outcome, failed.decided_at, 0, chain)

    async def _note(self, refusals: Iterable[Refused]) -> None:
        """Write the notes. One that another process wrote first stays as it is."""
        records: list[bytes] = []
        for refused in refusals:
            note = pack_note(refused)
            if len(records) + len(note) > self._message_max:
                await self._write(records)
                records = []
            records += note
        if records:
            await self._write(records)

    async def _write(self, records: list[bytes]) -> None:
        assert len(records) <= self._message_max
        await self._looking.ask(Operation.CREATE_ACCOUNTS, b"".join(records))


def _outcomes(calls: Sequence[Call], rows: Rows) -> list[Open]:
    """Note each chain's outcome; returns those that are not settled by it."""
    left_open: list[Open] = []
    at = 0
    for call in calls:
        results = call.results
        for chain in call.chains:
            timestamp, status, _ = rows[at]
            if status == CREATED:
                results.append(Result(_CREATED, timestamp))
                at += len(chain)
                continue
            failed = 0
            while status == LINKED_EVENT_FAILED:
                failed += 1
                timestamp, status, _ = rows[at + failed]
            outcome = TRANSFER_OUTCOMES[status]
            decided_at = timestamp
            if outcome is Outcome.EXISTS:
                decided_at = _time_of_first(rows) + at + failed
            results.append(Result(outcome, timestamp))
            if outcome in PASSING_OUTCOMES or outcome in _OPEN_OUTCOMES:
                left_open.append(Open(call, len(results) - 1, chain, failed, decided_at))
            at += len(chain)
    return left_open


_THERE = (Outcome.EXISTS, Outcome.EXISTS_WITH_DIFFERENT_FLAGS)
_OPEN_OUTCOMES = (*_THERE, Outcome.ID_ALREADY_FAILED)


def _time_of_first(rows: Rows) -> int:
    """When the cluster looked at the message's first transfer: its times count up by one."""
    for n, (timestamp, status, _) in enumerate(rows):
        if TRANSFER_OUTCOMES.get(status) is not Outcome.EXISTS:
            return timestamp - n
    # All were there already, so nothing has changed since the newest of them.
    return max(timestamp for timestamp, _, _ in rows)


def _is_plain(calls: Sequence[Call], rows: Rows) -> bool:
    """Whether all that was created moved exactly what was asked."""
    at = 0
    for call in calls:
        for chain in call.chains:
            if rows[at][1] == CREATED and not all(t.flags in _PLAIN_FLAGS for t in chain):
                return False
            at += len(chain)
    return True


def _instants(
    calls: Sequence[Call], rows: Rows, newest_before: int | None
) -> Iterator[tuple[Call, int]]:
    """
    For each chain the moment after it: when the cluster looked at its last transfer.

    One that was created the first time that its message was sent has the moment of that time.
    """
    begin = _time_of_first(rows)
    at = 0
    for call in calls:
        for chain in call.chains:
            instant = begin + at + len(chain) - 1
            for n in range(len(chain)):
                timestamp, status, _ = rows[at + n]
                is_ours = newest_before is not None and timestamp > newest_before
                if status == EXISTS and is_ours:
                    instant = timestamp + len(chain) - 1 - n
            at += len(chain)
            yield call, instant


def _take_back(
    calls: Sequence[Call], rows: Rows, totals: dict[bytes, list[int]], *, is_told: bool = False
) -> None:
    """Undo what was created, from the last chain to the first, and tell each what was after it."""
    at = len(rows)
    for call in reversed(calls):
        wanted = call.balances_of if is_told else ()
        for n in range(len(call.chains) - 1, -1, -1):
            chain = call.chains[n]
            at -= len(chain)
            if wanted:
                result = call.results[n]
                after = [Balance(*totals[id]) if id in totals else None for id in wanted]
                call.results[n] = Result(result.outcome, result.timestamp, tuple(after))
            if rows[at][1] == CREATED:
                _undo(totals, chain)


def _undo(totals: dict[bytes, list[int]], chain: Chain) -> None:
    """Take single and pending transfers off those of their accounts that are asked about."""
    for t in chain:
        # Pending comes before posted, of the debits and of the credits.
        posted = 0 if t.flags & _PENDING else 1
        debit = totals.get(t.debit_account_id)
        if debit is not None:
            debit[posted] -= t.amount
        credit = totals.get(t.credit_account_id)
        if credit is not None:
            credit[2 + posted] -= t.amount


def _is_unsure(there: Open) -> bool:
    return len(there.chain) > 1 or there.result.outcome is not Outcome.EXISTS


def _outcome_by_rules(stored: dict[bytes, Stored], chain: Chain, n: int) -> Outcome:
    """What the rules say to the n-th transfer of the chain, whose id is taken."""
    asked = chain[n]
    transfers = {id: reading.without_totals(each) for id, each in stored.items()}
    if asked.id not in transfers:
        # Two transfers of one chain with one id: the first was there until the chain was refused.
        first = next(t for t in chain if t.id == asked.id)
        transfers[asked.id] = reading.without_totals(Stored(first, 0, linked=False))
    return rules.create_transfer(rules.State(transfers=transfers), asked, 0, [])


def _were_ours(left_open: Sequence[Open], newest_before: int) -> None:
    for each in left_open:
        if each.result.outcome is Outcome.EXISTS and each.result.timestamp > newest_before:
            each.answer(outcome=_CREATED)


def _limiting_account(refused: Open) -> bytes:
    if refused.result.outcome is Outcome.EXCEEDS_DEBITS:
        return refused.transfer.credit_account_id
    return refused.transfer.debit_account_id


def _available(outcome: Outcome, balance: Balance) -> int:
    """What the account that refused could give, or take."""
    if outcome is Outcome.EXCEEDS_CREDITS:
        return balance.available
    if outcome is Outcome.EXCEEDS_DEBITS:
        return balance.debits_posted - balance.credits_posted - balance.credits_pending
    return 0
