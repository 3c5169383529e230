"""What the TigerBeetle engine relies on of the official client, and what it says where it cannot be."""

import ctypes
import socket
import sys
from struct import Struct

import msgspec
import pytest

from largesse import ids
from largesse.clock import SystemClock
from largesse.errors import Rejected
from largesse.ledger import CHAIN_TRANSFERS_MAX, QueryFilter
from largesse.ledger import tigerbeetle_wire as wire
from largesse.ledger.model import (
    AMOUNT_MAX,
    Account,
    AccountFlags,
    AccountOutcome,
    Outcome,
    Refused,
    Transfer,
    TransferFlags,
)
from largesse.ledger.tigerbeetle import TigerBeetleLedger
from largesse.ledger.tigerbeetle_client import Operation, load, parse
from largesse.ledger.tigerbeetle_notes import note_id, pieces_of, read_note

bindings = pytest.importorskip(
    "tigerbeetle.bindings", reason="the extra `tigerbeetle` is not installed"
)

# Answers to what is never asked: imports with timestamps of their own, an open chain, a field that
# is always zero; and the word for the transfers beside the one that failed.
NEVER_ASKED = ("imported_event", "reserved_field", "linked_event")
TRANSFER = Transfer(
    b"\x01" + bytes(14) + b"\x02",
    b"\x03" + bytes(14) + b"\x04",
    b"\x05" + bytes(14) + b"\x06",
    7,
    8,
    9,
    int(TransferFlags.PENDING),
    b"\x0a" + bytes(14) + b"\x0b",
    b"\x0c" + bytes(14) + b"\x0d",
    14,
    15,
    16,
)


def _number(id: bytes) -> int:
    return int.from_bytes(id, "big")


def test_every_status_of_a_transfer_is_an_outcome_or_answers_what_is_never_asked() -> None:
    names = {status.value: status.name.lower() for status in bindings.CreateTransferStatus}
    for value, name in names.items():
        if name.startswith((*NEVER_ASKED, "timestamp_must_be_zero")):
            assert value not in wire.TRANSFER_OUTCOMES
        else:
            assert wire.TRANSFER_OUTCOMES[value] == name
    ours = set(Outcome) - {Outcome.EXISTS_WITH_DIFFERENT_CHAIN}
    assert set(wire.TRANSFER_OUTCOMES.values()) == ours


def test_every_status_of_an_account_is_an_outcome_or_answers_what_is_never_asked() -> None:
    names = {status.value: status.name.lower() for status in bindings.CreateAccountStatus}
    for value, name in names.items():
        if name.startswith(NEVER_ASKED):
            assert value not in wire.ACCOUNT_OUTCOMES
        else:
            assert wire.ACCOUNT_OUTCOMES[value] == name
    assert set(wire.ACCOUNT_OUTCOMES.values()) == set(AccountOutcome)


def test_flags_stand_where_tigerbeetle_has_them() -> None:
    for flag in (*TransferFlags, *AccountFlags):
        theirs = getattr(bindings, type(flag).__name__)
        assert theirs[flag.name] == flag


def test_a_packed_transfer_is_the_clients_own_record() -> None:
    record = bindings.CTransfer.from_buffer_copy(wire.pack_chain((TRANSFER,))).to_python()
    for name in TRANSFER.__struct_fields__:
        ours, theirs = getattr(TRANSFER, name), getattr(record, name)
        assert theirs == (_number(ours) if isinstance(ours, bytes) else ours), name
    assert record.timestamp == 0
    assert [each.transfer for each in wire.unpack_transfers(wire.pack_chain((TRANSFER,)))] == [
        TRANSFER
    ]


def test_a_packed_account_is_the_clients_own_record_and_keeps_a_history() -> None:
    account = Account(
        id=b"\x01" + bytes(14) + b"\x02",
        ledger=3,
        code=4,
        flags=int(AccountFlags.CREDITS_MUST_NOT_EXCEED_DEBITS),
        user_data_128=b"\x05" + bytes(14) + b"\x06",
        user_data_64=7,
        user_data_32=8,
        debits_pending=9,
        debits_posted=10,
        credits_pending=11,
        credits_posted=12,
    )
    packed = wire.pack_account(account)
    record = bindings.CAccount.from_buffer_copy(packed).to_python()
    assert record.flags == account.flags | bindings.AccountFlags.HISTORY
    for name in set(account.__struct_fields__) - {"flags", "last_transfer_id"}:
        ours, theirs = getattr(account, name), getattr(record, name)
        assert theirs == (_number(ours) if isinstance(ours, bytes) else ours), name
    assert list(wire.unpack_accounts(packed)) == [account]


def test_the_records_of_queries_have_the_clients_sizes() -> None:
    asked = wire.account_filter(ids.derive("a"), limit=1, flags=wire.FilterFlags.DEBITS)
    assert len(asked) == ctypes.sizeof(bindings.CAccountFilter)
    assert bindings.CAccountFilter.from_buffer_copy(asked).limit == 1
    asked = wire.query_filter(QueryFilter(timestamp_min=2, timestamp_max=3, limit=4))
    query = bindings.CQueryFilter.from_buffer_copy(asked).to_python()
    assert (query.timestamp_min, query.timestamp_max, query.limit) == (2, 3, 4)
    assert ctypes.sizeof(bindings.CAccountBalance) == wire.RECORD_SIZE
    assert ctypes.sizeof(bindings.CCreateTransferResult) == wire.RESULT_SIZE


