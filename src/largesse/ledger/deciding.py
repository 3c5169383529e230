"""
What a batch does, decided with `rules.py` in memory and put into the form in which it is kept.

The same for every engine that commits in groups, so that the same requests make the same batch,
byte by byte, and its hash says the same wherever it is copied to.
"""

from collections.abc import Sequence
from hashlib import sha256

import msgspec

from largesse import ids
from largesse.ledger import encoding, rules
from largesse.ledger.batching import Request
from largesse.ledger.history import balance_of
from largesse.ledger.model import (
    Account,
    AccountFlags,
    AccountOutcome,
    Balance,
    Chain,
    Change,
    ChangeKind,
    Outcome,
    Posted,
    Refused,
    Result,
    TransferFlags,
)
from largesse.ledger.rules import Pending

_CLOSED = int(AccountFlags.CLOSED)
_TWO_PHASE = int(
    TransferFlags.PENDING
    | TransferFlags.POST_PENDING_TRANSFER
    | TransferFlags.VOID_PENDING_TRANSFER
)
# Read once: an enum's member costs more than what is made with it.
_CREATED, _EXISTS = Outcome.CREATED, Outcome.EXISTS
_CHAIN = ChangeKind.CHAIN


class Decision(msgspec.Struct, kw_only=True):
    """
    What a batch does, in order. Without events there is nothing to write.

    `events` are kind and id in turn. `first_timestamp` is the batch's, `last_timestamp` the newest
    one used.
    """

    first_timestamp: int
    last_timestamp: int
    events: list[bytes] = []
    changes: list[Change] = []
    created: list[Posted] = []
    new_accounts: list[Account] = []
    refused: list[Refused] = []
    expired: list[bytes] = []


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """
    A decision as it is kept: its place in the order, its rows, and its hash.

    `transfers` are the rows of `encoding.encode_posted`, `touched` the accounts whose totals are
    to be written as they are now.
    """

    sequence: int
    first_timestamp: int
    last_timestamp: int
    events: bytes
    hash: bytes
    transfers: bytes
    touched: list[bytes]
    refused: list[tuple[bytes, bytes]]
    pendings: list[Pending]


def decide(state: rules.State, requests: list[Request], due: list[bytes], now: int) -> Decision:
    """
    Decide what runs out, then every request, and note its results in it.

    `now` is the first timestamp that may be given: later than any before it.
    """
    decision = Decision(first_timestamp=now, last_timestamp=now - 1)
    events = decision.events
    timestamp = now
    for transfer_id in due:
        if rules.expire(state, transfer_id, timestamp):
            events += (encoding.EVENT_EXPIRED, transfer_id)
            ran_out = (state.transfers[transfer_id],)
            decision.expired.append(transfer_id)
            decision.changes.append(Change(timestamp, ChangeKind.EXPIRED, ran_out))
            timestamp += 1
    for request in requests:
        for account in request.accounts:
            timestamp = _decide_account(state, request, account, timestamp, decision)
        for chain in request.chains:
            timestamp = _decide_chain(state, request, chain, timestamp, decision)
    decision.last_timestamp = timestamp - 1
    return decision


def _decide_account(
    state: rules.State, request: Request, account: Account, timestamp: int, decision: Decision
) -> int:
    """Decide one account and note its outcome; returns the next free timestamp."""
    outcome = rules.create_account(state, account, timestamp)
    request.results.append(outcome)
    if outcome is not AccountOutcome.CREATED:
        return timestamp
    kind = encoding.EVENT_CLOSED_ACCOUNT if account.flags & _CLOSED else encoding.EVENT_ACCOUNT
    decision.events += (kind, account.id)
    new = state.accounts[account.id]
    decision.new_accounts.append(new)
    created = encoding.as_created(new, kind)
    decision.changes.append(Change(timestamp, ChangeKind.ACCOUNT, account=created))
    return timestamp + 1


