"""How the code of a process learns that it is dead, and how what it leaves is closed."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from twisted.logger import globalLogPublisher


class Killed(BaseException):
    """Raised where a dead process would touch its machine. Nothing that it does on the way out has an effect."""


def close_coroutines() -> None:
    """Close every coroutine that was begun since ``gc.freeze`` and waits for something.

    What is theirs must be dead: their ``finally`` runs here. Those that nobody awaits come first, and close what they
    await themselves.
    """
    waiting = [
        each for each in gc.get_objects() if isinstance(each, types.CoroutineType) and each.cr_suspended
    ]
    awaited = {id(each.cr_await) for each in waiting}
    for each in sorted(waiting, key=lambda one: id(one) in awaited):
        with suppress(BaseException):
            each.close()


@contextmanager
def silence() -> Iterator[None]:
    """What the dead say is not logged."""
    observers, globalLogPublisher._observers = globalLogPublisher._observers, []
    try:
        yield
    finally:
        globalLogPublisher._observers = observers
