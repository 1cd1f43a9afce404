"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): parsed leniently, refused when malformed. Pure."""

from __future__ import annotations

import re

from ...exchange.exchange import Identified
from ...http.errors import Refused
from ...http.messages import Headers, Response

MAX_LENGTH = 255
_STRING = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~:/=@-]+")


def key_in(headers: Headers) -> bytes | None:
    """The key of a request, or None.

    Either a structured-field string (RFC 9651 §3.3.3), or the bare token that most clients send.

    :raise Refused: 400: empty, too long, or neither of the two.
    """
    values = headers.all(b"idempotency-key")
    if not values:
        return None
    value = values[0]
    quoted = _STRING.fullmatch(value)
    key = re.sub(rb"\\(.)", rb"\1", quoted[1]) if quoted else value
    if len(values) > 1 or not 0 < len(key) <= MAX_LENGTH or not (quoted or _TOKEN.fullmatch(value)):
        raise Refused(
            f"An Idempotency-Key must be one quoted string, or one word, of at most {MAX_LENGTH} characters.",
            field="Idempotency-Key",
        )
    return key


def busy() -> Refused:
    """409: a request with this key is in flight."""
    return Refused("A request with this Idempotency-Key is in progress.", status=409, field="Idempotency-Key")


def another() -> Refused:
    """422: the key was used for another request."""
    return Refused("This Idempotency-Key was used for another request.", status=422, field="Idempotency-Key")


def is_kept(response: Response) -> bool:
    """Whether a response is final for its key: success, or a definite refusal.

    401, 408 and 429 mean "not now" and say nothing about the write.
    """
    status = response.status
    return 200 <= status < 300 or (400 <= status < 500 and status not in (401, 408, 429))


def scoped(exchange: Identified, key: bytes) -> bytes:
    """A key prefixed with its owner: two people may choose the same key."""
    if exchange.identity is not None:
        who: bytes | None = repr(exchange.identity.id).encode()
    else:  # no HMAC of the credentials exists if identity is switched off
        who = exchange.credentials or exchange.call.authorization
    return b"key " + (who or b"") + b"\0" + key
