"""What goes over a room's socket, held against the schema and, where it matters, to the letter."""

import json
from importlib.resources import files
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from largesse import catalog, gifting
from largesse.clock import SECOND
from largesse.money import Price
from largesse.rooms import messages, wire
from largesse.rooms.room import (
    ChatEntry,
    Chatted,
    Ended,
    Entered,
    FollowEntry,
    Gifted,
    GiftEntry,
    LikeEntry,
    MemberEntry,
    Person,
    RoomState,
    RoomUserEntry,
    ShareEntry,
    StreamEndEntry,
    Ticked,
    TopGifter,
    step,
)

DATA = files("largesse") / "data" / "catalog"
CATALOG = catalog.load(
    (DATA / "packages.toml").read_bytes(), (DATA / "gift-items.toml").read_bytes()
)
ROSE = CATALOG.gift_item("rose")
START = 1_795_345_200_123_000_000
AT = START // 1_000_000
MIRA = Person("19", "mira", "Mira", follow_role=1)
BO = Person("c3", "bo", "Bo")
GIFT = GiftEntry(
    seq=1042,
    at=AT,
    person=MIRA,
    rank=2,
    order_id="o5",
    group_id="o1",
    receiver_id=BO.id,
    item_number=ROSE.number,
    unit_coins=1,
    is_streakable=True,
    repeat_count=5,
    repeat_end=False,
    quantity=1,
    paid_at=START,
    combo_ns=3 * SECOND,
)
SCHEMA = wire.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
CLIENT = jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": "#/$defs/ClientOp"}]})


def shown(raw: bytes) -> Any:
    """A frame as a client reads it; every one is held against the schema."""
    frame = json.loads(raw.decode())
    VALIDATOR.validate(frame)
    return frame


def event(entry, room_id="r8f2"):
    return shown(messages.event_frame(room_id, entry, CATALOG))


def changed(entry, **fields):
    return msgspec.structs.replace(entry, **fields)


def test_a_gift_is_told_in_exactly_these_fields():
    assert event(GIFT) == {
        "v": 1,
        "seq": 1042,
        "event": "gift",
        "room": "r8f2",
        "ts": 1795345200123,
        "data": {
            "msgId": "r8f2-1042",
            "orderId": "o5",
            "groupId": "o1",
            "createTime": "1795345200123",
            "timestamp": 1795345200123,
            "userId": "19",
            "uniqueId": "mira",
            "nickname": "Mira",
            "profilePictureUrl": "/avatars/19.svg",
            "followRole": 1,
            "isModerator": False,
            "isSubscriber": False,
            "isNewGifter": False,
            "topGifterRank": 2,
            "gifterLevel": 0,
            "teamMemberLevel": 0,
            "userBadges": [],
            "user": {
                "userId": "19",
                "uniqueId": "mira",
                "nickname": "Mira",
                "profilePictureUrl": "/avatars/19.svg",
            },
            "giftId": 1,
            "giftName": "Rose",
            "giftType": 1,
            "diamondCount": 1,
            "describe": "sent Rose",
            "giftPictureUrl": "/static/art/gifts/rose.svg",
            "repeatCount": 5,
            "repeatEnd": False,
            "comboCount": 5,
            "groupCount": 1,
            "receiverUserId": "c3",
            "gift": {
                "gift_id": 1,
                "repeat_count": 5,
                "repeat_end": 0,
                "gift_type": 1,
                "id": 1,
                "name": "Rose",
                "type": 1,
                "diamond_count": 1,
                "combo": True,
            },
            "x": {
                "coins": 5,
                "anonymous": False,
                "tier": 1,
                "effect": "tray",
                "alt": "Mira sent Rose, 5 times",
                "message": None,
            },
        },
    }


def test_the_end_of_a_streak_says_so_in_both_places():
    data = event(changed(GIFT, repeat_end=True))["data"]
    assert (data["repeatEnd"], data["gift"]["repeat_end"], data["giftType"]) == (True, 1, 1)


def test_an_item_that_cannot_streak_is_type_2():
    data = event(changed(GIFT, is_streakable=False, repeat_count=1, repeat_end=True))["data"]
    assert (data["giftType"], data["gift"]["type"], data["gift"]["combo"]) == (2, 2, False)
    assert data["x"]["alt"] == "Mira sent Rose"


