"""Counts every client request, whether or not it is recorded."""

from __future__ import annotations

from collections.abc import Callable

from ..exchange.exchange import Exchange
from ..exchange.words import status_class
from ..interfaces import IMeter
from ..record.describe import Answer, status_of
from .table import METHODS


def count_request(meter: IMeter, exchange: Exchange, answer: Answer, seconds: float) -> None:
    """Count a client request that has ended.

    :param answer: the response, or the failure in its place.
    :param seconds: time since the request arrived.
    """
    counter_of(meter, exchange)(status_of(answer), seconds)


def counter_of(meter: IMeter, exchange: Exchange) -> Callable[[int | None, float], None]:
    """Return what counts a request like this one, from its status (None: no response was sent) and its seconds."""
    method = exchange.request.method
    call = exchange.trace.call
    route = call.operation.template if call is not None else "unknown"
    method = method if method in METHODS else "other"
    cache = exchange.trace.cache_status or "none"

    counters: dict[int | None, Callable[[], None]] = {}
    timer = meter.timer("request_seconds", route=route)

    def counted(status: int | None, seconds: float) -> None:
        counter = counters.get(status)
        if counter is None:
            word = "none" if status is None else status_class(status)
            counter = counters[status] = meter.counter(
                "requests_total", method=method, route=route, status_class=word, cache=cache
            )
        counter()
        timer(seconds)

    return counted
