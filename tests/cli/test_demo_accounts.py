"""The people of the demo as others see them."""

from pathlib import Path

from largesse import text
from largesse.app import App, close_app, open_app
from largesse.books.chart import Environment
from largesse.cli import demo_accounts
from largesse.records import users
from largesse.records.users import User
from largesse.settings import Settings


async def person(app: App, login: str) -> User:
    found = await users.find_by_login(app.db, login)
    assert found is not None
    return found


def test_everybody_in_the_audience_has_a_name_of_his_own_that_can_be_shown() -> None:
    names = [*demo_accounts.VIEWERS, *demo_accounts.CREATORS]
    assert len(names) == len(set(names)) == 46
    assert all(text.nickname(name) == name for name in names)
    assert not all(name.isascii() for name in names)


async def test_the_audience_has_names_also_where_an_older_demo_gave_none(tmp_path: Path) -> None:
    app = await open_app(Settings(data=str(tmp_path / "data")), create=Environment.TEST)
    try:
        await demo_accounts.prepare(app)
        first, last = await person(app, "audience-01"), await person(app, "on-air-6")
        assert (first.name, last.name) == (demo_accounts.VIEWERS[0], demo_accounts.CREATORS[5])
        assert (await person(app, "viewer")).name == "viewer"

        await users.set_nickname(app.db, first.id, "")
        await users.set_nickname(app.db, last.id, "Chosen since")
        await demo_accounts.prepare(app)
        assert (await person(app, "audience-01")).name == demo_accounts.VIEWERS[0]
        assert (await person(app, "on-air-6")).name == "Chosen since"
    finally:
        await close_app(app)
