"""Dates in HTTP fields (RFC 9110 §5.6.7). Pure."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

_USUAL_BYTES = 64


def seconds_of(date: bytes | None) -> float | None:
    """Parse an HTTP-date into seconds since the epoch; None if it is absent or invalid.

    A date without a zone, as in the obsolete asctime form, is in UTC.
    """
    if date is None:
        return None
    return _parsed(date) if len(date) > _USUAL_BYTES else _remembered(date)


def _parsed(date: bytes) -> float | None:
    try:
        moment = parsedate_to_datetime(date.decode("ascii"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


_remembered = lru_cache(maxsize=64)(_parsed)
"""The same second occurs in many responses, and more than once in each."""
