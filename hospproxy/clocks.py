"""Two clocks: a monotonic one for waits, and the wall's for records.

Twisted's own reactors measure waits with ``time.time``: with the clock set back two seconds, a timer of 0.3 s fired
after 2.3 s. An operator or NTP who sets the clock must neither stall time-outs nor end every request at once.
"""

from __future__ import annotations

import time
from typing import Any


def wall() -> float:
    """Seconds since the epoch, for records only: it may jump."""
    return time.time()


def since_boot() -> float:
    """Monotonic seconds that one process of this machine and the next agree on, until it boots anew.

    What a reactor shows is not the same in two processes: it begins at the wall clock's reading.
    """
    return time.monotonic()


def install_monotonic(reactor: Any) -> None:
    """Let a reactor measure every wait with the monotonic clock.

    ``ReactorBase`` reads the time through ``self.seconds`` alone (``callLater``, ``timeout``, ``runUntilCurrent``, and
    the asyncio reactor too), so an attribute of the instance suffices. The new clock begins at the old one's
    reading and only advances otherwise: so timers that are set already keep their times, the reactor's heap
    stays a heap, and what takes ``reactor.seconds()`` for a date is not far off. A second call does nothing, and a
    clock that is not ``time.time`` (a test's) is left alone.

    :param reactor: any ``IReactorTime``.
    """
    if reactor.seconds is not time.time:
        return
    offset: float = time.time() - time.monotonic()

    def seconds() -> float:
        return offset + time.monotonic()

    reactor.seconds = seconds
    for call in reactor.getDelayedCalls():
        # reset() of a timer reckons from the clock that the timer was given when it was set.
        call.seconds = seconds
