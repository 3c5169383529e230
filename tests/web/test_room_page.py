"""The room in two real browsers: what one sends, says and likes, the other sees."""

import gzip
import re

import pytest

from largesse.web import assets
from largesse.web.pages import room as room_pages
from tests.web.browser import DESK, PHONE, browser_at, needs_browser
from tests.web.room_visits import (
    choose,
    row,
    rows,
    send,
    sit_down,
    times,
    town_at,
    tray,
)

pytestmark = needs_browser

SCRIPT_BYTES_MAX = 35 * 1_024
COUNT_ENDS = """() => {
  const room = document.querySelector("lg-live-room");
  window.gifts = [];
  const take = room.state.take.bind(room.state);
  room.state.take = (frame) => {
    const isNew = take(frame);
    if (isNew && frame.event === "gift") window.gifts.push([frame.data.repeatCount, frame.data.repeatEnd]);
    return isNew;
  };
}"""


@pytest.fixture
async def town(prepared, tmp_path):
    async with town_at(tmp_path, prepared) as world:
        await world.give_coins(world.ana, 1_000)
        yield world


async def test_a_gift_appears_in_the_other_browser_and_a_combo_ends_once(town):
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **PHONE)
        eve = await sit_down(browser, town, town.eve, **DESK)
        await eve.page.evaluate(COUNT_ENDS)

        await choose(ana.page, "rose")
        await send(ana.page)
        await tray(eve.page, "ana", "Rose", times(1))
        await tray(ana.page, "You", "Rose", times(1))
        for _ in range(2):
            await send(ana.page)
        await tray(eve.page, "ana", "Rose", times(3))
        await row(eve.page, "ana", "sent Rose", times(3))
        await row(ana.page, "ana", "sent Rose", times(3))

        gifts = await eve.page.evaluate("() => window.gifts")
        assert [count for count, is_end in gifts if is_end] == [3]
        assert [count for count, is_end in gifts if not is_end] == sorted(
            {count for count, is_end in gifts if not is_end}
        )
        balance = await ana.page.locator(".panel-balance").text_content()
        assert balance is not None
        assert "997 coins about $10.69" in balance
        assert await town.balance(town.ana) == 997
        assert [said for said in await rows(eve.page) if "Rose" in said] == [
            f"ana sent Rose {times(3)}"
        ]


async def test_what_one_says_likes_and_does_the_other_sees(town):
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **PHONE)
        eve = await sit_down(browser, town, town.eve, **DESK)
        await eve.page.wait_for_function(
            "() => document.querySelector('[data-viewers]').textContent === '2 viewers'"
        )

        await ana.page.fill("#chat-text", "Play it again")
        await ana.page.press("#chat-text", "Enter")
        await row(eve.page, "ana", "Play it again")
        await ana.page.wait_for_function("() => document.querySelector('#chat-text').value === ''")

        for _ in range(3):
            await ana.page.click(".like-button")
        await eve.page.wait_for_function(
            "() => document.querySelector('lg-like-button').total === 3"
        )
        await ana.page.click("[data-act=follow]")
        await row(eve.page, "ana follows now")
        assert await ana.page.get_attribute("[data-act=follow]", "aria-pressed") == "true"

        await choose(ana.page, "cupcake")
        await send(ana.page)
        await ana.page.keyboard.press("Escape")
        await eve.page.wait_for_selector(".top-face-1")
        await eve.page.click(".top-button")
        await eve.page.wait_for_selector(".top-row:has-text('ana')")
        await eve.page.click(".segment:has-text('All time')")
        await eve.page.wait_for_selector(".segment[aria-pressed=true]:has-text('All time')")
        await eve.page.wait_for_selector(
            ".top-sheet:has-text('You have not sent a gift here yet.')"
        )
        await eve.page.keyboard.press("Escape")
        assert await eve.page.evaluate("() => document.activeElement.className") == "top-button"


