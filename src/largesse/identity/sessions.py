"""Sessions: who is calling, by a token that only the caller has."""

import asyncio
from collections.abc import Callable

from largesse.clock import SECOND
from largesse.errors import Rejected
from largesse.identity import passwords
from largesse.identity.accounts import new_token, token_hash
from largesse.records import sessions as records
from largesse.records import users
from largesse.records.database import Database
from largesse.records.sessions import SESSION_CACHE_SECONDS, SESSIONS_CACHED_MAX
from largesse.records.users import User


class Sessions:
    """
    The sessions of one installation, those in use remembered for half a minute.

    What this process changes about a person it forgets at once; what another process changes, it
    sees within `SESSION_CACHE_SECONDS`.
    """

    def __init__(self, db: Database, *, seconds: int) -> None:
        """`seconds` is how long a session lasts."""
        assert seconds > 0
        self._db = db
        self._lifetime = seconds * SECOND
        self._known: dict[str, tuple[User, int]] = {}
        self._changes = 0
        self._wanted: dict[bytes, asyncio.Future[tuple[User, int] | None]] = {}
        self._look_ups: asyncio.Task[None] | None = None
        db.on_user_change.append(self._forget)

    async def open(
        self, login: str, password: str, now: int, entropy: Callable[[int], bytes]
    ) -> tuple[str, User]:
        """
        Log in: a new token, which is never shown again, and whose it is.

        An unknown login costs the same time and gets the same answer as a wrong password. A hash
        made with older parameters is made anew.

        Raises:
            Rejected: login_or_password_wrong, account_disabled, passwords_busy.
        """
        found = await users.find_credentials(self._db, login.lower())
        user, password_hash = found or (None, passwords.NOBODY)
        is_right = await passwords.is_right(password_hash, password)
        if user is None or not is_right:
            raise Rejected("login_or_password_wrong")
        if user.disabled_at is not None:
            raise Rejected("account_disabled")

        if passwords.needs_rehash(password_hash):
            password_hash = await self._rehash(user, password_hash, password)
        token = new_token(entropy)
        opened = await records.insert_session(
            self._db,
            token_hash(token),
            user_id=user.id,
            password_hash=password_hash,
            created_at=now,
            expires_at=now + self._lifetime,
        )
        if not opened:
            raise Rejected("login_or_password_wrong")  # Changed while we looked.
        return token, user

    def cached(self, token: str, now: int) -> User | None:
        """Whose token this is, if it is remembered: no I/O, for every gift."""
        known = self._known.get(token)
        if known is None or now >= known[1]:
            return None
        return known[0]

    async def authenticate(self, token: str, now: int) -> User:
        """
        Whose token this is.

        Raises:
            Rejected: session_required (no token), session_expired (expired, closed or unknown).
        """
        if not token:
            raise Rejected("session_required")
        user = self.cached(token, now)
        if user is not None:
            return user
        changes = self._changes
        found = await self._find(token_hash(token))
        if found is None or now >= found[1]:
            raise Rejected("session_expired")
        user, expires_at = found
        # What was read before a change must not be remembered after it.
        if changes == self._changes:
            self._remember(token, user, min(expires_at, now + SESSION_CACHE_SECONDS * SECOND))
        return user

    async def _find(self, hashed: bytes) -> tuple[User, int] | None:
        """
        Look a session up together with all that are asked for meanwhile.

        One statement costs the serving core milliseconds, whatever it asks for; after a start every
        viewer of a full room needs one at once.
        """
        waiting = self._wanted.get(hashed)
        if waiting is None:
            waiting = self._wanted[hashed] = asyncio.get_running_loop().create_future()
            if self._look_ups is None:
                self._look_ups = asyncio.create_task(self._look_up())
        return await asyncio.shield(waiting)

    async def _look_up(self) -> None:
        try:
            while self._wanted:
                some = list(self._wanted)[: records.FIND_MAX]
                waiting = {hashed: self._wanted.pop(hashed) for hashed in some}
                try:
                    found = await records.find_sessions(self._db, some)
                except Exception as error:
                    for future in waiting.values():
                        future.set_exception(error)
                        future.exception()  # Somebody who went away may leave it unread.
                else:
                    for hashed, future in waiting.items():
                        future.set_result(found.get(hashed))
        finally:
            self._look_ups = None

    async def close(self, token: str) -> None:
        """Log out, which closes what the person watches too; an unknown token is no harm."""
        user_id = await records.delete_session(self._db, token_hash(token))
        self._changes += 1
        self._known.pop(token, None)
        if user_id is not None:
            self._db.user_changed(user_id)

    async def close_all(self, user_id: str, *, keep_token: str | None = None) -> None:
        """Close every session of a person, but the one with `keep_token` where it is given."""
        keep = token_hash(keep_token) if keep_token else None
        async with self._db.begin() as tx:
            await records.delete_sessions_of(tx, user_id, but=keep)
        self._db.user_changed(user_id)

    async def _rehash(self, user: User, old: str, password: str) -> str:
        new = await passwords.hash_password(password)
        async with self._db.begin() as tx:
            changed = await users.replace_password_hash(tx, user.id, old=old, new=new)
        return new if changed else old

    def _remember(self, token: str, user: User, until: int) -> None:
        self._known.pop(token, None)
        if len(self._known) >= SESSIONS_CACHED_MAX:
            del self._known[next(iter(self._known))]
        self._known[token] = (user, until)

    def _forget(self, user_id: str) -> None:
        self._changes += 1
        for token in [token for token, (user, _) in self._known.items() if user.id == user_id]:
            del self._known[token]
