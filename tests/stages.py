"""Exchanges for tests, at each stage."""

from __future__ import annotations

from typing import Any

from attrs import fields_dict

from hospproxy.contract.contract import Operation
from hospproxy.exchange.exchange import Call, Deadline, Exchange, Identified, Trace
from hospproxy.http.messages import Request
from hospproxy.service.chain import AUDIT, IDENTITY, ORDER, VALIDATION, Processors

SOME_CALL = Call(Operation(id="some", method="GET", template="/some", parameters=(), action="read"))
_OF_TRACE = {*fields_dict(Trace)} - {"call", "sent", "identity"}


def arrived(
    request: Request | None = None, *, at: float = 0.0, deadline: float = 28.0, **more: Any
) -> Exchange:
    """A request that has arrived.

    :param at: monotonic seconds; its wall clock shows 0.
    :param more: fields of the exchange, or of its trace.
    """
    trace = Trace(**{name: more.pop(name) for name in _OF_TRACE & more.keys()})
    trace.identity = more.pop("identity", None)
    return Exchange(
        Request() if request is None else request, at, 0.0, Deadline(deadline), trace=trace, **more
    )


def identified(
    call: Call = SOME_CALL,
    request: Request | None = None,
    *,
    at: float = 0.0,
    deadline: float = 28.0,
    **more: Any,
) -> Identified:
    """A request that guard.identity has passed on; see ``arrived``."""
    trace = Trace(call=call, **{name: more.pop(name) for name in _OF_TRACE & more.keys()})
    trace.identity, trace.sent = more.get("identity"), more.get("sent", trace.sent)
    return Identified(
        Request() if request is None else request, at, 0.0, Deadline(deadline), trace=trace, call=call, **more
    )


def by_stage(processors: dict[str, Any]) -> Processors:
    """Processors by their names in ORDER, as the chain takes them. Without a validation, all pass it as they are."""
    named = dict(processors)
    audit, identity = named.pop(AUDIT, None), named.pop(IDENTITY, None)
    validation = named.pop(VALIDATION, None)
    before = {name: named.pop(name) for name in ORDER[: ORDER.index(VALIDATION)] if name in named}
    return Processors(
        validation=Unread() if validation is None else validation,
        audit=audit,
        before=before,
        identity=identity,
        behind=named,
    )


class Unread:
    """In place of guard.validation, where a test has no contract."""

    async def process(self, exchange: Exchange, proceed: Any) -> Any:
        return await proceed(exchange.called(SOME_CALL, exchange.priority))
