"""Turns rows into the bytes of a file, in pieces: memory holds one piece, however long the file is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from ...process.iterators import close
from ..search.rows import IndexRow
from .fhir import NAMING, FhirNaming, Members, line_of
from .table import CsvWriter

PIECE: Final = 1 << 15
"""Bytes of a piece, which takes two milliseconds to make; the last line may exceed it."""


async def csv_lines(rows: AsyncIterator[IndexRow]) -> AsyncIterator[bytes]:
    """CSV (RFC 4180), UTF-8, with a header. No cell can be taken for a formula.

    :param rows: closed at the end, and also if the caller stops early.
    """
    writer = CsvWriter()
    async for piece in _pieces(rows, writer.row, writer.header()):
        yield piece


async def jsonl_lines(rows: AsyncIterator[IndexRow]) -> AsyncIterator[bytes]:
    """JSON Lines: the journal's own lines, byte by byte, so that their hashes match the chain."""
    async for piece in _pieces(rows, lambda row: row.line + b"\n"):
        yield piece


async def fhir_lines(
    rows: AsyncIterator[IndexRow], members: Members | None = None, naming: FhirNaming | None = None
) -> AsyncIterator[bytes]:
    """One FHIR R4 AuditEvent per line (``application/fhir+ndjson``).

    Intents and records about the trail itself are left out.

    :param members: returns the patients of a disclosure set, if they are known.
    :param naming: names of systems and parties; None for the defaults.
    """
    async for piece in _pieces(rows, lambda row: line_of(row, members, naming or NAMING)):
        yield piece


async def _pieces(
    rows: AsyncIterator[IndexRow], line: Callable[[IndexRow], bytes], first: bytes = b""
) -> AsyncIterator[bytes]:
    held, size = [first], len(first)
    try:
        async for row in rows:
            made = line(row)
            held.append(made)
            size += len(made)
            if size >= PIECE:
                yield b"".join(held)
                held, size = [], 0
    finally:
        await close(rows)
    if size:
        yield b"".join(held)
