"""Two clocks: a monotonic one for waits, and the wall clock for records.

Twisted's own reactors measure waits with ``time.time``: when the clock was set back two seconds, a timer of 0.3 s
fired after 2.3 s. Setting the clock, by an operator or NTP, must neither delay timeouts nor end every request at
once.
"""

from __future__ import annotations

import time
from typing import Any


def wall() -> float:
    """Return seconds since the epoch, for records only: this clock may jump."""
    return time.time()


def since_boot() -> float:
    """Return monotonic seconds on which all processes of this machine agree until it reboots.

    A reactor's clock differs between processes: it starts at the wall clock's reading.
    """
    return time.monotonic()


def install_monotonic(reactor: Any) -> None:
    """Make a reactor measure every wait with the monotonic clock.

    ``ReactorBase`` reads the time only through ``self.seconds`` (``callLater``, ``timeout``, ``runUntilCurrent``, and
    the asyncio reactor too), so an attribute of the instance is enough. The new clock starts at the old one's reading
    and never goes back. So timers that are already set keep their times, the reactor's heap stays valid, and code
    that takes ``reactor.seconds()`` for a date is not far off. A second call does nothing, and a clock that is not
    ``time.time`` (in tests) is left alone.

    :param reactor: any ``IReactorTime``.
    """
    if reactor.seconds is not time.time:
        return
    offset: float = time.time() - time.monotonic()

    def seconds() -> float:
        return offset + time.monotonic()

    reactor.seconds = seconds
    for call in reactor.getDelayedCalls():
        # A timer's reset() uses the clock that the timer got when it was set.
        call.seconds = seconds
