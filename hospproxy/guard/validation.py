"""Validate a Request against the contract and turn it into a Call, or refuse it with an error in HOSP's format."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from zope.interface import implementer

from ..contract.contract import Contract, Operation, Route, match
from ..exchange.answers import accept_class
from ..exchange.exchange import Call, Called, Exchange
from ..http.errors import ProxyError, Refused
from ..http.messages import ABSENT, Client, Headers, Json, Priority, Request, Response
from ..http.repeat import ALWAYS, Repeat
from ..interfaces import IProcessor, ProceedTo
from . import documents, paths

_Match = tuple[Route, tuple[str, ...], bool]
"""A route, the values of its parameters, and whether the path ended in ``.json``."""


@implementer(IProcessor)
class Validation:
    """Parses requests by the contract and rebuilds them from their parsed parts.

    A large body is left to guard.bodies, which runs once the caller is known.

    Parsing cannot be switched off: a request that cannot be parsed without doubt cannot be rebuilt. Only schema
    checks have a mode.

    :param enforce: refuse what the schemas forbid; otherwise only record it.
    :param judge: check the schemas at all.
    :param own: routes of the proxy itself, which are in no contract.
    :param is_loop: whether a client is this very proxy, because its upstream leads back to it.
    :param foreign: checks a write for its sender, a page of another origin; raises Refused.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        enforce: bool = True,
        judge: bool = True,
        own: tuple[Route, ...] = (),
        is_loop: Callable[[Client], bool] = lambda _client: False,
        foreign: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._is_loop = is_loop
        self._foreign = foreign
        self._contract = contract
        self._routes = (*contract.routes, *own)
        self._enforce = enforce
        self._judge = judge
        self._by_length: dict[int, list[Route]] = {}
        for route in self._routes:
            self._by_length.setdefault(len(route.segments), []).append(route)
        self._last: tuple[bytes, _Match | None] = (b"", self._match(b""))

    async def process(self, exchange: Exchange, proceed: ProceedTo[Called]) -> Response:
        request = exchange.request
        if self._is_loop(request.client):
            raise Refused(
                "This request has come through this proxy before: its upstream.url leads back to it.",
                status=508,
            )
        if request.method == "OPTIONS":
            return self._options(request)
        route, values, wants_json = self._addressed(request)
        method = "GET" if request.method == "HEAD" else request.method
        operation = route.operations.get(method)
        if operation is None:
            raise Refused(
                "This method is not allowed here.", status=405, headers=((b"Allow", route.allow.encode()),)
            )
        accept = "json" if wants_json else accept_class(request.headers.get(b"accept"))
        # As received; guard.identity, if enabled, replaces it with the canonical form.
        authorization = None if operation.public else request.headers.get(b"authorization")
        call = Call(operation, tuple(values), accept=accept, authorization=authorization)
        # Refused or not, the audit record names it.
        trace = exchange.trace
        trace.call, trace.record_id = call, call.record_id
        if operation.deadline_s is not None:
            exchange.due.no_later_than(exchange.arrived + operation.deadline_s)
        urgent = operation.is_write or not operation.is_read
        if urgent and self._foreign is not None:
            self._foreign(exchange)
        priority = Priority.WRITE if urgent else exchange.priority
        query, wrong = paths.query(request.query, operation)
        if query:
            call = trace.call = Call(operation, tuple(values), query, ABSENT, accept, authorization)
        self._report(exchange, wrong, "schema:query")
        if operation.check is not None and documents.is_left(request):
            return await proceed(exchange.called(call, priority))
        if operation.check is not None and request.body:
            documents.check_type(request.headers.get(b"content-type"))
        document = trace.sent = documents.document_of(request.body, operation)
        self.judge(exchange, document, operation)
        known = documents.rebuilt(document, operation)
        if known is not ABSENT:
            call = evolve(call, document=known)
        return await proceed(exchange.called(call, priority, document))

    def repeat(self, _exchange: Exchange, _response: Response) -> Repeat:
        """What a head without a body means never changes."""
        return ALWAYS

    def judge(self, exchange: Exchange, document: Json, operation: Operation) -> None:
        """Check a document against its operation's schema.

        :raise Refused: 422.
        """
        if self._judge:
            self._report(exchange, documents.judge(document, operation), "schema:body")

    def body_limit(self, method: str, path: bytes) -> int:
        """Return the maximum bytes of content for a target; arrival calls it before it reads the body."""
        matched = self._matched(path)
        operation = matched[0].operations.get(method) if matched else None
        return operation.max_body_bytes if operation else 1 << 20

    def route(self, request: Request) -> Route:
        """Return the route of a request.

        :raise Refused: 404.
        """
        return self._addressed(request)[0]

    def _addressed(self, request: Request) -> tuple[Route, list[str], bool]:
        matched = self._matched(request.path)
        if matched is None:
            raise Refused("There is nothing at this path.", status=404)
        route, given, wants_json = matched
        spelling = paths.canonical_word if route.text_ids else paths.canonical_id
        values = [value for value in map(spelling, given) if value is not None]
        if len(values) != len(given):
            raise Refused("No record can have this id.", status=404)
        return route, values, wants_json

    def _matched(self, path: bytes) -> _Match | None:
        """Find the route of a path. Arrival asks for its limit just before its request comes here."""
        if self._last[0] != path:
            self._last = (path, self._match(path))
        return self._last[1]

    def _match(self, path: bytes) -> _Match | None:
        found = paths.segments(path)
        matched = match(self._by_length.get(len(found[0]), ()), found[0]) if found else None
        return (*matched, found[1]) if found and matched else None

    def _options(self, request: Request) -> Response:
        if request.path == b"*":
            allow = ", ".join(
                sorted({method for route in self._contract.routes for method in route.allow.split(", ")})
            )
        else:
            allow = self.route(request).allow
        return Response(204, Headers(((b"Allow", allow.encode()), (b"Cache-Control", b"private, no-store"))))

    def _report(self, exchange: Exchange, wrong: ProxyError | None, rule: str) -> None:
        if wrong is None or not self._judge:
            return
        exchange.trace.rule_hits.append(f"{rule}:{wrong.field or ''}")
        if self._enforce:
            raise wrong
