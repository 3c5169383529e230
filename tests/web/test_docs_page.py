"""The documentation page in a real browser: clean, from our own files, and calls can be tried."""

import os
import shutil
import tomllib
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest

from largesse.clock import SystemClock
from largesse.web import docs
from tests.web import worlds
from tests.web.worlds import PASSWORD

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
VENDOR = docs.WEB / "static" / "vendor" / "swagger-ui"

needs_browser = pytest.mark.skipif(
    os.environ.get("LARGESSE_TEST_BROWSER") == "0" or CHROMIUM is None,
    reason="no browser here, or none asked for",
)


class Visit:
    """An open page, and everything it said or asked for that it should not have."""

    def __init__(self, page, host):
        self.page = page
        self.complaints = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._look(request, host))

    def _look(self, request, host):
        if not request.url.startswith((host, "data:", "blob:")):
            self.complaints.append(request.url)


@asynccontextmanager
async def browser_at(world):
    """A browser; call what it gives to open a page of a size and a colour scheme."""
    from playwright.async_api import async_playwright

    host = str(world.client.base_url)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

        async def visit(*, width=1_280, height=900, scheme="light"):
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, base_url=host
            )
            return Visit(await context.new_page(), host)

        yield visit
        await browser.close()


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
    async with browser_at(town) as visit:
        visited = await visit()
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
    async with browser_at(world) as visit:
        for width, scheme, ground in (
            (390, "light", "rgb(255, 255, 255)"),
            (390, "dark", "rgb(28, 32, 34)"),
            (1_280, "dark", "rgb(28, 32, 34)"),
        ):
            visited = await visit(width=width, scheme=scheme)
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
