"""Migrated, empty records for a test: a copy of a file, or of a PostgreSQL's template, made once."""

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from largesse.records.database import migrate, sqlite_url
from tests import postgres
from tests.postgres import Server

ENGINES = ("sqlite", "postgres")
on_both = pytest.mark.parametrize("engine", ENGINES)


@contextmanager
def records(engine: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of records with nothing in them; a server is started only where one is asked for."""
    if engine == "sqlite":
        file = folder / "records.sqlite"
        file.write_bytes(empty_file())
        yield sqlite_url(file)
        return
    server: Server = request.getfixturevalue("postgres")
    name = postgres.create_database(server, template=_template(server))
    yield server.url(name)
    postgres.drop_database(server, name)


@cache
def empty_file() -> bytes:
    """A migrated file with nothing in it: to migrate takes half a second."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "records.sqlite"
        apart(migrate(sqlite_url(file)))
        return file.read_bytes()


@cache
def _template(server: Server) -> str:
    name = postgres.create_database(server)
    apart(migrate(server.url(name)))
    return name


def apart(wanted: Coroutine[Any, Any, Any]) -> Any:
    """Do this in a loop of its own, for the test's may be running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, wanted).result()
