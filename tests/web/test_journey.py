"""From an empty folder to a gift, by the API alone."""

from tests.web import worlds
from tests.web.worlds import PASSWORD


async def test_a_viewer_recharges_and_gifts_and_the_creator_earns(prepared, tmp_path):
    async with worlds.open_world(tmp_path, prepared=prepared) as world:
        client = world.client
        await world.sign_up("ana")
        ana = await world.log_in("ana")
        await world.sign_up("bob")
        bob = await world.log_in("bob")
        asked = await client.post("/v1/me/roles", json={"role": "creator"}, headers=bob.headers)
        assert asked.json()["roles"] == ["viewer", "creator"]
        room_id = await world.open_room(bob, "  Sunday songs ")

        packages = (await client.get("/v1/packages?channel=web&country=US")).json()["packages"]
        assert packages[0] | {"id": ""} == {
            "id": "",
            "coins": 70,
            "bonus_coins": 0,
            "price": {"amount": 74, "currency": "USD"},
        }
        order = await world.recharge(ana, packages[0]["id"])
        assert (order["status"], order["coins"]) == ("pending", 70)
        order = (await client.get(f"/v1/orders/{order['id']}", headers=ana.headers)).json()
        assert order["status"] == "credited"
        wallet = (await client.get("/v1/wallet", headers=ana.headers)).json()
        assert (wallet["coins"], wallet["debt"], wallet["price"]["amount"]) == (70, 0, 75)

        rooms = (await client.get("/v1/rooms?live=true")).json()["rooms"]
        assert [(room["title"], room["creator_login"]) for room in rooms] == [
            ("Sunday songs", "bob")
        ]
        key = world.key()
        sent = await world.gift(ana, rooms[0]["id"], "rose", 20, key=key)
        assert (sent.status_code, sent.json()["balance"]["coins"]) == (201, 50)
        assert (await world.gift(ana, room_id, "rose", 20, key=key)).json() == sent.json()

        refused = (await world.gift(ana, room_id, "rose", 100)).json()
        assert (refused["code"], refused["missing"]) == ("insufficient_coins", 50)
        assert refused["package"]["coins"] == 70

        await _history_shows(world, ana, order)
        await _creator_sees(world, bob)
        await _operator_sees(world)


async def _history_shows(world, ana, order):
    history = (await world.client.get("/v1/wallet/history", headers=ana.headers)).json()["rows"]
    assert [(row["kind"], row["coins"], row["balance"]) for row in history] == [
        ("gift", -20, 50),
        ("recharge", 70, 70),
    ]
    assert history[0]["gift"]["creator_login"] == "bob"
    assert history[0]["gift"]["room_title"] == "Sunday songs"
    assert history[1]["price"] == {"amount": 74, "currency": "USD"}
    assert history[1]["order"]["id"] == order["id"]


async def _creator_sees(world, bob):
    client = world.client
    earnings = (await client.get("/v1/earnings", headers=bob.headers)).json()
    assert (earnings["held"], earnings["held_price"]["amount"]) == ("10.0000", 10)
    [earned] = (await client.get("/v1/earnings/gifts", headers=bob.headers)).json()["gifts"]
    assert earned["gift"]["viewer_login"] == "ana"
    assert earned["split"]["yours"] == {
        "share_bps": 5000,
        "diamonds": "10.0000",
        "worth": {"value": "0.100000", "currency": "USD"},
    }
    assert earned["split"]["paid"]["worth"]["value"] == "0.214275"
    assert earned["split"]["platform"]["value"] == "0.114275"


async def _operator_sees(world):
    client = world.client
    olga = await world.person("olga", "operator")
    totals = (await client.get("/v1/operator/totals", headers=olga.headers)).json()
    assert totals["money_in"] == [
        {
            "provider": "sandbox",
            "taken": {"amount": 74, "currency": "USD"},
            "returned": {"amount": 0, "currency": "USD"},
        }
    ]
    assert (totals["coins_sold"], totals["coins_outstanding"]) == (70, 50)
    assert (totals["coins_gifted"], totals["gifts"], totals["diamonds"]) == (20, 1, "10.0000")
    check = (await client.get("/v1/operator/check", headers=olga.headers)).json()
    assert check["holds"], check
    assert len(check["checks"]) > 5


