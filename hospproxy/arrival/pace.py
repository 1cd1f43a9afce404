"""The clock of one connection: when its client is late, and by which limit; and whether it is listened to."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from .limits import ArrivalLimits


class Pace:
    """Absolute: what comes in between does not wind it up again, but that a body may be slower the more has come.

    :param clock: monotonic.
    """

    __slots__ = ("_clock", "_limits", "deadline", "limit", "since")

    def __init__(self, clock: IReactorTime, limits: ArrivalLimits) -> None:
        self._clock = clock
        self._limits = limits
        self.deadline: float | None = None
        self.since = 0.0
        self.limit = ""

    def wait(self, seconds: float) -> None:
        """Something else than a request must happen within this time."""
        self.deadline = self._clock.seconds() + seconds

    def head(self) -> None:
        """A head begins."""
        self.since, self.limit = self._clock.seconds(), "header_timeout_s"
        self.deadline = self.since + self._limits.header_timeout_s

    def body(self, size: int = 0) -> None:
        """A body begins, or has so many bytes by now."""
        if size == 0:
            self.since = self._clock.seconds()
        seconds, self.limit = self._limits.body_time(size)
        self.deadline = self.since + seconds

    def stop(self) -> None:
        """It is our turn."""
        self.deadline = None

    def is_over(self, now: float) -> bool:
        """Whether the client is late."""
        return self.deadline is not None and self.deadline <= now


class Ear:
    """Whether a transport is read.

    :param transport: that can be paused.
    """

    __slots__ = ("_closed", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._closed = False

    def listen(self, listening: bool) -> None:
        """Read on, or not for now."""
        if self._closed is not listening:
            return
        self._closed = not listening
        if listening:
            self._transport.resumeProducing()
        else:
            self._transport.pauseProducing()
