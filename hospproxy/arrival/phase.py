"""Where a connection stands."""

from __future__ import annotations

import enum


class Phase(enum.IntEnum):
    """In the order in which a connection goes through them; from IDLE to ANSWERING again and again."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    ANSWERING = 3
    CLOSING = 4
    GONE = 5
