"""
Pages of a ledger as tests: one line per event, the expected outcome in the last column.

    account  NAME [may_overdraw | may_overfill] [closed] [FIELD=VALUE ...] [-> OUTCOME]
    transfer NAME DEBIT CREDIT AMOUNT [WORD ...] [FIELD=VALUE ...]  & | -> OUTCOME
    pending  the same with the flag `pending`
    post     NAME PENDING AMOUNT|all [FIELD=VALUE ...]              & | -> OUTCOME
    void     NAME PENDING [AMOUNT] [FIELD=VALUE ...]                & | -> OUTCOME
    wait     SECONDS             the clock moves on, and what is due expires
    pass     SECONDS             the clock moves on, and nobody asks the ledger for anything
    balance  NAME N              credits posted less debits posted
    totals   NAME DEBITS_PENDING DEBITS_POSTED CREDITS_PENDING CREDITS_POSTED
    moved    NAME N              what the transfer moved
    absent   NAME                there is no such transfer
    refused  NAME OUTCOME [N]    the id is used up; N is what was available
    open     NAME / closed NAME  whether the account takes transfers

`&` lets the chain go on in the next line. A WORD is a transfer flag (`balancing_debit`) or
`reserved`. Names become ids through `ids.derive`; `zero` and `max` are the two reserved ids; `max`
and `max-7` are amounts. An account without a word may not be debited beyond its credits;
`may_overdraw` has no limit; `may_overfill` is the mirror: it may not be credited beyond its debits.
Everything is on ledger 1 and has code 1 if not said otherwise. `#` begins a comment.
"""

from collections.abc import Callable
from typing import Any

from largesse import ids
from largesse.clock import SECOND, ManualClock
from largesse.ledger import Ledger
from largesse.ledger.model import (
    AMOUNT_MAX,
    Account,
    AccountFlags,
    AccountOutcome,
    Balance,
    Outcome,
    Transfer,
    TransferFlags,
)

_IDS = {"id", "debit_account_id", "credit_account_id", "pending_id", "user_data_128"}
_WORDS = {flag.name.lower(): int(flag) for flag in TransferFlags if flag.name} | {"reserved": 1}
_LIMIT_DEBITS = AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
_LIMIT_CREDITS = AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS


class ScriptError(Exception):
    """A line that is not in the language."""


def id_of(name: str) -> bytes:
    """The id behind a name on the page."""
    if name == "zero":
        return ids.ZERO
    if name == "max":
        return ids.MAXIMUM
    return ids.derive("page", name)


def amount_of(word: str) -> int:
    """A number, `max` or `max-N`."""
    if word.startswith("max"):
        return AMOUNT_MAX - int(word.removeprefix("max").removeprefix("-") or 0)
    return int(word)


