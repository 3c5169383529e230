"""
Maintainer's script: copies Lit out of its unpacked npm packages as plain modules for browsers.

    python scripts/import_lit.py <folder that holds lit, lit-html, lit-element, reactive-element>

Each of the four may be named with a version behind it, and may hold its files in `package`, as
`npm pack` and `tar` leave them. Writes `src/largesse/web/static/vendor/lit` anew. Nothing is
changed but the names of imports, which become relative, and the pointers to source maps, which go.
Directives that put unescaped text into a page are not taken.
"""

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "src/largesse/web/static/vendor/lit"
PACKAGES = {
    "lit": {"index.js": "lit.js"},
    "lit-element": {"lit-element.js": "lit-element.js"},
    "@lit/reactive-element": {
        "reactive-element.js": "reactive-element.js",
        "css-tag.js": "css-tag.js",
    },
    "lit-html": {
        "lit-html.js": "lit-html.js",
        "is-server.js": "is-server.js",
        "directive.js": "directive.js",
        "directive-helpers.js": "directive-helpers.js",
        **{
            f"directives/{name}.js": f"directives/{name}.js"
            for name in (
                *("class-map", "guard", "if-defined", "keyed", "live"),
                *("repeat", "style-map", "when"),
            )
        },
        "async-directive.js": "async-directive.js",
        "directives/ref.js": "directives/ref.js",
    },
}
"""Which files are taken of each package, and what they are called here."""
BARE = {
    "@lit/reactive-element": "reactive-element.js",
    "lit-html": "lit-html.js",
    "lit-html/is-server.js": "is-server.js",
    "lit-element/lit-element.js": "lit-element.js",
}
IMPORT = re.compile(r'\b(from|import)"([^"]+)"')
SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=\S+\n?")


def main(folder: Path) -> None:
    found = packages(folder)
    shutil.rmtree(VENDOR, ignore_errors=True)
    digests = {}
    for name, files in PACKAGES.items():
        for source, target in files.items():
            text = relative((found[name] / source).read_text(), target)
            digests[target] = write(target, text)
    licence = (found["lit"] / "LICENSE").read_text()
    assert "BSD 3-Clause" in licence
    digests["LICENSE"] = write("LICENSE", licence)
    lines = [
        "# Written by scripts/import_lit.py: Lit as published, its imports made relative.",
        'license = "BSD-3-Clause"',
        'homepage = "https://lit.dev"',
        "",
        "[versions]",
        *(f'"{name}" = "{version(found[name])}"' for name in PACKAGES),
        "",
        "[sha256]",
        *(f'"{name}" = "{digests[name]}"' for name in sorted(digests)),
    ]
    (VENDOR / "vendor.toml").write_text("\n".join(lines) + "\n")
    print(f"{len(digests)} files in {VENDOR}")


def packages(folder: Path) -> dict[str, Path]:
    """Where each package is, by the name that it gives itself."""
    found = {}
    for about in [*folder.glob("*/package.json"), *folder.glob("*/package/package.json")]:
        found[json.loads(about.read_text())["name"]] = about.parent
    missing = PACKAGES.keys() - found.keys()
    if missing:
        sys.exit(f"not in {folder}: {', '.join(sorted(missing))}")
    return found


def version(package: Path) -> str:
    return str(json.loads((package / "package.json").read_text())["version"])


def relative(text: str, target: str) -> str:
    """The module with imports that a browser finds without a map of them."""
    up = "../" * target.count("/")

    def renamed(found: re.Match[str]) -> str:
        name = found[2]
        if name.startswith("."):
            return found[0]
        assert name in BARE, f"{target} imports {name}"
        return f'{found[1]}"{up or "./"}{BARE[name]}"'

    return SOURCE_MAP.sub("\n", IMPORT.sub(renamed, text))


def write(name: str, text: str) -> str:
    file = VENDOR / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
