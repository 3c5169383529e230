"""The shop, for the tests of payments."""

import pytest

from tests import databases
from tests.payments import shop as shops


@pytest.fixture
async def shop(tmp_path, request):
    with databases.records("sqlite", tmp_path, request) as url:
        async with shops.open_shop(tmp_path, url) as opened:
            yield opened
