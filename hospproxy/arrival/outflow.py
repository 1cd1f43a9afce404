"""What has been written and the client has not taken yet."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from .budget import BodyBudget


@implementer(IPushProducer)
class Outflow:
    """Registered with the transport as a producer, which is how Twisted tells that its buffer is full.

    Until there is room again no further request of the connection is answered, and an absolute clock runs.

    :param timeout_s: how long a client may take over what is in the buffer.
    :param on_room: called when it has taken it.
    """

    __slots__ = (
        "__weakref__", "_budget", "_clock", "_gone", "_held", "_on_room", "_on_taken", "_size", "_timeout_s",
        "deadline",
    )  # fmt: skip

    def __init__(
        self, clock: IReactorTime, budget: BodyBudget, timeout_s: float, on_room: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._budget = budget
        self._timeout_s = timeout_s
        self._on_room = on_room
        self._size = 0
        self._held = 0
        self._gone = False
        self._on_taken: Callable[[bool], None] | None = None
        self.deadline: float | None = None

    @property
    def blocked(self) -> bool:
        return self.deadline is not None

    def expect(self, size: int) -> None:
        """An answer of this many bytes is about to be written."""
        self._size = size

    def when_taken(self, tell: Callable[[bool], None]) -> None:
        """Tell whoever made an answer when it is with the client, as far as a socket knows, or that it is lost.

        A short one leaves the process in the reactor's next round, so a round after that; a long one when there is
        room again.
        """

        if self.blocked:
            self._on_taken = tell
        else:
            self._clock.callLater(0, lambda: self._clock.callLater(0, lambda: tell(not self._gone)))

    def pauseProducing(self) -> None:
        if self.deadline is None:
            self.deadline = self._clock.seconds() + self._timeout_s
            self._held = self._size
            self._budget.hold_answer(self._held)

    def resumeProducing(self) -> None:
        if self.deadline is not None:
            self._let_go()
            taken, self._on_taken = self._on_taken, None
            if taken is not None:
                taken(True)
            self._on_room()

    def stopProducing(self) -> None:
        """The connection is gone, or going: nothing is held for it any longer."""
        self._gone = True
        lost, self._on_taken = self._on_taken, None
        if lost is not None:
            lost(False)
        self._let_go()

    def _let_go(self) -> None:
        self.deadline = None
        held, self._held = self._held, 0
        self._budget.let_go(held)
