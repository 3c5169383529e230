"""
What the documents say is so: every setting, code, command, route, posting and limit is in them.

The tables that follow from the code are made from it. `make docs` (this file, run as a program)
writes them between their marks; the tests say where a page has fallen behind.
"""

import ast
import inspect
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from largesse import cli
from largesse.books import chart, postings
from largesse.cli.refusal import SENTENCES
from largesse.rooms import wire
from largesse.settings import SETTINGS, shown
from largesse.web.reply import REFUSALS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
HELP_COLUMNS = 96

BEGIN = "<!-- made by `make docs`: {name} -->"
END = "<!-- end -->"
METHODS = ("get", "post", "put", "patch", "delete")


# The tables ------------------------------------------------------------------------------------


def settings_table() -> str:
    """Each setting: its names, default and help."""
    rows = [
        "| in the environment | in `largesse.toml` | default | what it is |",
        "|---|---|---|---|",
    ]
    for setting in SETTINGS:
        default = f"`{shown(setting, setting.default)}`" if setting.default not in ("", ()) else ""
        secret = " Secret: never printed." if setting.secret else ""
        rows.append(
            f"| `{setting.variable}` | `{setting.name}` | {default} | {setting.help}{secret} |"
        )
    return "\n".join(rows)


def api_codes() -> str:
    """Each refusal of the API with its status and its sentence."""
    rows = ["| code | status | what it says |", "|---|---|---|"]
    for code, refusal in sorted(REFUSALS.items()):
        detail = f" {refusal.detail}" if refusal.detail else ""
        rows.append(f"| `{code}` | {refusal.status} | {refusal.title}{detail} |")
    return "\n".join(rows)


def command_codes() -> str:
    """Each refusal of a command with its sentence."""
    rows = ["| code | what it says |", "|---|---|"]
    rows += [f"| `{code}` | {words} |" for code, words in sorted(SENTENCES.items())]
    return "\n".join(rows)


def commands() -> str:
    """The help of each command, as it is printed."""
    parts = []
    for path in command_paths():
        parts.append(f"## largesse {' '.join(path)}\n\n```text\n{help_of(path)}\n```")
    return "\n\n".join(parts)


def routes() -> str:
    """Each route of the API with its summary."""
    rows = ["| route | what it does |", "|---|---|"]
    rows += [f"| `{method} {path}` | {summary} |" for method, path, summary in api_routes()]
    return "\n".join(rows)


def room_events() -> str:
    """Each event of a room and when it is sent."""
    rows = ["| event | when |", "|---|---|"]
    rows += [f"| `{name}` | {event.__doc__} |" for name, event in wire.EVENTS.items()]
    return "\n".join(rows)


def room_event_fields() -> str:
    """Each field of the events' `data`, with the events it is in; then the objects inside."""
    parts = wire.schema()["$defs"]
    places: dict[tuple[str, str, str], list[str]] = {}
    for name, data in wire.DATA.items():
        for field, of in parts[data.__name__]["properties"].items():
            what = of.get("description") or parts[type_of(of).strip("`")]["description"]
            places.setdefault((field, type_of(of), " ".join(what.split())), []).append(name)
    of_a_person = tuple(name for name, data in wire.DATA.items() if hasattr(data, "user_id"))
    known = {tuple(wire.DATA): "all", of_a_person: "all of a person"}
    rows = ["| field | type | in | what it is |", "|---|---|---|---|"]
    for (field, type, what), names in places.items():
        where = known.get(tuple(names)) or ", ".join(f"`{name}`" for name in names)
        rows.append(f"| `{field}` | {type} | {where} | {what} |")
    inner = ["UserData", "TopViewer", "GiftPart", "GiftExtra", "Extra"]
    return "\n".join([*rows, "", *objects(inner)])


def room_frames() -> str:
    """Each frame that a server sends to one watcher, and the objects inside."""
    frames = [
        each["$ref"].rpartition("/")[2] for each in wire.schema()["$defs"]["Control"]["anyOf"]
    ]
    inner = ["RoomData", "CoinsData", "SentGiftData", "Price"]
    return "\n".join([*objects(frames), "", *objects(inner)])


def room_operations() -> str:
    """Each frame that a client may send."""
    frames = wire.schema()["$defs"]["ClientOp"]["anyOf"]
    return "\n".join(objects([each["$ref"].rpartition("/")[2] for each in frames]))


def objects(names: list[str]) -> list[str]:
    """Objects of the schema as a table: fields with their types, in brackets what may be missing."""
    rows = ["| object | fields | what it is |", "|---|---|---|"]
    for name in names:
        part = wire.schema()["$defs"][name]
        fields = [
            f"`{field}` {type_of(of)}"
            if field in part["required"]
            else f"[`{field}` {type_of(of)}]"
            for field, of in part["properties"].items()
        ]
        rows.append(f"| `{name}` | {', '.join(fields)} | {' '.join(part['description'].split())} |")
    return rows


def type_of(part: dict[str, Any]) -> str:
    """The type of a value in the schema, in a few words."""
    if "$ref" in part:
        return f"`{part['$ref'].rpartition('/')[2]}`"
    if "anyOf" in part:
        return " or ".join(type_of(each) for each in part["anyOf"])
    if "enum" in part:
        return " or ".join(f"`{json.dumps(each)}`" for each in part["enum"])
    if part.get("type") == "array":
        return f"array of {type_of(part['items'])}" if "items" in part else "empty array"
    return str(part["type"])


def room_schema() -> str:
    """The JSON Schema of a room's frames, as a file."""
    return json.dumps(wire.schema(), indent=2) + "\n"


FILES: dict[Path, Callable[[], str]] = {REFERENCE / "room-events.schema.json": room_schema}
"""Files that are made whole."""

