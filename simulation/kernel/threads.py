"""Threads as events: each task runs at one moment, and its end is delivered later."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from .death import Killed
from .interfaces import SimulatedProcess

if TYPE_CHECKING:
    from hospproxy.record.trail.files import JournalFile

T = TypeVar("T")
_SWITCH_S = (0.00002, 0.0003)
"""Seconds until a thread has noticed a task."""


class VirtualWorker:
    """Does the work of a thread. See ``hospproxy.process.worker.TaskThread``.

    Seams at which a process may die: ``before NAME`` and ``after NAME`` of each task, and those of its disk within.

    :param name: of the thread.
    """

    def __init__(self, process: SimulatedProcess, name: str) -> None:
        self._process = process
        self._name = name
        self._tasks: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()
        self._busy = False
        process.keep(self)

    def run(self, task: Callable[[], T]) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        self._tasks.append((task, done))
        self._next()
        return done

    def stop(self) -> None:
        """Nothing to release."""

    def _next(self) -> None:
        if self._busy or not self._tasks:
            return
        self._busy = True
        pause = self._process.random("threads").uniform(*_SWITCH_S)
        self._process.reactor.callLater(pause, self._do)

    def _do(self) -> None:
        task, done = self._tasks.popleft()
        process = self._process
        process.task = self._name
        process.reach(f"before {self._name}")
        process.machine.disk.begin()
        result: Any
        try:
            result = task()
        except Killed:
            raise
        except BaseException:
            result = Failure()
        finally:
            process.task = ""
        process.must_live()
        takes = process.machine.disk.end()
        process.reactor.callLater(takes, self._over, done, result)

    def _over(self, done: Deferred[Any], result: Any) -> None:
        self._process.reach(f"after {self._name}")
        self._busy = False
        self._next()
        if isinstance(result, Failure):
            done.errback(result)
        else:
            done.callback(result)


class VirtualRing:
    """Appends to the record without a thread. See ``hospproxy.record.trail.uring.Uring``."""

    def __init__(self, process: SimulatedProcess) -> None:
        self._process = process
        process.keep(self)

    def write(self, file: JournalFile, data: bytes, offset: int, completed: Callable[[int], None]) -> None:
        self._process.reactor.callLater(0.00002, self._do, file, data, offset, completed)

    def close(self) -> None:
        """Nothing to release."""

    def _do(self, file: JournalFile, data: bytes, offset: int, completed: Callable[[int], None]) -> None:
        process = self._process
        process.task = "ring"
        process.reach("before ring")
        process.machine.disk.begin()
        try:
            result = os.pwrite(file.fileno(), data, offset)
        except OSError as error:
            result = -(error.errno or 5)
        finally:
            process.task = ""
        process.must_live()
        takes = process.machine.disk.end()
        process.reactor.callLater(takes, self._over, completed, result)

    def _over(self, completed: Callable[[int], None], result: int) -> None:
        self._process.reach("after ring")
        completed(result)
