"""
What the tests of the room page share: an installation at work, and people who sit in its room.

Everything is real: server, sockets, worker, the pretend provider; only nobody else is there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from largesse.clock import SystemClock
from largesse.records import users
from largesse.worker import Worker
from tests.web import worlds
from tests.web.browser import Browser, Visit
from tests.web.worlds import Person, World

ROWS = "() => [...document.querySelectorAll('.chat-row')].map((row) => row.innerText.trim())"


def times(count: int) -> str:
    """How often a gift was sent, as it is shown."""
    return f"\N{MULTIPLICATION SIGN}{count}"


@asynccontextmanager
async def town_at(
    folder: Path, prepared: Path, *, is_at_work: bool = False, **settings: Any
) -> AsyncIterator[World]:
    """By the machine's clock: ana and eve, who may gift, and bob, who is live."""
    clock = SystemClock()
    async with worlds.open_world(folder, prepared=prepared, clock=clock, **settings) as world:
        world.ana = await world.person("ana")
        world.eve = await world.person("eve")
        world.bob = await world.person("bob", "creator")
        world.room_id = await world.open_room(world.bob)
        if not is_at_work:
            yield world
            return
        async with at_work(world):
            yield world


@asynccontextmanager
async def at_work(world: World) -> AsyncIterator[None]:
    """The sandbox sends its webhooks and the worker handles them, by themselves."""
    worker, sandbox = Worker(world.app), world.app.sandbox
    assert sandbox is not None
    jobs = [asyncio.create_task(worker.run()), asyncio.create_task(sandbox.run())]
    try:
        yield
    finally:
        sandbox.stop()
        await worker.stop()
        await asyncio.gather(*jobs)


async def rename(world: World, person: Person, nickname: str) -> None:
    """Give somebody another name, as it is in the records: nothing cleans it on the way."""
    await users.set_nickname(world.app.db, person.id, nickname)


async def sit_down(browser: Browser, world: World, person: Person | None, **options: Any) -> Visit:
    """Somebody in the room, connected."""
    visit = await browser.visit(person=person, **options)
    await visit.page.goto(f"/rooms/{world.room_id}")
    await connected(visit.page)
    return visit


async def connected(page: Any) -> None:
    """The room's socket is open and has shown the room."""
    await page.wait_for_function(
        "() => document.querySelector('lg-live-room')?.live?.isOpen"
        " && document.querySelector('lg-live-room').live.lastSeq !== undefined"
    )


async def choose(page: Any, item_id: str) -> None:
    """Open the gift panel where it is closed, and choose."""
    if not await page.locator("dialog.panel[open]").count():
        await page.click("[data-act=gift]")
    await page.click(f"[data-id={item_id}]")


async def send(page: Any) -> None:
    """Press Send, and wait until the wallet answers for it."""
    await page.click(".panel-send")
    await page.wait_for_function("() => document.querySelector('lg-live-room').gifting.coins === 0")


async def tray(page: Any, *words: str) -> None:
    """A line in the trays holds these words."""
    await page.wait_for_function(
        "(words) => [...document.querySelectorAll('.tray')].some("
        "(line) => words.every((word) => line.innerText.includes(word)))",
        arg=list(words),
    )


async def row(page: Any, *words: str) -> None:
    """A row of the chat holds these words."""
    await page.wait_for_function(
        "(words) => [...document.querySelectorAll('.chat-row')].some("
        "(row) => words.every((word) => row.innerText.includes(word)))",
        arg=list(words),
    )


async def rows(page: Any) -> list[str]:
    """The rows of the chat, oldest first."""
    found: list[str] = await page.evaluate(ROWS)
    return found
