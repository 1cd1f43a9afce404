"""HOSP's answers, before anything is kept of them or sent on: what they are, which fields they have, whose address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from attrs import evolve, frozen

from ..contract import Contract, Expected, Operation
from ..contract_answers import is_json
from ..errors import BadAnswer
from ..interfaces import IMeter
from ..messages import Client, Exchange, Headers, Json, Response
from ..words import Finding
from .sending import Target

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
"""Fields that do nothing worse than what they say. The rest may steer what stands in front (X-Accel-Redirect), or a
browser beyond this one answer (Clear-Site-Data, Alt-Svc, Strict-Transport-Security, Refresh)."""

_OF_RANGES = frozenset({b"accept-ranges", b"content-range"})
"""No Range is sent on (RFC 9110 §14.3), so these would promise what nobody can have. No contract can let them pass."""

_UNASKED = frozenset({206, 304})
"""Answers to Range and to conditions on reads. The upstream gets neither, so such an answer is to something else."""

CHECKED_BYTES = 1 << 20
"""An answer longer than this is held against its schema only where that is enforced: it takes its time."""

_PORTS = {"http": "80", "https": "443"}
_NUMBER = re.compile(r"(?:^|(?<=\.))\d+(?=\.|$)")
_MISLEADING = re.compile(r"[\\\x00-\x20]")
"""What browsers drop or take for a slash in an address, so that they go elsewhere than it seems."""
_NONE = Expected()
_SHAPES: Mapping[type, str] = {list: "array", dict: "object"}


def expected_of(operation: Operation, status: int) -> Expected:
    """What the contract says of an answer with a status of success, or else of the only one that it names."""
    answers = operation.answers
    only = next(iter(answers.values())) if len(answers) == 1 else _NONE
    return answers.get(str(status)) or answers.get("2XX") or only


def media_type(headers: Headers) -> str:
    """The media type without parameters, lower-cased; "" if there is none."""
    return (headers.get(b"content-type") or b"").split(b";")[0].strip().lower().decode("latin-1")


def fits(given: str, expected: Expected, accept: str) -> bool:
    """Whether an answer may be of this media type: as the contract says, or what the client itself asked for.

    :param accept: class of what the client takes.
    """
    if not expected.types or given in expected.types:
        return True
    return given == "text/html" if accept == "html" else accept not in ("json", "any")


def known_fields(headers: Headers, more: frozenset[bytes]) -> Headers:
    """The fields that go on.

    :param more: names that the contract knows besides.
    """
    names = (KNOWN | more) - _OF_RANGES
    kept = tuple(pair for pair in headers.pairs if pair[0].lower() in names)
    return headers if len(kept) == len(headers.pairs) else Headers(kept)


def authority(netloc: str, scheme: str) -> str:
    """A host with its port, in one spelling: lower-cased, without the scheme's own port (RFC 9110 §4.2.3)."""
    return netloc.lower().removesuffix(":" + _PORTS.get(scheme.lower(), "80"))


@frozen(slots=True)
class Addresses:
    """Whose addresses an answer may name.

    :param target: where HOSP is: an address of it is turned into one of the proxy.
    :param fields: of a record, that hold its address.
    """

    target: Target
    fields: tuple[str, ...] = ()

    def is_public(self, client: Client) -> bool:
        """Whether the client's own address for this server is another than HOSP's."""
        return bool(client.host) and authority(client.host, client.scheme) != self.hosp

    @property
    def hosp(self) -> str:
        return authority(self.target.authority, self.target.scheme)

    def public(self, url: str, client: Client) -> str | None:
        """An absolute or relative reference as the client may have it; None for one that leads elsewhere."""
        if _MISLEADING.search(url):
            return None
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        if not parts.netloc:
            # "https:path" and "javascript:…" are neither relative nor an address of anybody's.
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
        """Turn HOSP's addresses in a document into the proxy's; how many there were."""
        turned = 0
        for record in document if isinstance(document, list) else [document]:
            for name in self.fields if isinstance(record, dict) else ():
                value = record.get(name)
                if isinstance(value, str) and (now := self.public(value, client)) not in (None, value):
                    record[name] = now
                    turned += 1
        return turned


