"""Whoever looks for something finds it by what stands in it, on every engine the same."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from largesse import ids
from largesse.clock import ManualClock
from largesse.ledger import Ledger, QueryFilter, query
from largesse.ledger.model import Account, Transfer, TransferFlags
from tests.ledger.gifts import number
from tests.ledger.oracle import Oracle

ROOMS = [ids.derive("room", name) for name in ("bo", "cleo")]
PEOPLE = [ids.derive("person", name) for name in ("bank", "ana", "bo")]


def accounts() -> list[Account]:
    return [
        Account(
            id=id,
            ledger=1 + n % 2 if n == 3 else 1,
            code=1 + n % 2,
            user_data_128=ROOMS[n % 2],
            user_data_64=n,
            user_data_32=7,
        )
        for n, id in enumerate([*PEOPLE, ids.derive("person", "elsewhere")])
    ]


async def live(ledger: Ledger, clock: ManualClock) -> None:
    """Thirty transfers of few kinds, some pending and one of them run out, some in one chain."""
    await ledger.create_accounts(accounts())
    for n in range(0, 30, 2):
        clock.advance(1_000)
        chain = tuple(
            Transfer(
                number(1_000 - each),  # Ids fall while time rises.
                PEOPLE[each % 3],
                PEOPLE[(each + 1) % 3],
                each,
                1,
                1 + each % 4,
                int(TransferFlags.PENDING) if each == 8 else 0,
                user_data_128=ROOMS[each % 2],
                user_data_64=each % 3,
                user_data_32=each % 5,
                timeout=1 if each == 8 else 0,
            )
            for each in (n, n + 1)
        )
        await ledger.create_transfers([chain])
    clock.advance(2_000_000_000)
    await ledger.create_transfers([(Transfer(number(1), PEOPLE[0], PEOPLE[1], 1, 1, 1),)])


@pytest.fixture
async def both(ledger: Ledger, clock: ManualClock) -> tuple[Ledger, Oracle]:
    """An engine and the oracle, which lived through the same."""
    oracle_clock = ManualClock()
    oracle = Oracle(oracle_clock)
    await live(oracle, oracle_clock)
    await live(ledger, clock)
    return ledger, oracle


async def test_the_transfers_of_a_room_are_found(both: tuple[Ledger, Oracle]) -> None:
    for engine in both:
        found = await engine.query_transfers(QueryFilter(user_data_128=ROOMS[1]))
        assert [posted.transfer.amount for posted in found] == list(range(1, 30, 2))
        newest = await engine.query_transfers(
            QueryFilter(user_data_128=ROOMS[1], newest_first=True, limit=2)
        )
        assert [posted.transfer.amount for posted in newest] == [29, 27]


async def test_the_accounts_of_a_kind_are_found_with_what_they_hold_now(
    both: tuple[Ledger, Oracle],
) -> None:
    for engine in both:
        found = await engine.query_accounts(QueryFilter(code=2, ledger=1))
        assert [account.id for account in found] == [PEOPLE[1]]
        assert found == await engine.lookup_accounts([PEOPLE[1]])
        assert found[0].debits_posted > 0


async def test_an_empty_filter_keeps_everything_in_the_order_of_time(
    both: tuple[Ledger, Oracle],
) -> None:
    for engine in both:
        found = await engine.query_transfers(QueryFilter())
        times = [posted.timestamp for posted in found]
        assert len(found) == 31
        assert times == sorted(times)
        assert [one.id for one in await engine.query_accounts(QueryFilter())] == [
            one.id for one in accounts()
        ]


FILTERS = st.builds(
    QueryFilter,
    user_data_128=st.sampled_from([ids.ZERO, *ROOMS]),
    user_data_64=st.integers(0, 3),
    user_data_32=st.sampled_from([0, 1, 4, 7]),
    ledger=st.integers(0, 2),
    code=st.integers(0, 5),
    newest_first=st.booleans(),
    limit=st.integers(1, 12),
)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(filter=FILTERS, first=st.integers(0, 33), last=st.integers(0, 33))
async def test_every_filter_finds_what_the_oracle_finds(
    both: tuple[Ledger, Oracle], filter: QueryFilter, first: int, last: int
) -> None:
    """Also between two instants at which something happened, both of them kept."""
    ledger, oracle = both
    instants = [0, *(change.timestamp for change in await oracle.changes(0))]
    filter = QueryFilter(
        **{name: getattr(filter, name) for name in filter.__struct_fields__}
        | {
            "timestamp_min": instants[first % len(instants)],
            "timestamp_max": instants[last % len(instants)],
        }
    )
    assert await ledger.query_transfers(filter) == await oracle.query_transfers(filter)
    assert await ledger.query_accounts(filter) == await oracle.query_accounts(filter)
    assert await query.transfers(ledger.changes, filter) == await oracle.query_transfers(filter)
