"""The generic elements under somebody's fingers: mouse, keyboard, from right to left, and without scripts."""

from contextlib import asynccontextmanager

import pytest

from largesse.clock import SECOND
from tests.web.browser import PHONE, axe, browser_at, needs_browser

pytestmark = needs_browser
FOCUS = "() => document.activeElement.id || document.activeElement.textContent.trim()"


@asynccontextmanager
async def guide(world, **look):
    """The style guide as somebody sees it who is logged in."""
    async with browser_at(world) as browser:
        visit = await browser.visit(person=world.ana, **look)
        await visit.page.goto("/styleguide")
        if look.get("javascript", True):
            await visit.page.wait_for_function("() => !document.querySelector(':not(:defined)')")
        yield visit


async def test_a_sheet_keeps_the_focus_and_gives_it_back(workshop):
    async with guide(workshop, **PHONE) as visit:
        page = visit.page
        opener, dialog = page.get_by_text("Open the sheet"), page.locator("#sheet dialog")
        inside = "() => document.querySelector('#sheet dialog').contains(document.activeElement)"

        await opener.focus()
        await page.keyboard.press("Enter")
        await dialog.wait_for()
        assert await page.evaluate(inside)
        assert await axe(page) == []
        for _ in range(8):
            await page.keyboard.press("Tab")
            assert await page.evaluate(
                f"{inside.replace('() => ', '() => document.activeElement === document.body || ')}"
            )
        await page.keyboard.press("Escape")
        await dialog.wait_for(state="hidden")
        assert await page.evaluate(FOCUS) == "Open the sheet"

        await opener.click()
        await dialog.get_by_text("Pay").click()
        await dialog.wait_for(state="hidden")
        assert await dialog.evaluate("dialog => dialog.returnValue") == "paid"
        await opener.click()
        await page.mouse.click(200, 20)  # On the scrim.
        await dialog.wait_for(state="hidden")
        assert page.url.endswith("/styleguide")


@pytest.mark.parametrize(("language", "onward"), [("en", "ArrowRight"), ("ar-XB", "ArrowLeft")])
async def test_tabs_are_walked_with_the_arrows(workshop, language, onward):
    async with guide(workshop, cookies={"language": language}) as visit:
        page = visit.page
        tabs = page.locator("lg-tabs [role=tab]")
        await tabs.first.focus()
        await page.keyboard.press(onward)

        assert await tabs.nth(1).get_attribute("aria-selected") == "true"
        assert await page.locator("#tab-two").is_visible()
        assert not await page.locator("#tab-one").is_visible()
        await page.keyboard.press("End")
        assert await page.locator("#tab-three").is_visible()
        await page.keyboard.press(onward)
        assert await page.locator("#tab-one").is_visible()


async def test_a_quantity_stays_within_its_bounds_and_tells_of_itself(workshop):
    async with guide(workshop) as visit:
        page = visit.page
        element, field = page.locator("lg-quantity"), page.locator("lg-quantity input")
        await element.evaluate(
            "element => { window.told = []; element.addEventListener('input', e => told.push(e.target.value)); }"
        )
        await element.get_by_label("Less").click(force=True)
        await element.get_by_label("More").click()
        await element.locator("button[value='99']").click()
        await element.get_by_label("More").click(force=True)

        assert await field.input_value() == "99"
        assert await page.evaluate("() => told") == ["1", "2", "99", "99"]
        assert await element.get_by_label("More").get_attribute("aria-disabled") == "true"
        assert await element.locator("button[value='99']").get_attribute("aria-pressed") == "true"
        for typed, taken in (("", 1), ("-4", 1), ("1e9", 99), ("7.9", 7)):
            await field.fill(typed)
            assert await element.evaluate("element => element.value") == taken


async def test_a_menu_is_walked_and_closes_when_something_is_chosen(workshop):
    async with guide(workshop) as visit:
        page = visit.page
        opener, menu = page.get_by_role("button", name="Menu"), page.locator("#menu")
        await opener.focus()
        await page.keyboard.press("ArrowDown")
        await menu.wait_for()
        await page.wait_for_function("() => document.activeElement.textContent.trim() === 'Share'")
        await page.keyboard.press("ArrowDown")
        assert await page.evaluate(FOCUS) == "Follow"
        await page.keyboard.press("Home")
        await page.keyboard.press("Escape")
        await menu.wait_for(state="hidden")
        assert await page.evaluate(FOCUS) == "Menu"

        await opener.click()
        box, button = await menu.bounding_box(), await opener.bounding_box()
        assert abs(box["y"] - button["y"]) < 60 + box["height"]  # Beside its button.
        await menu.get_by_text("Share").click()
        await menu.wait_for(state="hidden")


