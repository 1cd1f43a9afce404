"""Retry-After (RFC 9110 §10.2.3): parse it, and add it to responses that need it. Pure."""

from __future__ import annotations

from .dates import seconds_of
from .messages import Headers, Response

DUE = frozenset({429, 503})
"""Statuses whose response needs a Retry-After."""
USUAL_S = 5
"""Value in seconds if the upstream sends none: its mean response time is 4.5 s."""
MOST_S = 86_400.0
"""Larger values, in seconds, are ignored: a client that followed them would be locked out."""


def seconds_until(retry_after: str, now: float) -> float | None:
    """Return the value of a Retry-After in seconds from now (RFC 9110 §10.2.3); None if it is malformed."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), 1e9)
    moment = seconds_of(text.encode("latin-1", "replace"))
    return None if moment is None else max(0.0, moment - now)


def retry_after_s(headers: Headers) -> float | None:
    """Return the seconds after which the sender of a response wants another attempt.

    A date is compared with the response's own Date: the sender wrote both, and its clock may be wrong.

    :return: None if there is no Retry-After, or no usable one.
    """
    given = headers.get(b"retry-after")
    if given is None:
        return None
    text = given.decode("latin-1")
    now = 0.0 if text.strip().isdigit() else seconds_of(headers.get(b"date"))
    if now is None:
        return None
    after_s = seconds_until(text, now)
    return after_s if after_s is not None and after_s <= MOST_S else None


def with_retry_after(response: Response) -> Response:
    """Return the response, with a Retry-After if its status needs one and it has no usable one."""
    if response.status not in DUE or retry_after_s(response.headers) is not None:
        return response
    return response.having(b"Retry-After", b"%d" % USUAL_S)
