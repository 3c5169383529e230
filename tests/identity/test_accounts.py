"""People sign up, grow older, change and forget their passwords."""

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from largesse import clock as clocks
from largesse.errors import Rejected
from largesse.identity import accounts
from largesse.identity.countries import COUNTRIES
from largesse.identity.sessions import Sessions
from largesse.notify.mail import PrintedMailer
from largesse.records import sessions as records
from largesse.records import users
from largesse.records.users import User

ANA = {
    "login": "ana",
    "email": "ana@example.com",
    "password": "a long enough secret",
    "birth_on": "1990-05-01",
    "country": "US",
}


async def sign_up(db, clock, entropy, **changes) -> User:
    return await accounts.sign_up(db, **(ANA | changes), now=clock.now(), entropy=entropy)


async def test_ana_signs_up_and_is_a_viewer(db, clock, entropy):
    user = await sign_up(db, clock, entropy)
    assert user.roles == ("viewer",)
    assert user.created_at == clock.now()
    assert await users.find_user(db, user.id) == user
    _, password_hash = await users.find_credentials(db, "ana")
    assert password_hash.startswith("$argon2id$")
    assert ANA["password"] not in password_hash


async def test_letters_of_any_case_are_one_login_and_one_address(db, clock, entropy):
    user = await sign_up(db, clock, entropy, login="Ana", email=" Ana@Example.COM ", country="us")
    assert (user.login, user.email, user.country) == ("ana", "ana@example.com", "US")
    with pytest.raises(Rejected, match="login_taken"):
        await sign_up(db, clock, entropy, login="ANA", email="other@example.com")
    with pytest.raises(Rejected, match="email_taken"):
        await sign_up(db, clock, entropy, login="other", email="ANA@example.com")


