"""Stores on servers of their own: what each command does with them, and each refusal for people."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bench.serving import free_port
from tests import postgres as postgres_servers
from tests.cli.conftest import Command, Ended, Started, log_in
from tests.cli.test_commands import SIGN_UP
from tests.postgres import Server

LEDGER, RECORDS = "LARGESSE_LEDGER_URL", "LARGESSE_DATABASE_URL"
BOTH = (RECORDS, LEDGER)


@pytest.fixture
def shared(command: Command, postgres_url: str) -> Command:
    """A command whose records and ledger are in one empty database."""
    command.settings |= dict.fromkeys(BOTH, postgres_url)
    return command


def refusal(refused: Ended, code: str) -> str:
    """What a command said that refused with this code: one line, nobody's password in it."""
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"largesse: {code}: "), refused.stderr
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert "?" not in refused.stderr.partition("?cluster")[0], "a fact is missing"
    assert postgres_servers.PASSWORD not in refused.stderr
    return refused.stderr


def made(command: Command) -> None:
    """Make the data folder, and what the stores of these settings need."""
    done = command("migrate", "--environment", "test")
    assert done.returncode == 0, done.stderr


def database_of(url: str) -> str:
    return url.rpartition("/")[2]


async def test_two_who_migrate_one_database_at_once_are_both_content(
    shared: Command, start: Callable[..., Started]
) -> None:
    hosts = [start("migrate", "--environment", "test") for _ in range(2)]
    for host in hosts:
        host.line("is ready")
        assert host.process.wait() == 0, host.printed
    checked = await asyncio.to_thread(shared, "check")
    assert checked.returncode == 0, checked.stdout


def test_server_worker_check_and_user_work_beside_each_other(
    shared: Command, start: Callable[..., Started], api: httpx.Client
) -> None:
    served = start("serve", "--create", "test")
    served.line("Largesse answers at")
    worker = start("worker")
    worker.line(r"jobs of .* run")
    added = shared("user", "add", "boss", *SIGN_UP, "--role", "operator", says="a long password\n")
    assert added.returncode == 0, added.stderr
    assert shared("check", "--deep").returncode == 0
    boss = log_in(api, "boss", "a long password")
    assert api.get("/v1/operator/check", headers=boss).json()["holds"] is True
    for each in (worker, served):
        status, _ = each.stop()
        assert status == 0, each.printed


@pytest.mark.parametrize("setting", BOTH)
def test_an_address_where_nobody_answers_is_named(command: Command, setting: str) -> None:
    port = free_port()
    made(command)
    command.settings[setting] = f"postgresql://ana:{postgres_servers.PASSWORD}@127.0.0.1:{port}/x"
    said = refusal(command("serve"), "database_unreachable")
    assert f"127.0.0.1, port {port}" in said
    assert setting in said


@pytest.mark.parametrize("setting", BOTH)
def test_a_wrong_password_is_said_and_not_shown(
    command: Command, postgres: Server, setting: str
) -> None:
    made(command)
    command.settings[setting] = postgres.url(password="hunter2")
    assert "hunter2" not in refusal(command("serve"), "database_password_wrong")


@pytest.mark.parametrize("setting", BOTH)
def test_a_database_that_is_not_there_is_named_with_its_remedy(
    command: Command, postgres: Server, setting: str
) -> None:
    made(command)
    command.settings[setting] = postgres.url("nowhere")
    assert "createdb nowhere" in refusal(command("serve"), "database_missing")


@pytest.mark.parametrize(
    ("setting", "code"), [(RECORDS, "records_not_migrated"), (LEDGER, "ledger_not_migrated")]
)
def test_an_empty_database_wants_to_be_migrated(
    command: Command, postgres_url: str, setting: str, code: str
) -> None:
    made(command)
    command.settings[setting] = postgres_url
    for name in ("serve", "check", "worker"):
        assert "largesse migrate" in refusal(command(name), code)
    made(command)
    assert command("check").returncode == 0


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE records.alembic_version SET version_num = '9999'", "records_newer"),
        ("INSERT INTO ledger.migrations VALUES (9999)", "ledger_newer"),
    ],
)
def test_a_database_of_a_newer_version_is_left_alone(
    shared: Command, postgres: Server, postgres_url: str, statement: str, code: str
) -> None:
    made(shared)
    postgres_servers.sql(postgres, statement, database=database_of(postgres_url))
    for arguments in (["serve"], ["migrate"]):
        assert "newer version" in refusal(shared(*arguments), code)


@pytest.mark.parametrize(
    ("tables", "code"),
    [
        ("CREATE SCHEMA records CREATE TABLE theses (title text)", "records_not_ours"),
        ("CREATE SCHEMA ledger CREATE TABLE theses (title text)", "ledger_not_ours"),
    ],
)
def test_tables_of_somebody_else_are_left_alone(
    shared: Command, postgres: Server, postgres_url: str, tables: str, code: str
) -> None:
    postgres_servers.sql(postgres, tables, database=database_of(postgres_url))
    refusal(shared("migrate", "--environment", "test"), code)


def test_a_server_that_may_lose_what_it_confirmed_is_refused_unless_that_is_wanted(
    shared: Command, postgres: Server, postgres_url: str
) -> None:
    made(shared)
    name = database_of(postgres_url)
    postgres_servers.sql(postgres, f"ALTER DATABASE {name} SET synchronous_commit = off")
    said = refusal(shared("serve"), "database_unsafe")
    assert "with synchronous_commit off." in said
    assert "LARGESSE_ALLOW_LOSING_ACKNOWLEDGED_MONEY" in said
    shared.settings["LARGESSE_ALLOW_LOSING_ACKNOWLEDGED_MONEY"] = "true"
    assert shared("check").returncode == 0


