"""
Entries of a room into the frames that its watchers get, and the other frames of its socket.

Pure. The shape of every frame is in `wire.py`; here it is filled.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw

from largesse import clock
from largesse.catalog import Catalog, GiftItem
from largesse.rooms.room import (
    ChatEntry,
    Entry,
    FollowEntry,
    GiftEntry,
    LikeEntry,
    MemberEntry,
    Person,
    RoomState,
    RoomUserEntry,
    ShareEntry,
    StreamEndEntry,
    TopGifter,
    top_gifters,
    viewers,
)
from largesse.rooms.wire import (
    DATA,
    EVENTS,
    HEARTBEAT_SECONDS,
    VERSION,
    Ack,
    Balance,
    CoinsData,
    Extra,
    GiftExtra,
    GiftPart,
    PersonalWelcome,
    Pong,
    Reason,
    RoomData,
    Snapshot,
    TopViewer,
    UserData,
    Welcome,
)

RECENT_MAX = 50
"""Events of before that a snapshot shows."""
SHOWN_STREAKS_MAX = 50
"""Open streaks that a snapshot shows: the newest. Counts are cumulative, so the others follow."""

STREAKABLE: Literal[1] = 1
NOT_STREAKABLE: Literal[2] = 2
"""`giftType`, in the numbers that other people's programs know."""
JOINED = 1
"""`actionId` of a member, likewise."""

EFFECTS = ((5_000, 4, "full"), (500, 3, "half"), (30, 2, "burst"), (0, 1, "tray"))
"""What is made of a gift: from so many coins an item, the tier and the effect."""

ART = "/static/art/gifts/"
NAMELESS = "Gift"
"""The name of an item that the catalogue does not know; it has no picture."""


# Entries into frames -----------------------------------------------------------------------------

_encode = msgspec.json.Encoder().encode


def event_frame(room_id: str, entry: Entry, catalog: Catalog) -> bytes:
    """An entry as everybody gets it, encoded once."""
    return _FRAMES[type(entry)](room_id, entry, catalog)


def batch(frames: Iterable[bytes]) -> bytes:
    """Event frames as one array, for a watcher that asked for arrays."""
    return b"[%b]" % b",".join(frames)


def merge(entries: Sequence[Entry]) -> list[Entry]:
    """
    What is worth sending of one tick's entries: of each streak's unfinished counts the newest.

    A count is cumulative, so the newest says what the others said. Ends stay, and so does all else;
    the numbers still rise, with gaps where counts were left out.
    """
    kept: list[Entry] = []
    seen: set[str] = set()
    for entry in reversed(entries):
        if type(entry) is GiftEntry and not entry.repeat_end:
            if entry.group_id in seen:
                continue
            seen.add(entry.group_id)
        kept.append(entry)
    kept.reverse()
    return kept


