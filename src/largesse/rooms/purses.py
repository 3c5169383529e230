"""
Connections that are told what is in a wallet, whenever the ledger says that it changed.

The sums of a wallet only grow, so the larger ones are always the newer ones: nobody is told an old
balance after a new one, whichever way it came.
"""

from collections.abc import Iterable
from typing import Protocol

from largesse.ledger.model import Change
from largesse.rooms import messages

WAITING_BYTES_MAX = 256 * 1024
"""Bytes that may wait in a connection; with more it is behind and is sent nothing."""


class Connection(Protocol):
    """The far end of a socket, as the socket server gives it."""

    def send(self, frame: bytes) -> None:
        """Send a text frame. Never waits; does nothing once the connection is closed."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close with a code and its name; what was sent before still goes out."""
        ...

    def waiting(self) -> int:
        """Bytes that were sent and that the system has not taken yet."""
        ...


class Purse:
    """
    A connection and the wallet it is told about. Until `is_open` changes are only noted.

    One that `is_feed` is a person's own feed; otherwise the connection watches a room too.
    """

    __slots__ = ("account_id", "coins", "connection", "is_feed", "is_open", "is_owed", "moved")

    def __init__(self, connection: Connection, account_id: bytes, *, is_feed: bool) -> None:
        self.connection = connection
        self.account_id = account_id
        self.is_feed = is_feed
        self.is_open = False
        self.is_owed = False
        self.moved = -1
        self.coins = 0

    def note(self, debits_posted: int, credits_posted: int) -> bool:
        """Take in what was posted to the wallet so far; False where newer sums are known."""
        moved = debits_posted + credits_posted
        if moved <= self.moved:
            return False
        self.moved = moved
        self.coins = credits_posted - debits_posted
        return True

    def tell(self) -> None:
        """Send the balance, or owe it to a connection that is behind."""
        self.is_owed = self.connection.waiting() > WAITING_BYTES_MAX
        if not self.is_owed:
            self.connection.send(messages.balance(self.coins))


class Purses:
    """Every connection that is told a balance, by wallet."""

    def __init__(self) -> None:
        self._of: dict[bytes, dict[Purse, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def of(self, account_id: bytes) -> tuple[Purse, ...]:
        """Those of one wallet."""
        return tuple(self._of.get(account_id, ()))

    def add(self, purse: Purse) -> None:
        """From now on it notes what happens in the ledger."""
        self._of.setdefault(purse.account_id, {})[purse] = None

    def remove(self, purse: Purse) -> None:
        """It is told nothing any more; again is no harm."""
        others = self._of.get(purse.account_id, {})
        others.pop(purse, None)
        if not others:
            self._of.pop(purse.account_id, None)

    def take(self, changes: Iterable[Change]) -> None:
        """Tell each wallet's newest balance in these changes, once."""
        if not self._of:
            return
        changed: dict[Purse, None] = {}
        for change in changes:
            for posted in change.chain:
                transfer = posted.transfer
                for purse in self._of.get(transfer.debit_account_id, ()):
                    if purse.note(
                        posted.debit_account_debits_posted, posted.debit_account_credits_posted
                    ):
                        changed[purse] = None
                for purse in self._of.get(transfer.credit_account_id, ()):
                    if purse.note(
                        posted.credit_account_debits_posted, posted.credit_account_credits_posted
                    ):
                        changed[purse] = None
        for purse in changed:
            if purse.is_open:
                purse.tell()
