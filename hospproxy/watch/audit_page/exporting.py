"""Rows of the trail as files: CSV, JSON Lines, FHIR AuditEvents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from attrs import evolve, frozen

from ...messages import Response
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


def maker(name: str) -> Callable[[AsyncIterator[Row]], AsyncIterator[bytes]]:
    """What makes the bytes of a format."""
    # Here, not above: what it takes to make FHIR is heavy, and most processes never export.
    from ...record import export  # type: ignore[attr-defined,unused-ignore]

    made: Callable[[AsyncIterator[Row]], AsyncIterator[bytes]] = getattr(export, FORMATS[name].function)
    return made


def answer(name: str, rows: AsyncIterator[Row], stamp: str) -> Response:
    """An answer that is made while it is being sent.

    :param stamp: part of the file's name.
    """
    chosen = FORMATS[name]
    disposition = f'attachment; filename="audit-{stamp}.{chosen.extension}"'.encode()
    begun = rendering.page(200, b"", ((b"content-disposition", disposition),), chosen.content_type)
    return evolve(begun, chunks=maker(name)(rows))
