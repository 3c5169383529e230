"""An installation with ana, who may gift, bob, who is live, and olga, who runs it."""

import pytest

from tests.web import worlds


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
