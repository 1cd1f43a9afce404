"""The one way to HOSP: a Call out, a whole Response back, and of every failure whether anything was sent.

treq carries requests over an Agent and a pool of our own. What treq and Twisted would add on their own account is kept
out: cookies, gzip, redirects, repeats, respelt addresses, answers without bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.client import Agent, HTTPConnectionPool
from zope.interface import implementer

from .. import clocks
from ..errors import FailedAfterSending, NotSent, ProxyError
from ..interfaces import IMeter, IProcessor, IUpstream, Proceed
from ..messages import Call, Client, Exchange, Headers, Origin, Response
from ..options.sections import UpstreamSettings
from .attempt import AsWritten, Attempt, Body, Collector, NoCookies
from .connection import Opener
from .sending import VIA, Message, Target, build_message
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
        outcome = "cancelled"
        try:
            response = await self._attempt(call, client, timeout_s, on_sent)
            outcome = f"{response.status // 100}xx"
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
    :param max_attempt_s: seconds that one attempt may take, however far off the deadline is.
    :param wall: seconds since the epoch, for answers without a Date.
    :param silences: called when HOSP could not be reached or did not answer in time.
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
        check: Callable[[Exchange, Response], Response] = lambda _exchange, response: response,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._observers = tuple(observers)
        self._silences = tuple(silences)
        self._wall = wall
        self._max_attempt_s = max_attempt_s
        self._check = check

    async def process(self, exchange: Exchange, proceed: Proceed) -> Response:  # noqa: ARG002
        """Send the call with the time that is left until the deadline."""
        assert exchange.call is not None, "validation makes the call"
        call = exchange.call
        exchange.attempts += 1
        began = self._clock.seconds()

        def sent() -> None:
            exchange.sent_at = self._clock.seconds()

        try:
            left_s = min(exchange.deadline - began, self._max_attempt_s)
            response = await self._upstream.send(call, exchange.request.client, left_s, on_sent=sent)
        except (NotSent, FailedAfterSending) as error:
            if isinstance(error, NotSent) or error.timed_out:
                for silent in self._silences:
                    _told(silent)
            raise
        response = self._check(exchange, response)
        received = self._clock.seconds()
        for observe in self._observers:
            _told(observe, call, response, began, received)
        # After the observers: they learn HOSP's clock from HOSP's own Date.
        return dated(tagged(call.operation, response), self._wall())


def _told(what: Callable[..., None], *news: object) -> None:
    """Tell one who listens; its failure is not the request's."""
    try:
        what(*news)
    except Exception:
        _log.failure("{what!r} failed at what the upstream said", what=what)
