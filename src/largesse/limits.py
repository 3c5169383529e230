"""
Every limit that people and programs outside meet, in one table with a name and a line of help.

A limit that a lower floor keeps is that floor's own constant, and is only listed here. Rates are
kept in memory by each process: a limit is per process, and a restart forgets.
"""

import msgspec

from largesse import ids
from largesse.clock import HOUR, MINUTE, SECOND
from largesse.errors import Rejected
from largesse.ledger import CHAIN_TRANSFERS_MAX, CHAINS_WAITING_MAX, PAGE_MAX
from largesse.records import display_keys, sessions, users
from largesse.text import CHAT_LENGTH_MAX, NICKNAME_LENGTH_MAX

BODY_BYTES_MAX = 65_536
QUANTITY_MAX = 9_999
SUBJECTS_MAX = 100_000
FRAME_BYTES_MAX = 4_096
SOCKETS_MAX = 20_000
SOCKETS_PER_ADDRESS_MAX = 1_000
BAD_FRAMES_MAX = 10


class Rate(msgspec.Struct, frozen=True):
    """So many in a period (nanoseconds), and up to `burst` of them at once."""

    times: int
    period: int
    burst: int


class Limit(msgspec.Struct, frozen=True):
    """A limit: a number, or a rate per subject (what `help` says: a viewer, an address)."""

    name: str
    value: int | Rate
    help: str


