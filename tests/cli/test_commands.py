"""Commands: what each says of itself, what it refuses, and with which exit status it ends."""

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import Callable

import httpx
import pytest

from largesse import cli
from largesse.app import close_app, open_app
from largesse.books.chart import Environment
from largesse.settings import load
from tests.cli.conftest import Command, Started, log_in

SIGN_UP = ("--email", "boss@example.org", "--birth-date", "1980-01-31", "--country", "US")


@pytest.mark.parametrize(
    "path",
    [(name,) for name, _, _ in cli.COMMANDS]
    + [(group, name) for group, _, names in cli.GROUPS for name, _, _ in names],
    ids=" ".join,
)
def test_each_command_explains_itself(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*path, "--help"]) == 0
    assert f"Usage: largesse {' '.join(path)}" in capsys.readouterr().out


def test_without_arguments_it_lists_its_commands(command: Command) -> None:
    listed = command()
    assert listed.returncode == 0
    for name in ("demo", "serve", "worker", "migrate", "check", "bench", "settings", "user"):
        assert f" {name} " in listed.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--nonsense"], ["user", "add"]])
def test_what_is_not_understood_ends_with_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    assert capsys.readouterr().err


def test_it_does_not_run_without_its_assertions(start: Callable[..., Started]) -> None:
    refused = start("settings", python=("-O",))
    refused.line("python_optimised")
    assert refused.process.wait() == 2


def test_bad_settings_are_refused_all_at_once_and_by_every_command(command: Command) -> None:
    command.settings |= {"LARGESSE_PORT": "many", "LARGESSE_PROT": "1"}
    refused = command("serve")
    assert refused.returncode == 2
    assert refused.stderr.startswith("largesse: settings_invalid: ")
    assert "LARGESSE_PORT: " in refused.stderr
    assert "did you mean LARGESSE_PORT?" in refused.stderr


@pytest.mark.parametrize("name", ["serve", "worker", "check", "migrate", "user list"])
def test_a_folder_that_is_not_there_is_named_with_its_remedy(command: Command, name: str) -> None:
    refused = command(*name.split())
    assert refused.returncode == 2
    assert "data_folder_missing" in refused.stderr
    assert "largesse migrate --environment live" in refused.stderr
    assert list(command.folder.iterdir()) == []


def test_a_folder_is_made_once_and_migrated_as_often_as_one_likes(command: Command) -> None:
    made = command("migrate", "--environment", "live")
    assert made.returncode == 0, made.stderr
    assert "(live)" in made.stdout
    assert command("migrate").returncode == 0
    refused = command("migrate", "--environment", "test")
    assert refused.returncode == 2
    assert "data_folder_other_environment" in refused.stderr


@pytest.mark.parametrize("version", ["9999", ""])
def test_records_of_another_version_are_refused_and_left_as_they_are(
    command: Command, version: str
) -> None:
    command("migrate", "--environment", "test")
    file = command.folder / "largesse-data" / "records.sqlite"
    if version:
        with contextlib.closing(sqlite3.connect(file)) as records:
            records.execute("UPDATE alembic_version SET version_num = ?", (version,))
            records.commit()
    else:
        file.unlink()
    before = sorted(path.name for path in file.parent.iterdir())
    refused = command("serve")
    assert refused.returncode == 2
    assert ("data_folder_newer" if version else "data_folder_older") in refused.stderr
    assert sorted(path.name for path in file.parent.iterdir()) == before


def test_an_operator_is_added_beside_the_running_server_and_others_are_kept_out(
    command: Command, start: Callable[..., Started], api: httpx.Client
) -> None:
    served = start("serve", "--create", "test")
    served.line(r"Largesse answers at")
    added = command("user", "add", "boss", *SIGN_UP, "--role", "operator", says="a long password\n")
    assert added.returncode == 0, added.stderr
    assert "viewer, operator" in added.stdout

    boss = log_in(api, "boss", "a long password")
    assert api.get("/v1/operator/check", headers=boss).json()["holds"] is True
    assert command("user", "role", "boss", "creator").returncode == 0
    assert "viewer, creator, operator" in command("user", "list").stdout

    again = command("user", "add", "boss", *SIGN_UP, says="a long password\n")
    assert again.returncode == 2
    assert "login_taken" in again.stderr
    assert "password_missing" in command("user", "add", "bo", *SIGN_UP).stderr
    assert "user_not_found" in command("user", "role", "nobody", "operator").stderr

    # Whoever else wants the folder or the port is told who has it.
    for name, code in (("check", "data_folder_in_use"), ("worker", "worker_inside_serve")):
        refused = command(name)
        assert refused.returncode == 2
        assert code in refused.stderr
        assert f"process {served.process.pid}" in refused.stderr
    taken = command("serve")
    assert taken.returncode == 2
    assert "address_in_use" in taken.stderr
    assert "LARGESSE_PORT=" in taken.stderr


