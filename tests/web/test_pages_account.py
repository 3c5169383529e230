"""The door without scripts: sign up, log in, log out, a forgotten password; and who may not in."""

import re

import msgspec
import pytest

from largesse.app import RECORDS_FILE
from largesse.clock import HOUR
from largesse.limits import RATES
from largesse.notify.mail import PrintedMailer
from largesse.web import auth
from tests.web.readers import reader
from tests.web.worlds import PASSWORD

NEW = {
    "login": "mira",
    "email": "mira@example.org",
    "password": PASSWORD,
    "birth_date": "1990-05-17",
    "country": "US",
}


async def signed_up(someone, **changes):
    page = await someone.get("/signup")
    return await someone.send(page, "/signup", **(NEW | changes))


async def who(someone):
    answer = await someone.client.get("/v1/me")
    return answer.json().get("login")


async def test_one_signs_up_is_logged_in_at_once_and_logs_out(world):
    async with reader(world) as someone:
        done = await signed_up(someone)
        assert (done.status, done.location) == (303, "/")
        cookie = done.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert await who(someone) == "mira"

        profile = await someone.get("/profile")
        assert "mira" in profile.words
        gone = await someone.send(profile, "/logout")
        assert gone.status == 303
        assert await who(someone) is None
        again = await someone.get("/profile")
        assert again.location == "/login?next=/profile"


async def test_signed_up_twice_by_a_double_click_is_one_account_and_no_error(world):
    async with reader(world) as someone:
        page = await someone.get("/signup")
        for _ in range(2):
            done = await someone.send(page, "/signup", **NEW)
            assert (done.status, done.location) == (303, "/")
            someone.client.cookies.delete("largesse_session")
        taken = await someone.send(page, "/signup", **(NEW | {"password": "another long one"}))
        assert "Somebody else has this login." in taken.words


async def test_the_country_that_the_browser_speaks_of_is_the_first_guess(world):
    async with reader(world) as someone:
        german = await someone.get("/signup", **{"accept-language": "de-DE,de;q=0.9"})
        nobody = await someone.get("/signup", **{"accept-language": "eo"})

    assert german.form("/signup").fields["country"] == "DE"
    assert nobody.form("/signup").fields["country"] == ""


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"login": "Not a login!"}, "login", "3 to 30"),
        ({"login": "ana"}, "login", "Somebody else has this login."),
        ({"email": "nowhere"}, "email", "not an e-mail address"),
        ({"email": "ana@example.org"}, "email", "There is an account"),
        ({"password": "short"}, "password", "at least 10 characters"),
        ({"password": "mira@example.org"}, "password", "begins with this password"),
        ({"birth_date": "17 May 1990"}, "birth_date", "not a birth date"),
        ({"birth_date": "2020-01-01"}, "birth_date", "You must be 13 or older"),
        ({"country": "XX"}, "country", "Choose the country"),
        ({"country": None}, "country", "Choose the country"),
        ({"birth_date": None, "login": None}, "login", "3 to 30"),
    ],
)
async def test_a_refused_field_says_so_itself_and_keeps_what_was_typed(
    world, changes, field, words
):
    async with reader(world) as someone:
        page = await signed_up(someone, **changes)

        assert page.status >= 400
        assert words in page.words
        told = re.search(rf'<(?:input|select)[^>]* id="{field}"[^>]*>', page.html)[0]
        assert 'aria-invalid="true"' in told
        assert f"{field}-error" in told
        kept = page.form("/signup").fields
        for name in ("login", "email"):
            assert kept[name] == (NEW | changes)[name] or changes.get(name, "") is None
        assert kept["password"] == ""
        assert PASSWORD not in page.html
        assert await who(someone) is None


async def test_one_logs_in_and_goes_on_to_where_one_was_going(world):
    await world.sign_up("mira")
    async with reader(world) as someone:
        asked = await someone.get("/wallet/history?kind=gift")
        assert asked.location == "/login?next=/wallet/history%3Fkind%3Dgift"
        page = await someone.get(asked.location)
        wrong = await someone.send(page, "/login", login="mira", password="not this one")
        assert wrong.status == 401
        assert "Login or password is wrong." in wrong.words
        assert wrong.form("/login").fields["login"] == "mira"

        done = await someone.send(wrong, "/login", login="MIRA", password=PASSWORD)
        assert (done.status, done.location) == (303, "/wallet/history?kind=gift")
        assert (await someone.get("/login?next=/settings")).location == "/settings"


@pytest.mark.parametrize(
    "next",
    [
        *("//elsewhere.example", "https://elsewhere.example/", "/\\elsewhere.example"),
        *("/\t/elsewhere.example", "javascript:alert(1)", "elsewhere.example", "\r\na: b"),
    ],
)
async def test_nobody_is_led_away_by_a_link_into_the_login(world, next):
    await world.sign_up("mira")
    async with reader(world) as someone:
        page = await someone.client.get("/login", params={"next": next})
        assert 'name="next" value=""' in page.text
        opened = await someone.get("/login")
        done = await someone.send(opened, "/login", login="mira", password=PASSWORD, next=next)
        assert (done.status, done.location) == (303, "/")


async def test_a_login_from_another_site_is_none(world):
    await world.sign_up("mira")
    async with reader(world) as someone, reader(world) as other:
        page = await someone.get("/login")
        foreign = (await other.get("/login")).form("/login").fields["csrf_token"]
        for token in (None, "", "guess", foreign):
            answer = await someone.send(
                page, "/login", login="mira", password=PASSWORD, csrf_token=token
            )
            assert answer.status == 403
            assert "nothing has happened yet" in answer.words
        assert await who(someone) is None


