"""
The shape of what goes over a room's socket: operations in, frames out, all of it JSON text.

Pure. These structs are the whole truth about the wire: `messages.py` encodes frames from them, and
the JSON Schema and the tables of `docs/reference/room-events.md` are made from them. Event names
and fields are the flat dialect that overlays already read; what has an old and a new place in it
stands in both.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from largesse.money import Price

VERSION: Literal[1] = 1
"""Of the wire; a field that is added does not change it."""
LIKES_PER_FRAME_MAX = 15
LANGUAGE_LENGTH_MAX = 35
HEARTBEAT_SECONDS = 20
Reason = Literal["start", "gap", "resync", "seq_unknown"]
"""Why there is a snapshot: one begins, has missed too much, was too slow, or names no real number."""


# In --------------------------------------------------------------------------------------------


class HelloOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="hello"):
    """The first frame: who I am, what I saw last, and whether I take arrays of events."""

    ticket: str
    last_seq: int | None = None
    batch: bool = False
    lang: Annotated[str, Meta(max_length=LANGUAGE_LENGTH_MAX)] | None = None


class GiftOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="gift"):
    """Send a gift; `key` makes it one gift however often the frame is sent."""

    key: str
    item_id: str
    quantity: int = 1


class ChatOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="chat"):
    """Say something; a `key` of one's own choice comes back in the answer."""

    text: str
    key: str | None = None


class LikeOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="like"):
    """Like, so many times since the last frame."""

    count: Annotated[int, Meta(ge=1, le=LIKES_PER_FRAME_MAX)] = 1


class FollowOp(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="follow"
):
    """Follow the creator, or no longer."""

    following: bool = True


class ShareOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="share"):
    """I have passed the room's address on."""


class PingOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="ping"):
    """Are you there?"""


ClientOp = HelloOp | GiftOp | ChatOp | LikeOp | FollowOp | ShareOp | PingOp
"""Every frame that a client may send, by its `op`."""


# Out: the fields of events -----------------------------------------------------------------------
# Tables, because the fields of a person stand flat in six kinds of events.

Number = Annotated[int, Meta(ge=0, description="Its number in the room: 1, 2, 3, without gap.")]
Milliseconds = Annotated[int, Meta(ge=0, description="When it happened, in Unix milliseconds.")]
PictureAddress = Annotated[
    str, Meta(pattern=r"^/avatars/[^/]+\.svg$", description="Address of the picture.")
]
Effect = Literal["tray", "burst", "half", "full"]


class UserData(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, gc=False):
    """A person: `uniqueId` is his login, `nickname` the name to show."""

    user_id: str
    unique_id: str
    nickname: str
    profile_picture_url: PictureAddress


class TopViewer(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, gc=False):
    """One of those who gave most, with the coins he gave in this room."""

    user: UserData
    coin_count: int


class GiftPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The gift once more, where older and newer programs look for it."""

    gift_id: int
    repeat_count: int
    repeat_end: Literal[0, 1]
    gift_type: Literal[1, 2]
    id: int
    name: str
    type: Literal[1, 2]
    diamond_count: int
    combo: bool


class Extra(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Ours: the event as an English sentence, to read aloud."""

    alt: str


