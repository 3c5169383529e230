"""
The distributed engine: a TigerBeetle cluster decides, replicates and remembers.

It has the rules itself, so `rules.py` is asked only what a cluster does not say: whether the whole
of a chain is there, and why a transfer was refused whose refusal nobody could note.

Group commit as in the other engines: calls wait in one queue, and a message takes what is there, up
to what the cluster allows. Their records are packed when they are made. One session posts, another
reads, so that nobody who looks something up stands behind the gifts.

Where the balances after a chain are asked for, the accounts are looked up when the message is
decided, and what was done since and by the message is taken back step by step. What other processes
did to the same account in between stays in it; a refusal is told with the balances of its moment.
"""

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Self

import msgspec

from largesse import ids
from largesse.clock import Clock
from largesse.errors import Rejected
from largesse.ledger import (
    CHAINS_WAITING_MAX,
    PAGE_MAX,
    AccountFilter,
    LedgerUnavailable,
    Problem,
    QueryFilter,
    rules,
)
from largesse.ledger import tigerbeetle_reading as reading
from largesse.ledger.model import (
    Account,
    AccountOutcome,
    Chain,
    Change,
    Posted,
    Refused,
    Result,
)
from largesse.ledger.tigerbeetle_answers import Answers, Call, LookedUp
from largesse.ledger.tigerbeetle_client import (
    ANSWER_SECONDS_MAX,
    OPEN_SECONDS_MAX,
    Connection,
    Operation,
    Reply,
    TooMuch,
    load,
    parse,
)
from largesse.ledger.tigerbeetle_copy import refuse_unfinished
from largesse.ledger.tigerbeetle_notes import NOTES_LEDGER
from largesse.ledger.tigerbeetle_verify import verify
from largesse.ledger.tigerbeetle_wire import (
    ACCOUNT_OUTCOMES,
    EVENTS_MAX,
    RECORD_SIZE,
    pack_account,
    pack_chain,
    pack_ids,
    unpack_results,
)

MESSAGES_DECIDING_MAX = 2
"""One with the cluster, one next in line."""
MESSAGES_UNDER_WAY_MAX = 4
"""Those too of which something is still to be found out."""
MESSAGE_RECORDS_ENOUGH = 1_024
"""
A message takes no further call when it holds so many records, or half of all that is under way.

So many callers make two messages: the cluster decides one while the callers of the other are told.
"""
MESSAGE_SIZES = (EVENTS_MAX, 4_096, 2_048, 1_024, 512, 253)
"""Records in a message, tried from above; the least is what a replica for development takes."""


class Message(msgspec.Struct, eq=False):
    """
    What goes to the cluster together: some calls of one operation.

    `decided` has the cluster's answer, or None where it is not known when it was decided.
    """

    operation: Operation
    calls: list[Call]
    data: bytes
    balances_of: set[bytes]
    answer: "asyncio.Future[Reply]"
    decided: "asyncio.Future[Reply | None]"
    newest_before: int = 0
    is_over: bool = False

    def moves(self, account_ids: set[bytes]) -> bool:
        """Whether it may change one of these accounts."""
        return any(
            t.debit_account_id in account_ids
            or t.credit_account_id in account_ids
            or t.pending_id != ids.ZERO
            for call in self.calls
            for chain in call.chains
            for t in chain
        )


