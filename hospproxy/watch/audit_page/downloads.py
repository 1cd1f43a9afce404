"""Exports rows of the trail as files: CSV, JSON Lines, FHIR AuditEvents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve, field, frozen

from ...http.messages import Response
from ...interfaces import ITrailReader
from ...process.iterators import close
from ...record.search.match import set_of
from ...record.search.rows import IndexRow
from . import html


@frozen(slots=True)
class DownloadFormat:
    """One format in which the audit page exports rows.

    :param function: name of the function in ``hospproxy.record.export`` that encodes the rows.
    """

    function: str
    content_type: bytes
    extension: str


FORMATS = {
    "csv": DownloadFormat("csv_lines", b"text/csv; charset=utf-8; header=present", "csv"),
    "jsonl": DownloadFormat("jsonl_lines", b"application/jsonl", "jsonl"),
    "fhir": DownloadFormat("fhir_lines", b"application/fhir+ndjson", "fhir.ndjson"),
}


Maker = Callable[[AsyncIterator[IndexRow]], AsyncIterator[bytes]]
_SETS = 1000


def maker(name: str, reader: ITrailReader) -> Maker:
    """Return the function that encodes rows in a format."""
    # Imported here: FHIR needs heavy modules, and most processes never export.
    from ...record import export  # type: ignore[attr-defined,unused-ignore]

    made: Any = getattr(export, FORMATS[name].function)
    if name != "fhir":
        return partial(made)
    sets = DisclosureSets(reader)
    return lambda rows: made(sets.beside(rows), sets.known.get)


@frozen(slots=True)
class DisclosureSets:
    """The patients in the disclosure sets of an export; large sets are left out.

    :ivar known: patients by the set's hash; the last ``_SETS`` sets.
    """

    _reader: ITrailReader
    known: dict[str, Sequence[str] | None] = field(factory=dict, init=False)

    async def beside(self, rows: AsyncIterator[IndexRow]) -> AsyncIterator[IndexRow]:
        """Yield the same rows; read the disclosure set of each before it is yielded."""
        from ...record.export.fhir import MOST_PATIENTS

        try:
            async for row in rows:
                name = set_of(row.record)
                if name is not None and name not in self.known:
                    if len(self.known) >= _SETS:
                        del self.known[next(iter(self.known))]
                    self.known[name] = await self._reader.members(name, MOST_PATIENTS)
                yield row
        finally:
            await close(rows)


async def begun(rows: AsyncIterator[IndexRow]) -> AsyncIterator[IndexRow]:
    """Read the first row, and return the same rows: a failure at the start can then still become an error page."""
    first = await anext(rows, None)
    return _after(first, rows)


async def _after(first: IndexRow | None, rows: AsyncIterator[IndexRow]) -> AsyncIterator[IndexRow]:
    try:
        if first is not None:
            yield first
        async for row in rows:
            yield row
    finally:
        await close(rows)


def answer(name: str, reader: ITrailReader, rows: AsyncIterator[IndexRow], stamp: str) -> Response:
    """Build a streamed response: rows are encoded while it is sent.

    :param stamp: part of the file's name.
    """
    chosen = FORMATS[name]
    disposition = f'attachment; filename="audit-{stamp}.{chosen.extension}"'.encode()
    begun = html.page(200, b"", ((b"content-disposition", disposition),), chosen.content_type)
    return evolve(begun, chunks=maker(name, reader)(rows))
