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
    """Raised where a dead process would touch its machine. Nothing that it does on the way out has an effect."""


def close_coroutines() -> None:
    """Close every coroutine that was begun since ``gc.freeze`` and waits for something.

    What is theirs must be dead: their ``finally`` runs here. Those that nobody awaits come first, and close what they
    await themselves. A test runner's own coroutines are left alone: they report what became of the test.
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
    """Let no failure of a dead Deferred be logged when it is collected, in the middle of another world or test."""
    for each in gc.get_objects():
        if isinstance(each, Deferred) and (noted := getattr(each, "_debugInfo", None)) is not None:
            noted.failResult = None


def be_quiet() -> None:
    """Log to nobody, in a forked child. What observes its parent's log may write to a pipe of the parent's."""
    globalLogPublisher._observers = []


def _is_runners(coroutine: types.CoroutineType[Any, Any, Any]) -> bool:
    return _RUNNER in coroutine.cr_code.co_filename


@contextmanager
def silence() -> Iterator[None]:
    """What the dead say is not logged."""
    observers, globalLogPublisher._observers = globalLogPublisher._observers, []
    try:
        yield
    finally:
        globalLogPublisher._observers = observers
