"""Profile, settings, balance, recharge, order and history without scripts."""

import re

import pytest

from largesse import recharge
from largesse.clock import DAY, HOUR
from tests.web import worlds
from tests.web.readers import reader

HOSTILE = '"><script>alert(1)</script>'


async def pay(world, location, what="confirm"):
    """As a browser at the checkout: where it is sent on to."""
    answer = await world.client.post(f"{location}/{what}", headers={"accept": "text/html"})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def ordered(someone, page=None, **changes):
    page = page or await someone.follow("/recharge")
    return await someone.send(page, "/recharge", **changes)


async def orders_of(world, person):
    answer = await world.client.get("/v1/orders", headers=person.headers)
    return answer.json()["orders"]


async def test_from_the_profile_to_new_coins_without_scripts(world):
    async with reader(world, world.ana) as ana:
        profile = await ana.get("/profile")
        assert 'href="/settings"' in profile.html
        settings = await ana.get("/settings")
        assert 'href="/wallet"' in settings.html
        wallet = await ana.get("/wallet")
        assert "Nothing has moved yet" in wallet.words
        page = await ana.follow("/recharge")
        for price in ("$0.74", "$3.74", "$7.49", "$14.99", "$37.49", "$74.99", "$187.49"):
            assert f"Pay {price}" in page.words
        assert "$1.07 per 100" in page.words

        gone = await ordered(ana, page, package="coins-700")
        assert gone.status == 303
        assert "/sandbox/payments/" in gone.location
        back = await pay(world, gone.location)
        [order] = await orders_of(world, world.ana)
        assert back.endswith(f"/orders/{order['id']}")

        waiting = await ana.get(f"/orders/{order['id']}")
        assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in waiting.html
        assert shown(waiting) == "Waiting for the payment"
        await world.deliver()
        done = await ana.get(f"/orders/{order['id']}")
        assert shown(done) == "Your coins are here"
        assert "http-equiv" not in done.html
        for words in ("700", "$7.49", "Test payment", order["id"]):
            assert words in done.words
        assert await world.balance(world.ana) == 700
        history = await ana.get("/wallet/history")
        assert f'href="/orders/{order["id"]}"' in history.html


def shown(page):
    """The heading of the part of an order that is not hidden."""
    parts = re.findall(r'<section class="card order-state"([^>]*)>(.*?)</section>', page.html, re.S)
    [part] = [part for attributes, part in parts if "hidden" not in attributes]
    return re.search(r"<h2>(.*?)</h2>", part)[1]


@pytest.mark.parametrize(
    ("need", "package", "exact"),
    [
        ("", "coins-70", ""),
        ("1", "exact", "50"),
        ("70", "coins-70", "70"),
        ("71", "exact", "71"),
        ("350", "coins-350", "350"),
        ("17501", "exact", "17501"),
        ("60000", "", "50000"),
        ("-5", "coins-70", ""),
        ("many", "coins-70", ""),
        ("9" * 40, "coins-70", ""),
    ],
)
async def test_the_cheapest_that_covers_the_need_is_chosen(world, need, package, exact):
    async with reader(world, world.ana) as ana:
        page = await ana.follow(f"/recharge?need={need}")

    fields = page.form("/recharge").fields
    assert (fields.get("package", ""), fields["exact"]) == (package, exact)
    assert ("That is more than one recharge buys." in page.words) == (package == "")


async def test_an_exact_amount_shows_its_price_before_it_is_ordered(world):
    async with reader(world, world.ana) as ana:
        page = await ana.follow("/recharge")
        asked = await ordered(ana, page, package="exact", exact="1,234")
        assert asked.status == 200
        assert "1,234 coins cost $13.22, tax included." in asked.words
        assert "Pay $13.22" in asked.words
        assert await orders_of(world, world.ana) == []

        gone = await ordered(ana, asked)
        await pay(world, gone.location)
        await world.deliver()

    [order] = await orders_of(world, world.ana)
    assert (order["coins"], order["price"]["amount"]) == (1_234, 1_322)
    assert await world.balance(world.ana) == 1_234