class GiftExtra(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """
    Ours: the coins of the streak so far (`diamondCount` times `repeatCount`), what is made of it by
    the price of one item, the event as an English sentence, and words of the sender or null.
    """

    coins: int
    anonymous: bool
    tier: Literal[1, 2, 3, 4]
    effect: Effect
    alt: str
    message: str | None


_Fields = list[tuple[str, Any]]


def _wire(name: str, doc: str, fields: _Fields, **options: Any) -> Any:
    """A frozen struct of these fields, in the dialect's names."""
    return msgspec.defstruct(
        name,
        fields,
        namespace={"__doc__": doc},
        module=__name__,
        frozen=True,
        forbid_unknown_fields=True,
        gc=False,
        rename="camel",
        **options,
    )


def _told(type: Any, description: str) -> Any:
    return Annotated[type, Meta(description=description)]


_HEAD: _Fields = [
    ("msg_id", _told(str, "Id of the event, unique in all rooms.")),
    (
        "create_time",
        Annotated[str, Meta(pattern="^[0-9]+$", description="`timestamp` as text.")],
    ),
    ("timestamp", Milliseconds),
]
_PERSON: _Fields = [
    ("user_id", _told(str, "Id of the person.")),
    ("unique_id", _told(str, "His login.")),
    ("nickname", _told(str, "The name to show.")),
    ("profile_picture_url", PictureAddress),
    ("follow_role", _told(Literal[0, 1, 2], "1 for who follows the creator, else 0.")),
    ("is_moderator", _told(bool, "Whether he keeps order here.")),
    ("is_subscriber", _told(bool, "False: there are no subscriptions.")),
    ("is_new_gifter", _told(bool, "False: this is not told.")),
    ("gifter_level", _told(int, "0: there are no levels.")),
    ("team_member_level", _told(int, "0: there are no teams.")),
    ("user_badges", _told(tuple[()], "Empty: there are no badges.")),
    ("user", _told(UserData, "The person once more.")),
    (
        "top_gifter_rank",
        _told(Annotated[int, Meta(ge=1)] | None, "Place among the top gifters, else null."),
    ),
]
_LABEL: _Fields = [
    ("display_type", _told(str, "The event's name.")),
    ("label", _told(str, "The event as an English sentence.")),
]
_GIFT: _Fields = [
    ("order_id", _told(str, "Id of the gift in the ledger; at the end, of the streak's last.")),
    ("group_id", _told(str, "Id of the streak, the same from its first event to its end.")),
    ("gift_id", _told(int, "Number of the gift item.")),
    ("gift_name", _told(str, "Name of the gift item.")),
    ("gift_type", _told(Literal[1, 2], "1 for an item that can streak, else 2.")),
    ("diamond_count", _told(int, "Price of one item in **coins**, whatever the name says.")),
    ("describe", _told(str, "`sent` and the item's name.")),
    ("gift_picture_url", _told(str, "Address of the item's picture; empty if it has none.")),
    (
        "repeat_count",
        Annotated[int, Meta(ge=1, description="Items of the streak so far, this gift included.")],
    ),
    ("repeat_end", _told(bool, "Whether the streak is over: true in exactly one event of it.")),
    ("combo_count", _told(int, "The same as `repeatCount`.")),
    ("group_count", _told(int, "Items of this gift alone.")),
    ("receiver_user_id", _told(str, "Id of the creator.")),
    ("gift", _told(GiftPart, "The gift once more.")),
    ("x", GiftExtra),
]
_AUDIENCE: _Fields = [
    ("viewer_count", _told(int, "People who watch.")),
    ("top_viewers", _told(list[TopViewer], "The ten who gave most, best first.")),
]

_FIELDS: dict[str, tuple[str, _Fields]] = {
    "gift": ("Somebody gave something.", [*_PERSON, *_GIFT]),
    "chat": (
        "Somebody said something.",
        [
            *_PERSON,
            ("comment", _told(str, "What was said: plain text.")),
            ("emotes", _told(tuple[()], "Empty: emoji stand in the text itself.")),
            ("x", Extra),
        ],
    ),
    "like": (
        "Somebody liked.",
        [
            *_PERSON,
            ("like_count", _told(int, "Likes of this person since his last event.")),
            ("total_like_count", _told(int, "All likes of the room so far.")),
            ("x", Extra),
        ],
    ),
    "member": (
        "Somebody came in.",
        [*_PERSON, ("action_id", _told(Literal[1], "1: came in.")), ("x", Extra)],
    ),
    "follow": ("Somebody follows the creator now.", [*_PERSON, *_LABEL, ("x", Extra)]),
    "share": ("Somebody passed the room's address on.", [*_PERSON, *_LABEL, ("x", Extra)]),
    "roomUser": ("How many watch, and who gave most.", [*_AUDIENCE, ("x", Extra)]),
    "streamEnd": (
        "The room is over.",
        [
            ("action_id", _told(Literal[3, 4], "3: the creator ended it, 4: an operator.")),
            ("x", Extra),
        ],
    ),
}


def _titled(name: str) -> str:
    return name[0].upper() + name[1:]


DATA = {
    name: _wire(_titled(name) + "Data", doc, [*_HEAD, *fields])
    for name, (doc, fields) in _FIELDS.items()
}
"""The `data` of each event, by the event's name."""

EVENTS = {
    name: _wire(
        _titled(name) + "Event",
        doc,
        [
            ("v", Literal[1]),
            ("seq", Number),
            ("room", _told(str, "Id of the room.")),
            ("ts", Milliseconds),
            ("data", DATA[name]),
        ],
        tag_field="event",
        tag=name,
    )
    for name, (doc, _) in _FIELDS.items()
}
"""The frame of each event, by the event's name."""

_GIFT_DATA: Any = DATA["gift"]
_RECENT: Any = EVENTS["gift"] | EVENTS["chat"] | EVENTS["follow"] | EVENTS["share"]


# Out: frames for one watcher ---------------------------------------------------------------------


class CoinsData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in a wallet."""

    coins: int


class Welcome(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="welcome"
):
    """
    The answer to a good `hello` in a room. `can` are the operations that are open to this watcher;
    `user` and `balance` are null for nobody.
    """

    v: Literal[1]
    seq: Number
    room: str
    user: UserData | None
    can: Sequence[str]
    heartbeat_seconds: int
    balance: CoinsData | None


class PersonalWelcome(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="welcome"
):
    """The answer to a good `hello` of one's own feed."""

    v: Literal[1]
    user: UserData
    heartbeat_seconds: int
    balance: CoinsData


class RoomData(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The room itself, in a snapshot."""

    id: str
    title: str
    is_live: bool
    started_at: Milliseconds
    creator: UserData


Snapshot = _wire(
    "Snapshot",
    "The room as it is after event `seq`, for who cannot follow the events one by one.",
    [
        ("seq", Number),
        ("reason", Reason),
        ("room", RoomData),
        ("viewer_count", int),
        ("total_like_count", int),
        ("top_viewers", list[TopViewer]),
        (
            "streaks",
            _told(list[_GIFT_DATA], "Open streaks: the `data` of each one's newest gift."),
        ),
        ("recent", _told(list[_RECENT], "The last chats, ended gifts, follows and shares.")),
        ("following", _told(bool, "Whether this watcher follows the creator.")),
    ],
    tag_field="op",
    tag="snapshot",
)


class SentGiftData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A gift as `POST /v1/rooms/{room_id}/gifts` answers it."""

    id: str
    room_id: str
    creator_id: str
    item_id: str
    quantity: int
    coins: int
    price: Price
    diamonds: str
    at: str


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="ack"):
    """It is done. `gift` and `balance` are there for a gift, as over HTTP."""

    key: str | None
    gift: SentGiftData | UnsetType = UNSET
    balance: CoinsData | UnsetType = UNSET


class Refused(msgspec.Struct, frozen=True, tag_field="op", tag="refused"):
    """It is not done, and why: a code, a sentence, and the facts of that code beside them."""

    key: str | None
    code: str
    detail: str


class Balance(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="balance"
):
    """The wallet changed."""

    coins: int


class Pong(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="pong"):
    """I am here."""


# The schema --------------------------------------------------------------------------------------

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """
    The JSON Schema (2020-12) of every frame that a server sends: an event, an array of events, or a
    control frame. What a client may send is `#/$defs/ClientOp` in it.
    """
    types = {
        "Event": list(EVENTS.values()),
        "Control": [Welcome, PersonalWelcome, Snapshot, Ack, Refused, Balance, Pong],
        "ClientOp": [HelloOp, GiftOp, ChatOp, LikeOp, FollowOp, ShareOp, PingOp],
    }
    _, parts = msgspec.json.schema_components(
        [each for group in types.values() for each in group], ref_template="#/$defs/{name}"
    )
    for name, group in types.items():
        parts[name] = {"anyOf": [{"$ref": f"#/$defs/{each.__name__}"} for each in group]}
    events = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Event"}}
    return {
        "$schema": DIALECT,
        "title": "Frames of a room's socket",
        "anyOf": [{"$ref": "#/$defs/Event"}, events, {"$ref": "#/$defs/Control"}],
        "$defs": dict(sorted(parts.items())),
    }
