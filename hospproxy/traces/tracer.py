"""Begins and ends the span of a client's request."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..exchange.exchange import Exchange
from ..exchange.spans import RequestSpans, Span
from ..exchange.trace_context import TraceParent, parse_parent, parse_state
from .sampler import Sampler


class Tracer:
    """Traces requests of clients. Own requests that serve one of them belong to its trace.

    :param emit: takes each span that has ended.
    :param random: returns this many random bytes.
    :param upstream: attributes of every attempt: ``server.address``, ``server.port``, ``url.full``.
    """

    def __init__(
        self,
        sampler: Sampler,
        emit: Callable[[Span], None],
        random: Callable[[int], bytes],
        upstream: Mapping[str, str | int],
    ) -> None:
        self._sampler = sampler
        self._emit = emit
        self._random = random
        self._upstream = upstream

    def begin(self, exchange: Exchange) -> None:
        """Continue the client's trace, or begin one. A request that is not sampled continues it too."""
        headers = exchange.request.headers
        parent = parse_parent(headers.all(b"traceparent"))
        state = parse_state(headers.all(b"tracestate")) if parent is not None else b""
        trace_id = self._id(16) if parent is None else parent.trace_id
        exchange.trace.spans = RequestSpans(
            TraceParent(trace_id, self._id(8), self._sampler.take(parent)),
            "" if parent is None else parent.span_id,
            state,
            self._emit,
            lambda: self._id(8),
            exchange.wall - exchange.arrived,
            self._upstream,
        )

    def end(self, exchange: Exchange, status: int | None, now: float) -> None:
        """End the span of a request, with its status.

        :param status: of its response; None: it got none.
        :param now: monotonic seconds.
        """
        spans, trace = exchange.trace.spans, exchange.trace
        if spans is None:
            return
        found: dict[str, str | int] = {"url.scheme": exchange.request.client.scheme}
        if trace.cache_status is not None:
            found["hospproxy.cache"] = trace.cache_status
        if status is not None:
            found["http.response.status_code"] = status
        if status is None or status >= 500:
            found["error.type"] = trace.outcome or ("no response" if status is None else str(status))
        route = "" if trace.call is None else trace.call.operation.template
        spans.end(exchange.arrived, now, exchange.request.method, route, found)

    def _id(self, size: int) -> str:
        made = self._random(size).hex()
        return made if made.strip("0") else self._id(size)  # all zeros are no id
