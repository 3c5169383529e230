"""People log in and out, and nobody else is them."""

import asyncio
import statistics
import threading
import time

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.profiles import RFC_9106_LOW_MEMORY

from largesse import clock as clocks
from largesse.errors import Rejected
from largesse.identity import accounts, passwords, sessions
from largesse.identity.sessions import Sessions
from largesse.records import sessions as records
from largesse.records import tables, users

PASSWORD = "a long enough secret"
HOUR = 3_600


@pytest.fixture
async def ana(db, clock, entropy) -> users.User:
    return await accounts.sign_up(
        db,
        login="ana",
        email="ana@example.com",
        password=PASSWORD,
        birth_on="1990-05-01",
        country="US",
        now=clock.now(),
        entropy=entropy,
    )


async def test_ana_logs_in_and_is_known_until_she_logs_out(db, ana, clock, entropy):
    house = Sessions(db, seconds=HOUR)
    token, user = await house.open("Ana", PASSWORD, clock.now(), entropy)
    assert user == ana
    assert house.cached(token, clock.now()) is None
    assert await house.authenticate(token, clock.now()) == ana
    assert house.cached(token, clock.now()) == ana
    changed: list[str] = []
    db.on_user_change.append(changed.append)
    await house.close(token)
    await house.close(token)
    assert changed == [ana.id], "whatever she watches is to be closed"
    assert house.cached(token, clock.now()) is None
    with pytest.raises(Rejected, match="session_expired"):
        await house.authenticate(token, clock.now())


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("ana", "a wrong long secret"),
        ("bo", PASSWORD),
        ("ana", ""),
        ("ana", "x" * 100_000),
        ("ana", "half a pair \ud800"),
        ("", ""),
    ],
)
async def test_wrong_is_wrong_and_says_no_more(db, ana, clock, entropy, login, password):
    with pytest.raises(Rejected) as refused:
        await Sessions(db, seconds=HOUR).open(login, password, clock.now(), entropy)
    assert (refused.value.code, refused.value.facts) == ("login_or_password_wrong", {})


async def test_letters_typed_another_way_are_the_same_password(db, clock, entropy):
    """An accent as one character or as two, a full-width letter or a plain one."""
    await accounts.sign_up(
        db,
        login="zoe",
        email="zoe@example.com",
        password="Zo\u00eb is \uff21 secret",
        birth_on="1990-05-01",
        country="US",
        now=clock.now(),
        entropy=entropy,
    )
    await Sessions(db, seconds=HOUR).open("zoe", "Zoe\u0308 is A secret", clock.now(), entropy)


async def test_a_session_of_yesterday_is_refused(db, ana, clock, entropy):
    house = Sessions(db, seconds=HOUR)
    token, _ = await house.open("ana", PASSWORD, clock.now(), entropy)
    clock.advance(HOUR * clocks.SECOND - 1)
    assert await house.authenticate(token, clock.now()) == ana
    assert house.cached(token, clock.now()) == ana
    clock.advance(1)
    assert house.cached(token, clock.now()) is None
    with pytest.raises(Rejected, match="session_expired"):
        await house.authenticate(token, clock.now())


@pytest.mark.parametrize(
    ("token", "code"), [("", "session_required"), ("made up", "session_expired")]
)
async def test_without_a_session_nobody_is_anybody(db, ana, clock, token, code):
    with pytest.raises(Rejected, match=code):
        await Sessions(db, seconds=HOUR).authenticate(token, clock.now())


async def test_what_another_process_closes_is_closed_here_within_half_a_minute(
    db, ana, clock, entropy
):
    house = Sessions(db, seconds=HOUR)
    token, _ = await house.open("ana", PASSWORD, clock.now(), entropy)
    await house.authenticate(token, clock.now())
    async with db.begin() as tx:
        await tx.execute(tables.sessions.delete())
    clock.advance(30 * clocks.SECOND - 1)
    assert house.cached(token, clock.now()) == ana
    clock.advance(1)
    with pytest.raises(Rejected, match="session_expired"):
        await house.authenticate(token, clock.now())


