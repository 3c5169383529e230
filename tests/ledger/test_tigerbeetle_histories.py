"""
Random histories on a TigerBeetle cluster and on the oracle: the same outcomes, balances and books.

They are those of `test_properties`, without what a cluster has otherwise: nothing runs out, and no
amount comes near the largest of ours.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from largesse import ids
from largesse.clock import ManualClock
from largesse.ledger.model import AMOUNT_MAX, Account, Posted, Transfer, TransferFlags
from tests.ledger import test_properties as histories
from tests.ledger import tigerbeetle_engine as tigerbeetle
from tests.ledger.oracle import Oracle
from tests.ledger.test_properties import Step

if not tigerbeetle.ADDRESS:
    pytest.skip(tigerbeetle.NO_CLUSTER, allow_module_level=True)

NEVER = 1_000
"""Seconds that take longer than a test."""
POST = int(TransferFlags.POST_PENDING_TRANSFER)

_replace = msgspec.structs.replace


def _tame(t: Transfer) -> Transfer:
    amount = t.amount
    if amount > AMOUNT_MAX // 2 and not t.flags & POST:
        amount = 12 + AMOUNT_MAX - amount
    return _replace(t, amount=amount, timeout=t.timeout * NEVER)


def _tamed(steps: Sequence[Step]) -> list[Step]:
    return [
        Step(0, [[tuple(map(_tame, chain)) for chain in call] for call in step.calls])
        for step in steps
    ]


def _without_links(said: Any) -> Any:
    """The same without the ids that lead back through an account's history."""
    if isinstance(said, Posted):
        zero = ids.ZERO
        return _replace(said, debit_account_previous_id=zero, credit_account_previous_id=zero)
    if isinstance(said, Account):
        return _replace(said, last_transfer_id=ids.ZERO)
    if isinstance(said, (list, tuple)):
        return [_without_links(each) for each in said]
    return said


async def _compare(steps: Sequence[Step], together: bool) -> None:
    clock = ManualClock()
    oracle = Oracle(clock)
    cluster = await tigerbeetle.open_cluster()
    try:
        created = await cluster.create_accounts(histories.ACCOUNTS)
        assert created == await oracle.create_accounts(histories.ACCOUNTS)
        results = await histories._play(cluster, clock, steps, together)
        expected = await histories._play(oracle, clock, steps, together=False)
        assert histories._said(results) == histories._said(expected)
        everything = _without_links(await histories._everything(cluster))
        assert everything == _without_links(await histories._everything(oracle))
        again = await histories._check_replay(cluster, clock, steps, results)
        oracle_again = await histories._check_replay(oracle, clock, steps, expected)
        assert histories._said(again) == histories._said(oracle_again)
    finally:
        await cluster.close()


@pytest.mark.parametrize("together", [False, True])
def test_random_histories_come_out_on_a_cluster_as_the_oracle_says(together: bool) -> None:
    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(steps=histories._histories())
    def compare(steps: list[Step]) -> None:
        asyncio.run(_compare(_tamed(steps), together))

    compare()
