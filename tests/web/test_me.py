"""What one changes about oneself through the API, and which sessions end."""

import pytest


async def test_others_see_the_nickname_or_else_the_login(world):
    before = await world.client.get("/v1/me", headers=world.ana.headers)
    changed = await world.client.patch(
        "/v1/me", json={"nickname": "  Ana from the sea "}, headers=world.ana.headers
    )
    after = await world.client.get("/v1/me", headers=world.ana.headers)
    cleared = await world.client.patch("/v1/me", json={"nickname": ""}, headers=world.ana.headers)

    assert (before.json()["name"], before.json()["nickname"]) == ("ana", "")
    assert changed.status_code == 200, changed.text
    assert changed.json() == after.json()
    assert (after.json()["name"], after.json()["login"]) == ("Ana from the sea", "ana")
    assert cleared.json()["name"] == "ana"


@pytest.mark.parametrize(
    ("written", "seen"), [("two\nlines", "two lines"), ("\u202etxet", "txet"), ("<b>Ana", "<b>Ana")]
)
async def test_a_nickname_is_cleaned_of_what_cannot_be_seen(world, written, seen):
    answer = await world.client.patch(
        "/v1/me", json={"nickname": written}, headers=world.ana.headers
    )

    assert answer.json()["name"] == seen


@pytest.mark.parametrize("nickname", ["x" * 51, "\u202e\u200b", "\x00"])
async def test_a_nickname_that_cannot_be_read_is_refused(world, nickname):
    answer = await world.client.patch(
        "/v1/me", json={"nickname": nickname}, headers=world.ana.headers
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "nickname_invalid")


async def test_one_logs_out_everywhere_else_and_stays_here(world):
    other = await world.session(world.ana.id, hours=1)
    bearer = {"authorization": f"Bearer {other}"}
    assert (await world.client.get("/v1/me", headers=bearer)).status_code == 200

    answer = await world.client.delete("/v1/sessions/others", headers=world.ana.headers)

    assert answer.status_code == 204
    assert (await world.client.get("/v1/me", headers=world.ana.headers)).status_code == 200
    assert (await world.client.get("/v1/me", headers=bearer)).status_code == 401
    assert (await world.client.get("/v1/me", headers=world.bob.headers)).status_code == 200
