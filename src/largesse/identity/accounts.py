"""Accounts: sign up, change or reset a password, be old enough."""

import hashlib
import re
from base64 import urlsafe_b64encode
from calendar import isleap
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Protocol

from largesse import clock, ids, text
from largesse.errors import Rejected
from largesse.identity import passwords
from largesse.identity.countries import ADULT_AGES, COUNTRIES
from largesse.records import sessions, users
from largesse.records.database import Database
from largesse.records.users import (
    EMAIL_LENGTH_MAX,
    LOGIN_LENGTH_MAX,
    LOGIN_LENGTH_MIN,
    User,
)

SIGN_UP_AGE_MIN = 13
"""Below this age nobody may have an account (COPPA, 16 CFR 312.2)."""
AGE_MAX = 120
"""A birth date longer ago than this is a mistake."""

_LOGIN = re.compile(rf"[a-z0-9_.-]{{{LOGIN_LENGTH_MIN},{LOGIN_LENGTH_MAX}}}")
# Simple on purpose: whether mail arrives there, only mail can tell. It keeps out what could do harm
# in a mail's header, and whatever has no domain. 64 before the @: RFC 5321, section 4.5.3.1.1.
_EMAIL = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
    r"(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+"
)

# `fromisoformat` also takes weeks, which nobody means.
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Post(Protocol):
    """Whatever takes a mail from us."""

    async def send(self, to: str, subject: str, text: str) -> None:
        """Take on a mail."""
        ...


async def sign_up(
    db: Database,
    *,
    login: str,
    email: str,
    password: str,
    birth_on: str,
    country: str,
    now: int,
    entropy: Callable[[int], bytes],
) -> User:
    """
    Make an account with the role of a viewer. `birth_on` is an ISO date, `country` ISO 3166 alpha-2.

    Raises:
        Rejected: login_malformed, email_malformed, password_too_short, password_too_long,
            password_malformed, password_too_obvious, birth_date_malformed, too_young,
            country_unknown, login_taken, email_taken, passwords_busy.
    """
    login, email, country = login.lower(), email.strip().lower(), country.upper()
    if not _LOGIN.fullmatch(login):
        raise Rejected(
            "login_malformed",
            minimum=LOGIN_LENGTH_MIN,
            maximum=LOGIN_LENGTH_MAX,
            characters="a-z 0-9 _ . -",
        )
    if len(email) > EMAIL_LENGTH_MAX or not _EMAIL.fullmatch(email):
        raise Rejected("email_malformed")
    passwords.guard_password(password, login=login, email=email)
    _guard_birth(birth_on, now)
    if country not in COUNTRIES:
        raise Rejected("country_unknown")
    # What is taken already is not worth a hash; the table's constraints decide in the end.
    if await users.find_by_login(db, login) is not None:
        raise Rejected("login_taken", login=login)
    if await users.find_by_email(db, email) is not None:
        raise Rejected("email_taken")

    user = User(
        id=ids.text(ids.ordered(clock.milliseconds(now), entropy(9))),
        login=login,
        email=email,
        birth_on=birth_on,
        country=country,
        roles=("viewer",),
        created_at=now,
    )
    password_hash = await passwords.hash_password(password)
    return await users.insert_user(db, user, password_hash=password_hash)


async def change_password(
    db: Database, *, user_id: str, current: str, new: str, keep_token: str | None = None
) -> None:
    """
    Change a password; every session is closed but the one with `keep_token`, where it is given.

    Raises:
        Rejected: password_wrong, password_too_short, password_too_long, password_malformed,
            password_too_obvious, passwords_busy.
    """
    found = await users.find_credentials_of(db, user_id)
    assert found is not None
    user, old_hash = found
    if not await passwords.is_right(old_hash, current):
        raise Rejected("password_wrong")
    passwords.guard_password(new, login=user.login, email=user.email)

    new_hash = await passwords.hash_password(new)
    keep = token_hash(keep_token) if keep_token else None
    async with db.begin() as tx:
        if not await users.replace_password_hash(tx, user_id, old=old_hash, new=new_hash):
            raise Rejected("password_wrong")  # Changed by somebody else while we hashed.
        await sessions.delete_sessions_of(tx, user_id, but=keep)
        await sessions.delete_resets_of(tx, user_id)
    db.user_changed(user_id)


async def request_reset(
    db: Database,
    mailer: Post,
    *,
    email: str,
    now: int,
    entropy: Callable[[int], bytes],
    public_url: str,
) -> None:
    """
    Send a token with which a new password can be set: once, within an hour.

    Says nothing about whether anybody has this address: the answer is the same, and the mail goes
    out after it. A person with too many resets open gets no further mail.
    """
    token = new_token(entropy)
    user = await users.find_by_email(db, email.strip().lower())
    if user is None or user.disabled_at is not None:
        return
    if not await sessions.insert_reset(db, token_hash(token), user_id=user.id, created_at=now):
        return
    until = clock.to_text(now + sessions.RESET_LIFETIME)
    await mailer.send(
        user.email,
        "A new password",
        f"Hello {user.login},\n\n"
        f"somebody, hopefully you, asked to set a new password at {public_url}.\n\n"
        f"Set it here:\n\n    {public_url}/reset/confirm?token={token}\n\n"
        f"The link works once, until {until}. Nobody from us will ever ask you for it.\n"
        "If it was not you, do nothing: your password stays as it is.\n",
    )


