"""
Who came and what they did, read off the entries of a room. Pure.

What was given is not counted here: coins and diamonds are the ledger's.
"""

from collections.abc import Iterable

import msgspec

from largesse.rooms.room import (
    ChatEntry,
    Entry,
    FollowEntry,
    LikeEntry,
    MemberEntry,
    RoomUserEntry,
    ShareEntry,
)


class Attendance(msgspec.Struct):
    """
    What the entries so far come to.

    `viewers` is the number that was told last, `since` when (Unix milliseconds); `viewer_time` is
    viewers times milliseconds up to then, from which the average follows.
    """

    peak_viewers: int = 0
    likes: int = 0
    chats: int = 0
    follows: int = 0
    shares: int = 0
    arrivals: int = 0
    viewers: int = 0
    since: int = 0
    viewer_time: int = 0


def attend(counted: Attendance, entries: Iterable[Entry]) -> None:
    """Count further entries of the same room, in their order."""
    for entry in entries:
        if isinstance(entry, RoomUserEntry):
            counted.viewer_time += counted.viewers * max(0, entry.at - counted.since)
            counted.viewers, counted.since = entry.viewers, entry.at
            counted.peak_viewers = max(counted.peak_viewers, entry.viewers)
        elif isinstance(entry, LikeEntry):
            counted.likes = entry.total
        elif isinstance(entry, ChatEntry):
            counted.chats += 1
        elif isinstance(entry, FollowEntry):
            counted.follows += 1
        elif isinstance(entry, ShareEntry):
            counted.shares += 1
        elif isinstance(entry, MemberEntry):
            counted.arrivals += 1


def average_viewers(counted: Attendance, *, started_at: int, until: int) -> float:
    """Viewers over the whole time of the room, which is in Unix milliseconds; to a tenth."""
    length = until - started_at
    if length <= 0:
        return 0.0
    whole = counted.viewer_time + counted.viewers * max(0, until - counted.since)
    return round(whole / length, 1)
