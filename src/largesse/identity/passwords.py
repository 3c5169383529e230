"""
Passwords: argon2id, at most two at once, the same work whether or not there is such a person.

The parameters are the second recommended option of RFC 9106 (section 4, the low-memory profile): 3
passes over 64 MiB in 4 lanes. Two at once keep both cores of a small machine busy and cost 128 MiB.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from largesse.errors import Rejected
from largesse.records.users import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN

AT_ONCE = 2
WAITING_MAX = 64
"""Passwords that may wait to be hashed: some seconds of work. One more is refused."""

NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$bGFyZ2Vzc2U6IG5vYm9keQ"
    "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)
"""A hash that no password has; checking it costs what checking anybody's does."""

T = TypeVar("T")

_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords")
_waiting: set[asyncio.Future[Any]] = set()


def guard_password(password: str, *, login: str, email: str) -> None:
    """
    Refuse a password that is too short, too long or the first thing anybody would try.

    Length is what counts (NIST SP 800-63B, section 3.1.1.2): no rules about kinds of characters.

    Raises:
        Rejected: password_too_short, password_too_long, password_malformed, password_too_obvious.
    """
    if len(password) < PASSWORD_LENGTH_MIN:
        raise Rejected("password_too_short", minimum=PASSWORD_LENGTH_MIN)
    if len(password) > PASSWORD_LENGTH_MAX:
        raise Rejected("password_too_long", maximum=PASSWORD_LENGTH_MAX)
    if _encode(password) is None:
        raise Rejected("password_malformed")
    if password.casefold() in (login.casefold(), email.casefold()):
        raise Rejected("password_too_obvious")


async def hash_password(password: str) -> str:
    """
    The hash to keep of a password that passed `guard_password`.

    Raises:
        Rejected: passwords_busy.
    """
    encoded = _encode(password)
    assert encoded is not None
    return await _in_thread(lambda: _hasher.hash(encoded))


async def is_right(password_hash: str, password: str) -> bool:
    """
    Whether the password is the one that was hashed.

    One that nobody could have costs no work, whoever it is tried on, so that tells nothing either.

    Raises:
        Rejected: passwords_busy.
    """
    encoded = _encode(password) if len(password) <= PASSWORD_LENGTH_MAX else None
    if encoded is None:
        return False
    return await _in_thread(lambda: _verify(password_hash, encoded))


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


def _verify(password_hash: str, encoded: bytes) -> bool:
    try:
        return _hasher.verify(password_hash, encoded)
    except (VerificationError, InvalidHashError):
        return False


def _encode(password: str) -> bytes | None:
    """NFKC, so that the same letters typed on another keyboard are the same (RFC 8265)."""
    try:
        return unicodedata.normalize("NFKC", password).encode()
    except UnicodeEncodeError:
        return None  # Half a surrogate pair, which JSON can carry and UTF-8 cannot.


async def _in_thread(work: Callable[[], T]) -> T:
    if len(_waiting) >= WAITING_MAX + AT_ONCE:
        raise Rejected("passwords_busy", retry_after_seconds=5)
    future = asyncio.get_running_loop().run_in_executor(_threads, work)
    _waiting.add(future)
    future.add_done_callback(_waiting.discard)
    return await future
