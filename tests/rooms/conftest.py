"""A stage that is open, with bo live on it."""

import pytest

from tests.rooms.stage import open_stage


@pytest.fixture
async def stage(tmp_path):
    async with open_stage(tmp_path) as opened:
        yield opened
