"""A gift is paid once and counted once, and a retry is the same gift whatever has changed since."""

import asyncio

import pytest

from largesse import ids
from largesse.books import chart
from largesse.clock import DAY, SECOND
from largesse.errors import Rejected
from largesse.ledger.model import Transfer
from largesse.money import Price
from tests.features.studio import TEST, catalog, open_studio, person


@pytest.fixture(params=["memory", "sqlite"])
async def studio(request, tmp_path):
    async with open_studio(request.param, tmp_path) as opened:
        yield opened


async def refusal(sending):
    with pytest.raises(Rejected) as caught:
        await sending
    return caught.value


async def test_a_gift_takes_coins_and_earns_diamonds(studio):
    sent = await studio.send()

    assert (sent.gift.coins, sent.gift.diamonds, sent.gift.quantity) == (3, "1.5000", 1)
    assert (sent.gift.room_id, sent.gift.creator_id) == (studio.room_id, studio.bo.id)
    assert sent.gift.price == Price(4, "USD")
    assert sent.gift.at == "2027-01-15T08:00:00.000Z"
    assert sent.balance.coins == 7
    assert await studio.balances() == [7, 3, "1.5000"]


async def test_a_gift_of_several_costs_as_many(studio):
    sent = await studio.send(quantity=3)

    assert (sent.gift.coins, sent.balance.coins) == (9, 1)
    assert await studio.balances() == [1, 9, "4.5000"]


async def test_a_retry_is_the_same_gift_with_the_balance_of_now(studio):
    first = await studio.send()
    await studio.send(key="another key")
    studio.clock.advance(5 * SECOND)

    again = await studio.send()

    assert again.gift == first.gift
    assert again.balance.coins == 4
    assert await studio.balances() == [4, 6, "3.0000"]


async def test_a_retry_keeps_the_price_and_the_share_it_was_quoted(studio):
    first = await studio.send()
    studio.catalog = catalog(rose=9)
    studio.share_bps = 7_000
    studio.price_list_version = 2

    assert (await studio.send()).gift == first.gift
    assert await studio.balances() == [7, 3, "1.5000"]


async def test_a_retry_is_answered_after_the_room_has_ended(studio):
    first = await studio.send()
    await studio.rooms.end(studio.room_id, studio.bo.id, studio.clock.now())

    assert (await studio.send()).gift == first.gift
    assert (await refusal(studio.send(key="a new key"))).code == "room_ended"


async def test_a_retry_is_answered_after_the_item_was_taken_off(studio):
    first = await studio.send()
    studio.catalog = catalog(enabled=False)

    assert (await studio.send()).gift == first.gift
    assert (await refusal(studio.send(key="a new key"))).code == "gift_item_disabled"


async def test_a_retry_is_answered_after_the_item_was_forgotten(studio):
    first = await studio.send()
    studio.catalog = catalog(has_rose=False)

    assert (await studio.send()).gift == first.gift
    assert (await refusal(studio.send("tulip"))).code == "idempotency_key_reused"


async def test_a_retry_is_answered_days_later(studio):
    key = studio.key()
    first = await studio.send(key=key)
    studio.clock.advance(40 * DAY)

    assert (await studio.send(key=key)).gift == first.gift


@pytest.mark.parametrize(
    "changed", [{"item_id": "tulip"}, {"quantity": 2}, {"item_id": "nothing"}, {"quantity": 0}]
)
async def test_a_key_that_was_used_for_another_gift_is_refused(studio, changed):
    await studio.send()

    assert (await refusal(studio.send(**changed))).code == "idempotency_key_reused"
    assert await studio.balances() == [7, 3, "1.5000"]


async def test_a_key_that_was_used_in_another_room_is_refused(studio):
    await studio.send()
    await studio.rooms.end(studio.room_id, studio.bo.id, studio.clock.now())
    studio.room_id = await studio.open_room()

    assert (await refusal(studio.send())).code == "idempotency_key_reused"


async def test_two_viewers_may_have_the_same_key(studio):
    cleo = person("cleo", 3, "viewer")
    await studio.ledger.create_accounts(chart.viewer_accounts(TEST, cleo.id))
    await studio.give_coins(cleo, 10)

    mine, theirs = await studio.send(), await studio.send(viewer=cleo)

    assert mine.gift.id != theirs.gift.id
    assert (await studio.balances())[1] == 6


async def test_too_few_coins_says_what_is_missing_and_what_mends_it(studio):
    refused = await refusal(studio.send(quantity=5))

    assert refused.code == "insufficient_coins"
    assert refused.facts == {
        "needed": 15,
        "balance": 10,
        "missing": 5,
        "price": {"amount": 6, "currency": "USD"},
        "package": {
            "id": "coins-70",
            "coins": 70,
            "bonus_coins": 0,
            "price": {"amount": 74, "currency": "USD"},
        },
    }
    assert await studio.balances() == [10, 0, "0.0000"]


async def test_the_package_also_covers_what_the_next_recharge_repays(studio):
    """Ana owes 66 coins, so that 70 would bring her only four of the five that she needs."""
    [debt] = await studio.ledger.create_transfers(
        [
            (
                Transfer(
                    ids.derive("a chargeback"),
                    chart.debt(TEST, studio.ana.id),
                    chart.returned(TEST),
                    66,
                    chart.COIN,
                    chart.TransferCode.REFUND,
                ),
            )
        ]
    )
    assert debt.outcome == "created"

    assert (await refusal(studio.send(quantity=5))).facts["package"]["id"] == "coins-350"