LIMITS = (
    Limit("gift", Rate(20, SECOND, 60), "Gifts of one viewer."),
    Limit("order", Rate(10, MINUTE, 10), "Orders of one viewer."),
    Limit("read", Rate(50, SECOND, 200), "Other requests of one user, or of one address."),
    Limit("avatar", Rate(200, SECOND, 1_000), "Pictures of people, asked for by one address."),
    Limit("export", Rate(10, MINUTE, 10), "Histories that one user takes out as CSV or JSON."),
    Limit("op", Rate(40, SECOND, 120), "Operations of one user over all sockets."),
    Limit("flood", Rate(200, SECOND, 1_000), "The same, beyond which a socket is closed."),
    Limit("chat", Rate(1, SECOND, 5), "Chat messages of one user."),
    Limit("like", Rate(4, SECOND, 20), "Frames with likes of one user."),
    Limit("follow", Rate(20, MINUTE, 20), "Follows and unfollows of one user."),
    Limit("share", Rate(10, MINUTE, 10), "Shares of one user."),
    Limit("sign_up", Rate(20, HOUR, 20), "New accounts from one address."),
    Limit("login", Rate(10, MINUTE, 10), "Attempts at one login from one address."),
    Limit("login_address", Rate(120, MINUTE, 120), "Attempts at all logins from one address."),
    Limit("session", Rate(50, SECOND, 200), "Sessions looked up for one address."),
    Limit("password_reset", Rate(10, HOUR, 10), "Password resets, asked for or used, per address."),
    Limit("subjects", SUBJECTS_MAX, "Subjects that each rate remembers at once."),
    Limit("body_bytes", BODY_BYTES_MAX, "Bytes in the body of a request."),
    Limit("frame_bytes", FRAME_BYTES_MAX, "Bytes in one message over a socket."),
    Limit("bad_frames", BAD_FRAMES_MAX, "Bad messages over one socket; one more closes it."),
    Limit("sockets", SOCKETS_MAX, "Open sockets, as far as the system has files for them."),
    Limit("sockets_per_address", SOCKETS_PER_ADDRESS_MAX, "Open sockets of one address."),
    Limit("quantity", QUANTITY_MAX, "Gift items in one gift."),
    Limit("idempotency_key_length", ids.KEY_LENGTH_MAX, "Characters in an idempotency key."),
    Limit("login_length_min", users.LOGIN_LENGTH_MIN, "Characters in a login, at least."),
    Limit("login_length", users.LOGIN_LENGTH_MAX, "Characters in a login."),
    Limit("nickname_length", NICKNAME_LENGTH_MAX, "Characters in a nickname."),
    Limit("chat_length", CHAT_LENGTH_MAX, "Characters in a chat message."),
    Limit("email_length", users.EMAIL_LENGTH_MAX, "Characters in an e-mail address."),
    Limit("password_length_min", users.PASSWORD_LENGTH_MIN, "Characters in a password, at least."),
    Limit("password_length", users.PASSWORD_LENGTH_MAX, "Characters in a password."),
    Limit(
        "sessions_per_user",
        sessions.SESSIONS_PER_USER_MAX,
        "Open sessions of one user; one more closes the oldest.",
    ),
    Limit(
        "session_cache_seconds",
        sessions.SESSION_CACHE_SECONDS,
        "Seconds until a session closed by another process is closed here too.",
    ),
    Limit("resets_per_user", sessions.RESETS_PER_USER_MAX, "Open password resets of one user."),
    Limit("reset_seconds", sessions.RESET_LIFETIME // SECOND, "Seconds that a reset can be used."),
    Limit(
        "display_keys", display_keys.KEYS_PER_CREATOR_MAX, "Display keys of one creator at once."
    ),
    Limit("chains_waiting", CHAINS_WAITING_MAX, "Chains of transfers that wait for the ledger."),
    Limit("chain_transfers", CHAIN_TRANSFERS_MAX, "Transfers in one chain."),
    Limit("ledger_page", PAGE_MAX, "Rows in one page of the ledger's own lists."),
)
"""All of them. `docs/reference/limits.md` is made from it; a test compares."""

RATES = {limit.name: limit.value for limit in LIMITS if isinstance(limit.value, Rate)}


class RateLimiter:
    """
    How often each subject may do what, without a timer.

    Of each subject one number is kept: the instant until which what it took is paid off, at one
    period through `times` each (the generic cell rate algorithm, ITU-T I.371).
    """

    def __init__(self, subjects_max: int = SUBJECTS_MAX) -> None:
        """`subjects_max` is how many subjects each rate remembers at once."""
        assert subjects_max > 0
        self._subjects_max = subjects_max
        self._kept: dict[str, dict[str, int]] = {name: {} for name in RATES}
        self._rates = {
            name: (rate.period // rate.times, rate.period // rate.times * rate.burst)
            for name, rate in RATES.items()
        }

    def take(self, limit_name: str, subject: str, now: int) -> None:
        """
        Count one, if the subject may.

        Raises:
            Rejected: rate_limited, with the limit's name and when to come back.
        """
        each, most = self._rates[limit_name]
        kept = self._kept[limit_name]
        paid_at = kept.get(subject, 0)
        if paid_at < now:
            paid_at = now
        elif paid_at > now + most:  # Only where the clock was set back.
            kept[subject] = paid_at = now + most
        paid_at += each
        over = paid_at - now - most
        if over > 0:
            raise Rejected("rate_limited", limit=limit_name, retry_after_seconds=-(-over // SECOND))
        if subject not in kept and len(kept) >= self._subjects_max:
            _make_room(kept, now)
        kept[subject] = paid_at


def as_markdown() -> str:
    """The table as a page of the documentation."""
    rows = "\n".join(f"| `{x.name}` | {_text(x.value)} | {x.help} |" for x in LIMITS)
    return (
        "# Limits\n\n"
        "Everything has a limit. Beyond a rate the answer is 429 `rate_limited`, with the limit's\n"
        "name and `retry_after_seconds`; each process counts for itself. This page is made from\n"
        "`src/largesse/limits.py`.\n\n"
        f"| limit | value | of what |\n|---|---|---|\n{rows}\n"
    )


def _make_room(kept: dict[str, int], now: int) -> None:
    """
    Forget who has paid everything off, which loses nothing; then, if need be, whoever came first.

    A quarter at least goes at a time, so that the whole is looked through only now and then.
    """
    goal = len(kept) * 3 // 4
    for subject in [subject for subject, paid_at in kept.items() if paid_at <= now]:
        del kept[subject]
    for subject in list(kept)[: max(0, len(kept) - goal)]:
        del kept[subject]


def _text(value: int | Rate) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    period = {SECOND: "a second", MINUTE: "a minute", HOUR: "an hour"}[value.period]
    return f"{value.times:,} {period}, {value.burst:,} at once"
