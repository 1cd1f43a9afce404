"""Let pages of listed origins use the proxy from a browser: CORS, by the Fetch standard (docs/adr/0059).

A preflight is judged by the contract and answered here. ``finish`` sets the fields by which a browser decides whether
a page may read a response. It runs outside of all other processors, so that cache entries never hold such fields, and
so that a page can read errors too.
"""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from ..contract.contract import Route
from ..exchange.exchange import Exchange
from ..exchange.words import CorsResult
from ..http.errors import Refused
from ..http.messages import Headers, Request, Response
from ..http.repeat import ALWAYS, Repeat
from ..interfaces import IMeter, IProcessor, ProceedTo
from ..options.cors_section import CorsSettings
from .foreign_writes import OTHER_SITES
from .permissions import BREAK_GLASS

READ_BY_PROXY = frozenset(
    {
        b"accept", b"authorization", b"cache-control", b"content-type", b"idempotency-key", b"if-match",
        b"if-modified-since", b"if-none-match", b"if-unmodified-since", b"pragma", b"traceparent", b"tracestate",
        BREAK_GLASS,
    }
)  # fmt: skip
"""Header fields of requests that change what the proxy does; lower-cased."""

READABLE = (
    "Age", "Allow", "Cache-Status", "Date", "ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After",
    "WWW-Authenticate", "X-Request-Id",
)  # fmt: skip
"""Header fields of responses that pages may read, besides those that every page may read by the standard."""

_READS = frozenset({"GET", "HEAD"})
_WANTED_METHOD = b"access-control-request-method"
_WANTED_FIELDS = b"access-control-request-headers"
_FIELDS = (
    b"Access-Control-Allow-Origin",
    b"Access-Control-Allow-Credentials",
    b"Access-Control-Expose-Headers",
)


def is_preflight(request: Request) -> bool:
    """Whether a browser asks if a page may send a request."""
    headers = request.headers
    return (
        request.method == "OPTIONS"
        and headers.get(b"origin") is not None
        and headers.get(_WANTED_METHOD) is not None
    )


def _is_of_a_page(request: Request) -> bool:
    """Whether a page of another origin sent this. Browsers say so, and no page can change what they say.

    Such a write need not have had a preflight: one with a body of no type has none, and the browser adds the password
    that it has stored.
    """
    headers = request.headers
    return headers.get(b"origin") is not None and headers.get(b"sec-fetch-site") in OTHER_SITES


@implementer(IProcessor)
class CrossOrigin:
    """Answers preflights, and marks responses that pages of listed origins may read.

    :param route: finds the route of a request, or raises Refused (404).
    """

    def __init__(self, settings: CorsSettings, route: Callable[[Request], Route], meter: IMeter) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in settings.origins)
        self._route = route
        self._meter = meter
        self._request_fields = READ_BY_PROXY | {name.lower().encode() for name in settings.request_headers}
        self._max_age = b"%d" % settings.max_age_s
        marks = []
        if settings.credentials:
            marks.append((b"Access-Control-Allow-Credentials", b"true"))
        readable = dict.fromkeys((*READABLE, *settings.exposed_headers))
        marks.append((b"Access-Control-Expose-Headers", ", ".join(readable).encode()))
        self._marks = tuple(marks)

    def passes(self, exchange: Exchange) -> bool:
        """Return whether the request is neither a preflight nor a write of another page."""
        request = exchange.request
        if request.method in _READS:
            return True
        return not is_preflight(request) and (self._allows(request) or not _is_of_a_page(request))

    async def process(self, exchange: Exchange, _proceed: ProceedTo[Exchange]) -> Response:
        """Answer a preflight without asking HOSP, or refuse a write.

        :raise Refused: 403 if the origin or a header field is not allowed; 404 or 405 by the contract.
        """
        request = exchange.request
        if not self._allows(request):
            why: CorsResult = "origin" if is_preflight(request) else "write"
            wrong = Refused("Pages of this origin may not use this service.", status=403)
            raise self._refused(exchange, why, wrong)
        try:
            route = self._route(request)
        except Refused as error:
            raise self._refused(exchange, "path", error) from None
        methods = route.allow.encode()
        if (request.headers.get(_WANTED_METHOD) or b"") not in methods.split(b", "):
            wrong = Refused("This method is not allowed here.", status=405, headers=((b"Allow", methods),))
            raise self._refused(exchange, "method", wrong)
        wanted = request.headers.tokens(_WANTED_FIELDS)
        if not wanted <= self._request_fields:
            wrong = Refused("A page may not send one of these header fields.", status=403)
            raise self._refused(exchange, "header", wrong)
        self._meter.count("cors_requests_total", result="allowed")
        given = [
            (b"Access-Control-Allow-Methods", methods),
            (b"Access-Control-Max-Age", self._max_age),
            (b"Cache-Control", b"private, no-store"),
            (b"Vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
        ]
        if wanted:
            given.insert(1, (b"Access-Control-Allow-Headers", b", ".join(sorted(wanted))))
        return Response(204, Headers(tuple(given)))

    def repeat(self, _exchange: Exchange, _response: Response) -> Repeat:
        """What passes here does so by its head alone."""
        return ALWAYS

    def finish(self, request: Request, response: Response) -> Response:
        """Return the response with the fields for the request's origin, and without those that HOSP may have sent.

        ``Vary`` names Origin in every response, also for an origin that is not listed: otherwise a cache could give
        one origin's response to another.
        """
        vary = response.headers.all(b"vary")
        if b"origin" not in response.headers.tokens(b"vary"):
            vary.append(b"Origin")
        fields = [(b"Vary", b", ".join(vary))]
        if self._allows(request):
            fields.append((b"Access-Control-Allow-Origin", request.headers.get(b"origin") or b""))
            fields.extend(self._marks)
        return response.with_headers(response.headers.with_fields(*fields, without=_FIELDS))

    def _allows(self, request: Request) -> bool:
        # Two Origin fields were joined by a comma, which no origin contains.
        return request.headers.get(b"origin") in self._origins

    def _refused(self, exchange: Exchange, why: CorsResult, error: Refused) -> Refused:
        exchange.trace.rule_hits.append(f"cors:{why}")
        self._meter.count("cors_requests_total", result=why)
        return error
