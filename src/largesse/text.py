"""
What people write, made fit to be shown to others beside other text.

Pure. Nothing here escapes markup: text stays text, and whoever puts it into a page escapes it.
"""

import re
import unicodedata
from collections.abc import Iterator

from largesse.errors import Rejected

CHAT_LENGTH_MAX = 200
NICKNAME_LENGTH_MAX = 50
"""The longest ones in code points, cleaned."""

MARKS_MAX = 4
"""Marks above and below one character. No script needs more; text that drips over others does."""

_JOINERS = "\u200c\u200d"
_JOINED_FROM = "\u0590"
"""Joiners bind emoji, and letters of Arabic and Indian scripts: all of them stand from here on."""
_FLAG = re.compile("(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{4,6}\U000e007f)")
"""The flag of a region: a black flag, letters that are seen as the flag only, and their end."""
_SPACE = frozenset({"Zs", "Zl", "Zp"})
_LINE = "\t\n\v\f\r\x85"
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co"})
"""Controls, formats (with them all that turns the direction of text), surrogates, private use."""
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufdd0-\ufdef\ufe00-\ufe0d"
    "\uffa0\ufff0-\ufffc\U000e0000-\U000e0fff]"
)
"""What other categories hold that shows nothing, or hides something: fillers and selectors."""


def chat_text(written: str) -> str:
    """
    A message as it is shown.

    Raises:
        Rejected: chat_empty (also where nothing of it can be seen), chat_too_long.
    """
    text = cleaned(written)
    if not text:
        raise Rejected("chat_empty")
    if len(text) > CHAT_LENGTH_MAX:
        raise Rejected("chat_too_long", maximum=CHAT_LENGTH_MAX)
    return text


def nickname(written: str) -> str:
    """
    A name as it is shown.

    Raises:
        Rejected: nickname_invalid, for one that is too long or of which nothing can be seen.
    """
    text = cleaned(written)
    if not 1 <= len(text) <= NICKNAME_LENGTH_MAX:
        raise Rejected("nickname_invalid", maximum=NICKNAME_LENGTH_MAX)
    return text


def cleaned(written: str) -> str:
    """
    One line in NFC, without what cannot be seen, what turns the direction of other text, and what
    piles up. Words are one space apart. Cleaned text cleaned again is the same.
    """
    if written.isascii() and written.isprintable():
        return " ".join(written.split())
    parts = _FLAG.split(unicodedata.normalize("NFC", written))
    seen = "".join(part if _FLAG.fullmatch(part) else "".join(map(_seen, part)) for part in parts)
    settled = "".join(_settled(unicodedata.normalize("NFC", seen)))
    return unicodedata.normalize("NFC", " ".join(settled.split()))


def _seen(char: str) -> str:
    """The character, a space for a space of any kind, or nothing."""
    if char in _JOINERS:
        return char
    category = unicodedata.category(char)
    if category in _SPACE or char in _LINE:
        return " "
    is_unseen = category in _UNSEEN or _BLANK.match(char) or ord(char) & 0xFFFE == 0xFFFE
    return "" if is_unseen else char


def _settled(text: str) -> Iterator[str]:
    """Without marks that stand on nothing or are too many, and joiners that join nothing."""
    before, joiner, marks = "", "", 0
    for char in text:
        if char in _JOINERS:
            joiner = char if before >= _JOINED_FROM else ""
            continue
        category = unicodedata.category(char)
        if category[0] == "M":
            marks += category != "Mc"  # Those stand beside the character.
            if before in ("", " ") or marks > MARKS_MAX:
                continue
        else:
            marks = 0
        if joiner and char >= _JOINED_FROM:
            yield joiner
        yield char
        before, joiner = char, ""