async def confirm_reset(db: Database, *, token: str, password: str, now: int) -> None:
    """
    Set a new password with the token of a mail; every session of the person is closed.

    Raises:
        Rejected: reset_token_invalid (unknown, used or expired), password_too_short,
            password_too_long, password_malformed, password_too_obvious, passwords_busy.
    """
    digest = token_hash(token)
    user = await sessions.find_reset(db, digest, now=now)
    if user is None:
        raise Rejected("reset_token_invalid")
    passwords.guard_password(password, login=user.login, email=user.email)

    new_hash = await passwords.hash_password(password)
    async with db.begin() as tx:
        # Only now, so that a refused password does not cost the token; whoever removes it wins.
        if not await sessions.use_reset(tx, digest, user_id=user.id):
            raise Rejected("reset_token_invalid")
        await users.replace_password_hash(tx, user.id, old=None, new=new_hash)
        await sessions.delete_sessions_of(tx, user.id)
    db.user_changed(user.id)


async def add_role(db: Database, *, user_id: str, role: str) -> User:
    """
    Give a person one more role, which counts from their next request on.

    Raises:
        Rejected: role_unknown, user_not_found.
    """
    if role not in users.ROLES:
        raise Rejected("role_unknown", roles=list(users.ROLES))
    user = await users.add_user_role(db, user_id, role)
    if user is None:
        raise Rejected("user_not_found")
    return user


async def disable(db: Database, *, user_id: str, by: str, now: int) -> User:
    """
    Shut a person out: every session is closed, and none is opened until `enable`.

    What the person has stays: coins, diamonds, orders, rooms.

    Raises:
        Rejected: own_account (nobody shuts himself out), user_not_found.
    """
    if user_id == by:
        raise Rejected("own_account")
    async with db.begin() as tx:
        user = await users.set_disabled(tx, user_id, at=now)
        if user is None:
            raise Rejected("user_not_found")
        await sessions.delete_sessions_of(tx, user_id)
        await sessions.delete_resets_of(tx, user_id)
    db.user_changed(user_id)
    return user


async def enable(db: Database, *, user_id: str) -> User:
    """
    Let a person in again.

    Raises:
        Rejected: user_not_found.
    """
    async with db.begin() as tx:
        user = await users.set_disabled(tx, user_id, at=None)
    if user is None:
        raise Rejected("user_not_found")
    db.user_changed(user_id)
    return user


async def change_nickname(db: Database, *, user_id: str, nickname: str) -> User:
    """
    Choose what others see, cleaned of what cannot be seen; blanks are to be shown by the login.

    Raises:
        Rejected: nickname_invalid (too long, or nothing of it can be seen).
    """
    chosen = text.nickname(nickname) if nickname.strip() else ""
    user = await users.set_nickname(db, user_id, chosen)
    assert user is not None
    return user


def require_adult(user: User, now: int, adult_age: int) -> None:
    """
    Only adults buy, send and receive; `adult_age` is the operator's, some countries ask for more.

    Raises:
        Rejected: adults_only.
    """
    minimum = max(adult_age, ADULT_AGES.get(user.country, 0))
    if now < _birthday(user.birth_on, minimum):
        raise Rejected("adults_only", minimum_age=minimum)


def age_on(birth_on: str, today: date) -> int:
    """Whole years of age on a day; born on 29 February, one is older on 1 March."""
    birth = date.fromisoformat(birth_on)
    had_birthday = (today.month, today.day) >= (birth.month, birth.day)
    return today.year - birth.year - (not had_birthday)


@lru_cache(16_384)
def _birthday(birth_on: str, age: int) -> int:
    """The instant at which one reaches an age, in UTC. Kept, because every gift asks."""
    birth = date.fromisoformat(birth_on)
    year = birth.year + age
    is_leap_day = (birth.month, birth.day) == (2, 29) and not isleap(year)
    day = date(year, 3, 1) if is_leap_day else birth.replace(year=year)
    return clock.from_datetime(datetime(day.year, day.month, day.day, tzinfo=UTC))


def new_token(entropy: Callable[[int], bytes]) -> str:
    """A secret of 32 random bytes, as text that is safe in an address."""
    return urlsafe_b64encode(entropy(32)).rstrip(b"=").decode()


def token_hash(token: str) -> bytes:
    """What is kept of a token. It is random, so one plain hash is enough."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _guard_birth(birth_on: str, now: int) -> None:
    today = clock.to_datetime(now).date()
    try:
        birth = date.fromisoformat(birth_on) if _DATE.fullmatch(birth_on) else None
    except ValueError:
        birth = None
    if birth is None or not -1 < age_on(birth_on, today) <= AGE_MAX:
        raise Rejected("birth_date_malformed", form="YYYY-MM-DD")
    if age_on(birth_on, today) < SIGN_UP_AGE_MIN:
        raise Rejected("too_young", minimum_age=SIGN_UP_AGE_MIN)
