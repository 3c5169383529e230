"""The audience's creators: their rooms are opened when somebody wants in, and ended with the play."""

import contextlib

import httpx

from largesse.simulate import api
from largesse.simulate.stage import GRACE_SECONDS, Player, Stage

ROOM_LOST = ("room_not_found", "room_ended")
"""Refusals after which the creator opens a room again."""
TITLES = (
    ("Evening sketching", "Faces from memory", "Ink and rain"),
    ("Piano requests", "リクエストタイム 🎹", "Slow songs for a long day"),
    ("Sourdough from scratch", "Pan dulce, paso a paso", "What the oven says"),
    ("Chess with viewers", "Endgames over tea", "One minute a side"),
    ("Night sky, live", "نجوم الليلة ✨", "Waiting for the moon"),
    ("Bicycle workshop", "Ein Laufrad zentrieren", "Rust, oil and patience"),
)
"""What a creator calls his rooms, one after the other."""


async def open_room(stage: Stage, number: int) -> str | None:
    """The room of a creator, opened if it is not; None where he may not open one."""
    creator = stage.creators[number]
    async with creator.door:
        if creator.room_id is None:
            titles = TITLES[number % len(TITLES)]
            body = {"title": titles[creator.rooms_opened % len(titles)]}
            answer = await api.call(stage, creator, "POST", "/v1/rooms", api.Room, body=body)
            if isinstance(answer, api.Room):
                creator.room_id = answer.id
                creator.rooms_opened += 1
            elif answer.code == "room_already_live":  # An earlier play was cut off.
                creator.room_id = answer.room_id
        return creator.room_id


def forget_room(stage: Stage, number: int, room_id: str) -> None:
    """This room of a creator is no more; whoever wants in next, opens another."""
    if stage.creators[number].room_id == room_id:
        stage.creators[number].room_id = None


async def end_room(stage: Stage, creator: Player) -> None:
    """Say good-bye, once: the server may be gone already."""
    if creator.room_id is not None:
        with contextlib.suppress(httpx.HTTPError):
            await stage.client.post(
                f"/v1/rooms/{creator.room_id}/end",
                headers={"authorization": f"Bearer {creator.token}"},
                timeout=GRACE_SECONDS,
            )
