"""What several processes on one database agree on: leases, and whose installation it is."""

import asyncio

from largesse.clock import MINUTE
from largesse.records import installation, leases
from largesse.records.installation import Installation

NOW = 1_000 * MINUTE


async def test_a_lease_is_held_by_one_until_its_time_is_over(db):
    assert await leases.take(db, "projections", "first", NOW, NOW + MINUTE)
    assert not await leases.take(db, "projections", "second", NOW + 1, NOW + 2 * MINUTE)
    assert not await leases.take(db, "projections", "second", NOW + MINUTE - 1, NOW + 2 * MINUTE)
    assert await leases.take(db, "projections", "second", NOW + MINUTE, NOW + 2 * MINUTE)
    assert not await leases.take(db, "projections", "first", NOW + MINUTE, NOW + 2 * MINUTE)


async def test_who_holds_a_lease_may_hold_it_for_longer(db):
    assert await leases.take(db, "checks", "first", NOW, NOW + MINUTE)
    assert await leases.take(db, "checks", "first", NOW + 1, NOW + 2 * MINUTE)
    assert not await leases.take(db, "checks", "second", NOW + MINUTE, NOW + 3 * MINUTE)


async def test_a_lease_that_is_let_go_can_be_taken_at_once_and_only_its_holder_lets_it_go(db):
    assert await leases.take(db, "checks", "first", NOW, NOW + MINUTE)
    await leases.let_go(db, "checks", "second")
    assert not await leases.take(db, "checks", "second", NOW, NOW + MINUTE)
    await leases.let_go(db, "checks", "first")
    assert await leases.take(db, "checks", "second", NOW, NOW + MINUTE)


async def test_of_many_who_want_a_lease_at_once_one_gets_it(db):
    wanted = (leases.take(db, "sweep", f"process {n}", NOW, NOW + MINUTE) for n in range(20))
    assert sum(await asyncio.gather(*wanted)) == 1
    wanted = (
        leases.take(db, "sweep", f"later {n}", NOW + MINUTE, NOW + 2 * MINUTE) for n in range(20)
    )
    assert sum(await asyncio.gather(*wanted)) == 1


async def test_the_first_host_writes_the_installation_and_the_others_read_what_it_wrote(db):
    assert await installation.read(db) is None
    first = Installation("11" * 16, "test", NOW, b"\x01" * 32)
    other = Installation("22" * 16, "live", NOW + 1, b"\x02" * 32)
    assert await installation.write_once(db, first) == first
    assert await installation.write_once(db, other) == first
    assert await installation.read(db) == first
