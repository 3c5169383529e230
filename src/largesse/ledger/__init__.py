"""
The ledger: moves integers between accounts, knows nothing of coins or gifts.

Ten calls, the same for every engine. An answer is given when what it says is on the disk.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

import msgspec

from largesse import ids
from largesse.ledger.model import (
    Account,
    AccountOutcome,
    Chain,
    Change,
    Posted,
    Refused,
    Result,
)

CHAIN_TRANSFERS_MAX = 255
"""Transfers in one chain."""
CHAINS_WAITING_MAX = 16_384
"""Chains that may wait for the ledger; one more is refused with `ledger_busy`."""
PAGE_MAX = 1_000
"""Rows in one page of `account_transfers`, changes in one page of `changes`."""


class AccountFilter(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which transfers of an account: newest first, at most `limit` of them.

    `before` is the id of a transfer of this account; the page begins with the one before it (None
    begins with the newest). `codes` keeps only transfers with one of these codes; empty keeps all.
    """

    before: bytes | None = None
    codes: frozenset[int] = frozenset()
    debits: bool = True
    credits: bool = True
    limit: int = 50


class QueryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which transfers or accounts of the whole ledger, by what stands in them: a zero keeps all.

    Oldest first, or newest first; both ends of the stretch of time are kept; at most `limit`.
    """

    user_data_128: bytes = ids.ZERO
    user_data_64: int = 0
    user_data_32: int = 0
    ledger: int = 0
    code: int = 0
    timestamp_min: int = 0
    timestamp_max: int = 0
    newest_first: bool = False
    limit: int = PAGE_MAX


class Problem(msgspec.Struct, frozen=True):
    """Something in the ledger's file that cannot have come from the ledger."""

    what: str
    where: str


class Total(msgspec.Struct, frozen=True):
    """How many transfers a reading will go through, for progress."""

    transfers: int


class Ledger(Protocol):
    """What every engine offers. Every method may raise `LedgerUnavailable`."""

    async def create_accounts(self, accounts: Sequence[Account]) -> list[AccountOutcome]:
        """Create accounts, each on its own; one that is there already answers `exists`."""
        ...

    async def create_transfers(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes] = ()
    ) -> list[Result]:
        """
        Create each chain whole or not at all, in this order, and answer each with one outcome.

        Calls are decided in the order in which they were made.
        Each result also holds the balances of the accounts in `balances_of` right after it.

        Raises:
            Rejected: ledger_busy when too many chains wait already.
            LedgerUnavailable: the outcome is unknown; ask again with the same ids.
        """
        ...

    async def lookup_accounts(self, account_ids: Iterable[bytes]) -> list[Account | None]:
        """The accounts in the order asked, None where there is none."""
        ...

    async def lookup_transfers(self, transfer_ids: Iterable[bytes]) -> list[Posted | None]:
        """The transfers in the order asked, None where there is none."""
        ...

    async def lookup_refused(self, transfer_ids: Iterable[bytes]) -> list[Refused | None]:
        """The refusals that used up these ids, None where the id was never refused."""
        ...

    async def account_transfers(self, account_id: bytes, filter: AccountFilter) -> list[Posted]:
        """The transfers that debited or credited the account, newest first."""
        ...

    async def query_transfers(self, filter: QueryFilter) -> list[Posted]:
        """
        The transfers that the filter keeps.

        For people who look for something, not for the path of a gift: no engine of ours pays for an
        index on every transfer, so it may read the whole stretch of time that the filter names.
        """
        ...

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        """The accounts that the filter keeps, with their totals of now; see `query_transfers`."""
        ...

    async def changes(self, after: int, limit: int = PAGE_MAX) -> list[Change]:
        """What happened after this timestamp, oldest first; 0 begins at the beginning."""
        ...

    def verify(self) -> AsyncIterator[Problem | Total | int]:
        """
        Recompute everything from the beginning: batch hashes, totals, histories, constraints.

        Yields each `Problem`, and for progress first the `Total` of this moment, where the engine
        knows it, then now and then the number of transfers read so far.
        """
        ...

    async def close(self) -> None:
        """Finish what was taken on, then let go of the file or the connection."""
        ...


class LedgerUnavailable(Exception):
    """
    The ledger could not say what happened: a full disk, a lost connection, a shutdown.

    Whether a chain was created is unknown until it is asked for again with the same ids.
    """
