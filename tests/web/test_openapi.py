"""The API document is OpenAPI 3.1, says what is there, and is made from the structs."""

import msgspec
import pytest

from largesse.web import describe, openapi, reply
from largesse.web.app import ROUTES

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document():
    return msgspec.json.decode(openapi.document(ROUTES))


def operations(document):
    return [
        (f"{method.upper()} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def references(value):
    if isinstance(value, dict):
        yield from (value[name] for name in value if name == "$ref")
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_it_is_openapi_3_1_with_our_name(document):
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Largesse"
    assert document["servers"] == [{"url": "/"}]
    assert document["components"]["securitySchemes"]["session"]["scheme"] == "bearer"


def test_the_names_that_others_rely_on_are_there(document):
    names = {name for name, _ in operations(document)}

    assert names >= {
        *("POST /v1/users", "POST /v1/sessions", "DELETE /v1/sessions/current", "GET /v1/me"),
        *("POST /v1/me/password", "POST /v1/me/roles", "POST /v1/password-resets"),
        *("POST /v1/password-resets/confirm", "GET /v1/packages", "POST /v1/orders"),
        *("GET /v1/orders", "GET /v1/orders/{order_id}", "GET /v1/wallet"),
        *("GET /v1/wallet/history", "GET /v1/wallet/history.csv", "GET /v1/wallet/totals"),
        *("GET /v1/gift-items", "GET /v1/rooms", "POST /v1/rooms", "GET /v1/rooms/{room_id}"),
        *("POST /v1/rooms/{room_id}/end", "GET /v1/rooms/{room_id}/gifts"),
        *("POST /v1/rooms/{room_id}/gifts", "GET /v1/rooms/{room_id}/top-gifters"),
        *("GET /v1/earnings", "GET /v1/earnings/gifts", "GET /v1/operator/totals"),
        *("GET /v1/operator/check", "GET /v1/operator/orders", "GET /v1/operator/inbox"),
        *("POST /v1/webhooks/{provider}", "GET /livez", "GET /readyz"),
    }


def test_every_operation_says_what_it_is_for(document):
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"].endswith("."), name
        assert operation["tags"], name
        assert "security" in operation, name
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_every_struct_and_every_answer_is_described(document):
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert answer["description"], (name, status)


def test_every_reference_leads_somewhere(document):
    for reference in references(document):
        *parents, name = reference.removeprefix("#/").split("/")
        assert parents == ["components", "schemas"]
        assert name in document["components"]["schemas"]


def test_refusals_are_problem_details_with_their_codes(document):
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if int(status) < 400 or name == "GET /readyz":
                continue
            content = answer["content"][reply.PROBLEM_MEDIA_TYPE]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            for code, example in content["examples"].items():
                assert reply.REFUSALS[code].status == int(status), (name, code)
                assert example["value"]["code"] == code
                assert f"`{code}`" in answer["description"]


def test_a_route_behind_a_session_says_so(document):
    for name, operation in operations(document):
        needs_session = operation["security"] == describe.SIGNED_IN
        assert needs_session == ("401" in operation["responses"]) or name in (
            "POST /v1/sessions",  # 401: wrong password.
            "POST /v1/webhooks/{provider}",  # 401: wrong signature.
            "POST /v1/rooms/{room_id}/tickets",  # 401: a session that is none.
        )


def test_what_moves_coins_needs_a_key(document):
    for name in ("POST /v1/orders", "POST /v1/rooms/{room_id}/gifts"):
        operation = dict(operations(document))[name]
        [key] = [each for each in operation["parameters"] if each["in"] == "header"]
        assert (key["name"], key["required"]) == ("Idempotency-Key", True)
        assert key["schema"] == {"type": "string"}


def test_a_gift_is_documented_from_the_structs_of_the_lane(document):
    operation = dict(operations(document))["POST /v1/rooms/{room_id}/gifts"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    answer = operation["responses"]["201"]["content"]["application/json"]["schema"]

    assert body == {"$ref": "#/components/schemas/GiftRequest"}
    assert answer == {"$ref": "#/components/schemas/SentGift"}


async def test_it_is_served(world):
    answer = await world.client.get("/v1/openapi.json")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["paths"]
