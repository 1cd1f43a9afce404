"""A process that this one starts: its output in lines, its end, and when to replace it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final, Protocol

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from .channel import LONGEST_LINE

CALM_S: Final = 60.0
"""A process that ran for these seconds starts a new count of exits."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0


class ProcessOwner(Protocol):
    """Receives the output and the end of a process that this one has started."""

    def wrote(self, line: str) -> None:
        """The process has written a line to stdout or stderr."""

    def ended(self, why: str) -> None:
        """Called once, when the process has exited and its output is complete.

        :param why: with which status, or by which signal.
        """


class ChildProcess(ProcessProtocol):
    """Tells its owner of a process. Its output is split into lines."""

    def __init__(self, owner: ProcessOwner) -> None:
        self._owner = owner
        self._rests = {1: b"", 2: b""}

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803 - Twisted's name
        *lines, rest = (self._rests[childFD] + data).split(b"\n")
        if len(rest) > LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        self._rests[childFD] = rest
        for line in lines:
            self._owner.wrote(line.decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:
        for rest in filter(None, self._rests.values()):
            self._owner.wrote(rest.decode("utf-8", "replace"))
        ended = reason.value
        assert isinstance(ended, ProcessDone | ProcessTerminated)
        self._owner.ended(f"by signal {ended.signal}" if ended.signal else f"with status {ended.exitCode}")

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        pid: int | None = self.transport.pid if self.transport is not None else None
        return pid

    def kill(self) -> None:
        """Kill the process at once (SIGKILL), unless it has exited already."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]


_opened: list[int] = []


def no_input() -> int:
    """Return a descriptor of /dev/null, open for reading: what a process gets as its standard input."""
    if not _opened:
        _opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    return _opened[0]


def forget_input() -> None:
    """In a forked process: its parent's descriptor for ``no_input`` is closed here."""
    _opened.clear()


def exits_in_a_row(before: int, lived_s: float) -> int:
    """Return the number of exits in a row, with this one.

    :param before: the number when the process was started.
    :param lived_s: seconds from its start to its exit.
    """
    return 1 if lived_s >= CALM_S else before + 1


def restart_pause_s(exits: int) -> float:
    """Return the seconds to wait before the next start: 0 after the first exit, then 0.5, doubled each time up to 30.

    :param exits: in a row, from 1.
    """
    if exits <= 1:
        return 0.0
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(exits - 2, 20))
