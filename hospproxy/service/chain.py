"""The processors in their order, and the code that runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from attrs import evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..exchange.answers import ProxyResponses, accept_class
from ..exchange.exchange import Called, Deadline, Exchange, Identified
from ..http.errors import ProxyError, RecordFailed
from ..http.messages import Request, Response
from ..http.repeat import Shortcut, shortcut_of
from ..http.retry_after import with_retry_after
from ..interfaces import AnyStage, IHandler, IMeter, PassesOn, Proceed, ProceedTo, Processor, Repeats, Stage
from ..own_requests import OwnRequests, nowhere
from ..record.describe import status_of
from ..traces.tracer import Tracer
from ..watch.requests import count_request, counter_of

ORDER = (
    "record.audit",  # outermost: it sees every outcome, and no byte is sent before its record is on disk
    "guard.entrance",  # did it come the required way? Before any other work is done
    "guard.admission",  # the limits of one client, before work is done for it
    "memory.compression",  # inside of the record, which reads bodies as they are and notes the bytes that are sent
    "guard.published_contract",  # needs no credentials, but counts against the limits
    "guard.cross_origin",  # preflights carry no credentials, and HOSP is not asked
    "guard.validation",  # turns a Request into a Call; all later processors see only the Call
    "guard.identity",  # who is calling, as HOSP says
    "guard.bodies",  # reads a large body only for callers that HOSP has accepted
    "guard.ownership",  # needs the identity; changes the Call, so it precedes what uses the Call as a key
    "guard.permissions",  # the author of a write is settled by now
    "record.patient",  # before memory.cache: the cache still has the record that a write is about to change
    "memory.screening",  # sees the response that goes to the user
    "memory.cache",  # the proxy's own requests enter here: their writes must invalidate cache entries too
    "record.intent",  # a write is on record before it is sent
    "outward.writes",  # finds out the one outcome of a write
    "outward.conditions",  # while the write has its turn, before each time that it is sent
    "outward.retry",  # repeats what was never sent, and what may be repeated
    "outward.gate",  # every attempt takes a slot; none is held during backoff
    "outward.upstream",
)
"""From the client to the upstream. A test pins this order."""

OWN_ENTRY = "memory.cache"

AUDIT, VALIDATION, IDENTITY = "record.audit", "guard.validation", "guard.identity"
"""Validation and identity pass on a later stage than they take. All others pass on the stage that they take."""

Finish = Callable[[Request, Response], Response]

_Takes = TypeVar("_Takes", bound=Exchange)
_Gives = TypeVar("_Gives", bound=Exchange)
_log = Logger()


@frozen(slots=True)
class Processors:
    """The processors by the stage that they take, so that mypy checks each against its place.

    :param audit: record.audit, for requests of every stage; None: no audit records.
    :param before: by their names in ORDER, those before guard.validation.
    :param validation: guard.validation.
    :param identity: guard.identity; None: nobody is identified.
    :param behind: by their names in ORDER, those behind guard.identity.
    :param finish: sets fields of every response to a client, around all processors; None: nothing is set.
    """

    validation: Processor[Exchange, Called]
    audit: AnyStage | None = None
    before: Mapping[str, Processor[Exchange, Exchange] | None] = field(factory=dict)
    identity: Processor[Called, Identified] | None = None
    behind: Mapping[str, Processor[Identified, Identified] | None] = field(factory=dict)
    finish: Finish | None = None


class Diversion(Protocol):
    """What responds in place of a chain, while and after another process takes over."""

    def answer(self, exchange: Exchange) -> Awaitable[Response]:
        """Pass a request through all processors and return the response to send."""

    def refusal(self, exchange: Exchange, error: ProxyError) -> Awaitable[Response]:
        """Make and record the response to a request that arrival refuses."""


@frozen(slots=True, eq=False)
class _Connected:
    """Processors that are connected, until a reload connects others.

    :param inner: what runs them, without record.audit.
    :param first: those that a request passes before memory.cache.
    """

    inner: ProceedTo[Exchange]
    first: tuple[object, ...] = ()


@implementer(IHandler)
class Chain:
    """Runs requests through the processors, and turns failures into responses in one place.

    :param processors: those that are missing are switched off.
    :param own_requests: enter at OWN_ENTRY. Default: the proxy sends none.
    :param clock: monotonic.
    :param wall: seconds since the epoch, for audit records.
    :param deadline_s: seconds that a client's request may take.
    :param limit: maximum bytes of content for a method and path.
    :param tracer: traces the requests of clients; None: nothing is traced.
    """

    def __init__(
        self,
        processors: Processors,
        *,
        own_requests: OwnRequests | None = None,
        answers: ProxyResponses,
        clock: IReactorTime,
        wall: Callable[[], float],
        deadline_s: float,
        limit: Callable[[str, bytes], int],
        meter: IMeter,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._answers = answers
        self._clock = clock
        self._wall = wall
        self._meter = meter
        self._own_requests = own_requests
        self._diversion: Diversion | None = None
        self.lead_through(processors, deadline_s, limit)

    def lead_through(
        self, processors: Processors, deadline_s: float, limit: Callable[[str, bytes], int]
    ) -> None:
        """Send every request from now on through these processors; those in flight stay with the ones before.

        :param deadline_s: seconds that a client's request may take.
        :param limit: maximum bytes of content for a method and path.
        """
        self._deadline_s = deadline_s
        self._limit = limit
        own_entry = self._compose(processors)
        if self._own_requests is not None:
            self._own_requests.lead_to(own_entry)

    def _compose(self, processors: Processors) -> Proceed:
        """Connect the processors; return the entry for the proxy's own requests."""
        before = ORDER[ORDER.index(AUDIT) + 1 : ORDER.index(VALIDATION)]
        behind = ORDER[ORDER.index(IDENTITY) + 1 :]
        unknown = {*processors.before} - {*before} | {*processors.behind} - {*behind}
        if unknown:
            raise ValueError(f"no processors for this place in chain.ORDER: {', '.join(sorted(unknown))}")
        own = _steps(processors.behind, behind[behind.index(OWN_ENTRY) :], nowhere)
        identified = _steps(processors.behind, behind[: behind.index(OWN_ENTRY)], own)
        called = _step(processors.identity, identified) if processors.identity else _unidentified(identified)
        audit = self._audit = processors.audit
        first = (
            audit,
            *(processors.before.get(name) for name in before),
            processors.validation,
            processors.identity,
            *(processors.behind.get(name) for name in behind[: behind.index(OWN_ENTRY)]),
        )
        inner = _steps(processors.before, before, _step(processors.validation, called))
        line = self._line = _Connected(inner, tuple(each for each in first if each is not None))

        def answered(exchange: Exchange) -> Awaitable[Response]:
            return self._answer_failures(exchange, line)

        self._finish = processors.finish
        self._own = self._finished(_step(audit, answered) if audit else answered)
        self.divert(self._diversion)
        return _step(audit, own) if audit else own

    def handle(self, request: Request) -> Deferred[Response]:
        """Return the response to a client's request (IHandler)."""
        exchange = self._exchange(request)
        if self._tracer is not None:
            self._tracer.begin(exchange)
        return self._run(exchange, self._whole)

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:
        """Make and record the response to a request that arrival refuses (IHandler)."""
        self._meter.count("arrival_refusals_total", status=str(error.status))
        return self._run(self._exchange(request), lambda exchange: self.refusal(exchange, error))

    def answer(self, exchange: Exchange) -> Awaitable[Response]:
        """Respond to a request that has arrived in another chain of this process (Diversion)."""
        return self._whole(exchange)

    def refusal(self, exchange: Exchange, error: ProxyError) -> Awaitable[Response]:
        """Make and record the response to a request that arrival refuses (Diversion)."""
        if self._diversion is not None:
            return self._diversion.refusal(exchange, error)

        async def refused(_exchange: Exchange) -> Response:
            raise error

        async def answered(exchange: Exchange) -> Response:
            return await self._answer_failures(exchange, _Connected(refused))

        exchange.trace.rule_hits.append(f"arrival:{error.status}")
        return self._finished(_step(self._audit, answered) if self._audit else answered)(exchange)

    def _finished(self, whole: ProceedTo[Exchange]) -> ProceedTo[Exchange]:
        finish = self._finish
        if finish is None:
            return whole

        async def step(exchange: Exchange) -> Response:
            return finish(exchange.request, await whole(exchange))

        return step

    def divert(self, diversion: Diversion | None) -> None:
        """Let something else respond to all further requests; those in the chain finish here.

        :param diversion: None: this chain responds again.
        """
        self._diversion = diversion
        self._whole = self._own if diversion is None else diversion.answer

    def body_limit(self, method: str, path: bytes) -> int:
        """Return the maximum bytes of content for a target (IHandler)."""
        return self._limit(method, path)

    def _exchange(self, request: Request) -> Exchange:
        now = self._clock.seconds()
        return Exchange(request, now, self._wall(), Deadline(now + self._deadline_s))

    def _run(self, exchange: Exchange, whole: ProceedTo[Exchange]) -> Deferred[Response]:
        """Run the chain as a separate task. A client that leaves cancels a read, never a write."""

        async def work() -> Response:
            outcome: Response | Exception = CancelledError()
            try:
                outcome = await whole(exchange)
                return outcome
            except Exception as error:
                outcome = error
                raise
            finally:
                now = self._clock.seconds()
                count_request(self._meter, exchange, outcome, now - exchange.arrived)
                if self._tracer is not None:
                    self._tracer.end(exchange, status_of(outcome), now)

        def left(_answer: Deferred[Response]) -> None:
            exchange.presence.leave(self._clock.seconds())
            call = exchange.trace.call
            if call is None or not call.operation.is_write:
                task.cancel()

        def done(outcome: Response | Failure) -> None:
            if isinstance(outcome, Failure) and not outcome.check(CancelledError, RecordFailed):
                _log.failure("unhandled error in the chain; the client gets no response", outcome)
                self._meter.count("unhandled_errors_total")
            if isinstance(outcome, Failure):
                # No client gets a response, even if it is still connected: an equal write counts as a repetition of
                # this one.
                exchange.presence.leave()
            if answer.called:
                return
            if isinstance(outcome, Failure):
                answer.errback(outcome)
            else:
                answer.callback(outcome)

        answer: Deferred[Response] = Deferred(left)
        task = Deferred.fromCoroutine(work())
        task.addBoth(done)
        return answer

    async def _answer_failures(self, exchange: Exchange, line: _Connected) -> Response:
        """Turn a failure into a response. This is the only place that does."""
        try:
            response = with_retry_after(await line.inner(exchange))
        except ProxyError as error:
            exchange.trace.outcome = exchange.trace.outcome or error.outcome
            response = self._answers.error(error, self._accept(exchange))
        except (CancelledError, RecordFailed):
            raise
        except Exception:
            _log.failure("unhandled error in a processor; the client gets a 500")
            self._meter.count("unhandled_errors_total")
            exchange.trace.outcome = "failed"
            response = self._answers.error(ProxyError("Internal error in the proxy."), self._accept(exchange))
        # A response from memory or of the proxy's own lacks HOSP's id; this is the id in the audit record.
        named = (b"X-Request-Id", exchange.request.client.request_id.encode("latin-1"))
        limit = exchange.trace.limit
        limits = () if limit is None else limit(self._clock.seconds())
        response = response.with_headers(response.headers.with_fields(named, *limits))
        if exchange.trace.hit is None:
            return response
        return evolve(response, shortcut=lambda: self._shortcut(exchange, response, line))

    def _shortcut(self, exchange: Exchange, response: Response, line: _Connected) -> Shortcut | None:
        """How to answer an equal request; None if a rule was noted, or a processor cannot tell."""
        trace = exchange.trace
        if trace.hit is None or trace.outcome or exchange.request.method != "GET":
            return None
        if line is not self._line:  # decided by options that are no longer in force
            return None
        first = line.first
        parts = [each.repeat(exchange, response) if isinstance(each, Repeats) else None for each in first]
        # A processor may note a rule while it is asked.
        if trace.rule_hits:
            return None
        return shortcut_of([*parts, trace.hit()], counter_of(self._meter, exchange))

    def _accept(self, exchange: Exchange) -> str:
        if exchange.trace.call is not None:
            return exchange.trace.call.accept
        if exchange.request.path.rstrip(b"/").endswith(b".json"):
            return "json"
        return accept_class(exchange.request.headers.get(b"accept"))


