"""The API document: OpenAPI 3.1, made by Litestar from the handlers and their structs."""

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, License, SecurityScheme, Server, Tag
from litestar.types import ControllerRouterHandler

from largesse import __version__, gifting, money, reports
from largesse.web import (
    accounts,
    describe,
    earnings,
    gift_lane,
    gifts,
    health,
    operator,
    orders,
    rooms,
    wallet,
    watching,
    webhooks,
)

DESCRIPTION = """\
Coins, recharge, live gifts and diamonds, exact to the coin.

- **Log in** with `POST /v1/sessions` and send `Authorization: Bearer <token>` from then on.
- **Money** is a whole number in the minor unit of its currency. **Diamonds** are decimal text, as
  `"12.5000"`. **Instants** are RFC 3339 in UTC. **Ids** are 32 hex digits.
- What moves coins takes an **`Idempotency-Key`**: make one for each press, best a UUIDv7, keep it,
  and send it again until there is an answer. Nothing happens twice, however often it is sent.
  Tried out on this page, a key that is left empty is made for you.
- A **refusal** is problem details (RFC 9457); programs hold on to its `code`. [All
  codes](/docs/errors).
- **Lists** come in pages: send `next_cursor` back as `cursor`.
"""

TAGS = (
    (accounts.TAG, "Sign up, log in, roles, passwords."),
    (orders.TAG, "Packages of coins, and the orders that buy them."),
    (wallet.TAG, "What a viewer has, and where it went."),
    (rooms.TAG, "Who is live."),
    (watching.TAG, "Tickets for sockets, keys for screens, followers."),
    (gifts.TAG, "Send a gift, and see who did."),
    (earnings.TAG, "What a creator earned, with the split of each gift."),
    (operator.TAG, "The installation at a glance."),
    (webhooks.TAG, "For payment providers."),
    (health.TAG, "For whoever watches the server."),
)


STRUCT_MODULES = (
    *(accounts, describe, earnings, gift_lane, gifting, gifts, health, money, operator, orders),
    *(reports, rooms, wallet, watching, webhooks),
)
"""Where the structs of the API are written, with what they are in their docstrings."""


def document(routes: Sequence[ControllerRouterHandler]) -> bytes:
    """The document as JSON. It takes a while to make, so make it once, when it is asked for."""
    described = Litestar(list(routes), openapi_config=_config(), logging_config=None)
    schema: dict[str, Any] = described.openapi_schema.to_schema()
    about = _docstrings()
    for name, component in schema["components"]["schemas"].items():
        component["description"] = about[name]
    for path in schema["paths"].values():
        for operation in path.values():
            _mend_parameters(operation)
            _mend_responses(operation, about)
    return msgspec.json.format(msgspec.json.encode(_with_whole_numbers(schema)), indent=1)


def _config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Largesse",
        version=__version__,
        description=DESCRIPTION,
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        servers=[Server(url="/")],
        tags=[Tag(name=name, description=description) for name, description in TAGS],
        operation_id_creator=_operation_id,
        components=Components(
            security_schemes={
                "session": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="The token of `POST /v1/sessions`.",
                )
            }
        ),
    )


def _operation_id(handler: HTTPRouteHandler, *_: object) -> str:
    """The handler's name as clients are used to it: `postGift`."""
    first, *rest = handler.handler_name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _docstrings() -> dict[str, str]:
    """What each struct is, by its name: the docstring is written once, beside the struct."""
    return {
        name: inspect.cleandoc(struct.__doc__ or "")
        for module in STRUCT_MODULES
        for name, struct in vars(module).items()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct)
    }


def _mend_parameters(operation: dict[str, Any]) -> None:
    """A parameter is there or not, never null; and an idempotency key has to be there."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        schema.pop("description", None)
        for choice in schema.pop("oneOf", ()):
            if choice.get("type") != "null":
                schema.update(choice)
        if parameter["name"] == describe.IDEMPOTENCY_KEY:
            parameter["required"] = True


def _mend_responses(operation: dict[str, Any], about: dict[str, str]) -> None:
    """Say what an answer is, and leave out the form of a refusal that is Litestar's and not ours."""
    for status, answer in list(operation["responses"].items()):
        answer.pop("headers", None)
        [content] = (answer.get("content") or {"": {}}).values()
        reference = content.get("schema", {}).get("$ref")
        if int(status) >= 400 and reference is None:
            del operation["responses"][status]
            continue
        for example in content.get("examples", {}).values():
            example.pop("id", None)
        if int(status) < 300:
            name = (reference or "").rpartition("/")[2]
            answer["description"] = about[name].partition("\n\n")[0] if name else "Done."


def _with_whole_numbers(value: Any) -> Any:
    """Litestar writes bounds as floats; a bound of a whole number is one."""
    if isinstance(value, dict):
        return {name: _with_whole_numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
