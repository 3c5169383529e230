"""What only the TigerBeetle engine has to do: notes of refusals, sessions that end, several processes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from largesse import ids
from largesse.clock import SystemClock
from largesse.ledger import PAGE_MAX, LedgerUnavailable, QueryFilter
from largesse.ledger import tigerbeetle_client as client
from largesse.ledger import tigerbeetle_reading as reading
from largesse.ledger import tigerbeetle_verify as verifying
from largesse.ledger import tigerbeetle_wire as wire
from largesse.ledger.model import (
    Account,
    AccountFlags,
    AccountOutcome,
    Balance,
    Chain,
    Outcome,
    Transfer,
    TransferFlags,
)
from largesse.ledger.tigerbeetle import TigerBeetleLedger
from largesse.ledger.tigerbeetle_client import Operation
from largesse.ledger.tigerbeetle_notes import NOTES_LEDGER, note_id
from tests.ledger import tigerbeetle_engine as tigerbeetle
from tests.ledger.gifts import problems

if not tigerbeetle.ADDRESS:
    pytest.skip(tigerbeetle.NO_CLUSTER, allow_module_level=True)

SESSIONS_KEPT = 64
LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)


class People:
    """A bank, a wallet and a creator that no other test knows, and fresh ids for what they do."""

    def __init__(self) -> None:
        salt = tigerbeetle.secrets.token_bytes(8)
        self.bank, self.wallet, self.earnings = (
            ids.derive(salt, name) for name in ("bank", "wallet", "earnings")
        )
        self._salt = salt

    def accounts(self) -> list[Account]:
        return [
            Account(id=self.bank, ledger=1, code=1),
            Account(id=self.wallet, ledger=1, code=2, flags=LIMITED),
            Account(id=self.earnings, ledger=1, code=3, flags=LIMITED),
        ]

    def id(self, n: int) -> bytes:
        return ids.derive(self._salt, n)

    def recharge(self, n: int, amount: int) -> Chain:
        return (Transfer(self.id(n), self.bank, self.wallet, amount, 1, 4),)

    def gift(self, n: int, amount: int = 1) -> Chain:
        return (Transfer(self.id(n), self.wallet, self.earnings, amount, 1, 5),)


async def open_process() -> TigerBeetleLedger:
    """What another process has: sessions of its own."""
    return await TigerBeetleLedger.open(f"tigerbeetle://{tigerbeetle.ADDRESS}", SystemClock())


@pytest.fixture
async def ledger() -> AsyncIterator[TigerBeetleLedger]:
    process = await open_process()
    yield process
    await process.close()


@pytest.fixture
async def other() -> AsyncIterator[TigerBeetleLedger]:
    process = await open_process()
    yield process
    await process.close()


@pytest.fixture
async def people(ledger: TigerBeetleLedger) -> People:
    found = People()
    assert await ledger.create_accounts(found.accounts()) == [AccountOutcome.CREATED] * 3
    await ledger.create_transfers([found.recharge(0, 1_000)])
    return found


async def _held(ledger: TigerBeetleLedger, account_id: bytes) -> int:
    [account] = await ledger.lookup_accounts([account_id])
    assert account is not None
    return account.credits_posted - account.debits_posted


# Notes of refusals.


async def test_a_refusal_is_known_to_every_process(
    ledger: TigerBeetleLedger, other: TigerBeetleLedger, people: People
) -> None:
    chain = (*people.gift(1, 1), *people.gift(2, 2_000))
    [result] = await ledger.create_transfers([chain], [people.wallet])
    assert result.outcome is Outcome.EXCEEDS_CREDITS
    [refused] = await other.lookup_refused([people.id(2)])
    assert refused is not None
    assert refused.chain == chain
    assert (refused.outcome, refused.available) == (Outcome.EXCEEDS_CREDITS, 1_000)
    assert refused.timestamp == result.timestamp
    [again] = await other.create_transfers([chain])
    assert again.outcome is Outcome.ID_ALREADY_FAILED
    assert await ledger.lookup_refused([people.id(2)]) == [refused]


async def _refuse_and_die(ledger: TigerBeetleLedger, chain: Chain) -> None:
    """A process that was killed after the cluster had refused, before it could note why."""
    reply = await ledger._posting.ask(Operation.CREATE_TRANSFERS, wire.pack_chain(chain))
    [(_, status, _)] = wire.unpack_results(reply.data)
    assert wire.TRANSFER_OUTCOMES[status] is Outcome.EXCEEDS_CREDITS


async def test_a_no_of_which_nobody_heard_is_still_no_and_gets_its_reason(
    ledger: TigerBeetleLedger, other: TigerBeetleLedger, people: People
) -> None:
    chain = people.gift(1, 1_500)
    await _refuse_and_die(ledger, chain)
    assert await other.lookup_refused([people.id(1)]) == [None]
    [result] = await other.create_transfers([chain])
    assert result.outcome is Outcome.ID_ALREADY_FAILED
    [refused] = await other.lookup_refused([people.id(1)])
    assert refused is not None
    assert (refused.outcome, refused.available) == (Outcome.EXCEEDS_CREDITS, 1_000)
    assert refused.chain == chain


async def test_it_is_no_also_where_there_are_coins_enough_by_now(
    ledger: TigerBeetleLedger, other: TigerBeetleLedger, people: People
) -> None:
    await _refuse_and_die(ledger, people.gift(1, 1_500))
    await other.create_transfers([people.recharge(2, 1_000)])
    [result] = await other.create_transfers([people.gift(1, 1_500)])
    assert result.outcome is Outcome.ID_ALREADY_FAILED
    [refused] = await other.lookup_refused([people.id(1)])
    assert refused is not None
    assert (refused.outcome, refused.available) == (Outcome.EXCEEDS_CREDITS, 0)
    assert await _held(other, people.wallet) == 2_000


async def test_notes_are_nobodys_accounts(ledger: TigerBeetleLedger, people: People) -> None:
    begin = ledger._posting.last_timestamp
    await ledger.create_transfers([people.gift(1, 2_000)])
    assert await ledger.changes(begin) == []
    assert await ledger.query_accounts(QueryFilter(timestamp_min=begin + 1)) == []
    [note] = await ledger.lookup_accounts([note_id(people.id(1))])
    assert note is not None
    assert note.ledger == NOTES_LEDGER
    assert note.flags & AccountFlags.CLOSED


async def test_a_crowd_refused_at_once_is_noted_whole(
    ledger: TigerBeetleLedger, people: People
) -> None:
    """More refusals than one message has room for notes."""
    count = 2_500
    results = await ledger.create_transfers([people.gift(n, 2_000) for n in range(1, count + 1)])
    assert {result.outcome for result in results} == {Outcome.EXCEEDS_CREDITS}
    noted = await ledger.lookup_refused([people.id(n) for n in range(1, count + 1)])
    assert {refused and refused.available for refused in noted} == {1_000}


# Sessions that end.


async def test_a_session_that_ends_under_load_is_made_again_and_nothing_doubles(
    ledger: TigerBeetleLedger, people: People
) -> None:
    """As when the cluster lets the oldest of too many go: the same questions are asked again."""
    session = await ledger._posting.connect()
    sent = [
        asyncio.create_task(ledger.create_transfers([people.gift(n)], [people.wallet]))
        for n in range(1, 401)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert session._under_way
    await session.close()
    answers = await asyncio.gather(*sent)
    assert {result.outcome for [result] in answers} == {Outcome.CREATED}
    left = [result.balances[0].available for [result] in answers if result.balances[0] is not None]
    assert left == list(range(999, 599, -1))
    assert await _held(ledger, people.earnings) == 400
    assert await ledger._posting.connect() is not session


async def test_the_cluster_lets_the_oldest_of_too_many_sessions_go(
    ledger: TigerBeetleLedger, people: People
) -> None:
    """It keeps 64; whoever asks next in the one that it let go gets a new one and an answer."""
    oldest = await ledger._posting.connect()
    bindings = client.load()
    address = client.parse(f"tigerbeetle://{tigerbeetle.ADDRESS}")
    for _ in range(SESSIONS_KEPT + 1):
        connection = client.Connection(bindings, address)
        await connection.ask(Operation.LOOKUP_ACCOUNTS, people.bank[::-1])
        await connection.close()
    answers = await asyncio.gather(
        *(ledger.create_transfers([people.gift(n)]) for n in range(1, 51))
    )
    assert {result.outcome for [result] in answers} == {Outcome.CREATED}
    assert await _held(ledger, people.earnings) == 50
    assert await ledger._posting.connect() is not oldest


async def test_a_refusal_whose_answer_was_lost_is_told_by_its_reason(
    ledger: TigerBeetleLedger, people: People
) -> None:
    session = await ledger._posting.connect()
    asked = asyncio.create_task(ledger.create_transfers([people.gift(1, 2_000)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert session._under_way
    await session.close()
    [result] = await asked
    assert result.outcome is Outcome.EXCEEDS_CREDITS
    [refused] = await ledger.lookup_refused([people.id(1)])
    assert refused is not None


async def test_after_the_end_nothing_can_be_asked() -> None:
    process = await open_process()
    await process.close()
    await process.close()
    with pytest.raises(LedgerUnavailable):
        await process.lookup_accounts([ids.derive("a")])
    with pytest.raises(LedgerUnavailable):
        await process.create_accounts([Account(id=ids.derive("a"), ledger=1, code=1)])


async def test_balances_are_those_after_each_gift_however_many_messages_are_under_way(
    ledger: TigerBeetleLedger, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next message is often decided before the accounts of the last one are looked up."""
    monkeypatch.setattr("largesse.ledger.tigerbeetle.MESSAGE_RECORDS_ENOUGH", 20)
    hold = Transfer(
        people.id(1), people.wallet, people.earnings, 5, 1, 5, int(TransferFlags.PENDING)
    )
    asked = [people.gift(n) for n in range(2, 202)] + [(hold,)]
    asked += [people.gift(n) for n in range(202, 402)]
    ledger._records = -10_000  # So that half of what is under way is little.
    answers = await asyncio.gather(
        *(ledger.create_transfers([chain], [people.wallet]) for chain in asked)
    )
    left = [result.balances[0].available for [result] in answers if result.balances[0] is not None]
    assert left == [*range(999, 799, -1), 795, *range(794, 594, -1)]


