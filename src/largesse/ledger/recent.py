"""
What an engine remembers of the newest batches, so that it need not look them up.

Ids carry their time, so a new one is above nearly all that are known: above the floor it is known
only if it is among the recent ones.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from largesse import ids
from largesse.ledger.batching import Request
from largesse.ledger.model import Account, Change

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
        self, requests: list[Request], accounts: Mapping[bytes, Account]
    ) -> tuple[set[bytes], set[bytes]]:
        """The transfers that may be known and the accounts not held that these requests need."""
        # On the path of every gift: set against set, not id by id.
        transfers = [t for request in requests for chain in request.chains for t in chain]
        asked = [t.id for t in transfers]
        wanted = self._recent.intersection(asked)
        wanted |= self._less_recent.intersection(asked)
        if min(asked, default=ids.MAXIMUM) <= self._floor:
            wanted.update([id for id in asked if id <= self._floor])
        wanted.update({t.pending_id for t in transfers})
        wanted_accounts = {t.debit_account_id for t in transfers}
        wanted_accounts.update([t.credit_account_id for t in transfers])
        for request in requests:
            wanted_accounts.update(request.balances_of)
            if request.accounts:
                wanted_accounts.update([account.id for account in request.accounts])
        wanted_accounts = wanted_accounts.difference(accounts)
        wanted.discard(ids.ZERO)
        wanted_accounts.discard(ids.ZERO)
        return wanted, wanted_accounts


class RecentChanges:
    """All committed changes later than a moment, up to the newest that this process wrote."""

    def __init__(self, begin: int) -> None:
        self._begin = begin
        self._kept: deque[Change] = deque(maxlen=CHANGES_KEPT_MAX)

    def keep(self, changes: Sequence[Change]) -> None:
        """Keep what is on the disk now; whoever is further behind than that reads the ledger."""
        kept = self._kept
        leaving = len(kept) + len(changes) - CHANGES_KEPT_MAX
        if leaving > 0:
            last = kept[leaving - 1] if leaving <= len(kept) else changes[leaving - len(kept) - 1]
            self._begin = last.timestamp
        kept.extend(changes)

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
