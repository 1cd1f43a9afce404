"""Checks HOSP's responses against the contract before they are stored or passed on.

Checked are status, media type, fields, schema and addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from attrs import evolve, field, frozen

from ..contract.answers import is_json
from ..contract.contract import Contract, ExpectedResponse, Operation
from ..exchange.exchange import Called
from ..exchange.words import Finding
from ..http.errors import BadAnswer
from ..http.messages import ABSENT, Client, Headers, Json, Response
from ..interfaces import IMeter
from .upstream_request import UpstreamTarget

KNOWN = frozenset(
    b"""
    age allow cache-control cache-status content-disposition content-language content-location
    content-security-policy content-type cross-origin-opener-policy cross-origin-resource-policy date deprecation etag
    expires last-modified link location permissions-policy pragma ratelimit referrer-policy retry-after server-timing
    set-cookie sunset vary warning www-authenticate x-content-type-options x-download-options x-frame-options
    x-permitted-cross-domain-policies x-request-id x-robots-tag x-runtime x-total-count x-xss-protection
    access-control-allow-credentials access-control-allow-headers access-control-allow-methods
    access-control-allow-origin access-control-expose-headers access-control-max-age
    """.split()
)
"""Response fields that are safe to pass on. Others may steer a server in front of the proxy (X-Accel-Redirect), or a
browser beyond this one response (Clear-Site-Data, Alt-Svc, Strict-Transport-Security, Refresh)."""

_OF_RANGES = frozenset({b"accept-ranges", b"content-range"})
"""The proxy forwards no Range (RFC 9110 §14.3), so these fields would promise what no client can get. A contract
cannot allow them."""

_UNASKED = frozenset({206, 304})
"""Responses to Range and to conditional reads. The proxy sends neither upstream, so such a response belongs to some
other request."""

CHECKED_BYTES = 1 << 20
"""A response longer than this is checked against its schema only if schemas are enforced, because the check takes
long."""

_PORTS = {"http": "80", "https": "443"}
_NUMBER = re.compile(r"(?:^|(?<=\.))\d+(?=\.|$)")
_MISLEADING = re.compile(r"[\\\x00-\x20]")
"""Characters that browsers drop from a URL or read as a slash, so that they go to another address."""
_NONE = ExpectedResponse()
_SHAPES: Mapping[type, str] = {list: "array", dict: "object"}


def expected_of(operation: Operation, status: int) -> ExpectedResponse:
    """What the contract says about a successful response.

    That is the entry for its status, else ``2XX``, else the only entry there is.
    """
    answers = operation.answers
    said = answers.get(str(status))
    if said is not None:
        return said
    only = next(iter(answers.values())) if len(answers) == 1 else _NONE
    return answers.get("2XX") or only


def media_type(headers: Headers) -> str:
    """The media type in lower case, without parameters; "" if there is none."""
    return (headers.get(b"content-type") or b"").split(b";")[0].strip().lower().decode("latin-1")


def fits(given: str, expected: ExpectedResponse, accept: str) -> bool:
    """Whether a response may have this media type: the contract allows it, or the client asked for it.

    :param given: the response's media type.
    :param accept: class of media types that the client accepts.
    """
    if not expected.types or given in expected.types:
        return True
    return given == "text/html" if accept == "html" else accept not in ("json", "any")


def safe_names(more: frozenset[bytes]) -> frozenset[bytes]:
    """The names of the response fields that are safe to pass on (see KNOWN).

    :param more: further names that the contract allows.
    """
    return (KNOWN | more) - _OF_RANGES


def known_fields(headers: Headers, names: frozenset[bytes]) -> Headers:
    """Drop the response fields that do not have one of these names (``safe_names``)."""
    kept = tuple([pair for pair in headers.pairs if pair[0].lower() in names])
    return headers if len(kept) == len(headers.pairs) else Headers(kept)


def authority(netloc: str, scheme: str) -> str:
    """A host with its port in one spelling: lower case, without the scheme's default port (RFC 9110 §4.2.3)."""
    return netloc.lower().removesuffix(":" + _PORTS.get(scheme.lower(), "80"))


