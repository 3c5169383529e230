"""A creator's pages without scripts: what they show is what the ledger holds."""

import csv
import io
import re

import pytest

from largesse import money
from largesse.books import chart
from largesse.clock import DAY
from largesse.records import users
from tests.web.readers import reader

HOSTILE = '"><script>alert(1)</script>'


async def held_units(world, creator):
    """What the ledger holds for a creator, in ten-thousandths of a diamond."""
    [account] = await world.app.ledger.lookup_accounts(
        [chart.earnings_held(world.app.environment, creator.id)]
    )
    return account.credits_posted - account.debits_posted


def shown_diamonds(units):
    """As a page writes it: without the zeros at the end."""
    return money.diamonds(units).rstrip("0").rstrip(".")


@pytest.fixture
async def gifted(world):
    """Ana gave bob three kinds of gifts."""
    await world.give_coins(world.ana, 1_000)
    for item_id, quantity in (("rose", 5), ("cupcake", 1), ("full-marks", 2)):
        answer = await world.gift(world.ana, world.room_id, item_id, quantity)
        assert answer.status_code == 201, answer.text
    return world


async def test_an_adult_becomes_a_creator_and_goes_live(world):
    async with reader(world, world.ana) as ana:
        page = await ana.get("/creator")
        assert "Your share of each gift is 50 percent" in page.words
        assert (await ana.send(page, "/creator/join")).location == "/creator"

        page = await ana.get("/creator")
        refused = await ana.send(page, "/creator/live", title=" ")
        assert refused.status == 422
        assert "A title has 1 to 100 characters" in refused.words
        live = await ana.send(page, "/creator/live", title="My first live")
        assert live.location == "/creator/live"
        console = await ana.get("/creator/live")
        assert "My first live" in console.words
        # Pressed again, it leads to the room that is there.
        assert (await ana.send(page, "/creator/live", title="Once more")).location == live.location

    rooms = (await world.client.get("/v1/rooms?live=true")).json()["rooms"]
    assert [room["title"] for room in rooms if room["creator_id"] == world.ana.id] == [
        "My first live"
    ]


async def test_the_young_are_told_when_they_may(world):
    kid = await world.person("kid", birth_on="2012-01-01")
    async with reader(world, kid) as young:
        page = await young.get("/creator")
        assert "Creators must be 18 or older" in page.words
        assert [form.action for form in page.forms if "join" in form.action] == []
        token = (await young.get("/creator")).html.split('csrf-token" content="')[1].split('"')[0]
        forced = await young.post("/creator/join", {"csrf_token": token})
        assert forced.status == 403
        assert "Creators must be 18 or older" in forced.words
    user = await users.find_user(world.app.db, kid.id)
    assert user.roles == ("viewer",)


async def test_a_live_ends_with_its_figures_as_the_ledger_has_them(gifted):
    world = gifted
    async with reader(world, world.bob) as bob:
        console = await bob.get("/creator/live")
        assert "ana Rose \u00d7 5" in console.words
        asked = await bob.get("/creator/live/end")
        ended = await bob.send(asked, "/creator/live/end")
        assert ended.location == f"/creator/rooms/{world.room_id}"
        summary = await bob.get(ended.location)
        home = await bob.get("/creator")

    units = await held_units(world, world.bob)
    coins = units // world.app.settings.creator_share_bps
    assert f"yours {shown_diamonds(units)} diamonds" in summary.words
    assert f"Paid {coins} coins" in summary.words
    assert "from 1 person" in summary.words
    assert shown_diamonds(units) in home.words
    assert (await world.client.get(f"/v1/rooms/{world.room_id}")).json()["is_live"] is False


async def test_the_parts_of_every_split_add_up_on_the_page(gifted):
    async with reader(gifted, gifted.bob) as bob:
        page = await bob.get("/creator/earnings")

    found = re.findall(
        r"Paid [\d,]+ coins? = \$([\d.]+) \u00b7 platform \$([\d.]+) \u00b7 yours [\d.]+ diamonds? = \$([\d.]+)",
        page.words,
    )
    assert len(found) == 4  # The sum, and three gifts.
    for parts in found:
        paid, platform, yours = (round(float(part) * 1_000_000) for part in parts)
        assert paid == platform + yours