def test_a_chain_is_linked_up_to_its_last_and_posting_everything_says_so() -> None:
    post = msgspec.structs.replace(
        TRANSFER, flags=int(TransferFlags.POST_PENDING_TRANSFER), amount=AMOUNT_MAX
    )
    packed = wire.pack_chain((TRANSFER, TRANSFER, post))
    records = [
        bindings.CTransfer.from_buffer_copy(packed[n : n + 128]).to_python() for n in (0, 128, 256)
    ]
    linked = [bool(record.flags & bindings.TransferFlags.LINKED) for record in records]
    assert linked == [True, True, False]
    assert records[2].amount == 2**128 - 1


def test_flags_that_mean_something_only_there_are_reserved_here() -> None:
    """Nobody links, imports or keeps a history by a flag that our model does not know."""
    for flag in (bindings.TransferFlags.LINKED, bindings.TransferFlags.IMPORTED):
        packed = wire.pack_chain((msgspec.structs.replace(TRANSFER, flags=int(flag)),))
        assert Struct("<118xH8x").unpack(packed) == (1 << 15,)
    for flag in (bindings.AccountFlags.LINKED, bindings.AccountFlags.IMPORTED):
        packed = wire.pack_account(Account(id=ids.derive("a"), ledger=1, code=1, flags=int(flag)))
        assert Struct("<118xH8x").unpack(packed) == (1 << 15,)


def test_the_clients_library_is_as_this_version_of_it_is_known() -> None:
    found = load()
    for name in ("tb_client_init", "tb_client_submit", "tb_client_deinit", "OnCompletion"):
        assert hasattr(found, name)
    assert found.Operation.GET_CHANGE_EVENTS == Operation.GET_CHANGE_EVENTS


def test_the_longest_refused_chain_can_be_noted() -> None:
    chain = tuple(
        msgspec.structs.replace(TRANSFER, id=ids.derive("random", n), user_data_128=ids.derive(n))
        for n in range(CHAIN_TRANSFERS_MAX)
    )
    refused = Refused(chain[7].id, Outcome.EXCEEDS_CREDITS, 5, 6, chain)
    pieces = pieces_of(refused)
    assert len(pieces) <= 253 or len(pieces) <= wire.EVENTS_MAX
    assert read_note(pieces) == refused
    assert [piece.id for piece in pieces] == [note_id(chain[7].id, n) for n in range(len(pieces))]


@pytest.mark.parametrize(
    ("url", "problem"),
    {
        "postgresql://host": "tigerbeetle://",
        "tigerbeetle://": "host:port",
        "tigerbeetle://a,,b": "host:port",
        "tigerbeetle://user:secret@a:1": "host:port",
        "tigerbeetle://a:0": "port",
        "tigerbeetle://a:70000": "port",
        "tigerbeetle://a:1/database": "cluster",
        "tigerbeetle://a:1?cluster=x": "cluster",
        "tigerbeetle://a:1?cluster=-1": "cluster",
        "tigerbeetle://a:1?cluster=1&cluster=2": "cluster",
        "tigerbeetle://a:1?other=1": "cluster",
        "tigerbeetle://" + ",".join(["a:1"] * 13): "12",
    }.items(),
)
def test_an_address_that_cannot_be_right_is_refused_by_name(url: str, problem: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse(url)
    assert refused.value.code == "ledger_url_invalid"
    assert problem in str(refused.value.facts["problem"])


def test_an_address_names_the_replicas_in_order_and_the_cluster() -> None:
    address = parse("tigerbeetle://one:3001,two,[::1]:9?cluster=12")
    assert address.replicas == ("one:3001", "two:3001", "[::1]:9")
    assert address.cluster == 12


async def test_a_cluster_that_does_not_answer_is_refused_in_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody listens, or somebody does who never says a word."""
    monkeypatch.setattr("largesse.ledger.tigerbeetle.OPEN_SECONDS_MAX", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Rejected) as refused:
            await TigerBeetleLedger.open(f"tigerbeetle://127.0.0.1:{port}", SystemClock())
    assert refused.value.code == "ledger_unreachable"
    assert refused.value.facts["address"] == f"127.0.0.1:{port}"
    with pytest.raises(Rejected) as refused:
        await TigerBeetleLedger.open("tigerbeetle://nowhere.invalid:3001", SystemClock())
    assert refused.value.code == "ledger_unreachable"


async def test_where_the_client_is_missing_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tigerbeetle", None)
    with pytest.raises(Rejected) as refused:
        await TigerBeetleLedger.open("tigerbeetle://127.0.0.1:1", SystemClock())
    assert refused.value.code == "engine_not_installed"
    assert refused.value.facts["extra"] == "tigerbeetle"
