"""Dates in HTTP fields (RFC 9110 §5.6.7). Pure."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime


def seconds_of(date: bytes | None) -> float | None:
    """Parse an HTTP-date into seconds since the epoch; None if it is absent or invalid.

    A date without a zone, as in the obsolete asctime form, is in UTC.
    """
    if date is None:
        return None
    try:
        moment = parsedate_to_datetime(date.decode("ascii"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
