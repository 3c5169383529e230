"""
`largesse bench`: how many gifts a second this machine and this disk carry, with the full rules.

It measures the ledger that `app.py` wires with default settings, in a folder of its own that is
removed afterwards. What it measures is written in `docs/operating/speed.md`.
"""

import asyncio
import contextlib
import gc
import itertools
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from largesse import clock, ids, reconcile
from largesse.app import App, close_app, open_app
from largesse.books import chart, postings
from largesse.books.chart import Environment
from largesse.books.checks import Check
from largesse.cli import EXIT_DONE, EXIT_FOUND
from largesse.cli.serving import COLLECT_AFTER, SWITCH_SECONDS
from largesse.ledger import Ledger
from largesse.ledger.model import Account, AccountOutcome, Chain, Outcome
from largesse.settings import Settings

VIEWERS = 10_000
IN_FLIGHT = (64, 1_024)
CHAINS_PER_CALL = 1_024
ACCOUNTS_PER_CALL = 1_000
CALLS_IN_FLIGHT = 2
"""One call being written while the next one is made."""
COINS_EACH = 10**12
CAMPAIGN = "bench"
"""The viewers' coins come from a funded campaign: the books stay whole without any payment."""
ITEM_NUMBER, COINS, SHARE_BPS, PRICE_LIST_VERSION = 1, 1, 5_000, 1

_randomness = random.Random()  # noqa: S311 - Its keys must be unique, not secret.
_clock = time.perf_counter


class Audience(msgspec.Struct, frozen=True):
    """
    Who gifts in a measurement: viewers with coins, and the creators who get them in turn.

    `creators` are pairs of a creator's id and the id of the room.
    """

    environment: Environment
    viewer_ids: tuple[str, ...]
    creators: tuple[tuple[str, str], ...]


class Measured(msgspec.Struct, frozen=True):
    """Gifts that were answered in so many seconds; `p50` and `p99` are seconds of one call."""

    gifts: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Gifts per second."""
        return self.gifts / self.seconds


def bench(
    folder: Annotated[
        Path | None, Parameter(help="Folder on the disk to try; empty means the temporary one.")
    ] = None,
    *,
    seconds: Annotated[float, Parameter(help="Seconds that each row is measured.")] = 3.0,
) -> int:
    """
    Measure gifts a second on this machine and this disk, then check the books.

    A gift is a chain of two transfers with a fresh id, durable before it is answered: 10,000
    viewers, one creator. A few hundred megabytes are written to the folder and removed again.
    """
    import uvloop
    from rich.console import Console

    with (
        tempfile.TemporaryDirectory(prefix="largesse-bench-", dir=folder) as place,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        table, failures = runner.run(_bench(Path(place) / "data", seconds))
    console = Console()
    console.print(table)
    if failures:
        console.print(f"The books do NOT hold: {'; '.join(failures)}")
        return EXIT_FOUND
    console.print("The books hold.")
    return EXIT_DONE


async def _bench(data: Path, seconds: float) -> "tuple[object, list[str]]":
    from rich.table import Table

    settle()

    table = Table(title=f"Gifts a second (SQLite {sqlite3.sqlite_version})", title_justify="left")
    table.add_column("chains in flight")
    for name in ("gifts/s", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right")
    async with opened(data) as app:
        audience = await seat(app.ledger, viewers=VIEWERS, environment=app.environment)
        for in_flight in IN_FLIGHT:
            with steady():
                found = await gifts_one_by_one(
                    app.ledger, audience, in_flight=in_flight, seconds=seconds
                )
            table.add_row(
                f"{in_flight:,}",
                f"{found.rate:,.0f}",
                f"{found.p50 * 1000:.1f}",
                f"{found.p99 * 1000:.1f}",
            )
        return table, await failures_in_books(app)


def settle() -> None:
    """This process as `largesse serve` has it: its thresholds of the collector, its turns of threads."""
    gc.set_threshold(*COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_SECONDS)


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """What lives by now is kept from the collector, as `largesse serve` does after its start."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.asynccontextmanager
async def opened(data: Path, *, database_url: str = "", ledger_url: str = "") -> AsyncIterator[App]:
    """The app on a test folder, made where there is none; where no URL is given by default settings."""
    settings = Settings(data=str(data), database_url=database_url, ledger_url=ledger_url)
    app = await open_app(settings, create=Environment.TEST)
    try:
        yield app
    finally:
        await close_app(app)


async def seat(
    ledger: Ledger, *, viewers: int, creators: int = 1, environment: Environment
) -> Audience:
    """
    Create the accounts and give every viewer coins from a campaign that was funded for it.

    What is there already stays as it is, so any number of processes may do it.
    """
    audience = Audience(
        environment,
        tuple(ids.text(ids.derive("bench viewer", n)) for n in range(viewers)),
        tuple(
            (ids.text(ids.derive("bench creator", n)), ids.text(ids.derive("bench room", n)))
            for n in range(creators)
        ),
    )
    await fund(ledger, environment=environment, viewer_ids=audience.viewer_ids)
    accounts: list[Account] = []
    for creator_id, _ in audience.creators:
        accounts += chart.creator_accounts(environment, creator_id)
    await _create(ledger, accounts)
    return audience