def test_an_item_that_the_catalogue_has_lost_is_still_a_gift():
    data = event(changed(GIFT, item_number=9_999, rank=0))["data"]
    assert (data["giftId"], data["giftName"], data["giftPictureUrl"]) == (9_999, "Gift", "")
    assert data["topGifterRank"] is None


@pytest.mark.parametrize(
    ("coins", "tier", "effect"),
    [
        (1, 1, "tray"),
        (29, 1, "tray"),
        (30, 2, "burst"),
        (499, 2, "burst"),
        (500, 3, "half"),
        (4_999, 3, "half"),
        (5_000, 4, "full"),
        (1_000_000, 4, "full"),
    ],
)
def test_what_is_made_of_a_gift_follows_its_price(coins, tier, effect):
    extra = event(changed(GIFT, unit_coins=coins))["data"]["x"]
    assert (extra["tier"], extra["effect"], extra["coins"]) == (tier, effect, 5 * coins)


OTHERS = [
    (
        ChatEntry(7, AT, MIRA, 0, "<b>hi</b> \u05e9"),
        "chat",
        {"comment": "<b>hi</b> \u05e9", "emotes": [], "x": {"alt": "Mira: <b>hi</b> \u05e9"}},
    ),
    (
        LikeEntry(7, AT, MIRA, 1, 3, 40),
        "like",
        {"likeCount": 3, "totalLikeCount": 40, "x": {"alt": "Mira liked, 3 times"}},
    ),
    (MemberEntry(7, AT, MIRA, 0), "member", {"actionId": 1, "x": {"alt": "Mira joined"}}),
    (
        FollowEntry(7, AT, MIRA, 0),
        "follow",
        {"displayType": "follow", "label": "Mira followed", "x": {"alt": "Mira followed"}},
    ),
    (
        ShareEntry(7, AT, MIRA, 0),
        "share",
        {
            "displayType": "share",
            "label": "Mira shared the room",
            "x": {"alt": "Mira shared the room"},
        },
    ),
    (
        RoomUserEntry(7, AT, 12, (TopGifter(MIRA, 500), TopGifter(BO, 3))),
        "roomUser",
        {
            "viewerCount": 12,
            "topViewers": [
                {
                    "user": {
                        "userId": person.id,
                        "uniqueId": person.login,
                        "nickname": person.nickname,
                        "profilePictureUrl": f"/avatars/{person.id}.svg",
                    },
                    "coinCount": coins,
                }
                for person, coins in ((MIRA, 500), (BO, 3))
            ],
            "x": {"alt": "12 people are watching"},
        },
    ),
    (StreamEndEntry(7, AT, 3), "streamEnd", {"actionId": 3, "x": {"alt": "The room is over"}}),
]
OF_A_PERSON = {
    *("userId", "uniqueId", "nickname", "profilePictureUrl", "followRole", "isModerator"),
    *("isSubscriber", "isNewGifter", "topGifterRank", "gifterLevel", "teamMemberLevel"),
    *("userBadges", "user"),
}


@pytest.mark.parametrize(("entry", "name", "own"), OTHERS, ids=[name for _, name, _ in OTHERS])
def test_every_other_event_has_the_common_fields_and_its_own(entry, name, own):
    frame = event(entry)
    data = frame.pop("data")
    assert frame == {"v": 1, "seq": 7, "event": name, "room": "r8f2", "ts": AT}
    assert {field: data[field] for field in own} == own
    head = {"msgId": "r8f2-7", "createTime": str(AT), "timestamp": AT}
    assert {field: data[field] for field in head} == head
    person = OF_A_PERSON if hasattr(entry, "person") else set()
    assert set(data) == {*own, *head, *person}


def test_every_kind_of_entry_has_its_event_and_each_event_an_entry():
    assert {event(entry)["event"] for entry in [GIFT, *(each for each, _, _ in OTHERS)]} == set(
        wire.EVENTS
    )


def names_in(value):
    if isinstance(value, dict):
        return set(value) | {name for each in value.values() for name in names_in(each)}
    if isinstance(value, list):
        return {name for each in value for name in names_in(each)}
    return set()


