"""Parse paths and queries into one canonical spelling (RFC 3986 §6, RFC 9110 §4.2.3). Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from ..contract.contract import Operation, Parameter
from ..http.errors import Refused
from ..http.messages import Json

_MAX_ID_DIGITS = 18
_MAX_FILTER = 255
"""Longest value in characters of a parameter that the contract does not list itself."""
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_STEERING = re.compile(r"[/\\%?#;\x00-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPED = re.compile(rb"[%+]")
_WORD = re.compile(r"[A-Za-z0-9._~-]{1,128}")


def segments(path: bytes) -> tuple[tuple[str, ...], bool] | None:
    """Return the segments of a path, decoded once, and whether it ended in ``.json``.

    Trailing and doubled slashes mean nothing to a Rails router and are dropped. Dot segments, and anything that a
    second decoding would change, are not valid.

    :param path: as in the request target, percent-encoded.
    :return: None if the path is not valid.
    """
    decoded: list[str] = []
    for raw in path.split(b"/"):
        if not raw:
            continue
        plain = unquote_to_bytes(raw) if b"%" in raw else raw
        try:
            text = plain.decode("utf-8")
        except UnicodeDecodeError:
            return None
        if text in (".", "..") or _STEERING.search(text) is not None:
            return None
        decoded.append(text)
    wants_json = bool(decoded) and decoded[-1].endswith(".json") and decoded[-1] != ".json"
    if wants_json:
        decoded[-1] = decoded[-1].removesuffix(".json")
    return tuple(decoded), wants_json


def canonical_id(text: str) -> str | None:
    """Return a record's id in canonical spelling; None if it is not a valid id."""
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_ID_DIGITS:
        return None
    number = int(text)
    return str(number) if number > 0 else None


def canonical_word(text: str) -> str | None:
    """Return a word parameter unchanged; None if it is not valid (unreserved characters, RFC 3986 §2.3)."""
    return text if _WORD.fullmatch(text) else None


def query(raw: bytes | None, operation: Operation) -> tuple[tuple[tuple[str, str], ...], Refused | None]:
    """Return the known parameters in canonical spelling, and the first violation of the contract.

    Unknown parameters are dropped. Of a repeated parameter the last value counts, as in Rails. A name in brackets
    (``hospital_id[]=1``) could be read in several ways and is never sent on.

    :param raw: what follows the ``?``, still percent-encoded.
    :raise Refused: the query is ambiguous or not decodable.
    """
    if not raw or not operation.query:
        return (), None
    known = {parameter.name: parameter for parameter in operation.query}
    given: dict[str, str] = {}
    for part in raw.split(b"&"):
        if not part:
            continue
        name, _, value = (_decoded(piece) for piece in part.partition(b"="))
        plain = name.split("[")[0].strip()
        if plain in known and plain != name:
            raise Refused("This parameter is ambiguous; send its name without brackets.", field=plain)
        if name not in known:
            continue
        given[name] = value
    found = [_canonical(known[name], given[name]) for name in known if name in given]
    return tuple(pair for pair, _ in found), next((error for _, error in found if error is not None), None)


def _canonical(parameter: Parameter, value: str) -> tuple[tuple[str, str], Refused | None]:
    if value == "" and parameter.allow_empty:
        return (parameter.name, ""), None
    if parameter.inferred and len(value) > _MAX_FILTER:
        return (parameter.name, ""), Refused("The parameter is too long.", status=422, field=parameter.name)
    judged = _as_json(value, parameter.types)
    wrong = parameter.check(judged)
    error = (
        None if not wrong else Refused(f"The parameter {wrong[0].message}.", status=422, field=parameter.name)
    )
    spelling = str(judged) if isinstance(judged, int) and not isinstance(judged, bool) else value
    return (parameter.name, spelling), error


def _as_json(value: str, types: frozenset[str]) -> Json:
    """Convert a value to the type that its schema wants; return the string itself if that is not possible."""
    if "string" in types:
        return value
    if "integer" in types and value.isascii() and value.isdigit() and len(value) <= _MAX_ID_DIGITS:
        return int(value)
    if "number" in types and _NUMBER.fullmatch(value):
        return float(value)
    if "boolean" in types and value in ("true", "false"):
        return value == "true"
    return value


def _decoded(piece: bytes) -> str:
    plain = unquote_to_bytes(piece.replace(b"+", b" ")) if _ESCAPED.search(piece) is not None else piece
    try:
        text = plain.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("The query is not UTF-8.", field="query") from None
    if _CONTROL.search(text) is not None:
        raise Refused("The query contains a control character.", field="query")
    return text
