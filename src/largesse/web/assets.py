"""
Our own files for browsers, under an address that names their content.

`/static/v-<hash>/...` never changes, so a browser keeps it for a year; the hash is of the whole
tree, so that relative imports between scripts stay within one version. The files are read once,
for the hash, and answered from memory.
"""

import gzip
import re
from functools import cache
from hashlib import sha256
from pathlib import Path

from litestar import Response, get
from litestar.params import FromPath

from largesse.errors import Rejected
from largesse.web.auth import AnyRequest

STATIC = Path(__file__).parent / "static"
VERSIONED = ("art", "css", "icon.svg", "icons.svg", "js", "vendor/lit")
"""What the hash covers and pages name by `asset`."""
HASH_LENGTH = 12
KEPT = "public, max-age=31536000, immutable"
MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
OTHER_MEDIA_TYPE = "text/plain"
"""Licences and lists of where things come from."""
_COMMENT = re.compile(rb"^[ \t]*(?://[^\n]*|/\*(?:(?!\*/).)*\*/[ \t]*)$", re.MULTILINE | re.DOTALL)
"""One that has its lines for itself."""
PACKED_ALREADY = {"image/webp", "font/woff2"}


@cache
def files() -> dict[str, bytes]:
    """Every file that pages load, by its path below `static`."""
    found = {}
    for part in VERSIONED:
        place = STATIC / part
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file():
                path = file.relative_to(STATIC).as_posix()
                body = file.read_bytes()
                found[path] = lean(body) if path.startswith("js/") else body
    return found


def lean(script: bytes) -> bytes:
    """
    A script of ours without its comments, which are for who reads the source; a fifth of it.

    Only comments that begin their line go, and their lines stay, empty, so that a browser's numbers
    of lines are those of the source.
    """
    return _COMMENT.sub(lambda found: b"\n" * found[0].count(b"\n"), script)


@cache
def version() -> str:
    """The hash of all of them, made once."""
    digest = sha256()
    for path, body in files().items():
        digest.update(path.encode() + b"\0" + len(body).to_bytes(8) + body)
    return digest.hexdigest()[:HASH_LENGTH]


@cache
def asset(path: str) -> str:
    """The address of a file of ours: `asset("js/core/api.js")`. One that is not there is a bug."""
    assert path in files(), path
    return f"/static/v-{version()}/{path}"


def media_type(path: str) -> str:
    """What a browser is told a file is."""
    return MEDIA_TYPES.get(Path(path).suffix, OTHER_MEDIA_TYPE)


@get(f"/static/v-{version()}/{{path:path}}", include_in_schema=False, sync_to_thread=False)
def get_asset(request: AnyRequest, path: FromPath[str]) -> Response[bytes]:
    """A file of this version; of any other version there are none."""
    name = path.removeprefix("/")
    body = files().get(name)
    if body is None:
        raise Rejected("not_found")

    kind = media_type(name)
    headers = {"cache-control": KEPT, "vary": "accept-encoding"}
    if kind not in PACKED_ALREADY and "gzip" in request.headers.get("accept-encoding", ""):
        body = _packed(name)
        headers["content-encoding"] = "gzip"
    return Response(body, media_type=kind, headers=headers)


@cache
def _packed(name: str) -> bytes:
    return gzip.compress(files()[name], mtime=0)


ROUTES = (get_asset,)