@pytest.mark.parametrize("exact", ["49", "50001", "", "-70", "7e3", "x", "1" * 12, "\u0667\u0667"])
async def test_an_exact_amount_that_is_not_sold_says_what_is(world, exact):
    async with reader(world, world.ana) as ana:
        refused = await ordered(ana, package="exact", exact=exact)

    assert refused.status == 422
    assert "An exact amount is from 50 to 50,000 coins." in refused.words
    assert refused.form("/recharge").fields["exact"] == exact
    assert await orders_of(world, world.ana) == []


@pytest.mark.parametrize(
    "changes",
    [
        *({"package": "coins-9"}, {"package": None}, {"package": "exact:70"}),
        *({"provider": "stripe"}, {"provider": None}),
    ],
)
async def test_what_is_not_offered_is_not_ordered(world, changes):
    async with reader(world, world.ana) as ana:
        refused = await ordered(ana, **changes)

    assert refused.status >= 400
    assert "Choose how" in refused.words
    assert await orders_of(world, world.ana) == []


async def test_pressed_twice_or_gone_back_to_it_is_one_order(world):
    async with reader(world, world.ana) as ana:
        page = await ana.follow("/recharge?need=350")
        address = (await ana.get("/recharge?need=350")).location
        page = await ana.get(address)
        first = await ordered(ana, page)
        second = await ordered(ana, page)
        again = await ana.get(address)
        assert "You have begun to pay $3.74 for 350 coins." in again.words
        third = await ordered(ana, again)

        assert first.location == second.location == third.location
        assert len(await orders_of(world, world.ana)) == 1

        await pay(world, first.location)
        await world.deliver()
        [order] = await orders_of(world, world.ana)
        late = await ordered(ana, page)
        assert late.location == f"/orders/{order['id']}"
        fresh = await ana.get(address)
        assert fresh.status == 303
        assert fresh.location != address
        assert (await ana.get(fresh.location)).form("/recharge").fields["key"] not in address
    assert await world.balance(world.ana) == 350


async def test_another_choice_on_the_same_page_is_asked_for_once_more(world):
    async with reader(world, world.ana) as ana:
        page = await ana.follow("/recharge")
        await ordered(ana, page, package="coins-70")
        asked = await ordered(ana, page, package="coins-350")
        assert asked.status == 409
        assert "You began to pay for something else on this page." in asked.words
        assert "You have begun to pay $0.74 for 70 coins." in asked.words
        gone = await ordered(ana, asked)
        assert gone.status == 303

    assert sorted(order["coins"] for order in await orders_of(world, world.ana)) == [70, 350]


async def test_a_page_that_was_open_for_days_gets_a_new_key_and_orders_nothing(world):
    async with reader(world, world.ana) as ana:
        page = await ana.follow("/recharge")
        address = f"/recharge?key={page.form('/recharge').fields['key']}"
        world.clock.advance(2 * DAY)
        old = await ordered(ana, page)
        assert old.status == 409
        assert "This page was open for long." in old.words
        assert await orders_of(world, world.ana) == []
        gone = await ordered(ana, old)
        assert gone.status == 303
        assert (await ana.get(address)).status == 303
    assert len(await orders_of(world, world.ana)) == 1


@pytest.mark.parametrize("key", ["", None, "x" * 300, "a\nb"])
async def test_a_form_without_a_good_key_orders_nothing(world, key):
    async with reader(world, world.ana) as ana:
        refused = await ordered(ana, key=key)

    assert refused.status in (400, 409)
    assert await orders_of(world, world.ana) == []


async def test_prices_that_changed_meanwhile_are_shown_before_they_are_paid(world):
    async with reader(world, world.ana) as ana:
        for changes in (
            {"price_list": "0"},
            {"package": "exact", "exact": "70", "shown": "70:1:USD"},
        ):
            asked = await ordered(ana, **changes)
            assert asked.status == 200
    assert await orders_of(world, world.ana) == []


