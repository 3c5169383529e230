"""
Webhooks in: verify the raw bytes, store each event once, answer. Handling comes later, and once.
"""

from collections.abc import Mapping

from largesse.payments import Provider
from largesse.records import inbox
from largesse.records.database import Database


async def receive(
    db: Database, provider: Provider, *, headers: Mapping[str, str], raw: bytes, now: int
) -> int:
    """
    Take in one webhook and say how many of its events are new; 2xx may be answered afterwards.

    Header names are in lower case; `raw` is the body as it came, before any decoding, because
    that is what the provider signed.

    Raises:
        Rejected: signature_invalid, webhook_unreadable.
    """
    await provider.verify(headers, raw, now)
    references = provider.read(raw)

    stored = 0
    for reference in references:
        stored += await inbox.store(
            db,
            inbox.Event(
                provider=provider.name,
                event_id=reference.event_id,
                environment=reference.environment,
                reference=reference.payment_id,
                body=raw,
                received_at=now,
                handled_at=None,
                attempts=0,
                next_attempt_at=now,
                problem=None,
            ),
        )
    return stored
