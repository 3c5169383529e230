"""
The picture of a room that has no video: a landscape in its creator's colours.

The stylesheet draws it (`css/room.css`); here is chosen which, for ever the same for a creator.
"""

from hashlib import blake2b

import msgspec

COLOURS = 12
"""As many as avatars have grounds, in the same order."""
LANDS = 3


class Cover(msgspec.Struct, frozen=True):
    """Numbers of the colours and of the land."""

    colour: int
    land: int


def cover_of(creator_id: str) -> Cover:
    """The cover of a creator's rooms; its colours are those of his avatar."""
    chance = blake2b(creator_id.encode(), digest_size=8).digest()
    return Cover(chance[0] % COLOURS, chance[4] % LANDS)
