"""
The ceiling of TigerBeetle from Python: packed buffers, over the same client library as our engine.

Gifts are packed with one `struct` call each and handed to the library's C functions, past the client's
records, which cost some ten microseconds a transfer. Each gift is a linked pair, as ours is; nothing
else is done for it: no outcomes by name, no balances, no refusals looked up.
"""

import asyncio
import contextlib
import ctypes
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

from tigerbeetle import bindings
from tigerbeetle.lib import c_uint128

from bench.loads import HOLD, Grouping, House, Load, Stand, plain_gifts, plain_gifts_to
from bench.prototype import COINS_EACH, Gift, Row
from largesse import ids
from largesse.books import chart
from largesse.cli.bench import Measured

ACCOUNT = struct.Struct("<16s 64x 16s Q I 4x I H H 8x")
TRANSFER = struct.Struct("<16s 16s 16s Q 8x 16x 16s Q I I I H H 8x")
RESULT = struct.Struct("<Q I 4x")
CREDITS_POSTED = struct.Struct("<64x Q 56x")
"""Of an account as it comes back."""
CREATED = (1 << 32) - 1
EXISTS_ACCOUNT, EXISTS_TRANSFER = 21, 46
GIFTS_PER_MESSAGE = 4_000
"""Two transfers each; a message holds 8,189."""
MESSAGES_IN_FLIGHT = 2
"""One on its way while the next is packed: the library itself sends one at a time."""
ACCOUNTS_PER_MESSAGE = 8_000
LINKED, NEVER_OVERDRAWN = 1, 2
ZERO, CODE = bytes(16), 1
FUNDS = ids.derive("bench packed funds")


