"""
Account rows of the SQLite file are written late, and read as if they were not.

Batches and transfers are the truth: a transfer says both of its accounts' totals right after it.
The accounts are divided into slices by their ids, and each batch writes the rows of one slice, all
that are behind there, in the same transaction: sequence 1 writes slice 1, and so round. So the file
always says how far each row goes (`written_to`), a row is at most `SLICES` batches behind, and a hot
account is written once for all the batches that moved it. `standing` holds the newest batch and the
one with which every row was written (a file that is closed). What the batches since then changed is
moved forward from the rows at start, which is `newest`.
"""

import contextlib
import struct
from collections.abc import Collection, Iterable

import msgspec

from largesse import ids
from largesse.ledger import LedgerUnavailable, encoding, sqlite_file
from largesse.ledger.model import Account, AccountFlags, Posted, Transfer, TransferFlags
from largesse.ledger.reading import CHAIN_KINDS
from largesse.ledger.sqlite_file import Connection

SLICES = 128
"""Also the batches that a start reads again, at most."""

_CLOSED = int(AccountFlags.CLOSED)
_PENDING = int(TransferFlags.PENDING)
_POST = int(TransferFlags.POST_PENDING_TRANSFER)
_VOID = int(TransferFlags.VOID_PENDING_TRANSFER)
_CLOSING_DEBIT = int(TransferFlags.CLOSING_DEBIT)
_CLOSING_CREDIT = int(TransferFlags.CLOSING_CREDIT)


class Moved(msgspec.Struct):
    """
    Accounts as the newest batch left them, where a row is (or could be) behind that.

    `doubtful` are those whose row does not lead to their transfers, `is_broken` says that a row of
    a batch since then is missing or damaged: what is here is then not the truth.
    """

    accounts: dict[bytes, Account] = {}
    doubtful: set[bytes] = set()
    is_broken: bool = False


def slice_of(account_id: bytes) -> int:
    """Neighbours by id are in one slice, so a slice is few pages; the first byte of most ids is 0."""
    return account_id[1] * SLICES >> 8


def written_to(slice: int, sequence: int, whole_sequence: int) -> int:
    """The batch up to which the rows of a slice go, in a file whose newest batch is `sequence`."""
    return max(whole_sequence, sequence - (sequence - slice) % SLICES)


def newest(db: Connection) -> dict[bytes, Account]:
    """
    Every account whose row is behind, as the newest batch left it. Transfers are believed, not rows.

    Raises:
        LedgerUnavailable: a row of the newest batches is missing or was edited by somebody else.
    """
    moved = move_forward(db)
    if moved.is_broken or what_is_odd(db):
        raise LedgerUnavailable("a row is missing or damaged: run the check")
    return moved.accounts


def find(db: Connection, account_ids: list[bytes]) -> list[Account | None]:
    """The accounts as the newest batch left them."""
    with sqlite_file.snapshot(db):
        moved = newest(db)
        rows = dict(sqlite_file.account_rows(db, account_ids))
    return [moved.get(id) or rows.get(id) for id in account_ids]


def what_is_odd(db: Connection) -> list[tuple[str, str]]:
    """What does not fit between the file's standing and its batches: (what, where)."""
    if not _may_be_behind(db):
        return []
    said = db.execute("SELECT * FROM standing").fetchall()
    query = "SELECT sequence, hash FROM batches WHERE sequence = ?"
    newest = db.execute("SELECT max(sequence) FROM batches").fetchone()
    nothing = (0, bytes(32))
    if len(said) != 1:
        return [(f"{len(said)} rows where there should be one", "standing")]
    [(*head, whole_sequence, whole_hash)] = said
    if tuple(head) != (db.execute(query, newest).fetchone() or nothing):
        return [("the newest batch is not the one that it names", "standing")]
    whole = db.execute(query, (whole_sequence,)).fetchone() or nothing
    if whole != (whole_sequence, whole_hash):
        return [("the batch with which all accounts were written is not the one named", "standing")]
    return []


def move_forward(db: Connection) -> Moved:
    """
    Every account whose row is behind, moved forward by the batches since.

    Posted totals are taken from the transfers and compared with the row; what is reserved is added
    to the row's.
    """
    row = (
        _may_be_behind(db)
        and db.execute("SELECT sequence, whole_sequence FROM standing").fetchone()
    )
    if not row:
        return Moved()
    replay = _Replay(db, *row)
    for sequence, events in db.execute(
        "SELECT sequence, events FROM batches WHERE sequence > ? ORDER BY sequence",
        (replay.begin,),
    ).fetchall():
        replay.batch(sequence, encoding.split_events(events))
    return replay.found


def _may_be_behind(db: Connection) -> bool:
    """Whether this file is of a format in which rows are written late."""
    [version] = db.execute("PRAGMA user_version").fetchone()
    return bool(version >= sqlite_file.FORMAT_WITH_STANDING)


