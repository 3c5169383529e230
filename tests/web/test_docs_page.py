"""The documentation page in a real browser: clean, from our own files, and calls can be tried."""

import tomllib
from hashlib import sha256

import pytest

from largesse.clock import SystemClock
from largesse.web import docs
from tests.web import worlds
from tests.web.browser import browser_at, needs_browser
from tests.web.worlds import PASSWORD

VENDOR = docs.WEB / "static" / "vendor" / "swagger-ui"


@pytest.fixture
async def town(prepared, tmp_path):
    """By the machine's clock, because the page makes idempotency keys by it."""
    clock = SystemClock()
    async with worlds.open_world(tmp_path, prepared=prepared, clock=clock) as world:
        await world.sign_up("ana")
        world.ana = await world.log_in("ana")
        world.bob = await world.person("bob", "creator")
        world.room_id = await world.open_room(world.bob)
        await world.give_coins(world.ana, 10)
        yield world


@needs_browser
async def test_one_logs_in_and_sends_a_gift(town):
    async with browser_at(town) as browser:
        visited = await browser.visit()
        page = visited.page
        await page.goto("/docs")
        await page.fill("[name=login]", "ana")
        await page.fill("[name=password]", PASSWORD)
        await page.click("#log-in button")
        await page.wait_for_selector("#logged-in:not([hidden])")
        assert await page.inner_text("#who") == "ana"

        operation = page.locator("#operations-Gifts-postGift")
        await operation.locator(".opblock-summary-control").click()
        await operation.locator(".try-out__btn").click()
        await operation.locator("input[placeholder=room_id]").fill(town.room_id)
        await operation.locator(".execute").click()
        status = operation.locator(".live-responses-table tbody .response-col_status").first
        await status.wait_for()

        assert (await status.inner_text()).strip().startswith("201")
        assert await town.balance(town.ana) == 9

        await page.reload()
        await page.wait_for_selector("#logged-in:not([hidden])")
        await page.click("#log-out")
        await page.wait_for_selector("#log-in:not([hidden])")
        assert visited.complaints == []
    answer = await town.client.get("/v1/me", headers=town.ana.headers)
    assert answer.status_code == 200  # Only the page's own session was closed.


@needs_browser
async def test_it_fits_every_screen_and_says_nothing(world):
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    async with browser_at(world) as browser:
        for width, scheme, ground in (
            (390, "light", "rgb(255, 255, 255)"),
            (390, "dark", "rgb(28, 32, 34)"),
            (1_280, "dark", "rgb(28, 32, 34)"),
        ):
            visited = await browser.visit(width=width, scheme=scheme)
            page = visited.page
            for path, sign in (("/docs/errors", "#self_gift"), ("/docs", ".opblock")):
                await page.goto(path)
                await page.wait_for_selector(sign)
                assert await page.evaluate(overflow) == 0
                colour = "getComputedStyle(document.body).backgroundColor"
                assert await page.evaluate(colour) == ground
            assert visited.complaints == []


def test_the_files_of_others_are_as_they_came():
    vendored = tomllib.loads((VENDOR / "vendor.toml").read_text())

    assert vendored["license"] == "Apache-2.0"
    files = {file.name for file in VENDOR.iterdir()} - {"vendor.toml"}
    assert files == vendored["sha256"].keys()
    for name, digest in vendored["sha256"].items():
        assert sha256((VENDOR / name).read_bytes()).hexdigest() == digest
