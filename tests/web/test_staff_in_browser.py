"""Creators and operators in a real browser: what arrives by itself, in every look, by keyboard."""

import re

import pytest

from largesse.books import chart
from largesse.clock import SystemClock
from largesse.records import users
from tests.web import worlds
from tests.web.browser import DESK, PHONE, browser_at, needs_browser

pytestmark = needs_browser

HOSTILE = '<img src=x onerror="alert(1)">'
LOOKS = (
    {**PHONE, "scheme": "light"},
    {**DESK, "scheme": "dark"},
)
FURTHER_LOOKS = (
    {**PHONE, "scheme": "dark", "reduced_motion": "reduce"},
    {**DESK, "scheme": "light", "forced_colors": "active"},
    {"width": 800, "height": 600},
)
CROWDED = ("/creator/live", "/creator/earnings", "/operator", "/operator/rooms", "/operator/orders")
"""The pages on which most stands; they are looked at in every look."""


@pytest.fixture
async def town(prepared, tmp_path):
    """By the machine's clock, as scripts are. Ana and mira have coins; nobody is live."""
    async with worlds.open_world(tmp_path, prepared=prepared, clock=SystemClock()) as world:
        world.ana = await world.person("ana")
        world.mira = await world.person("mira")
        world.bob = await world.person("bob", "creator")
        world.olga = await world.person("olga", "operator")
        for viewer in (world.ana, world.mira):
            await world.recharge(viewer)
        yield world


async def earned(world, creator):
    """What the ledger holds for a creator, in diamonds as pages write them."""
    [account] = await world.app.ledger.lookup_accounts(
        [chart.earnings_held(world.app.environment, creator.id)]
    )
    units = account.credits_posted - account.debits_posted
    return f"{units / 10_000:.4f}".rstrip("0").rstrip(".")


async def go_live(browser, world, title, **look):
    """Bob at his console, after the form; and the room."""
    visit = await browser.visit(person=world.bob, **(look or DESK))
    page = visit.page
    await page.goto("/creator")
    await page.fill("#title", title)
    await page.get_by_role("button", name="Go live").click()
    await page.wait_for_url("**/creator/live")
    await page.locator("#chat-text:not([disabled])").wait_for()  # The socket is open.
    [room] = (await world.client.get("/v1/rooms?live=true")).json()["rooms"]
    return visit, room["id"]


async def test_a_creator_sees_gifts_and_their_split_arrive_and_ends_with_the_ledgers_figures(town):
    world = town
    async with browser_at(world) as browser:
        visit, room_id = await go_live(browser, world, "Evening songs")
        page = visit.page
        await page.evaluate("window.isTheSamePage = true")

        audience = await browser.visit(person=world.ana, **PHONE)
        await audience.page.goto(f"/rooms/{room_id}")
        await page.locator("#viewers", has_text=re.compile("^1$")).wait_for()
        await audience.page.fill("#chat-text", "Hello bob")
        await audience.page.keyboard.press("Enter")
        await page.locator(".chat-row", has_text="Hello bob").wait_for()

        await page.fill("#chat-text", "Welcome ana")
        await page.keyboard.press("Enter")
        await audience.page.locator(".chat-row", has_text="Welcome ana").wait_for()

        assert (await world.gift(world.ana, room_id, "kite", 2)).status_code == 201
        row = page.locator(".gift-row", has_text="Kite")
        await row.wait_for()
        words = " ".join((await row.inner_text()).split())
        assert "ana Kite × 2" in words  # noqa: RUF001 - The sign that the page shows.
        assert "Paid 60 coins = $0.642" in words
        assert "yours 30 diamonds = $0.30" in words
        await page.locator("#sum-diamonds", has_text="30").wait_for()
        assert "60" in await page.inner_text("#sum-coins")
        assert await page.inner_text("#sum-price") == "$0.65"
        assert await page.inner_text("#sum-gifters") == "from 1 person"
        await page.locator("#top .ranking-row", has_text="ana").wait_for()

        for _ in range(3):
            assert (await world.gift(world.mira, room_id, "rose")).status_code == 201
        await page.locator("#sum-gifts", has_text="4").wait_for()
        assert await page.locator(".gift-row").count() == 4
        assert await page.evaluate("window.isTheSamePage")
        await visit.is_sound()
        await visit.screenshot("console-desk")

        await page.get_by_role("link", name="End").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Stay live").click()
        await dialog.wait_for(state="hidden")
        await page.get_by_role("link", name="End").click()
        await dialog.get_by_role("button", name="End the live").click()
        await page.wait_for_url(f"**/creator/rooms/{room_id}")
        await audience.page.locator(".room-end").wait_for()

        summary = " ".join((await page.inner_text("main")).split())
        diamonds = await earned(world, world.bob)
        assert diamonds == "31.5"
        assert f"yours {diamonds} diamonds" in summary
        assert "Chat lines 2" in summary
        assert "Viewers at most 1" in summary
        assert "from 2 people" in summary
        await visit.is_sound()
        await visit.screenshot("summary-desk")


async def test_the_console_goes_on_after_the_connection_broke(town):
    world = town
    async with browser_at(world) as browser:
        visit, room_id = await go_live(browser, world, "On and on", **PHONE)
        page = visit.page
        visit.expects("ERR_FAILED")
        await page.route("**/tickets", lambda route: route.abort())  # There is no way back yet.
        world.app.rooms.drop_user(world.bob.id)
        await page.locator("#connection").wait_for(state="visible")
        await world.gift(world.ana, room_id, "rose", 3)
        await page.unroute("**/tickets")
        await page.locator(".gift-row", has_text="Rose").wait_for(timeout=30_000)
        await page.locator("#chat-text:not([disabled])").wait_for()
        assert await page.locator(".gift-row").count() == 1