def _decide_chain(
    state: rules.State, request: Request, chain: Chain, timestamp: int, decision: Decision
) -> int:
    """Decide one chain and note its result; returns the next free timestamp."""
    known_refused = len(state.refused)
    created, events = decision.created, decision.events
    outcome = rules.create_chain(state, chain, timestamp, created)
    answered_at = timestamp
    if outcome is _CREATED:
        posted = tuple(created[-len(chain) :])
        kind = encoding.EVENT_CHAIN_HEAD
        for transfer in chain:
            events += (kind, transfer.id)
            kind = encoding.EVENT_CHAIN_REST
        timestamp += len(chain)
        decision.changes.append(Change(timestamp - 1, _CHAIN, posted))
    elif outcome is _EXISTS:
        answered_at = state.transfers[chain[0].id].timestamp
    elif len(state.refused) > known_refused:
        refusal = next(reversed(state.refused.values()))
        events += (encoding.EVENT_REFUSED, refusal.transfer_id)
        decision.refused.append(refusal)
        timestamp = refusal.timestamp + 1
    balances: list[Balance | None] = []
    accounts = state.accounts
    for account_id in request.balances_of:
        account = accounts.get(account_id)
        balances.append(None if account is None else balance_of(account))
    request.results.append(Result(outcome, answered_at, tuple(balances)))
    return timestamp


def close_batch(
    state: rules.State, decision: Decision, sequence: int, previous_hash: bytes
) -> Batch:
    """The decision as the batch of this sequence, behind the batch with this hash."""
    batch, content = lay_out(state, decision, sequence)
    return msgspec.structs.replace(batch, hash=chained_hash(previous_hash, content))


def lay_out(state: rules.State, decision: Decision, sequence: int) -> tuple[Batch, bytes]:
    """The decision as the batch of this sequence, still without its hash, and what that covers."""
    created, expired, refused = decision.created, decision.expired, decision.refused
    touched = {account.id for account in decision.new_accounts}
    pending_ids = list(expired)
    for transfer_id in expired:
        p = state.transfers[transfer_id].transfer
        touched.add(p.debit_account_id)
        touched.add(p.credit_account_id)
    transfers = [posted.transfer for posted in created]
    touched.update([t.debit_account_id for t in transfers])
    touched.update([t.credit_account_id for t in transfers])
    pending_ids += [
        t.id if t.pending_id == ids.ZERO else t.pending_id
        for t in transfers
        if t.flags & _TWO_PHASE
    ]
    assert len(created) <= encoding.ROWS_MAX
    assert len(touched) <= encoding.ROWS_MAX
    batch = Batch(
        sequence=sequence,
        first_timestamp=decision.first_timestamp,
        last_timestamp=decision.last_timestamp,
        events=b"".join(decision.events),
        hash=b"",
        transfers=b"".join([encoding.encode_posted(posted) for posted in created]),
        touched=list(touched),
        refused=[(r.transfer_id, encoding.encode_refused(r)) for r in refused],
        pendings=[state.pendings[id] for id in dict.fromkeys(pending_ids)],
    )
    creations = [encoding.encode_account_creation(a, _CLOSED) for a in decision.new_accounts]
    expiries = [
        transfer_id + state.pendings[transfer_id].resolved_at.to_bytes(8, "big")
        for transfer_id in expired
    ]
    return batch, hashed_content(batch, creations, expiries)


def batch_hash(
    previous: bytes, batch: Batch, creations: Sequence[bytes], expiries: Sequence[bytes]
) -> bytes:
    """The batch's hash, behind the batch with this one."""
    return chained_hash(previous, hashed_content(batch, creations, expiries))


def hashed_content(batch: Batch, creations: Sequence[bytes], expiries: Sequence[bytes]) -> bytes:
    """Everything that the batch did, as its hash covers it."""
    head = encoding.encode_batch_head(batch.sequence, batch.first_timestamp, batch.last_timestamp)
    parts = [head, batch.events, *creations, batch.transfers, *expiries]
    parts += [part for row in batch.refused for part in row]
    return b"".join(parts)


def chained_hash(previous: bytes, content: bytes) -> bytes:
    """SHA-256 over the hash before it and what a batch did."""
    hash = sha256(previous)
    hash.update(content)
    return hash.digest()
