"""Retry-After (RFC 9110 §10.2.3): what another server says with it, and answers that ought to have one. Pure."""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

from .messages import Headers, Response

DUE = frozenset({429, 503})
"""Statuses that tell a client to come back, and so when."""
USUAL_S = 5
"""Seconds to say where the upstream says nothing: its mean answer takes 4.5 s."""
MOST_S = 86_400.0
"""Seconds beyond which a value is no advice: a client that believed it would be locked out."""


def seconds_until(retry_after: str, now: float) -> float | None:
    """What a Retry-After says (RFC 9110 §10.2.3), in seconds from now; None for nonsense."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), 1e9)
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def retry_after_s(headers: Headers) -> float | None:
    """Seconds after which the sender of an answer wants to be asked again.

    A date is held against the answer's own Date: the sender's clock may be wrong, and it wrote both.

    :return: None where it does not say so, or says nonsense.
    """
    given = headers.get(b"retry-after")
    if given is None:
        return None
    text = given.decode("latin-1")
    now = 0.0
    if not text.strip().isdigit():
        try:
            now = parsedate_to_datetime((headers.get(b"date") or b"").decode("latin-1")).timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
    after_s = seconds_until(text, now)
    return after_s if after_s is not None and after_s <= MOST_S else None


def with_retry_after(response: Response) -> Response:
    """The answer, with a Retry-After where its status asks for one and it has none that can be used."""
    if response.status not in DUE or retry_after_s(response.headers) is not None:
        return response
    return response.having(b"Retry-After", b"%d" % USUAL_S)
