"""What the `Ledger` protocol promises beside the rules, on every engine of ours."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from largesse import ids
from largesse.clock import SECOND, ManualClock
from largesse.ledger import (
    CHAIN_TRANSFERS_MAX,
    CHAINS_WAITING_MAX,
    PAGE_MAX,
    AccountFilter,
    Ledger,
    LedgerUnavailable,
)
from largesse.ledger.model import (
    AMOUNT_MAX,
    Account,
    AccountFlags,
    AccountOutcome,
    Balance,
    Change,
    Outcome,
    Posted,
    Transfer,
    TransferFlags,
)
from tests.ledger.conftest import ENGINES, open_engine
from tests.ledger.gifts import (
    ACCOUNTS,
    BANK,
    EARNINGS,
    NOBODY,
    PENDING,
    WALLET,
    gift,
    number,
    outcomes,
    play_eventful,
    problems,
    recharge,
    totals,
)
from tests.ledger_script import check, id_of, let_expire


class WrongClock:
    """A machine's clock that somebody sets as they please."""

    def __init__(self, instant: int) -> None:
        self.instant = instant

    def now(self) -> int:
        return self.instant


@pytest.fixture
async def world(ledger: Ledger) -> Ledger:
    assert await ledger.create_accounts(ACCOUNTS) == [AccountOutcome.CREATED] * 3
    return ledger


# Looking things up.


async def test_accounts_are_found_in_the_order_asked(world: Ledger) -> None:
    found = await world.lookup_accounts([EARNINGS, NOBODY, BANK, EARNINGS])
    assert [account and account.id for account in found] == [EARNINGS, None, BANK, EARNINGS]
    assert found[0] is not None
    assert found[0].timestamp > 0
    plain = msgspec.structs.replace(found[0], timestamp=0)
    assert plain == ACCOUNTS[2]
    assert await world.lookup_accounts([]) == []


async def test_transfers_are_found_in_the_order_asked(world: Ledger) -> None:
    asked = Transfer(
        number(1),
        BANK,
        WALLET,
        5,
        1,
        9,
        PENDING,
        ids.ZERO,
        b"r" * 16,
        2**63 - 1,
        2**32 - 1,
        2**32 - 1,
    )
    results = await world.create_transfers([(asked,), recharge(2, 7)])
    first, none, again = await world.lookup_transfers([number(2), number(3), number(1)])
    assert none is None
    assert first is not None
    assert first.transfer == recharge(2, 7)[0]
    assert first.timestamp == results[1].timestamp
    assert again is not None
    assert again.transfer == asked
    assert again.timestamp == results[0].timestamp


async def test_many_are_found_at_once(world: Ledger) -> None:
    """More than SQL takes as parameters of one statement."""
    assert set(await outcomes(world, [recharge(n, 1) for n in range(1_500)])) == {Outcome.CREATED}
    wanted = [number(n) for n in range(3_000)]
    found = await world.lookup_transfers(wanted)
    assert [posted is not None for posted in found] == [True] * 1_500 + [False] * 1_500
    assert [p.transfer.id for p in found if p] == wanted[:1_500]
    assert await world.lookup_accounts(wanted) == [None] * 3_000
    assert await world.lookup_refused(wanted) == [None] * 3_000


async def test_a_refusal_is_remembered_with_all_that_was_asked(world: Ledger) -> None:
    chain = (*recharge(1, 30), *gift(2, 50), *gift(3, 1))
    [result] = await world.create_transfers([chain])
    assert result.outcome is Outcome.EXCEEDS_CREDITS
    none, refused, other, unknown = await world.lookup_refused(
        [number(1), number(2), number(3), number(4)]
    )
    assert (none, other, unknown) == (None, None, None)
    assert refused is not None
    assert refused.transfer_id == number(2)
    assert refused.outcome is Outcome.EXCEEDS_CREDITS
    assert refused.available == 0
    assert refused.chain == chain
    assert await outcomes(world, [chain]) == [Outcome.ID_ALREADY_FAILED]
    assert await world.lookup_refused([number(2)]) == [refused]


async def test_what_was_looked_up_does_not_change_afterwards(world: Ledger) -> None:
    """A page that shows a balance shows the one of its moment."""
    await world.create_transfers([recharge(1, 10)])
    [before] = await world.lookup_accounts([WALLET])
    await world.create_transfers([recharge(2, 10)])
    assert before is not None
    assert before.credits_posted == 10
    assert all(account.credits_posted == 0 for account in ACCOUNTS)


