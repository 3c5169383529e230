"""
Ids: 16 bytes inside, 32 hex digits outside, the same on every retry and every machine.

Every id that leads a chain of transfers ends in a zero byte; the transfers of its chain count up
from it (`nth`). So one hash serves a whole chain, and the chain's id can be read off any transfer.

Two ranges keep the ledger's index growing at its right end only: ids that carry a time begin with
the 48 bits of that time in milliseconds (the first byte is above zero since 2004), ids hashed from
anything else begin with a zero byte.
"""

import re
from hashlib import blake2b

SIZE = 16
ZERO = bytes(SIZE)
MAXIMUM = b"\xff" * SIZE
CHAIN_LENGTH_MAX = 255
KEY_LENGTH_MAX = 200
"""The longest idempotency key, in characters."""

_UUID7 = re.compile(
    r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?7[0-9a-fA-F]{3}-?[89abAB][0-9a-fA-F]{3}-?[0-9a-fA-F]{12}"
)
_HEX_DIGITS = re.compile(r"[0-9a-fA-F]{32}")
_SEPARATOR = b"\x1f"


def ordered(milliseconds: int, entropy: bytes) -> bytes:
    """A new id in the order of time: 48 bits of Unix milliseconds, nine random bytes, a zero byte."""
    assert 0 < milliseconds < 1 << 48
    assert len(entropy) == 9
    return milliseconds.to_bytes(6, "big") + entropy + b"\x00"


def derive(*parts: str | bytes | int) -> bytes:
    """
    The id of whatever these parts name: equal parts give equal ids, for ever.

    The first byte is zero (the range of ids without a time) and so is the last (the head of a chain).
    """
    assert parts
    encoded = _SEPARATOR.join(
        part if isinstance(part, bytes) else str(part).encode() for part in parts
    )
    return b"\x00" + blake2b(encoded, digest_size=14).digest() + b"\x00"


def is_key(text: str) -> bool:
    """
    Whether a text can be an idempotency key: one that is the same through every door.

    A header may come in one of two encodings and loses the spaces around it, a frame and a form do
    neither; so what is not plain ASCII, or stands among spaces, would be two keys and pay twice.
    """
    is_plain = text.isascii() and text.isprintable() and text == text.strip()
    return is_plain and 0 < len(text) <= KEY_LENGTH_MAX


def from_key(owner: str, key: str) -> bytes:
    """
    The id of what `owner` asked for under this idempotency key.

    A UUIDv7 gives its 48-bit time, so that the ledger's index stays in order; owner and key
    together give the rest, so the id is deterministic and nobody else's. Any other text is hashed
    whole: right, but slower. Use `key_time` to refuse a time too far off.
    """
    assert owner
    assert 0 < len(key) <= KEY_LENGTH_MAX
    if _UUID7.fullmatch(key):
        raw = bytes.fromhex(key.replace("-", ""))
        return raw[:6] + blake2b(owner.encode() + raw, digest_size=9).digest() + b"\x00"
    return derive("key", owner, key)


def new_key(milliseconds: int, entropy: bytes) -> str:
    """A UUIDv7 (RFC 9562) of this time and these ten random bytes, as an idempotency key."""
    assert 0 < milliseconds < 1 << 48
    assert len(entropy) == 10
    raw = bytearray(milliseconds.to_bytes(6, "big") + entropy)
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def key_time(chain_id: bytes) -> int | None:
    """The Unix milliseconds an id carries, or None where it was hashed whole."""
    return None if chain_id[0] == 0 else int.from_bytes(chain_id[:6], "big")


def nth(chain_id: bytes, n: int) -> bytes:
    """The id of the n-th transfer of a chain, counted from zero: `nth(id, 0) == id`."""
    assert len(chain_id) == SIZE
    assert chain_id[-1] == 0
    assert 0 <= n <= CHAIN_LENGTH_MAX
    return chain_id[:15] + bytes((n,))


def head(transfer_id: bytes) -> bytes:
    """The id of the chain that a transfer made with `nth` belongs to."""
    assert len(transfer_id) == SIZE
    return transfer_id[:15] + b"\x00"


def text(id: bytes) -> str:
    """The 32 hex digits that people and programs outside see."""
    assert len(id) == SIZE
    return id.hex()


def parse(text: str) -> bytes | None:
    """The id behind 32 hex digits, or None where the text is not one."""
    return bytes.fromhex(text) if _HEX_DIGITS.fullmatch(text) else None
