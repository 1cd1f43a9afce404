"""What the process does when it is told something from outside.

twistd's own handlers end the process by the signal itself (status 143) on SIGTERM, and SIGHUP kills it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning

from .ending import end_within

_stopping: list[bool] = []
"""Not empty once a signal to stop has come: a second one does not put the end off."""


def install(reactor: Any, reload: Callable[[], None], stop_s: float) -> None:
    """SIGTERM and SIGINT stop the reactor, which drains and exits 0; SIGHUP reads certificates again.

    :param reactor: the running one; called in its thread.
    :param stop_s: seconds from the first SIGTERM after which the process ends, whatever hangs in it.
    """

    def stop(_number: int, _frame: object) -> None:
        # Here, not in the reactor's thread of events: that may be what hangs.
        if not _stopping:
            _stopping.append(True)
            end_within(stop_s)
        reactor.callFromThread(stop_once, reactor)

    def again(_number: int, _frame: object) -> None:
        reactor.callFromThread(reload)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, again)


def stop_once(reactor: Any) -> None:
    """Stop the reactor, unless it is being stopped: the same is said by more than one who may."""
    with suppress(ReactorNotRunning):
        reactor.stop()
