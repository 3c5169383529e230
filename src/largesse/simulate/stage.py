"""One play: who takes part, what is counted, how long one waits."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import msgspec

from largesse.simulate.choice import Item, Package
from largesse.simulate.plan import Visit

LATE_SECONDS_MAX = 10.0
"""What is due longer than this, because the server was away, is left out and not made up for."""
RETRY_PAUSE_SECONDS = 0.1
RETRY_PAUSE_SECONDS_MAX = 5.0
GRACE_SECONDS = 3.0
"""What is under way when the play is stopped has this long to be answered."""


class Login(msgspec.Struct, frozen=True):
    """An account that the play may use; creators' accounts have the role already."""

    login: str
    password: str


class Report(msgspec.Struct, frozen=True):
    """
    What has happened so far.

    `refusals` counts refused requests by their code (a retried one as often as it was refused),
    `errors` tries without a proper answer: no connection, a fault of the server, coins not credited.
    `entries` says how often a room's socket was opened, `events` what was heard through all of them
    by its name, `resyncs` how often something was missed and the room was shown anew, `repeats` how
    many events came twice or in the wrong order. `likes` and `follows` were said; whether they
    counted has no answer.
    """

    visits: int = 0
    entries: int = 0
    recharges: int = 0
    declined: int = 0
    coins_bought: int = 0
    gifts: int = 0
    gifts_by_socket: int = 0
    coins_gifted: int = 0
    lines: int = 0
    likes: int = 0
    follows: int = 0
    shares: int = 0
    events: Mapping[str, int] = {}
    resyncs: int = 0
    repeats: int = 0
    refusals: Mapping[str, int] = {}
    errors: int = 0


class Stopped(Exception):
    """The play is over."""


class GivenUp(Exception):
    """The server's answer was a fault, or made no sense; whoever asked goes home."""


class Player:
    """Somebody with an account: his session, and what he remembers between two visits."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.token: str | None = None
        self.country: str | None = None
        self.packages: list[Package] = []
        self.is_visiting = False
        self.entrance = asyncio.Lock()  # He logs in once at a time,
        self.door = asyncio.Lock()  # and opens his room once at a time.
        self.room_id: str | None = None
        self.rooms_opened = 0


class Stage:
    """One play: the connection, the count, and who takes part."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        stop: asyncio.Event,
        report: Callable[[Report], None],
        viewers: Sequence[Login],
        creators: Sequence[Login],
    ) -> None:
        self.client = client
        self.stop = stop
        self.viewers = [Player(login) for login in viewers]
        self.creators = [Player(login) for login in creators]
        self.items: list[Item] = []
        self.so_far = Report()
        self._report = report

    def socket_url(self, path: str) -> str:
        """Where the socket of this path is, on the server that is asked by HTTP."""
        url = self.client.base_url.join(path)
        return str(url.copy_with(scheme="wss" if url.scheme == "https" else "ws"))

    def heard(self, events: Sequence[str]) -> None:
        """Count events by their names."""
        if events:
            counts = Counter(self.so_far.events)
            counts.update(events)
            self._show(events=dict(counts))

    def count(self, *, refusal: str | None = None, **more: int) -> None:
        """Add to the report and show it."""
        changed: dict[str, Any] = {
            name: getattr(self.so_far, name) + number for name, number in more.items()
        }
        if refusal is not None:
            refusals = self.so_far.refusals
            changed["refusals"] = {**refusals, refusal: refusals.get(refusal, 0) + 1}
        self._show(**changed)

    def _show(self, **changed: Any) -> None:
        self.so_far = msgspec.structs.replace(self.so_far, **changed)
        self._report(self.so_far)


class Guest:
    """A viewer during one visit."""

    def __init__(self, stage: Stage, visit: Visit) -> None:
        self.stage = stage
        self.visit = visit
        self.player = stage.viewers[visit.viewer]
        self.will_decline = visit.declines


def retry_pause(attempt: int) -> float:
    """Twice as long each time, and not the same for everybody."""
    longest = min(RETRY_PAUSE_SECONDS * 2.0 ** min(attempt, 16), RETRY_PAUSE_SECONDS_MAX)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311


async def pause(stage: Stage, seconds: float) -> None:
    """
    Wait, but not beyond the end of the play.

    Raises:
        Stopped: the play is over.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await stage.stop.wait()
            raise Stopped
