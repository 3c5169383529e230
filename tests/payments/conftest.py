"""The shop, for the tests of payments, recharge and the worker."""

import pytest

from tests.payments import shop as shops


@pytest.fixture(scope="session")
def empty_records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    shops.make_records(folder)
    return folder


@pytest.fixture
async def shop(empty_records, tmp_path):
    async with shops.open_shop(empty_records, tmp_path) as opened:
        yield opened