# Several processes.


async def test_two_processes_with_one_key_send_one_gift(
    ledger: TigerBeetleLedger, other: TigerBeetleLedger, people: People
) -> None:
    answers = await asyncio.gather(
        *(
            process.create_transfers([people.gift(n)], [people.wallet])
            for n in range(1, 101)
            for process in (ledger, other)
        )
    )
    said = [result.outcome for [result] in answers]
    for n in range(0, 200, 2):
        assert {said[n], said[n + 1]} == {Outcome.CREATED, Outcome.EXISTS}
    assert await _held(ledger, people.wallet) == 900
    assert await _held(other, people.earnings) == 100


async def test_a_refusal_says_what_there_was_at_its_moment(
    ledger: TigerBeetleLedger, other: TigerBeetleLedger, people: People
) -> None:
    """Somebody recharges through another process all the while; what is missing is never less than 1."""
    for n in range(10, 60):
        [[refused], _] = await asyncio.gather(
            ledger.create_transfers([people.gift(n, 1_000 + 100 * (n - 9))], [people.wallet]),
            other.create_transfers([people.recharge(1_000 + n, 100)]),
        )
        if refused.outcome is Outcome.CREATED:
            await ledger.create_transfers([people.recharge(2_000 + n, 1_000 + 100 * (n - 9))])
            continue
        [balance] = refused.balances
        assert balance is not None
        assert balance.available < 1_000 + 100 * (n - 9)


