"""The ordered processors, and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .aftermath import Aftermath
from .answers import Answers, accept_class
from .errors import OwnNotRecorded, ProxyError, RecordFailed
from .interfaces import IHandler, IMeter, IProcessor, Proceed
from .messages import Call, Exchange, Priority, Request, Response
from .retry_after import with_retry_after
from .watch.requests import count_request

ORDER = (
    "record.audit",  # outermost: it sees every outcome, and no byte leaves before its record is on disk
    "guard.entrance",  # did it come by the way that it must; before anything is thought about it
    "guard.admission",  # the limits of one client: before anything is done for it
    "guard.validation",  # a Request becomes a Call; all that follows knows only the Call
    "guard.identity",  # who is calling, by HOSP's own word
    "guard.bodies",  # a large body is read for none but whom HOSP has accepted
    "guard.ownership",  # needs to know who; changes the Call, so it stands before whatever keys on it
    "guard.permissions",  # what is written in whose name is settled by now
    "record.patient",  # before memory.cache: what is kept still holds what a write is about to strike
    "memory.screening",  # sees the answer that goes to the user
    "memory.cache",  # here the proxy's own requests enter: their writes too must make stale what they touch
    "record.intent",  # a write is on record before it is sent
    "outward.writes",  # the one fate of a write
    "outward.conditions",  # in the write's turn, and before each time that it is sent
    "outward.retry",  # what was never sent, and what may be repeated
    "outward.gate",  # every attempt takes a place, none is held during back-off
    "outward.upstream",
)
"""From the client inwards. A test pins it."""

OWN_ENTRY = "memory.cache"

_log = Logger()


@implementer(IHandler)
class Chain:
    """Takes requests through the processors, and turns failures into answers in one place.

    :param processors: by their names in ORDER; those left out are switched off.
    :param clock: monotonic time.
    :param wall: seconds since the epoch, for records.
    :param deadline_s: seconds that a client's request may take.
    :param limit: the most bytes of content for a method and path.
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
            raise ValueError(f"no such place in the chain: {', '.join(sorted(unknown))}")
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
        """Answer a client's request (IHandler)."""
        exchange = self._exchange(request)
        return self._run(exchange, self._whole)

    def refuse(self, request: Request, error: ProxyError) -> Deferred[Response]:
        """Make and record an answer that arrival gives itself (IHandler)."""
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
        """The most bytes of content that a target takes (IHandler)."""
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
        """A request of the proxy's own. Nothing reaches HOSP by another way.

        :param on_behalf_of: the client's request that made it necessary; its credentials are the call's.
        :param own: why, for the record.
        :param deadline: monotonic time; that of the client's request if it is not given.
        :param past_cache: a look: not from memory.
        :param look_first: this write may have been sent before.
        :param aftermath: who learns from an answer that comes when nobody waits for it any more. Default: nobody.
        :raise ProxyError: HOSP gave no answer, or none that was recorded (`OwnNotRecorded`).
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
            # Nobody's connection is to be closed here, and what asks again and again must be able to go on.
            raise OwnNotRecorded(
                "A question to the upstream server could not be recorded.", retry_after_s=30
            ) from failed

    def _exchange(self, request: Request) -> Exchange:
        now = self._clock.seconds()
        return Exchange(request=request, arrived=now, wall=self._wall(), deadline=now + self._deadline_s)

    def _run(self, exchange: Exchange, whole: Proceed) -> Deferred[Response]:
        """Run the chain on its own: a client that leaves ends a read, never a write."""

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
            exchange.leave()
            call = exchange.call
            if call is None or not call.operation.is_write:
                task.cancel()

        def done(outcome: Response | Failure) -> None:
            if isinstance(outcome, Failure) and not outcome.check(CancelledError, RecordFailed):
                _log.failure("the chain failed", outcome)
                self._meter.count("unhandled_errors_total")
            if isinstance(outcome, Failure):
                # Nobody gets an answer, whoever may still be there: an equal write is a repetition of this one.
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
        """The one place in which a failure becomes an answer."""
        try:
            response = with_retry_after(await proceed(exchange))
        except ProxyError as error:
            exchange.outcome = exchange.outcome or error.outcome
            response = self._answers.error(error, self._accept(exchange))
        except (CancelledError, RecordFailed):
            raise
        except Exception:
            _log.failure("a processor failed")
            self._meter.count("unhandled_errors_total")
            exchange.outcome = "failed"
            response = self._answers.error(ProxyError("The proxy failed."), self._accept(exchange))
        # An answer from memory or of the proxy's own has none of HOSP's; this is the name that the record goes by.
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
    raise ProxyError("Nothing answers here.", status=502)
