"""One table says what each refusal is to the outside, and nothing outside it gets there."""

import ast
from pathlib import Path

import msgspec
import pytest
import structlog

import largesse
from largesse.errors import Rejected
from largesse.ledger import LedgerUnavailable
from largesse.records.database import RecordsUnavailable
from largesse.web import reply

SRC = Path(largesse.__file__).parent

NOT_OVER_HTTP = {
    # Refusals of the command line and of the start: no request is there to be answered.
    *("address_in_use", "address_unusable", "catalog_invalid", "data_folder_damaged"),
    *("data_folder_in_use", "data_folder_is_live", "data_folder_missing", "data_folder_newer"),
    *("data_folder_not_ours", "data_folder_older", "data_folder_other_environment"),
    *("data_folder_read_only", "database_not_supported", "demo_on_loopback_only", "disk_full"),
    *("engine_unknown", "file_unreadable", "gifts_per_second_out_of_range", "ledger_newer"),
    *("ledger_not_ours", "logins_invalid", "password_missing", "records_newer"),
    *("records_not_migrated", "records_not_ours", "settings_invalid", "worker_inside_serve"),
    # Servers that cannot be used, copies, several processes: said at the start, or by a command.
    *("bus_unreachable", "copy_from_cluster", "copy_onto_itself"),
    *("database_missing", "database_not_allowed", "database_other_environment"),
    *("database_password_wrong", "database_too_old", "database_unreachable"),
    *("database_unsafe", "demo_reset_elsewhere", "engine_not_installed"),
    *("ledger_copy_differs", "ledger_copy_has_timeouts"),
    *("ledger_copy_source_damaged", "ledger_copy_unfinished"),
    *("ledger_not_migrated", "ledger_of_another_folder", "ledger_unreachable"),
    *("ledger_url_invalid", "records_copy_differs", "records_copy_not_empty"),
    *("secret_differs", "store_unavailable", "worker_kept_dying"),
    *("workers_need_postgres",),
    # What the worker writes on an order or an event.
    *("payment_disputed", "payment_mismatch", "payment_refunded"),
    # The sandbox is somebody else's server and has a table of its own.
    *("amount_out_of_range", "api_key_required", "delay_out_of_range", "payment_not_found"),
    *("refund_exceeds_payment",),
    # Asked for only by the command line, or excluded by the types of the API.
    "role_unknown",
}


def codes_in(tree: ast.AST) -> set[str]:
    """Every code that a call of `Rejected` names by a literal, also one of two."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Rejected" and node.args:
            found |= {
                part.value
                for part in ast.walk(node.args[0])
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            }
    return found


def used_codes() -> dict[str, Path]:
    return {
        code: file
        for file in sorted(SRC.rglob("*.py"))
        for code in codes_in(ast.parse(file.read_text()))
    }


def test_every_code_is_in_the_table_or_said_to_stay_inside():
    missing = {
        code: str(file.relative_to(SRC))
        for code, file in used_codes().items()
        if code not in reply.REFUSALS and code not in NOT_OVER_HTTP
    }

    assert missing == {}


def test_no_code_is_in_both():
    assert NOT_OVER_HTTP & reply.REFUSALS.keys() == set()


def test_the_table_has_no_code_that_nobody_uses():
    words = "\n".join(
        file.read_text() for file in SRC.rglob("*.py") if file.name not in ("reply.py",)
    )
    inside = codes_in(ast.parse((SRC / "web" / "reply.py").read_text()))

    unused = {code for code in reply.REFUSALS if f'"{code}"' not in words and code not in inside}

    assert unused == set()


@pytest.mark.parametrize("code", reply.REFUSALS)
def test_each_refusal_says_something(code):
    refusal = reply.REFUSALS[code]

    assert 400 <= refusal.status < 600
    assert refusal.title.endswith((".", "!"))
    assert refusal.title[0].isupper()


def test_a_problem_has_the_fields_of_the_rfc_and_its_facts():
    answer = reply.problem("role_required", {"role": "creator"}, request_id="7")

    assert answer.status == 403
    assert dict(answer.headers)[b"content-type"] == b"application/problem+json"
    assert msgspec.json.decode(answer.body) == {
        "type": "/docs/errors#role_required",
        "title": "Your account lacks the role this needs.",
        "status": 403,
        "code": "role_required",
        "detail": "This needs the role creator.",
        "role": "creator",
        "request_id": "7",
    }


def test_facts_that_are_missing_leave_the_title():
    answer = reply.problem("role_required", {}, request_id="7")

    assert msgspec.json.decode(answer.body)["detail"] == "Your account lacks the role this needs."


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LedgerUnavailable("the disk is full at /secret/place"), "ledger_unavailable"),
        (RecordsUnavailable("disk_full", "/secret/place"), "records_unavailable"),
        (Rejected("ledger_busy", waiting=16_384), "ledger_busy"),
    ],
)
def test_what_passes_by_itself_says_when_to_ask_again(error, code):
    answer = reply.of_error(error, request_id="7")

    assert answer.status == 503
    assert dict(answer.headers)[b"retry-after"] == b"1"
    assert msgspec.json.decode(answer.body)["code"] == code
    assert b"secret" not in answer.body


@pytest.mark.parametrize("error", [ValueError("a secret"), Rejected("a_code_of_nobody", fact=1)])
def test_a_fault_of_ours_is_logged_and_told_to_nobody(error):
    with structlog.testing.capture_logs() as logged:
        answer = reply.of_error(error, request_id="7")

    assert answer.status == 500
    problem = msgspec.json.decode(answer.body)
    assert (problem["code"], problem["request_id"]) == ("internal_error", "7")
    assert b"a secret" not in answer.body
    assert b"a_code_of_nobody" not in answer.body
    [entry] = logged
    assert (entry["event"], entry["request_id"]) == ("internal_error", "7")
    assert type(error).__name__ in entry["traceback"]
