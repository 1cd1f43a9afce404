"""Finds the line of an options file on which a key stands, for error messages."""

from __future__ import annotations

import re
from typing import Final

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY: Final = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"))*)\s*=(.*)"""
)
_LONG: Final = ('"""', "'''")


def line_of(text: str, path: str) -> int | None:
    """Return the number of the line that sets a key, or the table that it is in; None if neither is there.

    It reads the text as far as needed to name a line: a file that it misreads costs only the number.

    :param path: a key path, as ``listeners[0].url``.
    """
    lines = _lines(text)
    while path:
        if path in lines:
            return lines[path]
        path = re.sub(r"(?:\.[^.\[\]]*|\[\d+\]|^[^.\[\]]*)$", "", path)
    return None


def _lines(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    table, inside = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if inside:  # a text of several lines
            inside = "" if line.count(inside) % 2 else inside
            continue
        header, key = _HEADER.fullmatch(line), _KEY.fullmatch(line)
        if header is not None:
            table = _plain(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
            table = _numbered(table, counts)
            found.setdefault(table, number)
        elif key is not None:
            found.setdefault(f"{table}.{_plain(key[1])}" if table else _plain(key[1]), number)
            inside = next((each for each in _LONG if key[2].count(each) % 2), "")
    return found


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _numbered(table: str, counts: dict[str, int]) -> str:
    """Add the number of the last member to each name that is a list of tables."""
    done: list[str] = []
    plain: list[str] = []
    for part in table.split("."):
        plain.append(part)
        number = counts.get(".".join(plain))
        done.append(part if number is None else f"{part}[{number}]")
    return ".".join(done)
