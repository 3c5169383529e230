"""The way to new coins in a real browser, on a phone and a desk, with scripts and without."""

import asyncio
import re
from contextlib import asynccontextmanager

import pytest

from largesse.clock import SystemClock
from largesse.worker import Worker
from tests.web import worlds
from tests.web.browser import browser_at, needs_browser
from tests.web.worlds import PASSWORD

pytestmark = needs_browser

CREDIT_MILLISECONDS_MAX = 500
"""From the confirmation at the checkout until another open page shows the new balance."""
REMEMBER = """(wanted) => {
  const number = document.querySelector(".balance-hero .coins-number");
  new MutationObserver(() => {
    window.firstChange ??= Date.now();
    if (number.textContent === wanted) window.wholeChange ??= Date.now();
  }).observe(number, {childList: true, characterData: true, subtree: true});
}"""


@pytest.fixture
async def town(prepared, tmp_path):
    """By the machine's clock, with the sandbox and the worker at work; ana has nothing yet."""
    opened = worlds.open_world(tmp_path, prepared=prepared, clock=SystemClock(), development=True)
    async with opened as world:
        world.ana = await world.person("ana")
        world.bob = await world.person("bob", "creator")
        world.room_id = await world.open_room(world.bob)
        async with at_work(world.app):
            yield world


@asynccontextmanager
async def at_work(app):
    worker = Worker(app)
    jobs = [asyncio.create_task(worker.run()), asyncio.create_task(app.sandbox.run())]
    yield
    app.sandbox.stop()
    await worker.stop()
    await asyncio.gather(*jobs)


async def orders_of(world):
    answer = await world.client.get("/v1/orders", headers=world.ana.headers)
    return answer.json()["orders"]


async def test_from_sign_up_to_new_coins_that_another_page_shows_at_once(town):
    async with browser_at(town) as browser:
        visit = await browser.visit(width=390, height=844)
        page = visit.page
        await page.goto("/signup?next=/profile")
        await visit.is_sound()
        await visit.screenshot("signup")
        await page.get_by_label("Login").fill("mira")
        await page.get_by_label("E-mail").fill("mira@example.org")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_label("Birth date").fill("1990-05-17")
        await page.get_by_label("Country").select_option("US")
        await page.get_by_role("button", name="Sign up").click()

        await page.wait_for_url("**/profile")
        await visit.is_sound()
        await page.get_by_role("link", name="Settings and privacy").click()
        await page.wait_for_url("**/settings")
        await visit.is_sound()
        await page.get_by_role("main").get_by_role("link", name="Balance").click()
        await page.wait_for_url("**/wallet")
        await visit.is_sound()

        other = await page.context.new_page()
        async with other.expect_websocket() as feed:
            await other.goto("/wallet")
        await (await feed.value).wait_for_event("framereceived")
        await other.evaluate(REMEMBER, "700")

        await page.get_by_role("link", name="Recharge").click()
        await page.wait_for_url("**/recharge?*")
        await visit.is_sound()
        await page.locator(".choice", has_text="700").first.click()
        async with page.expect_request("**/confirm") as confirmed:
            await page.get_by_role("button", name="Pay $7.49").click()
            await page.wait_for_url("**/sandbox/payments/*")
            await page.get_by_role("button", name="Pay 7.49 USD").click()
        await page.wait_for_url("**/orders/*")
        await page.get_by_role("heading", name="Your coins are here").wait_for()
        await visit.is_sound()
        await visit.screenshot("receipt")

        await other.wait_for_function("() => window.wholeChange")
        pressed = (await confirmed.value).timing["startTime"]
        first, whole = await other.evaluate("[window.firstChange, window.wholeChange]")
        print(f"credited: first change {first - pressed:.0f} ms, whole {whole - pressed:.0f} ms")
        assert whole - pressed < CREDIT_MILLISECONDS_MAX
        assert await other.locator(".balance-hero lg-worth").inner_text() == "$7.50"
        await page.locator(".bar-balance").get_by_text("700", exact=True).wait_for()
        [receipt] = await page.locator(".facts").all_inner_texts()
        for words in ("700", "$7.49", "$0.00", "Test payment"):
            assert words in receipt


