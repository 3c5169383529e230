"""What a PostgreSQL must be before a ledger is opened in it, and what is said where it is not."""

import asyncio
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest

from largesse.clock import SystemClock
from largesse.errors import Rejected
from largesse.ledger import postgres_server
from largesse.ledger.model import Outcome
from largesse.ledger.postgres import PostgresLedger, migrate
from tests import postgres as postgres_servers
from tests.ledger.gifts import ACCOUNTS, gift, number, outcomes, problems, recharge, totals
from tests.postgres import PASSWORD, Server


async def refusal(url: str) -> Rejected:
    with pytest.raises(Rejected) as refused:
        await PostgresLedger.open(url, SystemClock())
    assert PASSWORD not in str(refused.value)
    return refused.value


async def play(url: str) -> None:
    """A few gifts one by one, and many at once."""
    ledger = await PostgresLedger.open(url, SystemClock())
    await ledger.create_accounts(ACCOUNTS)
    await ledger.create_transfers([recharge(0, 1_000)])
    assert await outcomes(ledger, [gift(1)]) == [Outcome.CREATED]
    said = await outcomes(ledger, [gift(n) for n in range(2, 302)])
    assert set(said) == {Outcome.CREATED}
    assert await outcomes(ledger, [gift(400, 1_000)]) == [Outcome.EXCEEDS_CREDITS]
    assert await totals(ledger) == [-1_000, 699, 301]
    assert len(await ledger.changes(0)) == 305
    assert await problems(ledger) == []
    await ledger.close()


async def test_a_ledger_that_nobody_made_yet_is_asked_for(postgres_url: str) -> None:
    assert (await refusal(postgres_url)).code == "ledger_not_migrated"


async def test_it_is_made_once_however_many_make_it(postgres_url: str) -> None:
    await asyncio.gather(*(migrate(postgres_url) for _ in range(4)))
    await migrate(postgres_url)
    await play(postgres_url)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("INSERT INTO ledger.migrations VALUES (999)", "ledger_newer"),
        ("DROP TABLE ledger.migrations", "ledger_not_ours"),
        ("DELETE FROM ledger.migrations WHERE step > 0", "ledger_not_migrated"),
    ],
)
async def test_a_ledger_of_another_version_or_of_somebody_else_is_left_alone(
    postgres: Server, ledger_url: str, statement: str, code: str
) -> None:
    postgres_servers.sql(postgres, statement, database=ledger_url.rpartition("/")[2])
    assert (await refusal(ledger_url)).code == code


async def test_a_schema_of_somebody_else_is_not_written_into(
    postgres: Server, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    postgres_servers.sql(postgres, "CREATE SCHEMA ledger", database=name)
    postgres_servers.sql(postgres, "CREATE TABLE ledger.entries (amount money)", database=name)
    with pytest.raises(Rejected, match="ledger_not_ours"):
        await migrate(postgres_url)


async def test_who_may_not_make_tables_is_told_so(postgres: Server, postgres_url: str) -> None:
    postgres_servers.sql(postgres, "CREATE ROLE visitor LOGIN PASSWORD 'visiting'")
    try:
        url = postgres_url.replace(f"largesse:{PASSWORD}", "visitor:visiting")
        with pytest.raises(Rejected, match="database_not_allowed"):
            await migrate(url)
    finally:
        postgres_servers.sql(postgres, "DROP ROLE visitor")


def at_a_port_where_nobody_listens(server: Server) -> str:
    return server.url().replace(f":{server.port}/", f":{postgres_servers.free_port()}/")


@pytest.mark.parametrize(
    ("url_of", "code"),
    [
        (at_a_port_where_nobody_listens, "database_unreachable"),
        (lambda server: server.url(password="a-guess"), "database_password_wrong"),
        (lambda server: server.url("nowhere"), "database_missing"),
        (lambda server: "postgresql://[", "database_unreachable"),
    ],
)
async def test_an_address_that_does_not_work_says_what_is_wrong_with_it(
    postgres: Server, url_of: Callable[[Server], str], code: str
) -> None:
    assert (await refusal(url_of(postgres))).code == code


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:sec/ret@127.0.0.1:1/shop",
        "postgresql://ana:sec?ret@127.0.0.1:1/shop",
        "postgresql://ana:sec#ret@127.0.0.1:1/shop",
        "postgresql://ana:sec/ret@word@127.0.0.1:1/shop",
        "postgresql://127.0.0.1:1/shop?user=ana&password=sec@ret",
        "postgresql://127.0.0.1:1/shop?password=sec/ret&user=ana",
    ],
)
async def test_no_part_of_a_password_is_shown_that_was_not_written_as_it_has_to_be(
    url: str,
) -> None:
    refused = await refusal(url)
    assert refused.code == "database_unreachable"
    assert not {"sec", "ret", "word"} & set(re.split(r"\W+", str(refused)))
    shown = {name: refused.facts[name] for name in ("host", "port", "database")}
    assert shown == {"host": "127.0.0.1", "port": 1, "database": "shop"}


