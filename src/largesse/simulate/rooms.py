"""The audience's creators: their rooms are opened when somebody wants in, and ended with the play."""

import contextlib

import httpx

from largesse.simulate import api
from largesse.simulate.stage import GRACE_SECONDS, Player, Stage

TITLES = (
    "Evening sketching",
    "Piano requests",
    "Sourdough from scratch",
    "Chess with viewers",
    "Night sky, live",
    "Bicycle workshop",
)


async def open_room(stage: Stage, number: int) -> str | None:
    """The room of a creator, opened if it is not; None where he may not open one."""
    creator = stage.creators[number]
    async with creator.door:
        if creator.room_id is None:
            body = {"title": TITLES[number % len(TITLES)]}
            answer = await api.call(stage, creator, "POST", "/v1/rooms", api.Room, body=body)
            if isinstance(answer, api.Room):
                creator.room_id = answer.id
            elif answer.code == "room_already_live":  # An earlier play was cut off.
                creator.room_id = answer.room_id
        return creator.room_id


async def end_room(stage: Stage, creator: Player) -> None:
    """Say good-bye, once: the server may be gone already."""
    if creator.room_id is not None:
        with contextlib.suppress(httpx.HTTPError):
            await stage.client.post(
                f"/v1/rooms/{creator.room_id}/end",
                headers={"authorization": f"Bearer {creator.token}"},
                timeout=GRACE_SECONDS,
            )
