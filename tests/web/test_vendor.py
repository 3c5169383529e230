"""What others made and we bring along: as it came, and free of what a strict policy forbids."""

import re
import tomllib
from hashlib import sha256

from largesse.web.assets import STATIC

LIT = STATIC / "vendor" / "lit"


def test_the_files_of_lit_are_as_they_came():
    vendored = tomllib.loads((LIT / "vendor.toml").read_text())

    assert vendored["license"] == "BSD-3-Clause"
    assert vendored["versions"]["lit"].startswith("3.3.")
    files = {str(file.relative_to(LIT)) for file in LIT.rglob("*") if file.is_file()}
    assert files - {"vendor.toml"} == vendored["sha256"].keys()
    for name, digest in vendored["sha256"].items():
        assert sha256((LIT / name).read_bytes()).hexdigest() == digest


def test_lit_asks_for_nothing_but_its_own_files():
    for file in LIT.rglob("*.js"):
        text = file.read_text()
        for name in re.findall(r'\b(?:from|import)"([^"]+)"', text):
            assert (file.parent / name).resolve().is_file(), f"{file.name} imports {name}"
        assert "sourceMappingURL" not in text
        assert not re.search(r"\beval\(|new Function", text)
