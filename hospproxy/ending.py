"""How the process ends: every step of a stop has its time, and nothing that hangs can keep the process alive."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()
GRACE_S: Final = 10.0
"""Seconds beyond ``drain_s`` in which a process ends, whatever it does: the record's writers have a part of it."""
_LEAST_S: Final = 0.05
"""Seconds that a step has even if those before it have used up all the time."""
_STDERR: Final = 2


@frozen(slots=True)
class Step:
    """One part of a stop.

    :param name: for the log.
    :param run: ends the part. It is given the seconds that it has, and may give a Deferred or a coroutine.
    :param needs_s: seconds that are kept for this step, however long those before it take.
    """

    name: str
    run: Callable[[float], Any]
    needs_s: float = 0.0


async def end_in_order(steps: Sequence[Step], clock: IReactorTime, within_s: float) -> list[str]:
    """Run the steps of a stop, one after another.

    A step that fails, or does not end in its time, is logged, and the next one runs. One that is late is not cancelled:
    it may be a write. Time that a step does not need is left to those after it.

    :param within_s: seconds for all of them.
    :return: names of the steps that failed or did not end.
    """
    until, left = clock.seconds() + within_s, []
    for number, step in enumerate(steps):
        kept_s = sum(later.needs_s for later in steps[number + 1 :])
        has_s = max(_LEAST_S, until - clock.seconds() - kept_s)
        if not await _ended(step, clock, has_s):
            left.append(step.name)
    return left


async def _ended(step: Step, clock: IReactorTime, has_s: float) -> bool:
    """Run one step; whether it ended well and in time."""
    over: Deferred[bool] = Deferred()

    def done(result: Any) -> None:
        if isinstance(result, Failure):
            _log.failure("stop: {step} failed; the stop goes on", result, step=step.name)
        if timer.active():
            timer.cancel()
            over.callback(not isinstance(result, Failure))

    def late() -> None:
        _log.error("stop: {step} did not end in {has_s:.1f} s; the stop goes on", step=step.name, has_s=has_s)
        over.callback(False)

    timer = clock.callLater(has_s, late)
    maybeDeferred(step.run, has_s).addBoth(done)
    return await over


def end_within(seconds: float) -> None:
    """End this process after so many seconds, even if a thread, a disk or the end of the interpreter hangs.

    To be called when a stop begins. It prints where each thread stands to stderr and exits with status 1. Should that
    be impossible too, the kernel ends the process a second later.

    :param seconds: more than an orderly stop takes.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + 1.0)


def leave(status: int) -> None:
    """End now, without the end of the interpreter: that waits for locks which a thread that hangs may hold."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def leave_at_exit(status: Callable[[], int | None]) -> None:
    """Choose the exit status when the process has ended in order; twistd alone always ends with 0.

    :param status: asked then; None: let the interpreter end as usual.
    """

    def leaving() -> None:
        chosen = status()
        if chosen is not None:
            leave(chosen)

    atexit.register(leaving)
