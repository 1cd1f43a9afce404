"""Closed sets of words in records and metrics, as types: mypy rejects a word that is not in its set.

``watch/table.py`` uses them as the label values of metrics. A test fails if code counts a word that is not listed here.
"""

from __future__ import annotations

from typing import Literal

CacheWord = Literal["hit", "stale", "hidden", "miss", "expired", "refresh", "bypass", "collapsed"]
"""What the cache did with a read."""

StatusClass = Literal["2xx", "3xx", "4xx", "5xx", "other"]

Finding = Literal["type", "json", "shape", "schema", "unasked", "unread", "field", "address"]
"""What is wrong with a response of HOSP."""

EntranceRule = Literal["origin:wrong", "origin:missing", "https:required"]
CorsResult = Literal["allowed", "origin", "path", "method", "header", "write"]
"""A preflight was allowed, or what it was refused for; "write": a write of a page that may not write."""

Reload = Literal["renewed", "failed"]
"""Result of reloading certificate files."""

Handshake = Literal["done", "failed", "timed_out", "refused_total", "refused_address", "refused_rate"]
ProxyHeader = Literal["unlisted", "malformed", "timeout"]
"""Why a connection was closed because of its PROXY header."""

PermissionEvent = Literal["held", "report", "unknown", "administrator", "break_glass"]
AccessLogEvent = Literal["closed", "shipped", "removed", "lost"]
RedisResult = Literal["ok", "error", "unknown_script", "timeout", "lost", "away", "full"]
PlacesResult = Literal["done", "away", "nonsense"]
RefusedValue = Literal["unknown_key", "damaged", "nonsense"]
"""Why a value in Redis was rejected."""

SpanResult = Literal["sent", "failed", "dropped"]
"""What became of a span."""

CopyEvent = Literal[
    "new", "changed", "confirmed", "missing", "deleted", "late", "undecided", "incomplete", "forgotten", "unreadable",
    "full", "dropped", "failed",
]  # fmt: skip
"""What became of a record in a response; "dropped" and "failed": of a whole response."""

Signal = Literal["traffic", "refusals", "errors", "hosp_errors", "hosp_latency"]
"""The signals by which a surge is noticed."""

_CLASSES: dict[int, StatusClass] = {2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}


def status_class(status: int) -> StatusClass:
    """The class of a status code (RFC 9110 §15); "other" for a code outside 2xx to 5xx."""
    return _CLASSES.get(status // 100, "other")
