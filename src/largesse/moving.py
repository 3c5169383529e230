"""
The composition root of a move: which engine is at either end of a copy, by the scheme of its URL.

Beside `app.py` the one place that names engines: a copy has two of them, and no running app.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from largesse import folder as folders
from largesse.clock import SystemClock
from largesse.errors import Rejected
from largesse.ledger import copying
from largesse.ledger.copying import Copied
from largesse.records import copying as records_copying
from largesse.records.database import Database, migrate
from largesse.settings import without_password

SQLITE = "sqlite"
POSTGRES = ("postgresql", "postgres")
TIGERBEETLE = "tigerbeetle"


async def copy_ledger(
    source_url: str, target_url: str, *, allow_unsafe: bool = False
) -> AsyncIterator[copying.Step | Copied]:
    """
    Copy a ledger from one URL to another and prove that they are the same; see `ledger.copying`.

    Raises:
        Rejected: engine_unknown, copy_onto_itself, copy_from_cluster, data_folder_in_use; what the
            engines raise when they are opened, and what the copy raises.
        LedgerUnavailable: one of the two cannot be read or written.
    """
    _refuse_itself(source_url, target_url)
    async with contextlib.AsyncExitStack() as opened:
        owned: set[Path] = set()
        with _named_end("--from", source_url):
            source = await _ledger_source(source_url, owned, opened)
        if _scheme(target_url) == TIGERBEETLE:
            from largesse.ledger import tigerbeetle_copy

            steps = tigerbeetle_copy.copy(source, target_url)
        else:
            with _named_end("--to", target_url):
                target = await _ledger_target(target_url, owned, opened, allow_unsafe)
            steps = copying.copy(source, target)
        async for step in steps:
            yield step


async def _ledger_source(
    url: str, owned: set[Path], opened: contextlib.AsyncExitStack
) -> copying.Store:
    scheme = _scheme(url)
    if scheme == SQLITE:
        from largesse.ledger import sqlite_copy

        file = _own(url, owned, opened)
        return await opened.enter_async_context(sqlite_copy.open_source(file))
    if scheme in POSTGRES:
        from largesse.ledger import postgres_copy

        return await opened.enter_async_context(postgres_copy.open_source(url))
    if scheme == TIGERBEETLE:
        raise Rejected("copy_from_cluster")
    raise _unknown("--from", scheme)


async def _ledger_target(
    url: str, owned: set[Path], opened: contextlib.AsyncExitStack, allow_unsafe: bool
) -> copying.Target:
    scheme = _scheme(url)
    if scheme == SQLITE:
        from largesse.ledger import sqlite_copy

        file = _own(url, owned, opened)
        return await opened.enter_async_context(sqlite_copy.open_target(file))
    if scheme in POSTGRES:
        from largesse.ledger import postgres, postgres_copy

        await postgres.migrate(url, allow_unsafe=allow_unsafe)
        return await opened.enter_async_context(
            postgres_copy.open_target(url, allow_unsafe=allow_unsafe)
        )
    raise _unknown("--to", scheme)


async def copy_records(
    source_url: str, target_url: str, *, allow_unsafe: bool = False
) -> AsyncIterator[records_copying.Step]:
    """
    Copy the records from one URL to another; the target's tables are made where there are none.

    Raises:
        Rejected: engine_unknown, copy_onto_itself, data_folder_in_use; what `Database.open` and the
            copy raise.
        RecordsUnavailable: one of the two cannot be read or written.
    """
    _refuse_itself(source_url, target_url)
    async with contextlib.AsyncExitStack() as opened:
        owned: set[Path] = set()
        for option, url in (("--from", source_url), ("--to", target_url)):
            if _scheme(url) not in (SQLITE, *POSTGRES):
                raise _unknown(option, _scheme(url))
            if _scheme(url) == SQLITE:
                _own(url, owned, opened)
        with _named_end("--from", source_url):
            source = await Database.open(source_url, allow_unsafe=True)
            opened.push_async_callback(source.close)
        with _named_end("--to", target_url):
            await migrate(target_url)
            target = await Database.open(target_url, allow_unsafe=allow_unsafe)
            opened.push_async_callback(target.close)
        async for step in records_copying.copy(source, target):
            yield step


@contextlib.contextmanager
def _named_end(option: str, url: str) -> Iterator[None]:
    """What a store says when it cannot be opened, with the end that it is and its place."""
    try:
        yield
    except Rejected as rejected:
        facts = {"setting": option, "place": without_password(url), **rejected.facts}
        raise Rejected(rejected.code, **facts) from rejected


def _own(url: str, owned: set[Path], opened: contextlib.AsyncExitStack) -> Path:
    """The file of a URL; where it is in a data folder, that is ours until `opened` ends."""
    file = _path(url)
    parent = file.parent.resolve()
    if parent in owned:
        return file
    try:
        folders.read_folder(parent)
    except Rejected as rejected:
        if rejected.code not in ("data_folder_missing", "data_folder_not_ours"):
            raise
        return file
    folder = folders.open_folder(parent, now=SystemClock().now(), entropy=os.urandom)
    opened.callback(folders.close_folder, folder)
    owned.add(parent)
    return file


def _path(url: str) -> Path:
    return Path(url.partition("://")[2].removeprefix("/"))


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return scheme if separator else ""


def _refuse_itself(source_url: str, target_url: str) -> None:
    same = source_url == target_url
    if _scheme(source_url) == _scheme(target_url) == SQLITE:
        same = _path(source_url).resolve() == _path(target_url).resolve()
    if same:
        raise Rejected("copy_onto_itself")


def _unknown(option: str, scheme: str) -> Rejected:
    known = "sqlite, postgresql" + (", tigerbeetle" if option == "--to" else "")
    return Rejected("engine_unknown", setting=option, found=scheme, known=known)