async def test_every_cut_of_the_earnings_shows_the_same_sum(gifted):
    units = await held_units(gifted, gifted.bob)
    async with reader(gifted, gifted.bob) as bob:
        for cut, word in (("item", "Full Marks"), ("room", "Sunday songs"), ("gifter", "ana")):
            page = await bob.get(f"/creator/earnings?by={cut}&days=7")
            assert word in page.words
            assert f"yours {shown_diamonds(units)} diamonds" in page.words

        gifted.clock.advance(8 * DAY)
        assert "Nothing in this time" in (await bob.get("/creator/earnings?days=7")).words
        assert word in (await bob.get("/creator/earnings?days=30&by=gifter")).words
        for wrong in ("days=8", "by=colour", "cursor=x"):
            refused = await bob.get(f"/creator/earnings?{wrong}")
            assert refused.status == 400
            assert "<h1" in refused.html


async def test_the_export_holds_every_gift_with_its_split(gifted):
    answer = await gifted.client.get(
        "/creator/earnings.csv",
        headers={"cookie": f"largesse_session={gifted.bob.token}"},
    )

    assert answer.headers["content-type"].startswith("text/csv")
    head, *rows = csv.reader(io.StringIO(answer.text))
    assert [row[head.index("item")] for row in rows] == ["Full Marks", "Cupcake", "Rose"]
    diamonds = sum(round(float(row[head.index("diamonds")]) * money.DIAMOND_UNITS) for row in rows)
    assert diamonds == await held_units(gifted, gifted.bob)


async def test_the_api_tells_the_gifts_and_the_sum_of_one_room(gifted):
    world = gifted
    await world.client.post(f"/v1/rooms/{world.room_id}/end", headers=world.bob.headers)
    second = await world.open_room(world.bob, "Monday talk")
    await world.gift(world.ana, second, "rose", 1)

    gifts = await world.client.get(
        f"/v1/earnings/gifts?room_id={second}", headers=world.bob.headers
    )
    assert [each["gift"]["item_id"] for each in gifts.json()["gifts"]] == ["rose"]
    sums = [
        (await world.client.get(f"/v1/earnings/rooms/{room}", headers=world.bob.headers)).json()
        for room in (world.room_id, second)
    ]
    assert [each["gifts"] for each in sums] == [3, 1]
    units = sum(round(float(each["diamonds"]) * money.DIAMOND_UNITS) for each in sums)
    assert units == await held_units(world, world.bob)


async def test_what_one_earns_is_nobody_elses_to_see(gifted):
    world = gifted
    bea = await world.person("bea", "creator")
    for path in (
        f"/v1/earnings/gifts?room_id={world.room_id}",
        f"/v1/earnings/rooms/{world.room_id}",
    ):
        answer = await world.client.get(path, headers=bea.headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "room_not_found")
        assert (await world.client.get(path, headers=world.ana.headers)).status_code == 403
    async with reader(world, bea) as other:
        assert (await other.get(f"/creator/rooms/{world.room_id}")).status == 404
    async with reader(world, world.ana) as ana:
        for path in ("/creator/live", "/creator/earnings", f"/creator/rooms/{world.room_id}"):
            page = await ana.get(path)
            assert page.status == 403
            assert "this page is for others" in page.words
    async with reader(world) as nobody:
        assert (await nobody.get("/creator/earnings")).location.startswith("/login?next=")


async def test_nobody_ends_a_room_of_somebody_else(gifted):
    bea = await gifted.person("bea", "creator")
    await gifted.open_room(bea, "Her own")
    async with reader(gifted, bea) as other:
        asked = await other.get("/creator/live/end")
        refused = await other.send(asked, "/creator/live/end", room_id=gifted.room_id)
    assert refused.status == 404
    room = (await gifted.client.get(f"/v1/rooms/{gifted.room_id}")).json()
    assert room["is_live"] is True


async def test_hostile_names_and_titles_are_only_words(world):
    await world.client.post(f"/v1/rooms/{world.room_id}/end", headers=world.bob.headers)
    room_id = await world.open_room(world.bob, HOSTILE)
    await users.set_nickname(world.app.db, world.ana.id, HOSTILE)
    await world.give_coins(world.ana, 10)
    await world.gift(world.ana, room_id)
    paths = ["/creator", "/creator/live", "/creator/live/end"]
    paths += [f"/creator/earnings?by={cut}" for cut in ("item", "room", "gifter")]
    async with reader(world, world.bob) as bob:
        pages = [await bob.get(path) for path in paths]
        await world.client.post(f"/v1/rooms/{room_id}/end", headers=world.bob.headers)
        pages.append(await bob.get(f"/creator/rooms/{room_id}"))
    for page in pages:
        assert page.status == 200
        assert "<script>alert" not in page.html
        assert "alert(1)" in page.words or "alert(1)" in page.html