@pytest.mark.parametrize("token", [None, "", "guess", "bob's", "of yesterday"])
async def test_a_form_of_somebody_else_moves_nothing(world, token):
    before = await world.moved()
    async with reader(world, world.ana) as ana, reader(world, world.bob) as bob:
        page = await ana.follow("/recharge")
        if token == "bob's":
            token = (await bob.follow("/recharge")).form("/recharge").fields["csrf_token"]
        if token == "of yesterday":
            token = page.form("/recharge").fields["csrf_token"]
            other = await world.session(world.ana.id, hours=1)
            ana.client.cookies.clear()
            ana.client.cookies.set("largesse_session", other, domain=ana.client.base_url.host)
        for action, form in (("/recharge", page), ("/settings/name", None)):
            form = form or await ana.get(action)
            refused = await ana.send(form, action, csrf_token=token)
            assert refused.status == 403
            assert "nothing has happened yet" in refused.words
    assert await orders_of(world, world.ana) == []
    assert await world.moved() == before


async def test_who_was_logged_out_meanwhile_logs_in_and_comes_back(world):
    async with reader(world, world.ana) as ana:
        page = await ana.follow("/recharge")
        await world.app.sessions.close(world.ana.token)
        gone = await ordered(ana, page)

    assert (gone.status, gone.location) == (303, "/login?next=/recharge")
    assert await recharge_orders(world) == []


async def recharge_orders(world):
    answer = await world.client.get("/v1/operator/orders", headers=world.olga.headers)
    return answer.json()["orders"]


async def test_a_declined_payment_leads_to_another_try_with_a_key_of_its_own(world):
    async with reader(world, world.ana) as ana:
        page = await ana.follow("/recharge")
        gone = await ordered(ana, page, package="coins-350")
        await pay(world, gone.location, "decline")
        await world.deliver()
        [failed] = await orders_of(world, world.ana)
        told = await ana.get(f"/orders/{failed['id']}")
        assert shown(told) == "Not paid"
        assert "The payment was declined. Nothing was charged" in told.words
        again = await ana.follow(re.search(r'href="(/recharge\?package=[^"]+)"', told.html)[1])
        fields = again.form("/recharge").fields
        assert fields["package"] == "coins-350"
        assert fields["key"] != page.form("/recharge").fields["key"]
        gone = await ordered(ana, again)
        await pay(world, gone.location)
        await world.deliver()
    assert sorted(order["status"] for order in await orders_of(world, world.ana)) == [
        "credited",
        "failed",
    ]
    assert await world.balance(world.ana) == 350


async def test_an_order_is_nobody_elses(world):
    order = await world.recharge(world.ana)
    async with reader(world, world.bob) as bob, reader(world) as nobody:
        assert (await bob.get(f"/orders/{order['id']}")).status == 404
        assert (await bob.get("/orders/none")).status == 404
        asked = await nobody.get(f"/orders/{order['id']}")
        assert asked.location == f"/login?next=/orders/{order['id']}"


async def test_a_child_is_told_and_sees_no_button(world):
    kim = await world.person("kim", birth_on="2015-01-01")
    async with reader(world, kim) as child:
        page = await child.follow("/recharge")
        assert "Only people of 18 or older may buy coins." in page.words
        assert [form for form in page.forms if form.action == "/recharge"] == []
        forced = await child.post(
            "/recharge",
            {
                "csrf_token": (await child.get("/settings/name"))
                .form("/settings/name")
                .fields["csrf_token"],
                "key": world.key(),
                "package": "coins-70",
                "provider": "sandbox",
                "price_list": str(world.app.price_list_version),
            },
        )
        assert forced.status == 403
    assert await orders_of(world, kim) == []


