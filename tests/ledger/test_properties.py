"""
Random histories: an engine against the oracle, then against the books.

Ids, accounts and amounts are few and small, so that they collide; that is what makes a random
history interesting.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from largesse import ids
from largesse.clock import ManualClock
from largesse.ledger import (
    AccountFilter,
    Ledger,
    Problem,
    batching,
    postgres,
    postgres_head,
    postgres_rows,
    recent,
    sqlite,
    sqlite_accounts,
    sqlite_file,
)
from largesse.ledger.model import (
    AMOUNT_MAX,
    Account,
    AccountFlags,
    Balance,
    Chain,
    Change,
    Outcome,
    Posted,
    Result,
    Transfer,
    TransferFlags,
)
from tests.ledger.conftest import open_engine
from tests.ledger.gifts import changes_of_file, killed
from tests.ledger.oracle import Oracle
from tests.ledger_script import id_of, let_expire

LIMIT_DEBITS = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
LIMIT_CREDITS = AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS
PENDING = TransferFlags.PENDING
POST = TransferFlags.POST_PENDING_TRANSFER
VOID = TransferFlags.VOID_PENDING_TRANSFER
BALANCING_DEBIT = TransferFlags.BALANCING_DEBIT
BALANCING_CREDIT = TransferFlags.BALANCING_CREDIT
CLOSING_DEBIT = TransferFlags.CLOSING_DEBIT
CLOSING_CREDIT = TransferFlags.CLOSING_CREDIT

BANK, WALLET, EARNINGS, DEBT, BONDS, NOBODY = (
    id_of(name) for name in ("bank", "wallet", "earnings", "debt", "bonds", "nobody")
)
ACCOUNTS = [
    Account(id=BANK, ledger=1, code=1),
    Account(id=WALLET, ledger=1, code=2, flags=LIMIT_DEBITS),
    Account(id=EARNINGS, ledger=1, code=3, flags=LIMIT_DEBITS),
    Account(id=DEBT, ledger=1, code=4, flags=LIMIT_CREDITS),
    Account(id=BONDS, ledger=2, code=1),
]
ACCOUNT_IDS = [account.id for account in ACCOUNTS] + [NOBODY]
# Some ids are hashed, others carry a time: long past, of now, soon to come, far ahead. An engine may
# use that to know without looking that an id is new, and must not be wrong about it.
_OFFSETS = (None, -86_400_000, -1, 0, 1, 1_500, 86_400_000)


def _id_of(number: int) -> bytes:
    offset = _OFFSETS[number % len(_OFFSETS)]
    hashed = id_of(f"T{number}")
    return hashed if offset is None else ids.ordered(1_800_000_000_000 + offset, hashed[1:10])


TRANSFER_IDS = [_id_of(number) for number in range(100)]
MEMORY_FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None
TRANSFERS_MAX = len(TRANSFER_IDS)

# Never a whole number of seconds, however often added: expiry by the very nanosecond depends on how
# many events came before, and that is the engine's own business.
PAUSES = (0, 0, 0, 310_001_000, 1_310_001_000, 2_310_001_000)

# Who trades with whom: mostly what can come out well, so that histories move something.
_TRADES = (
    [(BANK, WALLET)] * 6
    + [(WALLET, EARNINGS)] * 5
    + [(EARNINGS, BANK), (WALLET, BANK), (BANK, EARNINGS), (BANK, EARNINGS)]
    + [(DEBT, BANK), (DEBT, WALLET), (WALLET, DEBT), (BANK, DEBT)]
)
_BAD_VALUES = [
    ("id", ids.ZERO),
    ("id", ids.MAXIMUM),
    ("debit_account_id", NOBODY),
    ("debit_account_id", ids.ZERO),
    ("debit_account_id", BONDS),
    ("credit_account_id", NOBODY),
    ("credit_account_id", ids.MAXIMUM),
    ("credit_account_id", BANK),
    ("amount", AMOUNT_MAX),
    ("amount", AMOUNT_MAX - 9),
    ("ledger", 0),
    ("ledger", 2),
    ("code", 0),
    ("flags", 1),
    ("flags", int(CLOSING_DEBIT)),
    ("flags", int(POST | PENDING)),
    ("pending_id", TRANSFER_IDS[0]),
    ("timeout", 1),
    ("user_data_128", BANK),
    ("user_data_64", 1),
    ("user_data_32", 1),
]
_bad_values = st.sampled_from(_BAD_VALUES)
_trades = st.sampled_from(_TRADES)
_amounts = st.sampled_from([*range(12), 20, 30, 50])
_move_flags = st.sampled_from([0] * 6 + [BALANCING_DEBIT, BALANCING_CREDIT, BALANCING_DEBIT | 32])
_hold_flags = st.sampled_from([0] * 6 + [BALANCING_DEBIT, CLOSING_DEBIT, CLOSING_CREDIT])
_resolve_flags = st.sampled_from([POST, POST, VOID])
_posts = st.sampled_from([AMOUNT_MAX, AMOUNT_MAX, 0, 3, 9, 40])
_timeouts = st.sampled_from([0, 1, 1, 2])
_ways = st.sampled_from(
    ["move"] * 5 + ["hold"] * 4 + ["resolve"] * 4 + ["repeat", "altered", "altered", "bad"]
)
_lengths = st.sampled_from([1, 1, 1, 2, 2, 3])
_dice = st.integers(0, 19)


class Step(msgspec.Struct, frozen=True):
    """Time passes, then calls arrive at once, each with its chains."""

    pause: int
    calls: list[list[Chain]]


def _draw_transfer(draw: st.DrawFn, asked: list[Transfer]) -> Transfer:
    """A new transfer that could succeed, or one that meets an earlier one."""
    way = draw(_ways)
    id = TRANSFER_IDS[len(asked) % TRANSFERS_MAX]
    if asked and draw(_dice) == 1:
        id = draw(st.sampled_from(asked)).id
    if way in ("repeat", "altered") and asked:
        earlier = draw(st.sampled_from(asked))
        if way == "repeat":
            return earlier
        name, value = draw(_bad_values)
        return msgspec.structs.replace(earlier, **{name: value})
    holds = [transfer for transfer in asked if transfer.flags & PENDING]
    if way == "resolve" and holds:
        flags = int(draw(_resolve_flags))
        amount = draw(_posts) if flags == POST or draw(_dice) < 4 else 0
        pending = draw(st.sampled_from(holds if draw(_dice) else asked))
        asking = Transfer(id, ids.ZERO, ids.ZERO, amount, 0, 0, flags, pending.id)
    else:
        debit, credit = draw(_trades)
        flags = int(PENDING | draw(_hold_flags) if way == "hold" else draw(_move_flags))
        timeout = draw(_timeouts) if way == "hold" else 0
        amount = draw(_amounts)
        asking = Transfer(id, debit, credit, amount, 1, 1, flags, timeout=timeout)
    if way == "bad" or draw(_dice) == 1:
        name, value = draw(_bad_values)
        asking = msgspec.structs.replace(asking, **{name: value})
    return asking


@st.composite
def _histories(draw: st.DrawFn) -> list[Step]:
    """Chains that meet: begun with something in the wallet, so that not everything is refused."""
    asked: list[Transfer] = [Transfer(TRANSFER_IDS[0], BANK, WALLET, draw(_amounts), 1, 1)]
    chains: list[Chain] = [(asked[0],)]
    steps = [Step(0, [[chains[0]]])]
    for _ in range(draw(st.integers(1, 7))):
        calls = []
        for _ in range(draw(st.integers(1, 3))):
            call = []
            for _ in range(draw(st.integers(1, 3))):
                is_old = draw(_dice) < 3
                chain = draw(st.sampled_from(chains)) if is_old else _draw_chain(draw, asked)
                chains.append(chain)
                call.append(chain)
            calls.append(call)
        steps.append(Step(draw(st.sampled_from(PAUSES)), calls))
    return steps


def _draw_chain(draw: st.DrawFn, asked: list[Transfer]) -> Chain:
    """A chain whose transfers may resemble any that was asked for before."""
    chain: Chain = ()
    for _ in range(draw(_lengths)):
        chain += (_draw_transfer(draw, asked),)
        asked.append(chain[-1])
    return chain


async def _play(
    ledger: Ledger, clock: ManualClock, steps: Sequence[Step], together: bool
) -> list[Result]:
    """Play a history; `together` sends the calls of a step at once, so that they share commits."""
    results: list[Result] = []
    for step in steps:
        clock.advance(step.pause)
        calls = [ledger.create_transfers(chains, ACCOUNT_IDS) for chains in step.calls]
        if together:
            answers = await asyncio.gather(*calls)
        else:
            answers = [await call for call in calls]
        results += [result for answer in answers for result in answer]
    await let_expire(ledger)
    return results


async def _everything(ledger: Ledger) -> list[object]:
    """All that the ledger says about itself, with instants replaced by their rank."""
    accounts = await ledger.lookup_accounts(ACCOUNT_IDS)
    transfers = await ledger.lookup_transfers(TRANSFER_IDS)
    refused = await ledger.lookup_refused(TRANSFER_IDS)
    changes = await ledger.changes(0)
    histories = [
        await ledger.account_transfers(id, AccountFilter(limit=1_000)) for id in ACCOUNT_IDS
    ]
    _check_rising(changes)
    instants = sorted(
        {posted.timestamp for posted in transfers if posted}
        | {account.timestamp for account in accounts if account}
        | {change.timestamp for change in changes}
    )
    rank = {instant: number for number, instant in enumerate(instants)}

    def ranked(posted: Posted | None) -> Posted | None:
        if posted is None:
            return None
        return msgspec.structs.replace(posted, timestamp=rank[posted.timestamp])

    return [
        [account and (_plain(account), rank[account.timestamp]) for account in accounts],
        [ranked(posted) for posted in transfers],
        [row and msgspec.structs.replace(row, timestamp=0) for row in refused],
        [
            (
                rank[change.timestamp],
                change.kind,
                [ranked(posted) for posted in change.chain],
                change.account and _plain(change.account),
            )
            for change in changes
        ],
        [[ranked(posted) for posted in history] for history in histories],
    ]


def _plain(account: Account) -> Account:
    return msgspec.structs.replace(account, timestamp=0, flags=int(account.flags))


def _check_rising(changes: Sequence[Change]) -> None:
    instants = []
    for change in changes:
        inside = [posted.timestamp for posted in change.chain]
        if change.kind == "chain":
            assert change.timestamp == inside[-1]
            instants += inside
        else:
            instants.append(change.timestamp)
    assert instants == sorted(set(instants))


async def _check_books(ledger: Ledger) -> None:
    """Whatever happened: every debit has its credit, every limit holds, the file is sound."""
    accounts = [account for account in await ledger.lookup_accounts(ACCOUNT_IDS) if account]
    assert sum(a.debits_posted for a in accounts) == sum(a.credits_posted for a in accounts)
    assert sum(a.debits_pending for a in accounts) == sum(a.credits_pending for a in accounts)
    for account in accounts:
        debits = account.debits_posted + account.debits_pending
        credits = account.credits_posted + account.credits_pending
        assert 0 <= debits <= AMOUNT_MAX
        assert 0 <= credits <= AMOUNT_MAX
        assert not account.flags & LIMIT_DEBITS or debits <= account.credits_posted
        assert not account.flags & LIMIT_CREDITS or credits <= account.debits_posted
    assert [problem async for problem in ledger.verify() if isinstance(problem, Problem)] == []
    if isinstance(ledger, sqlite.SqliteLedger):
        everything = changes_of_file(ledger)
        for after in (0, *(change.timestamp for change in everything)):
            newer = [change for change in everything if change.timestamp > after]
            assert await ledger.changes(after) == newer
            assert await ledger.changes(after, 2) == newer[:2]


async def _check_replay(
    ledger: Ledger, clock: ManualClock, steps: Sequence[Step], before: Sequence[Result]
) -> list[Result]:
    """Ask for everything once more: what was created exists, what was refused stays refused."""
    transfers = await ledger.lookup_transfers(TRANSFER_IDS)
    refused = await ledger.lookup_refused(TRANSFER_IDS)
    after = await _play(ledger, clock, steps, together=False)
    for first, second in zip(before, after, strict=True):
        if first.outcome is Outcome.CREATED:
            assert second.outcome is Outcome.EXISTS
    still = await ledger.lookup_transfers(TRANSFER_IDS)
    for was, gone, now in zip(transfers, refused, still, strict=True):
        assert was is None or was == now
        assert gone is None or now is None
    assert [row for row in refused if row] == [
        row
        for row, was in zip(await ledger.lookup_refused(TRANSFER_IDS), refused, strict=True)
        if was
    ]
    return after


def _said(results: Sequence[Result]) -> list[tuple[Outcome, tuple[Balance | None, ...]]]:
    return [(result.outcome, result.balances) for result in results]


async def _compare(
    engine: str, steps: Sequence[Step], together: bool, cut: int, folder: Path, *, dies: bool
) -> None:
    """
    Play a history on the engine, opened again after `cut` steps, and on the oracle.

    Before it is opened again it was closed, or (where it is a file) it `dies` in its work.
    """
    # Two processes that are asked at the same time answer in whatever order they like.
    together = together and engine != "postgres in turns"
    path = folder / "ledger.sqlite"
    clock, oracle_clock = ManualClock(), ManualClock()
    oracle = Oracle(oracle_clock)
    ledger = await open_engine(engine, path, clock)

    async def open_again() -> None:
        nonlocal ledger, path
        if engine != "memory":
            if dies and engine == "sqlite":
                path = killed(path, f"{path.stem}-again.sqlite")
            await ledger.close()
            ledger = await open_engine(engine, path, clock)

    try:
        assert await ledger.create_accounts(ACCOUNTS) == await oracle.create_accounts(ACCOUNTS)
        results = await _play(ledger, clock, steps[:cut], together)
        await open_again()
        results += await _play(ledger, clock, steps[cut:], together)
        expected = await _play(oracle, oracle_clock, steps[:cut], together=False)
        expected += await _play(oracle, oracle_clock, steps[cut:], together=False)
        assert _said(results) == _said(expected)
        assert await _everything(ledger) == await _everything(oracle)
        await _check_books(ledger)
        await open_again()
        replayed = await _check_replay(ledger, clock, steps, results)
        assert _said(replayed) == _said(
            await _check_replay(oracle, oracle_clock, steps, expected),
        )
        assert await _everything(ledger) == await _everything(oracle)
        await _check_books(ledger)
    finally:
        await ledger.close()


TINY = {
    (recent, "RECENT_IDS_MAX"): 3,
    (sqlite, "ACCOUNTS_CACHED_MAX"): 1,
    (sqlite, "ACCOUNTS_BEHIND_MAX"): 3,
    (sqlite_accounts, "SLICES"): 3,
    (batching, "BATCH_CHAINS_MAX"): 2,
    (sqlite, "EXPIRIES_BATCH_MAX"): 1,
    (recent, "CHANGES_KEPT_MAX"): 3,
    (sqlite_file, "AHEAD_MAX"): 2,
    (postgres, "ACCOUNTS_CACHED_MAX"): 1,
    (postgres, "EXPIRIES_BATCH_MAX"): 1,
    (postgres_head, "AHEAD_MAX"): 2,
    (postgres_head, "CATCH_UP_BATCHES_MAX"): 2,
    (postgres_rows, "COPY_MIN"): 2,
    (postgres_rows, "BATCHES_AT_ONCE"): 1,
}
"""Limits so small that the engine forgets and looks up again all the time."""


def _run(engine: str, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(_histories(), st.booleans(), st.integers(0, 7), st.booleans())
    def run(steps: list[Step], together: bool, cut: int, dies: bool) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder:
            asyncio.run(_compare(engine, steps, together, cut, Path(folder), dies=dies))

    run()


EXAMPLES = pytest.mark.parametrize(
    ("engine", "examples"),
    [("memory", 100), ("sqlite", 100), ("postgres", 20), ("postgres in turns", 15)],
)


@EXAMPLES
def test_random_histories_come_out_as_the_oracle_says(engine: str, examples: int) -> None:
    _run(engine, examples)


@EXAMPLES
def test_random_histories_with_an_engine_that_remembers_almost_nothing(
    monkeypatch: pytest.MonkeyPatch, engine: str, examples: int
) -> None:
    for (module, name), limit in TINY.items():
        monkeypatch.setattr(module, name, limit)
    _run(engine, examples)
