"""
Look for transfers and accounts by what stands in them, in the ordered changes alone.

What an engine answers `query_transfers` and `query_accounts` with that has no quicker way: it costs
the length of the stretch of time that the filter names.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from largesse import ids
from largesse.ledger import PAGE_MAX, QueryFilter
from largesse.ledger.model import Account, Change, ChangeKind, Posted, Transfer

T = TypeVar("T")
Changes = Callable[[int, int], Awaitable[list[Change]]]
Lookup = Callable[[Iterable[bytes]], Awaitable[list[Account | None]]]


async def transfers(changes: Changes, filter: QueryFilter) -> list[Posted]:
    """See `Ledger.query_transfers`."""

    def kept(change: Change) -> list[Posted]:
        if change.kind is not ChangeKind.CHAIN:
            return []
        return [p for p in change.chain if _keeps(filter, p.transfer, p.timestamp)]

    return await _read(changes, filter, kept)


async def accounts(changes: Changes, lookup: Lookup, filter: QueryFilter) -> list[Account]:
    """See `Ledger.query_accounts`."""

    def kept(change: Change) -> list[bytes]:
        account = change.account
        if account is None or not _keeps(filter, account, account.timestamp):
            return []
        return [account.id]

    found = await lookup(await _read(changes, filter, kept))
    return [account for account in found if account is not None]


async def _read(
    changes: Changes, filter: QueryFilter, kept: Callable[[Change], list[T]]
) -> list[T]:
    assert filter.limit > 0
    found: deque[T] = deque(maxlen=filter.limit if filter.newest_first else None)
    after = max(filter.timestamp_min - 1, 0)
    while page := await changes(after, PAGE_MAX):
        after = page[-1].timestamp
        for change in page:
            found.extend(kept(change))
        if filter.timestamp_max and after > filter.timestamp_max:
            break
        if not filter.newest_first and len(found) >= filter.limit:
            break
    return list(reversed(found)) if filter.newest_first else list(found)[: filter.limit]


def _keeps(filter: QueryFilter, row: Account | Transfer, timestamp: int) -> bool:
    return (
        (filter.user_data_128 == ids.ZERO or filter.user_data_128 == row.user_data_128)
        and filter.user_data_64 in (0, row.user_data_64)
        and filter.user_data_32 in (0, row.user_data_32)
        and filter.ledger in (0, row.ledger)
        and filter.code in (0, row.code)
        and filter.timestamp_min <= timestamp
        and (not filter.timestamp_max or timestamp <= filter.timestamp_max)
    )
