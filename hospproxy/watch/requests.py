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
    method, route, cache = _labels(exchange)
    word = _status_class(status_of(answer))
    meter.count("requests_total", method=method, route=route, status_class=word, cache=cache)
    meter.observe("request_seconds", seconds, route=route)


def counter_of(meter: IMeter, exchange: Exchange) -> Callable[[int | None, float], None]:
    """Return what counts a request like this one, from its status (None: no response was sent) and its seconds.

    It is cheaper than ``count_request`` where it is kept.
    """
    method, route, cache = _labels(exchange)
    counters: dict[int | None, Callable[[], None]] = {}
    timer = meter.timer("request_seconds", route=route)

    def counted(status: int | None, seconds: float) -> None:
        counter = counters.get(status)
        if counter is None:
            word = _status_class(status)
            counter = counters[status] = meter.counter(
                "requests_total", method=method, route=route, status_class=word, cache=cache
            )
        counter()
        timer(seconds)

    return counted


def _labels(exchange: Exchange) -> tuple[str, str, str]:
    """Method, route and cache status."""
    method, call = exchange.request.method, exchange.trace.call
    route = call.operation.template if call is not None else "unknown"
    return method if method in METHODS else "other", route, exchange.trace.cache_status or "none"


def _status_class(status: int | None) -> str:
    return "none" if status is None else status_class(status)
