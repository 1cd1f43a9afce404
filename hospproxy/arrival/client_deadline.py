"""The deadline of one connection and the limit that set it; and whether its transport is read."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from ..options.arrival_section import ArrivalSettings
from .limits import body_time


class ClientDeadline:
    """The moment by which the client must act, in the current state of its connection.

    It is absolute: received bytes do not extend it, except that ``min_body_rate`` allows a body more time the more of
    it has arrived.

    :param clock: monotonic.
    :ivar limit: the field of ArrivalSettings that set the deadline of a head or body.
    :ivar since: monotonic seconds at which the head or body began.
    """

    __slots__ = ("_clock", "_limits", "deadline", "limit", "since")

    def __init__(self, clock: IReactorTime, limits: ArrivalSettings) -> None:
        self._clock = clock
        self._limits = limits
        self.deadline: float | None = None
        self.since = 0.0
        self.limit = ""

    def wait(self, seconds: float) -> None:
        """Set a deadline, in seconds from now, for anything other than a head or body."""
        self.deadline = self._clock.seconds() + seconds

    def head(self) -> None:
        """A head begins: start its deadline."""
        self.since, self.limit = self._clock.seconds(), "header_timeout_s"
        self.deadline = self.since + self._limits.header_timeout_s

    def body(self, size: int = 0) -> None:
        """A body begins, or has ``size`` bytes so far: set its deadline."""
        if size == 0:
            self.since = self._clock.seconds()
        seconds, self.limit = body_time(self._limits, size)
        self.deadline = self.since + seconds

    def stop(self) -> None:
        """Stop the client's clock: we are the slow side now."""
        self.deadline = None

    def is_over(self, now: float) -> bool:
        """Whether the client has missed the deadline."""
        return self.deadline is not None and self.deadline <= now


class ReadPause:
    """Pauses and resumes reading from a transport; calls it only when the state changes.

    :param transport: a transport that can be paused.
    """

    __slots__ = ("_closed", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._closed = False

    def listen(self, listening: bool) -> None:
        """Resume reading, or pause it."""
        if self._closed is not listening:
            return
        self._closed = not listening
        if listening:
            self._transport.resumeProducing()
        else:
            self._transport.pauseProducing()
