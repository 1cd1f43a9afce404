"""Which responses may be stored, and how responses look after they have passed the cache. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ..contract.contract import Contract, Operation
from ..http.messages import Headers, Origin, Response
from .directives import directives, has_it, seconds

NAME = b"hospproxy"
DOWNSTREAM = b"private, no-store"
"""Clients store no copy: what a member of staff may see can change at any time (decision 3 of the design)."""
DOWNSTREAM_FIXED = DOWNSTREAM + b", no-transform"

_OF_ONE_EXCHANGE = (b"Set-Cookie", b"Age", b"Cache-Status", b"X-Request-Id", b"X-Runtime")
_OF_304 = frozenset(
    {b"etag", b"vary", b"cache-control", b"content-location", b"date", b"age", b"cache-status"}
)
_OF_304_TO_ITS_ASKER = _OF_304 | {b"set-cookie", b"x-request-id"}

_CANNOT_DIFFER = frozenset({b"accept", b"accept-encoding", b"origin"})
"""Fields that Vary may name without effect (RFC 9110 §12.5.5): Accept is part of the key, Accept-Encoding is the same
in every request to HOSP, and Origin is in none. Most servers name the latter two on every response."""


def media_types(contract: Contract, operation: Operation) -> frozenset[str]:
    """The media types that the contract names for an operation's 200; empty if it names none."""
    item = contract.document.get("paths", {}).get(operation.template, {})
    answers = item.get(operation.method.lower(), {}).get("responses", {})
    success = _resolved(contract.document, answers.get("200", answers.get(200, {})))
    return frozenset(str(name).lower() for name in success.get("content", {}))


def _resolved(document: Mapping[str, Any], said: Any) -> Mapping[str, Any]:
    if isinstance(said, dict) and "$ref" in said:
        found: Any = document
        for part in str(said["$ref"]).removeprefix("#/").split("/"):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        said = found
    return said if isinstance(said, dict) else {}


def why_not_kept(
    response: Response, types: frozenset[str], max_bytes: int, *, override_no_cache: bool = False
) -> str:
    """Why a response may not be stored, as a token; "" if it may (RFC 9111 §3).

    The contract overrides HOSP's ``max-age=0, private, must-revalidate``, because Rails puts it on every response. It
    does not override ``no-store`` and ``no-cache``, which somebody must have set on purpose.

    :param types: media types that may be stored; empty for any.
    :param max_bytes: maximum bytes of a body.
    :param override_no_cache: the contract says that ``no-cache`` has no meaning here.
    """
    headers = response.headers
    if response.status != 200:
        return "status"
    if headers.get(b"set-cookie") is not None:
        return "set-cookie"
    said = _said(tuple(headers.all(b"cache-control")))
    if b"no-store" in said:
        return "no-store"
    # The cache never validates before it serves, so it does not store what must be validated, in whatever form.
    if b"no-cache" in said and not override_no_cache:
        return "no-cache"
    if not headers.tokens(b"vary") <= _CANNOT_DIFFER:
        return "vary"
    if len(response.body) > max_bytes:
        return "too-large"
    if types and media_type(headers) not in types:
        return "type"
    return "" if _is_whole(response) else "malformed"


@lru_cache(maxsize=64)
def _said(cache_control: tuple[bytes, ...]) -> frozenset[bytes]:
    """The names of the directives. A server sends the same ones with most of its responses."""
    return frozenset(name for name, _ in directives(list(cache_control)))


def media_type(headers: Headers) -> str:
    """The media type in lower case, without parameters; "" if there is none."""
    return (headers.get(b"content-type") or b"").split(b";")[0].strip().lower().decode("latin-1")


def _is_whole(response: Response) -> bool:
    """Whether the body is complete: half a list must not be stored.

    A response that ended with the connection may be truncated without any sign. The JSON is only scanned, not built:
    about 8 ms for 4 MiB.
    """
    if not media_type(response.headers).endswith("json"):
        return True
    try:
        msgspec.json.decode(response.body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def to_keep(response: Response) -> Response:
    """A response without the fields that belong to one exchange only, ready to be stored."""
    headers = response.headers.without(*_OF_ONE_EXCHANGE)
    return Response(
        response.status, headers, response.body, Origin.MEMORY, response.handed_over, response.chunks,
        response.shortcut,
    )  # fmt: skip


def initial_age(headers: Headers) -> int:
    """Age in seconds that the response already had on arrival, from a cache in front of HOSP (RFC 9111 §4.2.3)."""
    return seconds(headers.get(b"age")) or 0


def passed(response: Response, status: bytes, if_none_match: list[bytes] | None = None) -> Response:
    """A response as it goes to the client.

    :param status: what the cache did, for Cache-Status after its name (RFC 9211).
    :param if_none_match: the If-None-Match values of a read, which may turn the response into a 304; None otherwise.
    """
    member = b", ".join([*response.headers.all(b"cache-status"), NAME + b"; " + status])
    # RFC 9110 §7.7: nobody behind may change the content either.
    fixed = b"no-transform" in b",".join(response.headers.all(b"cache-control")).lower()
    said = ((b"Cache-Control", DOWNSTREAM_FIXED if fixed else DOWNSTREAM), (b"Cache-Status", member))
    response = response.with_headers(response.headers.with_fields(*said, without=(b"Expires", b"Pragma")))
    if response.status == 200 and if_none_match and has_it(if_none_match, response.headers.get(b"etag")):
        return _not_modified(response)
    return response


def _not_modified(response: Response) -> Response:
    """The 304 for a response (RFC 9110 §15.4.5)."""
    kept = _OF_304 if response.origin is Origin.MEMORY else _OF_304_TO_ITS_ASKER
    headers = Headers(tuple(pair for pair in response.headers if pair[0].lower() in kept))
    return Response(304, headers, b"", response.origin)
