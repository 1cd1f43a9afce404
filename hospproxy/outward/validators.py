"""When an answer was made and what names its content: Date and ETag, as clients and memory get them. Pure."""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime
from hashlib import blake2b

from ..contract import Operation
from ..contract_answers import is_json
from ..messages import Headers, Response

_TAGGED = frozenset({200, 201})


def entity_tag(content_type: bytes, body: bytes) -> bytes:
    """A strong entity tag (RFC 9110 §8.8.3): other bytes, or another type, have another one.

    The upstream's own tags are weak, and a weak tag never satisfies If-Match (§13.1.1). What clients get is decided
    here, byte by byte, so the proxy can give strong ones.
    """
    digest = blake2b(content_type.lower(), digest_size=16)
    digest.update(b"\0")
    digest.update(body)
    return b'"%b"' % digest.hexdigest().encode()


def tagged(operation: Operation, response: Response) -> Response:
    """An answer with the proxy's own tag in the place of the upstream's.

    Of writes only JSON is tagged: that is the record as it is now. The page that says "deleted" names nothing.
    """
    headers = response.headers
    content_type = headers.get(b"content-type") or b""
    media_type = content_type.split(b";")[0].strip().decode("latin-1")
    if response.status in _TAGGED and (operation.is_read or is_json(media_type)):
        return response.having(b"ETag", entity_tag(content_type, response.body))
    return response if headers.get(b"etag") is None else _without(response, b"ETag")


def dated(response: Response, received: float) -> Response:
    """An answer with a Date: the time of its receipt where the upstream gave none that can be read (RFC 9110 §6.6.1).

    Memory keeps it, so that a hit does not seem to be made when it is given out.

    :param received: seconds since the epoch.
    """
    if seconds_of(response.headers.get(b"date")) is not None:
        return response
    return response.having(b"Date", formatdate(int(received), usegmt=True).encode("ascii"))


def seconds_of(date: bytes | None) -> float | None:
    """An HTTP-date (RFC 9110 §5.6.7) in seconds since the epoch; None for what is none."""
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date.decode("ascii")).timestamp()
    except (ValueError, TypeError, OverflowError, UnicodeDecodeError):
        return None


def _without(response: Response, name: bytes) -> Response:
    headers: Headers = response.headers.without(name)
    return Response(response.status, headers, response.body, response.origin)
