"""Responses in the upstream's format: errors, its 401, its deletion page, and records found again."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import msgspec

from ..contract.contract import Contract, Operation
from ..http.errors import OutcomeUnknown, ProxyError, Unauthorized, reason
from ..http.messages import Client, Headers, Json, Response

JSON_TYPE = b"application/json; charset=utf-8"
HTML_TYPE = b"text/html; charset=utf-8"


def accept_class(accept: bytes | None) -> str:
    """Classify an Accept field into the classes that the upstream distinguishes (RFC 9110 §12.5.1).

    :param accept: the field's value, or None.
    :return: "json", "html", "any", or the value itself if it is none of these.
    """
    if accept is None or not accept.strip():
        return "any"
    ranges = [part.split(b";")[0].strip().lower() for part in accept.split(b",")]
    first = ranges[0]
    if first == b"*/*":
        return "any"
    if first in (b"text/html", b"application/xhtml+xml"):
        # Browsers list html first, and further types after it.
        return "html"
    if first in (b"application/json", b"text/x-json", b"application/jsonrequest"):
        return "json"
    if b"*/*" in ranges:
        return "any"
    return accept.decode("latin-1")


class ProxyResponses:
    """Makes responses from the texts in the contract."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._texts = contract.texts

    def error(self, error: ProxyError, accept: str) -> Response:
        """Return an error response in the upstream's format, with what went wrong in ``detail``.

        :param accept: the client's Accept class: HTML only if it asks for HTML.
        """
        if isinstance(error, Unauthorized):
            return self.unauthorized()
        headers = list(error.headers)
        if error.retry_after_s is not None:
            headers.append((b"Retry-After", b"%d" % error.retry_after_s))
        headers.append((b"Cache-Control", b"private, no-store"))
        if accept == "html":
            page = self._texts.error_html.replace("{status}", str(error.status))
            page = page.replace("{reason}", html.escape(reason(error.status)))
            page = page.replace("{detail}", html.escape(error.detail))
            return Response(error.status, Headers((*headers, (b"Content-Type", HTML_TYPE))), page.encode())
        document = msgspec.json.encode(self.error_document(error))
        return Response(error.status, Headers((*headers, (b"Content-Type", JSON_TYPE))), document)

    def error_document(self, error: ProxyError) -> dict[str, Any]:
        """Return the JSON members of an error."""
        filled: dict[str, Any] = {}
        for name, template in self._texts.error_json.items():
            if template == "{status}":
                filled[name] = error.status
            else:
                filled[name] = template.replace("{reason}", reason(error.status))
        if error.detail:
            filled["detail"] = error.detail
        if error.field is not None:
            filled["field"] = error.field
        if error.errors:
            filled["errors"] = [{"field": name, "detail": detail} for name, detail in error.errors]
        if isinstance(error, OutcomeUnknown):
            filled["outcome"] = error.outcome
            filled["reference"] = error.reference
        return filled

    def unauthorized(self) -> Response:
        """Return the upstream's own 401."""
        headers = Headers(
            (
                (b"Content-Type", self._texts.denied_type.encode()),
                (b"WWW-Authenticate", self._texts.challenge.encode()),
                (b"Cache-Control", b"private, no-store"),
            )
        )
        return Response(401, headers, self._texts.denied_body.encode())

    def deleted(self) -> Response:
        """Return the upstream's page for a deletion that is known to have happened."""
        return Response(200, Headers(((b"Content-Type", HTML_TYPE),)), self._texts.deletion_page.encode())

    def found(self, operation: Operation, record: Mapping[str, Any], client: Client) -> Response:
        """Return the response to a POST whose record was found again, as the upstream would have sent it."""
        lookup = operation.lookup
        headers = [(b"Content-Type", JSON_TYPE)]
        if lookup is not None and lookup.location is not None and operation.resource is not None:
            identity = record.get(self._contract.resources[operation.resource].id)
            where = client.origin + lookup.location.replace("{id}", str(identity))
            headers.append((b"Location", where.encode("ascii", "ignore")))
        return Response(lookup.status if lookup else 201, Headers(tuple(headers)), encode(record))

    def record(self, record: Json) -> Response:
        """Return a record as the response to a change that is known to have happened."""
        return Response(200, Headers(((b"Content-Type", JSON_TYPE),)), encode(record))


def encode(document: Json) -> bytes:
    return msgspec.json.encode(document)