async def test_a_provider_that_does_not_answer_is_asked_again_with_the_same_key(world, monkeypatch):
    from largesse.payments import ProviderUnavailable

    async def no_answer(order):
        raise ProviderUnavailable("no answer")

    provider = world.app.providers["sandbox"]
    async with reader(world, world.ana) as ana:
        page = await ana.follow("/recharge")
        with monkeypatch.context() as patch:
            patch.setattr(provider, "start", no_answer)
            refused = await ordered(ana, page)
        assert refused.status == 503
        assert "Nothing was charged" in refused.words
        same = refused.form("/recharge").fields["key"]
        assert same == page.form("/recharge").fields["key"]
        gone = await ordered(ana, refused)
        assert gone.status == 303
    assert len(await orders_of(world, world.ana)) == 1


async def test_the_history_is_filtered_by_a_form_and_leads_through_its_pages(world):
    await world.recharge(world.ana, "coins-70")
    world.clock.advance(DAY)
    for _ in range(32):
        world.clock.advance(HOUR // 60)
        assert (await world.gift(world.ana, world.room_id)).status_code == 201
    async with reader(world, world.ana) as ana:
        page = await ana.get("/wallet/history")
        assert page.words.count("1 \u00d7 Rose") == 30
        older = await ana.get(re.search(r'href="(/wallet/history\?cursor=[^"]+)"', page.html)[1])
        assert older.words.count("1 \u00d7 Rose") == 2
        assert "Recharge" in older.words
        assert f'href="/rooms/{world.room_id}"' in older.html

        form = page.form("/wallet/history").fields | {"kind": "recharge"}
        bought = await ana.client.get("/wallet/history", params=form)
        assert "1 \u00d7 Rose" not in bought.text
        assert 'href="/v1/wallet/history.csv?kind=recharge"' in bought.text
        taken = await ana.client.get("/v1/wallet/history.csv?kind=recharge")
        assert taken.text.count("\n") == 2

        nothing = await ana.get("/wallet/history?to=2001-01-01")
        assert "Nothing here" in nothing.words
        wrong = await ana.get("/wallet/history?from=tomorrow&kind=theft")
        assert wrong.status == 400
        assert "This is not a day" in wrong.words
        assert "There is no such kind." in wrong.words
        assert (await ana.get("/wallet/history?cursor=made-up")).status == 400


async def test_the_history_names_a_creator_as_his_room_does(world):
    await world.client.patch("/v1/me", json={"nickname": "Bo sings"}, headers=world.bob.headers)
    await world.recharge(world.ana, "coins-70")
    await world.gift(world.ana, world.room_id)
    async with reader(world, world.ana) as ana:
        for path in ("/wallet", "/wallet/history"):
            assert "to Bo sings" in (await ana.get(path)).words


async def test_nothing_yet_is_not_nothing_like_this(world):
    async with reader(world, world.ana) as ana:
        empty = await ana.get("/wallet/history")
        filtered = await ana.get("/wallet/history?kind=gift")
    assert "Nothing has moved yet" in empty.words
    assert "Nothing here" in filtered.words


async def test_every_amount_of_coins_has_its_money_beside_it(world):
    await world.recharge(world.ana, "coins-700")
    await world.gift(world.ana, world.room_id, quantity=5)
    async with reader(world, world.ana) as ana:
        wallet = await ana.get("/wallet")

    assert re.search(r"You have 695 coins about \$7\.4\d", wallet.words)
    assert "$0.06" in wallet.words
    assert "$7.49" in wallet.words


async def test_hostile_names_are_shown_harmlessly(world):
    async with reader(world, world.ana) as ana:
        page = await ana.get("/settings/name")
        done = await ana.send(page, "/settings/name", nickname=HOSTILE)
        assert done.location == "/settings?done=name"
        await world.client.post(f"/v1/rooms/{world.room_id}/end", headers=world.bob.headers)
        room_id = await world.open_room(world.bob, HOSTILE)
        await world.give_coins(world.ana, 10)
        await world.gift(world.ana, room_id)
        for path in ("/profile", "/settings", "/settings/name", "/settings/privacy", "/wallet"):
            page = await ana.get(path)
            assert page.status == 200
            assert "<script>alert" not in page.html
        assert HOSTILE in (await ana.get("/profile")).words
        drawn = await ana.client.get(f"/avatars/{world.ana.id}.svg")
        assert "<script" not in drawn.text


async def test_a_name_that_is_too_long_is_refused_beside_its_field(world):
    async with reader(world, world.ana) as ana:
        page = await ana.get("/settings/name")
        refused = await ana.send(page, "/settings/name", nickname="x" * 51)
        assert refused.status == 422
        assert 'id="nickname-error"' in refused.html
        assert refused.form("/settings/name").fields["nickname"] == "x" * 51


async def test_a_password_changes_and_other_sessions_end(world):
    await world.sign_up("mira")
    here, there = await world.log_in("mira"), await world.log_in("mira")
    async with reader(world, here) as mira, reader(world, there) as elsewhere:
        page = await mira.get("/settings/password")
        wrong = await mira.send(
            page, "/settings/password", current="not this one", password="another long one"
        )
        assert wrong.status == 403
        assert 'id="current-error"' in wrong.html
        done = await mira.send(
            page, "/settings/password", current="a rather long one", password="another long one"
        )
        assert done.location == "/settings?done=password"
        assert (await mira.get("/profile")).status == 200
        assert (await elsewhere.get("/profile")).status == 303


async def test_one_logs_out_everywhere_else(world):
    other = await world.session(world.ana.id, hours=1)
    async with reader(world, world.ana) as ana:
        settings = await ana.get("/settings")
        done = await ana.send(settings, "/settings/sessions")
        assert "You are logged out everywhere else." in (await ana.get(done.location)).words
    bearer = {"authorization": f"Bearer {other}"}
    assert (await world.client.get("/v1/me", headers=bearer)).status_code == 401


async def test_a_language_that_there_is_not_changes_nothing(prepared, tmp_path):
    async with worlds.open_world(tmp_path, prepared=prepared, development=True) as world:
        world.ana = await world.person("ana")
        async with reader(world, world.ana) as ana:
            page = await ana.get("/settings")
            for chosen in ("xx", "../en", ""):
                done = await ana.send(page, "/settings/language", language=chosen)
                assert done.location == "/settings"
                assert "set-cookie" not in done.headers
            done = await ana.send(page, "/settings/language", language="ar-XB")
            assert done.location == "/settings?done=language"
            assert 'dir="rtl"' in (await ana.get(done.location)).html


async def test_a_picture_is_drawn_for_everybody_and_kept(world):
    path = f"/avatars/{world.ana.id}.svg"
    first = await world.client.get(path)
    again = await world.client.get(path, headers={"if-none-match": first.headers["etag"]})
    neutral = await world.client.get("/avatars/nobody.svg")
    unknown = await world.client.get(f"/avatars/{'0' * 32}.svg")

    assert first.headers["content-type"].startswith("image/svg+xml")
    assert first.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert "max-age=300" in first.headers["cache-control"]
    assert ">A</text>" in first.text
    assert again.status_code == 304
    assert (await world.client.get(path)).content == first.content
    assert neutral.content == unknown.content
    assert neutral.status_code == 200
    assert first.content != (await world.client.get(f"/avatars/{world.bob.id}.svg")).content


async def test_the_pages_need_their_role(world):
    nobody = await world.person("nia", roles=("creator",))
    async with reader(world, nobody) as nia:
        assert (await nia.get("/profile")).status == 200
        assert (await nia.get("/settings")).status == 200
        for path in ("/wallet", "/recharge", "/wallet/history"):
            assert (await nia.get(path)).status == 403


def test_the_id_of_an_order_follows_from_viewer_and_key():
    key = "019ac0ff-0000-7000-8000-000000000001"

    assert recharge.order_id_of("ana", key) == recharge.order_id_of("ana", key)
    assert recharge.order_id_of("ana", key) != recharge.order_id_of("bob", key)
