"""
Group commit: calls wait in one queue, and a batch takes what is there.

No waiting to fill a batch. A call that is larger than a batch is cut into requests, and a request
is never cut, so each is decided by one batch and answered by it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from largesse.errors import Rejected
from largesse.ledger import CHAINS_WAITING_MAX, LedgerUnavailable
from largesse.ledger.model import Account, AccountOutcome, Chain, Result

BATCH_CHAINS_MAX = 512
BATCH_TRANSFERS_MAX = 4_096
"""
A batch takes no further request when it holds so many chains or transfers. Not more, so that a
thousand callers make two batches: one is decided while the other is written (decision 0004).
"""
REQUEST_TRANSFERS_MAX = 2_048
"""A larger call is cut into requests of about this size, so a batch stays below `ROWS_MAX`."""


class Request(msgspec.Struct, eq=False):
    """One call, or a part of a large one, that waits for its answer."""

    chains: Sequence[Chain]
    balances_of: Sequence[bytes]
    accounts: Sequence[Account]
    future: "asyncio.Future[Any]"
    results: list[Any] = []


class RequestQueue:
    """The calls that no batch has taken yet, in the order in which they were made."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Request] = deque()
        self._chains_waiting = 0
        self._wake: asyncio.Future[None] | None = None
        self._wake_at = 1

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def chains_waiting(self) -> int:
        """How many chains wait; a call that creates accounts counts as one."""
        return self._chains_waiting

    def admit(self, size: int) -> None:
        """
        Let in a call of so many chains.

        Raises:
            Rejected: ledger_busy when too many wait already.
        """
        if self._chains_waiting and self._chains_waiting + size > CHAINS_WAITING_MAX:
            raise Rejected("ledger_busy", waiting=self._chains_waiting)

    def ask(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes], accounts: Sequence[Account]
    ) -> "asyncio.Future[Any]":
        """Queue one request; the future is its answer."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._chains_waiting += len(chains) or 1
        self._waiting.append(Request(chains, balances_of, accounts, future))
        if self._wake is not None and self._chains_waiting >= self._wake_at:
            self.wake_up()
        return future

    async def ask_accounts(self, accounts: Sequence[Account]) -> list[AccountOutcome]:
        """
        See `Ledger.create_accounts`; the outcomes, when a batch has written them.

        Raises:
            Rejected, LedgerUnavailable: as there.
        """
        slices = slices_of_accounts(accounts)
        self.admit(len(slices))
        requests = [self.ask((), (), each) for each in slices]
        return [outcome for request in requests for outcome in await request]

    async def ask_chains(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes]
    ) -> list[Result]:
        """
        See `Ledger.create_transfers`; the results, when a batch has written them.

        Raises:
            Rejected, LedgerUnavailable: as there.
        """
        self.admit(len(chains))
        if len(chains) == 1:
            results: list[Result] = await self.ask(chains, balances_of, ())
            return results
        requests = [self.ask(each, balances_of, ()) for each in slices_of_chains(chains)]
        return [result for request in requests for result in await request]

    def take(self) -> list[Request]:
        """What the next batch decides, at least one request where any waits."""
        waiting = self._waiting
        requests: list[Request] = []
        chains = transfers = 0
        while waiting and chains < BATCH_CHAINS_MAX and transfers < BATCH_TRANSFERS_MAX:
            request = waiting.popleft()
            requests.append(request)
            chains += len(request.chains) or 1
            transfers += sum(map(len, request.chains)) + len(request.accounts)
        self._chains_waiting -= chains
        return requests

    async def wait(self, seconds: float | None, chains: int = 1) -> None:
        """Until so many chains wait, or `wake_up`, or the time is over (None waits for ever)."""
        self._wake, self._wake_at = self._loop.create_future(), chains
        handle = None if seconds is None else self._loop.call_later(seconds, self.wake_up)
        await self._wake
        if handle is not None:
            handle.cancel()

    def wake_up(self) -> None:
        """End the wait, if there is one."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        self._wake = None


def slices_of_accounts(accounts: Sequence[Account]) -> list[Sequence[Account]]:
    """Cut a large call into requests."""
    size = REQUEST_TRANSFERS_MAX
    return [accounts[n : n + size] for n in range(0, len(accounts), size)]


def slices_of_chains(chains: Sequence[Chain]) -> list[list[Chain]]:
    """Cut a large call into requests; none is more than one chain above the size aimed at."""
    slices: list[list[Chain]] = []
    size = REQUEST_TRANSFERS_MAX
    for chain in chains:
        if size >= REQUEST_TRANSFERS_MAX:
            slices.append([])
            size = 0
        slices[-1].append(chain)
        size += len(chain)
    return slices


def answer(requests: Iterable[Request]) -> None:
    """Give each its results; a caller that went away is passed over."""
    for request in requests:
        if not request.future.done():
            request.future.set_result(request.results)


def fail(requests: Iterable[Request], problem: BaseException) -> None:
    """Tell each that what became of it is unknown."""
    for request in requests:
        if not request.future.done():
            request.future.set_exception(LedgerUnavailable(str(problem)))
        # A caller that went away must not leave an error that nobody read.
        with contextlib.suppress(asyncio.CancelledError):
            request.future.exception()