# Answers.


async def test_a_chain_answers_with_the_balances_asked_for(world: Ledger) -> None:
    """Right after each chain, in the order asked, also where it was refused."""
    hold = (Transfer(number(3), WALLET, EARNINGS, 2, 1, 5, PENDING),)
    results = await world.create_transfers(
        [recharge(1, 10), gift(2, 4), hold, gift(4, 5), gift(2, 4)], [WALLET, NOBODY, EARNINGS]
    )
    assert [result.outcome for result in results] == [
        Outcome.CREATED,
        Outcome.CREATED,
        Outcome.CREATED,
        Outcome.EXCEEDS_CREDITS,
        Outcome.EXISTS,
    ]
    assert [result.balances for result in results] == [
        (Balance(0, 0, 0, 10), None, Balance(0, 0, 0, 0)),
        (Balance(0, 4, 0, 10), None, Balance(0, 0, 0, 4)),
        (Balance(2, 4, 0, 10), None, Balance(0, 0, 2, 4)),
        (Balance(2, 4, 0, 10), None, Balance(0, 0, 2, 4)),
        (Balance(2, 4, 0, 10), None, Balance(0, 0, 2, 4)),
    ]
    balance = results[2].balances[0]
    assert balance is not None
    assert (balance.credit, balance.available) == (6, 4)


async def test_nothing_asked_nothing_answered(world: Ledger) -> None:
    assert await world.create_transfers([]) == []
    assert await world.create_accounts([]) == []


async def test_a_created_chain_answers_with_its_time_and_a_retry_with_the_same(
    world: Ledger,
) -> None:
    chain = (*recharge(1, 5), *recharge(2, 5))
    [first] = await world.create_transfers([chain])
    [again] = await world.create_transfers([chain])
    posted = await world.lookup_transfers([number(1), number(2)])
    assert first.timestamp == again.timestamp == posted[0].timestamp  # type: ignore[union-attr]
    assert posted[1].timestamp > posted[0].timestamp  # type: ignore[union-attr]


async def test_accounts_in_one_call_are_each_on_their_own(ledger: Ledger) -> None:
    asked = [ACCOUNTS[0], ACCOUNTS[0], Account(id=WALLET, ledger=0, code=1), ACCOUNTS[1]]
    assert await ledger.create_accounts(asked) == [
        AccountOutcome.CREATED,
        AccountOutcome.EXISTS,
        AccountOutcome.LEDGER_MUST_NOT_BE_ZERO,
        AccountOutcome.CREATED,
    ]
    assert await ledger.create_accounts(asked[:1]) == [AccountOutcome.EXISTS]


async def test_the_longest_chain_is_created_whole(world: Ledger) -> None:
    longest = tuple(recharge(n, 1)[0] for n in range(CHAIN_TRANSFERS_MAX))
    assert await outcomes(world, [longest]) == [Outcome.CREATED]
    assert await outcomes(world, [longest]) == [Outcome.EXISTS]
    assert (await totals(world))[1] == CHAIN_TRANSFERS_MAX
    [change] = (await world.changes(0))[3:]
    assert [posted.transfer for posted in change.chain] == list(longest)