@frozen(slots=True)
class AllowedAddresses:
    """Which addresses a response may contain.

    :param target: where HOSP is. Its addresses are rewritten to the proxy's.
    :param fields: fields of a record that contain its address.
    :ivar hosp: HOSP's authority, in one spelling.
    """

    target: UpstreamTarget
    fields: tuple[str, ...] = ()
    hosp: str = field(init=False)

    @hosp.default
    def _authority(self) -> str:
        return authority(self.target.authority, self.target.scheme)

    def is_public(self, client: Client) -> bool:
        """Whether the client knows this server by another address than HOSP's."""
        return bool(client.host) and authority(client.host, client.scheme) != self.hosp

    def public(self, url: str, client: Client) -> str | None:
        """An absolute or relative reference as the client may have it; None if it leads elsewhere."""
        if _MISLEADING.search(url):
            return None
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        if not parts.netloc:
            # "https:path" and "javascript:…" are neither relative nor the address of a known host.
            return None if parts.scheme else url
        where = authority(parts.netloc, parts.scheme or client.scheme)
        if parts.scheme not in ("", "http", "https"):
            return None
        if where == authority(client.host, client.scheme) or (where == self.hosp and not client.host):
            return url
        if where != self.hosp:
            return None
        path = url[url.index(parts.netloc) + len(parts.netloc) :]
        base = self.target.base
        return client.origin + (path.removeprefix(base) if path.startswith(base + "/") else path)

    def in_body(self, document: Json, client: Client) -> int:
        """Rewrite HOSP's addresses in a document to the proxy's; returns how many there were."""
        turned = 0
        for record in document if isinstance(document, list) else [document]:
            for name in self.fields if isinstance(record, dict) else ():
                value = record.get(name)
                if isinstance(value, str) and (now := self.public(value, client)) not in (None, value):
                    record[name] = now
                    turned += 1
        return turned


