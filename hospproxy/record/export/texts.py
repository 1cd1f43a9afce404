"""Texts that clients chose, made harmless for whoever reads them: on a terminal, in a table. Pure."""

from __future__ import annotations

import re
import unicodedata

# Letters and marks that take no room, or none but room, though Unicode counts them as printable.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?\Z")
# Full-width, small and mathematical forms as well: some spreadsheets take them for the plain ones.
_FORMULA = re.compile('(^|;)(?=[\\s"]*[=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212])')

_MAY_BEGIN_ONE = frozenset("=+-@ ")

FORMULA_STARTS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212\t\r"
"""What no cell begins with, numbers apart."""


def visible(text: str) -> str:
    """The same text with nothing in it that steers, turns round or hides: that is spelled out (``\\u202e``)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_seen, text))


def _seen(character: str) -> str:
    plain = character.isprintable() and _UNSEEN.match(character) is None
    if plain or unicodedata.category(character) == "Zs":
        return character if plain else " "
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cell(value: object) -> str:
    """What stands in a cell of a table that a spreadsheet may open; nothing for None.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, the sign for text. So does what
    follows a semicolon, quotes or none between: in much of Europe it separates cells. Numbers stay numbers.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if text.isascii() and text.isprintable() and ";" not in text and text[:1] not in _MAY_BEGIN_ONE:
        return text  # nearly all of them
    text = visible(text)
    return text if _NUMBER.match(text) else _FORMULA.sub(r"\1'", text)


def columns_of(text: str) -> int:
    """Columns that a text takes on a terminal: ideographs take two, accents none."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, columns: int) -> str:
    """A text cut to so many columns, with a mark where it is cut, and filled up with blanks."""
    if (taken := columns_of(text)) <= columns:
        return text + " " * (columns - taken)
    kept, used = [], 0
    for character in text:
        if used + _columns(character) > columns - 1:
            break
        kept.append(character)
        used += _columns(character)
    return "".join(kept) + "…" + " " * (columns - 1 - used)
