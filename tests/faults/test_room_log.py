"""
`kill -9` in a room full of gifts: afterwards its log has every paid gift once, and no hole.

A few times in `make test`; `LARGESSE_FAULT_ROUNDS=200` plays it half as often as the kills of
`test_kill.py`.
"""

import asyncio
import collections
import contextlib
import os
import random
import signal
from pathlib import Path

import httpx

from bench import serving
from largesse.app import LEDGER_FILE, RECORDS_FILE
from largesse.books import postings
from largesse.ledger import sqlite_file
from largesse.records import room_log
from largesse.records.database import Database, sqlite_url
from largesse.rooms import log as logs
from largesse.rooms.room import Entry, GiftEntry, StreamEndEntry
from tests.faults import house, town
from tests.faults.house import House
from tests.faults.town import Gift, Order, Town

ROUNDS = int(os.environ.get("LARGESSE_FAULT_ROUNDS", "6")) // 2
SEED = int(os.environ.get("LARGESSE_FAULT_SEED", "0")) or random.SystemRandom().getrandbits(32)
VIEWERS = 4
GIFTS_BEFORE_KILL_MAX = 60
AFTER_SEND_SECONDS_MAX = 0.15
"""Until the kill after the last gift that was waited for: around the append that tells of it."""


async def test_after_kill_9_the_log_has_every_paid_gift_once_and_no_hole(tmp_path: Path) -> None:
    print(f"LARGESSE_FAULT_SEED={SEED}")
    home = house.found(tmp_path)
    server = house.start(home)
    untold = 0
    try:
        async with town.visitor(server.url) as client:
            people = await town.settle(client, viewers=VIEWERS, seed=SEED)
            for viewer in range(VIEWERS):
                order = Order(viewer, town.new_key(people))
                await town.recharge(client, people, order)
                await town.credited(client, people, order)
        for _ in range(ROUNDS):
            await _gift_until_killed(people, server)
            house.kill(server)
            paid = _paid_gifts(home, people.room_id)
            told = _gifts_of(await _entries(home, people.room_id))
            assert told == paid[: len(told)], "told twice, in another order, or never paid"
            untold += len(paid) - len(told)
            server = house.start(home)
        async with town.visitor(server.url) as client:
            ending = client.post(
                f"/v1/rooms/{people.room_id}/end", headers=town.bearer(people.creator_token)
            )
            await town.expect(ending)
        assert serving.stop(server, signal.SIGTERM) == 0
    finally:
        if server.process.poll() is None:
            house.kill(server)

    entries = await _entries(home, people.room_id)
    paid = _paid_gifts(home, people.room_id)
    assert _gifts_of(entries) == paid
    assert {gift.answer["id"] for gift in people.gifts if gift.answer} <= set(paid)
    assert isinstance(entries[-1], StreamEndEntry)
    streaks = collections.Counter(
        (entry.group_id, entry.repeat_end) for entry in entries if isinstance(entry, GiftEntry)
    )
    groups = {group for group, _ in streaks}
    assert all(streaks[group, True] == 1 for group in groups), "a streak has one end"
    print(f"{len(paid)} gifts, {untold} of them paid and not told when the process was killed")


async def _gift_until_killed(people: Town, server: serving.Server) -> None:
    """All viewers at once; the process is killed soon after so many answers."""
    left = people.randomness.randint(5, GIFTS_BEFORE_KILL_MAX)
    pause = people.randomness.uniform(0, AFTER_SEND_SECONDS_MAX)

    async def live(client: httpx.AsyncClient, viewer: int) -> None:
        nonlocal left
        with contextlib.suppress(httpx.TransportError):
            while server.process.poll() is None:
                gift = Gift(viewer, town.new_key(people), 1)
                people.gifts.append(gift)
                response = await town.send(client, people, gift)
                if response.status_code != 201:
                    return  # Out of coins, or too quick.
                gift.answer = response.json()["gift"]
                left -= 1
                if left == 0:
                    asyncio.get_running_loop().call_later(pause, server.process.kill)

    async with town.visitor(server.url) as client:
        await asyncio.gather(*(live(client, viewer) for viewer in range(VIEWERS)))


def _paid_gifts(home: House, room_id: str) -> list[str]:
    """The gifts of the room that the ledger has, in its order."""
    with contextlib.closing(sqlite_file.connect_reader(home.data / LEDGER_FILE)) as db:
        changes = sqlite_file.changes(db, 0, 1_000_000)
    chains = [change.chain for change in changes if change.chain]
    gifts = [postings.gift_details(chain) for chain in chains if postings.is_gift(chain)]
    return [gift.gift_id for gift in gifts if gift.room_id == room_id]


async def _entries(home: House, room_id: str) -> list[Entry]:
    """The log as it is on the disk; to read it is to see that it has no hole."""
    db = await Database.open(sqlite_url(home.data / RECORDS_FILE))
    try:
        found = await room_log.find(db, room_id)
        assert found is not None
        return await logs.read(db, room_id, 0, found[0].seq)
    finally:
        await db.close()


def _gifts_of(entries: list[Entry]) -> list[str]:
    return [
        entry.order_id
        for entry in entries
        if isinstance(entry, GiftEntry) and not (entry.is_streakable and entry.repeat_end)
    ]
