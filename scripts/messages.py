"""
Maintainer's script, `make messages`: finds every sentence that people read, in templates, Python
and scripts, writes `web/locale/messages.pot`, and brings every language's `messages.po` up to it.

    python scripts/messages.py                 the catalogue and all languages
    python scripts/messages.py --new de        begins a language
    python scripts/messages.py --check         says whether the catalogue has every sentence
"""

import ast
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "src" / "largesse" / "web"
LOCALE = WEB / "locale"
POT = LOCALE / "messages.pot"
WIDTH = 100
UNWANTED = (
    *(b'"POT-Creation-Date', b'"PO-Revision-Date', b'"Generated-By', b'"Last-Translator'),
    *(b'"Language-Team', b'"Report-Msgid-Bugs-To', b'"Project-Id-Version', b"# "),
)
"""What would change a file that has no other sentences, or says nothing."""

Found = tuple[str | tuple[str, str], list[str]]

PYTHON_WORDS = {"_": 1, "gettext": 1, "say": 1, "N_": 1}
"""Python functions that take a sentence, and how many of their texts are one."""
PLURALS = {"ngettext", "say_number"}
SCRIPT_WORDS = {"t": None, "tn": (1, 2)}
TEMPLATE_WORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
TEMPLATE_OPTIONS = {"trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true"}


def sentences() -> Catalog:
    """Every sentence with the files that say it, in the order of the words."""
    found: dict[str | tuple[str, str], tuple[set[str], list[str]]] = {}
    for file in files():
        place = file.relative_to(WEB).as_posix()
        for words, comments in said_in(file):
            places, notes = found.setdefault(words, (set(), []))
            places.add(place)
            notes += [note for note in comments if note not in notes]
    catalog = Catalog(project="Largesse", charset="utf-8", fuzzy=False)
    for words in sorted(found, key=lambda words: words if isinstance(words, str) else words[0]):
        places, notes = found[words]
        locations = [(place, 0) for place in sorted(places)]
        catalog.add(words, locations=locations, auto_comments=notes)
    return catalog


def files() -> list[Path]:
    """Where sentences stand; what others made is theirs, and builders read English."""
    own = [
        *WEB.rglob("*.py"),
        *(WEB / "templates").rglob("*.html"),
        *(WEB / "static" / "js").rglob("*.js"),
    ]
    return sorted(file for file in own if file.name != "styleguide.html")


def said_in(file: Path) -> Iterator[Found]:
    """The sentences of one file."""
    raw = file.read_bytes()
    if file.suffix == ".py":
        yield from said_in_python(raw)
        return
    is_script = file.suffix == ".js"
    method = "javascript" if is_script else "jinja2.ext:babel_extract"
    keywords = SCRIPT_WORDS if is_script else TEMPLATE_WORDS
    options = {} if is_script else TEMPLATE_OPTIONS
    for _, words, comments, _ in extract(
        method, io.BytesIO(raw), keywords, comment_tags=("For translators:",), options=options
    ):
        yield (words if isinstance(words, str) else tuple(words)), comments


def said_in_python(raw: bytes) -> Iterator[Found]:
    """Sentences in calls of gettext, and those of the table of refusals."""
    for node in ast.walk(ast.parse(raw)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        texts = [
            argument.value
            for argument in node.args
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        ]
        if name == "Refusal":
            yield from ((text, []) for text in texts if text)
        elif name in PLURALS and len(texts) >= 2:
            yield (texts[0], texts[1]), []
        elif name in PYTHON_WORDS and texts:
            yield texts[0], []


def text_of(catalog: Catalog) -> bytes:
    """A catalogue as it stands in its file: without dates, so that only sentences change it."""
    written = io.BytesIO()
    write_po(written, catalog, width=WIDTH, omit_header=False, include_lineno=False)
    lines = written.getvalue().splitlines()
    kept = (line for line in lines if line != b"#" and not line.startswith(UNWANTED))
    return b"\n".join(kept) + b"\n"


def main(new: str | None) -> None:
    catalog = sentences()
    LOCALE.mkdir(exist_ok=True)
    POT.write_bytes(text_of(catalog))
    if new is not None:
        begun = LOCALE / new / "LC_MESSAGES" / "messages.po"
        begun.parent.mkdir(parents=True)
        begun.write_bytes(text_of(Catalog(locale=new, fuzzy=False)))
    for file in sorted(LOCALE.glob("*/LC_MESSAGES/messages.po")):
        with file.open("rb") as opened:
            language = read_po(opened, locale=file.parts[-3])
        language.update(catalog)
        file.write_bytes(text_of(language))
    print(f"{len(catalog)} sentences in {POT.relative_to(ROOT)}")


def check() -> None:
    """Name the sentences by which the catalogue is behind, and fail if there are any."""
    with POT.open("rb") as opened:
        known = read_po(opened)
    said = sentences()
    behind = [message.id for message in said if message.id and message.id not in known]
    over = [message.id for message in known if message.id and message.id not in said]
    for message in behind + over:
        print(message)
    sys.exit(f"{len(behind)} are missing, {len(over)} are said no more" if behind + over else 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    elif not sys.argv[1:]:
        main(None)
    elif len(sys.argv) == 3 and sys.argv[1] == "--new":
        main(sys.argv[2])
    else:
        sys.exit(__doc__)
