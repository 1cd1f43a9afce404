"""Counts every client request, whether or not it is recorded."""

from __future__ import annotations

from ..exchange import Exchange
from ..interfaces import IMeter
from ..record.describe import Answer, status_of
from ..words import status_class
from .table import METHODS


def count_request(meter: IMeter, exchange: Exchange, answer: Answer, seconds: float) -> None:
    """Count a client request that has ended.

    :param answer: the response, or the failure in its place.
    :param seconds: time since the request arrived.
    """
    method = exchange.request.method
    call = exchange.trace.call
    route = call.operation.template if call is not None else "unknown"
    status = status_of(answer)
    meter.count(
        "requests_total",
        method=method if method in METHODS else "other",
        route=route,
        status_class="none" if status is None else status_class(status),
        cache=exchange.trace.cache_status or "none",
    )
    meter.observe("request_seconds", seconds, route=route)
