"""Rows of the trail as files: CSV, JSON Lines, FHIR AuditEvents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve, field, frozen

from ...closing import close
from ...interfaces import ITrailReader
from ...messages import Response
from ...record.reading.matching import set_of
from ...record.reading.rows import Row
from . import rendering


@frozen(slots=True)
class Format:
    """:param function: of ``hospproxy.record.export`` that makes its bytes."""

    function: str
    content_type: bytes
    extension: str


FORMATS = {
    "csv": Format("csv_lines", b"text/csv; charset=utf-8; header=present", "csv"),
    "jsonl": Format("jsonl_lines", b"application/jsonl", "jsonl"),
    "fhir": Format("fhir_lines", b"application/fhir+ndjson", "fhir.ndjson"),
}


Maker = Callable[[AsyncIterator[Row]], AsyncIterator[bytes]]
_SETS = 1000


def maker(name: str, reader: ITrailReader) -> Maker:
    """What makes the bytes of a format."""
    # Here, not above: what it takes to make FHIR is heavy, and most processes never export.
    from ...record import export  # type: ignore[attr-defined,unused-ignore]

    made: Any = getattr(export, FORMATS[name].function)
    if name != "fhir":
        return partial(made)
    sets = Sets(reader)
    return lambda rows: made(sets.beside(rows), sets.known.get)


@frozen(slots=True)
class Sets:
    """Who was in the disclosure sets of an export, as far as they are small.

    :ivar known: by hash, the last so many.
    """

    _reader: ITrailReader
    known: dict[str, Sequence[str] | None] = field(factory=dict, init=False)

    async def beside(self, rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
        """The same rows; before each, its set becomes known."""
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


async def begun(rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
    """The same rows, the first of which was read: what fails at once can still be said in words."""
    first = await anext(rows, None)
    return _after(first, rows)


async def _after(first: Row | None, rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
    try:
        if first is not None:
            yield first
        async for row in rows:
            yield row
    finally:
        await close(rows)


def answer(name: str, reader: ITrailReader, rows: AsyncIterator[Row], stamp: str) -> Response:
    """An answer that is made while it is being sent.

    :param stamp: part of the file's name.
    """
    chosen = FORMATS[name]
    disposition = f'attachment; filename="audit-{stamp}.{chosen.extension}"'.encode()
    begun = rendering.page(200, b"", ((b"content-disposition", disposition),), chosen.content_type)
    return evolve(begun, chunks=maker(name, reader)(rows))
