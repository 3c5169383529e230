"""
What a TigerBeetle cluster is asked for: accounts, transfers, histories, changes, notes of refusals.

A transfer there does not carry its accounts' totals. They come from the accounts' own histories (the
flag `history`, which every account of ours has) or, where many transfers stand side by side, from
the change events of that stretch of time. Queries for single moments travel together.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from largesse import ids
from largesse.ledger import CHAIN_TRANSFERS_MAX, PAGE_MAX, AccountFilter, QueryFilter
from largesse.ledger.model import (
    Account,
    AccountFlags,
    Balance,
    Change,
    ChangeKind,
    Posted,
    Refused,
)
from largesse.ledger.tigerbeetle_client import Connection, Operation
from largesse.ledger.tigerbeetle_notes import NOTES_LEDGER, note_id, other_pieces, read_note
from largesse.ledger.tigerbeetle_wire import (
    CHANGE_EVENTS_MAX,
    RECORD_SIZE,
    Event,
    EventKind,
    FilterFlags,
    Stored,
    account_filter,
    events_filter,
    pack_ids,
    query_filter,
    unpack_accounts,
    unpack_balances,
    unpack_events,
    unpack_transfers,
)

LOOKUPS_MAX = 2_000
"""Ids in one message: what a replica takes that was started for development."""
QUERIES_MAX = 1_000
"""Queries under way together."""
ACCOUNTS_PAGE = 4_000
STRETCH_GAP = 256
"""Transfers whose times are no further apart than this are read as one stretch of change events."""
STRETCH_TRANSFERS = 3
ENDS_KEPT_MAX = 64

_BOTH = FilterFlags.DEBITS | FilterFlags.CREDITS
_NEWEST_FIRST = _BOTH | FilterFlags.REVERSED
_NOTHING = Balance(0, 0, 0, 0)
_CLOSED = int(AccountFlags.CLOSED)


async def find_accounts(
    connection: Connection, account_ids: Sequence[bytes]
) -> dict[bytes, Account]:
    """The accounts that are there."""
    found: dict[bytes, Account] = {}
    for wanted in slices(account_ids, LOOKUPS_MAX):
        reply = await connection.ask(Operation.LOOKUP_ACCOUNTS, pack_ids(wanted))
        found.update((account.id, account) for account in unpack_accounts(reply.data))
    return found


async def find_stored(connection: Connection, transfer_ids: Sequence[bytes]) -> dict[bytes, Stored]:
    """The transfers that are there."""
    found: dict[bytes, Stored] = {}
    for wanted in slices(transfer_ids, LOOKUPS_MAX):
        reply = await connection.ask(Operation.LOOKUP_TRANSFERS, pack_ids(wanted))
        found.update((stored.transfer.id, stored) for stored in unpack_transfers(reply.data))
    return found


def slices(wanted: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    """Cut what is asked for into messages."""
    return [wanted[n : n + size] for n in range(0, len(wanted), size)]


async def balances_at(
    connection: Connection, moments: Sequence[tuple[bytes, int]]
) -> list[Balance]:
    """
    The totals of each account at the end of a nanosecond.

    An account that had no transfer by then, or is not there, or keeps no history, has zeros.
    """

    async def one(account_id: bytes, timestamp: int) -> Balance:
        query = account_filter(account_id, timestamp_max=timestamp, limit=1, flags=_NEWEST_FIRST)
        reply = await connection.ask(Operation.GET_ACCOUNT_BALANCES, query)
        found = unpack_balances(reply.data)
        return found[0][1] if found else _NOTHING

    balances: list[Balance] = []
    for n in range(0, len(moments), QUERIES_MAX):
        together = moments[n : n + QUERIES_MAX]
        balances += await asyncio.gather(*(one(*moment) for moment in together))
    return balances


async def posted(connection: Connection, transfers: Sequence[Stored]) -> list[Posted]:
    """
    The transfers with the totals of their accounts right after each.

    The ids that lead back through an account's history are zero: the cluster has an index for that.
    """
    totals: dict[int, tuple[Balance, Balance]] = {}
    alone: list[Stored] = []
    for stretch in _stretches(transfers):
        if len(stretch) < STRETCH_TRANSFERS:
            alone += stretch
            continue
        first, last = stretch[0].timestamp, stretch[-1].timestamp
        wanted = {stored.timestamp for stored in stretch}
        async for event in events_between(connection, first, last):
            if event.timestamp in wanted:
                totals[event.timestamp] = (event.debit_account, event.credit_account)
    moments = []
    for stored in alone:
        moments.append((stored.transfer.debit_account_id, stored.timestamp))
        moments.append((stored.transfer.credit_account_id, stored.timestamp))
    balances = await balances_at(connection, moments)
    for n, stored in enumerate(alone):
        totals[stored.timestamp] = (balances[2 * n], balances[2 * n + 1])
    return [_posted(stored, *totals[stored.timestamp]) for stored in transfers]


def _stretches(transfers: Sequence[Stored]) -> list[list[Stored]]:
    stretches: list[list[Stored]] = []
    before = -STRETCH_GAP
    for stored in sorted(transfers, key=lambda stored: stored.timestamp):
        if stored.timestamp > before + STRETCH_GAP or not stretches:
            stretches.append([])
        stretches[-1].append(stored)
        before = stored.timestamp
    return stretches


def without_totals(stored: Stored) -> Posted:
    """For whoever compares only what was asked."""
    return _posted(stored, _NOTHING, _NOTHING)


def _posted(stored: Stored, debit: Balance, credit: Balance) -> Posted:
    return Posted(
        stored.transfer,
        stored.timestamp,
        debit.debits_posted,
        debit.credits_posted,
        credit.debits_posted,
        credit.credits_posted,
        ids.ZERO,
        ids.ZERO,
    )


async def account_transfers(
    connection: Connection, account_id: bytes, filter: AccountFilter
) -> list[Posted]:
    """See `Ledger.account_transfers`. Of several codes each page is read and what fits is kept."""
    assert 0 < filter.limit <= PAGE_MAX
    flags = FilterFlags.REVERSED
    if filter.debits:
        flags |= FilterFlags.DEBITS
    if filter.credits:
        flags |= FilterFlags.CREDITS
    if not flags & _BOTH:
        return []
    until = 0
    if filter.before is not None:
        begin = (await find_stored(connection, [filter.before])).get(filter.before)
        if begin is None or account_id not in (
            begin.transfer.debit_account_id,
            begin.transfer.credit_account_id,
        ):
            return []
        until = begin.timestamp - 1
    code = next(iter(filter.codes)) if len(filter.codes) == 1 else 0
    size = PAGE_MAX if len(filter.codes) > 1 else filter.limit
    kept: list[Stored] = []
    while len(kept) < filter.limit:
        query = account_filter(account_id, code=code, timestamp_max=until, limit=size, flags=flags)
        reply = await connection.ask(Operation.GET_ACCOUNT_TRANSFERS, query)
        page = list(unpack_transfers(reply.data))
        kept += [s for s in page if not filter.codes or s.transfer.code in filter.codes]
        if len(page) < size:
            break
        until = page[-1].timestamp - 1
    return await posted(connection, kept[: filter.limit])


async def events_between(connection: Connection, first: int, last: int = 0) -> AsyncIterator[Event]:
    """The change events of a stretch of time, both ends included; 0 is the end of time."""
    while True:
        page = await events_page(connection, first, last, CHANGE_EVENTS_MAX)
        for event in page:
            yield event
        if len(page) < CHANGE_EVENTS_MAX or page[-1].timestamp == last:
            return
        first = page[-1].timestamp + 1


async def events_page(connection: Connection, first: int, last: int, limit: int) -> list[Event]:
    """At most so many change events of a stretch of time, oldest first."""
    query = events_filter(timestamp_min=first, timestamp_max=last, limit=limit)
    reply = await connection.ask(Operation.GET_CHANGE_EVENTS, query)
    return list(unpack_events(reply.data))


async def accounts_page(
    connection: Connection, first: int, last: int = 0, limit: int = ACCOUNTS_PAGE
) -> list[Account]:
    """At most so many accounts created in a stretch of time, oldest first, notes among them."""
    query = QueryFilter(timestamp_min=first, timestamp_max=last, limit=limit)
    reply = await connection.ask(Operation.QUERY_ACCOUNTS, query_filter(query))
    return list(unpack_accounts(reply.data))


async def query_transfers(connection: Connection, filter: QueryFilter) -> list[Posted]:
    """See `Ledger.query_transfers`. The cluster has an index on each of the fields."""
    found: list[Stored] = []
    async for data in _pages(connection, Operation.QUERY_TRANSFERS, filter):
        found += unpack_transfers(data)
        if len(found) >= filter.limit:
            break
    return await posted(connection, found[: filter.limit])


async def query_accounts(connection: Connection, filter: QueryFilter) -> list[Account]:
    """See `Ledger.query_accounts`. Notes are no accounts of ours."""
    found: list[Account] = []
    async for data in _pages(connection, Operation.QUERY_ACCOUNTS, filter):
        found += [each for each in unpack_accounts(data) if each.ledger != NOTES_LEDGER]
        if len(found) >= filter.limit:
            break
    return found[: filter.limit]


async def _pages(
    connection: Connection, operation: Operation, filter: QueryFilter
) -> AsyncIterator[bytes]:
    """Answers to the query, one after the other, each going on where the last one ended."""
    size = min(filter.limit, ACCOUNTS_PAGE)
    filter = msgspec.structs.replace(filter, limit=size)
    while True:
        data = (await connection.ask(operation, query_filter(filter))).data
        yield data
        if len(data) < size * RECORD_SIZE:
            return
        # In both records the time is the last field.
        last = int.from_bytes(data[-8:], "little")
        if filter.newest_first:
            filter = msgspec.structs.replace(filter, timestamp_max=last - 1)
        else:
            filter = msgspec.structs.replace(filter, timestamp_min=last + 1)


class ChangeReader:
    """
    Follows the cluster's changes: its change events, and between them the accounts created.

    It keeps the ends of the last pages, so that a follower who goes on from there needs no look
    back for the beginning of a chain.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ends: dict[int, None] = {0: None}

    async def changes(self, after: int, limit: int) -> list[Change]:
        """See `Ledger.changes`. A page that is not full is the end."""
        assert limit > 0
        changes: list[Change] = []
        is_end = False
        while len(changes) < limit and not is_end:
            more, is_end = await self._some(after, limit - len(changes))
            changes += more
            if more:
                after = more[-1].timestamp
                self._keep_end(after)
        return changes

    async def _some(self, after: int, limit: int) -> tuple[list[Change], bool]:
        """
        The next changes, at most `limit`, and whether there are no more.

        Accounts are asked for after the events, up to the time of the last one, so none is missed.
        Where those were all the events, accounts may be newer; then events are asked for again, up
        to the last account.
        """
        chains, is_end = await self._chains(after, 0, limit)
        newest = chains[-1][-1].timestamp if chains else after
        accounts = await self._accounts(after + 1, 0 if is_end else newest, limit)
        if accounts and accounts[-1].timestamp > newest:
            if chains:
                self._keep_end(newest)
            last = accounts[-1].timestamp
            later, is_end = await self._chains(newest, last, limit)
            chains += later
            if not is_end:
                newest = chains[-1][-1].timestamp
                accounts = [account for account in accounts if account.timestamp <= newest]
        is_end = is_end and len(accounts) < limit
        changes = await self._told(chains) + await self._created(accounts)
        changes.sort(key=lambda change: change.timestamp)
        return changes[:limit], is_end

    def _keep_end(self, timestamp: int) -> None:
        self._ends[timestamp] = None
        if len(self._ends) > ENDS_KEPT_MAX:
            del self._ends[next(iter(self._ends))]

    async def _chains(self, after: int, last: int, limit: int) -> tuple[list[list[Event]], bool]:
        """
        Whole chains that end after this time, at most `limit`, and whether those were all.

        A chain's times count up by one nanosecond, so its beginning is no further back than it is
        long.
        """
        first = after + 1
        if after not in self._ends:
            first = max(first - CHAIN_TRANSFERS_MAX, 1)
        size = min(CHANGE_EVENTS_MAX, 2 * CHAIN_TRANSFERS_MAX + limit * 4)
        page = await events_page(self._connection, first, last, size)
        chains: list[list[Event]] = [[]]
        for event in page:
            chains[-1].append(event)
            if event.kind is EventKind.EXPIRED or not event.stored.linked:
                chains.append([])
        # The last is empty, or goes on behind the page.
        whole = [chain for chain in chains[:-1] if chain[-1].timestamp > after]
        assert whole or len(page) < size
        return whole[:limit], len(page) < size and len(whole) <= limit

    async def _accounts(self, first: int, last: int, limit: int) -> list[Account]:
        """The first accounts of a stretch of time that are not notes, at most `limit`."""
        accounts: list[Account] = []
        while len(accounts) < limit and (first <= last or not last):
            page = await accounts_page(self._connection, first, last)
            accounts += [account for account in page if account.ledger != NOTES_LEDGER]
            if len(page) < ACCOUNTS_PAGE:
                break
            first = page[-1].timestamp + 1
        return accounts[:limit]

    async def _told(self, chains: list[list[Event]]) -> list[Change]:
        expired = [c[0].stored for c in chains if c[0].kind is EventKind.EXPIRED]
        first_told = iter(await posted(self._connection, expired))
        changes = []
        for chain in chains:
            if chain[0].kind is EventKind.EXPIRED:
                told: tuple[Posted, ...] = (next(first_told),)
                kind = ChangeKind.EXPIRED
            else:
                told = tuple(_posted(e.stored, e.debit_account, e.credit_account) for e in chain)
                kind = ChangeKind.CHAIN
            changes.append(Change(chain[-1].timestamp, kind, told))
        return changes

    async def _created(self, accounts: list[Account]) -> list[Change]:
        """
        The accounts as they were at their beginning.

        One that is closed now was closed from the first if nothing ever moved on it: only a transfer
        closes an account later.
        """
        changes = []
        for account in accounts:
            flags = account.flags
            if flags & _CLOSED and await self._has_moved(account.id):
                flags &= ~_CLOSED
            new = msgspec.structs.replace(
                account,
                flags=flags,
                debits_pending=0,
                debits_posted=0,
                credits_pending=0,
                credits_posted=0,
            )
            changes.append(Change(account.timestamp, ChangeKind.ACCOUNT, account=new))
        return changes

    async def _has_moved(self, account_id: bytes) -> bool:
        query = account_filter(account_id, limit=1, flags=_BOTH)
        reply = await self._connection.ask(Operation.GET_ACCOUNT_TRANSFERS, query)
        return bool(reply.data)


async def find_refused(
    connection: Connection, transfer_ids: Iterable[bytes]
) -> dict[bytes, Refused]:
    """The refusals that were noted under these transfers' ids."""
    firsts = {note_id(transfer_id): transfer_id for transfer_id in transfer_ids}
    heads = await find_accounts(connection, list(firsts))
    rest_ids = [piece for head in heads.values() for piece in other_pieces(head)]
    rest = await find_accounts(connection, rest_ids)
    return {
        firsts[head.id]: read_note([head, *(rest[piece] for piece in other_pieces(head))])
        for head in heads.values()
    }
