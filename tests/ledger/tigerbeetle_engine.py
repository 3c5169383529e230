"""
The conformance suite on a real TigerBeetle cluster: the independent witness of our rules.

It runs where `LARGESSE_TEST_TIGERBEETLE` holds the cluster's address, as `127.0.0.1:3001`. A cluster
cannot be emptied, so every test has ids of its own, and sees only the changes that are its own.
"""

import os
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TypeVar

import msgspec
import pytest

from largesse import ids
from largesse.clock import SECOND, SystemClock
from largesse.ledger import PAGE_MAX, AccountFilter, Problem, QueryFilter
from largesse.ledger.model import (
    Account,
    AccountOutcome,
    Chain,
    Change,
    Posted,
    Refused,
    Result,
    Transfer,
)
from largesse.ledger.tigerbeetle import TigerBeetleLedger

T = TypeVar("T")

ADDRESS = os.environ.get("LARGESSE_TEST_TIGERBEETLE", "")
NO_CLUSTER = "LARGESSE_TEST_TIGERBEETLE holds no address of a TigerBeetle cluster"
WAIT_SECONDS_MAX = 12
MARGIN_SECONDS = 0.4
"""A replica looks for what has run out now and then, not before each transfer."""
DIFFERENT = {
    "test_totals_stop_at_the_largest_amount": "its amounts and totals go to 2^128 - 1",
    "test_overflows_by_descending_precedence": "its amounts and totals go to 2^128 - 1",
    "test_a_malformed_request_leaves_its_id_free": "its amounts and totals go to 2^128 - 1",
    "test_each_transfer_knows_the_totals_after_it_and_the_one_before": (
        "its transfers do not name the one before"
    ),
    "test_every_filter_finds_what_the_oracle_finds": "its instants are not those of the oracle",
    "test_a_pending_transfer_expires_exactly_at_its_time": (
        "its clock cannot be set, and what has run out is looked for every few milliseconds"
    ),
}
"""What cannot be asked of a cluster, and why: docs/operating/tigerbeetle.md."""

_replace = msgspec.structs.replace


class WaitingClock:
    """The time of a cluster: it cannot be set, so who moves it by whole seconds waits."""

    def now(self) -> int:
        return time.time_ns()

    def advance(self, nanoseconds: int) -> None:
        if nanoseconds > WAIT_SECONDS_MAX * SECOND:
            pytest.skip(f"a cluster's clock cannot be moved on by {nanoseconds // SECOND} seconds")
        if nanoseconds >= SECOND:
            time.sleep(nanoseconds / SECOND + MARGIN_SECONDS)


def skip_what_is_different(request: pytest.FixtureRequest) -> None:
    """Leave out what cannot be asked of a cluster."""
    name = request.node.originalname
    if name in DIFFERENT:
        pytest.skip(DIFFERENT[name])


async def open_cluster() -> "OwnIds":
    """The cluster under test, for a test that has it to itself."""
    ledger = await TigerBeetleLedger.open(f"tigerbeetle://{ADDRESS}", SystemClock())
    return OwnIds(ledger)


class OwnIds:
    """
    A ledger on the cluster whose ids nobody else has: a test's own are mixed with chance.

    What a test may see of the changes is what it made, from the moment in which it began.
    """

    def __init__(self, ledger: TigerBeetleLedger) -> None:
        self._ledger = ledger
        self._salt = int.from_bytes(bytes(6) + secrets.token_bytes(9) + bytes(1), "big")
        self._begin = ledger._posting.last_timestamp
        self._known: set[bytes] = set()

    def _id(self, id: bytes) -> bytes:
        """There and back again."""
        if len(id) != ids.SIZE or id in (ids.ZERO, ids.MAXIMUM):
            return id
        return (int.from_bytes(id, "big") ^ self._salt).to_bytes(ids.SIZE, "big")

    def _account(self, account: Account) -> Account:
        return _replace(account, id=self._id(account.id))

    def _transfer(self, t: Transfer) -> Transfer:
        return _replace(
            t,
            id=self._id(t.id),
            debit_account_id=self._id(t.debit_account_id),
            credit_account_id=self._id(t.credit_account_id),
            pending_id=self._id(t.pending_id),
        )

    def _posted(self, posted: Posted) -> Posted:
        return _replace(posted, transfer=self._transfer(posted.transfer))

    def _refused(self, refused: Refused) -> Refused:
        chain = tuple(self._transfer(t) for t in refused.chain)
        return _replace(refused, transfer_id=self._id(refused.transfer_id), chain=chain)

    async def create_accounts(self, accounts: Sequence[Account]) -> list[AccountOutcome]:
        mixed = [self._account(account) for account in accounts]
        self._known.update(account.id for account in mixed)
        return await self._ledger.create_accounts(mixed)

    async def create_transfers(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes] = ()
    ) -> list[Result]:
        mixed = [tuple(self._transfer(t) for t in chain) for chain in chains]
        self._known.update(t.id for chain in mixed for t in chain)
        return await self._ledger.create_transfers(mixed, [self._id(id) for id in balances_of])

    async def lookup_accounts(self, account_ids: Iterable[bytes]) -> list[Account | None]:
        found = await self._ledger.lookup_accounts(map(self._id, account_ids))
        return [account and self._account(account) for account in found]

    async def lookup_transfers(self, transfer_ids: Iterable[bytes]) -> list[Posted | None]:
        found = await self._ledger.lookup_transfers(map(self._id, transfer_ids))
        return [posted and self._posted(posted) for posted in found]

    async def lookup_refused(self, transfer_ids: Iterable[bytes]) -> list[Refused | None]:
        found = await self._ledger.lookup_refused(map(self._id, transfer_ids))
        return [refused and self._refused(refused) for refused in found]

    async def account_transfers(self, account_id: bytes, filter: AccountFilter) -> list[Posted]:
        before = None if filter.before is None else self._id(filter.before)
        filter = _replace(filter, before=before)
        page = await self._ledger.account_transfers(self._id(account_id), filter)
        return [self._posted(posted) for posted in page]

    async def query_transfers(self, filter: QueryFilter) -> list[Posted]:
        """The limit is for what is this test's own."""
        found = await self._ledger.query_transfers(self._since(filter))
        own = [self._posted(posted) for posted in found if posted.transfer.id in self._known]
        return own[: filter.limit]

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        found = await self._ledger.query_accounts(self._since(filter))
        own = [self._account(account) for account in found if account.id in self._known]
        return own[: filter.limit]

    def _since(self, filter: QueryFilter) -> QueryFilter:
        begin = max(filter.timestamp_min, self._begin + 1)
        return _replace(filter, timestamp_min=begin, limit=1_000_000)

    async def changes(self, after: int, limit: int = PAGE_MAX) -> list[Change]:
        """What others did meanwhile is passed over, so a page that is not full is the end."""
        after = max(after, self._begin)
        own: list[Change] = []
        while len(own) < limit and (page := await self._ledger.changes(after, limit - len(own))):
            own += [self._change(change) for change in page if self._is_own(change)]
            after = page[-1].timestamp
        return own

    def _is_own(self, change: Change) -> bool:
        if change.account is not None:
            return change.account.id in self._known
        return change.chain[0].transfer.id in self._known

    def _change(self, change: Change) -> Change:
        account = change.account and self._account(change.account)
        return _replace(change, account=account, chain=tuple(map(self._posted, change.chain)))

    def verify(self) -> AsyncIterator[Problem | int]:
        return self._ledger.verify()

    async def close(self) -> None:
        await self._ledger.close()
