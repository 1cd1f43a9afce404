"""One heap of all future events, in the order of time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

Heap = list[tuple[float, int, "Event"]]


@implementer(IDelayedCall)
class Event:
    """Something that is going to happen once.

    :param owner: whose code runs then; nothing happens once it is dead.
    """

    __slots__ = ("_called", "_cancelled", "_events", "arguments", "function", "keywords", "owner", "time")

    def __init__(
        self,
        events: Events,
        time: float,
        owner: Owner | None,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        self.time = time
        self.owner = owner
        self.function: Callable[..., Any] | None = function
        self.arguments = arguments
        self.keywords = keywords
        self._events = events
        self._called = self._cancelled = False

    def getTime(self) -> float:
        return self.time

    def active(self) -> bool:
        return not (self._called or self._cancelled)

    def cancel(self) -> None:
        self._must_be_active()
        self._cancelled = True
        self.function, self.arguments, self.keywords = None, (), {}

    def reset(self, secondsFromNow: float) -> None:
        self._must_be_active()
        self._put(self._events.now + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        self._must_be_active()
        self._put(self.time + secondsLater)

    def _must_be_active(self) -> None:
        if self._cancelled:
            raise AlreadyCancelled
        if self._called:
            raise AlreadyCalled

    def _put(self, time: float) -> None:
        self.time = time
        self._events.push(self)

    def begin(self) -> Callable[..., Any] | None:
        """What to call now, once."""
        self._called = True
        function, self.function = self.function, None
        return function


class Owner:
    """Whose code an event runs.

    :ivar alive: False from its end on: none of its code may run again.
    :ivar parked: what it would have done. It is kept, so that nothing of a dead process is collected while the
        simulation goes on: a coroutine's ``finally`` would run then.
    """

    alive = True

    def __init__(self) -> None:
        self.parked: list[Event] = []


class Events:
    """The heap. Of two events at one moment, the one that was set first comes first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: Heap = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def after(
        self,
        seconds: float,
        owner: Owner | None,
        function: Callable[..., Any],
        *arguments: Any,
        **keywords: Any,
    ) -> Event:
        """Set an event.

        :param seconds: from now; 0 for the next turn.
        """
        event = Event(self, self.now + max(0.0, seconds), owner, function, arguments, keywords)
        self.push(event)
        return event

    def push(self, event: Event) -> None:
        """Insert an event at its time; its old position is skipped."""
        self._number += 1
        heappush(self._heap, (event.time, self._number, event))

    def next(self, until: float) -> Event | None:
        """Take the next event and advance the time to it; None if there is none up to a moment."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            time, _, event = heappop(heap)
            if not event.active() or event.time != time:
                continue  # cancelled, or set to another time
            if event.owner is not None and not event.owner.alive:
                event.owner.parked.append(event)
                continue
            self.now = time
            return event
        return None

    def clear(self) -> None:
        """Remove all events."""
        self._heap.clear()

    def of(self, owner: Owner) -> list[Event]:
        """Pending events of an owner."""
        return [
            each
            for time, _, each in self._heap
            if each.owner is owner and each.active() and each.time == time
        ]
