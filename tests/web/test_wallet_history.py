"""The history through the API: of one kind, of some days, and taken out whole."""

import csv
import io

import pytest

from largesse.clock import DAY, to_datetime


@pytest.fixture
async def spent(world):
    """Ana recharges on one day and gifts on the next."""
    await world.recharge(world.ana, "coins-70")
    world.clock.advance(DAY)
    for _ in range(2):
        assert (await world.gift(world.ana, world.room_id)).status_code == 201
    return world


async def kinds(world, **asked):
    answer = await world.client.get("/v1/wallet/history", params=asked, headers=world.ana.headers)
    assert answer.status_code == 200, answer.text
    return [row["kind"] for row in answer.json()["rows"]]


def day(world, back=0):
    return to_datetime(world.clock.now() - back * DAY).date().isoformat()


async def test_one_kind_and_some_days(spent):
    assert await kinds(spent) == ["gift", "gift", "recharge"]
    assert await kinds(spent, kind="recharge") == ["recharge"]
    assert await kinds(spent, **{"from": day(spent)}) == ["gift", "gift"]
    assert await kinds(spent, to=day(spent, 1)) == ["recharge"]
    assert await kinds(spent, kind="gift", to=day(spent, 1)) == []
    assert await kinds(spent, **{"from": day(spent, 1), "to": day(spent)}) == await kinds(spent)
    assert await kinds(spent, to="9999-12-31") == await kinds(spent)


async def test_what_is_filtered_is_taken_out_as_csv_and_as_json(spent):
    asked = {"kind": "gift", "from": day(spent)}
    as_csv = await spent.client.get(
        "/v1/wallet/history.csv", params=asked, headers=spent.ana.headers
    )
    as_json = await spent.client.get(
        "/v1/wallet/history.json", params=asked, headers=spent.ana.headers
    )
    whole = await spent.client.get("/v1/wallet/history.json", headers=spent.ana.headers)

    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert [row["kind"] for row in rows] == ["gift", "gift"]
    assert [row["kind"] for row in as_json.json()["rows"]] == ["gift", "gift"]
    assert len(whole.json()["rows"]) == 3
    assert 'filename="wallet-history.json"' in as_json.headers["content-disposition"]


@pytest.mark.parametrize(
    "asked", [{"kind": "gifts"}, {"from": "yesterday"}, {"to": "2026-02-30"}, {"from": "20260230"}]
)
@pytest.mark.parametrize("path", ["history", "history.csv", "history.json"])
async def test_a_filter_that_is_none_is_refused_by_name(world, path, asked):
    answer = await world.client.get(f"/v1/wallet/{path}", params=asked, headers=world.ana.headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert answer.json()["parameter"] == next(iter(asked))


async def test_an_export_counts_against_its_limit(world):
    answers = [
        await world.client.get(f"/v1/wallet/history.{kind}", headers=world.ana.headers)
        for kind in ("csv", "json") * 6
    ]

    assert answers[-1].json()["limit"] == "export"