async def test_who_logs_in_as_somebody_else_is_no_longer_who_he_was(world):
    await world.sign_up("mira")
    async with reader(world, world.ana) as someone:
        before = await someone.get("/profile")
        page = await someone.get("/reset")
        token = page.form("/reset").fields["csrf_token"]
        done = await someone.post(
            "/login", {"login": "mira", "password": PASSWORD, "csrf_token": token}
        )
        assert done.status == 303
        assert await who(someone) == "mira"
        assert (await world.client.get("/v1/me", headers=world.ana.headers)).status_code == 401
        old = await someone.send(before, "/logout")
        assert old.status == 403
        assert await who(someone) == "mira"


async def test_too_many_attempts_are_told_when_to_come_back(world):
    async with reader(world) as someone:
        page = await someone.get("/login")
        for _ in range(11):
            answer = await someone.send(page, "/login", login="mira", password="not this one")
        assert answer.status == 429
        assert "Try again in" in answer.words
        assert "login_address" not in answer.words


async def test_a_mail_leads_to_a_new_password_once(world):
    await world.sign_up("mira")
    mails = []
    msgspec.structs.force_setattr(world.app, "mailer", PrintedMailer(mails.append))
    async with reader(world) as someone:
        for email in ("mira@example.org", "nobody@example.org"):
            page = await someone.get("/reset")
            sent = await someone.send(page, "/reset", email=email)
            assert sent.location == "/reset?sent=1"
        assert "Look into your mail" in (await someone.get(sent.location)).words
        [mail] = mails
        link = re.search(r"http\S+/reset/confirm\?token=\S+", mail)[0]
        path = link.removeprefix(str(world.client.base_url).rstrip("/"))

        page = await someone.get(path)
        short = await someone.send(page, "/reset/confirm", password="short")
        assert short.status == 422
        assert "at least 10 characters" in short.words
        done = await someone.send(short, "/reset/confirm", password="another long one")
        assert done.location == "/login?reset=1"
        entry = await someone.get(done.location)
        assert "Your new password is set." in entry.words
        used = await someone.send(page, "/reset/confirm", password="a third long one")
        assert used.status == 403
        assert "was used already" in used.words
        old = await someone.send(entry, "/login", login="mira", password=PASSWORD)
        assert old.status == 401
        new = await someone.send(entry, "/login", login="mira", password="another long one")
        assert new.status == 303


async def test_fields_say_what_they_are_for_so_that_a_password_keeper_can_fill_them(world):
    async with reader(world) as someone:
        pages = [await someone.get(path) for path in ("/signup", "/login", "/reset")]
    html = "".join(page.html for page in pages)

    for token in ("username", "email", "new-password", "current-password", "bday", "country"):
        assert f'autocomplete="{token}"' in html
    assert "onpaste" not in html


async def test_the_cookie_of_a_session_is_the_only_one_that_matters(world):
    async with reader(world) as someone:
        someone.client.cookies.set(auth.SESSION_COOKIE, "made-up")
        page = await someone.get("/profile")

    assert page.location == "/login?next=/profile"


@pytest.mark.parametrize(
    ("next", "location"), [("/漢", "/%E6%BC%A2"), ("/a b?c=%20", "/a%20b?c=%20")]
)
async def test_a_place_in_letters_that_no_header_can_hold_is_gone_to_all_the_same(
    world, next, location
):
    await world.sign_up("mira")
    async with reader(world) as someone:
        opened = await someone.get("/login")
        done = await someone.send(opened, "/login", login="mira", password=PASSWORD, next=next)
        assert (done.status, done.location) == (303, location)
        assert await who(someone) == "mira"


async def test_a_page_that_refuses_says_as_much_to_programs_as_an_answer_of_the_api(world):
    async with reader(world) as someone:
        wrong = await someone.post("/help", {})
        assert (wrong.status, wrong.headers["allow"]) == (405, "GET, OPTIONS")
        world.app.limiter.take("read", "127.0.0.1", world.clock.now())
        pages = [await someone.get("/help") for _ in range(RATES["read"].burst)]
    assert pages[-2].status == 200
    assert (pages[-1].status, pages[-1].headers["retry-after"]) == (429, "1")
    assert "require-trusted-types-for" in pages[-1].headers["content-security-policy"]


async def test_while_the_records_are_away_a_page_says_so_and_tells_nobody_that_he_is_logged_out(
    world,
):
    async with reader(world) as someone:
        await signed_up(someone)
        world.clock.advance(HOUR)  # Nobody is remembered so long.
        await world.app.db.close()  # It opens its file again, and finds this.
        (world.app.folder.path / RECORDS_FILE).write_bytes(b"no database" * 1_000)
        page = await someone.get("/wallet/history?cursor=x")
    assert (page.status, page.headers["retry-after"]) == (503, "1")
    assert "Nothing is lost, and nothing happens twice: try again in a moment." in page.words
    assert 'href="/wallet/history?cursor=x"' in page.html
    assert "idempotency" not in page.words
    assert 'href="/login"' not in page.html


async def test_while_the_ledger_is_away_a_page_says_so_as_one_says_it_to_people(world):
    async with reader(world) as someone:
        await signed_up(someone)
        await world.app.ledger.close()
        page = await someone.get("/")
    assert page.status == 503
    assert "Nothing is lost, and nothing happens twice: try again in a moment." in page.words
    assert "idempotency" not in page.words
