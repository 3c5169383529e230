"""
A crowd that gifts over HTTP while things break, and remembers every answer.

Who gets no answer, or one that says later, asks again with the same key, at the next process: so at the
end each gift was answered, and each must be in the ledger once.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec

from bench.audience import Audience
from largesse import ids
from largesse.books import chart
from largesse.cli import bench
from largesse.clock import SystemClock, milliseconds

ANSWER_SECONDS_MAX = 90.0
"""The longest that a gift may go without its answer, every new try included."""
TRY_SECONDS_MAX = 15.0
AGAIN_SECONDS = 0.02
GIFT_IDS_PER_LOOKUP = 1_000
DOUBLED = 0.1
"""The share of gifts that are sent to two processes at the same moment."""
KEY_BYTES = 10


class Gift(msgspec.Struct):
    """A gift of viewer number `viewer`; `id` once it was answered."""

    viewer: int
    key: str
    id: str = ""


class Crowd:
    """Viewers who gift one after another, each one gift at a time, until `stop`."""

    def __init__(
        self, client: httpx.AsyncClient, audience: Audience, urls: Sequence[str], seed: int
    ) -> None:
        self.gifts: list[Gift] = []
        self.answered = 0
        self.seconds_max = 0.0
        self.unanswered: Counter[str] = Counter()
        """Tries that were no success, by what was said: a status, or the kind of a broken connection."""
        self._client = client
        self._audience = audience
        self._urls = urls
        self._chance = random.Random(seed)  # noqa: S311 - A course of events, not a secret.
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Everybody gifts from now on."""
        viewers = range(len(self._audience.tokens))
        self._tasks = [asyncio.create_task(self._live(viewer)) for viewer in viewers]

    async def more(self, count: int) -> None:
        """Wait until so many more gifts were answered."""
        wanted = self.answered + count
        await self.until(lambda: self.answered >= wanted)

    async def refused(self, count: int) -> None:
        """Wait until so many more tries were no success."""
        wanted = self.unanswered.total() + count
        await self.until(lambda: self.unanswered.total() >= wanted)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Look now and then; whatever ended a viewer's life is raised here."""
        while not holds():
            done, _ = await asyncio.wait(
                self._tasks, timeout=AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()

    async def stop(self) -> None:
        """No new gifts; what was begun is asked for until it is answered."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def ask_again(self, count: int) -> None:
        """So many of the gifts once more, anywhere: each gets its first answer."""
        for gift in self._chance.sample(self.gifts, min(count, len(self.gifts))):
            await self._insist(gift, self._chance.randrange(len(self._urls)))

    async def _live(self, viewer: int) -> None:
        while not self._stopping:
            key = ids.new_key(milliseconds(SystemClock().now()), self._chance.randbytes(KEY_BYTES))
            gift = Gift(viewer, key)
            self.gifts.append(gift)
            first = self._chance.randrange(len(self._urls))
            places = [first, first + 1] if self._chance.random() < DOUBLED else [first]
            await asyncio.gather(*(self._insist(gift, place) for place in places))
            self.answered += 1

    async def _insist(self, gift: Gift, place: int) -> None:
        """Ask until it is answered, each time at the next process; the answer is always the same."""
        begun = time.perf_counter()
        while not (id := await self._try(gift, self._urls[place % len(self._urls)])):
            waited = time.perf_counter() - begun
            assert waited < ANSWER_SECONDS_MAX, f"a gift was not answered in {waited:.0f} s"
            place += 1
            await asyncio.sleep(AGAIN_SECONDS)
        assert gift.id in ("", id), "one key was answered with two gifts"
        gift.id = id
        self.seconds_max = max(self.seconds_max, time.perf_counter() - begun)

    async def _try(self, gift: Gift, url: str) -> str:
        token = self._audience.tokens[gift.viewer]
        try:
            response = await self._client.post(
                f"{url}/v1/rooms/{self._audience.room_id}/gifts",
                json={"item_id": self._audience.item_id, "quantity": 1},
                headers={"Authorization": f"Bearer {token}", "Idempotency-Key": gift.key},
                timeout=TRY_SECONDS_MAX,
            )
        except httpx.TransportError as error:
            self.unanswered[type(error).__name__] += 1
            return ""
        if response.status_code == 201:
            return str(response.json()["gift"]["id"])
        code = ""
        with suppress(ValueError, TypeError):
            code = str(response.json().get("code", ""))
        # Later is a fair answer while things are broken; that the viewer may not is none.
        assert response.status_code in (429, 500, 502, 503, 504), response.text
        self.unanswered[f"{response.status_code} {code}".strip()] += 1
        return ""


async def held_against_ledger(crowd: Crowd, audience: Audience, environ: Mapping[str, str]) -> str:
    """What is wrong with the ledger, given what was answered; empty where nothing is."""
    async with bench.opened(
        Path(environ["LARGESSE_DATA"]),
        database_url=environ["LARGESSE_DATABASE_URL"],
        ledger_url=environ["LARGESSE_LEDGER_URL"],
    ) as app:
        wanted = [ids.from_key(audience.viewer_ids[each.viewer], each.key) for each in crowd.gifts]
        for n in range(0, len(wanted), GIFT_IDS_PER_LOOKUP):
            page = wanted[n : n + GIFT_IDS_PER_LOOKUP]
            there = await app.ledger.lookup_transfers(page)
            if lost := sum(posted is None for posted in there):
                return f"{lost} answered gifts are lost"
        for id, gift in zip(wanted, crowd.gifts, strict=True):
            if ids.text(id) != gift.id:
                return f"the gift of key {gift.key} was answered as {gift.id}"
        wallets = [chart.wallet(app.environment, viewer) for viewer in audience.viewer_ids]
        accounts = await app.ledger.lookup_accounts(wallets)
        spent = sum(account.debits_posted for account in accounts if account is not None)
    if spent != len(crowd.gifts):
        return f"{len(crowd.gifts)} gifts of one coin were answered, {spent} coins are spent"
    return ""