MADE: dict[str, tuple[Path, Callable[[], str]]] = {
    "events of a room": (REFERENCE / "room-events.md", room_events),
    "fields of a room's events": (REFERENCE / "room-events.md", room_event_fields),
    "frames from the server": (REFERENCE / "room-events.md", room_frames),
    "frames from a client": (REFERENCE / "room-events.md", room_operations),
    "settings": (REFERENCE / "settings.md", settings_table),
    "codes of the API": (REFERENCE / "errors.md", api_codes),
    "codes of the commands": (REFERENCE / "errors.md", command_codes),
    "commands": (REFERENCE / "cli.md", commands),
    "routes": (REFERENCE / "api.md", routes),
}


def command_paths() -> list[tuple[str, ...]]:
    """Every command, in the order of the help."""
    paths = [(name,) for name, _, _ in cli.COMMANDS]
    paths += [(group, name) for group, _, names in cli.GROUPS for name, _, _ in names]
    return paths


def help_of(path: tuple[str, ...]) -> str:
    from rich.console import Console

    written = io.StringIO()
    console = Console(file=written, width=HELP_COLUMNS, color_system=None, force_terminal=False)
    cli.build()([*path, "--help"], console=console)
    lines = [line.rstrip() for line in written.getvalue().splitlines()]
    own, _, _ = "\n".join(lines).partition("\n\nSettings come from")  # Then what all have.
    return own.strip()


@cache
def api_routes() -> list[tuple[str, str, str]]:
    """Method, path and summary of everything the API answers."""
    from largesse.web.app import ROUTES
    from largesse.web.openapi import document

    found: dict[str, Any] = json.loads(document(ROUTES))
    return [
        (method.upper(), path, found["paths"][path][method].get("summary", ""))
        for path in sorted(found["paths"])
        for method in METHODS
        if method in found["paths"][path]
    ]


def made_part(name: str, page: str) -> str:
    """What stands between the marks of this table on its page."""
    _, begin, rest = page.partition(BEGIN.format(name=name))
    assert begin, f"the page has no place for: {name}"
    return rest.partition(END)[0].strip()


def write() -> None:
    """Write every made table into its page, and every made file."""
    for file, make in FILES.items():
        file.write_text(make())
    for name, (file, make) in MADE.items():
        page = file.read_text()
        begin = BEGIN.format(name=name)
        before, _, rest = page.partition(begin)
        after = rest.partition(END)[2]
        file.write_text(f"{before}{begin}\n\n{make()}\n\n{END}{after}")


# The tests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_a_made_table_is_what_the_code_says(name: str) -> None:
    file, make = MADE[name]
    assert made_part(name, file.read_text()) == make(), "run `make docs`"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_made_file_is_what_the_code_says(file: Path) -> None:
    assert file.read_text() == FILES[file](), "run `make docs`"


def codes_in_source() -> Iterator[tuple[str, str]]:
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Rejected":
                code = node.args[0]
                if isinstance(code, ast.Constant):
                    yield str(code.value), f"{file.name}:{node.lineno}"


def test_every_code_that_is_raised_is_documented() -> None:
    page = (REFERENCE / "errors.md").read_text()
    missing = {code: where for code, where in codes_in_source() if f"`{code}`" not in page}
    assert missing == {}


def test_every_code_of_the_tables_is_raised_or_answered_somewhere() -> None:
    source = "\n".join(file.read_text() for file in (ROOT / "src").rglob("*.py"))
    for code in {*REFUSALS, *SENTENCES}:
        assert source.count(f'"{code}"') > 1, code


def test_the_api_tells_of_every_route_that_others_rely_on() -> None:
    there = {f"{method} {path}" for method, path, _ in api_routes()}
    for route in (
        "POST /v1/users",
        "POST /v1/sessions",
        "GET /v1/packages",
        "POST /v1/orders",
        "GET /v1/wallet",
        "GET /v1/gift-items",
        "POST /v1/rooms/{room_id}/gifts",
        "GET /v1/earnings",
        "GET /livez",
        "GET /readyz",
    ):
        assert route in there


def test_every_account_and_posting_is_in_the_chart() -> None:
    page = (REFERENCE / "chart-of-accounts.md").read_text()
    for code in (*chart.AccountCode, *chart.TransferCode):
        assert re.search(rf"\b{code.value}\b", page), code.name
    for name, function in inspect.getmembers(postings, inspect.isfunction):
        is_posting = inspect.signature(function).return_annotation in ("Chain", postings.Chain)
        if is_posting and function.__module__ == postings.__name__ and not name.startswith("_"):
            assert f"`{name}`" in page or f"{name}(" in page or name in page, name


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]


every_document = pytest.mark.parametrize(
    "file", documents(), ids=lambda file: str(file.relative_to(ROOT))
)


@every_document
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)]+)\)", file.read_text()):
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), f"{file.name} points to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{file.name} points to {target}"


def anchors(file: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.replace(" ", "-"))
    return found


@every_document
def test_a_make_target_that_is_named_exists(file: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    page = file.read_text()
    commands = re.findall(r"^(?: {4})?make ([a-z-]+)|`make ([a-z-]+)", page, re.MULTILINE)
    for name in filter(None, (name for pair in commands for name in pair)):
        assert name in targets, f"{file.name} names make {name}"


@every_document
def test_a_command_that_is_named_exists(file: Path) -> None:
    known = {path[0] for path in command_paths()}
    for name in re.findall(r"`largesse ([a-z]+)", file.read_text()):
        assert name in known, f"{file.name} names largesse {name}"


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "index.md").read_text()
    for file in DOCS.rglob("*.md"):
        if file.name != "index.md":
            assert f"({file.relative_to(DOCS)})" in index, file


if __name__ == "__main__":
    sys.exit(write())
