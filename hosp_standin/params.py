"""How a Rails application reads parameters: query, JSON and form bodies, and the wrapped form of a record.

It is lenient on purpose, in the same ways as Rails: the last of repeated keys counts, the query string wins over the
body, and ``{"note": {…}}`` or ``?note[staff_id]=7`` hide the fields beside them. A proxy that means to assign authors
must withstand all of this.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from .records import Resource

Params = dict[str, object]

_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NESTED = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")
_JSON_TYPES = {"application/json", "text/json", "text/x-json", "application/jsonrequest"}
_FORM_TYPE = "application/x-www-form-urlencoded"


class MalformedBody(Exception):
    """A body that cannot be parsed: Rails responds with a 400 and an empty body."""


class BadParameters(Exception):
    """Parameters that cannot be decoded, or that lack the record's parameters: 400 with Rails' error body."""


class BrokenParameters(Exception):
    """Parameters of a shape that makes the application itself fail: 500."""


def media_type(content_type: str) -> str:
    """Media type without parameters, in lower case: ``application/json`` for ``Application/JSON; charset=utf-8``."""
    return content_type.partition(";")[0].strip().lower()


def parse_pairs(raw: bytes) -> Params:
    """Decode a query string or form as Rack does: ``a=1``, ``a[b]=1`` and ``a[]=1``; the last one wins.

    Raises:
        BadParameters: a broken ``%`` escape or invalid UTF-8.
    """
    params: Params = {}
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            _place(params, _unescape(name), _unescape(value))
    return params


def parse_body(content_type: str, body: bytes) -> Params:
    """Parameters in a body. JSON without a Content-Type is accepted; other types yield none.

    Raises:
        MalformedBody: the type says JSON, but the body is not.
        BadParameters: a form that cannot be decoded.
    """
    kind = media_type(content_type)
    if kind == _FORM_TYPE:
        return parse_pairs(body)
    if kind == "multipart/form-data":
        return _parse_multipart(content_type, body)
    is_json = (
        kind in _JSON_TYPES or kind.endswith("+json") or (not kind and body.lstrip()[:1] in (b"{", b"["))
    )
    if not is_json or not body.strip():
        return {}
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise MalformedBody(str(problem)) from problem
    return value if isinstance(value, dict) else {"_json": value}


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a form, in which ``_method`` counts."""
    return media_type(content_type) in (_FORM_TYPE, "multipart/form-data")


def fields_for(resource: Resource, query: Mapping[str, object], body: Mapping[str, object]) -> Params:
    """Fields of a record in a request's parameters, wrapped or at top level.

    Raises:
        BadParameters: none of the resource's fields (Rails' ParameterMissing).
        BrokenParameters: the wrapper is there but holds no object.
    """
    params = {**body, **query}
    if resource.singular in params:
        fields = params[resource.singular]
    else:
        fields = {name: value for name, value in body.items() if name in resource.columns}
    if not fields and fields is not True:
        raise BadParameters(f"param is missing or the value is empty: {resource.singular}")
    if not isinstance(fields, dict):
        raise BrokenParameters(f"no object: {resource.singular}")
    return fields


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _unescape(raw: bytes) -> str:
    if _BAD_PERCENT.search(raw):
        raise BadParameters("invalid %-encoding")
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise BadParameters("invalid UTF-8") from problem


def _place(params: Params, name: str, value: str) -> None:
    nested = _NESTED.fullmatch(name)
    if nested is None:
        params[name] = value
        return
    outer, inner = nested.groups()
    held = params.setdefault(outer, {} if inner else [])
    if inner and isinstance(held, dict):
        held[inner] = value
    elif not inner and isinstance(held, list):
        held.append(value)
    else:
        raise BadParameters(f"expected another type for {outer}")


def _parse_multipart(content_type: str, body: bytes) -> Params:
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    params: Params = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            _place(params, name, payload.decode("utf-8", "replace"))
    return params
