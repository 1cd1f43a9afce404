"""Serves the published contract as ``/openapi.json`` and as a page to read, which needs no script and no other file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, Final

import msgspec

from ..http.messages import Headers, Request, Response
from .contract import Contract
from .publication import operations_of, published

JSON_PATH: Final = b"/openapi.json"
PAGE_PATH: Final = b"/openapi"
PATHS: Final = frozenset({JSON_PATH, PAGE_PATH})

_NO_WORD: Final = re.compile(r"[^a-z0-9_]+")


class ContractPage:
    """The contract in force, for authors of clients. Each form is built at its first request, and kept."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._made: dict[bytes, Response] = {}

    def answer(self, request: Request) -> Response:
        """Return the document or the page; 405 unless the method is GET or HEAD.

        :param request: of one of ``PATHS``.
        """
        if request.method not in ("GET", "HEAD"):
            return _response(405, b"application/json", b'{"status":405,"error":"Method Not Allowed"}\n', b"")
        made = self._made.get(request.path)
        if made is None:
            made = self._made[request.path] = self._make(request.path)
        return made

    def _make(self, path: bytes) -> Response:
        document = published(self._contract)
        if path == JSON_PATH:
            return _response(200, b"application/json", msgspec.json.encode(document) + b"\n", b"")
        from jinja2 import Environment, StrictUndefined  # makes a start slower, and few processes render it

        text = resources.files(__package__).joinpath("contract.html").read_text("utf-8")
        style = text.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest())
        template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(text)
        content = template.render(info=document.get("info", {}), operations=list(_rows(document)))
        return _response(
            200, b"text/html; charset=utf-8", content.encode(), b"style-src 'sha256-%b'; " % digest
        )


def _response(status: int, kind: bytes, body: bytes, styles: bytes) -> Response:
    policy = b"default-src 'none'; " + styles + b"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    fields = [
        (b"content-type", kind),
        (b"content-security-policy", policy),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status == 405:
        fields.append((b"allow", b"GET, HEAD"))
    return Response(status, Headers(tuple(fields)), body)


def _rows(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the page says of each operation."""
    for template, method, operation in operations_of(document):
        shared = document["paths"][template].get("parameters", [])
        content = operation.get("requestBody", {}).get("content", {})
        schemas = [kind["schema"] for kind in content.values() if "schema" in kind]
        yield {
            "method": method.upper(),
            "path": template,
            "anchor": _NO_WORD.sub("-", f"{method}{template}").strip("-"),
            "summary": operation.get("summary", ""),
            "parameters": [_resolved(document, each) for each in (*shared, *operation.get("parameters", ()))],
            "fields": _fields(document, schemas[0]) if schemas else [],
            "responses": _responses(document, operation.get("responses", {})),
        }


def _responses(document: Mapping[str, Any], responses: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What each status means; statuses that mean the same are in one row."""
    rows: dict[str, list[str]] = {}
    for status, said in responses.items():
        rows.setdefault(_resolved(document, said).get("description", ""), []).append(status)
    return [(", ".join(statuses), description) for description, statuses in rows.items()]


def _fields(document: Mapping[str, Any], schema: Any) -> list[tuple[str, str, bool]]:
    """Name, type and whether it is required, for each field of a body."""
    whole = _resolved(document, schema)
    required = whole.get("required", ())
    return [
        (name, _kind(_resolved(document, each)), name in required)
        for name, each in whole.get("properties", {}).items()
    ]


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _resolved(document: Mapping[str, Any], said: Any) -> Mapping[str, Any]:
    """Follow a reference within the document, one step; an unknown one gives nothing."""
    reference = said.get("$ref") if isinstance(said, dict) else None
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return said if isinstance(said, dict) else {}
    found: Any = document
    for name in reference[2:].split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
