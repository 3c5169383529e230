"""A disk that runs full under a serving process: refused by name, nothing moves, and it recovers."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.cli.conftest import SECONDS_MAX, Command, Started, log_in
from tests.conftest import fill

PASSWORD = "correct horse battery"


def sign_up(api: httpx.Client, login: str) -> dict[str, str]:
    person = {
        "login": login,
        "email": f"{login}@example.org",
        "password": PASSWORD,
        "birth_date": "1990-05-17",
        "country": "US",
    }
    assert api.post("/v1/users", json=person).status_code == 201
    return log_in(api, login, PASSWORD)


def order(api: httpx.Client, viewer: dict[str, str], key: str) -> httpx.Response:
    return api.post(
        "/v1/orders",
        headers={**viewer, "idempotency-key": key},
        json={"package_id": "coins-70", "provider": "sandbox", "channel": "web", "country": "US"},
    )


def test_a_disk_that_runs_full_loses_nothing_and_goes_on_when_there_is_room(
    small_disk: Path, command: Command, start: Callable[..., Started], api: httpx.Client
) -> None:
    command.settings["LARGESSE_DATA"] = str(small_disk / "data")
    served = start("serve", "--create", "test")
    served.line("Largesse answers at")
    ana, cleo = sign_up(api, "ana"), sign_up(api, "cleo")
    bought = order(api, ana, "key-1").json()
    api.post(f"{bought['checkout_url']}/confirm")
    deadline = time.monotonic() + SECONDS_MAX
    while api.get("/v1/wallet", headers=ana).json()["coins"] != 70:
        assert time.monotonic() < deadline
    api.post("/v1/me/roles", headers=cleo, json={"role": "creator"})
    room = api.post("/v1/rooms", headers=cleo, json={"title": "Piano"}).json()

    def gift(key: str) -> httpx.Response:
        return api.post(
            f"/v1/rooms/{room['id']}/gifts",
            headers={**ana, "idempotency-key": key},
            json={"item_id": "rose", "quantity": 1},
        )

    assert gift("gift-1").status_code == 201
    fill(small_disk / "ballast")
    refused = gift("gift-2")
    assert refused.status_code == 503
    assert refused.json()["code"] == "ledger_unavailable"
    refused = order(api, ana, "key-2")
    assert (refused.status_code, refused.json()["code"]) == (503, "records_unavailable")
    assert api.get("/livez").status_code == 200

    (small_disk / "ballast").unlink()
    while (answer := gift("gift-2")).status_code != 201:
        assert time.monotonic() < deadline
    assert answer.json()["balance"] == {"coins": 68}
    assert gift("gift-1").json()["balance"] == {"coins": 68}
    assert order(api, ana, "key-2").status_code == 201
    assert served.stop()[0] == 0
    assert command("check", "--deep").returncode == 0
