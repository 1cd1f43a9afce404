"""Date and ETag of a response, as clients and the cache get them. Pure."""

from __future__ import annotations

from email.utils import formatdate
from hashlib import blake2b

from ..contract.answers import is_json
from ..contract.contract import Operation
from ..http.dates import seconds_of
from ..http.messages import Headers, Response

_TAGGED = frozenset({200, 201})


def entity_tag(content_type: bytes, body: bytes) -> bytes:
    """A strong entity tag (RFC 9110 §8.8.3): it differs whenever the bytes or the media type differ.

    The upstream's own tags are weak, and a weak tag never satisfies If-Match (§13.1.1). The proxy decides byte by byte
    what clients get, so it can give strong ones.
    """
    digest = blake2b(content_type.lower(), digest_size=16)
    digest.update(b"\0")
    digest.update(body)
    return b'"%b"' % digest.hexdigest().encode()


def tagged(operation: Operation, response: Response) -> Response:
    """Replace the upstream's entity tag with the proxy's own.

    Of responses to writes only JSON gets one: that is the record's current state. The page that says "deleted" is not
    a representation of anything.
    """
    headers = response.headers
    content_type = headers.get(b"content-type") or b""
    if response.status in _TAGGED and (operation.is_read or is_json(_media_type(content_type))):
        return response.having(b"ETag", entity_tag(content_type, response.body))
    return response if headers.get(b"etag") is None else _without(response, b"ETag")


def _media_type(content_type: bytes) -> str:
    return content_type.split(b";")[0].strip().decode("latin-1")


def dated(response: Response, received: float) -> Response:
    """Add a Date, the time of receipt, if the upstream gave none that can be parsed (RFC 9110 §6.6.1).

    The cache stores it, so a cache hit does not look as if it was made just now.

    :param received: seconds since the epoch.
    """
    if seconds_of(response.headers.get(b"date")) is not None:
        return response
    return response.having(b"Date", formatdate(int(received), usegmt=True).encode("ascii"))


def _without(response: Response, name: bytes) -> Response:
    headers: Headers = response.headers.without(name)
    return Response(response.status, headers, response.body, response.origin)
