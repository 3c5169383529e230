"""Who came and what they did, as the log of a room tells it."""

from largesse.rooms.attendance import Attendance, attend, average_viewers
from largesse.rooms.room import (
    ChatEntry,
    FollowEntry,
    LikeEntry,
    MemberEntry,
    Person,
    RoomUserEntry,
    ShareEntry,
    StreamEndEntry,
)

MIRA = Person("01" * 16, "mira", "Mira")
START = 1_000_000


def counted(*entries):
    found = Attendance(since=START)
    attend(found, entries)
    return found


def watching(seconds, viewers, seq=1):
    return RoomUserEntry(seq, START + seconds * 1_000, viewers, ())


def test_what_people_did_is_counted():
    found = counted(
        MemberEntry(1, START, MIRA, 0),
        ChatEntry(2, START, MIRA, 0, "hello"),
        ChatEntry(3, START, MIRA, 0, "hello?"),
        LikeEntry(4, START, MIRA, 0, 15, 15),
        LikeEntry(5, START, MIRA, 0, 2, 17),
        FollowEntry(6, START, MIRA, 0),
        ShareEntry(7, START, MIRA, 0),
        StreamEndEntry(8, START, 3),
    )

    assert (found.arrivals, found.chats, found.likes) == (1, 2, 17)
    assert (found.follows, found.shares, found.peak_viewers) == (1, 1, 0)


def test_the_average_weighs_how_long_people_stayed():
    """Ten for a minute, then two for four minutes."""
    found = counted(watching(0, 10), watching(60, 2))

    assert found.peak_viewers == 10
    until = START + 300_000
    assert average_viewers(found, started_at=START, until=until) == (10 * 60 + 2 * 240) / 300


def test_a_room_that_ends_as_it_begins_has_nobody_on_average():
    assert average_viewers(counted(watching(0, 3)), started_at=START, until=START) == 0


def test_counting_in_pieces_is_counting_at_once():
    entries = [watching(second, second % 7, second) for second in range(1, 50)]
    pieces = Attendance(since=START)
    for entry in entries:
        attend(pieces, [entry])

    assert pieces == counted(*entries)
