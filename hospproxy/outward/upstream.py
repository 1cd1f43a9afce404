"""The one way to HOSP: a Call out, a whole Response back, and of every failure whether anything was sent.

treq carries requests over an Agent and a pool of our own. What treq and Twisted would add on their own account is kept
out: cookies, gzip, redirects, repeats, respelt addresses, answers without bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from treq.client import HTTPClient
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.client import Agent, HTTPConnectionPool
from zope.interface import implementer

from .. import clocks
from ..errors import FailedAfterSending, NotSent, ProxyError
from ..interfaces import IMeter, IProcessor, IUpstream, Proceed
from ..messages import Call, Client, Exchange, Headers, Origin, Response
from ..options.sections import UpstreamSettings
from ..words import status_class
from .attempt import AsWritten, Attempt, Body, Collector, NoCookies
from .connection import Opener
from .large_answers import LARGE_BYTES, LargeAnswers
from .sending import VIA, Message, Target, build_message
from .unheard import Asking, LeftBehind, Outcome
from .validators import dated, tagged

Observer = Callable[[Call, Response, float, float], None]
"""Told of each answer of HOSP: the call, the answer, monotonic seconds of sending and of the answer's end."""

_log = Logger()


@implementer(IUpstream)
class Upstream:
    """See IUpstream.

    :param reactor: opens connections and tells the time.
    :param kept_connections: connections kept open for reads while idle.
    :param name: of this proxy, for Via.
    """

    def __init__(
        self,
        reactor: Any,
        settings: UpstreamSettings,
        meter: IMeter,
        kept_connections: int = 5,
        name: str = VIA,
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._meter = meter
        self._target = Target.from_url(settings.url)
        self._max_body_bytes = settings.max_body_bytes
        self._opener = Opener(
            reactor,
            self._target,
            connect_timeout_s=settings.connect_timeout_s,
            max_header_bytes=settings.max_header_bytes,
            max_body_bytes=settings.max_body_bytes,
            ca_file=settings.ca_file,
        )
        self._kept = HTTPConnectionPool(reactor)
        self._kept.retryAutomatically = False
        self._kept.maxPersistentPerHost = kept_connections
        self._kept.cachedConnectionTimeout = settings.idle_connection_s  # type: ignore[assignment]
        # A kept connection may be closed by HOSP just as a request is written on it, and then nobody knows whether
        # that was carried out. What may not be repeated gets a connection that is certainly open.
        self._fresh = HTTPConnectionPool(reactor, persistent=False)

    async def send(
        self, call: Call, client: Client, timeout_s: float, on_sent: Callable[[], None] | None = None
    ) -> Response:
        """One attempt; see IUpstream. Cancelling it aborts the connection."""
        started = self._reactor.seconds()
        route = call.operation.template
        outcome: str = "cancelled"
        try:
            response = await self._attempt(call, client, timeout_s, on_sent)
            outcome = status_class(response.status)
            return response
        except ProxyError as error:
            outcome = error.outcome
            raise
        finally:
            self._meter.count("upstream_requests_total", route=route, outcome=outcome)
            self._meter.observe("upstream_seconds", self._reactor.seconds() - started, route=route)

    def close(self) -> Deferred[None]:
        """Close the connections that are kept; fires when they are closed, which a Connection sees to."""
        closing: Deferred[None] = self._kept.closeCachedConnections()
        return closing

    async def _attempt(
        self, call: Call, client: Client, timeout_s: float, on_sent: Callable[[], None] | None
    ) -> Response:
        if timeout_s <= 0:
            raise NotSent("There was no time left to ask the upstream server.")
        attempt = Attempt(self._kept if call.operation.repeatable else self._fresh, on_sent)
        message = build_message(call, client, self._target, self._name)
        exchanging = Deferred.fromCoroutine(self._exchange(attempt, message))
        timer = self._reactor.callLater(timeout_s, attempt.expire, exchanging)
        try:
            return await exchanging
        except Exception as error:
            meaning = attempt.explain(error)
            if meaning is error:
                raise
            raise meaning from error
        finally:
            if timer.active():
                timer.cancel()

    async def _exchange(self, attempt: Attempt, message: Message) -> Response:
        agent = Agent.usingEndpointFactory(self._reactor, self._opener, attempt)
        http = HTTPClient(AsWritten(agent, message), NoCookies(), Body)
        answer = await http.request(
            message.method,
            message.uri,
            data=message.body,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        # treq puts an empty Content-Encoding into its own copy of the fields.
        head = attempt.head
        assert head is not None
        collector = Collector(attempt, head.status, self._max_body_bytes)
        answer.deliverBody(collector)
        return Response(head.status, Headers(head.fields), await collector.done, Origin.UPSTREAM)


@implementer(IProcessor)
class UpstreamProcessor:
    """One attempt each time that it is asked; nothing comes after it.

    :param clock: monotonic.
    :param observers: told of every answer; they learn HOSP's clock and its highest ids from it.
    :param check: what an answer may be, and what of it goes on; nobody is told of one that may not.
    :param large: the same for a large answer, in slices; its observers are told of it in pieces.
    :param max_attempt_s: seconds that one attempt may take, however far off the deadline is.
    :param wall: seconds since the epoch, for answers without a Date.
    :param silences: called when HOSP could not be reached or did not answer in time.
    :param finish_s: seconds after which HOSP must have finished with what it was sent. So long an attempt goes on
        whose client has left (Exchange.left_behind). None: it is given up at once, since nobody holds its place.
    """

    def __init__(
        self,
        upstream: IUpstream,
        clock: IReactorTime,
        observers: Sequence[Observer] = (),
        silences: Sequence[Callable[[], None]] = (),
        *,
        wall: Callable[[], float] = clocks.wall,
        max_attempt_s: float = 28.0,
        finish_s: float | None = None,
        check: Callable[[Exchange, Response], Response] = lambda _exchange, response: response,
        large: LargeAnswers | None = None,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._observers = tuple(observers)
        self._silences = tuple(silences)
        self._wall = wall
        self._max_attempt_s = max_attempt_s
        self._finish_s = finish_s
        self._check = check
        self._large = large

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:  # noqa: ARG002
        """Send the call with the time that is left until the deadline."""
        call = exchange.call
        assert call is not None, "validation makes the call"
        exchange.attempts += 1
        exchange.left_behind = None
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
        return await Asking(exchange, attempt, lambda: bool(sent), self._silent).wait(
            self._clock, max(0.0, left_s)
        )

    async def _write(
        self, exchange: Exchange, call: Call, began: float, left_s: float, finish_s: float
    ) -> Response:
        """A write. When its time is up the connection is closed, and HOSP works on."""
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
                exchange.left_behind = LeftBehind(over, heard=False)
            raise

    async def _attempt(
        self,
        exchange: Exchange,
        call: Call,
        began: float,
        timeout_s: float,
        on_sent: Callable[[], None] = lambda: None,
    ) -> Response:
        def sent() -> None:
            exchange.sent_at = self._clock.seconds()
            on_sent()

        try:
            response = await self._upstream.send(call, exchange.request.client, timeout_s, on_sent=sent)
        except (NotSent, FailedAfterSending) as error:
            if isinstance(error, NotSent) or error.timed_out:
                self._silent()
            raise
        received = self._clock.seconds()

        def tell(response: Response) -> None:
            for observe in self._observers:
                _told(observe, call, response, began, received)

        if self._large is not None and len(response.body) > LARGE_BYTES:
            response = await self._large.checked(exchange, response, tell)
        else:
            response = self._check(exchange, response)
            tell(response)
        # After the observers: they learn HOSP's clock from HOSP's own Date.
        return dated(tagged(call.operation, response), self._wall())

    def _silent(self) -> None:
        """HOSP could not be reached or did not answer in time."""
        for silent in self._silences:
            _told(silent)


def _told(what: Callable[..., None], *news: object) -> None:
    """Tell one who listens; its failure is not the request's."""
    try:
        what(*news)
    except Exception:
        _log.failure("{what!r} failed at what the upstream said", what=what)