async def test_a_no_never_becomes_a_yes(studio):
    """The refused key is used up: with coins enough it gets its first refusal, a new key its gift."""
    first = await refusal(studio.send(quantity=5))
    await studio.give_coins(studio.ana, 100)

    again = await refusal(studio.send(quantity=5))

    assert (again.code, again.facts) == (first.code, first.facts)
    assert (await studio.send(quantity=5, key="a new key")).balance.coins == 95


async def test_a_no_stands_after_the_room_has_ended(studio):
    await refusal(studio.send(quantity=5))
    await studio.rooms.end(studio.room_id, studio.bo.id, studio.clock.now())

    assert (await refusal(studio.send(quantity=5))).code == "insufficient_coins"


async def test_a_refused_key_with_another_body_is_reused(studio):
    await refusal(studio.send(quantity=5))

    assert (await refusal(studio.send(quantity=1))).code == "idempotency_key_reused"


async def test_whoever_has_no_wallet_has_too_few_coins(studio):
    dora = person("dora", 4, "viewer")

    first = await refusal(studio.send(viewer=dora))
    again = await refusal(studio.send(viewer=dora))

    assert (first.code, first.facts["balance"], first.facts["missing"]) == (
        "insufficient_coins",
        0,
        3,
    )
    assert (again.code, again.facts) == (first.code, first.facts)


async def test_the_guards_speak_in_their_order(studio):
    """Everything is wrong at once; mended one by one, the next guard speaks."""
    child = person("emil", 2, "viewer", birth_on="2015-05-17")  # Also bo himself, by the id.
    asked = {"item_id": "nothing", "quantity": 0, "room_id": "0" * 32, "viewer": child, "key": None}

    assert (await refusal(studio.send(**asked))).code == "quantity_out_of_range"
    asked["quantity"] = 10_000
    assert (await refusal(studio.send(**asked))).code == "quantity_out_of_range"
    asked["quantity"] = 9_999
    assert (await refusal(studio.send(**asked))).code == "gift_item_not_found"
    asked["item_id"] = "crown"
    assert (await refusal(studio.send(**asked))).code == "gift_item_exclusive"
    asked["item_id"] = "rose"
    assert (await refusal(studio.send(**asked))).code == "room_not_found"
    asked["room_id"] = studio.room_id
    assert (await refusal(studio.send(**asked))).code == "self_gift"
    asked["viewer"] = person("emil", 5, "viewer", birth_on="2015-05-17")
    assert (await refusal(studio.send(**asked))).code == "adults_only"
    asked["viewer"] = studio.ana
    assert (await refusal(studio.send(**asked))).code == "idempotency_key_required"
    asked["key"] = "x" * 201
    assert (await refusal(studio.send(**asked))).code == "idempotency_key_invalid"
    asked["key"] = studio.key()
    studio.clock.advance(DAY + SECOND)
    assert (await refusal(studio.send(**asked))).code == "idempotency_key_expired"
    assert await studio.balances() == [10, 0, "0.0000"]


@pytest.mark.parametrize("room_id", ["", "no id", "ab " * 10 + "ab", "0" * 31, "é" * 32])
async def test_what_is_no_id_names_no_room(studio, room_id):
    assert (await refusal(studio.send(room_id=room_id))).code == "room_not_found"


async def test_an_id_in_capitals_is_the_same_room(studio):
    sent = await studio.send(room_id=studio.room_id.upper())

    assert sent.gift.room_id == studio.room_id
    assert (await studio.send()).gift == sent.gift


async def test_a_key_of_tomorrow_is_as_wrong_as_one_of_yesterday(studio):
    studio.clock.advance(3 * DAY)
    tomorrow = studio.key()
    studio.clock = type(studio.clock)(studio.clock.now() - 2 * DAY)

    assert (await refusal(studio.send(key=tomorrow))).code == "idempotency_key_expired"


async def test_a_creator_without_a_share_is_still_gifted(studio):
    studio.share_bps = 0

    first = await studio.send()

    assert (first.gift.diamonds, (await studio.send()).gift) == ("0.0000", first.gift)
    assert await studio.balances() == [7, 3, "0.0000"]


async def test_one_key_sent_fifty_times_at_once_is_one_gift(studio):
    sent = await asyncio.gather(*(studio.send() for _ in range(50)))

    assert len({each.gift.id for each in sent}) == 1
    assert {each.balance.coins for each in sent} == {7}
    assert await studio.balances() == [7, 3, "1.5000"]


async def test_a_thousand_gifts_at_once_from_a_wallet_for_five_hundred(studio):
    await studio.give_coins(studio.ana, 490)

    async def one(number):
        try:
            return await studio.send("tulip", key=f"key {number}")
        except Rejected as refused:
            return refused.code

    answers = await asyncio.gather(*(one(number) for number in range(1_000)))

    assert answers.count("insufficient_coins") == 500
    assert await studio.balances() == [0, 500, "250.0000"]