async def test_a_follower_misses_nothing_of_what_several_processes_do(
    ledger: TigerBeetleLedger, other: TigerBeetleLedger, people: People
) -> None:
    """Gifts and new accounts from both, read in small pages while they happen."""
    after = ledger._posting.last_timestamp
    made = set()

    async def live(process: TigerBeetleLedger, first: int) -> None:
        for n in range(first, first + 60, 2):
            account = Account(id=people.id(10_000 + n), ledger=1, code=9)
            await asyncio.gather(
                process.create_transfers([(*people.gift(n), *people.gift(n + 1))]),
                process.create_accounts([account]),
            )
            made.update({people.id(n), people.id(n + 1), account.id})

    living = asyncio.gather(live(ledger, 100), live(other, 300))
    seen: list[bytes] = []
    while not living.done() or not made <= set(seen):
        for change in await ledger.changes(after, 7):
            assert change.timestamp > after
            after = change.timestamp
            seen += [posted.transfer.id for posted in change.chain]
            seen += [change.account.id] if change.account else []
    await living
    assert len(seen) == len(set(seen)) == len(made) == 180
    assert await problems(ledger) == []


# What the cluster keeps of itself.


async def test_an_accounts_balances_of_any_moment_can_be_asked(
    ledger: TigerBeetleLedger, people: People
) -> None:
    """Every account of ours has the flag `history`."""
    instants = [
        (await ledger.create_transfers([people.gift(n, 10)]))[0].timestamp for n in (1, 2, 3)
    ]
    balances = await reading.balances_at(
        ledger._looking,
        [(people.wallet, at) for at in (1, instants[0] - 1, instants[0], instants[2])],
    )
    assert balances == [
        Balance(0, 0, 0, 0),
        Balance(0, 0, 0, 1_000),
        Balance(0, 10, 0, 1_000),
        Balance(0, 30, 0, 1_000),
    ]


async def test_an_event_that_does_not_follow_from_the_ones_before_is_named(
    ledger: TigerBeetleLedger, people: People
) -> None:
    """As if a replica had lost a gift: the totals after the next one are too small."""
    begin = ledger._posting.last_timestamp
    await ledger.create_transfers([people.gift(n, 10) for n in (1, 2, 3)])
    events = await reading.events_page(ledger._looking, begin + 1, 0, PAGE_MAX)
    own = [event for event in events if event.stored.transfer.debit_account_id == people.wallet]
    totals = {people.wallet: Balance(0, 0, 0, 1_000)}
    assert verifying._follow(totals, {}, own[0]) == []
    found = verifying._follow(totals, {}, own[2])
    assert [problem.where for problem in found] == [f"transfer {people.id(3).hex()}"] * 2
