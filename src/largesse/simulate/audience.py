"""The play: sends every visitor in at his time, until it is stopped."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import httpx
import msgspec

from largesse.simulate import api
from largesse.simulate.plan import Answer, Visit, answers, plan
from largesse.simulate.rooms import end_room
from largesse.simulate.stage import (
    GRACE_SECONDS,
    LATE_SECONDS_MAX,
    RETRY_PAUSE_SECONDS_MAX,
    GivenUp,
    Guest,
    Login,
    Report,
    Stage,
    Stopped,
    pause,
)
from largesse.simulate.visit import host, stay

TIMEOUT_SECONDS = 10.0
CONNECTIONS_MAX = 256


async def play(
    base_url: str,
    *,
    viewers: Sequence[Login],
    creators: Sequence[Login],
    seed: int,
    gifts_per_second: float,
    stop: asyncio.Event,
    report: Callable[[Report], None],
) -> Report:
    """
    Let this audience live until `stop` is set, then end its rooms; tells `report` of every change.

    `gifts_per_second` is what all viewers together wish to send, on average. A server that is away
    is waited for; what was asked for is asked for again under the same idempotency key.
    """
    visits = plan(
        seed, viewers=len(viewers), creators=len(creators), gifts_per_second=gifts_per_second
    )
    spoken = [
        answers(seed, creator=n, creators=len(creators), gifts_per_second=gifts_per_second)
        for n in range(len(creators))
    ]
    async with httpx.AsyncClient(
        base_url=base_url,
        timeout=httpx.Timeout(TIMEOUT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
        trust_env=False,  # No proxy stands between an audience and the server beside it.
    ) as client:
        stage = Stage(client, stop, report, viewers, creators)
        with contextlib.suppress(Stopped):
            await _load_items(stage)
            await _direct(stage, visits, spoken)
        for creator in stage.creators:
            await end_room(stage, creator)
        return stage.so_far


async def _direct(
    stage: Stage, visits: Iterator[Visit], spoken: Sequence[Iterator[Answer]]
) -> None:
    """Send everybody in at his time; who is still there at the end may finish his sentence."""
    under_way: set[asyncio.Task[None]] = set()

    def begin(work: Coroutine[Any, Any, object]) -> None:
        task = group.create_task(_guarded(stage, work))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    async with asyncio.TaskGroup() as group:
        for n, answers_of_one in enumerate(spoken):
            begin(host(stage, n, answers_of_one))
        begun = time.monotonic()
        try:
            for visit in visits:
                due = begun + visit.at_seconds
                await pause(stage, due - time.monotonic())
                is_late = time.monotonic() - due > LATE_SECONDS_MAX
                if not is_late and not stage.viewers[visit.viewer].is_visiting:
                    begin(stay(Guest(stage, visit)))
        except Stopped:
            if under_way:
                await asyncio.wait(under_way, timeout=GRACE_SECONDS)
            for task in under_way:
                task.cancel()


async def _guarded(stage: Stage, work: Coroutine[Any, Any, object]) -> None:
    """Work that may end early: because the play is over, or because the server makes no sense."""
    try:
        await work
    except Stopped:
        return
    except (GivenUp, msgspec.DecodeError, httpx.HTTPError, httpx.InvalidURL):
        stage.count(errors=1)


async def _load_items(stage: Stage) -> None:
    """Learn what may be sent, however long the server takes to come up."""
    while True:
        answer = await api.call(stage, None, "GET", "/v1/gift-items", api.Items, tries_max=None)
        if not isinstance(answer, api.Problem):
            stage.items = [item for item in answer.items if item.enabled and not item.exclusive]
        if stage.items:
            return
        await pause(stage, RETRY_PAUSE_SECONDS_MAX)