async def test_a_server_that_is_too_old_is_refused(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "VERSION_MIN", 99)
    refused = await refusal(ledger_url)
    assert (refused.code, refused.facts["found"], refused.facts["needed"]) == (
        "database_too_old",
        18,
        99,
    )


async def test_a_database_that_does_not_wait_for_the_disk_is_refused(
    postgres: Server, ledger_url: str
) -> None:
    name = ledger_url.rpartition("/")[2]
    postgres_servers.sql(postgres, f"ALTER DATABASE {name} SET synchronous_commit = off")
    refused = await refusal(ledger_url)
    assert (refused.code, refused.facts["settings"]) == ("database_unsafe", "synchronous_commit")


async def test_a_server_that_does_not_write_through_is_refused_unless_losing_money_is_allowed() -> (
    None
):
    with postgres_servers.server(fsync="off", full_page_writes="off") as server:
        refused = await refusal(server.url())
        settings = "fsync, full_page_writes"
        assert (refused.code, refused.facts["settings"]) == ("database_unsafe", settings)
        with pytest.raises(Rejected, match="database_unsafe"):
            await migrate(server.url())
        await migrate(server.url(), allow_unsafe=True)
        ledger = await PostgresLedger.open(server.url(), SystemClock(), allow_unsafe=True)
        await ledger.create_accounts(ACCOUNTS)
        await ledger.close()


@pytest.mark.parametrize("version", [15, 16])
async def test_older_servers_do_the_same(version: int) -> None:
    if postgres_servers.programs(version) is None:
        pytest.skip(f"PostgreSQL {version} is not here")
    with postgres_servers.server(version) as server:
        await migrate(server.url())
        await play(server.url())


# Behind PgBouncer.


@contextmanager
def bouncer(server: Server, folder: Path) -> Iterator[tuple[int, Callable[[], None]]]:
    """A PgBouncer in session mode: its port, and a way to restart it."""
    program = which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("pgbouncer is not here")
    port = postgres_servers.free_port()
    (folder / "users.txt").write_text(f'"largesse" "{PASSWORD}"\n')
    (folder / "bouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\npool_mode = session\n"
    )
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    user = "nobody" if os.geteuid() == 0 else None
    running: list[subprocess.Popen[bytes]] = []

    def stop() -> None:
        while running:
            running[-1].kill()
            running.pop().communicate()

    def restart() -> None:
        stop()
        command = [program, str(folder / "bouncer.ini")]
        started = subprocess.Popen(command, stderr=subprocess.PIPE, user=user)
        running.append(started)
        assert started.stderr is not None
        while b"process up" not in started.stderr.readline():
            assert started.poll() is None

    try:
        restart()
        yield port, restart
    finally:
        stop()


@pytest.fixture
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that another user can reach."""
    folder = tmp_path_factory.mktemp("bouncer")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(path.stat().st_mode | 0o055)
    return folder


async def test_behind_pgbouncer_it_works_and_outlives_its_restart(
    postgres: Server, ledger_url: str, shared_folder: Path
) -> None:
    with bouncer(postgres, shared_folder) as (port, restart):
        url = ledger_url.replace(f":{postgres.port}/", f":{port}/")
        await play(url)
        ledger = await PostgresLedger.open(url, SystemClock())
        assert await outcomes(ledger, [gift(500)]) == [Outcome.CREATED]
        await asyncio.to_thread(restart)
        assert await outcomes(ledger, [gift(501)]) == [Outcome.CREATED]
        assert await ledger.lookup_transfers([number(501)]) != [None]
        await ledger.close()
