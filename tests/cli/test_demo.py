"""The demo as a newcomer meets it: logins, a living economy, an end, and every coin still there."""

import re
import time
from collections.abc import Callable

import httpx
import pytest

from tests.cli.conftest import PASSWORD, Command, Started, log_in

STOP_SECONDS_MAX = 3.0
CREDIT_SECONDS_MAX = 30.0
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
    deadline = time.monotonic() + CREDIT_SECONDS_MAX
    while api.get(f"/v1/orders/{order['id']}", headers=viewer).json()["status"] != "credited":
        assert time.monotonic() < deadline


def test_the_demo_lives_ends_at_once_and_keeps_every_coin(
    command: Command, demo: Callable[..., Started], api: httpx.Client
) -> None:
    running = demo("--gifts-per-second", "20")
    printed = "".join(running.printed)
    for login in LOGINS:
        assert re.search(rf"^  {login} +{PASSWORD}  ", printed, re.MULTILINE)
        log_in(api, login)
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
    assert sent.status_code == 201
    assert sent.json()["balance"] == {"coins": 345}

    status, seconds = running.stop()
    assert status == 0
    assert "Traceback" not in "".join(running.printed)
    assert seconds < STOP_SECONDS_MAX
    assert command("check").returncode == 0

    again = demo("--gifts-per-second", "0")
    viewer, creator = log_in(api, "viewer"), log_in(api, "creator")
    assert api.get("/v1/wallet", headers=viewer).json()["coins"] == 345
    assert api.get("/v1/earnings", headers=creator).json()["held"] == "2.5000"
    live = api.get("/v1/rooms?live=true").json()["rooms"]
    assert "creator" not in {room["creator_login"] for room in live}
    again.stop()


def test_the_printed_password_opens_the_door_also_after_it_was_changed(
    command: Command, demo: Callable[..., Started], api: httpx.Client
) -> None:
    running = demo("--gifts-per-second", "0")
    changed = api.post(
        "/v1/me/password",
        headers=log_in(api, "viewer"),
        json={"current": PASSWORD, "new": "something quite different"},
    )
    assert changed.is_success
    running.stop()

    del command.settings["LARGESSE_DEMO_PASSWORD"]
    running = demo("--gifts-per-second", "0")
    made_up = re.search(r"^  viewer +(\S+)  ", "".join(running.printed), re.MULTILINE)
    assert made_up
    log_in(api, "viewer", made_up[1])
    running.stop()

    running = demo("--gifts-per-second", "0")
    assert f" {made_up[1]} " in "".join(running.printed)
    running.stop()


def test_reset_begins_afresh_but_never_with_real_money(
    command: Command, demo: Callable[..., Started], api: httpx.Client
) -> None:
    running = demo("--gifts-per-second", "0")
    recharge(api, log_in(api, "viewer"), "coins-70", "key-1")
    refused = command("demo", "--reset")
    assert refused.returncode == 2
    assert "data_folder_in_use" in refused.stderr
    running.stop()

    demo("--gifts-per-second", "0", "--reset").stop
    assert api.get("/v1/wallet", headers=log_in(api, "viewer")).json()["coins"] == 0

    command.settings["LARGESSE_DATA"] = "real"
    assert command("migrate", "--environment", "live").returncode == 0
    for arguments, code in (
        (["demo", "--reset"], "data_folder_is_live"),
        (["demo"], "data_folder_other_environment"),
    ):
        refused = command(*arguments, "--port", "0")
        assert refused.returncode == 2
        assert code in refused.stderr
    assert command("check").returncode == 0


def test_the_demo_is_for_this_machine_only(command: Command) -> None:
    command.settings["LARGESSE_HOST"] = "0.0.0.0"
    refused = command("demo")
    assert refused.returncode == 2
    assert "demo_on_loopback_only" in refused.stderr
    assert list(command.folder.iterdir()) == []


def test_the_audience_goes_when_the_demo_is_killed(
    command: Command, demo: Callable[..., Started]
) -> None:
    import psutil

    running = demo()
    running.line(r"^up ")
    [audience] = psutil.Process(running.process.pid).children()
    assert "simulate" in audience.cmdline()
    assert PASSWORD not in " ".join(audience.cmdline())
    running.process.kill()
    audience.wait(timeout=30)
