"""Searches files and logs for words that must not be there, in any encoding.

needles = spellings(["Quetzalcoatlin"])
assert rummage(folder, needles) == []
"""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import duckdb

Needles = Mapping[bytes, str]
"""Bytes to search for, lower-cased if the encoding ignores case, and the name of such a finding."""


def spellings(words: Iterable[str]) -> Needles:
    """Every encoding of each word that a program is likely to have written.

    :param words: distinct enough not to occur anywhere by chance: eight characters or more.
    """
    found: dict[bytes, str] = {}
    for word in words:
        assert len(word) >= 8, word
        for how, spelled in _spellings(word):
            found.setdefault(spelled, f"{word} ({how})")
    return found


def _spellings(word: str) -> Iterator[tuple[str, bytes]]:
    data = word.encode()
    yield "in the clear", data
    yield "UTF-16", word.encode("utf-16-le")
    yield "JSON", json.dumps(word)[1:-1].encode()
    yield "JSON in JSON", json.dumps(json.dumps(word)[1:-1])[1:-1].encode()
    yield "Python", repr(data)[2:-1].encode()
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    yield "URL", quote(word, safe="").encode()
    yield "URL, every byte", "".join(f"%{byte:02X}" for byte in data).encode()
    for alignment in range(3):
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            yield f"{name} at {alignment}", _aligned(encode(bytes(alignment) + data), alignment, len(data))
    yield "backwards", data[::-1]


def _aligned(encoded: bytes, alignment: int, length: int) -> bytes:
    """The characters of a Base64 text that depend only on the word, not on the bytes around it."""
    begin = (alignment * 8 + 5) // 6
    return encoded[begin : (alignment + length) * 8 // 6]


def rummage(folder: Path, needles: Needles, spared: Iterable[Path] = ()) -> list[str]:
    """Where a needle occurs in any file below a folder, including packed files and values of SQLite and Parquet.

    :param spared: files that may contain them.
    """
    spared = set(spared)
    found = []
    for file in sorted(folder.rglob("*")):
        if file in spared:
            continue
        found += findings(str(file.relative_to(folder)), str(file).encode(), needles)
        if file.is_file() and not file.is_symlink():
            for how, content in views(file):
                found += findings(f"{file.relative_to(folder)}{how}", content, needles)
    return found


def findings(where: str, content: bytes, needles: Needles) -> list[str]:
    """The needles that occur in some bytes."""
    return [f"{where}: {called}" for needle, called in needles.items() if needle in content]


def views(file: Path) -> Iterator[tuple[str, bytes]]:
    """A file's bytes, as they are and decoded by the file's type."""
    content = file.read_bytes()
    yield "", content
    if content.startswith(b"\x1f\x8b"):
        yield " unpacked", gzip.decompress(content)
    if content.startswith(b"PAR1"):
        for row in duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(file)]).fetchall():
            yield " row", b"\n".join(str(value).encode() for value in row)
    if content.startswith(b"SQLite format 3\0"):
        # A long value spans several pages, with their links in between.
        for values in _rows(file):
            yield " values", b"\n".join(values)
            for value in values:
                yield from ((" values unpacked", inner) for inner in _unpacked(value))


def _rows(file: Path) -> Iterator[list[bytes]]:
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)
    connection.text_factory = bytes
    try:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in tables:
            for row in connection.execute(f'SELECT * FROM "{name.decode()}"'):
                yield [value if isinstance(value, bytes) else str(value).encode() for value in row]
    finally:
        connection.close()


def _unpacked(value: bytes) -> Iterator[bytes]:
    try:
        if value.startswith(b"\x1f\x8b"):
            yield gzip.decompress(value)
        elif value.startswith(b"\x78"):
            yield zlib.decompress(value)
    except (OSError, EOFError, zlib.error):
        return
