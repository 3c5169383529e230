"""What every test may ask for: a clock that stands still, and chance that is not."""

from collections.abc import Callable
from hashlib import blake2b
from itertools import count

import pytest
from hypothesis import settings

from largesse.clock import ManualClock

# The machine may be busy, so a slow example is no fault; and a failure must come again.
settings.register_profile("ours", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ours")


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told."""
    return ManualClock()


@pytest.fixture
def entropy() -> Callable[[int], bytes]:
    """Bytes that look random, never repeat in a test, and are the same in every run."""
    numbers = count()

    def next_bytes(size: int) -> bytes:
        seed = next(numbers).to_bytes(8, "big")
        return blake2b(seed, digest_size=min(size, 64)).digest().ljust(size, b"\x00")

    return next_bytes