async def test_a_session_read_before_it_was_closed_is_not_remembered_after(db, ana, clock, entropy):
    """The reader has its row and waits for the loop, while the password is changed."""
    house = Sessions(db, seconds=HOUR)
    token, _ = await house.open("ana", PASSWORD, clock.now(), entropy)
    reading = asyncio.create_task(house.authenticate(token, clock.now()))
    while not reading.done():
        db.user_changed(ana.id)
        await asyncio.sleep(0)
    await reading
    assert house.cached(token, clock.now()) is None


async def test_a_login_that_began_before_a_password_change_does_not_outlive_it(
    db, ana, clock, entropy
):
    """The old password was right when it was checked, and is not when the session would open."""
    _, old_hash = await users.find_credentials(db, "ana")
    await accounts.change_password(db, user_id=ana.id, current=PASSWORD, new="another long secret")
    opened = await records.insert_session(
        db, b"t" * 32, user_id=ana.id, password_hash=old_hash, created_at=1, expires_at=2
    )
    assert not opened
    assert await records.find_sessions(db, [b"t" * 32]) == {}


async def test_a_login_is_refused_when_the_password_changes_while_it_is_checked(
    db, ana, clock, entropy
):
    """The threads for passwords are held up, so that the check comes after the change."""
    go_on = threading.Event()
    for _ in range(passwords.AT_ONCE):
        passwords._threads.submit(go_on.wait)
    login = asyncio.create_task(
        Sessions(db, seconds=HOUR).open("ana", PASSWORD, clock.now(), entropy)
    )
    while not passwords._waiting:
        await users.find_user(db, ana.id)
    async with db.begin() as tx:
        await users.replace_password_hash(tx, ana.id, old=None, new="another hash")
    go_on.set()
    with pytest.raises(Rejected, match="login_or_password_wrong"):
        await login


async def test_close_all_closes_all_of_one_person_only(db, ana, clock, entropy):
    bo = await accounts.sign_up(
        db,
        login="bob",
        email="bo@example.com",
        password=PASSWORD,
        birth_on="1990-05-01",
        country="US",
        now=clock.now(),
        entropy=entropy,
    )
    house = Sessions(db, seconds=HOUR)
    tokens = [(await house.open("ana", PASSWORD, clock.now(), entropy))[0] for _ in range(3)]
    of_bo, _ = await house.open("bob", PASSWORD, clock.now(), entropy)
    for token in (*tokens, of_bo):
        await house.authenticate(token, clock.now())
    await house.close_all(ana.id)
    assert [house.cached(token, clock.now()) for token in tokens] == [None] * 3
    assert house.cached(of_bo, clock.now()) == bo


async def test_a_disabled_account_neither_logs_in_nor_stays(db, ana, clock, entropy):
    house = Sessions(db, seconds=HOUR)
    token, _ = await house.open("ana", PASSWORD, clock.now(), entropy)
    async with db.begin() as tx:
        await tx.execute(tables.users.update().values(disabled_at=clock.now()))
    with pytest.raises(Rejected, match="session_expired"):
        await house.authenticate(token, clock.now())
    with pytest.raises(Rejected, match="account_disabled"):
        await house.open("ana", PASSWORD, clock.now(), entropy)
    with pytest.raises(Rejected, match="login_or_password_wrong"):
        await house.open("ana", "a wrong long secret", clock.now(), entropy)


async def test_the_oldest_of_too_many_sessions_is_closed(db, ana, clock, entropy, monkeypatch):
    monkeypatch.setattr(records, "SESSIONS_PER_USER_MAX", 3)
    house = Sessions(db, seconds=HOUR)
    tokens = []
    for _ in range(4):
        clock.advance(1)
        tokens.append((await house.open("ana", PASSWORD, clock.now(), entropy))[0])
    with pytest.raises(Rejected, match="session_expired"):
        await house.authenticate(tokens[0], clock.now())
    for token in tokens[1:]:
        assert await house.authenticate(token, clock.now()) == ana


async def test_no_more_sessions_are_remembered_than_the_limit(db, ana, clock, entropy, monkeypatch):
    monkeypatch.setattr(sessions, "SESSIONS_CACHED_MAX", 3)
    house = Sessions(db, seconds=HOUR)
    tokens = [(await house.open("ana", PASSWORD, clock.now(), entropy))[0] for _ in range(5)]
    for token in tokens:
        await house.authenticate(token, clock.now())
    remembered = [house.cached(token, clock.now()) is not None for token in tokens]
    assert remembered == [False, False, True, True, True]


