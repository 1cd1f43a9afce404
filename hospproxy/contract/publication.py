"""The contract as clients may read it: with what the proxy adds, and without what only the proxy needs (OpenAPI)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .contract import Contract

_OURS: Final = "x-hospproxy"
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_TEXT: Final[Any] = {"type": "string"}
_HEADERS: Final[Any] = {
    "X-Request-Id": {"description": "Identifies the request in the audit record.", "schema": _TEXT},
    "Cache-Status": {
        "description": "What the cache did (RFC 9211), such as hospproxy; hit; ttl=41.",
        "schema": _TEXT,
    },
    "Age": {
        "description": "Age of a cached response, in seconds.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Retry-After": {
        "description": "Seconds until it is worth trying again.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
_REUSED: Final[Any] = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}
_KEY: Final[Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": (
        "A text in quotation marks, new for each write. If you repeat the write with the same key, it is carried out"
        " once, and you get the same response."
    ),
    "schema": {"type": "string", "maxLength": 257},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}
_OUTCOME: Final[Any] = {
    "get": {
        "operationId": "hospproxyOutcome",
        "summary": "What became of a write that ended with outcome unknown.",
        "security": [{"basic": []}],
        "parameters": [{"name": "reference", "in": "path", "required": True, "schema": _TEXT}],
        "responses": {
            "200": {
                "description": "What is known now.",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["reference", "outcome"],
                            "properties": {"reference": _TEXT, "outcome": _TEXT},
                        }
                    }
                },
            },
            "default": {"description": "An error. 404: you have no write with this reference."},
        },
    }
}


def published(contract: Contract) -> dict[str, Any]:
    """Return an OpenAPI document for clients; the contract itself stays as it is.

    :param contract: the one in force.
    """
    document: dict[str, Any] = _without_ours(contract.document)
    components = document.setdefault("components", {})
    components.setdefault("headers", {}).update(_HEADERS)
    components.setdefault("parameters", {})["IdempotencyKey"] = _KEY
    for response in components.get("responses", {}).values():
        _add_headers(response, ("X-Request-Id",))
    for _template, method, operation in operations_of(document):
        known = contract.operations.get(operation["operationId"])
        if known is not None and known.is_write:
            operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
        for status, response in operation.get("responses", {}).items():
            if "$ref" in response:
                continue
            cached = method == "get" and status.startswith(("2", "304"))
            _add_headers(response, ("X-Request-Id", "Cache-Status", "Age") if cached else ("X-Request-Id",))
    for status in ("429", "503"):
        _promise_retry_after(document, status)
    if "basic" in components.get("securitySchemes", {}):
        document["paths"]["/.hospproxy/outcomes/{reference}"] = _OUTCOME
    return document


def _without_ours(value: Any) -> Any:
    """Copy a document without the rules that only the proxy needs; some name what staff may not do."""
    if isinstance(value, Mapping):
        return {
            str(key): _without_ours(part) for key, part in value.items() if not str(key).startswith(_OURS)
        }
    if isinstance(value, list):
        return [_without_ours(part) for part in value]
    return value


def operations_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path template, method and operation, in the order of the document."""
    for template, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield template, method, item[method]


def _add_headers(response: dict[str, Any], names: tuple[str, ...]) -> None:
    headers = response.setdefault("headers", {})
    for name in names:
        headers.setdefault(name, _REUSED[name])


def _promise_retry_after(document: Mapping[str, Any], status: str) -> None:
    """Add Retry-After to every response with a status, if the contract describes it in place."""
    for _template, _method, operation in operations_of(document):
        response = operation.get("responses", {}).get(status)
        if response is not None and "$ref" not in response:
            _add_headers(response, ("Retry-After",))
