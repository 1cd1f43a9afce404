"""Records of requests, as lines of the journal, for tests of the access log."""

from __future__ import annotations

from typing import Any

from hospproxy.record.trail.record_line import encode_record

TRAIL = "0123456789abcdef0123456789abcdef"


def record(**more: Any) -> dict[str, Any]:
    """A record of a read that was sent to HOSP."""
    client = {"address": "192.0.2.7", "peer": "10.0.0.1", "chain": [], "scheme": "https", "certificate": None}
    http = {
        "version": "1.1",
        "host": "hosp.example",
        "user_agent": "curl/8.5",
        "query": None,
        "received": 0,
        "sent": 366,
        "waited_ms": 1.5,
    }
    return {
        "v": 1,
        "kind": "request",
        "time": "2026-11-29T05:20:00.123Z",
        "duration_ms": 12.3,
        "request_id": "4f3c0a",
        "who": {"id": 7, "name": "Ana Secretname", "certainty": "verified"},
        "client": {**client, **more.pop("client", {})},
        "method": "GET",
        "route": "/patients/{id}",
        "action": "read",
        "resource": "patients",
        "record_id": "4711",
        "patient_id": "4711",
        "outcome": "success",
        "status": 200,
        "answered_by": "upstream",
        "cache": "miss",
        "attempts": 1,
        "looks": 0,
        "rule_hits": [],
        "break_glass": None,
        "client_gone": False,
        "http": {**http, **more.pop("http", {})},
        **more,
    }


def line(**more: Any) -> bytes:
    """The same, as it stands in the journal."""
    return encode_record(record(**more))
