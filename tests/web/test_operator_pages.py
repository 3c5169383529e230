"""The operator's pages without scripts: figures of the ledger, and the three things one can do."""

import re
from html import unescape

import pytest

from largesse import reports
from largesse.books import chart
from largesse.clock import DAY
from largesse.records import inbox, orders, users
from largesse.records.inbox import Event
from largesse.web import operator
from tests.web.readers import reader

HOSTILE = '"><script>alert(1)</script>'
PATHS = ("", "/users", "/orders", "/inbox", "/rooms", "/catalogue", "/checks")


def words_of(page):
    """What stands on a page, its cells held apart."""
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", page.html).split()))


@pytest.fixture
async def traded(world):
    """Ana bought 700 coins and gave bob some of them; another order of hers waits."""
    world.order = await world.recharge(world.ana)
    assert (await world.gift(world.ana, world.room_id, "kite", 2)).status_code == 201
    answer = await world.client.post(
        "/v1/orders",
        json={"package_id": "coins-70", "provider": "sandbox"},
        headers=world.ana.headers | {"idempotency-key": world.key()},
    )
    world.waiting = answer.json()
    return world


async def test_only_an_operator_comes_in(world):
    user_id, order_id = world.ana.id, "0" * 32
    paths = [f"/operator{path}" for path in PATHS]
    paths += [f"/operator/users/{user_id}", f"/operator/orders/{order_id}"]
    for person in (world.ana, world.bob):
        async with reader(world, person) as someone:
            for path in paths:
                page = await someone.get(path)
                assert page.status == 403
                assert "this page is for others" in words_of(page)
            for path in (f"/users/{user_id}/disable", f"/rooms/{world.room_id}/end", "/checks"):
                assert (await someone.post(f"/operator{path}", {})).status == 403
    async with reader(world) as nobody:
        for path in paths:
            assert (await nobody.get(path)).location.startswith("/login?next=/operator")


async def test_today_shows_the_figures_of_the_ledger(traded):
    world = traded
    totals = await operator.totals(world.app)
    [issued, redeemed] = await world.app.ledger.lookup_accounts(
        [chart.issued(world.app.environment), chart.redeemed(world.app.environment)]
    )
    outstanding = issued.debits_posted - redeemed.credits_posted
    assert totals.coins_outstanding == outstanding == await world.balance(world.ana) == 640

    async with reader(world, world.olga) as olga:
        page = await olga.get("/operator")

    assert f"Coins outstanding {outstanding} coins $6.86" in words_of(page)
    assert "Coins sold 700 coins" in words_of(page)
    assert "Coins given 60 coins $0.65" in words_of(page)
    assert "Diamonds earned 30 diamonds" in words_of(page)
    assert "sandbox USD $7.49 1 order $7.49 $0.00" in words_of(page)
    assert totals.money_in[0].taken == reports.Price(749, "USD")
    assert "pending 1" in words_of(page)
    assert "credited 1" in words_of(page)
    assert "The worker runs in a process of its own" in words_of(page)


async def test_what_was_ordered_yesterday_is_not_todays_money(traded):
    traded.clock.advance(DAY)
    async with reader(traded, traded.olga) as olga:
        page = await olga.get("/operator")
    assert "sandbox USD $0.00 0 orders $7.49 $0.00" in words_of(page)
    assert "Most: $7.49" in words_of(page)


async def test_an_order_shows_its_chain_and_what_the_provider_told_us(traded):
    async with reader(traded, traded.olga) as olga:
        listed = await olga.get("/operator/orders?status=credited")
        assert f"/operator/orders/{traded.order['id']}" in listed.html
        assert traded.waiting["id"] not in listed.html
        page = await olga.get(f"/operator/orders/{traded.order['id']}")
        waiting = await olga.get(f"/operator/orders/{traded.waiting['id']}")
        missing = await olga.get(f"/operator/orders/{'0' * 32}")

    assert "recharge_net receivable/sandbox/USD coin_liability/USD $7.49" in words_of(page)
    assert "recharge issued wallet 700 coins" in words_of(page)
    assert "handled" in words_of(page)
    assert "Nothing has been posted for this order" in words_of(waiting)
    assert missing.status == 404