class Packed:
    """A connection to a cluster that takes buffers."""

    def __init__(self, cluster: int, addresses: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self._waiting: dict[int, tuple[object, asyncio.Future[bytes]]] = {}
        self._client = bindings.CClient()
        self._on_completion = bindings.OnCompletion(self._completed)  # Kept, or it is collected.
        # Kept while the library reads it: a value made inside the call would be gone.
        number = c_uint128.from_param(cluster)
        status = bindings.tb_client_init(
            ctypes.byref(self._client),
            ctypes.cast(ctypes.byref(number), ctypes.POINTER(ctypes.c_uint8 * 16)),
            addresses.encode(),
            len(addresses),
            0,
            self._on_completion,
        )
        assert status == bindings.InitStatus.SUCCESS, status

    async def ask(self, operation: int, data: bytes) -> bytes:
        """Send one message; what comes back, as it is."""
        number = next(self._numbers)
        buffer = ctypes.create_string_buffer(data, len(data))
        packet = bindings.CPacket()
        packet.user_data = number
        packet.operation = operation
        packet.data_size = len(data)
        packet.data = ctypes.cast(buffer, ctypes.c_void_p)
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[number] = ((buffer, packet), future)
        status = bindings.tb_client_submit(ctypes.byref(self._client), ctypes.byref(packet))
        assert status == bindings.ClientStatus.OK, status
        return await future

    async def create(self, operation: int, data: bytes) -> list[int]:
        """Send one message; the status of each event in it."""
        return [status for _, status in RESULT.iter_unpack(await self.ask(operation, data))]

    async def redeemed(self, people: House) -> int:
        """The coins of all gifts so far."""
        answer = await self.ask(bindings.Operation.LOOKUP_ACCOUNTS, people.redeemed[::-1])
        coins: int = CREDITS_POSTED.unpack(answer)[0]
        return coins

    def close(self) -> None:
        bindings.tb_client_deinit(ctypes.byref(self._client))

    def _completed(
        self, _: int, packet: "ctypes._Pointer[bindings.CPacket]", at: int, data: int, size: int
    ) -> None:
        """In a thread of the library, which owns `data` only until this returns."""
        answer = ctypes.string_at(data, size) if size else b""
        number, status = packet[0].user_data, packet[0].status
        with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits any more.
            self._loop.call_soon_threadsafe(self._answer, number, status, answer)

    def _answer(self, number: int, status: int, answer: bytes) -> None:
        _, future = self._waiting.pop(number)
        if status == bindings.PacketStatus.OK:
            future.set_result(answer)
        else:
            future.set_exception(ConnectionError(bindings.PacketStatus(status).name))


@asynccontextmanager
async def stand(cluster: int, addresses: str, people: House) -> AsyncIterator[Stand]:
    """Accounts of its own in the cluster, beside whatever is there."""
    packed = Packed(cluster, addresses)
    try:
        people = _own(people)
        await _seat(packed, people)
        grouping = Grouping(
            lambda gifts: _create(packed, gifts),
            gifts_max=GIFTS_PER_MESSAGE,
            groups_in_flight_max=MESSAGES_IN_FLIGHT,
        )
        gifts = plain_gifts(people)
        before = await packed.redeemed(people)

        async def measure(load: Load, seconds: float) -> Measured:
            return await plain_gifts_to(grouping.create, gifts, load, seconds)

        async def books(given: int) -> str:
            moved = await packed.redeemed(people) - before
            return HOLD if moved == given else f"do NOT hold: {moved} instead of {given} coins"

        yield Stand(measure, books)
    finally:
        packed.close()


def _own(people: House) -> House:
    """Other ids than ours, so that both can be in one cluster."""

    def own(account_id: bytes) -> bytes:
        return ids.derive("bench packed", account_id)

    return House(
        people.viewer_ids,
        tuple(map(own, people.wallets)),
        tuple(map(own, people.earnings)),
        own(people.redeemed),
        own(people.issued),
    )


async def _seat(packed: Packed, people: House) -> None:
    accounts = [(each, chart.COIN, NEVER_OVERDRAWN) for each in people.wallets]
    accounts += [(people.redeemed, chart.COIN, 0), (FUNDS, chart.COIN, 0)]
    accounts += [(each, chart.DIAMOND, 0) for each in (*people.earnings, people.issued)]
    packs = [
        ACCOUNT.pack(id[::-1], ZERO, 0, 0, ledger, CODE, flags) for id, ledger, flags in accounts
    ]
    for message in _messages(packs):
        statuses = await packed.create(bindings.Operation.CREATE_ACCOUNTS, message)
        assert {*statuses} <= {CREATED, EXISTS_ACCOUNT}, {*statuses}
    coins = [
        _pack(
            (ids.derive("bench packed coins", each), FUNDS, each, COINS_EACH, chart.COIN, ZERO, 0),
            0,
        )
        for each in people.wallets
    ]
    for message in _messages(coins):
        statuses = await packed.create(bindings.Operation.CREATE_TRANSFERS, message)
        assert {*statuses} <= {CREATED, EXISTS_TRANSFER}, {*statuses}


async def _create(packed: Packed, gifts: list[Gift]) -> list[bool]:
    """Two transfers a gift, the first linked to the second: both are created or neither."""
    message = b"".join([_pack(coin, LINKED) + _pack(diamond, 0) for coin, diamond in gifts])
    statuses = await packed.create(bindings.Operation.CREATE_TRANSFERS, message)
    return [status in (CREATED, EXISTS_TRANSFER) for status in statuses[::2]]


def _pack(row: Row, flags: int) -> bytes:
    """The wire has the lowest byte first; ids in the order of time begin with their highest."""
    id, debit, credit, amount, ledger, room, item = row
    return TRANSFER.pack(
        id[::-1], debit[::-1], credit[::-1], amount, room[::-1], item, 0, 0, ledger, CODE, flags
    )


def _messages(packs: list[bytes]) -> Iterator[bytes]:
    for n in range(0, len(packs), ACCOUNTS_PER_MESSAGE):
        yield b"".join(packs[n : n + ACCOUNTS_PER_MESSAGE])