async def test_a_declined_payment_brings_no_coins(world):
    answer = await world.client.post(
        "/v1/orders",
        json={"package_id": "coins-70", "provider": "sandbox"},
        headers=world.ana.headers | {"idempotency-key": world.key()},
    )
    order = answer.json()
    await world.client.post(f"{order['checkout_url']}/decline")
    await world.deliver()

    order = (await world.client.get(f"/v1/orders/{order['id']}", headers=world.ana.headers)).json()
    assert order["status"] == "failed"
    assert await world.balance(world.ana) == 0


async def test_a_webhook_wakes_the_worker(world):
    answer = await world.client.post(
        "/v1/orders",
        json={"package_id": "coins-70", "provider": "sandbox"},
        headers=world.ana.headers | {"idempotency-key": world.key()},
    )
    await world.client.post(f"{answer.json()['checkout_url']}/confirm")
    world.app.worker_wake.clear()

    await world.app.sandbox.deliver_due()

    assert world.app.worker_wake.is_set()
    assert await world.balance(world.ana) == 0
    inbox = await world.client.get("/v1/operator/inbox", headers=world.olga.headers)
    [event] = inbox.json()["events"]
    assert (event["provider"], event["handled_at"], event["attempts"]) == ("sandbox", None, 0)


async def test_an_order_asked_for_twice_is_one_order(world):
    headers = world.ana.headers | {"idempotency-key": world.key()}
    body = {"package_id": "coins-70", "provider": "sandbox"}
    first = await world.client.post("/v1/orders", json=body, headers=headers)
    again = await world.client.post("/v1/orders", json=body, headers=headers)
    other = await world.client.post(
        "/v1/orders", json=body | {"package_id": "coins-350"}, headers=headers
    )

    assert first.json() == again.json()
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    mine = await world.client.get("/v1/orders", headers=world.ana.headers)
    assert [order["id"] for order in mine.json()["orders"]] == [first.json()["id"]]


async def test_one_key_may_serve_an_order_and_a_gift(world):
    await world.give_coins(world.ana, 10)
    key = world.key()
    body = {"package_id": "coins-70", "provider": "sandbox"}
    order = await world.client.post(
        "/v1/orders", json=body, headers=world.ana.headers | {"idempotency-key": key}
    )

    assert order.status_code == 201
    assert (await world.gift(world.ana, world.room_id, key=key)).status_code == 201


async def test_lists_come_in_pages(world):
    await world.give_coins(world.ana, 100)
    for quantity in range(1, 8):
        await world.gift(world.ana, world.room_id, quantity=quantity)
    for path, headers, name in (
        ("/v1/wallet/history", world.ana.headers, "rows"),
        (f"/v1/rooms/{world.room_id}/gifts", {}, "gifts"),
        ("/v1/earnings/gifts", world.bob.headers, "gifts"),
    ):
        whole = (await world.client.get(path, headers=headers)).json()
        assert whole["next_cursor"] is None
        pages, cursor = [], None
        while cursor or not pages:
            parameters = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = (await world.client.get(path, headers=headers, params=parameters)).json()
            pages.append(page[name])
            cursor = page["next_cursor"]
        assert [len(page) for page in pages][:2] == [3, 3]
        assert [row for page in pages for row in page] == whole[name]


async def test_top_gifters_are_ranked_by_coins(world):
    cleo = await world.person("cleo")
    for viewer, quantity in ((world.ana, 3), (cleo, 5), (world.ana, 1)):
        await world.give_coins(viewer, 10)
        await world.gift(viewer, world.room_id, quantity=quantity)

    answer = await world.client.get(f"/v1/rooms/{world.room_id}/top-gifters")

    ranked = [
        (row["rank"], row["viewer_login"], row["coins"]) for row in answer.json()["top_gifters"]
    ]
    assert ranked == [(1, "cleo", 5), (2, "ana", 4)]


