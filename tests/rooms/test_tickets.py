"""A ticket opens what it was made for, for a minute, and nobody else can make one."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from largesse.clock import SECOND
from largesse.errors import Rejected
from largesse.rooms import tickets
from largesse.rooms.tickets import Purpose, Ticket

SECRET = b"s" * 32
NOW = 1_800_000_000 * SECOND
ROOM, OTHER_ROOM, ANA = "0a" * 16, "0b" * 16, "01" * 16


def refused(
    text: str, purpose: Purpose = Purpose.ROOM, room_id: str = ROOM, now: int = NOW
) -> bool:
    try:
        tickets.read(SECRET, purpose, text, room_id=room_id, now=now)
    except Rejected as refusal:
        return (refusal.code, refusal.facts) == ("ticket_invalid", {})
    return False


@pytest.mark.parametrize("user_id", [ANA, None])
def test_a_ticket_says_who_may_enter_which_room(user_id):
    text = tickets.issue(SECRET, Purpose.ROOM, room_id=ROOM, user_id=user_id, now=NOW)
    read = tickets.read(SECRET, Purpose.ROOM, text, room_id=ROOM, now=NOW + 59 * SECOND)
    assert read == Ticket(ROOM, user_id, NOW)


def test_a_ticket_for_a_persons_own_feed_names_no_room():
    text = tickets.issue(SECRET, Purpose.PERSON, user_id=ANA, now=NOW)
    assert tickets.read(SECRET, Purpose.PERSON, text, now=NOW) == Ticket("", ANA, NOW)
    assert refused(text, Purpose.ROOM, "")


def test_a_ticket_is_good_for_a_minute_and_for_its_own_room():
    text = tickets.issue(SECRET, Purpose.ROOM, room_id=ROOM, user_id=ANA, now=NOW)
    assert not refused(text)
    assert refused(text, now=NOW + 60 * SECOND)
    assert refused(text, now=NOW - 1)
    assert refused(text, room_id=OTHER_ROOM)
    assert refused(text, room_id="")
    assert refused(text, Purpose.PERSON)


def test_a_ticket_of_somebody_else_s_secret_is_no_ticket():
    assert refused(tickets.issue(b"o" * 32, Purpose.ROOM, room_id=ROOM, user_id=ANA, now=NOW))


@given(place=st.integers(0, 71), bit=st.integers(0, 7))
def test_a_ticket_with_any_bit_changed_is_no_ticket(place, bit):
    text = tickets.issue(SECRET, Purpose.ROOM, room_id=ROOM, user_id=ANA, now=NOW)
    raw = bytearray(urlsafe_b64decode(text))
    raw[place] ^= 1 << bit
    assert refused(urlsafe_b64encode(raw).decode())


@given(text=st.text(max_size=200))
def test_whatever_is_sent_as_a_ticket_is_refused_by_name(text):
    assert refused(text)


def test_what_looks_like_a_ticket_but_is_shorter_inside_is_refused():
    text = tickets.issue(SECRET, Purpose.ROOM, room_id=ROOM, user_id=ANA, now=NOW)
    assert refused(text[:-2] + "==")
    assert refused("!" * len(text))