async def check(ledger: Ledger, clock: ManualClock, script: str) -> None:
    """
    Run a page on a ledger and compare every outcome.

    Raises:
        AssertionError: a line came out differently.
        ScriptError: a line is not in the language.
    """
    chain: list[Transfer] = []
    for number, line in enumerate(script.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        where = f"line {number}: {line.strip()}"
        try:
            await _line(ledger, clock, chain, words, where)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise ScriptError(where) from error
    if chain:
        raise ScriptError("the page ends inside a chain")


async def _line(
    ledger: Ledger, clock: ManualClock, chain: list[Transfer], words: list[str], where: str
) -> None:
    kind = words.pop(0)
    if kind in _READERS:
        words, expected = _split_outcome(words)
        chain.append(_READERS[kind](words))
        if expected is not None:
            sent, chain[:] = tuple(chain), []
            result = (await ledger.create_transfers([sent]))[0]
            assert result.outcome == Outcome(expected), f"{where}: {result.outcome}"
        return
    if chain:
        raise ScriptError(f"{where}: the chain above goes on")
    if kind == "account":
        words, expected = _split_outcome([*words, "->", "created"] if "->" not in words else words)
        outcome = (await ledger.create_accounts([_read_account(words)]))[0]
        assert outcome == AccountOutcome(expected or ""), f"{where}: {outcome}"
    elif kind in ("wait", "pass"):
        clock.advance(int(words[0]) * SECOND)
        if kind == "wait":
            await let_expire(ledger)
    elif kind in ("moved", "absent", "refused"):
        await _check_transfer(ledger, kind, words, where)
    else:
        await _check_account(ledger, kind, words, where)


async def let_expire(ledger: Ledger) -> None:
    """Send a chain that can only be refused: an engine expires what is due before it decides."""
    nothing = Transfer(ids.ZERO, ids.ZERO, ids.ZERO, 0, 0, 0)
    result = (await ledger.create_transfers([(nothing,)]))[0]
    assert result.outcome is Outcome.ID_MUST_NOT_BE_ZERO


async def _check_transfer(ledger: Ledger, kind: str, words: list[str], where: str) -> None:
    posted = (await ledger.lookup_transfers([id_of(words[0])]))[0]
    if kind == "moved":
        assert posted is not None, where
        assert posted.transfer.amount == amount_of(words[1]), f"{where}: {posted.transfer.amount}"
        return
    assert posted is None, where
    if kind == "refused":
        refused = (await ledger.lookup_refused([id_of(words[0])]))[0]
        assert refused is not None, where
        assert refused.outcome == Outcome(words[1]), f"{where}: {refused.outcome}"
        if len(words) > 2:
            assert refused.available == amount_of(words[2]), f"{where}: {refused.available}"


async def _check_account(ledger: Ledger, kind: str, words: list[str], where: str) -> None:
    account = (await ledger.lookup_accounts([id_of(words[0])]))[0]
    assert account is not None, where
    if kind == "balance":
        balance = account.credits_posted - account.debits_posted
        sign = -1 if words[1].startswith("-") else 1
        assert balance == sign * amount_of(words[1].removeprefix("-")), f"{where}: {balance}"
    elif kind == "totals":
        totals = Balance(
            account.debits_pending,
            account.debits_posted,
            account.credits_pending,
            account.credits_posted,
        )
        assert totals == Balance(*(amount_of(word) for word in words[1:5])), f"{where}: {totals}"
    elif kind in ("open", "closed"):
        closed = bool(account.flags & AccountFlags.CLOSED)
        assert closed == (kind == "closed"), where
    else:
        raise ScriptError(where)


def _split_outcome(words: list[str]) -> tuple[list[str], str | None]:
    if words[-1] == "&":
        return words[:-1], None
    if words[-2] != "->":
        raise ValueError("a line of a chain ends in & or in -> outcome")
    return words[:-2], words[-1]


def _read_fields(words: list[str]) -> dict[str, int | bytes]:
    """`name=value` words, and flags by name."""
    fields: dict[str, int | bytes] = {}
    flags = 0
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            flags |= _WORDS[name]
        elif name in _IDS:
            fields[name] = id_of(value)
        else:
            fields[name] = amount_of(value)
    fields["flags"] = flags
    return fields


def _read_transfer(words: list[str]) -> Transfer:
    name, debit, credit, amount, *rest = words
    fields: dict[str, Any] = {"ledger": 1, "code": 1} | _read_fields(rest)
    return Transfer(
        id=id_of(name),
        debit_account_id=id_of(debit),
        credit_account_id=id_of(credit),
        amount=amount_of(amount),
        **fields,
    )


def _read_pending(words: list[str]) -> Transfer:
    return _read_transfer([*words, "pending"])


def _read_post(words: list[str]) -> Transfer:
    name, pending, amount, *rest = words
    return _resolving(name, pending, "max" if amount == "all" else amount, rest, "post")


def _read_void(words: list[str]) -> Transfer:
    name, pending, *rest = words
    amount = rest.pop(0) if rest and (rest[0].isdigit() or rest[0].startswith("max")) else "0"
    return _resolving(name, pending, amount, rest, "void")


def _resolving(name: str, pending: str, amount: str, rest: list[str], kind: str) -> Transfer:
    fields: dict[str, Any] = {
        "debit_account_id": ids.ZERO,
        "credit_account_id": ids.ZERO,
        "ledger": 0,
        "code": 0,
        "pending_id": id_of(pending),
    } | _read_fields([*rest, f"{kind}_pending_transfer"])
    return Transfer(id=id_of(name), amount=amount_of(amount), **fields)


def _read_account(words: list[str]) -> Account:
    name, *rest = words
    flags = _LIMIT_DEBITS
    for word in [word for word in rest if "=" not in word]:
        rest.remove(word)
        if word == "may_overdraw":
            flags &= ~_LIMIT_DEBITS
        elif word == "may_overfill":
            flags = (flags & ~_LIMIT_DEBITS) | _LIMIT_CREDITS
        elif word == "closed":
            flags |= AccountFlags.CLOSED
        elif word == "both_limits":
            flags |= _LIMIT_DEBITS | _LIMIT_CREDITS
        elif word == "reserved":
            flags |= AccountFlags(1)
        else:
            raise ValueError(word)
    fields: dict[str, Any] = {"ledger": 1, "code": 1} | _read_fields(rest)
    fields["flags"] = int(flags)
    return Account(id=id_of(name), **fields)


_READERS: dict[str, Callable[[list[str]], Transfer]] = {
    "transfer": _read_transfer,
    "pending": _read_pending,
    "post": _read_post,
    "void": _read_void,
}