async def test_what_cannot_be_taken_back_is_asked_once_more(workshop):
    async with guide(workshop) as visit:
        page = visit.page
        end = page.locator("lg-confirm form button")
        await end.click()
        question = page.get_by_role("dialog", name="End this live?")
        await question.get_by_text("Cancel").click()
        assert await question.count() == 0
        assert page.url.endswith("/styleguide")

        await end.click()
        assert await axe(page) == []
        await question.get_by_role("button", name="End the live").click()
        await page.wait_for_url("**/styleguide?ended=1")


async def test_a_choice_is_kept_by_the_browser(workshop):
    async with guide(workshop) as visit:
        page = visit.page
        assert await page.get_attribute("html", "data-effects") == "all"
        await page.locator("lg-preference").get_by_text("Small").click()
        assert await page.get_attribute("html", "data-effects") == "small"

        await page.reload()
        await page.wait_for_selector("lg-preference:not([hidden])")
        assert await page.locator("lg-preference input[value=small]").is_checked()


async def test_whoever_asked_for_less_motion_begins_with_small_effects(workshop):
    async with guide(workshop, reduced_motion="reduce") as visit:
        assert await visit.page.get_attribute("html", "data-effects") == "small"


async def test_a_password_is_shown_and_sent_hidden(workshop):
    async with guide(workshop) as visit:
        page = visit.page
        button = page.get_by_label("Show the password")
        await button.click()
        assert await page.get_attribute("#password", "type") == "text"
        assert await button.get_attribute("aria-pressed") == "true"
        await page.evaluate(
            "() => { const form = document.querySelector('#password').form;"
            " form.addEventListener('submit', (event) => event.preventDefault());"
            " form.noValidate = true; form.requestSubmit(); }"
        )
        assert await page.get_attribute("#password", "type") == "password"


async def test_an_address_is_copied(workshop):
    permissions = ["clipboard-read", "clipboard-write"]
    async with guide(workshop, permissions=permissions) as visit:
        page = visit.page
        await page.locator("lg-copy button").click()
        await page.wait_for_function(
            "() => document.querySelector('#says-status').textContent === 'Copied'"
        )
        copied = await page.evaluate("() => navigator.clipboard.readText()")
        assert copied == await page.locator("lg-copy code").inner_text()


async def test_a_drawing_has_its_numbers_beside_it(workshop):
    async with guide(workshop, **PHONE) as visit:
        chart = visit.page.locator("lg-chart")
        assert await chart.locator("svg rect").count() == 12
        assert "Most: 5, 81" in await chart.locator("svg > title").inner_html()
        assert not await chart.locator("table").is_visible()
        await chart.get_by_text("Show the numbers").click()
        assert await chart.locator("table").is_visible()


async def test_a_price_is_written_anew_when_its_amount_changes(workshop):
    async with guide(workshop) as visit:
        price = visit.page.locator("lg-price")
        assert await price.inner_text() == "$7.49"
        await price.evaluate("price => price.setAttribute('amount', 123456)")
        assert await price.inner_text() == "$1,234.56"


async def test_a_meter_says_when_it_is_nearly_and_quite_full(workshop):
    async with guide(workshop) as visit:
        meter = visit.page.locator("lg-meter")
        said = []
        for value in (79, 80, 100, 400):
            await meter.evaluate("(meter, value) => meter.set(value, 100, `${value}`)", value)
            said.append((await meter.get_attribute("class")).removeprefix("meter").strip())
        assert said == ["", "is-near", "is-full", "is-full"]
        assert await meter.locator("[data-words]").inner_text() == "400"


async def test_a_part_of_a_page_is_written_anew_until_it_is_paused(workshop):
    async with browser_at(workshop) as browser:
        page = (await browser.visit(person=workshop.ana)).page
        await page.clock.install()
        await page.goto("/styleguide")
        await page.wait_for_selector("#clock button")
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        workshop.clock.advance(60 * SECOND)
        await page.clock.run_for(1_000)
        await page.get_by_text("08:01:00Z").wait_for()
        assert await axe(page) == []

        await page.locator("#clock button").click()
        assert await page.locator("#clock button").inner_text() == "Go on"
        before = len(asked)
        await page.clock.run_for(10_000)
        assert len(asked) == before


async def test_instants_are_in_the_readers_own_time(workshop):
    async with guide(workshop, timezone_id="Asia/Tokyo", language="en-US") as visit:
        times = visit.page.locator("lg-time time")
        said = [await times.nth(index).inner_text() for index in range(2)]

    utc = "Jan 15, 2027, 8:00"
    assert said[0].startswith("Jan 15, 2027, 5:00")  # Nine hours after eight in the morning.
    assert utc not in said[0]


async def test_without_scripts_everything_is_there(workshop):
    async with guide(workshop, javascript=False) as visit:
        page = visit.page
        for part in ("#tab-one", "#tab-two", "#tab-three", "lg-chart table", "lg-quantity input"):
            assert await page.locator(part).is_visible()
        assert not await page.locator("lg-preference").is_visible()
        await page.get_by_role("button", name="Menu").click()
        assert await page.locator("#menu").is_visible()