async def fund(ledger: Ledger, *, environment: Environment, viewer_ids: Sequence[str]) -> None:
    """Give each viewer `COINS_EACH`, once: what is there already stays as it is."""
    accounts = [chart.campaign_account(environment, CAMPAIGN)]
    for viewer_id in viewer_ids:
        accounts += chart.viewer_accounts(environment, viewer_id)
    await _create(ledger, accounts)
    funding = postings.fund_campaign(
        ids.derive("bench funding", CAMPAIGN),
        environment=environment,
        campaign_id=CAMPAIGN,
        coins=COINS_EACH * len(viewer_ids),
    )
    bonuses = [
        postings.bonus(
            ids.derive("bench bonus", viewer_id),
            environment=environment,
            viewer_id=viewer_id,
            campaign_id=CAMPAIGN,
            coins=COINS_EACH,
        )
        for viewer_id in viewer_ids
    ]
    for n in range(0, len(bonuses) + 1, CHAINS_PER_CALL):
        results = await ledger.create_transfers([funding, *bonuses][n : n + CHAINS_PER_CALL])
        assert all(r.outcome in (Outcome.CREATED, Outcome.EXISTS) for r in results)


async def gifts_one_by_one(
    ledger: Ledger, audience: Audience, *, in_flight: int, seconds: float
) -> Measured:
    """Every gift is a call of its own, `in_flight` of them at any time; ids and chains included."""
    pairs, keys = _pairs(audience), fresh_keys()

    async def send() -> None:
        viewer_id, creator = next(pairs)
        wallet = chart.wallet(audience.environment, viewer_id)
        chain = _gift(audience, viewer_id, creator, next(keys))
        [result] = await ledger.create_transfers((chain,), (wallet,))
        assert result.outcome is Outcome.CREATED, result.outcome

    return await drive(send, in_flight=in_flight, seconds=seconds)


async def gifts_by_the_call(
    ledger: Ledger, audience: Audience, *, chains_per_call: int, seconds: float
) -> Measured:
    """Every call carries many gifts, and the next call is made while one is written."""
    pairs, keys = _pairs(audience), fresh_keys()

    async def send() -> None:
        chains = [
            _gift(audience, viewer_id, creator, next(keys))
            for viewer_id, creator in itertools.islice(pairs, chains_per_call)
        ]
        for result in await ledger.create_transfers(chains):
            assert result.outcome is Outcome.CREATED, result.outcome

    return await drive(
        send, in_flight=CALLS_IN_FLIGHT, seconds=seconds, gifts_per_call=chains_per_call
    )


async def drive(
    send: Callable[[], Awaitable[None]],
    *,
    in_flight: int,
    seconds: float,
    gifts_per_call: int = 1,
) -> Measured:
    """Keep `in_flight` calls on their way for so long; the time ends with the last answer."""
    took: list[float] = []
    begun = _clock()
    end = begun + seconds

    async def one_after_another() -> None:
        while (sent := _clock()) < end:
            await send()
            took.append(_clock() - sent)

    await asyncio.gather(*(one_after_another() for _ in range(in_flight)))
    elapsed = _clock() - begun
    took.sort()
    return Measured(
        len(took) * gifts_per_call, elapsed, took[len(took) // 2], took[len(took) * 99 // 100]
    )


async def failures_in_books(app: App) -> list[str]:
    """Everything that `largesse check --deep` would find wrong in this folder, in words."""
    rows = [
        row async for row in reconcile.check_file(app.ledger.verify()) if isinstance(row, Check)
    ]
    async for row in reconcile.check(
        app.db, app.ledger, environment=app.environment, now=clock.SystemClock().now()
    ):
        if isinstance(row, Check):
            rows.append(row)
    return [f"{row.name}: {row.detail}" for row in rows if not row.holds]


def fresh_keys() -> Iterator[str]:
    """
    UUIDv7 texts as a client makes them: 48 bits of time, then random bits with a counter in them.

    (RFC 9562 6.2, method 2: what follows the time counts up from a random start.)
    """
    random_bits = _randomness.getrandbits(74)
    head = f"-7{random_bits & 0xFFF:03x}-8{random_bits >> 12 & 0xFFF:03x}-"
    last, prefix = 0, ""
    for number in itertools.count(random_bits >> 32):
        now = time.time_ns() // 1_000_000
        if now != last:
            last, text = now, f"{now:012x}"
            prefix = f"{text[:8]}-{text[8:]}{head}"
        yield f"{prefix}{number & 0xFFFF_FFFF_FFFF:012x}"


def _pairs(audience: Audience) -> Iterator[tuple[str, tuple[str, str]]]:
    """Viewers in turn, and for each the next creator with the room."""
    return zip(
        itertools.cycle(audience.viewer_ids), itertools.cycle(audience.creators), strict=False
    )


def _gift(audience: Audience, viewer_id: str, creator: tuple[str, str], key: str) -> Chain:
    creator_id, room_id = creator
    return postings.gift(
        ids.from_key(viewer_id, key),
        environment=audience.environment,
        viewer_id=viewer_id,
        creator_id=creator_id,
        room_id=room_id,
        item_number=ITEM_NUMBER,
        quantity=1,
        price_list_version=PRICE_LIST_VERSION,
        coins=COINS,
        share_bps=SHARE_BPS,
    )


async def _create(ledger: Ledger, accounts: Sequence[Account]) -> None:
    for n in range(0, len(accounts), ACCOUNTS_PER_CALL):
        outcomes = await ledger.create_accounts(accounts[n : n + ACCOUNTS_PER_CALL])
        assert {*outcomes} <= {AccountOutcome.CREATED, AccountOutcome.EXISTS}, outcomes
