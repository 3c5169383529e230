"""
The systems that stand side by side in one run: ours on each engine, and what they are held against.

Each is opened afresh for every round, with empty stores (a TigerBeetle cluster excepted, which is the
operator's), its audience is seated outside the measured time, and its accounts are held against the answers afterwards.
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bench import naive, other
from bench.loads import HOLD, Load, Stand, System, gift_to, house, plain_gifts, plain_gifts_to
from bench.prototype import Prototype, balanced
from largesse.app import App
from largesse.cli import bench
from largesse.cli.bench import Measured
from largesse.ledger import Ledger
from tests import postgres

TIGERBEETLE = "LARGESSE_TEST_TIGERBEETLE"
TIGERBEETLE_MISSING = (
    f"TigerBeetle: not measured, {TIGERBEETLE} names no address of a cluster "
    "(docs/operating/tigerbeetle.md says how to start one)."
)
PROCESSES = 2
NAIVE = tuple(f"naive: one transaction a gift, {n} connection{'s'[: n > 1]}" for n in (1, 8, 32))
NAIVE_CONNECTIONS = (1, 8, 32)
PROTOTYPE_GIFTS_MAX = 1_024


def all_of_them(server: postgres.Server) -> list[System]:
    """Every system that can be measured here, in the order of the table."""
    systems = [
        System("Largesse on SQLite", _sqlite),
        System("Largesse on PostgreSQL", _on_postgres(server)),
        System(f"Largesse on PostgreSQL, {PROCESSES} processes", _processes(server)),
    ]
    if url := tigerbeetle_url():
        systems.append(System("Largesse on TigerBeetle", _on_tigerbeetle(url)))
        systems.append(System("TigerBeetle: packed buffers, same client", _packed(url)))
    systems.append(System("bare SQLite prototype, no rules", _prototype))
    for name, connections in zip(NAIVE, NAIVE_CONNECTIONS, strict=True):
        loads = (Load(connections),)
        systems.append(System(name, _naive(server, connections), loads))
    return systems


def tigerbeetle_url() -> str:
    """Where the cluster is that may be used; empty where there is none."""
    address = os.environ.get(TIGERBEETLE, "")
    return address if "://" in address or not address else f"tigerbeetle://{address}"


@asynccontextmanager
async def ours(
    data: Path, creators: int, *, database_url: str = "", ledger_url: str = ""
) -> AsyncIterator[Stand]:
    """Largesse, opened by its settings."""
    async with bench.opened(data, database_url=database_url, ledger_url=ledger_url) as app:
        audience = await bench.seat(
            app.ledger, viewers=bench.VIEWERS, creators=creators, environment=app.environment
        )

        before = await _totals(app.ledger, creators)

        async def measure(load: Load, seconds: float) -> Measured:
            return await gift_to(app.ledger, audience, load, seconds)

        async def books(given: int) -> str:
            return _compared(before, await _totals(app.ledger, creators), given)

        yield Stand(measure, books)


async def _totals(ledger: Ledger, creators: int) -> tuple[int, ...]:
    """Coins spent and redeemed, diamonds issued and earned, as the accounts have them."""
    people = house(creators)

    async def total(account_ids: Sequence[bytes], side: str) -> int:
        found = 0
        for n in range(0, len(account_ids), bench.ACCOUNTS_PER_CALL):
            page = account_ids[n : n + bench.ACCOUNTS_PER_CALL]
            for account in await ledger.lookup_accounts(page):
                assert account is not None
                found += getattr(account, side)
        return found

    return (
        await total(people.wallets, "debits_posted"),
        await total([people.redeemed], "credits_posted"),
        await total([people.issued], "debits_posted"),
        await total(people.earnings, "credits_posted"),
    )


def _compared(before: tuple[int, ...], after: tuple[int, ...], given: int) -> str:
    """Every answered gift has moved its coins and its diamonds, once."""
    moved = tuple(end - begin for begin, end in zip(before, after, strict=True))
    coins = bench.COINS * given
    expected = (coins, coins, coins * bench.SHARE_BPS, coins * bench.SHARE_BPS)
    return HOLD if moved == expected else f"do NOT hold: {moved} moved instead of {expected}"


async def said_of(app: App) -> str:
    """`HOLD`, or everything that does not."""
    return "; ".join(await bench.failures_in_books(app)) or HOLD


def _sqlite(place: Path, creators: int) -> AbstractAsyncContextManager[Stand]:
    return ours(place / "sqlite", creators)


def _on_postgres(
    server: postgres.Server,
) -> Callable[[Path, int], AbstractAsyncContextManager[Stand]]:
    @asynccontextmanager
    async def stand(place: Path, creators: int) -> AsyncIterator[Stand]:
        async with (
            database(server) as url,
            ours(place / "postgres", creators, database_url=url, ledger_url=url) as opened,
        ):
            yield opened

    return stand


def _processes(
    server: postgres.Server,
) -> Callable[[Path, int], AbstractAsyncContextManager[Stand]]:
    @asynccontextmanager
    async def stand(place: Path, creators: int) -> AsyncIterator[Stand]:
        data = place / "processes"
        async with database(server) as url:
            async with ours(data, creators, database_url=url, ledger_url=url):
                pass  # Made and seated; the processes find everything there.
            nothing = (0, 0, 0, 0)
            environ = {"LARGESSE_DATA": str(data)}
            environ |= {"LARGESSE_DATABASE_URL": url, "LARGESSE_LEDGER_URL": url}
            async with other.others(environ, creators=creators, count=PROCESSES) as running:

                async def measure(load: Load, seconds: float) -> Measured:
                    return await other.together(running, load, seconds)

                async def books(given: int) -> str:
                    async with bench.opened(data, database_url=url, ledger_url=url) as app:
                        return _compared(nothing, await _totals(app.ledger, creators), given)

                yield Stand(measure, books)

    return stand


def _on_tigerbeetle(url: str) -> Callable[[Path, int], AbstractAsyncContextManager[Stand]]:
    def stand(place: Path, creators: int) -> AbstractAsyncContextManager[Stand]:
        # One folder for all rounds: a new one would read everything that the cluster has by then.
        return ours(place.parent / "tigerbeetle", creators, ledger_url=url)

    return stand


def _packed(url: str) -> Callable[[Path, int], AbstractAsyncContextManager[Stand]]:
    from bench import packed

    parts = urlsplit(url)
    [cluster] = parse_qs(parts.query).get("cluster", ["0"])
    return lambda _, creators: packed.stand(int(cluster), parts.netloc, house(creators))


@asynccontextmanager
async def _prototype(place: Path, creators: int) -> AsyncIterator[Stand]:
    path = place / "prototype.sqlite"
    prototype = Prototype(path, batch_max=PROTOTYPE_GIFTS_MAX)
    gifts = plain_gifts(house(creators))

    async def measure(load: Load, seconds: float) -> Measured:
        return await plain_gifts_to(prototype.create, gifts, load, seconds)

    async def books(given: int) -> str:
        return HOLD if balanced(path, given) else "do NOT hold"

    try:
        yield Stand(measure, books)
    finally:
        await prototype.close()


def _naive(
    server: postgres.Server, connections: int
) -> Callable[[Path, int], AbstractAsyncContextManager[Stand]]:
    @asynccontextmanager
    async def stand(_: Path, creators: int) -> AsyncIterator[Stand]:
        async with (
            database(server) as url,
            naive.stand(url, house(creators), connections=connections) as opened,
        ):
            yield opened

    return stand


@asynccontextmanager
async def database(server: postgres.Server) -> AsyncIterator[str]:
    """A fresh, empty database on this server, dropped afterwards."""
    name = postgres.create_database(server)
    try:
        yield server.url(name)
    finally:
        postgres.drop_database(server, name)
