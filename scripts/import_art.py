"""
Maintainer's script: copies the art of the gift items out of an unpacked `fluentui-emoji` package.

    python scripts/import_art.py <folder of the package, the one with icons/flat>

Writes `gifts/*.svg`, `art.toml` and the licence into `src/largesse/web/static/art`, and removes art
that no item uses any more. Only what draws is let in: no script, no style, no reference.
"""

import hashlib
import json
import re
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent.parent / "src" / "largesse"
ART = HERE / "web" / "static" / "art"
LICENCE = "LICENSE-fluent-emoji.txt"
SHAPES = {"svg", "g", "path", "circle", "ellipse", "rect"}
REFERENCE = re.compile(r"href|url\(|style|^on|^class$|^id$", re.IGNORECASE)
DRAWN_BY = """\
The drawings are Fluent Emoji (Flat), drawn and published by Microsoft under the MIT License:

    Copyright (c) Microsoft Corporation.

They were taken from the package {name} {version}, which optimised the files and is itself
under the MIT License, whose text (the same for both) follows with its own copyright line.

"""


def problems(svg: bytes) -> list[str]:
    """Everything in a drawing that does more than draw, in words."""
    found = []
    if b"<!" in svg or b"<?" in svg:
        found.append("a declaration or a processing instruction")
    for element in ElementTree.fromstring(svg).iter():  # noqa: S314  Read once, by a maintainer.
        namespace, _, shape = element.tag.rpartition("}")
        if namespace != "{http://www.w3.org/2000/svg" or shape not in SHAPES:
            found.append(f"element {element.tag}")
        for name, value in element.attrib.items():
            if REFERENCE.search(name) or REFERENCE.search(value):
                found.append(f"attribute {name}={value[:40]}")
    return found


def main(package: Path) -> None:
    about = json.loads((package / "package.json").read_text())
    assert about["name"] == "fluentui-emoji"
    assert about["license"] == "MIT"
    items = tomllib.loads((HERE / "data" / "catalog" / "gift-items.toml").read_text())["items"]
    wanted = sorted({item["art"] for item in items})

    gifts = ART / "gifts"
    gifts.mkdir(parents=True, exist_ok=True)
    for old in gifts.iterdir():
        old.unlink()
    manifest = [
        "# Written by scripts/import_art.py. Where every drawing comes from.",
        "",
        f'package = "{about["name"]}"',
        f'version = "{about["version"]}"',
        f'licence_file = "{LICENCE}"',
    ]
    for file in wanted:
        source = f"icons/flat/{file}"
        svg = (package / source).read_bytes()
        if found := problems(svg):
            sys.exit(f"{source} does more than draw: {'; '.join(found)}")
        (gifts / file).write_bytes(svg)
        manifest += [
            "",
            "[[art]]",
            f'file = "gifts/{file}"',
            f'source = "{source}"',
            f'sha256 = "{hashlib.sha256(svg).hexdigest()}"',
            'licence = "MIT"',
        ]
    (ART / "art.toml").write_text("\n".join(manifest) + "\n")
    licence = (package / "LICENSE").read_text().strip()
    (ART / LICENCE).write_text(DRAWN_BY.format_map(about) + licence + "\n")
    print(f"{len(wanted)} drawings in {gifts}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
