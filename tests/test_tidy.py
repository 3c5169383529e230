"""
The shape of the house, kept by a test: floors, purity, sizes, one place for each thing.

Files are read with `ast`, so imports inside functions count too.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"

FLOORS = (
    {"", "ids", "money", "clock", "errors", "settings", "text"},
    {"ledger", "books"},
    {"records", "catalog"},
    {"payments", "rooms", "identity", "limits", "notify"},
    {"recharge", "gifting", "reports", "reconcile", "simulate", "studio"},
    {"app", "folder", "moving", "worker", "cli", "web", "__main__"},
)
"""From the bottom up; "" is the package itself, which holds the version and nothing else."""
WORDS, RIM = 0, len(FLOORS) - 1
WITHIN_A_FLOOR = {("books", "ledger"), ("records", "catalog")}
"""
Who may import whom on one floor, besides words each other and the rim whatever it likes. Rims of
the core never import one another, nor do features.
"""

PURE = {
    *("largesse.ledger.model", "largesse.ledger.rules", "largesse.books", "largesse.catalog"),
    *("largesse.rooms.room", "largesse.rooms.wire", "largesse.rooms.messages"),
    *("largesse.rooms.encoding", "largesse.rooms.presence"),
    "largesse.text",
}
WORLDLY = {
    *("asyncio", "datetime", "glob", "io", "logging", "multiprocessing", "os", "pathlib", "random"),
    *("secrets", "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading"),
    *("time", "urllib", "uuid", "httpx", "sqlalchemy", "structlog"),
}
"""What a pure file may not import: the disk, the net, the clock, chance, other threads."""

PLACES = {
    "alembic": {"records"},
    "argon2": {"identity"},
    "asyncpg": {"ledger", "records", "rooms"},
    "babel": {"web"},
    "cyclopts": {"cli"},
    "httpx": {"payments", "simulate"},
    "jinja2": {"web"},
    "litestar": {"web"},
    "markupsafe": {"web"},
    "nats": {"rooms"},
    "rich": {"cli"},
    "sqlalchemy": {"records"},
    "structlog": {
        "cli",
        "ledger",
        "payments",
        "recharge",
        "web",
        "worker",
        "notify",
        "identity",
        "rooms",
    },
    "tigerbeetle": {"ledger"},
    "uvicorn": {"cli"},
    "uvloop": {"cli"},
    "websockets": {"simulate", "web"},
}
"""Third-party packages and where each comes in; msgspec is our alphabet and may be anywhere."""
EVERYWHERE = {"msgspec"}

ENGINES = re.compile(r"largesse\.ledger\.(memory|sqlite|postgres|tigerbeetle)(_|\.|$)")
PROVIDERS = re.compile(r"largesse\.payments\.(sandbox|stripe|paypal|app_store|google_play)(_|\.|$)")
OWN_DOORS = {"largesse.web.sandbox", "largesse.web.app", "largesse.moving"}
"""
The sandbox's own pages, and where they are hung: the pretend provider's side of the wire. And what
copies from one engine to another.
"""

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
NESTING_MAX = 4
FORBIDDEN_NAMES = {
    *("services", "repositories", "schemas", "utils", "util", "helpers", "helper", "common"),
    *("core", "domain", "misc", "lib", "managers", "controllers"),
}


def name_of(file: Path) -> str:
    """`src/largesse/web/app.py` is `largesse.web.app`, a package is its `__init__`."""
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


MODULES = {name_of(file): file for file in sorted(SOURCE.rglob("*.py"))}
PYTHON = sorted(
    file for folder in ("src", "tests", "bench") for file in (ROOT / folder).rglob("*.py")
)
every_module = pytest.mark.parametrize("module", MODULES)
every_file = pytest.mark.parametrize("file", PYTHON, ids=lambda file: str(file.relative_to(ROOT)))


def imports_of(module: str) -> Iterator[str]:
    """Every module that is imported, by its full name; of `from a import b` both a and a.b."""
    file = MODULES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def ours(module: str) -> set[str]:
    """The modules of ours that it imports."""
    return {name for name in imports_of(module) if name in MODULES}


def room_of(module: str) -> str:
    """`largesse.web.app` is in `web`; the package itself is in ""."""
    return ([*module.split("."), ""])[1]


def floor_of(module: str) -> int:
    [floor] = [n for n, names in enumerate(FLOORS) if room_of(module) in names]
    return floor


def is_pure(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in PURE)


@every_module
def test_every_module_has_its_floor(module: str) -> None:
    assert 0 <= floor_of(module) <= RIM


@every_module
def test_imports_go_down_only(module: str) -> None:
    for other in ours(module):
        here, there = room_of(module), room_of(other)
        if here == there or floor_of(module) == RIM:
            continue
        below = floor_of(other) < floor_of(module)
        beside = floor_of(other) == floor_of(module) == WORDS or (here, there) in WITHIN_A_FLOOR
        assert below or beside, f"{module} imports {other}"


@every_module
def test_pure_files_know_neither_disk_nor_net_nor_clock_nor_chance(module: str) -> None:
    if not is_pure(module):
        return
    found = {name.split(".")[0] for name in imports_of(module)} & WORLDLY
    assert not found, f"{module} imports {found}"
    for node in ast.walk(tree_of(MODULES[module])):
        assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await)), f"{module}:{node}"


@pytest.mark.parametrize("module", [name for name in MODULES if PROVIDERS.match(name)])
def test_what_a_webhook_says_is_read_without_asking_anybody(module: str) -> None:
    for node in ast.walk(tree_of(MODULES[module])):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == "read":
            assert isinstance(node, ast.FunctionDef)
            assert "now" not in {argument.arg for argument in node.args.args}


@every_module
def test_third_party_packages_come_in_at_one_place_each(module: str) -> None:
    known = sys.stdlib_module_names | {"largesse", "", *EVERYWHERE}
    for package in {name.split(".")[0] for name in imports_of(module)} - known:
        places = PLACES.get(package, set())
        assert room_of(module) in places, f"{module} imports {package}"


@every_module
def test_only_the_composition_root_names_an_engine_or_a_provider(module: str) -> None:
    for other in ours(module):
        for names, home in ((ENGINES, "ledger"), (PROVIDERS, "payments")):
            if names.match(other) and room_of(module) != home and module not in OWN_DOORS:
                assert module == "largesse.app", f"{module} imports {other}"


def test_the_simulator_knows_nothing_of_us() -> None:
    own = {module for module in MODULES if room_of(module) == "simulate"}
    assert {other for module in own for other in ours(module)} <= own


@every_module
def test_only_postings_and_the_ledger_make_transfers(module: str) -> None:
    if room_of(module) in ("books", "ledger"):
        return
    for node in ast.walk(tree_of(MODULES[module])):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            assert name != "Transfer", f"{module}:{node.lineno} builds a Transfer"


@every_module
def test_no_class_of_ours_inherits_from_another_of_ours(module: str) -> None:
    tree = tree_of(MODULES[module])
    mine = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("largesse"):
            mine |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = {ast.unparse(base).split("[")[0].split(".")[0] for base in node.bases}
            assert not bases & mine, f"{module}.{node.name} inherits from {bases & mine}"


@every_file
def test_a_file_is_read_in_a_sitting_and_a_function_on_a_screen(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= FILE_LINES_MAX
    for node in ast.walk(tree_of(file)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"
            assert nesting(node) <= NESTING_MAX, f"{node.name} is nested {nesting(node)} deep"


def nesting(node: ast.AST) -> int:
    """How deep choices and loops stand in one another; `elif` is no deeper than its `if`."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue  # A function inside counts by itself.
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        block = isinstance(child, (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match))
        deepest = max(deepest, nesting(child) + (block and not is_elif))
    return deepest


