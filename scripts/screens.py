"""
Maintainer's script: takes the pictures of `docs/screens`, from a demo of its own (`make screens`).

Every scene on a phone and on a desktop, light and dark. People in the pictures are the demo's; the
seed is fixed, the clock is not, so two runs differ in what the audience just did.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, Page, async_playwright

SCREENS = Path(__file__).resolve().parent.parent / "docs" / "screens"
PASSWORD = "only-for-these-pictures"  # noqa: S105 - Of a demo that lives for two minutes.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
DEVICES = {"phone": (390, 844), "desktop": (1280, 900)}
SCHEMES = ("light", "dark")
QUALITY = 82
WARM_UP_SECONDS = 25
"""So long the audience plays before the first picture, so that rooms have a past."""

SETTLE_MILLISECONDS = 700
"""What slides in has arrived by then."""

Scene = Callable[[Page], Awaitable[None]]


def main() -> None:
    """Take every picture, or those whose names are given."""
    wanted = set(sys.argv[1:])
    with demo() as url:
        asyncio.run(take(url, wanted))


@contextmanager
def demo() -> Iterator[str]:
    """A demo in a folder of its own; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = tempfile.mkdtemp(prefix="largesse-screens-")
    environ = {
        **os.environ,
        "LARGESSE_DATA": str(Path(data) / "data"),
        "LARGESSE_PORT": str(port),
        "LARGESSE_DEMO_PASSWORD": PASSWORD,
    }
    command = [sys.executable, "-m", "largesse", "demo", "--gifts-per-second=8"]
    process = subprocess.Popen(  # noqa: S603 - Our own command.
        command, env=environ, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        # Its welcome is the last thing it does before people may come in.
        while (line := process.stdout.readline()) and not line.startswith("Logins:"):
            pass
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(data, ignore_errors=True)


async def take(url: str, wanted: set[str]) -> None:
    """Prepare the people, then take the pictures one by one."""
    room_id = await prepare(url)
    scenes = scenes_of(room_id)
    SCREENS.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        print(f"The audience plays for {WARM_UP_SECONDS} s.", flush=True)
        await asyncio.sleep(WARM_UP_SECONDS)
        for device, (width, height) in DEVICES.items():
            for scheme in SCHEMES:
                for login in ("viewer", "creator", "operator"):
                    mine = {name: scene for (who, name), scene in scenes.items() if who == login}
                    mine = {name: mine[name] for name in mine if not wanted or name in wanted}
                    if not mine:
                        continue
                    options = {"viewport": {"width": width, "height": height}}
                    async with logged_in(browser, url, login, scheme, options) as page:
                        for name, scene in mine.items():
                            await scene(page)
                            await page.wait_for_timeout(SETTLE_MILLISECONDS)
                            file = SCREENS / f"{name}-{device}-{scheme}.jpg"
                            await page.screenshot(path=file, type="jpeg", quality=QUALITY)
                            print(f"  {file.name}", flush=True)
        await browser.close()


@asynccontextmanager
async def logged_in(
    browser: Browser, url: str, login: str, scheme: Any, options: dict[str, Any]
) -> AsyncIterator[Page]:
    """A page of somebody who has logged in."""
    context = await browser.new_context(base_url=url, color_scheme=scheme, **options)
    page = await context.new_page()
    await page.goto("/login")
    await page.fill("[name=login]", login)
    await page.fill("[name=password]", PASSWORD)
    await page.press("[name=password]", "Enter")
    await page.wait_for_url(lambda address: "/login" not in address)
    yield page
    await context.close()


async def prepare(url: str) -> str:
    """
    `viewer` has coins, `creator` was live and is live again, with gifts: by the API, as anybody. The
    id of the room that is over.
    """
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:

        async def session(login: str) -> dict[str, str]:
            body = {"login": login, "password": PASSWORD}
            answer = (await client.post("/v1/sessions", json=body)).raise_for_status()
            return {"authorization": f"Bearer {answer.json()['token']}"}

        viewer, creator = await session("viewer"), await session("creator")
        for n, package in enumerate(("coins-700", "coins-350")):
            headers = viewer | {"idempotency-key": f"screens order {n}"}
            body = {"package_id": package, "provider": "sandbox"}
            order = (await client.post("/v1/orders", json=body, headers=headers)).raise_for_status()
            await client.post(f"{order.json()['checkout_url']}/confirm")
            await credited(client, order.json()["id"], viewer)

        async def live(title: str) -> str:
            headers = creator | {"content-type": "application/json"}
            room = await client.post("/v1/rooms", json={"title": title}, headers=headers)
            room_id: str = room.raise_for_status().json()["id"]
            for n, (item, quantity) in enumerate((("rose", 5), ("cookie", 1), ("rose", 20))):
                await client.post(
                    f"/v1/rooms/{room_id}/gifts",
                    json={"item_id": item, "quantity": quantity},
                    headers=viewer | {"idempotency-key": f"screens {title} {n}"},
                )
            return room_id

        over = await live("Ink and tea")
        await client.post(f"/v1/rooms/{over}/end", headers=creator)
        await live("Watercolours, live")
        return over


async def credited(client: httpx.AsyncClient, order_id: str, viewer: dict[str, str]) -> None:
    """Until the coins of an order are there."""
    for _ in range(100):
        order = (await client.get(f"/v1/orders/{order_id}", headers=viewer)).json()
        if order["status"] == "credited":
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(order_id)


def scenes_of(room_id: str) -> dict[tuple[str, str], Scene]:
    """Who sees which scene; in this order, because a later one may stand on an earlier one."""

    def at(path: str) -> Scene:
        async def scene(page: Page) -> None:
            await page.goto(path)
            await page.wait_for_load_state("networkidle")

        return scene

    return {
        ("viewer", "home"): at("/"),
        ("viewer", "room"): busiest_room,
        ("viewer", "gift-panel"): gift_panel,
        ("viewer", "recharge-in-the-room"): recharge_in_the_room,
        ("viewer", "profile"): at("/profile"),
        ("viewer", "settings"): at("/settings"),
        ("viewer", "balance"): at("/wallet"),
        ("viewer", "recharge"): at("/recharge"),
        ("viewer", "checkout"): checkout,
        ("viewer", "receipt"): receipt,
        ("viewer", "history"): at("/wallet/history"),
        ("creator", "studio"): at("/creator"),
        ("creator", "console"): at("/creator/live"),
        ("creator", "earnings"): at("/creator/earnings"),
        ("creator", "summary"): at(f"/creator/rooms/{room_id}"),
        ("operator", "today"): at("/operator"),
        ("operator", "orders"): at("/operator/orders"),
        ("operator", "checks"): at("/operator/checks"),
        ("operator", "styleguide"): at("/styleguide"),
    }


async def busiest_room(page: Page) -> None:
    """The first room of the start page, with its people."""
    await page.goto("/")
    address = await page.locator("a[href^='/rooms/']").first.get_attribute("href")
    await page.goto(str(address))
    await page.wait_for_selector(".tray", timeout=20_000)


async def gift_panel(page: Page) -> None:
    """In the room: the gift box opened, a rose chosen."""
    await page.locator(".gift-button").first.click()
    await page.locator("[role=radio]").nth(4).click()


async def recharge_in_the_room(page: Page) -> None:
    """In the panel: a gift that costs more than there is, and the sheet that helps."""
    await page.locator("[role=radio]").last.click()
    await page.locator(".panel-low .panel-send").first.click()


async def checkout(page: Page) -> None:
    """The pretend provider's page, by the form of the page before."""
    await page.goto("/recharge")
    await page.locator("main form button[type=submit]").last.click()
    await page.wait_for_url("**/sandbox/payments/**")


async def receipt(page: Page) -> None:
    """Back from the checkout, with the coins there."""
    await page.get_by_role("button").first.click()
    await page.wait_for_url("**/orders/**")
    await page.wait_for_selector("lg-order[status=credited]", timeout=20_000)


if __name__ == "__main__":
    main()
