"""Reads the patient and record ids of a call, where the contract says they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from ..http.messages import Response
from .exchange import Call


@lru_cache(maxsize=64)
def _reader(name: str) -> msgspec.json.Decoder[msgspec.Struct]:
    """A decoder that reads one field of an object and skips the rest, since a response may be long."""
    shape = msgspec.defstruct("Answer", [("value", int | str | None, None)], rename={"value": name})
    return msgspec.json.Decoder(shape)


def as_id(value: object) -> str | None:
    """An id as written in records; None for values that are neither number nor string."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        return None
    return str(value)


def field_of_answer(answer: object, name: str) -> str | None:
    """An id in a response that is one JSON object; None for any other response and for failures."""
    if not isinstance(answer, Response) or not 200 <= answer.status < 300 or not answer.body.startswith(b"{"):
        return None
    try:
        return as_id(getattr(_reader(name).decode(answer.body), "value", None))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def patient_of(call: Call | None, answer: object) -> str | None:
    """The patient that a call concerns, if the contract says where the id is.

    :param answer: the response, or the exception or None in its place. Code that replaces a response by one
        without a body (a 304) must ask before, and keep the result in ``Trace.patient``.
    """
    if call is None or (place := call.operation.patient) is None:
        return None
    if place.where == "path":
        named = dict(zip(call.operation.parameters, call.path, strict=False))
        return as_id(named.get(place.name))
    if place.where == "query":
        return as_id(dict(call.query).get(place.name))
    if place.where == "document":
        return as_id(call.document.get(place.name)) if isinstance(call.document, Mapping) else None
    return field_of_answer(answer, place.name)