def test_no_folder_or_file_is_named_for_nothing() -> None:
    for file in PYTHON:
        names = {*file.relative_to(ROOT).with_suffix("").parts}
        assert not names & FORBIDDEN_NAMES, file


@cache
def texts() -> dict[Path, str]:
    """Every text file of the repository, whether git knows it already or not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found = {}
    for name in filter(None, listed.stdout.split("\0")):
        file = ROOT / name
        try:
            found[file] = file.read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return found


# Each is put together here, so that this file does not find itself.
REGISTRIES = [
    "pypi" + ".org",
    "files.python" + "hosted",
    "registry." + "npmjs",
    "index" + "-url",
    "find" + "-links",
]
REMINDERS = ["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error"]
MACHINE_PATHS = re.compile(r"(?<![\w.}])/(?:" + "work|" + r"root)/")


@pytest.mark.parametrize("word", REGISTRIES)
def test_no_address_of_a_package_registry(word: str) -> None:
    assert [file for file, text in texts().items() if word in text] == []


@pytest.mark.parametrize("word", REMINDERS)
def test_nothing_is_left_for_later(word: str) -> None:
    pattern = re.compile(rf"\b{word}\b")
    found = [file for file, text in texts().items() if pattern.search(text)]
    assert [file for file in found if "vendor" not in file.parts] == []


def test_no_path_of_somebodys_machine() -> None:
    found = [file for file, text in texts().items() if MACHINE_PATHS.search(text)]
    assert found == []


def test_every_requirement_is_pinned_and_without_an_address() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line]
    for line in pins:
        assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line), line


def test_the_formatter_and_the_linter_find_nothing() -> None:
    for command in (["format", "--check"], ["check"]):
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stdout + found.stderr
