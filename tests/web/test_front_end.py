"""
What holds for every template, style and script of ours: nothing inline, every word translatable,
no side that has a hand, and small.
"""

import gzip
import re
import subprocess
import sys
from functools import cache
from html import unescape

import pytest
from jinja2 import Environment
from jinja2.lexer import TOKEN_DATA

from largesse.web.assets import STATIC

WEB = STATIC.parent
ROOT = WEB.parent.parent.parent
TEMPLATES = sorted((WEB / "templates").rglob("*.html"))
STYLES = sorted((STATIC / "css").glob("*.css"))
SCRIPTS = sorted((STATIC / "js").rglob("*.js"))
IN_ENGLISH_ONLY = {"docs.html", "errors.html", "checkout.html"}
"""The pages about the API, and the pretend provider's, which is somebody else's."""
NAMES = {"Largesse"}
PAGE_BYTES_MAX = 12_000
"""Scripts that every page loads, packed."""
ELEMENT_BYTES_MAX = 6_000

every_template = pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
every_style = pytest.mark.parametrize("style", STYLES, ids=lambda file: file.name)
every_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)

SAID_BY_ATTRIBUTES = re.compile(
    r'\b(?:alt|title|placeholder|aria-label|aria-description|label|data-(?:say|question|text|yes))="([^"]*)"'
)
SIDES = re.compile(
    r"""(?mx)
    (?<!safe-area-)(?:margin|padding|border|inset|scroll-margin|scroll-padding)-(?:left|right|top|bottom)\b
    | (?:^|[{;])\s*(?:left|right|top|bottom|width|height|(?:min|max)-(?:width|height))\s*:
    | (?:text-align|float|clear|caption-side)\s*:\s*(?:left|right)\b
    """
)
FOUR_SIDES = re.compile(
    r"(?:^|[{;])\s*(?:margin|padding|inset|border-width)\s*:\s*(\S+) (\S+) (\S+) (\S+);",
    re.MULTILINE,
)
NO_TEXT = re.compile(
    r"{%-? *trans\b.*?endtrans *-?%}|{%-? *set \w+ *-?%}.*?endset *-?%}"
    r"|{%-? *block (?:body_class|html) *-?%}.*?endblock *-?%}",
    re.DOTALL,
)
"""What is translated as a whole, and what becomes part of a tag."""
COMMENTS = re.compile(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", re.DOTALL)


@cache
def text_of(template):
    """A template's own HTML: what Jinja puts in becomes `{}`."""
    source = NO_TEXT.sub("", template.read_text())
    parts = []
    for _, kind, value in Environment(autoescape=True).lex(source):
        if kind == TOKEN_DATA:
            parts.append(value)
        elif kind in ("variable_begin", "block_begin"):
            parts.append("{}")
    return "".join(parts)


@every_template
def test_nothing_is_inline(template):
    text = text_of(template)

    assert "<style" not in text
    assert not re.search(r"\sstyle\s*=", text)
    assert not re.search(r"\son[a-z]+\s*=", text)
    assert "javascript:" not in text
    for script in text.split("<script")[1:]:
        tag = script.split(">")[0]
        assert " src=" in tag or 'type="application/json"' in tag, tag


@every_template
def test_every_word_goes_through_gettext(template):
    if template.name in IN_ENGLISH_ONLY:
        return
    text = re.sub(r"<(script|code|svg)\b.*?</\1>", "", text_of(template), flags=re.DOTALL)
    said = SAID_BY_ATTRIBUTES.findall(text)
    said += re.split(r"<[^>]*>", text)

    bare = [words for words in map(unescape, said) if re.search(r"[^\W\d_]{2}", words)]
    assert [words for words in bare if words.strip("{} ·:") not in NAMES] == []


@every_script
def test_every_word_of_a_script_goes_through_gettext(script):
    text = COMMENTS.sub("", script.read_text())
    templates = re.findall(r"\b(?:html|svg)`((?:[^`\\]|\\.|`(?=[^`]*`\}))*)`", text)
    said = [words for template in templates for words in re.findall(r">([^<>{}$`]+)<", template)]

    assert [words for words in said if re.search(r"[^\W\d_]{2}", words)] == []


@every_style
def test_no_side_has_a_hand(style):
    text = COMMENTS.sub("", style.read_text())

    assert SIDES.findall(text) == []
    for top, right, bottom, left in FOUR_SIDES.findall(text):
        assert right == left, f"{top} {right} {bottom} {left}"


@every_script
def test_no_side_has_a_hand_in_a_script_either(script):
    for style in re.findall(r"\bcss`([^`]*)`", script.read_text()):
        assert SIDES.findall(COMMENTS.sub("", style)) == []


@every_style
def test_every_token_that_is_used_is_there(style):
    known = {
        name for file in STYLES for name in re.findall(r"(--[a-z0-9-]+)\s*:", file.read_text())
    }
    named = re.findall(r"var\((--[a-z0-9-]+)\)", style.read_text())
    set_by_scripts = {
        name
        for file in SCRIPTS
        for name in re.findall(r"[\"'`](--[a-z0-9-]+)[\"'`]", file.read_text())
    }

    assert set(named) - known - set_by_scripts == set()


@every_script
def test_a_script_asks_for_its_neighbours_only(script):
    text = COMMENTS.sub("", script.read_text())
    for name in re.findall(r"""(?:\bfrom|\bimport)\s*\(?\s*["'`]([^"'`]+)["'`]""", text):
        assert name.startswith("."), f"{script.name} imports {name}"
        if "${" not in name:
            assert (script.parent / name).resolve().is_file(), f"{script.name} imports {name}"
    assert not re.search(
        r"\beval\(|new Function\(|\.innerHTML\b|insertAdjacentHTML|document\.write", text
    )
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)


def packed(files):
    return sum(len(gzip.compress(file.read_bytes(), 9, mtime=0)) for file in files)


def test_what_every_page_loads_is_small():
    everywhere = [
        STATIC / "js" / "page.js",
        *(STATIC / "js" / "core").glob("*.js"),
        *(STATIC / "js" / "elements" / f"{name}.js" for name in ("lg-balance", "lg-toasts")),
    ]

    assert packed(everywhere) <= PAGE_BYTES_MAX
    for element in (STATIC / "js" / "elements").glob("*.js"):
        assert packed([element]) <= ELEMENT_BYTES_MAX, element.name


def test_the_catalogue_has_every_sentence():
    """`make messages` brings it up to date."""
    found = subprocess.run(
        [sys.executable, "scripts/messages.py", "--check"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout
