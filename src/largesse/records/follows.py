"""Who follows which creator."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from largesse.records.database import Database, insert
from largesse.records.tables import columns, follows


class Follow(msgspec.Struct, frozen=True):
    """A viewer who follows a creator."""

    viewer_id: str
    creator_id: str
    created_at: int


_COLUMNS = columns(follows, Follow)


async def follow(db: Database, viewer_id: str, creator_id: str, *, now: int) -> bool:
    """Follow a creator; False where the viewer did already."""
    async with db.begin() as tx:
        statement = insert(tx, follows).values(
            viewer_id=viewer_id, creator_id=creator_id, created_at=now
        )
        added = await tx.execute(statement.on_conflict_do_nothing())
    return added.rowcount == 1


async def unfollow(db: Database, viewer_id: str, creator_id: str) -> bool:
    """Follow a creator no longer; False where the viewer did not."""
    statement = follows.delete().where(
        follows.c.viewer_id == viewer_id, follows.c.creator_id == creator_id
    )
    async with db.begin() as tx:
        return (await tx.execute(statement)).rowcount == 1


async def is_following(db: Database, viewer_id: str, creator_id: str) -> bool:
    """Whether this viewer follows this creator."""
    return bool(await followers_among(db, creator_id, [viewer_id]))


async def followers_among(db: Database, creator_id: str, viewer_ids: Sequence[str]) -> set[str]:
    """Which of these viewers follow this creator."""
    statement = sa.select(follows.c.viewer_id).where(
        follows.c.creator_id == creator_id, follows.c.viewer_id.in_(viewer_ids)
    )
    async with db.connect() as tx:
        return set((await tx.execute(statement)).scalars())


async def count_followers(db: Database, creator_id: str) -> int:
    """How many follow this creator."""
    statement = sa.select(sa.func.count()).where(follows.c.creator_id == creator_id)
    async with db.connect() as tx:
        return int((await tx.execute(statement)).scalar_one())


async def followed_by(db: Database, viewer_id: str, *, limit: int) -> list[Follow]:
    """Whom this viewer follows, the newest first."""
    statement = (
        sa.select(*_COLUMNS)
        .where(follows.c.viewer_id == viewer_id)
        .order_by(follows.c.created_at.desc(), follows.c.creator_id.desc())
        .limit(limit)
    )
    async with db.connect() as tx:
        return [Follow(*row) for row in await tx.execute(statement)]


async def following_among(db: Database, viewer_id: str, creator_ids: Sequence[str]) -> set[str]:
    """Which of these creators this viewer follows."""
    statement = sa.select(follows.c.creator_id).where(
        follows.c.viewer_id == viewer_id, follows.c.creator_id.in_(creator_ids)
    )
    async with db.connect() as tx:
        return set((await tx.execute(statement)).scalars())
