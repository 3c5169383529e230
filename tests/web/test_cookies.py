"""The session of our own pages: a cookie that no script reads, and a proof that no other site has."""

from largesse import ids
from largesse.web import auth


def cookie(person):
    return {"cookie": f"{auth.SESSION_COOKIE}={person.token}"}


def proof(world, person):
    return {auth.CSRF_HEADER: auth.csrf_token(world.app, person.token)}


async def send(world, headers):
    return await world.client.post(
        f"/v1/rooms/{world.room_id}/gifts",
        json={"item_id": "rose", "quantity": 1},
        headers=headers | {"idempotency-key": world.key()},
    )


async def test_a_page_may_read_with_the_cookie_alone(world):
    answer = await world.client.get("/v1/me", headers=cookie(world.ana))

    assert answer.json()["login"] == "ana"


async def test_another_site_that_posts_with_our_cookie_moves_nothing(world):
    await world.give_coins(world.ana, 10)
    before = await world.moved()

    stolen = await send(world, cookie(world.ana))
    guessed = await send(world, cookie(world.ana) | {auth.CSRF_HEADER: "guess"})
    of_another = await send(world, cookie(world.ana) | proof(world, world.bob))
    ended = await world.client.post(f"/v1/rooms/{world.room_id}/end", headers=cookie(world.bob))

    for answer in (stolen, guessed, of_another, ended):
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_token_invalid")
    assert await world.moved() == before


async def test_a_page_gifts_and_ends_a_room_with_cookie_and_proof(world):
    await world.give_coins(world.ana, 10)

    given = await send(world, cookie(world.ana) | proof(world, world.ana))
    ended = await world.client.post(
        f"/v1/rooms/{world.room_id}/end", headers=cookie(world.bob) | proof(world, world.bob)
    )

    assert given.status_code == 201, given.text
    assert ended.status_code == 200, ended.text


async def test_a_token_in_the_header_needs_no_proof_and_wins_over_a_cookie(world):
    answer = await world.client.get("/v1/me", headers=world.bob.headers | cookie(world.ana))

    assert answer.json()["login"] == "bob"


async def test_a_made_up_cookie_is_nobody_and_a_huge_one_is_not_looked_up(world):
    for value in ("made-up", "x" * 10_000, ""):
        answer = await world.client.get(
            "/v1/me", headers={"cookie": f"other=1; {auth.SESSION_COOKIE}={value}"}
        )
        assert answer.status_code == 401


def test_a_key_for_a_form_is_a_uuid7_of_its_time():
    key = ids.new_key(1_795_345_200_123, bytes(range(10)))

    assert ids.key_time(ids.from_key("ana", key)) == 1_795_345_200_123
    assert key[14] == "7"
    assert key[19] in "89ab"