def brief(entries: Sequence[Entry], most: int) -> list[Entry]:
    """
    At most so many of one tick's entries, in their order, for a crowd that cannot be sent them all.

    The end of the room and the count of viewers always stay. Then the newest chat lines have up to
    half of the room there is, the dearest gifts the rest, and the newest of everything else what
    those leave over. Nothing is lost by it: the log has every entry.
    """
    if len(entries) <= most:
        return [*entries]
    gifts, lines, always, others = [], [], [], []
    for entry in entries:
        match entry:
            case GiftEntry():
                gifts.append(entry)
            case ChatEntry():
                lines.append(entry)
            case StreamEndEntry() | RoomUserEntry():
                always.append(entry)
            case _:
                others.append(entry)
    gifts.sort(key=lambda gift: gift.unit_coins * gift.repeat_count, reverse=True)
    kept: list[Entry] = [*always, *lines[::-1][: most // 2]]
    for more in (gifts, others[::-1]):
        kept += more[: max(0, most - len(kept))]
    return sorted(kept, key=lambda entry: entry.seq)


def user_data(person: Person) -> UserData:
    """A person as every frame shows him."""
    return UserData(person.id, person.login, person.nickname, f"/avatars/{person.id}.svg")


def gift_data(room_id: str, entry: GiftEntry, catalog: Catalog) -> Any:
    """The `data` of a gift; of the newest entry of an open streak, what a snapshot shows."""
    person, count, coins = entry.person, entry.repeat_count, entry.unit_coins
    number, is_streakable = entry.item_number, entry.is_streakable
    name, picture = _shown(catalog.item_of_number(number))
    kind: Literal[1, 2] = STREAKABLE if is_streakable else NOT_STREAKABLE
    tier, effect = _effect(coins)
    times = f", {count} times" if count > 1 else ""
    return _GIFT_DATA(
        *_head(room_id, entry.seq, entry.at),
        *_person(person, entry.rank),
        entry.order_id,
        entry.group_id,
        number,
        name,
        kind,
        coins,
        f"sent {name}",
        picture,
        count,
        entry.repeat_end,
        count,
        entry.quantity,
        entry.receiver_id,
        GiftPart(
            number,
            count,
            1 if entry.repeat_end else 0,
            kind,
            number,
            name,
            kind,
            coins,
            is_streakable,
        ),
        GiftExtra(
            coins * count, False, tier, effect, f"{person.nickname} sent {name}{times}", None
        ),
    )


def _gift_frame(room_id: str, entry: GiftEntry, catalog: Catalog) -> bytes:
    data = gift_data(room_id, entry, catalog)
    return _encode(_GIFT_EVENT(VERSION, entry.seq, room_id, entry.at, data))


def _chat_frame(room_id: str, entry: ChatEntry, catalog: Catalog) -> bytes:
    alt = f"{entry.person.nickname}: {entry.text}"
    return _personal_frame("chat", room_id, entry, entry.text, (), Extra(alt))


def _like_frame(room_id: str, entry: LikeEntry, catalog: Catalog) -> bytes:
    times = f", {entry.count} times" if entry.count > 1 else ""
    alt = f"{entry.person.nickname} liked{times}"
    return _personal_frame("like", room_id, entry, entry.count, entry.total, Extra(alt))


def _member_frame(room_id: str, entry: MemberEntry, catalog: Catalog) -> bytes:
    return _personal_frame(
        "member", room_id, entry, JOINED, Extra(f"{entry.person.nickname} joined")
    )


def _follow_frame(room_id: str, entry: FollowEntry, catalog: Catalog) -> bytes:
    alt = f"{entry.person.nickname} followed"
    return _personal_frame("follow", room_id, entry, "follow", alt, Extra(alt))


def _share_frame(room_id: str, entry: ShareEntry, catalog: Catalog) -> bytes:
    alt = f"{entry.person.nickname} shared the room"
    return _personal_frame("share", room_id, entry, "share", alt, Extra(alt))


def _room_user_frame(room_id: str, entry: RoomUserEntry, catalog: Catalog) -> bytes:
    alt = "1 person is watching" if entry.viewers == 1 else f"{entry.viewers} people are watching"
    return _frame("roomUser", room_id, entry, entry.viewers, _top_viewers(entry.top), Extra(alt))


def _stream_end_frame(room_id: str, entry: StreamEndEntry, catalog: Catalog) -> bytes:
    return _frame("streamEnd", room_id, entry, entry.action_id, Extra("The room is over"))


_FRAMES: dict[type, Callable[[str, Any, Catalog], bytes]] = {
    GiftEntry: _gift_frame,
    ChatEntry: _chat_frame,
    LikeEntry: _like_frame,
    MemberEntry: _member_frame,
    FollowEntry: _follow_frame,
    ShareEntry: _share_frame,
    RoomUserEntry: _room_user_frame,
    StreamEndEntry: _stream_end_frame,
}
_GIFT_DATA, _GIFT_EVENT = DATA["gift"], EVENTS["gift"]


def _personal_frame(name: str, room_id: str, entry: Any, *values: object) -> bytes:
    return _frame(name, room_id, entry, *_person(entry.person, entry.rank), *values)


def _frame(name: str, room_id: str, entry: Entry, *values: object) -> bytes:
    data = DATA[name](*_head(room_id, entry.seq, entry.at), *values)
    return _encode(EVENTS[name](VERSION, entry.seq, room_id, entry.at, data))


def _head(room_id: str, seq: int, at: int) -> tuple[str, str, int]:
    return f"{room_id}-{seq}", str(at), at


def _person(person: Person, rank: int) -> tuple[object, ...]:
    user = user_data(person)
    return (
        person.id,
        person.login,
        person.nickname,
        user.profile_picture_url,
        person.follow_role,
        person.is_moderator,
        False,
        False,
        0,
        0,
        (),
        user,
        rank or None,
    )


def _shown(item: GiftItem | None) -> tuple[str, str]:
    """Name and picture of an item."""
    return (NAMELESS, "") if item is None else (item.name, ART + item.art)


def _effect(unit_coins: int) -> tuple[Any, Any]:
    for least, tier, effect in EFFECTS:
        if unit_coins >= least:
            return tier, effect
    raise AssertionError(unit_coins)


def _top_viewers(top: Sequence[TopGifter]) -> list[TopViewer]:
    return [TopViewer(user_data(each.person), each.coins) for each in top]


# Frames for one watcher --------------------------------------------------------------------------


def welcome(
    *, seq: int, room_id: str, person: Person | None, can: Sequence[str], coins: int | None
) -> bytes:
    """The answer to a good `hello` in a room; `coins` are the wallet's, None for nobody."""
    user = None if person is None else user_data(person)
    balance = None if coins is None else CoinsData(coins)
    return _encode(Welcome(VERSION, seq, room_id, user, can, HEARTBEAT_SECONDS, balance))


def personal_welcome(*, person: Person, coins: int) -> bytes:
    """The answer to a good `hello` of one's own feed."""
    return _encode(PersonalWelcome(VERSION, user_data(person), HEARTBEAT_SECONDS, CoinsData(coins)))


class Scene(msgspec.Struct, frozen=True):
    """What a snapshot shows to everybody, encoded already; made once for all who need one now."""

    seq: int
    room: Raw
    viewer_count: int
    total_like_count: int
    top_viewers: Raw
    streaks: Raw
    recent: Raw


def scene(
    state: RoomState, catalog: Catalog, *, title: str, started_at: int, recent: Sequence[bytes]
) -> Scene:
    """The room as it is now. `started_at` in nanoseconds; `recent` are event frames, oldest first."""
    room = RoomData(
        state.room_id,
        title,
        not state.is_over,
        clock.milliseconds(started_at),
        user_data(state.creator),
    )
    newest = nlargest(SHOWN_STREAKS_MAX, state.streaks.values(), key=lambda entry: entry.seq)
    streaks = [gift_data(state.room_id, entry, catalog) for entry in reversed(newest)]
    return Scene(
        state.seq,
        Raw(_encode(room)),
        viewers(state),
        state.likes,
        Raw(_encode(_top_viewers(top_gifters(state)))),
        Raw(_encode(streaks)),
        Raw(batch(recent[-RECENT_MAX:])),
    )


def snapshot(scene: Scene, *, reason: Reason, following: bool) -> bytes:
    """The room for one watcher, and why he gets it whole."""
    return _encode(
        Snapshot(
            scene.seq,
            reason,
            scene.room,
            scene.viewer_count,
            scene.total_like_count,
            scene.top_viewers,
            scene.streaks,
            scene.recent,
            following,
        )
    )


def is_recent(entry: Entry) -> bool:
    """Whether an entry is one that a snapshot's `recent` shows."""
    if type(entry) is GiftEntry:
        return entry.repeat_end
    return type(entry) in (ChatEntry, FollowEntry, ShareEntry)


def ack(key: str | None, *, gift: object = UNSET, balance: object = UNSET) -> bytes:
    """It is done; for a gift with the `gift` and `balance` that the answer over HTTP has."""
    return _encode(Ack(key, gift, balance))  # type: ignore[arg-type]


def refused(key: str | None, code: str, detail: str, facts: Mapping[str, object]) -> bytes:
    """It is not done. The facts of the refusal stand beside its code."""
    return _encode({**facts, "op": "refused", "key": key, "code": code, "detail": detail})


def balance(coins: int) -> bytes:
    """What is in the wallet now."""
    return _encode(Balance(coins))


def pong() -> bytes:
    """The answer to `ping`."""
    return _PONG


_PONG = _encode(Pong())