def test_no_event_speaks_of_money_diamonds_or_where_somebody_lives():
    names = {
        name.lower()
        for name in names_in(
            [SCHEMA["$defs"][f"{event[0].upper()}{event[1:]}Data"] for event in wire.DATA]
        )
    }
    for word in (
        "diamonds",
        "balance",
        "email",
        "country",
        "price",
        "amount",
        "currency",
        "share_",
    ):
        assert not [name for name in names if word in name], word


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


@given(names, names, st.integers(1, 9_999), st.integers(0, 10))
def test_any_name_and_text_comes_through_whole(name, text, count, rank):
    person = Person("19", "mira", name)
    gift = event(changed(GIFT, person=person, repeat_count=count, rank=rank))["data"]
    assert (gift["nickname"], gift["user"]["nickname"]) == (name, name)
    assert event(ChatEntry(1, AT, person, rank, text))["data"]["comment"] == text


# Several events, and what is left out ------------------------------------------------------------


def test_a_batch_is_an_array_of_the_same_frames():
    frames = [messages.event_frame("r", entry, CATALOG) for entry, _, _ in OTHERS[:3]]
    assert shown(messages.batch(frames)) == [json.loads(frame) for frame in frames]
    assert shown(messages.batch(frames[:1])) == [json.loads(frames[0])]


def counted(*counts):
    """Entries of streaks a, b, ..: `a3` a count, `a3.` its end; `x` is a chat."""
    entries = []
    for seq, word in enumerate(counts, start=1):
        if word == "x":
            entries.append(ChatEntry(seq, AT, MIRA, 0, "hi"))
        else:
            count, end = int(word[1:].rstrip(".")), word.endswith(".")
            entries.append(
                changed(GIFT, seq=seq, group_id=word[0], repeat_count=count, repeat_end=end)
            )
    return entries


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("a1", "a1"),
        ("a1 a2 a3", "a3"),
        ("a1 b1 a2 b2", "a2 b2"),
        ("a1 x a2 x", "x a2 x"),
        ("a1 a2 a2. b1 b2", "a2 a2. b2"),
        ("a1. a1.", "a1. a1."),
        ("a2. b1 b1.", "a2. b1 b1."),
    ],
)
def test_of_a_streak_s_counts_in_one_tick_the_newest_is_sent(before, after):
    entries = counted(*before.split())
    left = messages.merge(entries)
    words = {entry.seq: word for entry, word in zip(entries, before.split(), strict=True)}
    assert " ".join(words[entry.seq] for entry in left) == after


# Frames for one watcher --------------------------------------------------------------------------


def test_welcome_says_who_one_is_and_what_one_may_do():
    assert shown(
        messages.welcome(seq=5, room_id="r", person=MIRA, can=["gift", "chat"], coins=240)
    ) == {
        "op": "welcome",
        "v": 1,
        "seq": 5,
        "room": "r",
        "user": {
            "userId": "19",
            "uniqueId": "mira",
            "nickname": "Mira",
            "profilePictureUrl": "/avatars/19.svg",
        },
        "can": ["gift", "chat"],
        "heartbeat_seconds": 20,
        "balance": {"coins": 240},
    }
    nobody = shown(messages.welcome(seq=0, room_id="r", person=None, can=[], coins=None))
    assert (nobody["user"], nobody["balance"], nobody["can"]) == (None, None, [])
    own = shown(messages.personal_welcome(person=MIRA, coins=3))
    assert (own["op"], own["user"]["uniqueId"], own["balance"]) == ("welcome", "mira", {"coins": 3})


