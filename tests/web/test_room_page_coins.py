"""Coins in the room: too few of them, more of them without leaving, and a question before many go."""

import pytest

from tests.web.browser import DESK, PHONE, browser_at, needs_browser
from tests.web.room_visits import choose, row, send, sit_down, times, town_at, tray

pytestmark = needs_browser

FOCUS = "() => document.activeElement.className"


@pytest.fixture
async def town(prepared, tmp_path):
    async with town_at(tmp_path, prepared, is_at_work=True) as world:
        yield world


async def orders_of(world):
    answer = await world.client.get("/v1/orders", headers=world.ana.headers)
    return answer.json()["orders"]


async def test_with_too_few_coins_one_recharges_in_place_and_presses_send_again(town):
    await town.give_coins(town.ana, 37)
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **PHONE)
        eve = await sit_down(browser, town, town.eve, **DESK)
        page = ana.page
        await choose(page, "teddy-bear")
        assert "You need 12 more coins ($0.13)" in await page.inner_text(".panel-missing")
        await ana.is_sound()
        await ana.screenshot("room-low", whole=False)

        await page.click(".panel-send")
        await page.wait_for_selector(".recharge-exact")
        assert "You need 12 more coins ($0.13)" in await page.inner_text(".recharge-need")
        # The smallest that is enough is chosen, and the button says what it costs.
        assert await page.is_checked("#recharge-exact")
        assert await page.input_value(".recharge-amount") == "50"
        assert await page.inner_text(".recharge .button-primary") == "Pay $0.53"
        await ana.is_sound()
        await ana.screenshot("room-recharge", whole=False)
        await page.check("[value=coins-70]")
        assert await page.inner_text(".recharge .button-primary") == "Pay $0.74"

        async with page.context.expect_page() as opened:
            await page.click(".recharge .button-primary")
        checkout = await opened.value
        await page.wait_for_selector(".recharge-done:has-text('Waiting for your payment of $0.74')")
        await ana.is_sound()
        await checkout.click("button[formaction$=confirm], form[action$=confirm] button")
        await page.bring_to_front()
        await page.wait_for_selector(".recharge-done:has-text('70 coins have arrived.')")
        assert "You have 107 coins now, about $1.15." in await page.inner_text(".recharge-done")
        assert await page.evaluate(FOCUS) == "button button-primary button-block"
        await ana.is_sound()

        # Nothing was sent meanwhile; the choice is kept, and the viewer presses Send.
        assert await town.balance(town.ana) == 107
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".recharge", state="detached")
        assert "panel-send" in await page.evaluate(FOCUS)
        assert await page.locator(".gift-tile.is-selected").inner_text() != ""
        await page.keyboard.press("Enter")
        await tray(eve.page, "ana", "Teddy Bear", times(1))
        assert await town.balance(town.ana) == 58
        [order] = await orders_of(town)
        assert (order["status"], order["coins"]) == ("credited", 70)


async def test_a_declined_payment_charges_nothing_and_one_may_try_again(town):
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **DESK)
        page = ana.page
        await choose(page, "rose")
        await page.click(".panel-recharge")
        await page.wait_for_selector(".recharge-exact")
        # Nothing is needed, so the smallest package is chosen.
        assert await page.is_checked("[value=coins-70]")
        await page.fill(".recharge-amount", "49")
        assert await page.is_disabled(".recharge .button-primary")
        await page.fill(".recharge-amount", "123")
        assert await page.inner_text(".recharge .button-primary") == "Pay $1.31"
        async with page.context.expect_page() as opened:
            await page.click(".recharge .button-primary")
        checkout = await opened.value
        await checkout.click("button[formaction$=decline], form[action$=decline] button")
        await page.bring_to_front()
        await page.wait_for_selector(".recharge-done.is-bad")
        assert "Nothing was charged" in await page.text_content("#says-alert")
        await ana.is_sound()
        await page.click("text=Try again")
        await page.wait_for_selector(".recharge-exact")
        assert await town.balance(town.ana) == 0


async def test_what_is_dear_is_asked_about_once_in_a_session(town):
    await town.give_coins(town.ana, 3_000)
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **PHONE)
        page = ana.page
        await choose(page, "comet")
        await page.click(".panel-send")
        question = await page.inner_text("#panel-question")
        assert question == "Send Comet for 699 coins, which is $7.49?"
        await ana.is_sound()
        await page.click(".panel-confirm >> text=Cancel")
        assert await town.balance(town.ana) == 3_000

        await page.click(".panel-send")
        await page.click("text=Yes, send")
        await row(page, "ana", "sent Comet")
        assert await town.balance(town.ana) == 2_301
        await send(page)  # As dear as what was confirmed: not asked again.
        assert await town.balance(town.ana) == 1_602
        await choose(page, "circus-tent")
        await page.click(".panel-send")
        await page.wait_for_selector(".panel-confirm")  # Dearer: asked.
        assert await town.balance(town.ana) == 1_602


async def test_several_at_once_are_one_gift_of_that_many(town):
    await town.give_coins(town.ana, 100)
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **PHONE)
        page = ana.page
        await choose(page, "cupcake")
        await page.check("[name=quantity][value='5']")
        assert (await page.inner_text(".panel-total")).split() == [
            "25",
            "coins",
            "\N{MIDDLE DOT}",
            "$0.27",
        ]
        await send(page)
        await row(page, "ana", "sent Cupcake", times(5))
        await page.check("[name=quantity][value=other]")
        await page.fill(".panel-number", "7")
        await send(page)
        await row(page, "ana", "sent Cupcake", times(7))
        assert await town.balance(town.ana) == 100 - 12 * 5
        await page.fill(".panel-number", "9")
        assert "You need 5 more coins" in await page.inner_text(".panel-missing")