async def test_who_comes_later_sees_what_was_and_a_message_that_is_refused_stays(town):
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **PHONE)
        await ana.page.fill("#chat-text", "First")
        await ana.page.press("#chat-text", "Enter")
        await row(ana.page, "First")
        await ana.page.evaluate(
            "() => document.querySelector('#chat-text').removeAttribute('maxlength')"
        )
        await ana.page.fill("#chat-text", "x" * 201)
        await ana.page.press("#chat-text", "Enter")
        await ana.page.wait_for_selector(".chat-problem")
        assert await ana.page.input_value("#chat-text") == "x" * 201

        eve = await sit_down(browser, town, town.eve, **PHONE)
        assert "ana First" in await rows(eve.page)


async def test_a_live_that_ends_says_so_and_stays_as_a_summary(town):
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **PHONE)
        await choose(ana.page, "cupcake")
        await send(ana.page)

        await town.client.post(f"/v1/rooms/{town.room_id}/end", headers=town.bob.headers)
        await ana.page.wait_for_selector(".room-end:not([hidden])")
        assert await ana.page.locator("dialog[open]").count() == 0
        assert await ana.page.evaluate("() => document.activeElement.textContent") == (
            "This live is over"
        )
        await ana.is_sound()

        await ana.page.click("text=How it went")
        await ana.page.wait_for_selector(".over")
        said = re.sub(r"\s+", " ", await ana.page.inner_text(".over-text"))
        assert "bob was live for less than a minute. At the most 1 person watched. 1" in said
        assert "1 person sent 1 gift, 5 coins in all ($0.06)." in said
        assert "ana" in await ana.page.inner_text(".list")
        await ana.is_sound()
        await ana.page.click("text=Other live rooms")
        await ana.page.wait_for_selector(".empty")
        await ana.is_sound()


async def test_nobody_in_particular_watches_and_is_led_to_the_door(town):
    async with browser_at(town) as browser:
        nobody = await sit_down(browser, town, None, **PHONE)
        await nobody.is_sound()
        await town.gift(town.ana, town.room_id)
        await tray(nobody.page, "ana", "Rose")
        await nobody.page.click(".gift-button")
        await nobody.page.wait_for_url(f"**/login?next=/rooms/{town.room_id}")


async def test_the_start_page_shows_who_is_live_to_everybody(town):
    async with browser_at(town) as browser:
        for person, scheme, size in ((None, "light", PHONE), (town.ana, "dark", DESK)):
            visit = await browser.visit(person=person, scheme=scheme, **size)
            await visit.page.goto("/")
            assert "Sunday songs" in await visit.page.inner_text(".room-card")
            await visit.is_sound()
        await visit.page.click(".room-card")
        await visit.page.wait_for_url(f"**/rooms/{town.room_id}")


def test_comments_stay_at_home_and_nothing_else_does():
    """A comment is cut where it has its lines for itself, and never inside a text."""
    for file in sorted((assets.STATIC / "js").rglob("*.js")):
        path, written = file.relative_to(assets.STATIC), file.read_bytes()
        sent = assets.lean(written)
        kept, lines = sent.split(b"\n"), written.split(b"\n")
        assert len(kept) == len(lines)
        quotes = 0
        for line, source in zip(kept, lines, strict=True):
            assert line in (source, b"")
            if line != source:
                assert source.lstrip()[:1] in (b"/", b"*"), (path, source)
                assert quotes % 2 == 0, (path, source)
            quotes += line.count(b"`")


async def test_the_room_s_scripts_are_small_and_its_first_view_is_quick(town):
    async with browser_at(town) as browser:
        visit = await sit_down(browser, town, town.ana, **PHONE)
        loaded = await visit.page.evaluate(
            "() => performance.getEntriesByType('resource').map((each) => each.name)"
            ".filter((name) => name.endsWith('.js'))"
        )
        paint = await visit.page.evaluate(
            "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
        )
    names = {name.partition(f"/static/v-{assets.version()}/")[2] for name in loaded}
    size = sum(len(gzip.compress(assets.files()[name])) for name in names)
    print(f"\n{len(names)} scripts, {size:,} bytes packed; first view after {paint:.0f} ms")
    assert size <= SCRIPT_BYTES_MAX
    # What the page names is what its script imports, so that all of it is fetched at once.
    assert set(room_pages.SCRIPTS) <= names
    assert names - set(room_pages.SCRIPTS) <= {
        *("js/page.js", "js/core/forms.js", "js/elements/lg-balance.js"),
        *("js/elements/lg-worth.js", "js/elements/lg-preference.js"),
    }
