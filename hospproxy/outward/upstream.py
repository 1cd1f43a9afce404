"""The only way to HOSP: sends a Call, returns a complete Response, and tells if a failed one was sent."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..exchange.exchange import Call, Identified
from ..exchange.spans import AttemptSpan
from ..exchange.words import status_class
from ..http.errors import FailedAfterSending, NotSent, ProxyError
from ..http.late_responses import AbandonedAttempt, Outcome
from ..http.messages import ABSENT, Client, Json, Response
from ..interfaces import IMeter, IProcessor, IUpstream, Proceed
from ..options.sections import UpstreamSettings
from ..process import clocks
from .abandoned import AttemptWait
from .attempt import Attempt
from .connection import Connections
from .large_answers import LARGE_BYTES, LargeResponses
from .upstream_request import VIA, UpstreamTarget, build_message
from .validators import dated, tagged

Observer = Callable[[Call, Response, float, float, Json], None]
"""Called for each response of HOSP with the call, the response, the monotonic seconds of sending and of the response's
end, and the response's JSON, which nobody may change; ABSENT if nobody has decoded it."""

_log = Logger()


@implementer(IUpstream)
class Upstream:
    """The HTTP client. See IUpstream, and docs/adr/0040-an-upstream-client-of-our-own.md.

    :param reactor: opens connections and tells the time.
    :param kept_connections: maximum number of idle connections to keep for reads.
    :param name: the proxy's name, for Via.
    """

    def __init__(
        self,
        reactor: Any,
        settings: UpstreamSettings,
        meter: IMeter,
        kept_connections: int,
        name: str = VIA,
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._meter = meter
        self._target = UpstreamTarget.from_url(settings.url)
        self._connections = Connections(
            reactor,
            self._target,
            connect_timeout_s=settings.connect_timeout_s,
            max_header_bytes=settings.max_header_bytes,
            max_body_bytes=settings.max_body_bytes,
            most_idle=kept_connections,
            idle_s=settings.idle_connection_s,
            ca_file=settings.ca_file,
        )

    async def send(
        self, call: Call, client: Client, timeout_s: float, on_sent: Callable[[], None] | None = None
    ) -> Response:
        """Make one attempt; see IUpstream. Cancelling it aborts the connection."""
        started = self._reactor.seconds()
        route = call.operation.template
        outcome: str = "cancelled"
        timer: IDelayedCall | None = None
        try:
            if timeout_s <= 0:
                raise NotSent("There was no time left to send this to the upstream server.")
            attempt = self._begin(call, client, on_sent)
            timer = self._reactor.callLater(timeout_s, attempt.expire)
            response = await attempt.done
            outcome = status_class(response.status)
            return response
        except ProxyError as error:
            outcome = error.outcome
            raise
        finally:
            if timer is not None and timer.active():
                timer.cancel()
            self._meter.count("upstream_requests_total", route=route, outcome=outcome)
            self._meter.observe("upstream_seconds", self._reactor.seconds() - started, route=route)

    def reload(self, settings: UpstreamSettings, kept_connections: int) -> None:
        """Apply changed options, to connections and responses from now on."""
        self._connections.reload(
            settings.connect_timeout_s,
            (settings.max_header_bytes, settings.max_body_bytes),
            kept_connections,
            settings.idle_connection_s,
        )

    def close(self) -> Deferred[None]:
        """Close the kept connections; fires when they are closed. ``Connection`` bounds the wait."""
        return self._connections.close()

    def _begin(self, call: Call, client: Client, on_sent: Callable[[], None] | None) -> Attempt:
        # HOSP may close a kept connection just as a request is written to it. Then it is unknown whether HOSP carried
        # the request out. So an operation that may not be repeated gets a new connection.
        keep = call.operation.repeatable
        attempt = Attempt(
            build_message(call, client, self._target, self._name).wire(keep=keep), on_sent, keep=keep
        )
        idle = self._connections.idle() if keep else None
        if idle is None:
            attempt.opens(self._connections.open())
        else:
            attempt.write(idle)
        return attempt


def is_final(status: int) -> bool:
    """Whether a response ends its write: `outward.retry` and `outward.writes` send nothing again after it."""
    return status < 500 and status not in (408, 429)


def _unchecked(_exchange: Identified, response: Response) -> tuple[Response, Json]:
    return response, ABSENT


def _nothing(_call: Call) -> None:
    return None


@implementer(IProcessor)
class UpstreamProcessor:
    """The innermost processor: makes one attempt each time it is called.

    :param clock: monotonic.
    :param observers: called for every response that passed the check. They learn HOSP's clock and highest ids from it.
    :param silences: called when HOSP could not be reached or did not respond in time.
    :param noting: what the response to a call has to wait for, because an observer is noting on disk what it shows.
    :param wall: seconds since the epoch, for responses without a Date.
    :param max_attempt_s: maximum seconds of one attempt, however far off the deadline is. Default: none.
    :param finish_s: seconds after which HOSP must have finished a request. An attempt whose client has left goes on
        for at most this long (LastAttempt.left_behind). None: it is cancelled at once, since nothing holds its slot.
    :param check: checks a response and returns what may be passed on, and its JSON if it has decoded that.
    :param large: does the same for large responses in slices; observers then get them in pieces.
    :param meter: counts the responses to writes.
    """

    def __init__(
        self,
        upstream: IUpstream,
        clock: IReactorTime,
        observers: Sequence[Observer] = (),
        silences: Sequence[Callable[[], None]] = (),
        *,
        noting: Callable[[Call], Awaitable[None] | None] = _nothing,
        wall: Callable[[], float] = clocks.wall,
        max_attempt_s: float = math.inf,
        finish_s: float | None = None,
        check: Callable[[Identified, Response], tuple[Response, Json]] = _unchecked,
        large: LargeResponses | None = None,
        meter: IMeter | None = None,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._observers = tuple(observers)
        self._silences = tuple(silences)
        self._noting = noting
        self._wall = wall
        self._max_attempt_s = max_attempt_s
        self._finish_s = finish_s
        self._check = check
        self._large = large
        self._meter = meter

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:  # noqa: ARG002
        """Send the call, with the time that is left until the deadline."""
        call = exchange.call
        exchange.trace.attempts += 1
        exchange.last_attempt.left_behind = None
        began = self._clock.seconds()
        left_s = min(exchange.deadline - began, self._max_attempt_s)
        if self._finish_s is None:
            return await self._attempt(exchange, call, began, left_s)
        if call.operation.is_write:
            return await self._write(exchange, call, began, left_s, self._finish_s)
        sent: list[None] = []
        lasts_s = max(left_s, self._finish_s) if left_s > 0 else left_s
        attempt = Deferred.fromCoroutine(
            self._attempt(exchange, call, began, lasts_s, lambda: sent.append(None))
        )
        return await AttemptWait(exchange, attempt, lambda: bool(sent), self._silent).wait(
            self._clock, max(0.0, left_s)
        )

    async def _write(
        self, exchange: Identified, call: Call, began: float, left_s: float, finish_s: float
    ) -> Response:
        """Send a write. At its deadline the connection is closed, but HOSP keeps working."""
        sent: list[float] = []
        try:
            return await self._attempt(
                exchange, call, began, left_s, lambda: sent.append(self._clock.seconds())
            )
        except (FailedAfterSending, CancelledError) as error:
            unheard = isinstance(error, CancelledError) or (error.timed_out and error.head_status is None)
            still_s = sent[0] + finish_s - self._clock.seconds() if sent and unheard else 0.0
            if still_s > 0:
                over: Deferred[Outcome] = task.deferLater(self._clock, still_s, lambda: None)
                exchange.last_attempt.left_behind = AbandonedAttempt(over, heard=False)
            raise

    def _attempt(
        self,
        exchange: Identified,
        call: Call,
        began: float,
        timeout_s: float,
        on_sent: Callable[[], None] = lambda: None,
    ) -> Coroutine[Any, Any, Response]:
        spans = exchange.trace.spans
        if spans is None:
            return self._sent(exchange, call, exchange.request.client, began, timeout_s, on_sent)
        span = spans.attempt(call.operation.method, call.operation.template, exchange.own, began)
        return self._traced(span, exchange, call, began, timeout_s, on_sent)

    async def _traced(
        self,
        span: AttemptSpan,
        exchange: Identified,
        call: Call,
        began: float,
        timeout_s: float,
        on_sent: Callable[[], None],
    ) -> Response:
        """Make an attempt, and end its span."""
        status, outcome = None, "cancelled"
        client = span.sent_by(exchange.request.client)
        try:
            response = await self._sent(exchange, call, client, began, timeout_s, on_sent)
            status, outcome = response.status, ""
            return response
        except ProxyError as error:
            outcome = error.outcome
            raise
        finally:
            span.end(self._clock.seconds(), status, outcome)

    async def _sent(
        self,
        exchange: Identified,
        call: Call,
        client: Client,
        began: float,
        timeout_s: float,
        on_sent: Callable[[], None],
    ) -> Response:
        def sent() -> None:
            exchange.last_attempt.sent_at = self._clock.seconds()
            on_sent()

        try:
            response = await self._upstream.send(call, client, timeout_s, on_sent=sent)
        except (NotSent, FailedAfterSending) as error:
            if isinstance(error, NotSent) or error.timed_out:
                self._silent()
            raise
        received = self._clock.seconds()

        def tell(response: Response, document: Json = ABSENT) -> None:
            for observe in self._observers:
                _told(observe, call, response, began, received, document)

        if self._large is not None and len(response.body) > LARGE_BYTES:
            response = await self._large.checked(exchange, response, tell)
        else:
            response, document = self._check(exchange, response)
            tell(response, document)
        if (noting := self._noting(call)) is not None:
            await noting
        if self._meter is not None and call.operation.is_write and is_final(response.status):
            self._meter.count("upstream_writes_total")
        # After the observers, because they learn HOSP's clock from HOSP's own Date.
        return dated(tagged(call.operation, response), self._wall())

    def _silent(self) -> None:
        """HOSP could not be reached or did not respond in time."""
        for silent in self._silences:
            _told(silent)


def _told(what: Callable[..., None], *news: object) -> None:
    """Call an observer. Its failure must not fail the request."""
    try:
        what(*news)
    except Exception:
        _log.failure(
            "observer {what!r} failed on a response of the upstream; this is a bug: report the traceback",
            what=what,
        )
