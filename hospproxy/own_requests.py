"""The proxy's own requests to HOSP: who is calling, a look for a lost write, a note made from a screening, a probe."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from .exchange.exchange import Call, Deadline, Exchange, Identified, Trace
from .http.errors import OwnNotRecorded, ProxyError, RecordFailed
from .http.late_responses import LateResponses
from .http.messages import Priority, Request, Response
from .interfaces import Proceed


async def nowhere(_exchange: Exchange) -> Response:
    """Fail a request that no processor has answered: the end of every chain."""
    raise ProxyError("No processor answered this request.", status=502)


class OwnRequests:
    """Sends the proxy's own requests into the chain.

    Processors that send requests are needed to build the chain that carries them. So they get ``ask`` of this object,
    which exists before the chain, and the chain opens it.

    :param clock: monotonic.
    :param wall: seconds since the epoch, for audit records.
    """

    def __init__(self, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._enter: Proceed = nowhere

    def lead_to(self, entry: Proceed) -> None:
        """Send the requests to this part of the chain. The chain calls it whenever its processors are connected."""
        self._enter = entry

    async def ask(
        self,
        call: Call,
        *,
        on_behalf_of: Identified,
        own: str,
        priority: Priority | None = None,
        deadline: float | None = None,
        past_cache: bool = False,
        reference: str | None = None,
        look_first: bool = False,
        aftermath: LateResponses | None = None,
    ) -> Response:
        """Send a request of the proxy's own; see ``Ask``. Nothing reaches HOSP in any other way."""
        first, identity = on_behalf_of, on_behalf_of.trace.identity
        exchange = Identified(
            request=Request(method=call.operation.method, client=first.request.client),
            arrived=self._clock.seconds(),
            wall=self._wall(),
            due=Deadline(first.deadline if deadline is None else deadline),
            priority=first.priority if priority is None else priority,
            own=own,
            on_behalf_of=first.request.client.request_id,
            past_cache=past_cache,
            look_first=look_first,
            trace=Trace(
                call=call,
                claimed_name=first.trace.claimed_name,
                identity=identity,
                record_id=call.record_id,
                reference=reference,
                spans=first.trace.spans,
            ),
            aftermath=LateResponses() if aftermath is None else aftermath,
            call=call,
            credentials=first.credentials,
            identity=identity,
        )
        try:
            return await self._enter(exchange)
        except RecordFailed as failed:
            # There is no client connection to close here, and code that retries must be able to go on.
            raise OwnNotRecorded(
                "A request to the upstream server could not be recorded in the audit trail.", retry_after_s=30
            ) from failed