_SENT = gift(9)[0]
WRONG = {
    "an empty chain": (),
    "a chain too long": tuple(recharge(n, 1)[0] for n in range(CHAIN_TRANSFERS_MAX + 1)),
    "a negative amount": (msgspec.structs.replace(_SENT, amount=-1),),
    "an amount too large": (msgspec.structs.replace(_SENT, amount=AMOUNT_MAX + 1),),
    "a short id": (msgspec.structs.replace(_SENT, id=b"short"),),
}
OUT_OF_RANGE = {
    "a short account id": (msgspec.structs.replace(_SENT, debit_account_id=b"short"),),
    "a code too large": (msgspec.structs.replace(_SENT, code=2**16),),
    "a ledger too large": (msgspec.structs.replace(_SENT, ledger=2**32),),
    "user data too large": (msgspec.structs.replace(_SENT, user_data_64=2**64),),
    "user data negative": (msgspec.structs.replace(_SENT, user_data_32=-1),),
    "a negative timeout": (msgspec.structs.replace(_SENT, flags=PENDING, timeout=-1),),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_mistake_of_ours_hurts_only_who_made_it(world: Ledger, wrong: str) -> None:
    """A programming error is an assertion for its caller; whoever asks beside it gets an answer."""
    await world.create_transfers([recharge(1, 5)])
    good, bad, also_good = await asyncio.gather(
        world.create_transfers([gift(2)]),
        world.create_transfers([WRONG[wrong]]),
        world.create_transfers([gift(3)]),
        return_exceptions=True,
    )
    assert isinstance(bad, AssertionError)
    for answer in (good, also_good):
        assert isinstance(answer, list)
        assert answer[0].outcome is Outcome.CREATED
    assert await outcomes(world, [gift(4)]) == [Outcome.CREATED]
    assert await totals(world) == [-5, 2, 3]
    assert await problems(world) == []


@pytest.mark.parametrize("wrong", OUT_OF_RANGE)
async def test_a_field_out_of_range_does_no_lasting_harm(world: Ledger, wrong: str) -> None:
    """Who asked beside it hears at worst that the outcome is unknown, and then asks again."""
    await world.create_transfers([recharge(1, 5)])
    good, _, also_good = await asyncio.gather(
        world.create_transfers([gift(2)]),
        world.create_transfers([OUT_OF_RANGE[wrong]]),
        world.create_transfers([gift(3)]),
        return_exceptions=True,
    )
    for answer in (good, also_good):
        assert isinstance(answer, list | LedgerUnavailable)
    assert set(await outcomes(world, [gift(2), gift(3)])) <= {Outcome.CREATED, Outcome.EXISTS}
    assert None not in await world.lookup_transfers([number(2), number(3)])
    assert await problems(world) == []


async def test_one_call_may_bring_more_than_one_batch(world: Ledger) -> None:
    """However much is asked at once, everything answered is there."""
    chains = [
        tuple(recharge(300 * n + m, 1)[0] for m in range(CHAIN_TRANSFERS_MAX)) for n in range(70)
    ]
    count = 70 * CHAIN_TRANSFERS_MAX
    assert count > CHAINS_WAITING_MAX
    assert set(await outcomes(world, chains)) == {Outcome.CREATED}
    found = await world.lookup_transfers([transfer.id for chain in chains for transfer in chain])
    assert sum(posted is not None for posted in found) == count
    assert (await totals(world))[1] == count
    assert await problems(world) == []


# History.


async def _history(ledger: Ledger, account_id: bytes, filter: AccountFilter) -> list[int]:
    page = await ledger.account_transfers(account_id, filter)
    return [int.from_bytes(posted.transfer.id[6:15], "big") for posted in page]


@pytest.fixture
async def history(world: Ledger) -> Ledger:
    """Recharges 0, 10, 20, ... and a gift after each; odd tens have another code."""
    for n in range(0, 100, 10):
        code = 4 if n % 20 == 0 else 14
        chains = [recharge(n, 5, code=code), gift(n + 1, 2, code=code + 1)]
        assert await outcomes(ledger=world, chains=chains) == [Outcome.CREATED] * 2
    return world


async def test_an_accounts_transfers_come_newest_first(history: Ledger) -> None:
    everything = [n + m for n in range(90, -1, -10) for m in (1, 0)]
    assert await _history(history, WALLET, AccountFilter()) == everything
    assert await _history(history, BANK, AccountFilter()) == list(range(90, -1, -10))
    assert await _history(history, NOBODY, AccountFilter()) == []


async def test_pages_of_an_account_join_without_gap_or_overlap(history: Ledger) -> None:
    everything = await history.account_transfers(WALLET, AccountFilter())
    pages: list[Posted] = []
    before = None
    while page := await history.account_transfers(WALLET, AccountFilter(before=before, limit=3)):
        assert len(page) <= 3
        pages += page
        before = page[-1].transfer.id
    assert pages == everything


async def test_an_accounts_transfers_are_kept_by_side_and_code(history: Ledger) -> None:
    async def kept(**filter: object) -> list[int]:
        return await _history(history, WALLET, AccountFilter(**filter))  # type: ignore[arg-type]

    assert await kept(debits=False) == list(range(90, -1, -10))
    assert await kept(credits=False) == list(range(91, 0, -10))
    assert await kept(debits=False, credits=False) == []
    assert await kept(codes=frozenset({4})) == [80, 60, 40, 20, 0]
    assert await kept(codes=frozenset({5, 14})) == [90, 81, 70, 61, 50, 41, 30, 21, 10, 1]
    assert await kept(codes=frozenset({4, 5}), credits=False, limit=2) == [81, 61]
    assert await kept(codes=frozenset({15}), limit=2, before=number(50)) == [31, 11]
    assert await kept(codes=frozenset({99})) == []


async def test_each_transfer_knows_the_totals_after_it_and_the_one_before(history: Ledger) -> None:
    """So a wallet's statement is read off its transfers, and its chain leads back to the beginning."""
    [wallet] = await history.lookup_accounts([WALLET])
    assert wallet is not None
    id = wallet.last_transfer_id
    debits, credits = wallet.debits_posted, wallet.credits_posted
    seen = []
    while id != ids.ZERO:
        [posted] = await history.lookup_transfers([id])
        assert posted is not None
        seen.append(posted)
        if posted.transfer.debit_account_id == WALLET:
            assert (posted.debit_account_debits_posted, posted.debit_account_credits_posted) == (
                debits,
                credits,
            )
            debits -= posted.transfer.amount
            id = posted.debit_account_previous_id
        else:
            assert (posted.credit_account_debits_posted, posted.credit_account_credits_posted) == (
                debits,
                credits,
            )
            credits -= posted.transfer.amount
            id = posted.credit_account_previous_id
    assert (debits, credits) == (0, 0)
    assert seen == await history.account_transfers(WALLET, AccountFilter())


async def test_pending_posts_and_voids_stand_in_the_history_and_expiries_do_not(
    world: Ledger, clock: ManualClock
) -> None:
    await check(
        world,
        clock,
        """
        pending  P1  bank  wallet  5              -> created
        pending  P2  bank  wallet  6              -> created
        pending  P3  bank  wallet  7  timeout=1   -> created
        post     Q1  P1  3                        -> created
        void     Q2  P2                           -> created
        wait     2
        balance  wallet  3
        """,
    )
    page = await world.account_transfers(WALLET, AccountFilter())
    assert [posted.transfer.id for posted in page] == [
        id_of(n) for n in ("Q2", "Q1", "P3", "P2", "P1")
    ]
    assert [posted.credit_account_credits_posted for posted in page] == [3, 3, 0, 0, 0]


async def test_a_page_holds_a_thousand(world: Ledger) -> None:
    await world.create_transfers([recharge(n, 1) for n in range(PAGE_MAX + 500)])
    page = await _history(world, WALLET, AccountFilter(limit=PAGE_MAX))
    assert page == list(range(PAGE_MAX + 499, 499, -1))
    changes = await world.changes(0, PAGE_MAX)
    assert len(changes) == PAGE_MAX
    assert len(await world.changes(changes[-1].timestamp)) == 503


# Changes.


def _told(changes: Sequence[Change]) -> list[tuple[str, list[bytes]]]:
    return [
        (
            change.kind.value,
            [change.account.id]
            if change.account
            else [posted.transfer.id for posted in change.chain],
        )
        for change in changes
    ]


async def test_changes_tell_everything_that_happened_in_order(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Accounts, chains and expiries; refusals change nothing."""
    await play_eventful(ledger, clock)
    changes = await ledger.changes(0)
    expected = [
        ("account", ["ana"]),
        ("account", ["bo"]),
        ("chain", ["T1", "T2"]),
        ("chain", ["P1"]),
        ("chain", ["P2"]),
        ("chain", ["P3"]),
        ("chain", ["V3"]),
        ("account", ["cy"]),
        ("expired", ["P2"]),
        ("expired", ["P1"]),
        ("chain", ["T4"]),
    ]
    assert _told(changes) == [(kind, [id_of(n) for n in names]) for kind, names in expected]
    assert [change.timestamp for change in changes] == sorted({c.timestamp for c in changes})
    for change in changes:
        if change.kind == "chain":
            assert change.timestamp == change.chain[-1].timestamp
            assert list(change.chain) == await ledger.lookup_transfers(
                [posted.transfer.id for posted in change.chain]
            )
    assert changes[0].account is not None
    assert changes[0].account.debits_posted == 0
    assert changes[0].account.last_transfer_id == ids.ZERO
    assert changes[0].timestamp == changes[0].account.timestamp


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_changes_are_resumed_where_they_were_left(
    ledger: Ledger, clock: ManualClock, limit: int
) -> None:
    await play_eventful(ledger, clock)
    everything = await ledger.changes(0)
    pages: list[Change] = []
    while page := await ledger.changes(pages[-1].timestamp if pages else 0, limit):
        assert len(page) <= limit
        pages += page
    assert pages == everything
    assert await ledger.changes(everything[-1].timestamp) == []


async def test_changes_after_any_instant(ledger: Ledger, clock: ManualClock) -> None:
    """`after` need not be a change's own: a follower may begin at any moment, and inside a chain."""
    await play_eventful(ledger, clock)
    everything = await ledger.changes(0)
    for change in everything:
        for after in (change.timestamp - 1, change.timestamp, change.timestamp + 1):
            assert await ledger.changes(after) == [c for c in everything if c.timestamp > after]


# Time.


async def test_a_pending_transfer_expires_exactly_at_its_time(
    world: Ledger, clock: ManualClock
) -> None:
    """Docs, transfer.md: "exactly at their expiry time"; before it nothing is given back."""
    hold = Transfer(number(1), BANK, WALLET, 5, 1, 5, PENDING, timeout=3)
    [result] = await world.create_transfers([(hold,)])
    expires_at = result.timestamp + 3 * SECOND
    clock.advance(expires_at - 1_000 - clock.now())
    await let_expire(world)
    [wallet] = await world.lookup_accounts([WALLET])
    assert wallet is not None
    assert wallet.credits_pending == 5
    clock.advance(1_000)
    await let_expire(world)
    [wallet] = await world.lookup_accounts([WALLET])
    assert wallet is not None
    assert wallet.credits_pending == 0
    [change] = (await world.changes(0))[-1:]
    assert change.kind == "expired"
    assert change.timestamp >= expires_at


@pytest.mark.parametrize("engine", ["oracle", *ENGINES])
async def test_a_post_in_the_very_nanosecond_of_expiry_is_too_late(
    engine: str, tmp_path: Path, clock: ManualClock
) -> None:
    """
    One nanosecond earlier it is in time. What expires is looked for once, before a batch.

    TigerBeetle's `post_or_void_pending_transfer` therefore asks again for each transfer:
    `expires_at <= timestamp_event`.
    """
    ledger = await open_engine(engine, tmp_path / "ledger.sqlite", clock)
    await ledger.create_accounts(ACCOUNTS)
    holds = [(Transfer(number(n), BANK, WALLET, 5, 1, 5, PENDING, timeout=3),) for n in (1, 2, 3)]
    posts = [
        (
            Transfer(
                number(n + 10),
                ids.ZERO,
                ids.ZERO,
                AMOUNT_MAX,
                0,
                0,
                int(TransferFlags.POST_PENDING_TRANSFER),
                number(n),
            ),
        )
        for n in (1, 2, 3)
    ]
    results = await ledger.create_transfers(holds)
    first, second, third = (result.timestamp + 3 * SECOND for result in results)
    assert (second, third) == (first + 1, first + 2)
    clock.advance(first - 1 - clock.now())
    # The three happen at first - 1, first and first + 1.
    assert await outcomes(ledger, [posts[0], posts[2], posts[1]]) == [
        Outcome.CREATED,
        Outcome.CREATED,
        Outcome.PENDING_TRANSFER_EXPIRED,
    ]
    await let_expire(ledger)
    [wallet] = await ledger.lookup_accounts([WALLET])
    assert wallet is not None
    assert (wallet.credits_pending, wallet.credits_posted) == (0, 10)
    await ledger.close()


async def test_however_many_run_out_at_once_the_next_chain_sees_it(
    world: Ledger, clock: ManualClock
) -> None:
    """2,500 reservations end in the same moment, and the very next gift can spend all of it."""
    await world.create_transfers([recharge(0, 2_500)])
    holds = [
        (Transfer(number(n), WALLET, EARNINGS, 1, 1, 5, PENDING, timeout=1),)
        for n in range(1, 2_501)
    ]
    assert set(await outcomes(world, holds)) == {Outcome.CREATED}
    assert await outcomes(world, [gift(3_000)]) == [Outcome.EXCEEDS_CREDITS]
    clock.advance(5 * SECOND)
    assert await outcomes(world, [gift(3_001, 2_500)]) == [Outcome.CREATED]
    changes = await world.changes(0, 10_000)
    expired = [change.chain[0].transfer.id for change in changes if change.kind == "expired"]
    assert expired == [number(n) for n in range(1, 2_501)]
    assert await problems(world) == []


@pytest.mark.parametrize("engine", ENGINES)
async def test_timestamps_rise_whatever_the_clock_does(engine: str, tmp_path: Path) -> None:
    """It stands still, goes back by a day, and the ledger is opened again in between."""
    clock = WrongClock(1_800_000_000 * SECOND)
    ledger = await open_engine(engine, tmp_path / "ledger.sqlite", clock)
    await ledger.create_accounts(ACCOUNTS)
    instants = []

    async def ask(first: int) -> None:
        chains = [recharge(first, 1), (*recharge(first + 1, 1), *recharge(first + 2, 1))]
        await ledger.create_transfers(chains)
        for n in range(first, first + 3):
            [posted] = await ledger.lookup_transfers([number(n)])
            assert posted is not None
            instants.append(posted.timestamp)

    await ask(10)
    await ask(20)
    clock.instant -= 24 * 3600 * SECOND
    await ask(30)
    if engine != "memory":
        await ledger.close()
        ledger = await open_engine(engine, tmp_path / "ledger.sqlite", clock)
        await ask(40)
        clock.instant = 1_000
        await ask(50)
    clock.instant = 1_900_000_000 * SECOND
    await ask(60)
    assert instants == sorted(set(instants))
    assert instants[-3] >= 1_900_000_000 * SECOND
    assert await problems(ledger) == []
    await ledger.close()


# Many at once.


async def test_one_key_sent_fifty_times_at_once_is_one_gift(world: Ledger) -> None:
    await world.create_transfers([recharge(1, 100)])
    answers = await asyncio.gather(*(world.create_transfers([gift(2, 7)]) for _ in range(50)))
    said = [result.outcome for [result] in answers]
    assert said == [Outcome.CREATED] + [Outcome.EXISTS] * 49
    assert await totals(world) == [-100, 93, 7]


async def test_a_thousand_gifts_at_once_from_a_wallet_that_affords_five_hundred(
    world: Ledger,
) -> None:
    await world.create_transfers([recharge(0, 500)])
    answers = await asyncio.gather(
        *(world.create_transfers([gift(n)], [WALLET]) for n in range(1, 1_001))
    )
    said = [result.outcome for [result] in answers]
    assert said == [Outcome.CREATED] * 500 + [Outcome.EXCEEDS_CREDITS] * 500
    assert [result.balances[0].available for [result] in answers[:500]] == list(  # type: ignore[union-attr]
        range(499, -1, -1)
    )
    assert await totals(world) == [-500, 0, 500]
    assert (
        sum(row is not None for row in await world.lookup_refused(map(number, range(1_001)))) == 500
    )
    assert await problems(world) == []


async def test_a_caller_who_leaves_does_not_take_the_others_along(world: Ledger) -> None:
    """A cancelled request is done whole or not at all, and asked again it is done once."""
    await world.create_transfers([recharge(0, 100)])
    tasks = [asyncio.create_task(world.create_transfers([gift(n)])) for n in range(1, 41)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for answer in answers[1::2]:
        assert isinstance(answer, list)
        assert answer[0].outcome is Outcome.CREATED
    again = await outcomes(world, [gift(n) for n in range(1, 41)])
    assert set(again) <= {Outcome.CREATED, Outcome.EXISTS}
    assert await totals(world) == [-100, 60, 40]
    assert await problems(world) == []


async def test_an_account_may_be_closed_from_its_first_moment(world: Ledger) -> None:
    """The feed says so, and the file's check knows it."""
    closed = Account(id=ids.derive("late"), ledger=1, code=1, flags=int(AccountFlags.CLOSED))
    assert await world.create_accounts([closed]) == [AccountOutcome.CREATED]
    change = (await world.changes(0))[-1]
    assert change.account is not None
    assert change.account.flags == AccountFlags.CLOSED
    assert await problems(world) == []
