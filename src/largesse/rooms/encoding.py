"""
A room as bytes, for its log: runs of entries, and what they come to. Pure.

Only this file and `log.py` know what the bytes of the log say.
"""

import heapq
from collections.abc import Iterable

import msgspec

from largesse.rooms.room import (
    Entry,
    GiftEntry,
    Gifter,
    Person,
    RoomState,
    RoomUserEntry,
    over_at,
)

FORMAT = 1
"""
Of what `encode_entries` and `encode_state` write. A new field goes to the end of its struct with a
default, and old bytes stay readable; anything else is a new number and a way to read the old one.
"""


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """A room as `encode_state` writes it."""

    format: int
    room_id: str
    creator: Person
    seq: int
    likes: int
    is_over: bool
    told: RoomUserEntry | None
    streaks: list[GiftEntry]
    gifters: list[Gifter]
    followers: list[str]


_encoder = msgspec.msgpack.Encoder()
_entries_decoder = msgspec.msgpack.Decoder(tuple[int, list[Entry]])
_state_decoder = msgspec.msgpack.Decoder(_Kept)


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """A run of entries for the log."""
    return _encoder.encode((FORMAT, list(entries)))


def decode_entries(raw: bytes) -> list[Entry]:
    """What `encode_entries` wrote, now or in an earlier version."""
    format, entries = _entries_decoder.decode(raw)
    assert format == FORMAT
    return entries


def encode_state(state: RoomState) -> bytes:
    """The state without its audience. Equal states give equal bytes."""
    return _encoder.encode(
        _Kept(
            FORMAT,
            state.room_id,
            state.creator,
            state.seq,
            state.likes,
            state.is_over,
            state.told,
            list(state.streaks.values()),
            list(state.gifters.values()),
            sorted(state.followers),
        )
    )


def decode_state(raw: bytes) -> RoomState:
    """The state that `encode_state` wrote, with nobody in it."""
    kept = _state_decoder.decode(raw)
    assert kept.format == FORMAT
    state = RoomState(
        room_id=kept.room_id,
        creator=kept.creator,
        seq=kept.seq,
        likes=kept.likes,
        is_over=kept.is_over,
        told=kept.told,
        streaks={entry.person.id: entry for entry in kept.streaks},
        gifters={gifter.person.id: gifter for gifter in kept.gifters},
        top=sorted((each for each in kept.gifters if each.rank), key=lambda each: each.rank),
        followers=set(kept.followers),
    )
    state.audience.due = [
        (over_at(entry), person_id, entry.group_id) for person_id, entry in state.streaks.items()
    ]
    heapq.heapify(state.audience.due)
    return state