async def test_an_older_hash_is_made_anew_at_the_next_login(db, ana, clock, entropy, monkeypatch):
    _, old_hash = await users.find_credentials(db, "ana")
    stronger = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", stronger)
    house = Sessions(db, seconds=HOUR)
    await house.open("ana", PASSWORD, clock.now(), entropy)
    _, new_hash = await users.find_credentials(db, "ana")
    assert new_hash != old_hash
    assert not passwords.needs_rehash(new_hash)
    await house.open("ana", PASSWORD, clock.now(), entropy)
    assert (await users.find_credentials(db, "ana"))[1] == new_hash


async def test_a_hash_is_made_as_rfc_9106_advises(real_passwords):
    made = await passwords.hash_password(PASSWORD)
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert RFC_9106_LOW_MEMORY.memory_cost == 65_536
    assert not passwords.needs_rehash(made)
    assert not passwords.needs_rehash(passwords.NOBODY)
    assert await passwords.is_right(made, PASSWORD)
    assert not await passwords.is_right(made, PASSWORD + " ")


async def test_a_login_that_nobody_has_takes_as_long_as_one_that_somebody_has(
    db, ana, clock, entropy, real_passwords
):
    """In work of the processor, so that a busy machine does not matter; without it, a hundredth."""
    house = Sessions(db, seconds=HOUR)
    somebody = await passwords.hash_password(PASSWORD)
    async with db.begin() as tx:
        await tx.execute(tables.users.update().values(password_hash=somebody))
    took: dict[str, list[float]] = {"ana": [], "nobody": []}
    for _ in range(3):
        for login, times in took.items():
            start = time.process_time()
            with pytest.raises(Rejected, match="login_or_password_wrong"):
                await house.open(login, "a wrong long secret", clock.now(), entropy)
            times.append(time.process_time() - start)
    assert statistics.median(took["nobody"]) > statistics.median(took["ana"]) / 2


async def test_too_many_passwords_at_once_are_refused_and_then_it_goes_on(monkeypatch):
    monkeypatch.setattr(passwords, "WAITING_MAX", 1)
    answers = await asyncio.gather(
        *(passwords.hash_password(PASSWORD) for _ in range(10)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, Rejected)]
    assert [refusal.code for refusal in refused] == ["passwords_busy"] * 7
    assert (await passwords.hash_password(PASSWORD)).startswith("$argon2id$")


async def test_records_of_a_person_take_their_sessions_with_them(db, ana, clock, entropy):
    token, _ = await Sessions(db, seconds=HOUR).open("ana", PASSWORD, clock.now(), entropy)
    async with db.begin() as tx:
        await tx.execute(tables.users.delete())
        left = await tx.execute(sa.select(sa.func.count()).select_from(tables.sessions))
        assert left.scalar_one() == 0
    assert token


async def test_a_full_room_after_a_start_is_looked_up_together(db, ana, clock, entropy):
    """Everybody is known, each as who they are, and it costs a few statements, not one for each."""
    house = Sessions(db, seconds=HOUR)
    people = [f"token {n}" for n in range(records.FIND_MAX + 50)]
    async with db.begin() as tx:
        for token in people:
            row = {"user_id": ana.id, "created_at": clock.now(), "expires_at": clock.now() + 10**12}
            hashed = accounts.token_hash(token)
            await tx.execute(tables.sessions.insert().values(token_hash=hashed, **row))
    asked = []
    sa.event.listen(
        db._engine.sync_engine, "before_cursor_execute", lambda *args: asked.append(args[2])
    )

    known = await asyncio.gather(
        *(house.authenticate(token, clock.now()) for token in people),
        house.authenticate("nobody's", clock.now()),
        return_exceptions=True,
    )

    assert {user.id for user in known[:-1]} == {ana.id}
    assert isinstance(known[-1], Rejected)
    assert len([statement for statement in asked if "FROM sessions" in statement]) <= 3
