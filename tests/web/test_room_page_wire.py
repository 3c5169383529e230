"""The room's connection breaks, answers get lost, everybody gives at once: what one sees stays true."""

import asyncio
import json
import re
import time
from itertools import pairwise

import pytest

from tests.web.browser import DESK, PHONE, browser_at, needs_browser
from tests.web.room_visits import choose, connected, row, rows, send, sit_down, times, town_at, tray

pytestmark = needs_browser

ROOM_SOCKET = re.compile(r"/v1/rooms/[0-9a-f]+/live$")
READ_OUT_APART = 3
"""Seconds between two sentences of a live region, at least."""
FLOOD_SECONDS = 9
WATCH_REGIONS = """() => {
  window.said = [];
  const regions = document.querySelectorAll("[aria-live=polite], [aria-live=assertive], [role=status], [role=alert]");
  for (const region of regions) {
    const note = () => window.said.push([region.id || region.className, performance.now(), region.textContent]);
    new MutationObserver(note).observe(region, {childList: true, characterData: true, subtree: true});
  }
}"""


@pytest.fixture
async def town(prepared, tmp_path):
    async with town_at(tmp_path, prepared) as world:
        await world.give_coins(world.ana, 10_000)
        await world.give_coins(world.eve, 10_000)
        yield world


class Wire:
    """The room's socket with a hand on it: answers can be held back, and it can be cut."""

    def __init__(self):
        self.sent = []
        self.is_mute = False
        self._ours = self._theirs = None

    async def hold(self, page):
        await page.route_web_socket(ROOM_SOCKET, self._opened)

    def _opened(self, ours):
        theirs = ours.connect_to_server()
        self._ours, self._theirs = ours, theirs
        ours.on_message(lambda text: self._out(theirs, text))
        theirs.on_message(lambda text: None if self.is_mute else ours.send(text))

    def _out(self, theirs, text):
        self.sent.append(json.loads(text))
        theirs.send(text)

    async def cut(self):
        self._theirs.close(code=4000)
        await self._ours.close(code=4000)

    def gifts(self):
        return [frame for frame in self.sent if frame["op"] == "gift"]


async def heard(world, person, balance):
    """The server has the gift, whatever the browser knows of it."""
    async with asyncio.timeout(10):
        while await world.balance(person) != balance:  # noqa: ASYNC110 - Nothing else tells.
            await asyncio.sleep(0.02)


async def test_a_break_in_the_middle_of_a_combo_loses_nothing_and_doubles_nothing(town):
    async with browser_at(town) as browser:
        eve = await sit_down(browser, town, town.eve, **DESK)
        ana = await browser.visit(person=town.ana, **PHONE)
        wire = Wire()
        await wire.hold(ana.page)
        await ana.page.goto(f"/rooms/{town.room_id}")
        await connected(ana.page)

        await choose(ana.page, "rose")
        await send(ana.page)
        wire.is_mute = True
        await ana.page.click(".panel-send")
        await heard(town, town.ana, 9_998)
        await wire.cut()
        await ana.page.wait_for_selector(".room-banner:not([hidden])", state="attached")
        wire.is_mute = False
        await connected(ana.page)
        await ana.page.wait_for_function(
            "() => document.querySelector('lg-live-room').gifting.coins === 0"
        )
        await ana.page.wait_for_selector(".room-banner[hidden]", state="attached")

        # The same key went twice, and was one gift.
        first, second, again = [gift["key"] for gift in wire.gifts()][:3]
        assert second == again != first
        assert await town.balance(town.ana) == 9_998
        hello = [frame for frame in wire.sent if frame["op"] == "hello"][-1]
        assert hello["last_seq"] > 0

        await send(ana.page)
        for page in (ana.page, eve.page):
            await row(page, "ana", "sent Rose", times(2))
            await row(page, "ana", "sent Rose", times(1))
            told = [said for said in await rows(page) if "Rose" in said]
            assert told == [f"ana sent Rose {times(2)}", f"ana sent Rose {times(1)}"]
        assert await town.balance(town.ana) == 9_997


async def test_a_gift_goes_by_request_where_no_socket_opens(town):
    async with browser_at(town) as browser:
        eve = await sit_down(browser, town, town.eve, **DESK)
        ana = await browser.visit(person=town.ana, **PHONE)
        await ana.page.route_web_socket(ROOM_SOCKET, lambda socket: socket.close())
        await ana.page.goto(f"/rooms/{town.room_id}")
        await ana.page.wait_for_selector(".room-banner:not([hidden])")
        await choose(ana.page, "rose")
        await send(ana.page)
        await tray(eve.page, "ana", "Rose", times(1))
        assert await town.balance(town.ana) == 9_999


async def test_what_the_server_refuses_is_taken_back_and_said(town):
    async with browser_at(town) as browser:
        ana = await sit_down(browser, town, town.ana, **PHONE)
        await choose(ana.page, "rose")
        # The wallet is emptied by another device, of which this page has not heard.
        wire = "document.querySelector('lg-live-room')"
        await ana.page.evaluate(f"() => {{ {wire}.unwatch(); {wire}.live.lastSeq; }}")
        answer = await town.gift(town.ana, town.room_id, "rocket-launch", 1)
        assert answer.status_code == 201, answer.text
        await ana.page.evaluate(f"() => {wire}.panel.know(10000, 0)")
        await ana.page.check("[name=quantity][value='10']")
        await ana.page.click(".panel-send")
        await ana.page.wait_for_selector(".panel-missing")
        assert "You need 9 more coins" in await ana.page.inner_text(".panel-missing")
        await ana.page.wait_for_selector(".tray.is-mine:has-text('Rose')", state="detached")
        assert await town.balance(town.ana) == 1


async def test_a_flood_of_gifts_does_not_talk_without_end(town):
    async with browser_at(town) as browser:
        nobody = await sit_down(browser, town, None, **PHONE)
        await nobody.page.evaluate(WATCH_REGIONS)
        until = time.monotonic() + FLOOD_SECONDS
        given = 0
        while time.monotonic() < until:
            both = (town.gift(town.ana, town.room_id), town.gift(town.eve, town.room_id, "cookie"))
            given += sum(answer.status_code == 201 for answer in await asyncio.gather(*both))
        assert given > FLOOD_SECONDS * 10
        said = await nobody.page.evaluate("() => window.said")
        assert {region for region, _, _ in said} <= {"says-politely"}
        instants = [at for _, at, _ in said]
        apart = [later - earlier for earlier, later in pairwise(instants)]
        assert all(gap >= READ_OUT_APART * 1_000 for gap in apart), apart
        assert await nobody.page.locator(".tray").count() <= 2
        assert await nobody.page.locator(".chat-row").count() <= 200
