"""Read what the contract says about successful responses (OpenAPI ``responses``), so that they can be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .contract import Check, ExpectedResponse

_SHAPES = ("array", "object")


def expected(
    said: Any, resolve: Callable[[Any], dict[str, Any]], check: Callable[[Any], Check]
) -> dict[str, ExpectedResponse]:
    """Return what the responses of an operation must look like, by status ("200", "2XX"); errors are not checked.

    :param resolve: follows a local ``$ref``.
    :param check: makes a check from a schema.
    """
    found: dict[str, ExpectedResponse] = {}
    for status, response in said.items() if isinstance(said, Mapping) else ():
        if not str(status).startswith("2"):
            continue
        content = resolve(response).get("content", {})
        schema = next((one.get("schema") for name, one in content.items() if is_json(name)), None)
        resolved = resolve(schema) if schema else {}
        shape = resolved.get("type")
        found[str(status).upper()] = ExpectedResponse(
            types=frozenset(str(name).lower() for name in content),
            shape=shape if isinstance(shape, str) and shape in _SHAPES else "",
            check=check(schema) if schema else None,
            fields=tuple(resolved.get("properties", {})),
        )
    return found


def is_json(media_type: str) -> bool:
    """Whether a media type is JSON (RFC 8259) or has its syntax (RFC 6839 §3.1)."""
    name = media_type.lower()
    return name in ("application/json", "text/json") or name.endswith("+json")
