"""
The distributed engine: a TigerBeetle cluster decides, replicates and remembers.

It has the rules itself, so `rules.py` is asked only what a cluster does not say: whether the whole
of a chain is there, and why a transfer was refused whose refusal nobody could note.

Group commit as in the other engines: calls wait in one queue, and a message takes what is there, up
to what the cluster allows. Their records are packed when they are made. One session posts, another
reads, so that nobody who looks something up stands behind the gifts.

Where the balances after a chain are asked for, a look-up follows the message at once, and what the
message did is taken back step by step. What other processes did to the same account in between is
in it too; a refusal is told with the balances of its own moment.
"""

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Self

import msgspec

from largesse.clock import Clock
from largesse.errors import Rejected
from largesse.ledger import (
    CHAINS_WAITING_MAX,
    PAGE_MAX,
    AccountFilter,
    LedgerUnavailable,
    Problem,
    QueryFilter,
    query,
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
from largesse.ledger.tigerbeetle_answers import Answers, Call
from largesse.ledger.tigerbeetle_client import (
    OPEN_SECONDS_MAX,
    Connection,
    Operation,
    Reply,
    TooMuch,
    load,
    parse,
)
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

MESSAGES_UNDER_WAY_MAX = 2
"""One with the cluster, one next in line."""
MESSAGE_SIZES = (EVENTS_MAX, 4_096, 2_048, 1_024, 512, 253)
"""Records in a message, tried from above; the least is what a replica for development takes."""


class Message(msgspec.Struct):
    """What goes to the cluster together: some calls of one operation."""

    operation: Operation
    calls: list[Call]
    data: bytes
    balances_of: list[bytes]
    newest_before: int = 0
    answer: "asyncio.Future[Reply] | None" = None
    accounts: "asyncio.Future[Reply] | None" = None


class TigerBeetleLedger:
    """See `largesse.ledger.Ledger`. Made by `open`."""

    def __init__(self, posting: Connection, looking: Connection, message_max: int) -> None:
        self._posting = posting
        self._looking = looking
        self._message_max = message_max
        self._answers = Answers(looking, message_max)
        self._following = reading.ChangeReader(looking)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Call] = deque()
        self._chains_waiting = 0
        self._wake: asyncio.Future[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
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
            Rejected: ledger_url_invalid, engine_not_installed, ledger_unreachable.
        """
        address = parse(url)
        bindings = load()
        posting, looking = Connection(bindings, address), Connection(bindings, address)
        try:
            async with asyncio.timeout(OPEN_SECONDS_MAX):
                message_max = await _message_max(posting)
                await looking.connect()
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
        calls = [
            self._call(Operation.CREATE_ACCOUNTS, (), (), [_packed_account(a) for a in each])
            for each in slices
        ]
        self._admit(len(calls))
        statuses = [
            status for future in [self._ask(call) for call in calls] for status in await future
        ]
        outcomes = [ACCOUNT_OUTCOMES[status] for status in statuses]
        return await self._answers.compare_accounts(accounts, outcomes)

    async def create_transfers(
        self, chains: Sequence[Chain], balances_of: Sequence[bytes] = ()
    ) -> list[Result]:
        rules.assert_askable(chains)
        calls = []
        for each in _slices(chains, self._message_max):
            calls.append(
                self._call(
                    Operation.CREATE_TRANSFERS, each, balances_of, [_packed(c) for c in each]
                )
            )
        self._admit(len(chains))
        futures = [self._ask(call) for call in calls]
        if len(futures) == 1:
            results: list[Result] = await futures[0]
            return results
        return [result for future in futures for result in await future]

    def _call(
        self,
        operation: Operation,
        chains: Sequence[Chain],
        balances_of: Sequence[bytes],
        records: list[bytes],
    ) -> Call:
        data = records[0] if len(records) == 1 else b"".join(records)
        future: asyncio.Future[Any] = self._loop.create_future()
        return Call(operation, chains, balances_of, data, len(data) // RECORD_SIZE, future)

    def _admit(self, size: int) -> None:
        if self._closing:
            raise LedgerUnavailable("the ledger is closing")
        if self._away:
            raise LedgerUnavailable("the TigerBeetle cluster does not answer")
        if self._chains_waiting and self._chains_waiting + size > CHAINS_WAITING_MAX:
            raise Rejected("ledger_busy", waiting=self._chains_waiting)

    def _ask(self, call: Call) -> "asyncio.Future[Any]":
        self._chains_waiting += len(call.chains) or 1
        self._waiting.append(call)
        self._wake_up()
        return call.future

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
        return await query.transfers(self.changes, filter)

    async def query_accounts(self, filter: QueryFilter) -> list[Account]:
        return await query.accounts(self.changes, self.lookup_accounts, filter)

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
        if self._away:
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
            if not self._waiting or len(self._under_way) >= MESSAGES_UNDER_WAY_MAX:
                await self._sleep()
                continue
            message = self._take()
            while self._must_wait(message):
                await self._sleep()
            try:
                await self._send(message)
            except Exception as problem:
                _fail(message.calls, problem)

    async def _sleep(self) -> None:
        self._wake = self._loop.create_future()
        await self._wake

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _must_wait(self, message: Message) -> bool:
        """
        The library sends what is of one kind together, past what is of another.

        So one kind begins when the other is decided, and a look-up of balances stays behind its own
        message and before the next.
        """
        if not self._deciding:
            return False
        return message.operation is not self._deciding_operation or bool(message.balances_of)

    def _take(self) -> Message:
        """What waits, of one kind and as much as one message holds."""
        waiting = self._waiting
        operation = waiting[0].operation
        calls: list[Call] = []
        room = self._message_max
        chains = 0
        wanted: dict[bytes, None] = {}
        while waiting and waiting[0].operation is operation and waiting[0].events <= room:
            if len(wanted) + len(waiting[0].balances_of) > reading.LOOKUPS_MAX:
                break
            call = waiting.popleft()
            calls.append(call)
            room -= call.events
            chains += len(call.chains) or 1
            if call.balances_of:
                wanted.update(dict.fromkeys(call.balances_of))
        self._chains_waiting -= chains
        data = b"".join([call.data for call in calls])
        return Message(operation, calls, data, list(wanted))

    async def _send(self, message: Message) -> None:
        await self._posting.connect()
        message.newest_before = self._posting.last_timestamp
        message.answer = self._posting.submit(message.operation, message.data)
        if message.balances_of:
            wanted = pack_ids(message.balances_of)
            message.accounts = self._posting.submit(Operation.LOOKUP_ACCOUNTS, wanted)
        self._deciding += 1
        self._deciding_operation = message.operation
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
            if message.operation is Operation.CREATE_ACCOUNTS:
                self._answers.tell_accounts(
                    message.calls, reply.data, message.newest_before if again else None
                )
                return
            accounts = None
            if message.accounts is not None and not again:
                wanted = pack_ids(message.balances_of)
                found, late = await self._posting.answer(
                    message.accounts, Operation.LOOKUP_ACCOUNTS, wanted
                )
                accounts = None if late else found.data
            await self._answers.tell(
                message.calls, reply.data, accounts, message.newest_before if again else None
            )
        except LedgerUnavailable as problem:
            _fail(message.calls, problem)
        except Exception as problem:
            _fail(message.calls, problem)
            raise

    async def _decided(self, message: Message) -> tuple[Reply, bool]:
        """
        The cluster's answer. While it does not come, nobody waits for it longer than is bearable.

        What was sent stays with the session, and is followed to its end even if its callers were
        told that the outcome is unknown: a refusal has to be noted.
        """
        assert message.answer is not None
        try:
            try:
                return await self._posting.answer(message.answer, message.operation, message.data)
            except LedgerUnavailable as problem:
                if message.answer.done():
                    raise
                self._away = True
                _fail(message.calls, problem)
                _fail(self._waiting, problem)
                self._waiting.clear()
                self._chains_waiting = 0
            await asyncio.wait([message.answer])
            return await self._posting.answer(message.answer, message.operation, message.data)
        finally:
            self._away = False
            self._deciding -= 1
            self._wake_up()


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


def _slices(chains: Sequence[Chain], size: int) -> list[Sequence[Chain]]:
    """Cut a large call into messages."""
    if sum(map(len, chains)) <= size:
        return [chains] if chains else []
    slices: list[list[Chain]] = []
    room = 0
    for chain in chains:
        if len(chain) > size:
            raise LedgerUnavailable(
                f"a chain of {len(chain)} transfers is more than the {size} records that this "
                "cluster takes in a message; start its replicas without --development"
            )
        if len(chain) > room:
            slices.append([])
            room = size
        slices[-1].append(chain)
        room -= len(chain)
    return list(slices)


def _fail(calls: Iterable[Call], problem: BaseException) -> None:
    for call in calls:
        if not call.future.done():
            call.future.set_exception(LedgerUnavailable(str(problem)))
        # A caller that went away must not leave an error that nobody read.
        with contextlib.suppress(asyncio.CancelledError):
            call.future.exception()
