"""Ends all coroutines and timers of a simulated process at one moment, as ``kill -9`` does.

If a test merely stops using a process, suspended coroutines stay behind. The garbage collector closes them later, and
their ``finally`` blocks then run in the middle of another process's work: they set timers, release slots, and write.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

T = TypeVar("T")
_CURRENT: ContextVar[Coroutines | None] = ContextVar(
    "the coroutines of the process that runs now", default=None
)
_MOST_AWAITS = 100
"""Awaits that one coroutine may make while it is closed, before that counts as an endless loop."""


class Coroutines:
    """Every coroutine that one simulated process has started, until it ends.

    ``run`` calls into the process. Each ``Deferred.fromCoroutine`` below it belongs to the process from then on, and
    so does each one that such a coroutine starts later, whatever resumes it.

    :ivar closed: the process has ended; none of its coroutines continues.
    """

    def __init__(self) -> None:
        self.closed = False
        self._open: dict[int, Coroutine[Any, Any, Any]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._open)

    def run(self, what: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call something as this process."""
        token = _CURRENT.set(self)
        try:
            return what(*args, **kwargs)
        finally:
            _CURRENT.reset(token)

    def close(self) -> None:
        """End the process: close its coroutines now, in the order in which they began. Their results are dropped."""
        self.closed = True
        self.run(self._close_all)

    def _close_all(self) -> None:
        for number, coroutine in list(self._open.items()):
            # A coroutine that is running has itself ended the process; it is closed at its next await.
            if not coroutine.cr_running:  # type: ignore[attr-defined]
                self._open.pop(number, None)
                _close(coroutine)

    def driven(self, coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Wrap a coroutine in a generator that never ends, and has no result, once the process has ended."""
        number = next(self._numbers)
        self._open[number] = coroutine
        step: Callable[[], Any] = partial(coroutine.send, None)
        while not self.closed:
            try:
                waits_for = step()
            except StopIteration as ended:
                self._open.pop(number, None)
                return ended.value  # type: ignore[no-any-return]
            except BaseException:
                self._open.pop(number, None)
                raise
            if self.closed:
                break
            try:
                step = partial(coroutine.send, (yield waits_for))
            except GeneratorExit:
                raise  # The generator was collected. The coroutine is closed when its process ends, not now.
            except BaseException as error:
                step = partial(coroutine.throw, error)
        if self._open.pop(number, None) is not None:
            _close(coroutine)
        while True:
            yield Deferred()


def _close(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run its ``finally`` blocks. Their errors are dropped, and an await in them ends at once."""
    for _ in range(_MOST_AWAITS):
        try:
            coroutine.close()
        except Exception:
            continue
        return
    raise AssertionError(f"{coroutine!r} cannot be closed")


_from_coroutine = Deferred.fromCoroutine


def _tracked(_cls: type[Deferred[T]], coroutine: Any) -> Deferred[T]:
    current = _CURRENT.get()
    if current is None or not hasattr(coroutine, "cr_running"):
        return _from_coroutine(coroutine)
    return _from_coroutine(current.driven(coroutine))


Deferred.fromCoroutine = classmethod(_tracked)  # type: ignore[assignment,method-assign,arg-type]


class ProcessTime:
    """The world's Clock as one process sees it; once the process has ended, none of its timers fires."""

    def __init__(self, world: Clock) -> None:
        self.world = world
        self.coroutines = Coroutines()

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self.coroutines.closed

    def run(self, what: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function as this process: the coroutines that it starts end with the process."""
        return self.coroutines.run(what, *args, **kwargs)

    def end(self) -> None:
        """End the process between two instructions: its timers and its coroutines."""
        self.coroutines.closed = True
        for call in [*self.world.calls]:
            if isinstance(call.func, _Timer) and call.func.owner is self:
                self.world.calls.remove(call)
                call.canceller = call.resetter = _nothing
        self.coroutines.close()

    def seconds(self) -> float:
        return self.world.seconds()

    def callLater(self, delay: float, what: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        timer = _Timer(self, what)
        if self.dead:
            # A "finally" block of a coroutine that is being closed sets a timer: it never fires.
            return DelayedCall(self.seconds() + delay, timer, args, kwargs, _nothing, _nothing, self.seconds)
        return self.world.callLater(delay, timer, *args, **kwargs)


class _Timer:
    """The function of a process's timer."""

    __slots__ = ("_what", "owner")

    def __init__(self, owner: ProcessTime, what: Callable[..., Any]) -> None:
        self.owner = owner
        self._what = what

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.owner.run(self._what, *args, **kwargs)


def _nothing(_call: Any) -> None:
    pass