def test_a_server_on_any_free_port_ends_when_it_is_told_to(
    command: Command, start: Callable[..., Started]
) -> None:
    command.settings["LARGESSE_PORT"] = "0"
    served = start("serve", "--create", "live")
    url = served.line(r"answers at (http://127.0.0.1:\d+)")[1]
    assert not url.endswith(":0")
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    status, _ = served.stop(signal.SIGTERM)
    assert status == 0, served.printed
    assert "Traceback" not in "".join(served.printed)
    assert command("check").returncode == 0


def test_the_worker_runs_by_itself_where_no_server_does(
    command: Command, start: Callable[..., Started]
) -> None:
    command("migrate", "--environment", "test")
    worker = start("worker")
    worker.line(r"jobs of .* run")
    status, _ = worker.stop()
    assert status == 0, worker.printed


def test_a_file_that_is_no_ledger_is_not_ours(command: Command) -> None:
    command("migrate", "--environment", "test")
    (command.folder / "largesse-data" / "ledger.sqlite").write_bytes(b"not a database" * 1_000)
    for name in ("check", "serve"):
        refused = command(name)
        assert refused.returncode == 2
        assert "data_folder_" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_price_list_is_shown_and_checked(command: Command) -> None:
    shown = command("catalog", "show")
    assert shown.returncode == 0
    assert "coins-350" in shown.stdout
    assert "44,999" in shown.stdout

    refused = command("catalog", "check", "nowhere")
    assert refused.returncode == 2
    assert "file_unreadable" in refused.stderr

    own = command.folder / "own"
    own.mkdir()
    (own / "packages.toml").write_text("format = 1\n")
    (own / "gift-items.toml").write_text("what = 1\n")
    checked = command("catalog", "check", "own")
    assert checked.returncode == 1
    assert "to mend" in checked.stdout

    command.settings["LARGESSE_CATALOG"] = "own"
    command("migrate", "--environment", "test")
    served = command("serve")
    assert served.returncode == 2
    assert "catalog_invalid" in served.stderr


@pytest.mark.parametrize(
    "logins", ["", "{", "{}", '{"viewers": [], "creators": []}', '{"viewers": 1, "creators": 2}']
)
def test_an_audience_without_logins_is_refused(command: Command, logins: str) -> None:
    refused = command("simulate", says=logins + "\n")
    assert refused.returncode == 2
    assert "logins_invalid" in refused.stderr


async def test_a_check_shows_what_is_broken_and_its_status_tells(command: Command) -> None:
    data = command.folder / "largesse-data"
    app = await open_app(load({"LARGESSE_DATA": str(data)}, None), create=Environment.TEST)
    await close_app(app)
    sound = await asyncio.to_thread(command, "check")
    assert sound.returncode == 0
    assert "checks hold" in sound.stdout

    with contextlib.closing(sqlite3.connect(data / "ledger.sqlite")) as ledger:
        [(id, record)] = ledger.execute("SELECT id, record FROM accounts LIMIT 1").fetchall()
        edited = record[:-1] + bytes([record[-1] ^ 1])
        ledger.execute("UPDATE accounts SET record = ? WHERE id = ?", (edited, id))
        ledger.commit()
    broken = await asyncio.to_thread(command, "check", "--deep")
    assert broken.returncode == 1
    assert "BROKEN" in broken.stdout
    assert "Recomputing the ledger" in broken.stderr


async def test_a_ledger_too_damaged_to_be_opened_is_still_checked(command: Command) -> None:
    data = command.folder / "largesse-data"
    app = await open_app(load({"LARGESSE_DATA": str(data)}, None), create=Environment.TEST)
    await close_app(app)
    with contextlib.closing(sqlite3.connect(data / "ledger.sqlite")) as ledger:
        ledger.execute("UPDATE standing SET hash = zeroblob(32)")
        ledger.commit()

    refused = await asyncio.to_thread(command, "migrate")
    assert "data_folder_damaged" in refused.stderr
    told = await asyncio.to_thread(command, "check")
    assert told.returncode == 1
    assert "standing" in told.stdout
