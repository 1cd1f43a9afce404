"""The spans of one client request: one for itself, and one for each attempt at HOSP.

No span holds anything of a patient: paths are the contract's templates, and there are no queries and no addresses.
Names and attributes follow OpenTelemetry's stable conventions for HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, evolve, field, frozen

from ..http.messages import Client
from .trace_context import TraceParent

SERVER: Final = 2
CLIENT: Final = 3
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"})


@frozen(slots=True)
class Span:
    """A span that has ended, as it is exported.

    :param parent_id: empty for a trace that begins with this span.
    :param kind: SERVER or CLIENT, as OTLP numbers them.
    :param began: seconds since the epoch, like ``ended``.
    :param failed: whether its status is an error.
    """

    trace_id: str
    span_id: str
    parent_id: str
    state: str
    kind: int
    name: str
    began: float
    ended: float
    attributes: Mapping[str, str | int]
    failed: bool


def method_of(method: str) -> tuple[str, str]:
    """Return how a method is called in an attribute, and in a span's name."""
    return (method, method) if method in _METHODS else ("_OTHER", "HTTP")


@define(slots=True, eq=False)
class RequestSpans:
    """Makes the spans of one request. All its attempts share it.

    :param parent: the trace, and the id of the request's own span.
    :param parent_id: the client's span.
    :param state: its ``tracestate``.
    :param emit: takes each span that has ended.
    :param new_id: returns the id of a span.
    :param epoch: what to add to monotonic seconds for seconds since the epoch.
    :param upstream: attributes of every attempt: address, port and URL of HOSP.
    """

    parent: TraceParent
    parent_id: str
    state: bytes
    emit: Callable[[Span], None]
    new_id: Callable[[], str]
    epoch: float
    upstream: Mapping[str, str | int]
    attempts: int = field(default=0, init=False)

    def attempt(self, method: str, route: str, own: str, now: float) -> AttemptSpan:
        """Begin the span of an attempt at HOSP.

        :param own: why the proxy itself sends it; empty for the client's request.
        :param now: monotonic seconds.
        """
        number = 0
        if not own:
            number, self.attempts = self.attempts, self.attempts + 1
        return AttemptSpan(self, evolve(self.parent, span_id=self.new_id()), method, route, own, number, now)

    def end(
        self, began: float, now: float, method: str, route: str, attributes: Mapping[str, str | int]
    ) -> None:
        """End the span of the request itself.

        :param began: monotonic seconds, like ``now``.
        :param route: the template of the path; empty if the contract has none.
        """
        if not self.parent.sampled:
            return
        called, name = method_of(method)
        found: dict[str, str | int] = {"http.request.method": called, **attributes}
        if route:
            found.update({"http.route": route, "url.path": route})
        failed = "error.type" in found
        self.emit(
            Span(
                self.parent.trace_id, self.parent.span_id, self.parent_id, self.state.decode("ascii"), SERVER,
                f"{name} {route}".rstrip(), began + self.epoch, now + self.epoch, found, failed,
            )
        )  # fmt: skip


@define(slots=True, eq=False)
class AttemptSpan:
    """The span of one attempt at HOSP."""

    _spans: RequestSpans
    _own: TraceParent
    _method: str
    _route: str
    _reason: str
    _number: int
    _began: float

    def sent_by(self, client: Client) -> Client:
        """Return the client with the fields that continue the trace at HOSP."""
        fields = [(b"traceparent", self._own.field)]
        if self._spans.state:
            fields.append((b"tracestate", self._spans.state))
        return evolve(client, trace=tuple(fields))

    def end(self, now: float, status: int | None, outcome: str) -> None:
        """End the span of this attempt, and hand it to the exporter.

        :param now: monotonic seconds.
        :param status: of HOSP's response; None: there was none.
        :param outcome: what became of it without a response, or with one that is not passed on.
        """
        spans = self._spans
        if not self._own.sampled:
            return
        found: dict[str, str | int] = {"http.request.method": self._method, **spans.upstream}
        found["url.full"] = f"{found['url.full']}{self._route}"
        if self._number:
            found["http.request.resend_count"] = self._number
        if self._reason:
            found["hospproxy.own"] = self._reason
        if status is not None:
            found["http.response.status_code"] = status
        if status is None or status >= 400 or outcome:
            found["error.type"] = outcome or str(status)
        spans.emit(
            Span(
                self._own.trace_id, self._own.span_id, spans.parent.span_id, spans.state.decode("ascii"), CLIENT,
                f"{self._method} {self._route}", self._began + spans.epoch, now + spans.epoch, found,
                "error.type" in found,
            )
        )  # fmt: skip