def test_a_snapshot_shows_the_room_as_it_is():
    state = RoomState("r0", BO)
    entries = step(state, Entered(MIRA), START)
    entries += step(state, Entered(None), START)
    for n in (1, 2):
        at = START + n
        entries += step(state, Gifted(MIRA, f"o{n}", 1, 1, True, 3 * SECOND, 2, 2, at), at)
    entries += step(state, Chatted(MIRA, "hello"), START + 3)
    entries += step(state, Ticked(), START + 4)
    recent = [
        messages.event_frame("r0", each, CATALOG) for each in entries if messages.is_recent(each)
    ]
    scene = messages.scene(state, CATALOG, title="Songs", started_at=START, recent=recent)
    frame = shown(messages.snapshot(scene, reason="gap", following=True))

    assert frame["room"] == {
        "id": "r0",
        "title": "Songs",
        "isLive": True,
        "startedAt": AT,
        "creator": {
            "userId": "c3",
            "uniqueId": "bo",
            "nickname": "Bo",
            "profilePictureUrl": "/avatars/c3.svg",
        },
    }
    assert (frame["op"], frame["reason"], frame["following"]) == ("snapshot", "gap", True)
    assert (frame["seq"], frame["viewerCount"], frame["totalLikeCount"]) == (state.seq, 2, 0)
    [streak] = frame["streaks"]
    assert streak == event(entries[1], "r0")["data"]
    assert [each["data"]["comment"] for each in frame["recent"]] == ["hello"]
    assert [each["coinCount"] for each in frame["topViewers"]] == [4]

    step(state, Ended(3), START + 5)
    scene = messages.scene(state, CATALOG, title="Songs", started_at=START, recent=[])
    over = shown(messages.snapshot(scene, reason="start", following=False))
    assert (over["room"]["isLive"], over["streaks"], over["recent"]) == (False, [], [])


def test_a_snapshot_has_bounds_however_much_goes_on():
    state = RoomState("r0", BO)
    for n in range(1, 201):
        person = Person(f"p{n}", f"p{n}", f"P{n}")
        step(state, Gifted(person, f"o{n}", 1, 1, True, 3 * SECOND, n, n, START + n), START + n)
    chat = messages.event_frame("r0", ChatEntry(1, AT, MIRA, 0, "hi"), CATALOG)
    scene = messages.scene(state, CATALOG, title="Songs", started_at=START, recent=[chat] * 80)
    frame = shown(messages.snapshot(scene, reason="resync", following=False))
    assert [each["repeatCount"] for each in frame["streaks"]] == list(range(151, 201))
    assert (len(frame["recent"]), len(frame["topViewers"])) == (50, 10)


def test_what_is_worth_showing_again_is_said_and_given_not_liked():
    recent = [GIFT, changed(GIFT, repeat_end=True), *(entry for entry, _, _ in OTHERS)]
    assert [type(entry) for entry in recent if messages.is_recent(entry)] == [
        GiftEntry,
        ChatEntry,
        FollowEntry,
        ShareEntry,
    ]
    assert not messages.is_recent(GIFT)


def test_an_ack_of_a_gift_is_what_http_answers():
    gift = gifting.Gift(
        "g1", "r", "c3", "rose", 5, 5, Price(8, "USD"), "2.5000", "2026-11-23T15:04:05.678Z"
    )
    sent = gifting.SentGift(gift, gifting.CoinBalance(235))
    frame = shown(messages.ack("k", gift=sent.gift, balance=sent.balance))
    assert frame == {"op": "ack", "key": "k", **json.loads(msgspec.json.encode(sent))}
    assert shown(messages.ack(None)) == {"op": "ack", "key": None}


def test_a_refusal_has_its_facts_beside_it():
    frame = shown(
        messages.refused("k", "insufficient_coins", "Too few.", {"missing": 12, "op": "x"})
    )
    assert frame == {
        "op": "refused",
        "key": "k",
        "code": "insufficient_coins",
        "detail": "Too few.",
        "missing": 12,
    }


def test_the_short_frames():
    assert shown(messages.balance(7)) == {"op": "balance", "coins": 7}
    assert shown(messages.pong()) == {"op": "pong"}


# In ----------------------------------------------------------------------------------------------

decode = msgspec.json.Decoder(wire.ClientOp).decode