def _step(processor: Processor[_Takes, _Gives], proceed: ProceedTo[_Gives]) -> ProceedTo[_Takes]:
    """What runs a processor. It waits for nothing itself, so it is no coroutine of its own."""

    def step(exchange: _Takes) -> Awaitable[Response]:
        return processor.process(exchange, proceed)

    return step


def _step_or_pass(processor: Processor[Stage, Stage], proceed: ProceedTo[Stage]) -> ProceedTo[Stage]:
    """The same for a processor that may know beforehand that it only passes an exchange on."""
    if not isinstance(processor, PassesOn):
        return _step(processor, proceed)
    passes = processor.passes

    def step(exchange: Stage) -> Awaitable[Response]:
        return proceed(exchange) if passes(exchange) else processor.process(exchange, proceed)

    return step


def _steps(
    processors: Mapping[str, Processor[Stage, Stage] | None], names: Sequence[str], step: ProceedTo[Stage]
) -> ProceedTo[Stage]:
    """Those of the processors that have these names, in this order, before a step."""
    for name in reversed(names):
        processor = processors.get(name)
        if processor is not None:
            step = _step_or_pass(processor, step)
    return step


def _unidentified(proceed: Proceed) -> ProceedTo[Called]:
    """The step in place of guard.identity, if that is switched off."""

    async def step(exchange: Called) -> Response:
        return await proceed(exchange.identified())

    return step
