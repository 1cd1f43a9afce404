"""The handlers of SIGTERM, SIGINT and SIGHUP.

twistd's own handlers end the process by the signal itself on SIGTERM (status 143), and SIGHUP kills it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning

from .shutdown import end_within

_stopping: list[bool] = []
"""Not empty once a stop signal has come: a second signal must not extend the deadline."""


def install(reactor: Any, reload: Callable[[], None], stop_s: float) -> None:
    """SIGTERM and SIGINT stop the reactor, which drains and exits 0; SIGHUP reloads options, certificates and secrets.

    :param reactor: the running one; call this in its thread.
    :param stop_s: seconds from the first SIGTERM or SIGINT after which the process ends, even if something hangs.
    """

    def stop(_number: int, _frame: object) -> None:
        # Here, not through the reactor: its event loop may be what hangs.
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
    """Stop the reactor unless it is stopping already: signals, the supervisor and a lost channel all call this."""
    with suppress(ReactorNotRunning):
        reactor.stop()
