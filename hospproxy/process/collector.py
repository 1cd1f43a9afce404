"""Tune the garbage collector: it runs rarely while a process starts, and ignores what the start made afterwards."""

from __future__ import annotations

import gc

_WHILE_STARTING = 100_000
_WHILE_SERVING = 10_000
"""Net number of new objects after which the youngest generation is collected."""


def begin_start() -> None:
    """Call first in a process. ``end_start`` sets the threshold for serving."""
    # Most objects that a start makes belong to modules and classes, and stay. Python's default is to look for cycles
    # after every 700 of them, which takes a tenth of the start.
    gc.set_threshold(_WHILE_STARTING, 10, 10)


def end_start() -> None:
    """Call once the service has started: objects made until now stay."""
    # A full collection would traverse them all: 37 ms without a response. Requests that wait for their audit records
    # cause many collections.
    gc.freeze()
    # Waiting requests hold thousands of objects for some milliseconds, without cycles. Looking for cycles after every
    # 700 new objects costs a request as much as describing it for its record.
    gc.set_threshold(_WHILE_SERVING, 10, 10)
