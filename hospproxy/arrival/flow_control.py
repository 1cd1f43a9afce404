"""Flow control for responses: what was written but not read by the client yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from .budget import BodyBudget

UNCOUNTED_BYTES: Final = 8 * 1024
"""Bytes that a transport may buffer before it reports a full buffer.

Twisted's default is 64 KiB; for 10,000 connections that would be 640 MiB outside the memory budget.
"""


def say_early(transport: Any) -> None:
    """Make a transport report a full buffer from UNCOUNTED_BYTES on.

    :param transport: TCP, or layers over it.
    """
    while hasattr(transport, "transport"):
        transport = transport.transport
    if hasattr(transport, "bufferSize"):
        transport.bufferSize = UNCOUNTED_BYTES


@implementer(IPushProducer)
class FlowControl:
    """Sends responses step by step, and measures how long the client takes to read them.

    It is registered with the transport as a producer: that is how Twisted reports a full buffer. While the buffer is
    full, no further request of the connection is answered, and an absolute deadline runs. The deadline is set anew
    only when a whole step was read: a client that reads a byte now and then is as slow as one that reads nothing.

    :param timeout_s: seconds that a client may take over one step.
    :param on_room: called when the client has read everything.
    :param step: bytes that are handed to the transport at one time.
    :ivar deadline: monotonic seconds by which the client must have read the current step; None if it is not blocked.
    :ivar since: monotonic seconds since when the client has been behind; None if it is not.
    """

    __slots__ = (
        "__weakref__", "_budget", "_clock", "_gone", "_held", "_on_room", "_on_taken", "_rest", "_size", "_step",
        "_timeout_s", "_transport", "deadline", "since",
    )  # fmt: skip

    def __init__(
        self,
        clock: IReactorTime,
        budget: BodyBudget,
        timeout_s: float,
        on_room: Callable[[], None],
        step: int = 64 * 1024,
    ) -> None:
        self._clock = clock
        self._budget = budget
        self._timeout_s = timeout_s
        self._on_room = on_room
        self._step = step
        self._rest: deque[memoryview] = deque()
        self._transport: Any = None
        self._size = 0
        self._held = 0
        self._gone = False
        self._on_taken: Callable[[bool], None] | None = None
        self.deadline: float | None = None
        self.since: float | None = None

    @property
    def blocked(self) -> bool:
        return self.deadline is not None

    def expect(self, size: int) -> None:
        """Announce that other code will write a piece of this many bytes."""
        self._size = size

    def send(self, transport: Any, pieces: Sequence[bytes]) -> None:
        """Write a response, step by step."""
        self._transport = transport
        if not self._rest and self.deadline is None and not self._gone:
            size = sum(map(len, pieces))
            if size <= self._step:
                self._size = size
                transport.writeSequence(pieces)
                return
        self._rest.extend(map(memoryview, pieces))
        if self.blocked:  # TLS collects small responses, so its buffer may have filled up since
            self._hold(self._held + sum(map(len, pieces)))
        else:
            self._push()

    def send_whole(self, transport: Any, response: bytes) -> None:
        """Do the same for a response in one piece."""
        size = len(response)
        if self._rest or self.deadline is not None or self._gone or size > self._step:
            self.send(transport, (response,))
            return
        self._transport, self._size = transport, size
        transport.write(response)

    def when_taken(self, tell: Callable[[bool], None]) -> None:
        """Call ``tell`` with True once the client has the response, as far as a socket shows, or False if it is lost.

        ``tell`` is called before any other request is read, if the transport has sent all of the response: the client
        may already have it, and send an equal write that is another one. Otherwise a short response leaves the process
        in the reactor's next iteration, so ``tell`` is called in the one after that. A long one is delivered when the
        transport's buffer has room again.
        """

        if self.blocked:
            self._on_taken = tell
        elif self._gone or getattr(self._transport, "has_sent_all", False):
            tell(not self._gone)
        else:
            self._clock.callLater(0, lambda: self._clock.callLater(0, lambda: tell(not self._gone)))

    def pauseProducing(self) -> None:
        """The buffer is full. If nothing was sent yet it is a TLS handshake, which has its own deadline."""
        if self.deadline is None and self._size:
            now = self._clock.seconds()
            self.deadline = now + self._timeout_s
            self.since = now if self.since is None else self.since
            self._hold(self._size + sum(map(len, self._rest)))

    def resumeProducing(self) -> None:
        if self.deadline is None:
            return
        self._let_go()
        self._push()
        if not self.blocked and not self._gone:
            self.since = None
            taken, self._on_taken = self._on_taken, None
            if taken is not None:
                taken(True)
            self._on_room()

    def stopProducing(self) -> None:
        """The connection is closed or closing: hold nothing for it any longer."""
        self._gone = True
        self._rest.clear()
        lost, self._on_taken = self._on_taken, None
        if lost is not None:
            lost(False)
        self._let_go()

    def _push(self) -> None:
        while self._rest and not self.blocked and not self._gone:
            pieces, self._size = [], 0
            while self._rest and self._size < self._step:
                piece = self._rest.popleft()
                room = self._step - self._size
                if len(piece) > room:
                    self._rest.appendleft(piece[room:])
                    piece = piece[:room]
                pieces.append(bytes(piece))
                self._size += len(piece)
            self._transport.writeSequence(pieces)

    def _hold(self, count: int) -> None:
        self._budget.hold(count - self._held)
        self._held = count

    def _let_go(self) -> None:
        self.deadline = None
        self._hold(0)