class TigerBeetleLedger:
    """See `largesse.ledger.Ledger`. Made by `open`."""

    def __init__(self, posting: Connection, looking: Connection, message_max: int) -> None:
        self._posting = posting
        self._looking = looking
        self._message_max = message_max
        # Ids are an eighth of a record, but no answer holds more accounts than this.
        self._look_up_max = max(message_max, reading.LOOKUPS_MAX)
        self._answers = Answers(looking, message_max)
        self._following = reading.ChangeReader(looking)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Call] = deque()
        self._chains_waiting = 0
        self._records = 0
        self._wake: asyncio.Future[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._line: deque[Message] = deque()
        self._deciding = 0
        self._deciding_operation = Operation.CREATE_TRANSFERS
        self._away = False
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="ledger")

    @classmethod
    async def open(cls, url: str, clock: Clock) -> Self:
        """
        Register with the cluster at `tigerbeetle://host:port[,host:port...][?cluster=0]`.

        The cluster has its own clock, so `clock` is not asked. The replicas stand in the cluster's
        own order.

        Raises:
            Rejected: ledger_url_invalid, engine_not_installed, ledger_unreachable,
                ledger_copy_unfinished.
        """
        address = parse(url)
        bindings = load()
        posting, looking = Connection(bindings, address), Connection(bindings, address)
        try:
            async with asyncio.timeout(OPEN_SECONDS_MAX):
                message_max = await _message_max(posting)
                await looking.connect()
                await refuse_unfinished(looking, address)
        except Rejected:
            await posting.close()
            await looking.close()
            raise
        except (LedgerUnavailable, TimeoutError) as problem:
            await posting.close()
            await looking.close()
            raise Rejected(
                "ledger_unreachable",
                address=address.text,
                cluster=str(address.cluster),
                problem=str(problem) or f"no answer in {OPEN_SECONDS_MAX:.0f} seconds",
            ) from problem
        return cls(posting, looking, message_max)

    # What is asked ---------------------------------------------------------------------------

    async def create_accounts(self, accounts: Sequence[Account]) -> list[AccountOutcome]:
        assert all(account.ledger != NOTES_LEDGER for account in accounts)
        size = self._message_max
        slices = [accounts[n : n + size] for n in range(0, len(accounts), size)]
        packed = [b"".join([_packed_account(account) for account in each]) for each in slices]
        self._admit(len(slices))
        futures = [self._ask(Operation.CREATE_ACCOUNTS, (), (), data) for data in packed]
        statuses = [status for future in futures for status in await future]
        outcomes = [ACCOUNT_OUTCOMES[status] for status in statuses]
        return await self._answers.compare_accounts(accounts, outcomes)

    async def create_transfers(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes] = ()
    ) -> list[Result]:
        rules.assert_askable(chains)
        results: list[Result]
        if len(chains) == 1:
            # Nearly every call. It is packed here, so the message is only put together.
            data = _packed(chains[0])
            if len(chains[0]) > self._message_max:
                raise _too_long(chains[0], self._message_max)
            self._admit(1)
            results = await self._ask(Operation.CREATE_TRANSFERS, chains, balances_of, data)
            return results
        slices = _slices(chains, self._message_max)
        packed = [b"".join([_packed(chain) for chain in each]) for each in slices]
        self._admit(len(chains))
        futures = [
            self._ask(Operation.CREATE_TRANSFERS, each, balances_of, data)
            for each, data in zip(slices, packed, strict=True)
        ]
        return [result for future in futures for result in await future]

    def _admit(self, size: int) -> None:
        if self._closing:
            raise LedgerUnavailable("the ledger is closing")
        if self._away:
            raise LedgerUnavailable("the TigerBeetle cluster does not answer")
        if self._chains_waiting and self._chains_waiting + size > CHAINS_WAITING_MAX:
            raise Rejected("ledger_busy", waiting=self._chains_waiting)

    def _ask(
        self,
        operation: Operation,
        chains: Sequence[Chain],
        balances_of: Sequence[bytes],
        data: bytes,
    ) -> "asyncio.Future[Any]":
        future = self._loop.create_future()
        self._chains_waiting += len(chains) or 1
        events = len(data) // RECORD_SIZE
        self._records += events
        self._waiting.append(Call(operation, chains, balances_of, data, events, future))
        if self._wake is not None:
            self._wake_up()
        return future

    async def lookup_accounts(self, account_ids: Iterable[bytes]) -> list[Account | None]:
        wanted = list(account_ids)
        found = await reading.find_accounts(self._open(), wanted)
        return [found.get(account_id) for account_id in wanted]

    async def lookup_transfers(self, transfer_ids: Iterable[bytes]) -> list[Posted | None]:
        wanted = list(transfer_ids)
        stored = await reading.find_stored(self._open(), wanted)
        posted = await reading.posted(self._open(), list(stored.values()))
        found = {each.transfer.id: each for each in posted}
        return [found.get(transfer_id) for transfer_id in wanted]

    async def lookup_refused(self, transfer_ids: Iterable[bytes]) -> list[Refused | None]:
        wanted = list(transfer_ids)
        found = await reading.find_refused(self._open(), wanted)
        return [found.get(transfer_id) for transfer_id in wanted]

    async def account_transfers(self, account_id: bytes, filter: AccountFilter) -> list[Posted]:
        return await reading.account_transfers(self._open(), account_id, filter)

    async def query_transfers(self, filter: QueryFilter) -> list[Posted]:
        return await reading.query_transfers(self._open(), filter)

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        return await reading.query_accounts(self._open(), filter)

    async def changes(self, after: int, limit: int = PAGE_MAX) -> list[Change]:
        self._open()
        return await self._following.changes(after, limit)

    def verify(self) -> AsyncIterator[Problem | int]:
        return verify(self._looking)

    def _open(self) -> Connection:
        if self._closing:
            raise LedgerUnavailable("the ledger is closing")
        return self._looking

    async def close(self) -> None:
        """Answer what waits, if the cluster does, then let go of both sessions."""
        if self._closing:
            return
        self._closing = True
        self._wake_up()
        await asyncio.wait([self._task], timeout=0 if self._away else ANSWER_SECONDS_MAX)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._posting.close()
        await self._looking.close()
        if self._under_way:
            await asyncio.wait(self._under_way)

    # The one loop that sends -----------------------------------------------------------------

    async def _run(self) -> None:
        while self._waiting or self._under_way or not self._closing:
            if not self._waiting or self._must_wait():
                await self._sleep()
                continue
            calls = self._take()
            try:
                await self._send(calls)
            except Exception as problem:
                self._records -= sum(call.events for call in calls)
                _fail(calls, problem)

    async def _sleep(self) -> None:
        self._wake = self._loop.create_future()
        await self._wake
        self._wake = None

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _must_wait(self) -> bool:
        """
        Whether the next message is not to be sent yet.

        The library sends what is of one kind together, past what is of another: so one kind begins
        when all of the other is decided.
        """
        if len(self._under_way) >= MESSAGES_UNDER_WAY_MAX:
            return True
        is_other = self._waiting[0].operation is not self._deciding_operation
        return self._deciding >= (1 if is_other else MESSAGES_DECIDING_MAX)

    def _take(self) -> list[Call]:
        """What waits, of one kind and as much as one message holds, or as is enough for one."""
        waiting = self._waiting
        operation = waiting[0].operation
        calls: list[Call] = []
        enough = max(self._records // 2, MESSAGE_RECORDS_ENOUGH)
        chains = records = wanted = 0
        while waiting and records < enough:
            call = waiting[0]
            if call.operation is not operation or records + call.events > self._message_max:
                break
            wanted += len(call.balances_of)
            if wanted > self._look_up_max and calls:
                break
            waiting.popleft()
            calls.append(call)
            records += call.events
            chains += len(call.chains) or 1
        self._chains_waiting -= chains
        return calls

    async def _send(self, calls: list[Call]) -> None:
        operation = calls[0].operation
        data = b"".join([call.data for call in calls])
        await self._posting.connect()
        message = Message(
            operation,
            calls,
            data,
            {account_id for call in calls for account_id in call.balances_of},
            self._posting.submit(operation, data),
            self._loop.create_future(),
            self._posting.last_timestamp,
        )
        self._line.append(message)
        self._deciding += 1
        self._deciding_operation = operation
        task = asyncio.create_task(self._finish(message))
        self._under_way.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._wake_up()

    async def _finish(self, message: Message) -> None:
        """Wait for the cluster's answer, find out what it leaves open, and tell the callers."""
        try:
            reply, again = await self._decided(message)
            newest_before = message.newest_before if again else None
            if message.operation is Operation.CREATE_ACCOUNTS:
                self._answers.tell_accounts(message.calls, reply.data, newest_before)
                return
            looked_up = None
            if message.balances_of and not again:
                looked_up = await self._look_up(message)
            await self._answers.tell(message.calls, reply.data, looked_up, newest_before)
        except LedgerUnavailable as problem:
            _fail(message.calls, problem)
        except Exception as problem:
            _fail(message.calls, problem)
            raise
        finally:
            message.is_over = True
            self._records -= len(message.data) // RECORD_SIZE
            while self._line and self._line[0].is_over:
                self._line.popleft()

    async def _look_up(self, message: Message) -> LookedUp | None:
        """
        The accounts whose balances are asked for, as they are now, and what came between.

        None where that is not known, or where it is too much for one look.
        """
        wanted = message.balances_of
        if len(wanted) > self._look_up_max:
            return None
        reply = await self._looking.ask(Operation.LOOKUP_ACCOUNTS, pack_ids(wanted))
        later: list[tuple[Sequence[Call], bytes]] = []
        line = list(self._line)
        for other in line[line.index(message) + 1 :]:
            if not other.moves(wanted):
                continue
            decided = await asyncio.shield(other.decided)
            if decided is None:
                return None
            if decided.timestamp < reply.timestamp:
                later.append((other.calls, decided.data))
        return LookedUp(reply.data, later)

    async def _decided(self, message: Message) -> tuple[Reply, bool]:
        """
        The cluster's answer. While it does not come, nobody waits for it longer than is bearable.

        What was sent stays with the session, and is followed to its end even if its callers were
        told that the outcome is unknown: a refusal has to be noted.
        """
        known = None
        try:
            try:
                reply, again = await self._posting.answer(
                    message.answer, message.operation, message.data
                )
            except LedgerUnavailable as problem:
                if message.answer.done():
                    raise
                self._fail_all(message, problem)
                await asyncio.wait([message.answer])
                reply, again = await self._posting.answer(
                    message.answer, message.operation, message.data
                )
            known = None if again else reply
            return reply, again
        finally:
            self._away = False
            message.decided.set_result(known)
            self._deciding -= 1
            self._wake_up()

    def _fail_all(self, message: Message, problem: LedgerUnavailable) -> None:
        """Nobody waits for a cluster that does not answer: neither these callers nor the next."""
        self._away = True
        _fail(message.calls, problem)
        _fail(self._waiting, problem)
        self._records -= sum(call.events for call in self._waiting)
        self._waiting.clear()
        self._chains_waiting = 0


async def _message_max(connection: Connection) -> int:
    """
    How many records the cluster takes in one message: what more is asked, the client does not send.

    The records asked with are empty, so each is refused and nothing is changed.

    Raises:
        LedgerUnavailable: no answer.
    """
    for size in MESSAGE_SIZES:
        try:
            reply = await connection.ask(Operation.CREATE_TRANSFERS, bytes(size * RECORD_SIZE))
        except TooMuch:
            continue
        assert len(unpack_results(reply.data)) == size
        return size
    raise LedgerUnavailable(f"it takes fewer than {MESSAGE_SIZES[-1]} records in a message")


def _packed(chain: Chain) -> bytes:
    try:
        return pack_chain(chain)
    except struct.error as problem:
        raise AssertionError(f"a field is out of range: {problem}") from problem


def _packed_account(account: Account) -> bytes:
    try:
        return pack_account(account)
    except struct.error as problem:
        raise AssertionError(f"a field is out of range: {problem}") from problem


def _slices(chains: Sequence[Chain], size: int) -> list[list[Chain]]:
    """Cut a large call into messages."""
    slices: list[list[Chain]] = []
    room = 0
    for chain in chains:
        if len(chain) > size:
            raise _too_long(chain, size)
        if len(chain) > room:
            slices.append([])
            room = size
        slices[-1].append(chain)
        room -= len(chain)
    return slices


def _too_long(chain: Chain, size: int) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"a chain of {len(chain)} transfers is more than the {size} records that this cluster takes "
        "in a message; start its replicas without --development"
    )


def _fail(calls: Iterable[Call], problem: BaseException) -> None:
    for call in calls:
        if not call.future.done():
            call.future.set_exception(LedgerUnavailable(str(problem)))
        # A caller that went away must not leave an error that nobody read.
        with contextlib.suppress(asyncio.CancelledError):
            call.future.exception()
