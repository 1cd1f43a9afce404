"""Malformed, ambiguous and merely unusual requests, byte for byte, with the required result of each.

Each case names the section of the RFC (9110 or 9112) that it is about. ``ALL`` holds every case.
"""

from __future__ import annotations

from . import chunked, connection, fields, framing, hosts, lines, targets
from .case import LIMITS, Case, body_limit

ALL: tuple[Case, ...] = (
    *lines.CASES,
    *targets.CASES,
    *hosts.CASES,
    *fields.CASES,
    *framing.CASES,
    *chunked.CASES,
    *connection.CASES,
)

__all__ = ["ALL", "LIMITS", "Case", "body_limit"]
