"""The processors in their order, and the code that runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .answers import Answers, accept_class
from .errors import OwnNotRecorded, ProxyError, RecordFailed
from .exchange import Call, Exchange
from .interfaces import IHandler, IMeter, IProcessor, Proceed
from .late_responses import Aftermath
from .messages import Priority, Request, Response
from .retry_after import with_retry_after
from .watch.requests import count_request

ORDER = (
    "record.audit",  # outermost: it sees every outcome, and no byte is sent before its record is on disk
    "guard.entrance",  # did it come the required way? Before any other work is done
    "guard.admission",  # the limits of one client, before work is done for it
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

_log = Logger()


@implementer(IHandler)
class Chain:
    """Runs requests through the processors, and turns failures into responses in one place.

    :param processors: by their names in ORDER; a missing one is switched off.
    :param clock: monotonic.
    :param wall: seconds since the epoch, for audit records.
    :param deadline_s: seconds that a client's request may take.
    :param limit: maximum bytes of content for a method and path.
    """

    def __init__(
        self,
        processors: Mapping[str, IProcessor],
        *,
        answers: Answers,
        clock: IReactorTime,
        wall: Callable[[], float],
        deadline_s: float,
        limit: Callable[[str, bytes], int],
        meter: IMeter,
    ) -> None:
        self._answers = answers
        self._clock = clock
        self._wall = wall
        self._deadline_s = deadline_s
        self._limit = limit
        self._meter = meter
        self._compose(processors)

    def _compose(self, processors: Mapping[str, IProcessor]) -> None:
        unknown = set(processors) - set(ORDER)
        if unknown:
            raise ValueError(f"unknown processors, not in chain.ORDER: {', '.join(sorted(unknown))}")
        step: Proceed = _nowhere
        own = step
        for name in reversed(ORDER[1:]):
            if name in processors:
                step = _step(processors[name], step)
            if name == OWN_ENTRY:
                own = step
        audit = self._audit = processors.get(ORDER[0])
        self._inner = step
        self._whole = _step(audit, self._answered) if audit else self._answered
        self._own = _step(audit, own) if audit else own

    def handle(self, request: Request) -> Deferred[Response]:
        """Return the response to a client's request (IHandler)."""
        exchange = self._exchange(request)
        return self._run(exchange, self._whole)

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:
        """Make and record the response to a request that arrival refuses (IHandler)."""
        exchange = self._exchange(request)

        async def refused(_exchange: Exchange) -> Response:
            raise error

        async def answered(exchange: Exchange) -> Response:
            return await self._answer_failures(exchange, refused)

        exchange.rule_hits.append(f"arrival:{error.status}")
        self._meter.count("arrival_refusals_total", status=str(error.status))
        whole = _step(self._audit, answered) if self._audit else answered
        return self._run(exchange, whole)

    def body_limit(self, method: str, path: bytes) -> int:
        """Return the maximum bytes of content for a target (IHandler)."""
        return self._limit(method, path)

    async def ask(
        self,
        call: Call,
        *,
        on_behalf_of: Exchange,
        own: str,
        priority: Priority | None = None,
        deadline: float | None = None,
        past_cache: bool = False,
        reference: str | None = None,
        look_first: bool = False,
        aftermath: Aftermath | None = None,
    ) -> Response:
        """Send a request of the proxy's own. Nothing reaches HOSP in any other way.

        :param on_behalf_of: the client's request that needs it; the call carries that client's credentials.
        :param own: the reason, for the audit record.
        :param deadline: monotonic seconds; by default that of the client's request.
        :param past_cache: do not answer from memory (a look).
        :param look_first: this write may have been sent before.
        :param aftermath: learns from a response that arrives when nobody waits for it any more. Default: nothing
            learns.
        :raise ProxyError: HOSP gave no response, or its response could not be recorded (`OwnNotRecorded`).
        """
        first = on_behalf_of
        exchange = Exchange(
            request=Request(method=call.operation.method, client=first.request.client),
            arrived=self._clock.seconds(),
            wall=self._wall(),
            deadline=first.deadline if deadline is None else deadline,
            priority=first.priority if priority is None else priority,
            own=own,
            on_behalf_of=first.request.client.request_id,
            past_cache=past_cache,
            call=call,
            claimed_name=first.claimed_name,
            identity=first.identity,
            credentials=first.credentials,
            record_id=call.record_id,
            reference=reference,
            look_first=look_first,
            aftermath=Aftermath() if aftermath is None else aftermath,
        )
        try:
            return await self._own(exchange)
        except RecordFailed as failed:
            # There is no client connection to close here, and code that retries must be able to go on.
            raise OwnNotRecorded(
                "A request to the upstream server could not be recorded in the audit trail.", retry_after_s=30
            ) from failed

    def _exchange(self, request: Request) -> Exchange:
        now = self._clock.seconds()
        return Exchange(request=request, arrived=now, wall=self._wall(), deadline=now + self._deadline_s)

    def _run(self, exchange: Exchange, whole: Proceed) -> Deferred[Response]:
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
                count_request(self._meter, exchange, outcome, self._clock.seconds() - exchange.arrived)

        def left(_answer: Deferred[Response]) -> None:
            exchange.leave(self._clock.seconds())
            call = exchange.call
            if call is None or not call.operation.is_write:
                task.cancel()

        def done(outcome: Response | Failure) -> None:
            if isinstance(outcome, Failure) and not outcome.check(CancelledError, RecordFailed):
                _log.failure("unhandled error in the chain; the client gets no response", outcome)
                self._meter.count("unhandled_errors_total")
            if isinstance(outcome, Failure):
                # No client gets a response, even if it is still connected: an equal write counts as a repetition of
                # this one.
                exchange.leave()
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

    async def _answered(self, exchange: Exchange) -> Response:
        return await self._answer_failures(exchange, self._inner)

    async def _answer_failures(self, exchange: Exchange, proceed: Proceed) -> Response:
        """Turn a failure into a response. This is the only place that does."""
        try:
            response = with_retry_after(await proceed(exchange))
        except ProxyError as error:
            exchange.outcome = exchange.outcome or error.outcome
            response = self._answers.error(error, self._accept(exchange))
        except (CancelledError, RecordFailed):
            raise
        except Exception:
            _log.failure("unhandled error in a processor; the client gets a 500")
            self._meter.count("unhandled_errors_total")
            exchange.outcome = "failed"
            response = self._answers.error(ProxyError("Internal error in the proxy."), self._accept(exchange))
        # A response from memory or of the proxy's own lacks HOSP's id; this is the id in the audit record.
        return response.having(b"X-Request-Id", exchange.request.client.request_id.encode("latin-1"))

    def _accept(self, exchange: Exchange) -> str:
        if exchange.call is not None:
            return exchange.call.accept
        if exchange.request.path.rstrip(b"/").endswith(b".json"):
            return "json"
        return accept_class(exchange.request.headers.get(b"accept"))


def _step(processor: IProcessor, proceed: Proceed) -> Proceed:
    async def step(exchange: Exchange) -> Response:
        return await processor.process(exchange, proceed)

    return step


async def _nowhere(_exchange: Exchange) -> Response:
    raise ProxyError("No processor answered this request.", status=502)
