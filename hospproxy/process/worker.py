"""One thread that does the blocking work of one part, one task after another."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

T = TypeVar("T")


class TaskRunner(Protocol):
    """Runs blocking tasks one after another, so that the reactor is not blocked."""

    def run(self, task: Callable[[], T]) -> Deferred[T]:
        """Run a task after those given before; fires in the reactor's thread with its result."""

    def stop(self) -> None:
        """End after the tasks that were given; no task may follow."""


class TaskThread:
    """A thread of its own, which starts with the first task.

    Not earlier: ``twistd`` forks between building the service and starting it, and a thread does not survive a fork.
    It is a daemon thread, so that a start that fails half-way can still end the process.

    :param name: of the thread, shown by tools that inspect the process.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._name = name
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def run(self, task: Callable[[], T]) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        self._tasks.put((task, done))
        if self._thread is None:
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        return done

    def stop(self) -> None:
        self._tasks.put(None)

    def _work(self) -> None:
        while (given := self._tasks.get()) is not None:
            task, done = given
            try:
                result = task()
            except BaseException:
                self._reactor.callFromThread(done.errback, Failure())
            else:
                self._reactor.callFromThread(done.callback, result)


class BriefThread:
    """A thread for each task, which ends with it: a process that forks others must have none at that time.

    :param name: as for ``TaskThread``.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str) -> None:
        self._reactor = reactor
        self._name = name

    def run(self, task: Callable[[], T]) -> Deferred[T]:
        thread = TaskThread(self._reactor, self._name)
        done = thread.run(task)
        thread.stop()
        return done

    def stop(self) -> None:
        """Do nothing: each thread ends by itself."""
