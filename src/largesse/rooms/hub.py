"""
The watchers of one room, and how what happened gets to all of them.

A frame is encoded once and offered to every watcher: an offer never waits. Whoever does not take
what he is offered loses it, and gets the whole room anew, once, when his connection is free again;
so one slow watcher costs nobody else anything, and memory has a bound.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

import msgspec

from largesse.rooms import messages
from largesse.rooms.purses import WAITING_BYTES_MAX, Connection, Purse
from largesse.rooms.room import Person

BEHIND_SECONDS_MAX = 30
"""How long a connection may be behind before it is closed."""
SENDS_PER_TURN = 500
"""
Frames sent before the event loop gets a turn. One costs the kernel four microseconds or so, and
nobody else is served meanwhile.
"""
BYTES_PER_TURN = 4 * 1024 * 1024
"""The same in bytes, for frames that are long."""


class Frames(msgspec.Struct, frozen=True):
    """What is told at once: frames with their numbers, rising, and all of them as one array."""

    numbered: tuple[tuple[int, bytes], ...]
    batch: bytes

    @property
    def first(self) -> int:
        return self.numbered[0][0]

    @property
    def last(self) -> int:
        return self.numbered[-1][0]


class Watcher:
    """
    One connection that watches a room.

    `seq` is the number of the last event it was sent, `behind_since` the loop's time at which it
    stopped taking what it is offered (None: it takes it). With `is_batch` it gets arrays. One that
    is no `is_audience` is a screen and no viewer. `purse` tells it its balance.
    """

    __slots__ = (
        "behind_since",
        "connection",
        "is_audience",
        "is_batch",
        "person",
        "purse",
        "room_id",
        "seq",
    )

    def __init__(
        self,
        connection: Connection,
        room_id: str,
        person: Person | None,
        *,
        is_batch: bool = False,
        is_audience: bool = True,
        purse: Purse | None = None,
    ) -> None:
        self.connection = connection
        self.room_id = room_id
        self.person = person
        self.is_batch = is_batch
        self.is_audience = is_audience
        self.purse = purse
        self.seq = 0
        self.behind_since: float | None = None


class Hub:
    """The watchers of one room, in the order in which they came."""

    def __init__(self) -> None:
        self._watchers: dict[Watcher, None] = {}
        self._of_user: dict[str, dict[Watcher, None]] = {}
        self._behind: dict[Watcher, None] = {}
        self._singles = 0

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def takes_single_frames(self) -> bool:
        """Whether anybody is here who takes one event a frame."""
        return self._singles > 0

    def __contains__(self, watcher: Watcher) -> bool:
        return watcher in self._watchers

    def __iter__(self) -> Iterator[Watcher]:
        return iter(tuple(self._watchers))

    def of_user(self, user_id: str) -> tuple[Watcher, ...]:
        """The watchers of one user."""
        return tuple(self._of_user.get(user_id, ()))

    def behind(self) -> tuple[Watcher, ...]:
        """Who is behind."""
        return tuple(self._behind)

    def add(self, watcher: Watcher) -> None:
        """From now on it is told everything after `watcher.seq`."""
        self._watchers[watcher] = None
        self._singles += not watcher.is_batch
        if watcher.person is not None:
            self._of_user.setdefault(watcher.person.id, {})[watcher] = None

    def remove(self, watcher: Watcher) -> bool:
        """It is told nothing any more; False where it was not here."""
        self._behind.pop(watcher, None)
        if watcher not in self._watchers:
            return False
        del self._watchers[watcher]
        self._singles -= not watcher.is_batch
        if watcher.person is not None:
            others = self._of_user[watcher.person.id]
            del others[watcher]
            if not others:
                del self._of_user[watcher.person.id]
        return True

    async def tell(
        self, frames: Frames, first: Collection[str] = (), *, brief: Frames | None = None
    ) -> int:
        """
        Offer frames to everybody, the watchers of the users in `first` before all others; the
        number of bytes that were sent. Who takes arrays is offered the `brief` ones, if there are.

        The loop gets a turn now and then, so people come and go meanwhile: who came after the
        frames were made has what they say from his snapshot.
        """
        sends = sent = sent_before = 0
        last = frames.last
        everybody = tuple(self._watchers)
        for watcher in chain(self._watchers_of(first), everybody):
            if watcher.seq >= last or watcher not in self._watchers:
                continue
            frames_sent, bytes_sent = self.offer(watcher, frames, brief)
            sends += frames_sent
            sent += bytes_sent
            if sends >= SENDS_PER_TURN or sent - sent_before >= BYTES_PER_TURN:
                sends, sent_before = 0, sent
                await asyncio.sleep(0)
        return sent

    def offer(
        self, watcher: Watcher, frames: Frames, brief: Frames | None = None
    ) -> tuple[int, int]:
        """Send what it has not had yet, unless it is behind; the number of frames and of bytes."""
        if watcher.behind_since is not None:
            return 0, 0
        if watcher.connection.waiting() > WAITING_BYTES_MAX:
            self._fall_behind(watcher)
            return 0, 0
        mine = brief if watcher.is_batch and brief is not None else frames
        numbered, batch = mine.numbered, mine.batch
        if watcher.seq >= numbered[0][0]:
            numbered = tuple(each for each in numbered if each[0] > watcher.seq)
            batch = messages.batch(frame for _, frame in numbered)
        watcher.seq = frames.last
        if not numbered:
            return 0, 0
        send = watcher.connection.send
        if watcher.is_batch:
            send(batch)
            return 1, len(batch)
        for _, frame in numbered:
            send(frame)
        return len(numbered), len(batch)

    def catch_up(self, watcher: Watcher, snapshot: bytes, seq: int) -> None:
        """Send the whole room in place of everything that was lost."""
        self._behind.pop(watcher, None)
        watcher.behind_since = None
        watcher.seq = seq
        watcher.connection.send(snapshot)

    def _fall_behind(self, watcher: Watcher) -> None:
        watcher.behind_since = asyncio.get_running_loop().time()
        self._behind[watcher] = None

    def _watchers_of(self, user_ids: Iterable[str]) -> Iterator[Watcher]:
        for user_id in user_ids:
            yield from self.of_user(user_id)


def frames_of(numbered: Sequence[tuple[int, bytes]]) -> Frames:
    """Numbered frames, and the array of them."""
    assert numbered
    return Frames(tuple(numbered), messages.batch(frame for _, frame in numbered))
