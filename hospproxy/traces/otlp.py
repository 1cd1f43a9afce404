"""Writes spans as OTLP/HTTP JSON. Pure. Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.

Ids are hexadecimal, and 64-bit numbers are texts, as that document says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ..exchange.spans import Span

_ERROR: Final = 2


def document(spans: Sequence[Span], resource: Mapping[str, str], version: str) -> bytes:
    """Return an ``ExportTraceServiceRequest``.

    :param resource: attributes of this process.
    :param version: of hospproxy.
    """
    scope = {"name": "hospproxy", "version": version}
    return msgspec.json.encode(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _attributes(resource)},
                    "scopeSpans": [{"scope": scope, "spans": [_span(each) for each in spans]}],
                }
            ]
        }
    )


def _span(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": _nanoseconds(span.began),
        "endTimeUnixNano": _nanoseconds(max(span.began, span.ended)),
        "attributes": _attributes(span.attributes),
    }
    if span.parent_id:
        found["parentSpanId"] = span.parent_id
    if span.state:
        found["traceState"] = span.state
    if span.failed:
        found["status"] = {"code": _ERROR}
    return found


def _nanoseconds(seconds: float) -> str:
    """A float holds no nanoseconds of this century, but it holds microseconds."""
    return f"{round(seconds * 1e6)}000"


def _attributes(attributes: Mapping[str, str | int]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]