class ResponseCheck:
    """Checks responses against the contract.

    :param enforce: whether a response that violates its schema is an error. Otherwise only the audit record notes it.
    """

    def __init__(
        self, contract: Contract, target: UpstreamTarget, meter: IMeter, *, enforce: bool = False
    ) -> None:
        self._addresses = AllowedAddresses(target, contract.addresses)
        self._safe = safe_names(contract.answer_fields)
        self._meter = meter
        self._enforce = enforce

    def checked(self, exchange: Called, response: Response) -> Response:
        """``read``, for callers that do not need the document."""
        return self.read(exchange, response)[0]

    def read(self, exchange: Called, response: Response) -> tuple[Response, Json]:
        """The response as it may be stored and passed on, and its JSON; ABSENT if its content was not read.

        :raise BadAnswer: it may not. The error carries the status: HOSP has finished, so the status tells a write's
            outcome.
        """
        response, expected = self.head_of(exchange, response)
        if expected is None:
            return response, ABSENT
        document = self._parsed(response)
        self.shaped(response, expected, _SHAPES.get(type(document), ""))
        self.hold(exchange, response, expected, document)
        return self._readdressed(exchange, response, document), document

    def head_of(self, exchange: Called, response: Response) -> tuple[Response, ExpectedResponse | None]:
        """The response with the allowed fields, and the expectation for its JSON; None if its content is not checked.

        :raise BadAnswer: as ``checked``.
        """
        if response.status in _UNASKED:
            raise self._bad("unasked", "has an unexpected status", response)
        headers = known_fields(response.headers, self._safe)
        if headers is not response.headers:
            self._found("field")
            response = response.with_headers(headers)
        response = self._located(exchange, response)
        if not 200 <= response.status < 300 or response.status == 204:
            return response, None
        expected = expected_of(exchange.call.operation, response.status)
        given = media_type(response.headers)
        if not fits(given, expected, exchange.call.accept):
            raise self._bad("type", "has an unexpected media type", response)
        return response, expected if is_json(given) else None

    def shaped(self, response: Response, expected: ExpectedResponse, shape: str) -> None:
        """Check the outermost type of a document ("array", "object" or "") against the contract.

        :raise BadAnswer: the type is wrong.
        """
        if expected.shape and shape != expected.shape:
            raise self._bad("shape", f"is not the expected {expected.shape}", response)

    def _parsed(self, response: Response) -> Json:
        try:
            if not response.body.isascii():
                response.body.decode("utf-8")
            return msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self.no_json(response) from None

    def no_json(self, response: Response) -> BadAnswer:
        """The error for a response whose content is not JSON."""
        return self._bad("json", "is not valid JSON", response)

    def unread(self, exchange: Called, response: Response, expected: ExpectedResponse) -> None:
        """Note that the response is too large or complex to be parsed.

        :raise BadAnswer: schemas are enforced, so an unchecked response may not pass.
        """
        exchange.trace.rule_hits.append("answers:unread")
        self._found("unread")
        if self._enforce and expected.check is not None:
            raise self._bad("schema", "is too large to be checked against the contract", response)

    def hold(self, exchange: Called, response: Response, expected: ExpectedResponse, document: Json) -> None:
        """Check a document, or a piece of one, against its schema.

        :param response: the whole response.
        :raise BadAnswer: it violates the schema, and schemas are enforced.
        """
        if expected.check is None or (not self._enforce and len(response.body) > CHECKED_BYTES):
            return
        wrong = expected.check(document)
        if not wrong:
            return
        # "*.name" for the n-th element, so the same error in every element counts once.
        hit = "answers:schema:" + _NUMBER.sub("*", wrong[0].field)
        if hit not in exchange.trace.rule_hits:
            exchange.trace.rule_hits.append(hit)
        if self._enforce:
            raise self._bad("schema", "does not match the contract", response)
        self._found("schema")

    def _located(self, exchange: Called, response: Response) -> Response:
        """Location must point to the proxy or be removed. A redirect elsewhere would carry credentials there."""
        given = response.headers.get(b"location")
        if given is None:
            return response
        now = self._addresses.public(given.decode("latin-1"), exchange.request.client)
        if now is None and 300 <= response.status < 400:
            raise self._bad("address", "points to another server", response)
        if now is None:
            self._found("address")
            return response.with_headers(response.headers.without(b"location"))
        if now.encode("latin-1") == given:
            return response
        self._found("address")
        return response.having(b"Location", now.encode("latin-1"))

    def _readdressed(self, exchange: Called, response: Response, document: Any) -> Response:
        if not self.names_hosp(exchange, response) or not self.turned(exchange, document):
            return response
        self._found("address")
        return evolve(response, body=msgspec.json.encode(document))

    def names_hosp(self, exchange: Called, response: Response) -> bool:
        """Whether a response may contain HOSP's own address.

        Nearly always HOSP builds addresses from the Host that the proxy sent, and nothing needs rewriting.
        """
        hosp = self._addresses.hosp.encode("ascii", "replace")
        return self._addresses.is_public(exchange.request.client) and hosp in response.body

    def turned(self, exchange: Called, document: Json) -> int:
        """Rewrite HOSP's addresses in a document to the proxy's; returns how many there were."""
        return self._addresses.in_body(document, exchange.request.client)

    def readdressed(self, response: Response, body: bytes) -> Response:
        """The same response with a rewritten body."""
        self._found("address")
        return evolve(response, body=body)

    def _bad(self, finding: Finding, words: str, response: Response) -> BadAnswer:
        self._found(finding)
        return BadAnswer(f"The upstream server's response {words}.", head_status=response.status)

    def _found(self, finding: Finding) -> None:
        self._meter.count("answer_findings_total", finding=finding)
