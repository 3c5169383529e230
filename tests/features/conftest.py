"""Records for the features: what they promise, they promise on a file and on a PostgreSQL."""

import pytest

from tests import databases
from tests.payments import shop as shops


@pytest.fixture(params=databases.ENGINES)
def records_url(request, tmp_path):
    with databases.records(request.param, tmp_path, request) as url:
        yield url


@pytest.fixture
async def shop(records_url, tmp_path):
    async with shops.open_shop(tmp_path, records_url) as opened:
        yield opened
