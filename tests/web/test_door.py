"""What every request passes: an id, an address that is believed, a limit, and headers."""

import asyncio

import pytest

from largesse.web import docs, door
from tests.web import worlds


def believed(client, forwarded, *trusted, proto=b""):
    scope = {
        "client": (client, 5_000),
        "scheme": "http",
        "headers": [(b"x-forwarded-for", forwarded), (b"x-forwarded-proto", proto)],
    }
    door.believe_proxies(scope, door.trusted_networks(trusted))
    return scope["client"][0], scope["scheme"]


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        ("10.0.0.1", b"203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", b"203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", b"198.51.100.1, 203.0.113.7", "203.0.113.7"),  # The left one anyone may write.
        ("203.0.113.9", b"198.51.100.1", "203.0.113.9"),  # No proxy of ours sent it.
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"unknown", "10.0.0.1"),
        ("10.0.0.1", b"203.0.113.7, unknown", "10.0.0.1"),
        ("10.0.0.1", b"2001:db8::7", "2001:db8::7"),
        ("::1", b"203.0.113.7", "203.0.113.7"),
    ],
)
def test_only_a_named_proxy_is_believed(client, forwarded, address):
    assert believed(client, forwarded, "10.0.0.0/8", "::1")[0] == address


def test_the_scheme_is_believed_with_the_address():
    assert believed("10.0.0.1", b"203.0.113.7", "10.0.0.1", proto=b"https")[1] == "https"
    assert believed("203.0.113.9", b"203.0.113.7", "10.0.0.1", proto=b"https")[1] == "http"
    assert believed("10.0.0.1", b"203.0.113.7", "10.0.0.1", proto=b"gopher")[1] == "http"


async def test_a_limit_counts_by_the_address_behind_the_proxy(prepared, tmp_path):
    settings = {"trusted_proxies": ("127.0.0.1",)}
    async with worlds.open_world(tmp_path, prepared=prepared, **settings) as world:
        seen = []
        for address in ("203.0.113.7",) * 201 + ("203.0.113.8",):
            answer = await world.client.get("/v1/rooms", headers={"x-forwarded-for": address})
            seen.append(answer.status_code)
        assert seen == [200] * 200 + [429, 200]


async def test_without_a_named_proxy_the_header_means_nothing(world):
    seen = [
        (await world.client.get("/v1/rooms", headers={"x-forwarded-for": f"203.0.113.{n}"}))
        for n in range(201)
    ]
    assert [answer.status_code for answer in seen] == [200] * 200 + [429]
    assert seen[-1].json()["limit"] == "read"


async def test_made_up_tokens_use_up_the_limit_of_their_address(world):
    async def try_one(n):
        answer = await world.client.get("/v1/me", headers={"authorization": f"Bearer made-up-{n}"})
        return answer.status_code

    codes = await asyncio.gather(*(try_one(n) for n in range(250)))

    assert (codes.count(401), codes.count(429)) == (200, 50)
    assert (await world.client.get("/v1/me", headers=world.ana.headers)).status_code == 200


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/v1/rooms", door.API_POLICY),
        ("/v1/nothing", door.API_POLICY),
        ("/docs", docs.POLICY.encode()),
        ("/static/docs/icon.svg", door.API_POLICY),
    ],
)
async def test_every_answer_has_a_strict_policy(world, path, policy):
    headers = (await world.client.get(path)).headers

    assert headers["content-security-policy"] == policy.decode()
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_page_makes_markup_through_templates_only_and_forms_lead_nowhere_else(world):
    headers = (await world.client.get("/docs/errors")).headers
    policy = headers["content-security-policy"]
    here = str(world.client.base_url).rstrip("/")

    assert policy == door.page_policy(here).decode()
    assert "unsafe" not in policy
    rules = policy.split("; ")
    assert rules[0] == "default-src 'none'"
    assert f"form-action 'self' {here}" in rules
    assert f"connect-src 'self' {here.replace('http', 'ws')}" in rules
    assert rules[-2:] == ["require-trusted-types-for 'script'", "trusted-types lit-html"]
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/v1/rooms", "/livez", "/nothing"])
async def test_what_may_be_read_may_be_asked_about_without_its_body(world, path):
    asked, read = await world.client.head(path), await world.client.get(path)

    assert asked.status_code == read.status_code
    assert asked.content == b""
    assert asked.headers["content-type"] == read.headers["content-type"]


async def test_the_gift_lane_has_the_same_headers(world):
    answer = await world.gift(world.ana, world.room_id)

    assert answer.headers["content-security-policy"] == door.API_POLICY.decode()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.headers["x-request-id"]) == 18


async def test_every_request_has_an_id_of_its_own(world):
    ids = {(await world.client.get("/livez")).headers["x-request-id"] for _ in range(10)}

    assert len(ids) == 10


async def test_the_start_page_leads_to_the_documentation(world):
    answer = await world.client.get("/")

    assert answer.status_code == 200
    assert '<a href="/docs">' in answer.text


async def test_what_falls_through_everything_is_still_answered():
    async def broken(scope, receive, send):
        raise ValueError("a secret")

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"request_id": "7", "headers": []}
    await door.guarded(broken, scope, None, send, [(b"x-request-id", b"7")], [])

    assert sent[0]["status"] == 500
    assert b"internal_error" in sent[1]["body"]
    assert b"secret" not in sent[1]["body"]


async def test_an_answer_that_has_begun_is_not_begun_again():
    async def broken(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("too late")

    sent = []

    async def send(message):
        sent.append(message)

    with pytest.raises(ValueError, match="too late"):
        await door.guarded(broken, {"request_id": "7", "headers": []}, None, send, [], [])
    assert [message.get("status") for message in sent] == [200]