@pytest.mark.parametrize("name", ["--workers=2", "LARGESSE_WORKERS"])
def test_two_workers_on_sqlite_are_refused_with_the_reason(command: Command, name: str) -> None:
    made(command)
    if name.startswith("--"):
        refused = command("serve", name)
    else:
        command.settings[name] = "2"
        refused = command("serve")
    said = refusal(refused, "workers_need_postgres")
    assert "SQLite file has one process" in said
    assert RECORDS in said


@pytest.mark.parametrize(
    ("setting", "url", "known"),
    [
        (RECORDS, "mysql://ana:for-the-tests@db/records", "sqlite://, postgresql://"),
        (RECORDS, "postgresql:/db/records", "sqlite://, postgresql://"),
        (LEDGER, "redis://:for-the-tests@db", "sqlite://, postgresql://, tigerbeetle://"),
        ("LARGESSE_BUS_URL", "amqp://ana:for-the-tests@bus", "postgresql, nats"),
    ],
)
def test_an_engine_that_is_not_there_is_refused_with_those_that_are(
    shared: Command, setting: str, url: str, known: str
) -> None:
    made(shared)
    shared.settings[setting] = url
    said = refusal(shared("serve"), "engine_unknown")
    assert f"{setting} asks for an engine" in said
    assert f"Known are: {known}." in said


def test_a_bus_that_is_away_is_named(shared: Command) -> None:
    made(shared)
    port = free_port()
    shared.settings["LARGESSE_BUS_URL"] = f"nats://ana:for-the-tests@127.0.0.1:{port}"
    assert f"127.0.0.1:{port}" in refusal(shared("serve"), "bus_unreachable")


def test_a_cluster_whose_client_is_not_installed_is_said_with_the_command_that_mends_it(
    shared: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(shared)
    shared.settings[LEDGER] = "tigerbeetle://127.0.0.1:3000?cluster=0"
    monkeypatch.setitem(sys.modules, "tigerbeetle", None)
    said = refusal(shared("serve"), "engine_not_installed")
    assert "pip install 'largesse[tigerbeetle]'" in said


def test_a_cluster_that_is_away_or_cannot_be_named_is_said(shared: Command) -> None:
    made(shared)
    shared.settings[LEDGER] = "tigerbeetle://?cluster=0"
    refusal(shared("serve"), "ledger_url_invalid")
    port = free_port()
    shared.settings[LEDGER] = f"tigerbeetle://127.0.0.1:{port}?cluster=0"
    assert f"127.0.0.1:{port}" in refusal(shared("serve"), "ledger_unreachable")


def test_a_host_of_other_money_is_kept_out(shared: Command) -> None:
    made(shared)
    shared.settings["LARGESSE_DATA"] = "another-host"
    refused = shared("migrate", "--environment", "live")
    said = refusal(refused, "database_other_environment")
    assert "those of test money" in said
    assert "a live folder" in said


def test_a_host_with_another_secret_is_kept_out_until_it_has_the_same(shared: Command) -> None:
    made(shared)
    secret = (shared.folder / "largesse-data" / "web.secret").read_text()
    shared.settings["LARGESSE_DATA"] = "another-host"
    said = refusal(shared("migrate", "--environment", "test"), "secret_differs")
    assert "LARGESSE_SECRET" in said
    assert "web.secret" in said
    assert secret not in said

    shared.settings["LARGESSE_SECRET"] = secret
    made(shared)
    assert shared("check").returncode == 0
    shared.settings["LARGESSE_SECRET"] = "another secret, long enough to be one"
    refusal(shared("check"), "secret_differs")
    assert shared("migrate", "--new-secret").returncode == 0
    assert shared("check").returncode == 0
    shared.settings["LARGESSE_SECRET"] = secret
    refusal(shared("check"), "secret_differs")


def test_records_of_one_installation_never_get_a_second_ledger(
    command: Command, postgres_url: str
) -> None:
    """Two hosts share their records, and each would keep the coins in a file of its own."""
    command.settings[RECORDS] = postgres_url
    made(command)
    secret = (command.folder / "largesse-data" / "web.secret").read_text()
    command.settings |= {"LARGESSE_DATA": "another-host", "LARGESSE_SECRET": secret}
    refused = command("migrate", "--environment", "test")
    assert LEDGER in refusal(refused, "ledger_of_another_folder")
    command.settings[LEDGER] = postgres_url
    made(command)


def test_several_workers_are_refused_once(shared: Command, start: Callable[..., Started]) -> None:
    refused = start("serve", "--workers=3")
    refused.line("data_folder_missing")
    assert refused.process.stdout is not None
    assert refused.process.stdout.read() == ""
    assert refused.process.wait() == 2
    assert not (shared.folder / "largesse-data").exists()


def test_the_demo_deletes_no_database(shared: Command) -> None:
    made(shared)
    files = set(Path(shared.folder / "largesse-data").iterdir())
    said = refusal(shared("demo", "--reset"), "demo_reset_elsewhere")
    assert RECORDS in said
    assert set(Path(shared.folder / "largesse-data").iterdir()) == files