@pytest.mark.parametrize(
    ("raw", "op"),
    [
        ('{"op":"hello","ticket":"t"}', wire.HelloOp("t")),
        (
            '{"op":"hello","ticket":"t","last_seq":-1,"batch":true,"lang":"de"}',
            wire.HelloOp("t", -1, True, "de"),
        ),
        ('{"op":"gift","key":"k","item_id":"rose"}', wire.GiftOp("k", "rose", 1)),
        ('{"op":"gift","key":"k","item_id":"rose","quantity":9}', wire.GiftOp("k", "rose", 9)),
        ('{"op":"chat","text":"hi"}', wire.ChatOp("hi")),
        ('{"op":"like"}', wire.LikeOp(1)),
        ('{"op":"like","count":15}', wire.LikeOp(15)),
        ('{"op":"follow"}', wire.FollowOp(True)),
        ('{"op":"follow","following":false}', wire.FollowOp(False)),
        ('{"op":"share"}', wire.ShareOp()),
        ('{"op":"ping"}', wire.PingOp()),
    ],
)
def test_what_a_client_may_send(raw, op):
    assert decode(raw) == op
    CLIENT.validate(json.loads(raw))


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"op":"dance"}',
        '{"op":"hello"}',
        '{"op":"hello","ticket":1}',
        '{"op":"hello","ticket":"t","last_seq":1.5}',
        '{"op":"hello","ticket":"t","last_seq":"1"}',
        '{"op":"gift","item_id":"rose"}',
        '{"op":"gift","key":null,"item_id":"rose"}',
        '{"op":"gift","key":"k","item_id":"rose","coins":0}',
        '{"op":"like","count":0}',
        '{"op":"like","count":16}',
        '{"op":"share","to":"everybody"}',
        '{"op":"ping"',
    ],
)
def test_what_a_client_may_not_send(raw):
    with pytest.raises(msgspec.DecodeError):
        decode(raw)


# The schema itself -------------------------------------------------------------------------------


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("repeatEnd", 0),
        ("repeatEnd", None),
        ("giftId", "1"),
        ("giftType", 3),
        ("userId", 19),
        ("timestamp", "1795345200123"),
        ("createTime", 1795345200123),
        ("repeatCount", 0),
        ("profilePictureUrl", "https://elsewhere.example/19.svg"),
        ("topGifterRank", 0),
        ("userBadges", ["vip"]),
        ("email", "mira@example.com"),
        ("gift", {"gift_id": 1}),
    ],
)
def test_the_schema_is_exact(field, wrong):
    frame = event(GIFT)
    frame["data"][field] = wrong
    assert not VALIDATOR.is_valid(frame)


@pytest.mark.parametrize("field", ["msgId", "groupId", "repeatEnd", "gift", "x", "userBadges"])
def test_the_schema_misses_nothing(field):
    frame = event(GIFT)
    del frame["data"][field]
    assert not VALIDATOR.is_valid(frame)
    assert not VALIDATOR.is_valid({**event(GIFT), "v": 2})
    assert not VALIDATOR.is_valid({**event(GIFT), "event": "like"})
    assert not VALIDATOR.is_valid([])


@given(st.lists(st.sampled_from("gclre"), max_size=40), st.integers(0, 20), st.data())
def test_a_crowd_in_a_flood_gets_the_dearest_gifts_and_the_newest_lines(kinds, most, data):
    """g: a gift, c: a line, l: a like, r: viewers, e: the end."""
    entries = []
    for seq, kind in enumerate(kinds, 1):
        if kind == "c":
            entries.append(ChatEntry(seq, AT, MIRA, 0, "hello"))
        elif kind == "r":
            entries.append(RoomUserEntry(seq, AT, 3, ()))
        elif kind == "e":
            entries.append(StreamEndEntry(seq, AT, 3))
        elif kind == "g":
            count = data.draw(st.integers(1, 5))
            gift = msgspec.structs.replace(GIFT, seq=seq, repeat_count=count)
            entries.append(gift)
        else:
            entries.append(LikeEntry(seq, AT, MIRA, 0, 1, seq))
    kept = messages.brief(entries, most)

    always = [each for each in entries if isinstance(each, RoomUserEntry | StreamEndEntry)]
    assert [each for each in kept if isinstance(each, RoomUserEntry | StreamEndEntry)] == always
    assert [each.seq for each in kept] == sorted({each.seq for each in kept})
    assert {each.seq for each in kept} <= {each.seq for each in entries}
    assert len(kept) <= max(most, len(always) + most // 2)
    if len(entries) <= most:
        assert kept == entries
        return
    gifts = [each for each in entries if isinstance(each, GiftEntry)]
    shown = [each for each in kept if isinstance(each, GiftEntry)]
    left = [each for each in gifts if each not in shown]
    if shown and left:
        assert min(each.repeat_count for each in shown) >= max(each.repeat_count for each in left)
    lines = [each for each in entries if isinstance(each, ChatEntry)]
    said = [each for each in kept if isinstance(each, ChatEntry)]
    assert said == lines[len(lines) - len(said) :]
    assert len(said) == min(len(lines), most // 2)
