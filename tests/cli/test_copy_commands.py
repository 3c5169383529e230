"""`largesse ledger copy`, `largesse records copy` and `largesse check --deep`, as an operator types them."""

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from largesse import folder as folders
from largesse.clock import SystemClock
from tests.cli.conftest import Command


@pytest.fixture
def data(command: Command) -> Path:
    """A data folder with its house accounts, which no process uses."""
    assert command("migrate", "--environment", "test").returncode == 0
    added = command(
        *("user", "add", "ana", "--email", "ana@example.com", "--birth-date", "1990-05-01"),
        *("--country", "US"),
        says="correct horse battery\n",
    )
    assert added.returncode == 0, added.stderr
    return command.folder / "largesse-data"


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_a_ledger_and_its_records_move_to_postgresql_and_are_served_from_there(
    command: Command, data: Path, postgres_url: str
) -> None:
    """The page on moving up, word for word, without the server in between."""
    ledger = command("ledger", "copy", "--from", url(data / "ledger.sqlite"), "--to", postgres_url)
    assert ledger.returncode == 0, ledger.stderr
    assert re.search(r"The same: \d+ accounts, 0 transfers,.* hash [0-9a-f]{64}\.", ledger.stdout)
    records = command(
        "records", "copy", "--from", url(data / "records.sqlite"), "--to", postgres_url
    )
    assert records.returncode == 0, records.stderr
    assert re.search(r"1 users", records.stdout)
    command.settings |= {"LARGESSE_DATABASE_URL": postgres_url, "LARGESSE_LEDGER_URL": postgres_url}
    assert "ana" in command("user", "list").stdout
    checked = command("check", "--deep")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "as the ledger wrote it" in checked.stdout


def test_what_is_in_use_is_not_copied(command: Command, data: Path) -> None:
    folder = folders.open_folder(data, now=SystemClock().now(), entropy=os.urandom)
    for what in ("ledger", "records"):
        source, target = url(data / f"{what}.sqlite"), url(command.folder / "copy.sqlite")
        refused = command(what, "copy", "--from", source, "--to", target)
        assert refused.returncode == 2
        assert "data_folder_in_use" in refused.stderr
    folders.close_folder(folder)
    assert not (command.folder / "copy.sqlite").exists()


def test_a_copy_beside_the_source_in_one_folder_is_made(command: Command, data: Path) -> None:
    source, target = url(data / "ledger.sqlite"), url(data / "copy.sqlite")
    assert command("ledger", "copy", "--from", source, "--to", target).returncode == 0
    again = command("ledger", "copy", "--from", source, "--to", target)
    assert again.returncode == 0
    assert "The same" in again.stdout


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        ("{}", "{}", "copy_onto_itself"),
        ("{}", "mysql://here/there", "engine_unknown"),
        ("nothing.sqlite", "{}", "engine_unknown"),
        ("tigerbeetle://127.0.0.1:3000", "{}", "copy_from_cluster"),
        ("{}", "postgresql://127.0.0.1:1/largesse", "database_unreachable"),
        ("sqlite:///nowhere/ledger.sqlite", "{}", "copy_stopped"),
    ],
)
def test_a_copy_that_cannot_be_says_why_in_a_sentence(
    command: Command, data: Path, source: str, target: str, code: str
) -> None:
    here = url(data / "ledger.sqlite")
    refused = command(
        *("ledger", "copy", "--from", source.format(here)), *("--to", target.format(here))
    )
    assert refused.returncode == 2
    assert f"largesse: {code}: " in refused.stderr
    assert "?" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_ledger_that_is_half_copied_is_not_served_and_the_sentence_says_what_to_do(
    command: Command, data: Path
) -> None:
    with closing(sqlite3.connect(data / "ledger.sqlite")) as db:
        db.execute(f"PRAGMA application_id = {0x4C415243}")
    for name in ("check", "serve"):
        refused = command(name)
        assert refused.returncode == 2
        assert "ledger_copy_unfinished" in refused.stderr
        assert "largesse ledger copy" in refused.stderr
