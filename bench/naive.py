"""
The naive design, to hold ours against: PostgreSQL, one transaction per gift, a pool of connections.

The same double entry as ours, done as one would write it first: lock the wallet of the viewer and the
earnings of the creator in the order of their ids, look whether the coins are there, insert the two
transfers (the id of the first comes from the key, so a retry finds it), add to four accounts, commit.
No rules beyond that, no histories, no remembered refusals.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg  # type: ignore[import-untyped]

from bench.loads import HOLD, House, Load, Stand, plain_gifts
from bench.prototype import COINS_EACH, Gift
from largesse.cli import bench
from largesse.cli.bench import Measured

SCHEMA = """
CREATE TABLE accounts (
    id uuid PRIMARY KEY, debits bigint NOT NULL DEFAULT 0, credits bigint NOT NULL DEFAULT 0
);
CREATE TABLE transfers (
    id uuid PRIMARY KEY, debit uuid NOT NULL, credit uuid NOT NULL, amount bigint NOT NULL,
    ledger int NOT NULL, room uuid NOT NULL, item int NOT NULL,
    timestamp timestamptz NOT NULL DEFAULT now()
);
"""
LOCK = "SELECT id, credits - debits FROM accounts WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
INSERT = """
INSERT INTO transfers (id, debit, credit, amount, ledger, room, item)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING RETURNING id
"""
DEBIT = "UPDATE accounts SET debits = debits + $2 WHERE id = $1"
CREDIT = "UPDATE accounts SET credits = credits + $2 WHERE id = $1"


@asynccontextmanager
async def stand(url: str, people: House, *, connections: int) -> AsyncIterator[Stand]:
    """Its tables in the database of this URL, which is empty, and the pool that gifts go through."""
    async with asyncpg.create_pool(url, min_size=connections, max_size=connections) as pool:
        await _seat(pool, people)
        gifts = plain_gifts(people)

        async def measure(load: Load, seconds: float) -> Measured:
            async def send() -> None:
                assert await give(pool, next(gifts))

            with bench.steady():
                return await bench.drive(send, in_flight=load.in_flight, seconds=seconds)

        async def books(given: int) -> str:
            return await _balanced(pool, given)

        yield Stand(measure, books)


async def give(pool: "asyncpg.Pool", gift: Gift) -> bool:
    """One gift in one transaction: True when it is there now, False where the coins are missing."""
    coin, diamond = (_row(row) for row in gift)
    async with pool.acquire() as connection, connection.transaction():
        held = dict(await connection.fetch(LOCK, [coin[1], diamond[2]]))
        if held[coin[1]] + COINS_EACH < coin[3]:
            return False
        if await connection.fetchval(INSERT, *coin) is None:
            return True
        await connection.fetchval(INSERT, *diamond)
        for row in (coin, diamond):
            await connection.execute(DEBIT, row[1], row[3])
            await connection.execute(CREDIT, row[2], row[3])
    return True


def _row(row: tuple[bytes, bytes, bytes, int, int, bytes, int]) -> tuple[object, ...]:
    id, debit, credit, amount, ledger, room, item = row
    uuids = (uuid.UUID(bytes=each) for each in (id, debit, credit))
    return (*uuids, amount, ledger, uuid.UUID(bytes=room), item)


async def _seat(pool: "asyncpg.Pool", people: House) -> None:
    accounts = (*people.wallets, *people.earnings, people.redeemed, people.issued)
    async with pool.acquire() as connection:
        await connection.execute(SCHEMA)
        rows = [(uuid.UUID(bytes=account_id),) for account_id in accounts]
        await connection.copy_records_to_table("accounts", records=rows, columns=["id"])
        await connection.execute("ANALYZE accounts")


async def _balanced(pool: "asyncpg.Pool", given: int) -> str:
    """Whether the gifts are there, and the accounts add up to what the transfers say."""
    query = "SELECT count(*), coalesce(sum(amount), 0) FROM transfers"
    transfers, moved = await pool.fetchrow(query)
    debits, credits = await pool.fetchrow("SELECT sum(debits), sum(credits) FROM accounts")
    return HOLD if transfers == 2 * given and moved == debits == credits else "do NOT hold"