async def test_the_inbox_says_in_words_what_keeps_an_event_waiting(traded):
    world = traded
    now = world.clock.now()
    event = Event("sandbox", "evt_that_waits", "test", "pay_1", b"{}", now, None, 0, now)
    await inbox.store(world.app.db, event)
    await inbox.mark_failed(
        world.app.db, event, next_attempt_at=now + DAY, problem="payment_disputed"
    )
    async with reader(world, world.olga) as olga:
        waiting = await olga.get("/operator/inbox?show=waiting")
        handled = await olga.get("/operator/inbox?show=handled")
        refused = await olga.get("/operator/inbox?show=lost")

    assert "The payer disputes the payment." in words_of(waiting)
    assert "evt_that_waits" in words_of(waiting)
    assert "evt_that_waits" not in words_of(handled)
    assert words_of(handled).count("sandbox") == 1
    assert refused.status == 400


async def test_people_are_found_by_part_of_what_is_known_of_them(world):
    await users.set_nickname(world.app.db, world.ana.id, "Mira Moon")
    async with reader(world, world.olga) as olga:
        for text in ("an", "ANA", "ana@exam", "moon"):
            page = await olga.get(f"/operator/users?q={text}")
            assert f"/operator/users/{world.ana.id}" in page.html, text
            assert f"/operator/users/{world.bob.id}" not in page.html
        for text in ("%25", "_", "zzz"):
            assert "Nobody found" in (await olga.get(f"/operator/users?q={text}")).words


async def test_who_is_shut_out_has_no_session_and_keeps_what_he_has(traded):
    world = traded
    path = f"/operator/users/{world.ana.id}"
    async with reader(world, world.olga) as olga:
        page = await olga.get(path)
        assert "In the wallet 640 coins $6.86" in words_of(page)
        assert (await olga.send(page, f"{path}/disable")).location == path
        assert (await world.client.get("/v1/me", headers=world.ana.headers)).status_code == 401
        page = await olga.get(path)
        assert "shut out" in words_of(page)
        assert "In the wallet 640 coins" in words_of(page)
        assert (await olga.send(page, f"{path}/enable")).location == path
    world.ana.token = await world.session(world.ana.id, hours=1)
    assert (await world.client.get("/v1/me", headers=world.ana.headers)).status_code == 200


async def test_nobody_shuts_himself_out(world):
    path = f"/operator/users/{world.olga.id}"
    async with reader(world, world.olga) as olga:
        page = await olga.get(path)
        assert [form.action for form in page.forms if "disable" in form.action] == []
        token = page.html.split('csrf-token" content="')[1].split('"')[0]
        refused = await olga.post(f"{path}/disable", {"csrf_token": token})
    assert refused.status == 409
    assert "Nobody disables his own account" in words_of(refused)
    assert (await world.client.get("/v1/me", headers=world.olga.headers)).status_code == 200


async def test_a_form_without_its_proof_does_nothing(world):
    async with reader(world, world.olga) as olga:
        for path in (f"/users/{world.ana.id}/disable", f"/rooms/{world.room_id}/end", "/checks"):
            assert (await olga.post(f"/operator{path}", {"sure": "yes"})).status == 403
    assert (await world.client.get("/v1/me", headers=world.ana.headers)).status_code == 200
    assert (await world.client.get(f"/v1/rooms/{world.room_id}")).json()["is_live"] is True
    assert world.app.health.verdict is None


