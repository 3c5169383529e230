"""Who watches one room in this process, as other processes are told it. Pure."""

import sys
from array import array
from collections.abc import Iterable

from largesse.rooms.room import mark

QUICK_MAX = 200
"""Up to so many people a change is told at the next tick; more of them every two seconds."""
QUICK_SECONDS, CROWD_SECONDS = 0.1, 2.0


class Presence:
    """
    The marks of the people here, and how many nobodies. `time` is always the loop's, in seconds.

    A change is told with the next turn, but not sooner after the last time than the pauses above.
    """

    def __init__(self) -> None:
        self._people: dict[int, int] = {}
        self._nobodies = 0
        self._changes = self._told_changes = 0
        self._tell_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._people) or self._nobodies > 0

    def come(self, person_id: str | None) -> None:
        """A connection of this person opened, or one of nobody."""
        self._changes += 1
        if person_id is None:
            self._nobodies += 1
        else:
            number = mark(person_id)
            self._people[number] = self._people.get(number, 0) + 1

    def go(self, person_id: str | None) -> None:
        """A connection that came is closed."""
        self._changes += 1
        if person_id is None:
            self._nobodies -= 1
            return
        number = mark(person_id)
        self._people[number] -= 1
        if not self._people[number]:
            del self._people[number]

    def forgotten(self) -> None:
        """The other processes do not know any more who is here."""
        self._changes += 1

    @property
    def has_changed(self) -> bool:
        """Whether the other processes do not know yet who is here."""
        return self._changes != self._told_changes

    def may_tell(self, time: float) -> bool:
        """Whether the last time is long enough ago."""
        return time >= self._tell_at

    def written(self) -> tuple[bytes, int, int]:
        """People, packed and sorted, and nobodies; and a number for `note_told`."""
        return pack(sorted(self._people)), self._nobodies, self._changes

    def note_told(self, changes: int, time: float) -> None:
        """What `written` said is where the others read it."""
        self._told_changes = changes
        pause = QUICK_SECONDS if len(self._people) <= QUICK_MAX else CROWD_SECONDS
        self._tell_at = time + pause


def pack(marks: Iterable[int]) -> bytes:
    """Marks as bytes, eight each."""
    packed = array("Q", marks)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes()


def unpack(raw: bytes) -> "array[int]":
    """What `pack` made."""
    packed = array("Q", raw)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed
