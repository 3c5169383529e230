"""The inbox: what providers told us, kept once before it is answered, handled later and once."""

import msgspec
import sqlalchemy as sa

from largesse.records.database import Database, insert
from largesse.records.tables import columns, inbox


class Event(msgspec.Struct, frozen=True):
    """
    One verified event of a provider, as it came.

    `reference` is the payment it is about; `body` the raw bytes. It is due at `next_attempt_at`,
    which whoever handles it puts off meanwhile, until `handled_at` is set; `problem` is what went
    wrong the last time.
    """

    provider: str
    event_id: str
    environment: str
    reference: str
    body: bytes
    received_at: int
    handled_at: int | None = None
    attempts: int = 0
    next_attempt_at: int = 0
    problem: str | None = None


_COLUMNS = columns(inbox, Event)


async def store(db: Database, event: Event) -> bool:
    """Keep an event; False where it was here already. It is on the disk when this returns."""
    async with db.begin() as tx:
        statement = insert(tx, inbox).values(msgspec.structs.asdict(event))
        stored = await tx.execute(statement.on_conflict_do_nothing())
    return stored.rowcount == 1


async def claim(db: Database, now: int, until: int, limit: int) -> list[Event]:
    """
    Events that are due, the longest due first, which until then nobody else will be given.

    Whoever claims them and dies leaves them to come due again at `until`. Two who ask at once get
    different ones, and neither waits for the other.
    """
    assert now < until
    due = (
        sa.select(*_COLUMNS)
        .where(inbox.c.handled_at.is_(None), inbox.c.next_attempt_at <= now)
        .order_by(inbox.c.next_attempt_at, inbox.c.received_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    async with db.begin() as tx:
        events = [Event(*row) for row in await tx.execute(due)]
        keys = [(event.provider, event.environment, event.event_id) for event in events]
        if keys:
            claimed = inbox.update().where(sa.tuple_(*inbox.primary_key.columns).in_(keys))
            await tx.execute(claimed.values(next_attempt_at=until))
    return events


async def waiting(db: Database, limit: int) -> list[Event]:
    """Events that are not handled yet, claimed or not, those whose turn comes first before others."""
    statement = (
        sa.select(*_COLUMNS)
        .where(inbox.c.handled_at.is_(None))
        .order_by(inbox.c.next_attempt_at, inbox.c.received_at)
        .limit(limit)
    )
    async with db.connect() as tx:
        return [Event(*row) for row in await tx.execute(statement)]


async def mark_handled(db: Database, event: Event, *, now: int) -> None:
    """Note that an event has been handled; again is no harm."""
    await _update(db, event, handled_at=now, attempts=event.attempts + 1, problem=None)


async def mark_failed(db: Database, event: Event, *, next_attempt_at: int, problem: str) -> None:
    """Note what went wrong and when to try again."""
    await _update(
        db,
        event,
        attempts=event.attempts + 1,
        next_attempt_at=next_attempt_at,
        problem=problem,
    )


async def recent(
    db: Database,
    *,
    provider: str | None = None,
    reference: str | None = None,
    is_handled: bool | None = None,
    before: tuple[int, str] | None = None,
    limit: int,
) -> list[Event]:
    """
    Events by when they came, newest first; `before` is (received_at, event_id).

    Of one provider, about one payment, handled or waiting, where these are given.
    """
    statement = (
        sa.select(*_COLUMNS)
        .order_by(inbox.c.received_at.desc(), inbox.c.event_id.desc())
        .limit(limit)
    )
    if provider is not None:
        statement = statement.where(inbox.c.provider == provider)
    if reference is not None:
        statement = statement.where(inbox.c.reference == reference)
    if is_handled is not None:
        statement = statement.where(
            inbox.c.handled_at.is_not(None) if is_handled else inbox.c.handled_at.is_(None)
        )
    if before is not None:
        statement = statement.where(sa.tuple_(inbox.c.received_at, inbox.c.event_id) < before)
    async with db.connect() as tx:
        return [Event(*row) for row in await tx.execute(statement)]


async def _update(db: Database, event: Event, **changes: object) -> None:
    statement = (
        inbox.update()
        .where(
            inbox.c.provider == event.provider,
            inbox.c.environment == event.environment,
            inbox.c.event_id == event.event_id,
            inbox.c.handled_at.is_(None),
        )
        .values(changes)
    )
    async with db.begin() as tx:
        await tx.execute(statement)
