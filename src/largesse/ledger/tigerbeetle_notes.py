"""
Notes on refusals: what TigerBeetle does not remember of a transfer that it refused.

It remembers for ever that the id is used up, but neither why nor what was asked. So each refusal is
written down in the same cluster, before anybody hears of it, as closed accounts on a ledger of
their own: their user data carries the refusal, 28 bytes in each, and no transfer can touch them.
"""

import zlib
from hashlib import blake2b
from typing import Any

import msgspec

from largesse.ledger.model import Account, AccountFlags, Outcome, Refused, Transfer
from largesse.ledger.tigerbeetle_wire import pack_account

NOTES_LEDGER = 2**32 - 1
"""No asset of ours: accounts on it are notes."""
PIECE_SIZE = 28
PIECES_MAX = 2**16 - 1

_Noted = tuple[bytes, Outcome, int, int, list[tuple[Any, ...]]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Noted).decode


def note_id(transfer_id: bytes, piece: int = 0) -> bytes:
    """The account that holds this piece of the note on a transfer; near its own id in the order."""
    hashed = blake2b(transfer_id, digest_size=8, person=b"refused").digest()
    return transfer_id[:6] + hashed + piece.to_bytes(2, "big")


def pieces_of(refused: Refused) -> list[Account]:
    """The accounts of one note. The first says by its code how many they are."""
    chain = [msgspec.structs.astuple(t) for t in refused.chain]
    noted = (refused.transfer_id, refused.outcome, refused.timestamp, refused.available, chain)
    text = zlib.compress(_encode(noted), 9, -zlib.MAX_WBITS)
    count = -(-len(text) // PIECE_SIZE)
    assert 0 < count <= PIECES_MAX
    text = text.ljust(count * PIECE_SIZE, b"\x00")
    pieces = []
    for n in range(count):
        piece = text[n * PIECE_SIZE : (n + 1) * PIECE_SIZE]
        pieces.append(
            Account(
                id=note_id(refused.transfer_id, n),
                ledger=NOTES_LEDGER,
                code=count,
                flags=int(AccountFlags.CLOSED),
                user_data_128=piece[:16],
                user_data_64=int.from_bytes(piece[16:24], "big"),
                user_data_32=int.from_bytes(piece[24:], "big"),
            )
        )
    return pieces


def pack_note(refused: Refused) -> list[bytes]:
    """The records of one note, linked: it is written whole or not at all."""
    pieces = pieces_of(refused)
    last = len(pieces) - 1
    return [pack_account(piece, linked=n < last) for n, piece in enumerate(pieces)]


def other_pieces(first: Account) -> list[bytes]:
    """The ids of the pieces behind the first."""
    return [first.id[:-2] + n.to_bytes(2, "big") for n in range(1, first.code)]


def read_note(pieces: list[Account]) -> Refused:
    """The refusal that these pieces hold, in their order."""
    text = b"".join(
        piece.user_data_128 + piece.user_data_64.to_bytes(8, "big") + piece.user_data_32.to_bytes(4)
        for piece in pieces
    )
    # What fills up the last piece stands behind the end that the text itself knows.
    noted = zlib.decompressobj(-zlib.MAX_WBITS).decompress(text)
    transfer_id, outcome, timestamp, available, chain = _decode(noted)
    transfers = tuple([Transfer(*fields) for fields in chain])
    return Refused(transfer_id, outcome, timestamp, available, transfers)
