"""Bytes and query parameters into structs, or a refusal that says which field is wrong."""

import base64
import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from largesse import ids
from largesse.errors import Rejected

T = TypeVar("T")

_Instant = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Place: type[tuple[int, str]] = tuple[_Instant, _Id]
"""A place in a list in the order of time: when, and the id of what was last. Anyone can write one."""
EventPlace: type[tuple[int, str]] = tuple[_Instant, str]
"""The same in a list of what providers told us, whose ids are theirs."""

_AT_PATH = re.compile(r" - at `\$\.?(?P<path>.*)`$", re.DOTALL)
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING_FIELD = re.compile(r"Object missing required field `(?P<name>.*)`$", re.DOTALL)
WHOLE = "$"
"""The path of the body itself."""

_NAME_LENGTH_MAX = 100

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def body(raw: bytes, type: type[T]) -> T:
    """
    The struct a JSON body holds, decoded strictly: text is no number, and nothing is ignored.

    Raises:
        Rejected: body_not_json, body_too_deep, unknown_field, body_invalid.
    """
    decoder = _decoders.get(type)
    if decoder is None:
        decoder = _decoders[type] = msgspec.json.Decoder(type)
    try:
        decoded: T = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise invalid_body(str(error)) from error
    except RecursionError as error:
        raise Rejected("body_too_deep") from error
    except ValueError as error:  # Malformed JSON, or bytes that are not UTF-8.
        raise Rejected("body_not_json") from error
    return decoded


def invalid_body(message: str) -> Rejected:
    """The refusal behind one of msgspec's validation messages, with the path of the field."""
    at = _AT_PATH.search(message)
    path = at["path"] if at else ""
    what = message[: at.start()] if at else message
    if unknown := _UNKNOWN_FIELD.match(what):
        return Rejected("unknown_field", field=_join(path, unknown["name"]))
    if missing := _MISSING_FIELD.match(what):
        return Rejected("body_invalid", field=_join(path, missing["name"]), problem="is missing")
    return Rejected("body_invalid", field=path or WHOLE, problem=what[:1].lower() + what[1:])


def id_or_rejected(text: str, code: str) -> str:
    """
    The text of an id in its one form, 32 lower-case hex digits.

    Raises:
        Rejected: `code`, for an id of any other form names nothing.
    """
    parsed = ids.parse(text)
    if parsed is None or len(parsed) != ids.SIZE:
        raise Rejected(code)
    return ids.text(parsed)


def cursor(text: str | None, list_name: str, type: type[T]) -> T | None:
    """
    The place in a list that a cursor of ours marks; None is the beginning.

    Raises:
        Rejected: cursor_invalid when it is not one of ours, or one of another list.
    """
    if text is None:
        return None
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        name, place = msgspec.json.decode(raw, type=tuple[str, type])  # type: ignore[valid-type]
    except (ValueError, RecursionError) as error:
        raise Rejected("cursor_invalid") from error
    if name != list_name:
        raise Rejected("cursor_invalid")
    found: T = place
    return found


def to_cursor(list_name: str, place: object) -> str:
    """A place in a list as text nobody need understand; `cursor` reads it back."""
    raw = msgspec.json.encode((list_name, place))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _join(path: str, name: str) -> str:
    name = name[:_NAME_LENGTH_MAX]
    return f"{path}.{name}" if path else name
