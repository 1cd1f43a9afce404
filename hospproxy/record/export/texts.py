"""Makes texts that clients chose safe to show on a terminal or in a spreadsheet. Pure."""

from __future__ import annotations

import re
import unicodedata

# Letters and marks that are invisible or blank, although Unicode counts them as printable.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?\Z")
# Includes full-width, small and mathematical forms: some spreadsheets treat them like the plain characters.
_FORMULA = re.compile('(^|;)(?=[\\s"]*[=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212])')

_MAY_BEGIN_ONE = frozenset("=+-@ ")

FORMULA_STARTS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212\t\r"
"""Characters that no cell begins with, except numbers."""


def visible(text: str) -> str:
    r"""The text with each character that controls, reverses or hides text written as an escape (``\u202e``)."""
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
    """The text of a spreadsheet cell; empty for None.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which marks it as text. The
    same applies to text after a semicolon, with or without quotes between, since semicolons separate cells in
    much of Europe. Numbers stay numbers.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if text.isascii() and text.isprintable() and ";" not in text and text[:1] not in _MAY_BEGIN_ONE:
        return text  # the usual case
    text = visible(text)
    return text if _NUMBER.match(text) else _FORMULA.sub(r"\1'", text)


def columns_of(text: str) -> int:
    """Columns that a text takes on a terminal: ideographs take two, combining accents none."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, columns: int) -> str:
    """A text cut to this many columns, with "…" where it is cut, and padded with spaces."""
    if (taken := columns_of(text)) <= columns:
        return text + " " * (columns - taken)
    kept, used = [], 0
    for character in text:
        if used + _columns(character) > columns - 1:
            break
        kept.append(character)
        used += _columns(character)
    return "".join(kept) + "…" + " " * (columns - 1 - used)
