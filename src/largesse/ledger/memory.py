"""
The reference engine: everything in memory, decided by `rules.py`, gone with the process.

For tests and for trying things out; it keeps every promise of the protocol but durability.
"""

from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from largesse.clock import Clock
from largesse.ledger import PAGE_MAX, AccountFilter, Problem, QueryFilter, Total, query, rules
from largesse.ledger.history import balance_of, walk
from largesse.ledger.model import (
    Account,
    AccountOutcome,
    Balance,
    Chain,
    Change,
    ChangeKind,
    Outcome,
    Posted,
    Refused,
    Result,
)

_copy = msgspec.structs.replace


class MemoryLedger:
    """See `largesse.ledger.Ledger`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._state = rules.State(accounts={}, transfers={}, refused={}, pendings={}, expiries=[])
        self._changes: list[Change] = []
        self._last = 0

    async def create_accounts(self, accounts: Sequence[Account]) -> list[AccountOutcome]:
        self._begin()
        outcomes = []
        for account in accounts:
            timestamp = self._last + 1
            outcome = rules.create_account(self._state, account, timestamp)
            outcomes.append(outcome)
            if outcome is AccountOutcome.CREATED:
                self._last = timestamp
                created = _copy(self._state.accounts[account.id])
                self._changes.append(Change(timestamp, ChangeKind.ACCOUNT, account=created))
        return outcomes

    async def create_transfers(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes] = ()
    ) -> list[Result]:
        rules.assert_askable(chains)
        self._begin()
        return [self._decide(chain, balances_of) for chain in chains]

    def _begin(self) -> None:
        self._last = max(self._last, self._clock.now() - 1)
        for transfer_id in rules.take_due(
            self._state.expiries, self._last + 1, len(self._state.expiries)
        ):
            if rules.expire(self._state, transfer_id, self._last + 1):
                self._last += 1
                chain = (self._state.transfers[transfer_id],)
                self._changes.append(Change(self._last, ChangeKind.EXPIRED, chain))

    def _decide(self, chain: Chain, balances_of: Sequence[bytes]) -> Result:
        created: list[Posted] = []
        timestamp = self._last + 1
        outcome = rules.create_chain(self._state, chain, timestamp, created)
        if outcome is Outcome.CREATED:
            self._last += len(chain)
            self._changes.append(Change(self._last, ChangeKind.CHAIN, tuple(created)))
        elif outcome is Outcome.EXISTS:
            timestamp = self._state.transfers[chain[0].id].timestamp
        else:
            self._last += 1
        return Result(outcome, timestamp, tuple(self._balance(id) for id in balances_of))

    def _balance(self, account_id: bytes) -> Balance | None:
        account = self._state.accounts.get(account_id)
        return None if account is None else balance_of(account)

    async def lookup_accounts(self, account_ids: Iterable[bytes]) -> list[Account | None]:
        accounts = [self._state.accounts.get(account_id) for account_id in account_ids]
        return [None if account is None else _copy(account) for account in accounts]

    async def lookup_transfers(self, transfer_ids: Iterable[bytes]) -> list[Posted | None]:
        return [self._state.transfers.get(transfer_id) for transfer_id in transfer_ids]

    async def lookup_refused(self, transfer_ids: Iterable[bytes]) -> list[Refused | None]:
        return [self._state.refused.get(transfer_id) for transfer_id in transfer_ids]

    async def account_transfers(self, account_id: bytes, filter: AccountFilter) -> list[Posted]:
        account = self._state.accounts.get(account_id)
        if account is None:
            return []
        return walk(self._state.transfers.get, account, filter)

    async def query_transfers(self, filter: QueryFilter) -> list[Posted]:
        return await query.transfers(self.changes, filter)

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        return await query.accounts(self.changes, self.lookup_accounts, filter)

    async def changes(self, after: int, limit: int = PAGE_MAX) -> list[Change]:
        return [change for change in self._changes if change.timestamp > after][:limit]

    async def verify(self) -> AsyncIterator[Problem | Total | int]:
        yield Total(len(self._state.transfers))
        yield len(self._state.transfers)

    async def close(self) -> None:
        """Nothing to let go of."""
