"""What is counted of every request, whether or not it is recorded."""

from __future__ import annotations

from ..interfaces import IMeter
from ..messages import Exchange
from ..record.describe import Answer, status_of

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CACHE = (
    "hit",
    "stale",
    "hidden",
    "miss",
    "bypass",
    "collapsed",
    "uri-miss",
    "vary-miss",
    "method",
    "request",
    "partial",
)


def count_request(meter: IMeter, exchange: Exchange, answer: Answer, seconds: float) -> None:
    """Count a client's request that is over.

    :param answer: what the client gets, or the failure in its place.
    :param seconds: since it arrived.
    """
    method = exchange.request.method
    route = exchange.call.operation.template if exchange.call is not None else "unknown"
    status = status_of(answer)
    meter.count(
        "requests_total",
        method=method if method in _METHODS else "other",
        route=route,
        status_class=f"{status // 100}xx" if status is not None else "none",
        cache=cache_label(exchange.cache_status),
    )
    meter.observe("request_seconds", seconds, route=route)


def cache_label(status: str) -> str:
    """A cache status (RFC 9211, or its first word) as one of few words."""
    if not status:
        return "none"
    words = {word.strip().lower().removeprefix("fwd=") for word in status.split(";")}
    return next((word for word in _CACHE if word in words), "other")