async def test_an_exact_amount_says_its_price_while_it_is_typed(town):
    async with browser_at(town) as browser:
        visit = await browser.visit(person=town.ana)
        page = visit.page
        await page.goto("/recharge")
        field = page.get_by_label("Exact number of coins")
        await field.fill("1234")
        assert await page.locator(".exact-costs").inner_text() == "$13.22"
        assert await page.get_by_role("radio", name="Exactly").is_checked()
        await field.fill("12")
        assert await page.locator(".exact-costs").inner_text() == ""
        await page.get_by_role("button", name="Pay").click()
        visit.expects("422")
        await page.get_by_text("An exact amount is from 50 to 50,000 coins.").wait_for()
        assert await field.input_value() == "12"
        await visit.is_sound()
        await field.fill("1,234")
        await page.get_by_role("button", name="Pay $13.22").click()
        await page.wait_for_url("**/sandbox/payments/*")
        await page.get_by_role("button", name="Pay 13.22 USD").click()
        await page.get_by_role("heading", name="Your coins are here").wait_for()
    assert await town.balance(town.ana) == 1_234


async def test_declined_and_tried_again(town):
    async with browser_at(town) as browser:
        visit = await browser.visit(person=town.ana, scheme="dark")
        page = visit.page
        await page.goto("/recharge")
        await page.get_by_role("button", name="Pay $0.74").click()
        await page.get_by_role("button", name="Decline").click()
        await page.wait_for_url("**/orders/*")
        await page.get_by_role("heading", name="Not paid").wait_for()
        await visit.is_sound()
        await page.get_by_role("link", name="Try again").click()
        await page.get_by_role("button", name="Pay $0.74").click()
        await page.get_by_role("button", name="Pay 0.74 USD").click()
        await page.get_by_role("heading", name="Your coins are here").wait_for()
    assert sorted(order["status"] for order in await orders_of(town)) == ["credited", "failed"]
    assert await town.balance(town.ana) == 70


async def test_without_a_feed_the_order_asks_by_itself(town):
    async with browser_at(town) as browser:
        visit = await browser.visit(person=town.ana)
        visit.expects("ERR_FAILED")
        page = visit.page
        await page.route("**/v1/me/tickets", lambda route: route.abort())
        await page.goto("/recharge")
        await page.get_by_role("button", name="Pay $0.74").click()
        await page.get_by_role("group").get_by_text("Scenarios").click()
        await page.get_by_label("Stay pending").fill("1")
        await page.get_by_role("button", name="Pay 0.74 USD").click()
        await page.get_by_role("heading", name="Waiting for the payment").wait_for()
        await page.get_by_role("heading", name="Your coins are here").wait_for()


@pytest.mark.parametrize("javascript", [True, False])
async def test_back_from_the_checkout_and_a_double_click_make_one_order(town, javascript):
    async with browser_at(town) as browser:
        visit = await browser.visit(person=town.ana, javascript=javascript)
        page = visit.page
        await page.goto("/recharge?need=350")
        await page.get_by_role("button", name="Pay $3.74").dblclick(no_wait_after=True)
        await page.wait_for_url("**/sandbox/payments/*")
        checkout = page.url
        await page.go_back()
        await page.wait_for_url("**/recharge?*")
        await page.get_by_role("button", name="Pay $3.74").click()
        await page.wait_for_url("**/sandbox/payments/*")
        assert page.url == checkout
        assert len(await orders_of(town)) == 1

        await page.get_by_role("button", name="Pay 3.74 USD").dblclick(no_wait_after=True)
        await page.wait_for_url("**/orders/*")
        await page.get_by_role("heading", name="Your coins are here").wait_for()
        await page.go_back()
        await page.reload()
    assert [order["status"] for order in await orders_of(town)] == ["credited"]
    assert await town.balance(town.ana) == 350


async def test_without_scripts_the_button_names_the_price_and_the_page_looks_again(town):
    async with browser_at(town) as browser:
        visit = await browser.visit(person=town.ana, javascript=False, width=390)
        page = visit.page
        await page.goto("/recharge")
        button = page.locator(".recharge-pay button")
        assert await button.inner_text() == "Pay $0.74"
        await page.locator(".choice", has_text="1,400").click()
        assert await button.inner_text() == "Pay $14.99"
        await page.get_by_label("Exact number of coins").fill("123")
        await page.get_by_label("Exactly").check()
        assert await button.inner_text() == "Show the price"
        await button.click()
        await page.get_by_text("123 coins cost $1.31, tax included.").wait_for()
        assert await button.inner_text() == "Pay $1.31"
        await button.click()
        await page.get_by_role("group").get_by_text("Scenarios").click()
        await page.get_by_label("Stay pending").fill("2")
        await page.get_by_role("button", name="Pay 1.31 USD").click()
        await page.wait_for_url("**/orders/*")
        await page.get_by_role("heading", name="Waiting for the payment").wait_for()
        await page.get_by_role("heading", name="Your coins are here").wait_for()
    assert await town.balance(town.ana) == 123