async def test_an_operator_ends_a_room(traded):
    world = traded
    async with reader(world, world.olga) as olga:
        page = await olga.get("/operator/rooms?show=live")
        assert "Sunday songs" in words_of(page)
        assert "30 diamonds $0.30" in words_of(page)
        ended = await olga.send(page, f"/operator/rooms/{world.room_id}/end")
        assert ended.location == "/operator/rooms?show=live"
        assert "Nobody is live" in (await olga.get(ended.location)).words
        assert "Sunday songs" in (await olga.get("/operator/rooms?show=over")).words
    assert (await world.gift(world.ana, world.room_id)).json()["code"] == "room_ended"


async def test_the_checks_run_when_asked_and_say_each_in_words(traded):
    async with reader(traded, traded.olga) as olga:
        page = await olga.get("/operator/checks")
        assert "Not checked since the start" in words_of(page)
        assert (await olga.send(page, "/operator/checks")).location == "/operator/checks"
        page = await olga.get("/operator/checks")
        today = await olga.get("/operator")

    verdict = traded.app.health.verdict
    assert verdict.holds
    assert "The books hold" in words_of(page)
    for check in verdict.checks:
        assert check.name[1:] in words_of(page)
    assert words_of(page).count(": holds") == len(verdict.checks)
    assert f"The books hold: {len(verdict.checks)} checks" in words_of(today)


async def test_the_catalogue_is_all_there(world):
    async with reader(world, world.olga) as olga:
        page = await olga.get("/operator/catalogue")
    for item in world.app.catalog.gift_items:
        assert item.name in words_of(page)
    assert "70 coins $0.74" in words_of(page)
    assert "in force" in words_of(page)


async def test_lists_go_on_from_page_to_page_with_their_filters(world):
    now = world.clock.now()
    ids = [f"{number:032x}" for number in range(1, 61)]
    for number, order_id in enumerate(ids):
        await orders.insert_or_get(
            world.app.db,
            orders.Order(
                id=order_id,
                viewer_id=world.ana.id,
                environment="test",
                provider="sandbox",
                channel="web",
                country="US",
                package_id="coins-70",
                coins=70,
                bonus_coins=0,
                amount=74,
                currency="USD",
                tax=0,
                price_list_version=1,
                status="failed" if number % 2 else "created",
                created_at=now + number,
                updated_at=now,
            ),
        )
    seen, address = [], "/operator/orders?status=failed"
    async with reader(world, world.olga) as olga:
        while address:
            page = await olga.get(address)
            seen += [id for id in reversed(ids) if f"/operator/orders/{id}" in page.html]
            _, _, rest = page.html.partition('rel="next"')
            before, _, _ = page.html.partition('rel="next"')
            link = before.rpartition('href="')[2].partition('"')[0] if rest else ""
            assert not link or "status=failed&amp;cursor=" in link
            address = link.replace("&amp;", "&")
        assert (await olga.get("/operator/orders?cursor=x")).status == 400
    assert seen == list(reversed(ids))[::2]


async def test_hostile_names_and_titles_are_only_words(world):
    await world.client.post(f"/v1/rooms/{world.room_id}/end", headers=world.bob.headers)
    await users.set_nickname(world.app.db, world.bob.id, HOSTILE)
    await world.open_room(world.bob, HOSTILE)
    async with reader(world, world.olga) as olga:
        for path in ("/rooms", "/users", f"/users?q={HOSTILE}", f"/users/{world.bob.id}"):
            page = await olga.get(f"/operator{path}")
            assert page.status == 200
            assert "<script>alert" not in page.html
            assert "alert(1)" in page.html


async def test_a_creator_who_is_shut_out_is_live_no_longer(world):
    await world.give_coins(world.ana, 5)
    path = f"/operator/users/{world.bob.id}"
    async with reader(world, world.olga) as olga:
        await olga.send(await olga.get(path), f"{path}/disable")
    room = (await world.client.get(f"/v1/rooms/{world.room_id}")).json()
    refused = await world.gift(world.ana, world.room_id)
    assert (room["is_live"], refused.json()["code"]) == (False, "room_ended")
