"""How the code of a process learns that it is dead, and how what it leaves is closed."""

from __future__ import annotations

import gc
import os
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

_RUNNER = f"{os.sep}twisted{os.sep}trial{os.sep}"


class Killed(BaseException):
    """Raised when a dead process would touch its machine. Nothing that it does while unwinding has an effect."""


def close_coroutines() -> None:
    """Close every coroutine that was started since ``gc.freeze`` and waits for something.

    Their owners must be dead: their ``finally`` blocks run here. Coroutines that nobody awaits come first, and close
    those that they await. A test runner's own coroutines are left alone: they report the result of the test.
    """
    waiting = [
        each
        for each in gc.get_objects()
        if isinstance(each, types.CoroutineType) and each.cr_suspended and not _is_runners(each)
    ]
    awaited = {id(each.cr_await) for each in waiting}
    for each in sorted(waiting, key=lambda one: id(one) in awaited):
        with suppress(BaseException):
            each.close()


def forgive() -> None:
    """Keep failures of dead Deferreds out of the log when they are collected, in another world or test."""
    for each in gc.get_objects():
        if isinstance(each, Deferred) and (noted := getattr(each, "_debugInfo", None)) is not None:
            noted.failResult = None


def be_quiet() -> None:
    """Remove log observers in a forked child: the parent's observers may write to a pipe of the parent's."""
    globalLogPublisher._observers = []


def _is_runners(coroutine: types.CoroutineType[Any, Any, Any]) -> bool:
    return _RUNNER in coroutine.cr_code.co_filename


@contextmanager
def silence() -> Iterator[None]:
    """Do not log what dead processes log."""
    observers, globalLogPublisher._observers = globalLogPublisher._observers, []
    try:
        yield
    finally:
        globalLogPublisher._observers = observers
