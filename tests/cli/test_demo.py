"""The demo as a newcomer meets it: logins, a living economy, an end, and every coin still there."""

import re
import time
from collections.abc import Callable

import httpx
import psutil
import pytest

from tests.cli.conftest import PASSWORD, SECONDS_MAX, Command, Started, log_in

STOP_SECONDS_MAX = 5.0
"""On a machine that has time for it, it takes one."""
LOGINS = ("viewer", "viewer2", "creator", "operator")


@pytest.fixture
def demo(command: Command, start: Callable[..., Started]) -> Callable[..., Started]:
    """Starts the demo and waits until its logins are printed."""
    command.settings["LARGESSE_DEMO_PASSWORD"] = PASSWORD

    def start_demo(*arguments: str) -> Started:
        started = start("demo", *arguments)
        started.line(r"^  operator  ")
        return started

    return start_demo


def recharge(api: httpx.Client, viewer: dict[str, str], package_id: str, key: str) -> None:
    """Buy a package as a program does, and wait until it is credited."""
    order = api.post(
        "/v1/orders",
        headers={**viewer, "idempotency-key": key},
        json={
            "package_id": package_id,
            "provider": "sandbox",
            "channel": "web",
            "country": "US",
        },
    ).json()
    assert api.post(f"{order['checkout_url']}/confirm").status_code == 200
    deadline = time.monotonic() + SECONDS_MAX
    while api.get(f"/v1/orders/{order['id']}", headers=viewer).json()["status"] != "credited":
        assert time.monotonic() < deadline


def test_a_demo_lives_ends_at_once_keeps_every_coin_and_begins_afresh_when_asked(
    command: Command, demo: Callable[..., Started], api: httpx.Client
) -> None:
    running = demo("--gifts-per-second", "20")
    printed = "".join(running.printed)
    for login in LOGINS:
        assert re.search(rf"^  {login} +{PASSWORD}  ", printed, re.MULTILINE)
    assert str(api.base_url).rstrip("/") in printed

    # `creator` is not live when it starts; the audience has creators of its own.
    running.line(r"gifts [1-9]")
    rooms = api.get("/v1/rooms?live=true").json()["rooms"]
    assert rooms
    assert not {room["creator_login"] for room in rooms} & set(LOGINS)

    viewer, creator = log_in(api, "viewer"), log_in(api, "creator")
    recharge(api, viewer, "coins-350", "key-1")
    room = api.post("/v1/rooms", headers=creator, json={"title": "Piano"}).json()
    sent = api.post(
        f"/v1/rooms/{room['id']}/gifts",
        headers={**viewer, "idempotency-key": "key-2"},
        json={"item_id": "rose", "quantity": 5},
    )
    assert sent.json()["balance"] == {"coins": 345}
    assert "data_folder_in_use" in command("demo", "--reset").stderr

    # Somebody changes a password, and the next start is without the variable.
    new = {"current": PASSWORD, "new": "something quite different"}
    assert api.post("/v1/me/password", headers=viewer, json=new).is_success
    del command.settings["LARGESSE_DEMO_PASSWORD"]
    status, seconds = running.stop()
    assert status == 0
    assert "Traceback" not in "".join(running.printed)
    assert seconds < STOP_SECONDS_MAX
    assert command("check", "--deep").returncode == 0

    running = demo()
    running.line(r"^up ")
    [audience] = psutil.Process(running.process.pid).children()
    made_up = re.search(r"^  viewer +(\S+)  ", "".join(running.printed), re.MULTILINE)
    assert made_up
    assert not set(audience.cmdline()) & {PASSWORD, made_up[1]}
    viewer, creator = log_in(api, "viewer", made_up[1]), log_in(api, "creator", made_up[1])
    assert api.get("/v1/wallet", headers=viewer).json()["coins"] == 345
    assert api.get("/v1/earnings", headers=creator).json()["held"] == "2.5000"
    live = api.get("/v1/rooms?live=true").json()["rooms"]
    assert "creator" not in {room["creator_login"] for room in live}
    running.process.kill()
    audience.wait(timeout=SECONDS_MAX)  # It goes with the demo, however that went.

    running = demo("--gifts-per-second", "0", "--reset")
    made_up = re.search(r"^  operator +(\S+)  ", "".join(running.printed), re.MULTILINE)
    assert made_up
    operator = log_in(api, "operator", made_up[1])
    assert api.get("/v1/operator/totals", headers=operator).json()["coins_sold"] == 0


def test_a_demo_never_touches_real_money(command: Command) -> None:
    assert command("migrate", "--environment", "live").returncode == 0
    before = sorted((command.folder / "largesse-data").iterdir())
    assert "data_folder_other_environment" in command("demo", "--reset").stderr
    assert "data_folder_other_environment" in command("demo").stderr
    assert sorted((command.folder / "largesse-data").iterdir()) == before
    assert command("check", "--deep").returncode == 0


def test_the_demo_is_for_this_machine_only(command: Command) -> None:
    command.settings["LARGESSE_HOST"] = "0.0.0.0"
    refused = command("demo")
    assert refused.returncode == 2
    assert "demo_on_loopback_only" in refused.stderr
    assert list(command.folder.iterdir()) == []