async def test_every_page_is_sound_in_every_size_and_scheme(town):
    await town.recharge(town.ana, "coins-700")
    await town.gift(town.ana, town.room_id, quantity=3)
    [order] = await orders_of(town)
    paths = (
        *("/profile", "/settings", "/settings/name", "/settings/password", "/settings/privacy"),
        *("/help", "/wallet", "/wallet/history?kind=gift", "/recharge?need=350"),
        f"/orders/{order['id']}",
    )
    async with browser_at(town) as browser:
        for width, scheme in ((320, "dark"), (390, "light"), (1_280, "dark")):
            visit = await browser.visit(person=town.ana, width=width, scheme=scheme)
            for path in paths:
                await visit.page.goto(path)
                await visit.is_sound()
                name = re.sub(r"\W+", "-", path.split("?")[0]).strip("-")
                await visit.screenshot(f"{name[:20]}-{width}-{scheme}")
            nobody = await browser.visit(width=width, scheme=scheme)
            for path in ("/login", "/signup", "/reset", "/reset?sent=1", "/reset/confirm?token=x"):
                await nobody.page.goto(path)
                await nobody.is_sound()
        mirrored = await browser.visit(person=town.ana, width=390, cookies={"language": "ar-XB"})
        longer = await browser.visit(person=town.ana, width=320, cookies={"language": "en-XA"})
        for visit in (mirrored, longer):
            for path in paths:
                await visit.page.goto(path)
                await visit.is_sound()
            await visit.screenshot(f"last-{await visit.page.locator('html').get_attribute('lang')}")


async def test_a_hostile_name_and_a_hostile_room_run_nothing(town):
    hostile = '"><img src=x onerror=alert(1)><script>alert(2)</script>\u202e'
    await town.client.patch("/v1/me", json={"nickname": hostile[:50]}, headers=town.ana.headers)
    await town.client.post(f"/v1/rooms/{town.room_id}/end", headers=town.bob.headers)
    room_id = await town.open_room(town.bob, hostile[:55])
    await town.give_coins(town.ana, 10)
    await town.gift(town.ana, room_id)
    async with browser_at(town) as browser:
        visit = await browser.visit(person=town.ana, width=320)
        for path in ("/profile", "/settings", "/settings/name", "/wallet", "/wallet/history"):
            await visit.page.goto(path)
            await visit.is_sound()
            assert await visit.page.locator("main img[src=x], main script").count() == 0


async def test_the_whole_way_by_keyboard(town):
    """Tab and Enter and arrows only, from the settings to the receipt."""
    async with browser_at(town) as browser:
        visit = await browser.visit(person=town.ana)
        page = visit.page

        async def go_to(words):
            for _ in range(40):
                await page.keyboard.press("Tab")
                name = await page.evaluate("document.activeElement.innerText")
                if name and words in name:
                    return
            raise AssertionError(f"Tab does not come to {words}")

        await page.goto("/settings")
        await go_to("Balance\n")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/wallet")
        await go_to("Recharge")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/recharge?*")
        for _ in range(40):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.name") == "package":
                break
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("ArrowDown")
        await go_to("Pay $7.49")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/sandbox/payments/*")
        await go_to("Pay 7.49 USD")
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Your coins are here").wait_for()
        said = page.locator("#says-status")
        await said.get_by_text("700 coins are in your wallet.").wait_for(state="attached")


async def test_settings_of_the_browser_are_kept_and_elsewhere_is_asked_about(town):
    async with browser_at(town) as browser:
        visit = await browser.visit(person=town.ana)
        page = visit.page
        await page.goto("/settings")
        await page.locator('lg-preference[name="effects"]').get_by_text("Off").click()
        await page.reload()
        chosen = page.locator('lg-preference[name="effects"] input:checked')
        assert await chosen.get_attribute("value") == "off"

        await page.get_by_role("button", name="Log out everywhere else").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Cancel").click()
        assert page.url.endswith("/settings")
        await page.get_by_role("button", name="Log out everywhere else").click()
        await dialog.get_by_role("button", name="Log out elsewhere").click()
        await page.get_by_text("You are logged out everywhere else.").wait_for()