async def test_an_ended_room_takes_no_gift_and_is_no_longer_live(world):
    await world.give_coins(world.ana, 10)
    path = f"/v1/rooms/{world.room_id}/end"
    ended = await world.client.post(path, headers=world.bob.headers)
    again = await world.client.post(path, headers=world.bob.headers)

    assert (ended.status_code, ended.json()["is_live"]) == (200, False)
    assert again.json() == ended.json()
    assert (await world.gift(world.ana, world.room_id)).json()["code"] == "room_ended"
    assert (await world.client.get("/v1/rooms?live=true")).json()["rooms"] == []
    assert len((await world.client.get("/v1/rooms?live=false")).json()["rooms"]) == 1


async def test_sessions_end_and_passwords_change(prepared, tmp_path):
    async with worlds.open_world(tmp_path, prepared=prepared) as world:
        await world.sign_up("ana")
        first, second = await world.log_in("ana"), await world.log_in("ANA")
        changed = await world.client.post(
            "/v1/me/password",
            json={"current": PASSWORD, "new": "another long one"},
            headers=second.headers,
        )
        assert changed.status_code == 204
        for person, status in ((first, 401), (second, 200)):
            answer = await world.client.get("/v1/me", headers=person.headers)
            assert answer.status_code == status

        out = await world.client.delete("/v1/sessions/current", headers=second.headers)
        assert out.status_code == 204
        refused = await world.client.get("/v1/me", headers=second.headers)
        assert refused.json()["code"] == "session_expired"
        wrong = await world.client.post("/v1/sessions", json={"login": "ana", "password": PASSWORD})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "login_or_password_wrong")


async def test_a_forgotten_password_is_reset_by_mail(prepared, tmp_path):
    async with worlds.open_world(tmp_path, prepared=prepared) as world:
        await world.sign_up("ana")
        for email in ("ana@example.org", "nobody@example.org"):
            asked = await world.client.post("/v1/password-resets", json={"email": email})
            assert asked.status_code == 202
        refused = await world.client.post(
            "/v1/password-resets/confirm", json={"token": "made up", "password": PASSWORD}
        )
        assert (refused.status_code, refused.json()["code"]) == (403, "reset_token_invalid")


async def test_health_says_what_answers(world):
    assert (await world.client.get("/livez")).json() == {"status": "ok"}
    ready = await world.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")

    await world.app.ledger.close()

    ready = await world.client.get("/readyz")
    assert ready.status_code == 503
    assert (ready.json()["ledger"], ready.json()["records"]) == ("unavailable", "ok")
    assert (await world.client.get("/livez")).status_code == 200
    answer = await world.gift(world.ana, world.room_id)
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_who_asks_for_the_top_gifters_is_told_his_own_place(world):
    eve = await world.person("eve")
    for viewer, quantity in ((world.ana, 5), (eve, 9)):
        await world.give_coins(viewer, 10)
        assert (await world.gift(viewer, world.room_id, quantity=quantity)).status_code == 201
    path = f"/v1/rooms/{world.room_id}/top-gifters"

    told = (await world.client.get(path, params={"limit": 1}, headers=world.ana.headers)).json()
    assert [row["viewer_name"] for row in told["top_gifters"]] == ["eve"]
    assert (told["you"]["rank"], told["you"]["coins"]) == (2, 5)
    assert (await world.client.get(path)).json()["you"] is None
    bob = await world.client.get(path, headers=world.bob.headers)
    assert bob.json()["you"] is None

    await world.client.post(f"/v1/rooms/{world.room_id}/end", headers=world.bob.headers)
    later = await world.open_room(world.bob, "Monday songs")
    path = f"/v1/rooms/{later}/top-gifters"
    assert (await world.client.get(path)).json()["top_gifters"] == []
    ever = (await world.client.get(path, params={"scope": "creator"})).json()
    assert [(row["viewer_login"], row["coins"]) for row in ever["top_gifters"]] == [
        ("eve", 9),
        ("ana", 5),
    ]
    refused = await world.client.get(path, params={"scope": "world"})
    assert refused.json()["code"] == "parameter_invalid"