async def test_hostile_titles_names_and_messages_are_only_words(town):
    world = town
    await users.set_nickname(world.app.db, world.ana.id, HOSTILE)
    async with browser_at(world) as browser:
        visit, room_id = await go_live(browser, world, HOSTILE)
        page = visit.page
        audience = await browser.visit(person=world.ana)
        await audience.page.goto(f"/rooms/{room_id}")
        await audience.page.locator("#chat-text:not([disabled])").fill(HOSTILE)
        await audience.page.keyboard.press("Enter")
        await page.locator(".chat-row", has_text=HOSTILE).first.wait_for()
        await world.gift(world.ana, room_id)
        await page.locator(".gift-row", has_text=HOSTILE).wait_for()
        await page.locator("#top .ranking-row", has_text=HOSTILE).wait_for()
        assert await page.inner_text("h1") == HOSTILE
        assert await page.locator("img[src=x]").count() == 0

        operator = await browser.visit(person=world.olga)
        for path in ("/rooms", "/users", f"/users/{world.ana.id}"):
            await operator.page.goto(f"/operator{path}")
            assert HOSTILE in await operator.page.inner_text("main")
            assert await operator.page.locator("img[src=x]").count() == 0


async def test_a_room_that_an_operator_ends_ends_before_its_creators_eyes(town):
    world = town
    async with browser_at(world) as browser:
        visit, _ = await go_live(browser, world, "Not for long")
        operator = await browser.visit(person=world.olga, **PHONE)
        await operator.page.goto("/operator/rooms?show=live")
        await operator.page.get_by_role("button", name="End Not for long").click()
        question = operator.page.get_by_role("dialog")
        await question.get_by_role("button", name="End the live").click()
        await operator.page.get_by_text("Nobody is live").wait_for()
        await visit.page.wait_for_url("**/creator/rooms/*")


async def test_today_renews_itself_and_can_be_paused(town):
    world = town
    async with browser_at(world) as browser:
        visit = await browser.visit(person=world.olga)
        page = visit.page
        await page.clock.install()
        await page.goto("/operator")
        assert "1,400" in await page.inner_text("#today")
        await world.recharge(world.ana)
        await page.clock.run_for(11_000)
        await page.locator("#today", has_text="2,100").wait_for()
        await page.get_by_role("button", name="Pause").click()
        await page.get_by_role("button", name="Go on").wait_for()


async def test_every_page_is_sound_in_every_look(town):
    world = town
    room_id = await world.open_room(world.bob, "Sunday songs about everything and more besides")
    for item_id in ("rose", "kite", "party-popper"):
        await world.gift(world.ana, room_id, item_id)
    await world.client.post(f"/v1/rooms/{room_id}/end", headers=world.bob.headers)
    await world.open_room(world.bob, "Now")
    order = (await world.client.get("/v1/orders", headers=world.ana.headers)).json()["orders"][0]
    await world.client.get("/v1/operator/check", headers=world.olga.headers)
    pages = [
        (world.ana, "/creator"),
        *((world.bob, path) for path in ("/creator", "/creator/live", "/creator/live/end")),
        (world.bob, f"/creator/rooms/{room_id}"),
        *((world.bob, f"/creator/earnings?by={cut}") for cut in ("item", "room", "gifter")),
        *(
            (world.olga, f"/operator{path}")
            for path in ("", "/users", "/orders", "/inbox", "/rooms", "/catalogue", "/checks")
        ),
        (world.olga, f"/operator/users/{world.bob.id}"),
        (world.olga, f"/operator/users/{world.ana.id}"),
        (world.olga, f"/operator/orders/{order['id']}"),
        (world.olga, "/operator/users?q=nobody"),
        (world.olga, "/operator/orders?status=disputed"),
    ]
    async with browser_at(world) as browser:
        for number, look in enumerate((*LOOKS, *FURTHER_LOOKS)):
            visits = {
                person.id: await browser.visit(person=person, **look)
                for person in (world.ana, world.bob, world.olga)
            }
            for person, path in pages:
                if look in FURTHER_LOOKS and path.partition("?")[0] not in CROWDED:
                    continue
                visit = visits[person.id]
                await visit.page.goto(path)
                try:
                    await visit.is_sound()
                except AssertionError as error:
                    raise AssertionError(f"{path} in {look}: {error}") from error
                name = re.sub(r"[^a-z]+", "-", path.split("?")[0]).strip("-")
                await visit.screenshot(f"staff-{name}-{number}")


async def test_an_operator_finds_and_shuts_out_somebody_by_keyboard_alone(town):
    world = town
    async with browser_at(world) as browser:
        visit = await browser.visit(person=world.olga)
        page = visit.page
        await page.goto("/operator/users")
        await page.focus("#q")
        await page.keyboard.type("mira")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/operator/users?q=mira")
        await page.get_by_role("link", name="mira").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Shut out").focus()
        await page.keyboard.press("Enter")
        question = page.get_by_role("dialog")
        await question.get_by_role("button", name="Shut out").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Let in again").wait_for()
    answer = await world.client.get("/v1/me", headers=world.mira.headers)
    assert answer.status_code == 401
