"""The phases that each HTTP/1.1 connection passes through, from idle to gone."""

from __future__ import annotations

import enum


class Phase(enum.IntEnum):
    """In the order in which a connection passes through them; IDLE to ANSWERING repeats for each request."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    ANSWERING = 3
    CLOSING = 4
    GONE = 5
