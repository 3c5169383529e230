"""The room for everybody: by keyboard alone, without motion, without scripts, from right to left; and with hostile people in it."""

import re

import pytest

from tests.web.browser import DESK, PHONE, browser_at, needs_browser
from tests.web.room_visits import (
    choose,
    rename,
    row,
    rows,
    send,
    sit_down,
    times,
    town_at,
    tray,
)

pytestmark = needs_browser

ZALGO = "Z" + "\u0301\u0302\u0303\u0304" * 10
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\u202egnp.live",
    ZALGO,
    "W" * 50,
    "${alert(1)}{{7*7}}%(name)s",
)
ACTIVE = "() => document.activeElement"
HEIGHTS = "() => [...document.querySelectorAll('.tray')].map((line) => line.offsetHeight)"


@pytest.fixture
async def town(prepared, tmp_path):
    async with town_at(tmp_path, prepared, development=True) as world:
        await world.give_coins(world.ana, 1_000)
        yield world


async def tab_to(page, selector):
    """Press Tab until the focus is there, as somebody without a mouse does."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate(f"(wanted) => ({ACTIVE})().matches(wanted)", selector):
            return
    raise AssertionError(f"no way to {selector} by keyboard")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_by_keyboard_alone_one_comes_to_a_sent_gift_and_back(town, size):
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **size)
        page = ana.page
        await tab_to(page, "[data-act=gift]")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog.panel[open]")
        assert await page.evaluate(f"() => ({ACTIVE})().dataset.id") == "rose"
        assert await page.evaluate(f"() => ({ACTIVE})().ariaLabel") == "Rose, 1 coin, $0.02"
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowDown")
        chosen = await page.evaluate(f"() => ({ACTIVE})().dataset.id")
        assert chosen == ("cupcake" if size == PHONE else "bubble-tea")
        assert await page.get_attribute(f"[data-id={chosen}]", "aria-checked") == "true"
        assert await town.balance(town.ana) == 1_000
        await page.keyboard.press("Enter")
        assert await page.evaluate(f"() => ({ACTIVE})().matches('.panel-send')")
        await page.keyboard.press("Enter")
        await row(page, "ana", "sent")
        assert await town.balance(town.ana) == 1_000 - (5 if size == PHONE else 10)

        await page.keyboard.press("Escape")
        await page.wait_for_selector("dialog.panel:not([open])", state="attached")
        assert await page.evaluate(f"() => ({ACTIVE})().matches('[data-act=gift]')")
        # A key that is held down is one press.
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog.panel[open]")
        await tab_to(page, ".panel-send")
        before = await town.balance(town.ana)
        for _ in range(5):
            await page.keyboard.down("Enter")
        await page.keyboard.up("Enter")
        await page.wait_for_function(
            "() => document.querySelector('lg-live-room').gifting.coins === 0"
        )
        assert before - await town.balance(town.ana) == (5 if size == PHONE else 10)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_every_state_is_sound(town, size, scheme):
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, scheme=scheme, **size)
        page = ana.page
        name = f"room-{'phone' if size == PHONE else 'desk'}-{scheme}"
        await town.gift(town.ana, town.room_id, "sunflower", 3)
        await page.fill("#chat-text", "What a lovely evening")
        await page.press("#chat-text", "Enter")
        await row(page, "What a lovely evening")
        await row(page, "sent Sunflower", times(3))
        await ana.is_sound()
        await ana.screenshot(name, whole=False)

        await page.click("[popovertarget=room-menu]")
        await page.wait_for_selector("#room-menu:popover-open")
        await ana.is_sound()
        await page.keyboard.press("Escape")

        await page.click(".top-button")
        await page.wait_for_selector(".top-row.is-mine")
        await ana.is_sound()
        await page.click(".segment:has-text('All time')")
        await page.keyboard.press("Escape")

        await choose(page, "lollipop")
        await ana.is_sound()
        await ana.screenshot(f"{name}-panel", whole=False)
        await page.check("[name=quantity][value=other]")
        await page.fill(".panel-number", "100")
        await page.wait_for_selector(".panel-missing")
        await ana.is_sound()


async def test_from_right_to_left_and_in_longer_words_nothing_breaks(town):
    async with browser_at(town) as browser:
        for language in ("ar-XB", "en-XA"):
            cookies = {"language": language}
            ana = await sit_down(browser, town, town.ana, cookies=cookies, **PHONE)
            await choose(ana.page, "bubble-tea")
            await send(ana.page)
            await ana.is_sound()
            await ana.screenshot(f"room-{language}", whole=False)
            is_rtl = await ana.page.evaluate("() => document.documentElement.dir") == "rtl"
            assert is_rtl == (language == "ar-XB")


async def test_who_wants_less_motion_gets_the_gift_without_the_flying(town):
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, reduced_motion="reduce", **PHONE)
        eve = await sit_down(browser, town, town.eve, reduced_motion="reduce", **PHONE)
        assert await eve.page.evaluate("() => document.documentElement.dataset.effects") == "small"
        await choose(ana.page, "party-popper")
        await send(ana.page)
        await tray(eve.page, "ana", "Party Popper")
        await eve.page.wait_for_selector(".effect-2")
        still = (
            "() => document.getAnimations().filter((each) => each.playState === 'running').length"
        )
        await eve.page.wait_for_function(f"() => ({still})() === 0")
        drawn = "() => document.querySelector('canvas').width"
        assert await eve.page.evaluate(drawn) == 300  # As a canvas is that nobody has drawn on.
        await eve.page.wait_for_selector(".effect-2", state="detached")

        await eve.page.click("[popovertarget=room-menu]")
        await eve.page.check("[name=effects][value=off]")
        await eve.page.keyboard.press("Escape")
        await send(ana.page)
        await tray(eve.page, "ana", "Party Popper", times(2))
        assert await eve.page.locator(".effect").count() == 0


async def test_a_large_effect_lasts_no_longer_than_five_seconds_and_can_be_skipped(town):
    async with browser_at(town) as browser:
        await town.give_coins(town.eve, 30_000)
        ana = await sit_down(browser, town, town.ana, **PHONE)
        assert (await town.gift(town.eve, town.room_id, "comet")).status_code == 201
        await ana.page.wait_for_selector(".effect-3")
        assert "eve sent Comet" in await ana.page.inner_text(".effect-words")
        await ana.is_sound()
        await ana.page.click(".effect-skip")
        await ana.page.wait_for_selector(".effect-3", state="detached")
        assert (await town.gift(town.eve, town.room_id, "elephant-parade")).status_code == 201
        await ana.page.wait_for_selector(".effect-4")
        await ana.page.wait_for_selector(".effect-4", state="detached", timeout=5_500)


async def test_the_chat_waits_for_who_pauses_it_or_reads_further_up(town):
    async with browser_at(town) as browser:
        eve = await sit_down(browser, town, town.eve, **DESK)
        ana = await sit_down(browser, town, town.ana, **PHONE)
        await eve.page.click("[popovertarget=room-menu]")
        await eve.page.check("[name=pause]")
        await eve.page.keyboard.press("Escape")
        await ana.page.fill("#chat-text", "Are you there?")
        await ana.page.press("#chat-text", "Enter")
        await eve.page.wait_for_selector(".chat-more:has-text('1 new line')")
        assert "Are you there?" not in " ".join(await rows(eve.page))
        await eve.is_sound()
        await eve.page.click(".chat-more")
        await row(eve.page, "Are you there?")
        assert not await eve.page.is_checked("[name=pause]")


@pytest.mark.parametrize("name", HOSTILE, ids=["markup", "override", "zalgo", "long", "template"])
async def test_hostile_names_and_messages_are_shown_harmlessly(town, name):
    async with browser_at(town) as browser:
        await rename(town, town.ana, name)
        ana = await sit_down(browser, town, town.ana, **PHONE)
        eve = await sit_down(browser, town, town.eve, **PHONE)
        await choose(ana.page, "rose")
        await send(ana.page)
        await ana.page.keyboard.press("Escape")
        await ana.page.fill("#chat-text", f"{name} {name}"[:200])
        await ana.page.press("#chat-text", "Enter")
        await eve.page.wait_for_selector(".chat-row.is-gift")
        await eve.page.wait_for_selector(".chat-row.is-chat")
        await eve.page.wait_for_selector(".top-face-1")
        await eve.page.click(".top-button")
        await eve.page.wait_for_selector(".top-row")
        shown = await eve.page.locator(".top-row .name").text_content()
        assert shown.strip() == name.strip()
        await eve.is_sound()
        await eve.page.keyboard.press("Escape")
        assert await eve.page.locator("lg-live-room img[src=x]").count() == 0
        assert max([44, *await eve.page.evaluate(HEIGHTS)]) < 60
        await eve.is_sound()


async def test_a_hostile_title_is_a_title(prepared, tmp_path):
    title = '"><script>alert(1)</script>{{7*7}}' + "W" * 60
    async with town_at(tmp_path, prepared) as world, browser_at(world) as browser:
        await world.client.post(f"/v1/rooms/{world.room_id}/end", headers=world.bob.headers)
        world.room_id = await world.open_room(world.bob, title)
        visit = await browser.visit(person=world.ana, **PHONE)
        await visit.page.goto("/")
        assert await visit.page.inner_text(".room-card-title") == title
        await visit.is_sound()
        await visit.page.click(".room-card")
        await visit.page.wait_for_selector(".chat-rows")
        assert await visit.page.inner_text("h1") == title
        assert title in await visit.page.title()
        await visit.is_sound()


async def test_without_scripts_one_sees_the_room_and_sends_a_gift(town):
    async with browser_at(town) as browser:
        await town.gift(town.ana, town.room_id, "cupcake", 2)
        plain = await browser.visit(person=town.ana, javascript=False, **PHONE)
        page = plain.page
        await page.goto(f"/rooms/{town.room_id}")
        assert "Sunday songs" in await page.inner_text("h1")
        said = re.sub(r"\s+", " ", await page.inner_text(".room-plain"))
        assert f"ana: Cupcake {times(2)}" in said
        assert "Top gifters" in said
        await page.click("[data-act=follow]")
        assert await page.get_attribute("[data-act=follow]", "aria-pressed") == "true"

        await page.click("[data-act=gift]")
        await page.check("[value=teddy-bear]")
        await page.fill("[name=quantity]", "2")
        await page.click("button:has-text('Send')")
        said = re.sub(r"\s+", " ", await page.inner_text(".notice-good"))
        assert f"Teddy Bear {times(2)}: 98 coins" in said
        assert "You have 892 coins left." in said
        assert await town.balance(town.ana) == 892
        await page.reload()
        await page.go_back()
        assert await town.balance(town.ana) == 892

        await page.goto(f"/rooms/{town.room_id}/gifts")
        await page.check("[value=comet]")
        await page.click("button:has-text('Send')")
        assert "$7.49" in await page.inner_text(".card")
        await page.click("button:has-text('Yes, send')")
        await page.wait_for_selector(".notice-good")
        assert await town.balance(town.ana) == 193

        await page.check("[value=trophy]")
        plain.expects("402")
        await page.click("button:has-text('Send')")
        said = re.sub(r"\s+", " ", await page.inner_text(".notice-bad"))
        assert "You need 206 more coins ($2.21)." in said
        assert await page.is_checked("[value=trophy]")
        await page.click(".notice-bad >> text=Recharge")
        await page.wait_for_url("**/recharge?**need=206**")


async def test_the_gift_form_is_sound_and_nobody_sends_to_himself(town):
    async with browser_at(town) as browser:
        ana = await browser.visit(person=town.ana, **PHONE)
        await ana.page.goto(f"/rooms/{town.room_id}/gifts")
        await ana.is_sound()
        bob = await sit_down(browser, town, town.bob, **DESK)
        assert await bob.page.locator("[data-act=gift]").count() == 0
        await bob.is_sound()
        await bob.page.goto(f"/rooms/{town.room_id}/gifts")
        assert "your own live" in await bob.page.inner_text(".notice")
        await bob.is_sound()
