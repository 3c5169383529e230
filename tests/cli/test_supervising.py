"""The parent of several processes: what it does with those that end, and when it ends itself."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import httpx
import psutil
import pytest

from bench.serving import free_port
from largesse.cli import supervising
from largesse.cli.supervising import FAULTS_IN_A_ROW_MAX, supervise
from largesse.errors import Rejected
from largesse.ledger import postgres_server as ledger
from largesse.records import postgres as records
from largesse.settings import Settings
from tests.cli.conftest import Command, Started

SECONDS = 30

CHILD = """
import json, pathlib, socket, sys
count = pathlib.Path(__file__).with_name("starts")
starts = len(count.read_bytes()) if count.exists() else 0
with count.open("ab") as out:
    out.write(b"x")
if starts == 0:
    socket.socket(fileno=int(sys.argv[-1])).sendall(READY)
sys.exit(STATUS)
"""


@pytest.fixture(params=[3])
def sick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A Python whose first process says that it answers, and which ends every process with a status."""
    monkeypatch.setattr(supervising, "PAUSE_SECONDS_MAX", 0.001)
    child, python = tmp_path / "child.py", tmp_path / "python"
    ready = b'{"folder":"x","environment":"test"}\n'
    child.write_text(CHILD.replace("READY", repr(ready)).replace("STATUS", str(request.param)))
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {child} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return tmp_path


async def test_a_process_that_always_dies_at_once_ends_it_with_a_message(sick: Path) -> None:
    with pytest.raises(Rejected) as refused:
        await supervise(Settings(port=free_port(), workers=2), None)
    assert refused.value.code == "worker_kept_dying"
    assert refused.value.facts == {"times": FAULTS_IN_A_ROW_MAX, "status": 3}
    starts = len((sick / "starts").read_bytes())
    assert FAULTS_IN_A_ROW_MAX <= starts <= 2 * FAULTS_IN_A_ROW_MAX


async def test_a_first_process_that_does_not_come_up_is_not_tried_again(sick: Path) -> None:
    (sick / "starts").write_bytes(b"x")
    assert await supervise(Settings(port=free_port(), workers=2), None) == 3
    assert (sick / "starts").read_bytes() == b"xx"


@pytest.mark.parametrize("sick", [2], indirect=True)
async def test_a_process_that_is_refused_is_tried_until_it_is_not(sick: Path) -> None:
    """As one that dies while its database is away: the others live, and it comes back with it."""
    running = asyncio.create_task(supervise(Settings(port=free_port(), workers=2), None))
    starts = sick / "starts"
    while not starts.exists() or starts.stat().st_size <= 3 * FAULTS_IN_A_ROW_MAX:
        assert not running.done()
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, SECONDS) == 0


def serve_two(command: Command, start: Callable[..., Started], url: str) -> Started:
    command.settings |= {"LARGESSE_DATABASE_URL": url, "LARGESSE_LEDGER_URL": url}
    served = start("serve", "--workers=2", "--create", "test")
    served.line(r"Largesse answers at .*2 workers")
    return served


def test_told_to_stop_it_ends_in_order_with_all_its_processes(
    command: Command, start: Callable[..., Started], postgres_url: str, api: httpx.Client
) -> None:
    """A service manager tells the processes too, and that is no reason to hurry."""
    served = serve_two(command, start, postgres_url)
    children = psutil.Process(served.process.pid).children()
    assert len(children) == 2
    assert api.get("/readyz").status_code == 200
    for child in children:
        assert postgres_url not in " ".join(child.cmdline())
        child.terminate()
        child.terminate()
    status, _ = served.stop(signal.SIGTERM)
    assert status == 0, served.printed
    assert "Traceback" not in "".join(served.printed)
    assert not psutil.wait_procs(children, timeout=SECONDS)[1]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("what", [records.MIGRATING, ledger._MIGRATING])
def test_told_to_stop_while_another_host_migrates_it_does_not_wait_for_that(
    command: Command, start: Callable[..., Started], postgres_url: str, workers: int, what: int
) -> None:
    command.settings |= {"LARGESSE_DATABASE_URL": postgres_url, "LARGESSE_LEDGER_URL": postgres_url}
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
    with asyncio.Runner() as other_host:
        connection = other_host.run(asyncpg.connect(postgres_url))
        other_host.run(connection.execute(f"SELECT pg_advisory_lock({what})"))
        served = start("serve", f"--workers={workers}", "--create", "test")
        while not other_host.run(connection.fetchval(waiting)):
            assert served.process.poll() is None
        status, seconds = served.stop(signal.SIGTERM)
        other_host.run(connection.close())
    assert status == 0, served.printed
    assert seconds < SECONDS
    assert "Traceback" not in "".join(served.printed)


def test_when_it_is_killed_its_processes_end_by_themselves(
    command: Command, start: Callable[..., Started], postgres_url: str
) -> None:
    served = serve_two(command, start, postgres_url)
    children = psutil.Process(served.process.pid).children()
    served.process.kill()
    assert not psutil.wait_procs(children, timeout=SECONDS)[1]
    again = start("serve", "--workers=2")
    again.line("Largesse answers at")
    assert again.stop()[0] == 0


def test_a_taken_port_is_refused_before_anything_is_started(command: Command) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    command.settings |= {"LARGESSE_DATABASE_URL": url, "LARGESSE_LEDGER_URL": url}

    with socket.create_server(("127.0.0.1", int(command.settings["LARGESSE_PORT"]))):
        refused = command("serve", "--workers=2", "--create", "test")
    assert refused.returncode == 2
    assert "address_in_use" in refused.stderr
