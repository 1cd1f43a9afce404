"""Parse a request's content into one JSON document that every reader understands alike (RFC 8259). Pure."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from ..contract.contract import Operation, SchemaError
from ..http.errors import Refused
from ..http.long_text import LongText
from ..http.messages import ABSENT, Json, Request

_JSON_TYPES = frozenset({b"application/json", b"text/json", b"text/x-json", b"application/jsonrequest"})
LARGE_BYTES = 64 * 1024
"""A larger body, in bytes, is read in slices by guard.bodies."""

_LARGEST = 1 << 63
_MAX_DIGITS = 20
_NOT_SPACE = re.compile(rb"[^ \t\n\r\x0b\x0c]")


def check_type(content_type: bytes | None) -> None:
    """Accept only JSON in UTF-8. A body without a Content-Type counts as JSON, because existing clients send it so.

    :raise Refused: 415 for a form or any other type.
    """
    if content_type is None or not content_type.strip():
        return
    essence, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    if essence not in _JSON_TYPES and not (
        essence.startswith(b"application/") and essence.endswith(b"+json")
    ):
        raise Refused("Only application/json is accepted here.", status=415, field="Content-Type")
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"charset" and value.strip(b" \t\"'") not in (b"utf-8", b"utf8", b"us-ascii"):
            raise Refused("Only UTF-8 is accepted here.", status=415, field="Content-Type")


class _Doubled(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Doubled(name)
            seen.add(name)
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS or not -_LARGEST <= (number := int(digits)) < _LARGEST:
        raise ValueError("number out of range")
    return number


def _decimal(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("number out of range")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_whole, parse_float=_decimal
)


def parse(body: bytes | bytearray) -> Json:
    """Return the one JSON value that a body holds.

    :raise Refused: 400: not UTF-8, not JSON, a duplicate key, or a number out of range.
    """
    try:
        text = body.decode("utf-8")
        document = _DECODER.decode(text)
        if "\\u" in text:
            # The parser accepts a lone surrogate, but it cannot be sent on.
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except _Doubled as error:
        name = str(error) if str(error).isascii() and len(str(error)) <= 64 else ""
        raise Refused("The body has a duplicate key in an object.", field=name or None) from None
    except (ValueError, RecursionError):
        raise Refused("The body is not valid JSON.") from None
    return document


def is_left(request: Request) -> bool:
    """Whether a request's body is left to guard.bodies, which runs once the caller is known."""
    return request.incoming is not None or (request.body is not None and len(request.body) > LARGE_BYTES)


def document_of(body: bytes | None, operation: Operation) -> Json:
    """Return the document of a request; ABSENT if it has none or the operation takes none.

    :raise Refused: 400.
    """
    if operation.check is None:
        # A body on GET or DELETE means nothing to the upstream and is not sent on.
        return ABSENT
    return ABSENT if is_missing(body, operation) or body is None else parse(body)


def is_missing(body: bytes | bytearray | None, operation: Operation) -> bool:
    """Whether a request has no document, where the operation allows that.

    :raise Refused: 400: the operation needs one.
    """
    # lstrip would copy a large body.
    if body is not None and _NOT_SPACE.search(body):
        return False
    if operation.body_required:
        raise Refused("This request needs a JSON body.")
    return True


def rebuilt(document: Json, operation: Operation) -> Json:
    """Return what is sent on: the known fields only; digits in a number field become a number."""
    if not isinstance(document, dict):
        return document
    kept = {name: value for name, value in document.items() if name in operation.fields}
    for name in operation.integers:
        value = kept.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
            kept[name] = int(value)
    return kept


def sendable(value: Json, operation: Operation) -> Json:
    """Return the document as it is sent: long texts as raw JSON bytes.

    In a write they become str, because a write is compared with records.
    """
    if isinstance(value, LongText):
        return value.text() if operation.is_write else value.raw
    if isinstance(value, dict):
        return {name: sendable(one, operation) for name, one in value.items()}
    return [sendable(one, operation) for one in value] if isinstance(value, list) else value


def judge(document: Json, operation: Operation) -> Refused | None:
    """Return the first violations of the contract as a refusal; None if there is none."""
    if operation.check is None or document is ABSENT:
        return None
    wrong = operation.check(document)
    if not wrong:
        return None
    found = tuple((one.field, _sentence(one)) for one in wrong)
    return Refused(found[0][1], status=422, field=found[0][0] or None, errors=found)


def _sentence(wrong: SchemaError) -> str:
    return f"The field {wrong.message}." if wrong.field else f"The body {wrong.message}."
