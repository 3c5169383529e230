"""
A real browser for tests of pages: Debian's chromium, driven by Playwright.

    async with browser_at(world) as browser:
        visit = await browser.visit(person=world.ana, width=390)
        await visit.page.goto("/wallet")
        await visit.is_sound()

Whatever a page says on the console, whatever its policy forbids and whatever it asks of another
host fails the test when the browser is closed, unless the test said that it expects it.
"""

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from largesse.web import auth

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1_280, "height": 900}
WAIT_MILLISECONDS = 10_000
TARGET_PIXELS = 44
AXE_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

needs_browser = pytest.mark.skipif(
    os.environ.get("LARGESSE_TEST_BROWSER") == "0" or CHROMIUM is None,
    reason="no browser here, or none asked for",
)

TELL_OF_THE_POLICY = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SMALL_TARGETS = """(least) => {
  const shown = (element) => element.checkVisibility({checkOpacity: false, checkVisibilityCSS: true});
  const inText = (element) => element.matches("p a, dd a, td a, li:not([class]) > a, .prose a")
    && getComputedStyle(element).display === "inline";
  const offered = "a[href], button, summary, select, input:not([type=hidden]), [role=tab], [role=radio]";
  const found = [];
  for (const element of document.querySelectorAll(offered)) {
    if (!shown(element) || inText(element) || element.closest(".visually-hidden, .skip-link")) continue;
    const pressed = element.matches("input") ? element.closest("label") ?? element : element;
    const {width, height} = pressed.getBoundingClientRect();
    if (width && height && (width < least - 0.5 || height < least - 0.5))
      found.push(`${element.outerHTML.slice(0, 120)} ${Math.round(width)}x${Math.round(height)}`);
  }
  return found;
}"""


class Visit:
    """One person's browser with one page, and everything it said that it should not have."""

    def __init__(self, page: Any, host: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._host = host
        self._expected: list[re.Pattern[str]] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("websocket", self._socket)

    def expects(self, pattern: str) -> None:
        """From now on a complaint that matches is none: a refusal that the test asks for."""
        self._expected.append(re.compile(pattern))

    @property
    def unexpected(self) -> list[str]:
        """The complaints that no test asked for."""
        return [
            said
            for said in self.complaints
            if not any(each.search(said) for each in self._expected)
        ]

    async def is_sound(self) -> None:
        """The page fits the screen, axe finds nothing, every target is large enough, no complaint."""
        assert await self.page.evaluate(OVERFLOW) <= 0, "the page is wider than the screen"
        assert await axe(self.page) == []
        assert await self.page.evaluate(SMALL_TARGETS, TARGET_PIXELS) == []
        assert self.unexpected == []

    async def screenshot(self, name: str, *, whole: bool = True) -> None:
        """A picture into the folder of LARGESSE_TEST_SCREENS, where it is set; else nothing."""
        folder = os.environ.get("LARGESSE_TEST_SCREENS")
        if folder:
            path = Path(folder) / f"{name}.png"
            await self.page.screenshot(path=path, full_page=whole)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning", "assert"):
            self.complaints.append(f"{message.type}: {message.text} {message.location['url']}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self._host + "/", "data:", "blob:")):
            self.complaints.append(f"another host: {request.url}")

    def _socket(self, socket: Any) -> None:
        if not socket.url.startswith(self._host.replace("http", "ws", 1) + "/"):
            self.complaints.append(f"another host: {socket.url}")


class Browser:
    """A running chromium; each `visit` is somebody of his own."""

    def __init__(self, chromium: Any, world: Any) -> None:
        self.visits: list[Visit] = []
        self._chromium = chromium
        self._world = world

    async def visit(
        self,
        *,
        person: Any = None,
        width: int = 1_280,
        height: int = 900,
        scheme: str = "light",
        javascript: bool = True,
        language: str = "en-US",
        cookies: dict[str, str] | None = None,
        **options: Any,
    ) -> Visit:
        """
        A page of this size for this person of the world, who is logged in already.

        Further options are Playwright's, as `reduced_motion="reduce"`, `forced_colors="active"`.
        """
        host = str(self._world.client.base_url).rstrip("/")
        context = await self._chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            base_url=host,
            java_script_enabled=javascript,
            locale=language,
            **options,
        )
        context.set_default_timeout(WAIT_MILLISECONDS)
        brought = dict(cookies or {})
        if person is not None:
            brought[auth.cookie_name(self._world.app, auth.SESSION_COOKIE)] = person.token
        await context.add_cookies(
            [{"name": name, "value": value, "url": host} for name, value in brought.items()]
        )
        if javascript:
            await context.add_init_script(TELL_OF_THE_POLICY)
        visit = Visit(await context.new_page(), host)
        self.visits.append(visit)
        return visit


@asynccontextmanager
async def browser_at(world: Any) -> AsyncIterator[Browser]:
    """A browser for the pages of this world; a complaint on any of them fails the test."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        browser = Browser(chromium, world)
        try:
            yield browser
        finally:
            await chromium.close()
    complaints = [said for visit in browser.visits for said in visit.unexpected]
    assert complaints == []


async def axe(page: Any, *, without: tuple[str, ...] = ()) -> list[str]:
    """What axe-core finds wrong with the page as it stands, one line each; also in shadow trees."""
    await page.evaluate(_axe_script())
    options = {
        "runOnly": {"type": "tag", "values": list(AXE_RULES)},
        "rules": {rule: {"enabled": False} for rule in without},
        "resultTypes": ["violations"],
    }
    found = await page.evaluate("(options) => axe.run(document, options)", options)
    return [
        f"{violation['id']}: {node['html'][:160]} ({node['failureSummary']})"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@cache
def _axe_script() -> str:
    package = Path(axe_playwright_python.__file__).parent
    [script] = package.rglob("axe.min.js")
    return script.read_text()
