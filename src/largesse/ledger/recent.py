"""
What an engine remembers of the newest batches, so that it need not look them up.

Ids carry their time, so a new one is above nearly all that are known: above the floor it is known
only if it is among the recent ones.
"""

from collections import deque
from collections.abc import Container, Iterable

from largesse import ids
from largesse.ledger.batching import Request
from largesse.ledger.model import Change

RECENT_IDS_MAX = 65_536
"""Ids in the younger of the two generations that memory holds, about 6 MiB."""
CHANGES_KEPT_MAX = 16_384
"""The newest changes, kept for those who follow them; of gifts about 20 MiB, and a second's worth."""


class RecentIds:
    """Every id that the ledger knows (created or refused) is among these, or not above the floor."""

    def __init__(self, floor: bytes = ids.ZERO, ahead: Iterable[bytes] = ()) -> None:
        """`ahead` are the ids above the floor that are known already."""
        self._floor = floor
        self._recent: set[bytes] = set(ahead)
        self._less_recent: set[bytes] = set()

    def keep(self, known: Iterable[bytes], now: int) -> None:
        """Note the ids of a batch; let go of the older generation, and raise the floor to it."""
        recent = self._recent
        recent.update(known)
        if len(recent) < RECENT_IDS_MAX:
            return
        # Ids with a time still to come stay, or they would lift the floor above the present.
        to_come = first_id_to_come(now)
        leaving = [id for id in self._less_recent if id < to_come]
        self._floor = max(self._floor, max(leaving, default=ids.ZERO))
        self._recent = {id for id in self._less_recent if id >= to_come}
        self._less_recent = recent

    def missing(
        self, requests: list[Request], accounts: Container[bytes]
    ) -> tuple[set[bytes], set[bytes]]:
        """The transfers that may be known and the accounts not held that these requests need."""
        recent, less_recent, floor = self._recent, self._less_recent, self._floor
        wanted: set[bytes] = set()
        wanted_accounts: set[bytes] = set()
        for request in requests:
            for account in request.accounts:
                if account.id not in accounts:
                    wanted_accounts.add(account.id)
            for chain in request.chains:
                for t in chain:
                    id = t.id
                    if id <= floor or id in recent or id in less_recent:
                        wanted.add(id)
                    if t.pending_id != ids.ZERO:
                        wanted.add(t.pending_id)
                    if t.debit_account_id not in accounts:
                        wanted_accounts.add(t.debit_account_id)
                    if t.credit_account_id not in accounts:
                        wanted_accounts.add(t.credit_account_id)
            for account_id in request.balances_of:
                if account_id not in accounts:
                    wanted_accounts.add(account_id)
        wanted_accounts.discard(ids.ZERO)
        return wanted, wanted_accounts


class RecentChanges:
    """All committed changes later than a moment, up to the newest that this process wrote."""

    def __init__(self, begin: int) -> None:
        self._begin = begin
        self._kept: deque[Change] = deque()

    def keep(self, changes: Iterable[Change]) -> None:
        """Keep what is on the disk now; whoever is further behind than that reads the ledger."""
        kept = self._kept
        kept.extend(changes)
        for _ in range(len(kept) - CHANGES_KEPT_MAX):
            self._begin = kept.popleft().timestamp

    def after(self, timestamp: int, limit: int) -> list[Change] | None:
        """What happened after this timestamp, at most `limit`; None where memory does not reach."""
        if timestamp < self._begin:
            return None
        newer: list[Change] = []
        for change in reversed(self._kept):
            if change.timestamp <= timestamp:
                break
            newer.append(change)
        return newer[: -limit - 1 : -1]


def first_id_to_come(now: int) -> bytes:
    """Ids from here on carry a time that is later than `now`."""
    return (now // 1_000_000 + 1).to_bytes(6, "big")
