"""Rules of arrival that use more than one limit of ``[arrival]``, and the limits that are no options."""

from __future__ import annotations

from typing import Final

from ..options.arrival_section import ArrivalSettings

RATE_AFTER_S: Final = 10.0
"""Seconds before a body's rate is judged: a phone that changes cells is silent for a while."""

MAX_PIPELINED_BYTES: Final = 16 * 1024
"""Bytes read ahead on one connection while its request is in flight."""


def body_time(limits: ArrivalSettings, size: int) -> tuple[float, str]:
    """Return when a body is late, in seconds from the end of the head, and the limit that sets this time.

    :param size: bytes of content received so far.
    """
    by_rate = RATE_AFTER_S + size / limits.min_body_rate if limits.min_body_rate else float("inf")
    if by_rate < limits.body_timeout_s:
        return by_rate, "min_body_rate"
    return limits.body_timeout_s, "body_timeout_s"