class AnswerCheck:
    """Holds answers against the contract.

    :param enforce: an answer that its schema does not allow is a bad one; otherwise only the record says so.
    """

    def __init__(self, contract: Contract, target: Target, meter: IMeter, *, enforce: bool = False) -> None:
        self._addresses = Addresses(target, contract.addresses)
        self._more = contract.answer_fields
        self._meter = meter
        self._enforce = enforce

    def checked(self, exchange: Exchange, response: Response) -> Response:
        """The answer as it may be kept and sent on.

        :raise BadAnswer: it may not. It carries the status: HOSP has finished, so a write's fate is what that says.
        """
        response, expected = self.head_of(exchange, response)
        if expected is None:
            return response
        document = self._parsed(response)
        self.shaped(response, expected, _SHAPES.get(type(document), ""))
        self.hold(exchange, response, expected, document)
        return self._readdressed(exchange, response, document)

    def head_of(self, exchange: Exchange, response: Response) -> tuple[Response, Expected | None]:
        """The answer with the fields that go on, and what its JSON must be; None if it has none that is looked into.

        :raise BadAnswer: as ``checked``.
        """
        assert exchange.call is not None
        if response.status in _UNASKED:
            raise self._bad("unasked", "is one that was not asked for", response)
        headers = known_fields(response.headers, self._more)
        if headers is not response.headers:
            self._found("field")
            response = evolve(response, headers=headers)
        response = self._located(exchange, response)
        if not 200 <= response.status < 300 or response.status == 204:
            return response, None
        expected = expected_of(exchange.call.operation, response.status)
        given = media_type(response.headers)
        if not fits(given, expected, exchange.call.accept):
            raise self._bad("type", "is of another type than was due", response)
        return response, expected if is_json(given) else None

    def shaped(self, response: Response, expected: Expected, shape: str) -> None:
        """Hold the outermost shape of a document ("array", "object" or "") against what was due.

        :raise BadAnswer: it has another.
        """
        if expected.shape and shape != expected.shape:
            raise self._bad("shape", f"is not the {expected.shape} that was due", response)

    def _parsed(self, response: Response) -> Json:
        try:
            response.body.decode("utf-8")
            return msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self.no_json(response) from None

    def no_json(self, response: Response) -> BadAnswer:
        """The failure of an answer whose content is not JSON."""
        return self._bad("json", "is not the JSON that it says", response)

    def unread(self, exchange: Exchange, response: Response, expected: Expected) -> None:
        """An answer has more in it than is read: where schemas are enforced it may not go on.

        :raise BadAnswer: it may not.
        """
        exchange.rule_hits.append("answers:unread")
        self._found("unread")
        if self._enforce and expected.check is not None:
            raise self._bad("schema", "has too much in it to be held against the contract", response)

    def hold(self, exchange: Exchange, response: Response, expected: Expected, document: Json) -> None:
        """Hold a document, or a piece of one, against its schema.

        :param response: the whole answer.
        :raise BadAnswer: it is not as the contract says, and that is enforced.
        """
        if expected.check is None or (not self._enforce and len(response.body) > CHECKED_BYTES):
            return
        wrong = expected.check(document)
        if not wrong:
            return
        # "*.name" for the n-th element: the same mistake in each is one.
        hit = "answers:schema:" + _NUMBER.sub("*", wrong[0].field)
        if hit not in exchange.rule_hits:
            exchange.rule_hits.append(hit)
        if self._enforce:
            raise self._bad("schema", "is not as the contract says", response)
        self._found("schema")

    def _located(self, exchange: Exchange, response: Response) -> Response:
        """Location names the proxy, or nobody; a redirect to somebody else would carry credentials there."""
        given = response.headers.get(b"location")
        if given is None:
            return response
        now = self._addresses.public(given.decode("latin-1"), exchange.request.client)
        if now is None and 300 <= response.status < 400:
            raise self._bad("address", "leads elsewhere", response)
        if now is None:
            self._found("address")
            return evolve(response, headers=response.headers.without(b"location"))
        if now.encode("latin-1") == given:
            return response
        self._found("address")
        return response.having(b"Location", now.encode("latin-1"))

    def _readdressed(self, exchange: Exchange, response: Response, document: Any) -> Response:
        if not self.names_hosp(exchange, response) or not self.turned(exchange, document):
            return response
        self._found("address")
        return evolve(response, body=msgspec.json.encode(document))

    def names_hosp(self, exchange: Exchange, response: Response) -> bool:
        """Whether an answer may have addresses of HOSP's in its content.

        Nearly always HOSP has made its addresses of the Host that it was sent, and there is nothing to do.
        """
        hosp = self._addresses.hosp.encode("ascii", "replace")
        return self._addresses.is_public(exchange.request.client) and hosp in response.body

    def turned(self, exchange: Exchange, document: Json) -> int:
        """Turn HOSP's addresses in a document into the proxy's; how many there were."""
        return self._addresses.in_body(document, exchange.request.client)

    def readdressed(self, response: Response, body: bytes) -> Response:
        """The same answer with the proxy's addresses."""
        self._found("address")
        return evolve(response, body=body)

    def _bad(self, finding: Finding, words: str, response: Response) -> BadAnswer:
        self._found(finding)
        return BadAnswer(f"The upstream server's answer {words}.", head_status=response.status)

    def _found(self, finding: Finding) -> None:
        self._meter.count("answer_findings_total", finding=finding)
