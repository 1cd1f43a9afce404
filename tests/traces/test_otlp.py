"""What is posted is an ExportTraceServiceRequest, as OpenTelemetry's own schema reads it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.exchange.spans import SERVER, Span
from hospproxy.traces.otlp import document

from .fakes import span


class Documents(SynchronousTestCase):
    def parsed(self, body: bytes) -> Any:
        """Read it by the schema; a field that it does not know is an error."""
        service = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        return import_module("google.protobuf.json_format").Parse(body, service.ExportTraceServiceRequest())

    def test_the_schema_reads_it(self) -> None:
        server = Span("a" * 32, "b" * 16, "c" * 16, "k=v", SERVER, "GET /notes", 1.0, 2.5, {"a": "x"}, True)
        body = document([span(http_request=1), server], {"service.name": "hospproxy"}, "1.0")
        [resource] = self.parsed(body).resource_spans
        self.assertEqual(resource.resource.attributes[0].value.string_value, "hospproxy")
        [scope] = resource.scope_spans
        self.assertEqual((scope.scope.name, scope.scope.version), ("hospproxy", "1.0"))
        first, second = scope.spans
        self.assertEqual((first.name, first.kind, first.status.code), ("GET /notes/{id}", 3, 0))
        self.assertEqual(
            (first.start_time_unix_nano, first.end_time_unix_nano),
            (1_700_000_000_250_000_000, 1_700_000_001_500_000_000),
        )
        self.assertEqual(first.attributes[1].value.int_value, 1)
        self.assertEqual((second.kind, second.trace_state, second.status.code), (2, "k=v", 2))

    def test_ids_are_hexadecimal(self) -> None:
        """Unlike other bytes in protobuf's JSON, which are base64."""
        [resource] = msgspec.json.decode(document([span(255)], {}, "1.0"))["resourceSpans"]
        [found] = resource["scopeSpans"][0]["spans"]
        self.assertEqual((found["traceId"], found["spanId"]), (f"{255:032x}", f"{255:016x}"))
        self.assertNotIn("parentSpanId", found)

    def test_a_clock_that_was_set_back_makes_no_negative_time(self) -> None:
        back = Span("a" * 32, "b" * 16, "", "", SERVER, "GET", 5.0, 4.0, {}, False)
        [resource] = msgspec.json.decode(document([back], {}, "1.0"))["resourceSpans"]
        [found] = resource["scopeSpans"][0]["spans"]
        self.assertEqual(found["startTimeUnixNano"], found["endTimeUnixNano"])
