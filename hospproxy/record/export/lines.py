"""Rows become the bytes of a file, piece by piece: memory holds one piece, however long the file is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..reading.rows import Row
from .table import Writer

if TYPE_CHECKING:
    from .fhir import Naming

PIECE: Final = 1 << 15
"""Bytes of a piece, which takes two milliseconds to make; the last line may go beyond."""

Members = Callable[[str], Sequence[str] | None]
"""From a disclosure set's hash to its patients; None where they are not at hand."""


async def csv_lines(rows: AsyncIterator[Row]) -> AsyncIterator[bytes]:
    """CSV (RFC 4180), UTF-8, with a header; no cell is taken for a formula.

    :param rows: closed at the end, also when the pieces are not asked for to the end.
    """
    writer = Writer()
    async for piece in _pieces(rows, writer.row, writer.header()):
        yield piece


async def jsonl_lines(rows: AsyncIterator[Row]) -> AsyncIterator[bytes]:
    """JSON Lines: the journal's own lines byte by byte, so that their hashes are those of the chain."""
    async for piece in _pieces(rows, lambda row: row.line + b"\n"):
        yield piece


async def fhir_lines(
    rows: AsyncIterator[Row], members: Members | None = None, naming: Naming | None = None
) -> AsyncIterator[bytes]:
    """One FHIR R4 AuditEvent a line (``application/fhir+ndjson``); records of the trail about itself have none.

    :param members: the patients of disclosure sets, as far as they are at hand.
    :param naming: what the parties are called; None for the usual names.
    """
    from .fhir import NAMING, line_of  # they import this module's words

    async for piece in _pieces(rows, lambda row: line_of(row, members, naming or NAMING)):
        yield piece


async def _pieces(
    rows: AsyncIterator[Row], line: Callable[[Row], bytes], first: bytes = b""
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
        end = getattr(rows, "aclose", None)
        if end is not None:
            await end()
    if size:
        yield b"".join(held)
