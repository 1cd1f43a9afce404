"""Where the ids that a record names stand: the contract says it, the call and the answer hold it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from ..messages import Call, Response


@lru_cache(maxsize=64)
def _reader(name: str) -> msgspec.json.Decoder[msgspec.Struct]:
    """Decodes one field of an object and skips the rest unread: an answer may be long."""
    shape = msgspec.defstruct("Answer", [("value", int | str | None, None)], rename={"value": name})
    return msgspec.json.Decoder(shape)


def as_id(value: object) -> str | None:
    """An id as it is written in a record; what is neither a number nor a string is none."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        return None
    return str(value)


def field_of_answer(answer: object, name: str) -> str | None:
    """An id in an answer that is one JSON object; None for any other answer, and for failures."""
    if not isinstance(answer, Response) or not 200 <= answer.status < 300 or not answer.body.startswith(b"{"):
        return None
    try:
        return as_id(getattr(_reader(name).decode(answer.body), "value", None))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def patient_of(call: Call | None, answer: object) -> str | None:
    """The patient whom a call concerns, as far as the contract says where to look.

    :param answer: the answer, or whatever stands in its place. Whoever turns an answer into one without a body
        (a 304) asks before that and keeps it in ``Exchange.patient``.
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
