"""Sends the requests of the plan to the new version, and compares each response with what is expected."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .plan import SmokeRequest
from .system import Reply, System

_MISSING = object()


def differences(wanted: SmokeRequest, reply: Reply) -> Iterator[str]:
    """Say in what a response is not as expected. Pure."""
    if reply.status != wanted.status:
        yield f"status {reply.status}, not {wanted.status}: {reply.body[:200].decode('utf-8', 'replace')}"
    for name, value in wanted.fields.items():
        found = reply.fields.get(name)
        if found is None:
            yield f"no header {name}"
        elif value not in found:
            yield f"header {name} is {found!r}, without {value!r}"
    if wanted.tls and reply.tls < wanted.tls:
        yield f"{reply.tls or 'no TLS'}, not at least {wanted.tls}"
    if wanted.json:
        try:
            document = json.loads(reply.body)
        except ValueError:
            yield "the body is not JSON"
            return
        for path, value in wanted.json.items():
            found = value_at(document, path)
            if found is _MISSING:
                yield f"no {path} in the body"
            elif found != value:
                yield f"{path} is {found!r}, not {value!r}"


def value_at(document: Any, path: str) -> Any:
    """Return what a path such as ``items.0.name`` or ``items.length`` leads to in a JSON document."""
    for part in path.split(".") if path else ():
        if isinstance(document, Mapping) and part in document:
            document = document[part]
        elif isinstance(document, list) and part == "length":
            document = len(document)
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return _MISSING
    return document


def ask(system: System, wanted: SmokeRequest) -> list[str]:
    """Send one request; return in what its response is not as expected."""
    try:
        reply = system.fetch(
            wanted.url, wanted.timeout_s, wanted.method, wanted.headers, wanted.body.encode(), wanted.ca_file
        )
    except OSError as problem:
        return [f"no response: {problem}"]
    return list(differences(wanted, reply))
