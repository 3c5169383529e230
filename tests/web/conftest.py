"""An installation with ana, who may gift, bob, who is live, and olga, who runs it."""

import pytest

pytest.register_assert_rewrite("tests.web.browser")

from tests.web import worlds  # noqa: E402 - After it, so that a failing visit shows what it saw.


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    return worlds.prepare(tmp_path_factory.mktemp("prepared") / "data")


@pytest.fixture
async def world(prepared, tmp_path):
    async with worlds.open_world(tmp_path, prepared=prepared) as opened:
        opened.ana = await opened.person("ana")
        opened.bob = await opened.person("bob", "creator")
        opened.olga = await opened.person("olga", "operator")
        opened.room_id = await opened.open_room(opened.bob)
        yield opened


@pytest.fixture
async def workshop(prepared, tmp_path):
    """An installation in which somebody builds pages, and so has the style guide."""
    async with worlds.open_world(tmp_path, prepared=prepared, development=True) as opened:
        opened.ana = await opened.person("ana", "creator", "operator")
        await opened.give_coins(opened.ana, 1_240)
        yield opened
