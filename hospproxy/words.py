"""Closed sets of words that records and metrics have: types, so that a word outside of its set does not pass mypy.

``watch/table.py`` gives them to the metrics. A word that somebody counts without having put it there is a failed test.
"""

from __future__ import annotations

from typing import Literal

CacheWord = Literal["hit", "stale", "hidden", "miss", "expired", "refresh", "bypass", "collapsed"]
"""What the cache did with a read."""

StatusClass = Literal["2xx", "3xx", "4xx", "5xx", "other"]

Finding = Literal["type", "json", "shape", "schema", "unasked", "unread", "field", "address"]
"""What is wrong with an answer of HOSP."""

EntranceRule = Literal["origin:wrong", "origin:missing", "https:required"]
Reload = Literal["renewed", "failed"]
"""What became of certificate files that were read anew."""

Handshake = Literal["done", "failed", "timed_out", "refused_total", "refused_address", "refused_rate"]
ProxyHeader = Literal["unlisted", "malformed", "timeout"]
"""Why a connection was closed for its PROXY header."""

PermissionEvent = Literal["held", "report", "unknown", "administrator", "break_glass"]
RedisResult = Literal["ok", "error", "unknown_script", "timeout", "lost", "away", "full"]
PlacesResult = Literal["done", "away", "nonsense"]
RefusedValue = Literal["unknown_key", "damaged", "nonsense"]
"""Why a value in Redis was not used."""

_CLASSES: dict[int, StatusClass] = {2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}


def status_class(status: int) -> StatusClass:
    """The class of a status (RFC 9110 §15); "other" for what is none."""
    return _CLASSES.get(status // 100, "other")
