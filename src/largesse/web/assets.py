"""
Our own files for browsers, under an address that names their content.

`/static/v-<hash>/...` never changes, so a browser keeps it for a year; the hash is of the whole
tree, so that relative imports between scripts stay within one version.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path

STATIC = Path(__file__).parent / "static"
VERSIONED = ("css", "js", "vendor/lit", "icons.svg")
"""What the hash covers and pages name by `asset`."""
HASH_LENGTH = 12


@cache
def version() -> str:
    """The hash of every file that pages load, made once."""
    digest = sha256()
    for part in VERSIONED:
        place = STATIC / part
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file():
                digest.update(file.relative_to(STATIC).as_posix().encode() + b"\0")
                digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:HASH_LENGTH]


def asset(path: str) -> str:
    """The address of a file of ours: `asset("js/core/api.js")`."""
    return f"/static/v-{version()}/{path}"