class _Replay:
    """One pass over the batches that rows may be behind of."""

    def __init__(self, db: Connection, newest: int, whole: int) -> None:
        self._db = db
        self._newest, self._whole = newest, whole
        self.begin = max(self._whole, self._newest - SLICES + 1)
        self.found = Moved()
        self._made: set[bytes] = set()
        self._sequence = 0

    def batch(self, sequence: int, events: list[tuple[bytes, bytes]]) -> None:
        self._sequence = sequence
        # A new account's row is written with its batch, with all that the batch did to it.
        self._made = {id for kind, id in events if kind in encoding.ACCOUNT_KINDS}
        transfers = self._transfers(
            [id for kind, id in events if kind in (*CHAIN_KINDS, encoding.EVENT_EXPIRED)]
        )
        pending_ids = {posted.transfer.pending_id for posted in transfers.values()} - {ids.ZERO}
        pendings = self._transfers(pending_ids - transfers.keys())
        self._hold(transfers.values())
        for kind, id in events:
            if kind in (*CHAIN_KINDS, encoding.EVENT_EXPIRED):
                if id not in transfers:
                    self.found.is_broken = True
                elif kind == encoding.EVENT_EXPIRED:
                    self._give_back(transfers[id].transfer, is_posted=False)
                else:
                    self._take(transfers[id], transfers | pendings if pendings else transfers)

    def _transfers(self, wanted: Collection[bytes]) -> dict[bytes, Posted]:
        found = {}
        for id, record in sqlite_file.rows(self._db, "transfers", sorted(wanted)):
            with contextlib.suppress(struct.error):
                found[id] = encoding.decode_posted(id, record)
        return found

    def _hold(self, transfers: Iterable[Posted]) -> None:
        """Read the rows that this batch moves forward and that none before it did."""
        wanted = set()
        for posted in transfers:
            wanted.add(posted.transfer.debit_account_id)
            wanted.add(posted.transfer.credit_account_id)
        wanted = {id for id in wanted if self._is_behind(id)} - self.found.accounts.keys()
        for id, record in sqlite_file.rows(self._db, "accounts", sorted(wanted)):
            with contextlib.suppress(struct.error):
                self.found.accounts[id] = encoding.decode_account(id, record)
        if not wanted <= self.found.accounts.keys():
            self.found.is_broken = True

    def _is_behind(self, account_id: bytes) -> bool:
        if account_id in self._made or len(account_id) != ids.SIZE:
            return False
        return self._sequence > written_to(slice_of(account_id), self._newest, self._whole)

    def _account(self, account_id: bytes) -> Account | None:
        """The account, None where its row already has what this batch did."""
        return self.found.accounts.get(account_id) if self._is_behind(account_id) else None

    def _take(self, posted: Posted, transfers: dict[bytes, Posted]) -> None:
        t = posted.transfer
        debit, credit = self._account(t.debit_account_id), self._account(t.credit_account_id)
        moved = 0 if t.flags & (_PENDING | _VOID) else t.amount
        if debit is not None:
            self._follow(
                debit,
                posted.debit_account_previous_id,
                (posted.debit_account_debits_posted, posted.debit_account_credits_posted),
                (moved, 0),
                t.id,
            )
        if credit is not None:
            self._follow(
                credit,
                posted.credit_account_previous_id,
                (posted.credit_account_debits_posted, posted.credit_account_credits_posted),
                (0, moved),
                t.id,
            )
        if t.flags & _PENDING:
            self._reserve(t)
        elif t.pending_id in transfers:
            self._give_back(transfers[t.pending_id].transfer, is_posted=bool(t.flags & _POST))
        elif t.pending_id != ids.ZERO:
            self.found.is_broken = True

    def _follow(
        self,
        account: Account,
        previous_id: bytes,
        totals: tuple[int, int],
        moved: tuple[int, int],
        transfer_id: bytes,
    ) -> None:
        debits, credits = totals
        if (
            account.last_transfer_id != previous_id
            or account.debits_posted + moved[0] != debits
            or account.credits_posted + moved[1] != credits
        ):
            self.found.doubtful.add(account.id)
        account.debits_posted, account.credits_posted = debits, credits
        account.last_transfer_id = transfer_id

    def _reserve(self, t: Transfer) -> None:
        debit, credit = self._account(t.debit_account_id), self._account(t.credit_account_id)
        if debit is not None:
            debit.debits_pending += t.amount
            self._close(debit, t.flags & _CLOSING_DEBIT)
        if credit is not None:
            credit.credits_pending += t.amount
            self._close(credit, t.flags & _CLOSING_CREDIT)

    def _give_back(self, pending: Transfer, *, is_posted: bool) -> None:
        debit = self._account(pending.debit_account_id)
        credit = self._account(pending.credit_account_id)
        if debit is not None:
            debit.debits_pending -= pending.amount
            self._reopen(debit, 0 if is_posted else pending.flags & _CLOSING_DEBIT)
        if credit is not None:
            credit.credits_pending -= pending.amount
            self._reopen(credit, 0 if is_posted else pending.flags & _CLOSING_CREDIT)

    def _close(self, account: Account, is_closing: int) -> None:
        if account.flags & _CLOSED:
            self.found.doubtful.add(account.id)
        if is_closing:
            account.flags |= _CLOSED

    def _reopen(self, account: Account, is_closing: int) -> None:
        if min(account.debits_pending, account.credits_pending) < 0:
            self.found.doubtful.add(account.id)
        if is_closing:
            if not account.flags & _CLOSED:
                self.found.doubtful.add(account.id)
            account.flags &= ~_CLOSED
