"""
Recompute a ledger file from its beginning: what an edit outside the engine leaves behind is found.

The batch hashes cover everything that never changes; the totals and histories of accounts are
recomputed from the transfers and compared with what the file says.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Generator, Iterator
from hashlib import sha256
from pathlib import Path

from largesse import ids
from largesse.ledger import LedgerUnavailable, Problem, encoding, sqlite_file
from largesse.ledger.model import Account, AccountFlags, Posted, TransferFlags
from largesse.ledger.rules import SECOND, Pending, PendingStatus
from largesse.ledger.threads import FileThread

_CLOSED = int(AccountFlags.CLOSED)
_DEBITS_LIMITED = int(AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS)
_CREDITS_LIMITED = int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS)
_PENDING = int(TransferFlags.PENDING)
_POST = int(TransferFlags.POST_PENDING_TRANSFER)
_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
_CLOSING_DEBIT = int(TransferFlags.CLOSING_DEBIT)
_CLOSING_CREDIT = int(TransferFlags.CLOSING_CREDIT)
PROBLEMS_MAX = 100
"""After so many the file is beyond doubt damaged, and the rest is not listed."""


async def verify(path: Path, loop: asyncio.AbstractEventLoop) -> AsyncIterator[Problem | int]:
    """See `Ledger.verify`. Reads one snapshot of the file in a thread of its own."""
    thread = FileThread("ledger-verify", loop)
    steps = None
    try:
        await thread.open(lambda: sqlite_file.connect_reader(path))
        steps = _steps(thread)
        found = 0
        while (step := await thread.call(lambda: next(steps, None))) is not None:
            yield step
            found += isinstance(step, Problem)
            if found >= PROBLEMS_MAX:
                break
    except LedgerUnavailable as error:
        yield Problem(f"the file cannot be read: {error}", path.name)
    finally:
        if steps is not None:
            await thread.call(steps.close)
        await thread.close()


def _steps(thread: FileThread) -> Generator[Problem | int, None, None]:
    db = thread.db
    with sqlite_file.snapshot(db):
        yield from _Verification(db).steps()


class _Verification:
    """One pass over the file, with every account's totals as they should be."""

    def __init__(self, db: sqlite_file.Connection) -> None:
        self._db = db
        self._accounts: dict[bytes, Account] = {}
        self._pendings: dict[bytes, Posted] = {}
        self._fates: dict[bytes, Pending] = {}
        self._counts = {"transfers": 0, "accounts": 0, "refused": 0}
        self._last_timestamp = 0

    def steps(self) -> Iterator[Problem | int]:
        hash, expected = bytes(32), 1
        rows = self._db.execute(
            "SELECT sequence, first_timestamp, last_timestamp, events, hash FROM batches"
            " ORDER BY sequence"
        )
        for sequence, first, last, events, stored in rows:
            where = f"batch {sequence}"
            if sequence != expected:
                yield Problem(f"batch {expected} is missing", where)
            expected = sequence + 1
            try:
                problems, content = self._batch(events, first, last)
            except (struct.error, KeyError, IndexError, ValueError) as error:
                yield Problem(f"a row of this batch is missing or damaged ({error!r})", where)
                hash = stored
                continue
            for problem in problems:
                yield Problem(problem, where)
            head = encoding.encode_batch_head(sequence, first, last)
            computed = sha256(hash + head + events + content).digest()
            if computed != stored:
                yield Problem("its content is not what was hashed when it was written", where)
            # Go on from what is written, so that one edited batch is one finding.
            hash = stored
            if sequence % 16 == 0:
                yield self._counts["transfers"]
        yield from self._totals()
        yield self._counts["transfers"]

    def _batch(self, events: bytes, first: int, last: int) -> tuple[list[str], bytes]:
        listed = sqlite_file.split_events(events)
        by_kind: dict[bytes, list[bytes]] = {}
        for kind, id in listed:
            by_kind.setdefault(kind, []).append(id)
        chained = [
            id
            for kind, id in listed
            if kind in (encoding.EVENT_CHAIN_HEAD, encoding.EVENT_CHAIN_REST)
        ]
        new_accounts = [id for kind, id in listed if kind in sqlite_file.ACCOUNT_KINDS]
        expired = by_kind.get(encoding.EVENT_EXPIRED, [])
        refused = by_kind.get(encoding.EVENT_REFUSED, [])
        self._counts["transfers"] += len(chained)
        self._counts["accounts"] += len(new_accounts)
        self._counts["refused"] += len(refused)

        problems: list[str] = []
        accounts = dict(sqlite_file.account_rows(self._db, new_accounts))
        transfers = dict(sqlite_file.rows(self._db, "transfers", chained))
        pendings = dict(sqlite_file.pending_rows(self._db, expired))
        refusals = dict(sqlite_file.rows(self._db, "refused", refused))
        posted = {id: encoding.decode_posted(id, transfers[id]) for id in chained}
        for kind, id in listed:
            if kind in sqlite_file.ACCOUNT_KINDS:
                problems += self._time(accounts[id].timestamp, first, last)
                self._accounts[id] = sqlite_file.as_created(accounts[id], kind)
            elif kind == encoding.EVENT_EXPIRED:
                problems += self._time(pendings[id].resolved_at, first, last)
                self._resolve(self._pendings[id], PendingStatus.EXPIRED, pendings[id].resolved_at)
            elif id in posted:
                problems += self._time(posted[id].timestamp, first, last)
                problems += self._apply(posted[id])
        parts = [encoding.encode_account_creation(accounts[id], _CLOSED) for id in new_accounts]
        parts += [id + transfers[id] for id in chained]
        parts += [id + pendings[id].resolved_at.to_bytes(8, "big") for id in expired]
        parts += [id + refusals[id] for id in refused]
        return problems, b"".join(parts)

    def _time(self, timestamp: int, first: int, last: int) -> list[str]:
        before, self._last_timestamp = self._last_timestamp, timestamp
        if not max(first, before + 1) <= timestamp <= last:
            return [f"timestamp {timestamp} does not rise"]
        return []

    def _apply(self, posted: Posted) -> list[str]:
        t = posted.transfer
        debit, credit = self._accounts[t.debit_account_id], self._accounts[t.credit_account_id]
        if t.flags & _PENDING:
            debit.debits_pending += t.amount
            credit.credits_pending += t.amount
            debit.flags |= _CLOSED if t.flags & _CLOSING_DEBIT else 0
            credit.flags |= _CLOSED if t.flags & _CLOSING_CREDIT else 0
            self._pendings[t.id] = posted
            expires_at = posted.timestamp + t.timeout * SECOND if t.timeout else 0
            self._fates[t.id] = Pending(t.id, PendingStatus.PENDING, expires_at)
        else:
            if t.pending_id != ids.ZERO:
                void = bool(t.flags & _VOID)
                pending = self._pendings[t.pending_id]
                status = PendingStatus.VOIDED if void else PendingStatus.POSTED
                self._resolve(pending, status, posted.timestamp)
            if not t.flags & _VOID:
                debit.debits_posted += t.amount
                credit.credits_posted += t.amount
        expected = Posted(
            t,
            posted.timestamp,
            debit.debits_posted,
            debit.credits_posted,
            credit.debits_posted,
            credit.credits_posted,
            debit.last_transfer_id,
            credit.last_transfer_id,
        )
        debit.last_transfer_id = credit.last_transfer_id = t.id
        problems = []
        if posted != expected:
            problems.append(f"transfer {ids.text(t.id)} does not follow from the ones before it")
        for account in (debit, credit):
            if not _within_limits(account):
                problems.append(f"account {ids.text(account.id)} is beyond its limit")
        return problems

    def _resolve(self, pending: Posted, status: PendingStatus, resolved_at: int) -> None:
        t = pending.transfer
        debit, credit = self._accounts[t.debit_account_id], self._accounts[t.credit_account_id]
        debit.debits_pending -= t.amount
        credit.credits_pending -= t.amount
        if status is not PendingStatus.POSTED:
            debit.flags &= ~_CLOSED if t.flags & _CLOSING_DEBIT else ~0
            credit.flags &= ~_CLOSED if t.flags & _CLOSING_CREDIT else ~0
        fate = self._fates[t.id]
        fate.status, fate.resolved_at = status, resolved_at

    def _totals(self) -> Iterator[Problem]:
        """The file's own idea of every account, row count and pending against ours."""
        for id, record in self._db.execute("SELECT id, record FROM accounts"):
            where = f"account {ids.text(id)}" if len(id) == ids.SIZE else "accounts"
            try:
                stored = encoding.decode_account(id, record)
            except struct.error:
                yield Problem("its row is damaged", where)
                continue
            if stored != self._accounts.get(id):
                yield Problem("its totals are not what its transfers add up to", where)
        for table, expected in self._counts.items():
            [count] = self._db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
            if count != expected:
                yield Problem(f"{count} rows where the batches made {expected}", table)
        fates = set(self._db.execute("SELECT id, status, expires_at, resolved_at FROM pendings"))
        if fates != {
            (id, int(fate.status), fate.expires_at, fate.resolved_at)
            for id, fate in self._fates.items()
        }:
            yield Problem("pending transfers are not where the batches left them", "pendings")
        numbers = self._db.execute("SELECT min(n), max(n), count(*) FROM numbers").fetchone()
        if numbers != (0, encoding.ROWS_MAX - 1, encoding.ROWS_MAX):
            yield Problem("the row numbers that batches are cut by are not whole", "numbers")


def _within_limits(account: Account) -> bool:
    if account.flags & _DEBITS_LIMITED:
        return account.debits_posted + account.debits_pending <= account.credits_posted
    if account.flags & _CREDITS_LIMITED:
        return account.credits_posted + account.credits_pending <= account.debits_posted
    return True
