"""
A bare ledger to hold ours against: SQLite, one writer thread, plain Python, no rules.

It keeps what durability costs (WAL, `synchronous=FULL`, answers after the commit, two rows a gift,
known ids asked for, wallets not overdrawn) and leaves out what a ledger is for: flags, histories,
hashes, refusals that are remembered.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path

SCHEMA = """
CREATE TABLE accounts (
    id BLOB PRIMARY KEY, debits INTEGER NOT NULL, credits INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE transfers (
    id BLOB PRIMARY KEY, debit BLOB NOT NULL, credit BLOB NOT NULL, amount INTEGER NOT NULL,
    ledger INTEGER NOT NULL, room BLOB NOT NULL, item INTEGER NOT NULL, timestamp INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

COINS_EACH = 10**12
"""What every wallet may spend, so that the one rule there is costs its comparison."""

Row = tuple[bytes, bytes, bytes, int, int, bytes, int]
"""id, debit account, credit account, amount, ledger, room, item."""
Gift = tuple[Row, Row]
Waiting = tuple[list[Gift], "asyncio.Future[list[bool]]"]


class Prototype:
    """One file, one writer thread; gifts that wait together are committed together."""

    def __init__(self, path: Path, *, batch_max: int) -> None:
        self._path = path
        self._batch_max = batch_max
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Waiting] = []
        self._wake = threading.Event()
        self._roused = False
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="prototype")
        self._thread.start()

    async def create(self, gifts: list[Gift]) -> list[bool]:
        """True for each gift that is there now, False where the wallet could not pay."""
        future: asyncio.Future[list[bool]] = self._loop.create_future()
        self._waiting.append((gifts, future))
        if not self._roused:
            # After everybody who is about to send has sent: a turn of the loop is one batch.
            self._roused = True
            self._loop.call_soon(self._rouse)
        return await future

    async def close(self) -> None:
        self._closed = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _rouse(self) -> None:
        self._roused = False
        self._wake.set()

    def _write(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None, cached_statements=64)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("PRAGMA cache_size=-262144")
        db.executescript(SCHEMA)
        totals: dict[bytes, list[int]] = {}
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = self._take()
                answers = _settle(db, totals, [gift for gifts, _ in batch for gift in gifts])
                self._loop.call_soon_threadsafe(_answer, batch, answers)
            if self._closed:
                break
        db.close()

    def _take(self) -> list[Waiting]:
        count, size = 0, 0
        for gifts, _ in self._waiting:
            count += 1
            size += len(gifts)
            if size >= self._batch_max:
                break
        batch = self._waiting[:count]
        del self._waiting[:count]
        return batch


def _answer(batch: list[Waiting], answers: list[bool]) -> None:
    position = 0
    for gifts, future in batch:
        future.set_result(answers[position : position + len(gifts)])
        position += len(gifts)


def _settle(
    db: sqlite3.Connection, totals: dict[bytes, list[int]], gifts: list[Gift]
) -> list[bool]:
    """
    Decide and write a batch in one transaction; every touched account is updated once.

    Blobs go to SQLite as `bytearray`: Python 3.11 looks for an adapter of every `bytes` parameter
    first, which costs a microsecond each and would halve the rate.
    """
    db.execute("BEGIN IMMEDIATE")
    known = _known(db, [coin[0] for coin, _ in gifts])
    now = time.time_ns()
    rows: list[tuple[object, ...]] = []
    touched: dict[bytes, list[int]] = {}
    answers = []
    for coin, diamond in gifts:
        if coin[0] in known:
            answers.append(True)
            continue
        wallet = totals.get(coin[1]) or totals.setdefault(coin[1], [0, 0])
        if wallet[0] + coin[3] > COINS_EACH:
            answers.append(False)
            continue
        wallet[0] += coin[3]
        touched[coin[1]] = wallet
        for account_id, side, amount in (
            (coin[2], 1, coin[3]),
            (diamond[1], 0, diamond[3]),
            (diamond[2], 1, diamond[3]),
        ):
            account = totals.get(account_id) or totals.setdefault(account_id, [0, 0])
            account[side] += amount
            touched[account_id] = account
        for id, debit, credit, amount, ledger, room, item in (coin, diamond):
            now += 1
            places = (bytearray(id), bytearray(debit), bytearray(credit), amount, ledger)
            rows.append((*places, bytearray(room), item, now))
        answers.append(True)
    db.executemany("INSERT INTO transfers VALUES (?,?,?,?,?,?,?,?)", rows)
    db.executemany(
        "INSERT OR REPLACE INTO accounts VALUES (?,?,?)",
        [(bytearray(id), debits, credits) for id, (debits, credits) in touched.items()],
    )
    db.execute("COMMIT")
    return answers


def _known(db: sqlite3.Connection, ids: Iterable[bytes]) -> set[bytes]:
    wanted = [bytearray(id) for id in ids]
    marks = ",".join("?" * len(wanted))
    statement = f"SELECT id FROM transfers WHERE id IN ({marks})"  # noqa: S608 - Marks only.
    return {id for (id,) in db.execute(statement, wanted)}


def balanced(path: Path, given: int) -> bool:
    """Whether so many gifts are there, and the accounts add up to what the transfers say."""
    db = sqlite3.connect(path)
    try:
        query = "SELECT count(*), coalesce(sum(amount), 0) FROM transfers"
        transfers, moved = db.execute(query).fetchone()
        debits, credits = db.execute("SELECT sum(debits), sum(credits) FROM accounts").fetchone()
    finally:
        db.close()
    return bool(transfers == 2 * given and moved == debits == credits)