async def test_of_ten_sign_ups_with_one_login_at_once_one_wins(db, clock, entropy):
    answers = await asyncio.gather(
        *(sign_up(db, clock, entropy, email=f"ana{n}@example.com") for n in range(10)),
        return_exceptions=True,
    )
    won = [answer for answer in answers if isinstance(answer, User)]
    lost = [answer for answer in answers if isinstance(answer, Rejected)]
    assert len(won) == 1
    assert {refusal.code for refusal in lost} == {"login_taken"}
    assert len(lost) == 9


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"login": "an"}, "login_malformed"),
        ({"login": "a" * 31}, "login_malformed"),
        ({"login": "ana maria"}, "login_malformed"),
        ({"login": "ana\n"}, "login_malformed"),
        ({"login": "änä"}, "login_malformed"),
        ({"email": "ana"}, "email_malformed"),
        ({"email": "ana@example"}, "email_malformed"),
        ({"email": "ana@example.com\nBcc: bo@example.com"}, "email_malformed"),
        ({"email": "a@b@example.com"}, "email_malformed"),
        ({"email": "ana@" + "a" * 250 + ".com"}, "email_malformed"),
        ({"password": "short pas"}, "password_too_short"),
        ({"password": "x" * 201}, "password_too_long"),
        ({"password": "half a pair \ud800"}, "password_malformed"),
        ({"login": "ana-in-wonderland", "password": "Ana-in-wonderland"}, "password_too_obvious"),
        ({"password": "ana@example.com"}, "password_too_obvious"),
        ({"birth_on": "1990-02-30"}, "birth_date_malformed"),
        ({"birth_on": "1990-5-1"}, "birth_date_malformed"),
        ({"birth_on": "19900501"}, "birth_date_malformed"),
        ({"birth_on": "1990-W18-2"}, "birth_date_malformed"),
        ({"birth_on": "2999-01-01"}, "birth_date_malformed"),
        ({"birth_on": "1880-01-01"}, "birth_date_malformed"),
        ({"birth_on": "2027-01-01"}, "too_young"),
        ({"country": "XX"}, "country_unknown"),
        ({"country": "USA"}, "country_unknown"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(db, clock, entropy, changes, code):
    with pytest.raises(Rejected) as refused:
        await sign_up(db, clock, entropy, **changes)
    assert refused.value.code == code
    assert await users.list_users(db, before=None, limit=10) == []


def test_there_are_as_many_countries_as_iso_3166_has():
    assert len(COUNTRIES) == 249


# The clock of the tests stands at 2027-01-15.
@pytest.mark.parametrize(
    ("birth_on", "is_let_in"),
    [("2014-01-15", True), ("2014-01-16", False), ("2027-01-15", False)],
)
async def test_the_thirteenth_birthday_is_the_first_day(db, clock, entropy, birth_on, is_let_in):
    if is_let_in:
        assert (await sign_up(db, clock, entropy, birth_on=birth_on)).birth_on == birth_on
        return
    with pytest.raises(Rejected) as refused:
        await sign_up(db, clock, entropy, birth_on=birth_on)
    assert (refused.value.code, refused.value.facts) == ("too_young", {"minimum_age": 13})


@pytest.mark.parametrize(
    ("birth_on", "today", "age"),
    [
        ("2000-01-02", "2018-01-01", 17),
        ("2000-01-02", "2018-01-02", 18),
        ("2000-12-31", "2018-12-30", 17),
        ("2004-02-29", "2022-02-28", 17),
        ("2004-02-29", "2022-03-01", 18),
        ("2004-02-29", "2024-02-29", 20),
    ],
)
def test_the_same_age_by_days_and_by_instants(birth_on, today, age):
    day = date.fromisoformat(today)
    assert accounts.age_on(birth_on, day) == age
    midnight = clocks.from_datetime(datetime(day.year, day.month, day.day, tzinfo=UTC))
    person = User("0" * 32, "ana", "ana@example.com", birth_on, "US", ("viewer",), 1)
    accounts.require_adult(person, midnight, age)
    with pytest.raises(Rejected, match="adults_only"):
        accounts.require_adult(person, midnight, age + 1)


@pytest.mark.parametrize(
    ("country", "adult_age", "minimum"), [("US", 18, 18), ("KR", 18, 19), ("KR", 21, 21)]
)
def test_an_adult_is_who_the_operator_and_the_country_say(clock, country, adult_age, minimum):
    person = User("0" * 32, "ana", "ana@example.com", "2009-01-16", country, ("viewer",), 1)
    with pytest.raises(Rejected) as refused:
        accounts.require_adult(person, clock.now(), adult_age)
    assert refused.value.facts == {"minimum_age": minimum}


async def test_somebody_of_eighteen_is_an_adult_but_not_in_korea(clock):
    american = User("0" * 32, "ana", "ana@example.com", "2008-06-01", "US", ("viewer",), 1)
    korean = User("1" * 32, "bo", "bo@example.com", "2008-06-01", "KR", ("viewer",), 1)
    accounts.require_adult(american, clock.now(), 18)
    with pytest.raises(Rejected, match="adults_only"):
        accounts.require_adult(korean, clock.now(), 18)


async def test_a_new_password_closes_the_other_sessions(db, clock, entropy):
    user = await sign_up(db, clock, entropy)
    sessions = Sessions(db, seconds=3_600)
    here, _ = await sessions.open("ana", ANA["password"], clock.now(), entropy)
    there, _ = await sessions.open("ana", ANA["password"], clock.now(), entropy)
    for token in (here, there):
        await sessions.authenticate(token, clock.now())
    await accounts.change_password(
        db, user_id=user.id, current=ANA["password"], new="another long secret", keep_token=here
    )
    assert await sessions.authenticate(here, clock.now()) == user
    assert sessions.cached(there, clock.now()) is None
    with pytest.raises(Rejected, match="session_expired"):
        await sessions.authenticate(there, clock.now())
    with pytest.raises(Rejected, match="login_or_password_wrong"):
        await sessions.open("ana", ANA["password"], clock.now(), entropy)
    await sessions.open("ana", "another long secret", clock.now(), entropy)


async def test_without_the_old_password_there_is_no_new_one(db, clock, entropy):
    user = await sign_up(db, clock, entropy)
    with pytest.raises(Rejected, match="password_wrong"):
        await accounts.change_password(
            db, user_id=user.id, current="a wrong old secret", new="another long secret"
        )
    with pytest.raises(Rejected, match="password_too_short"):
        await accounts.change_password(db, user_id=user.id, current=ANA["password"], new="short")
    await Sessions(db, seconds=9).open("ana", ANA["password"], clock.now(), entropy)


async def test_of_two_password_changes_at_once_one_wins(db, clock, entropy):
    user = await sign_up(db, clock, entropy)
    answers = await asyncio.gather(
        *(
            accounts.change_password(
                db, user_id=user.id, current=ANA["password"], new=f"another secret {n}"
            )
            for n in range(2)
        ),
        return_exceptions=True,
    )
    assert sorted(str(answer) for answer in answers) == ["None", "password_wrong"]


async def ask_for_reset(db, clock, entropy, email=ANA["email"]) -> str | None:
    """The token in the mail, if one was sent."""
    mails: list[str] = []
    await accounts.request_reset(
        db,
        PrintedMailer(mails.append),
        email=email,
        now=clock.now(),
        entropy=entropy,
        public_url="https://gifts.example",
    )
    if not mails:
        return None
    link = next(line.strip() for line in mails[0].splitlines() if line.startswith("    "))
    address, _, token = link.partition("?token=")
    assert address == "https://gifts.example/reset/confirm"
    return token


async def test_a_reset_works_once_and_closes_every_session(db, clock, entropy):
    user = await sign_up(db, clock, entropy)
    sessions = Sessions(db, seconds=3_600)
    session, _ = await sessions.open("ana", ANA["password"], clock.now(), entropy)
    await sessions.authenticate(session, clock.now())
    token = await ask_for_reset(db, clock, entropy)
    other = await ask_for_reset(db, clock, entropy, " ANA@example.com")
    await accounts.confirm_reset(db, token=token, password="another long secret", now=clock.now())
    assert sessions.cached(session, clock.now()) is None
    with pytest.raises(Rejected, match="session_expired"):
        await sessions.authenticate(session, clock.now())
    for used in (token, other):
        with pytest.raises(Rejected, match="reset_token_invalid"):
            await accounts.confirm_reset(
                db, token=used, password="a third long secret", now=clock.now()
            )
    _, found = await sessions.open("ana", "another long secret", clock.now(), entropy)
    assert found == user


async def test_one_reset_used_ten_times_at_once_works_once(db, clock, entropy):
    await sign_up(db, clock, entropy)
    token = await ask_for_reset(db, clock, entropy)
    answers = await asyncio.gather(
        *(
            accounts.confirm_reset(db, token=token, password=f"another secret {n}", now=clock.now())
            for n in range(10)
        ),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if answer is not None]
    assert len(refused) == 9
    assert {refusal.code for refusal in refused} == {"reset_token_invalid"}


async def test_a_reset_is_good_for_an_hour(db, clock, entropy):
    await sign_up(db, clock, entropy)
    token = await ask_for_reset(db, clock, entropy)
    clock.advance(clocks.HOUR)
    with pytest.raises(Rejected, match="reset_token_invalid"):
        await accounts.confirm_reset(
            db, token=token, password="another long secret", now=clock.now()
        )


async def test_a_refused_password_does_not_cost_the_token(db, clock, entropy):
    await sign_up(db, clock, entropy)
    token = await ask_for_reset(db, clock, entropy)
    for password in ("short", ANA["email"]):
        with pytest.raises(Rejected, match="password_too_"):
            await accounts.confirm_reset(db, token=token, password=password, now=clock.now())
    await accounts.confirm_reset(db, token=token, password="another long secret", now=clock.now())


async def test_nobody_learns_whether_an_address_is_known(db, clock, entropy):
    await sign_up(db, clock, entropy)
    assert await ask_for_reset(db, clock, entropy, "nobody@example.com") is None
    assert await ask_for_reset(db, clock, entropy, "no address") is None


async def test_nobodys_mailbox_is_flooded(db, clock, entropy):
    await sign_up(db, clock, entropy)
    tokens = [await ask_for_reset(db, clock, entropy) for _ in range(8)]
    assert [token is not None for token in tokens] == [True] * 5 + [False] * 3
    clock.advance(clocks.HOUR)
    assert await ask_for_reset(db, clock, entropy) is not None


async def test_a_token_is_kept_only_as_its_hash(db, url_of_db, clock, entropy):
    await sign_up(db, clock, entropy)
    token = await ask_for_reset(db, clock, entropy)
    session, _ = await Sessions(db, seconds=9).open("ana", ANA["password"], clock.now(), entropy)
    await db.close()
    content = await asyncio.to_thread(Path(url_of_db.removeprefix("sqlite:///")).read_bytes)
    assert accounts.token_hash(token) in content
    assert token.encode() not in content
    assert accounts.token_hash(session) in content
    assert session.encode() not in content


async def test_ana_becomes_a_creator_and_is_one_at_once(db, clock, entropy):
    user = await sign_up(db, clock, entropy)
    sessions = Sessions(db, seconds=3_600)
    token, _ = await sessions.open("ana", ANA["password"], clock.now(), entropy)
    await sessions.authenticate(token, clock.now())
    assert (await accounts.add_role(db, user_id=user.id, role="creator")).roles == (
        "viewer",
        "creator",
    )
    await accounts.add_role(db, user_id=user.id, role="creator")
    assert (await sessions.authenticate(token, clock.now())).roles == ("viewer", "creator")
    with pytest.raises(Rejected, match="role_unknown"):
        await accounts.add_role(db, user_id=user.id, role="emperor")
    with pytest.raises(Rejected, match="user_not_found"):
        await accounts.add_role(db, user_id="f" * 32, role="creator")


async def test_what_has_expired_is_swept_away(db, clock, entropy):
    await sign_up(db, clock, entropy)
    await ask_for_reset(db, clock, entropy)
    sessions = Sessions(db, seconds=7_200)
    token, _ = await sessions.open("ana", ANA["password"], clock.now(), entropy)
    clock.advance(clocks.HOUR)
    assert await records.delete_expired(db, now=clock.now()) == 1
    await sessions.authenticate(token, clock.now())
    clock.advance(clocks.HOUR)
    assert await records.delete_expired(db, now=clock.now()) == 1


async def test_ana_chooses_what_others_see(db, clock, entropy):
    user = await sign_up(db, clock, entropy)
    named = await accounts.change_nickname(db, user_id=user.id, nickname="  Ana 🎵 ")
    assert (named.nickname, named.name) == ("Ana 🎵", "Ana 🎵")
    unnamed = await accounts.change_nickname(db, user_id=user.id, nickname="   ")
    assert (unnamed.nickname, unnamed.name) == ("", "ana")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("two\nlines", "two lines"),
        ("a\u202eb", "ab"),
        ("bell \x07", "bell"),
        (
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        ),
        ("z" + "\u0317" * 40, "z" + "\u0317" * 4),
    ],
)
async def test_a_nickname_is_kept_as_one_line_that_people_can_read(
    db, clock, entropy, written, kept
):
    user = await sign_up(db, clock, entropy)
    named = await accounts.change_nickname(db, user_id=user.id, nickname=written)
    assert named.nickname == kept


@pytest.mark.parametrize("nickname", ["x" * 51, "\u3164"])
async def test_a_nickname_that_is_too_long_or_shows_nothing_is_refused(
    db, clock, entropy, nickname
):
    user = await sign_up(db, clock, entropy)
    with pytest.raises(Rejected, match="nickname_invalid"):
        await accounts.change_nickname(db, user_id=user.id, nickname=nickname)
