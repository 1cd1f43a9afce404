"""Stop the process: each step of a stop has a time limit, and nothing that hangs can keep the process alive."""

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
"""Seconds beyond ``drain_s`` in which a process always ends; audit sinks have a part of them."""
STEPS_S: Final = 7.25
"""Seconds for all steps of the service that follow once no client is being answered: the sum of what they need.

With ``DRAINED_S`` and the time of a worker's last messages it is less than ``GRACE_S``.
"""
_LEAST_S: Final = 0.05
"""Seconds that a step has even if earlier steps used up all the time."""
_STDERR: Final = 2


@frozen(slots=True)
class Step:
    """One step of a stop, for ``end_in_order``.

    :param name: for the log.
    :param run: ends a part of the service. It gets the seconds that it has, and may return a Deferred or a coroutine.
    :param needs_s: seconds that are reserved for this step, however long earlier steps take.
    """

    name: str
    run: Callable[[float], Any]
    needs_s: float = 0.0


async def end_in_order(steps: Sequence[Step], clock: IReactorTime, within_s: float) -> list[str]:
    """Run the steps of a stop, one after another.

    A step that fails or is late is logged, and the next one runs. A late step is not cancelled: it may be a write.
    Time that a step does not use is left for those after it.

    :param within_s: seconds for all steps.
    :return: names of the steps that failed or were late.
    """
    until, left = clock.seconds() + within_s, []
    for number, step in enumerate(steps):
        kept_s = sum(later.needs_s for later in steps[number + 1 :])
        has_s = max(_LEAST_S, until - clock.seconds() - kept_s)
        if not await _ended(step, clock, has_s):
            left.append(step.name)
    return left


async def _ended(step: Step, clock: IReactorTime, has_s: float) -> bool:
    """Run one step; return whether it succeeded in time."""
    over: Deferred[bool] = Deferred()

    def done(result: Any) -> None:
        if isinstance(result, Failure):
            _log.failure("stop: step {step} failed; going on with the next step", result, step=step.name)
        if timer.active():
            timer.cancel()
            over.callback(not isinstance(result, Failure))

    def late() -> None:
        _log.error(
            "stop: step {step} did not end in {has_s:.1f} s; going on with the next step",
            step=step.name,
            has_s=has_s,
        )
        over.callback(False)

    timer = clock.callLater(has_s, late)
    maybeDeferred(step.run, has_s).addBoth(done)
    return await over


def end_within(seconds: float) -> None:
    """End this process after this many seconds, even if a thread, a disk or the interpreter's shutdown hangs.

    Call it when a stop begins. At the deadline it prints the stack of each thread to stderr and exits with status 1.
    If that is impossible too, the kernel ends the process a second later (SIGALRM).

    :param seconds: more than an orderly stop takes.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + 1.0)


def leave(status: int) -> None:
    """Exit now, without the interpreter's shutdown: that waits for locks which a hanging thread may hold."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def leave_at_exit(status: Callable[[], int | None]) -> None:
    """Choose the exit status after an orderly stop; twistd alone always exits with 0.

    :param status: called at exit; None lets the interpreter end as usual.
    """

    def leaving() -> None:
        chosen = status()
        if chosen is not None:
            leave(chosen)

    atexit.register(leaving)
