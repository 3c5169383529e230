"""What every test may ask for: a clock that stands still, and chance that is not."""

import os
import subprocess
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from largesse.clock import ManualClock
from tests import postgres as postgres_servers
from tests.postgres import Server

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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL for all tests; whoever stops or changes a server makes one of his own."""
    with postgres_servers.server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """Where an empty database of this test's own is."""
    name = postgres_servers.create_database(postgres)
    yield postgres.url(name)
    postgres_servers.drop_database(postgres, name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for sixteen megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(file: Path) -> None:
    """Write until the disk takes no more."""
    with file.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"\0" * 65_536)
        except OSError:
            return
