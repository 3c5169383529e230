"""
Watchers of a room for tests: the client of `websockets`, and every frame held against the schema.
"""

import asyncio
import json
from contextlib import asynccontextmanager
from functools import cache

import jsonschema
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from largesse.rooms import wire

SECONDS = 10

_SCHEMA = wire.schema()


@cache
def validator(frame_type):
    """The part of the schema for one type of frame; the whole is only a choice among these."""
    assert any(
        {"$ref": f"#/$defs/{frame_type}"} in _SCHEMA["$defs"][kind]["anyOf"] for kind in KINDS
    )
    part = {"$ref": f"#/$defs/{frame_type}", "$defs": _SCHEMA["$defs"]}
    return jsonschema.Draft202012Validator(part)


KINDS = ("Event", "Control")


def validate(frame):
    """
    Hold a frame against the schema.

    By its name and not by trying all, which takes tens of milliseconds a frame.
    """
    if isinstance(frame, list):
        assert frame
        for event in frame:
            assert "event" in event
            validate(event)
    elif "event" in frame:
        validator(wire.EVENTS[frame["event"]].__name__).validate(frame)
    elif frame["op"] == "welcome" and "room" not in frame:
        validator("PersonalWelcome").validate(frame)
    else:
        validator(frame["op"].capitalize()).validate(frame)


class Watcher:
    """A client that keeps what it was sent, events one by one."""

    def __init__(self, socket):
        self.socket = socket
        self.frames = []
        self.events = []

    async def say(self, op, **fields):
        await self.socket.send(json.dumps({"op": op, **fields}, ensure_ascii=False))

    async def next(self):
        """The next frame as it came."""
        async with asyncio.timeout(SECONDS):
            text = await self.socket.recv()
        frame = json.loads(text)
        validate(frame)
        self.frames.append(frame)
        self.events += frame if isinstance(frame, list) else [frame] if "event" in frame else []
        return frame

    async def op(self, *names):
        """The next frame of one of these `op`s; what comes before it is kept."""
        while True:
            frame = await self.next()
            if isinstance(frame, dict) and frame.get("op") in names:
                return frame

    async def answer(self):
        """The next answer to an operation, good or bad."""
        return await self.op("ack", "refused")

    async def event(self, name, **data):
        """The next event of this name with these data, also one that has come already."""
        at = 0
        while True:
            while at == len(self.events):
                await self.next()
            found = self.events[at]
            if found["event"] == name and data.items() <= found["data"].items():
                del self.events[at]
                return found
            at += 1

    async def close_code(self):
        """How the server closes; what comes before it is kept."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            return self.socket.close_code

    @property
    def seqs(self):
        """The numbers of all events that ever came."""
        events = [
            event
            for frame in self.frames
            for event in (frame if isinstance(frame, list) else [frame])
            if "event" in event
        ]
        return [event["seq"] for event in events]


def place(world, path):
    return str(world.client.base_url).replace("http", "ws", 1).rstrip("/") + path


async def ticket(world, room_id, person=None):
    answer = await world.client.post(
        f"/v1/rooms/{room_id}/tickets", headers={} if person is None else person.headers
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["ticket"]


@asynccontextmanager
async def connected(world, path, **options):
    """A socket at this address that has said nothing yet."""
    async with connect(place(world, path), **options) as socket:
        yield Watcher(socket)


@asynccontextmanager
async def watching(world, person=None, room_id=None, **hello):
    """Somebody who is in, with what he was shown first in `shown` unless he resumes."""
    room_id = room_id or world.room_id
    async with connected(world, f"/v1/rooms/{room_id}/live") as watcher:
        await watcher.say("hello", ticket=await ticket(world, room_id, person), **hello)
        watcher.welcome = await watcher.op("welcome")
        if hello.get("last_seq") is None:
            watcher.shown = await watcher.op("snapshot")
        yield watcher
