"""The file of attempts in flight at HOSP. After a kill, the next process reads it and holds slots for them.

HOSP keeps working on requests of a killed process. Several workers share this knowledge through Redis
(``sharing.places``); this file is for a process that runs alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...process.worker import TaskRunner

FILE = "at-hosp.json"
"""Name of the file, in ``state_dir``."""
MOST_BYTES = 64 << 10
END_S = 0.05
"""Seconds after which the end of an attempt is written, unless the next attempt is written before. A kill in between
costs a slot for a moment; each write costs a switch to the thread and back."""
_VERSION = 1

_log = Logger()


class InFlightStore(Protocol):
    """Stores what is in flight at HOSP."""

    def begin(self, attempt: Hashable, sent: float) -> None:
        """An attempt was sent to HOSP.

        :param sent: monotonic seconds.
        """

    def end(self, attempt: Hashable) -> None:
        """HOSP has finished this attempt."""

    def learn(self, longest_s: float | None) -> None:
        """Store the longest recent response time in seconds; None: too few samples."""


class NoInFlightStore:
    """Stores nothing: after a kill, the next process knows of no attempts."""

    def begin(self, attempt: Hashable, sent: float) -> None:
        pass

    def end(self, attempt: Hashable) -> None:
        pass

    def learn(self, longest_s: float | None) -> None:
        pass


class _InFlightContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    sent: list[float]
    longest_s: float | None = None


def read_from(content: bytes) -> _InFlightContent:
    """Parse the file: when each attempt in flight was sent. Empty if the content is unusable."""
    try:
        # Anything after the first line is left over from earlier, longer content.
        said = msgspec.json.decode(content.partition(b"\n")[0], type=_InFlightContent)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _InFlightContent(_VERSION, [])
    return said if said.v == _VERSION else _InFlightContent(_VERSION, [])


class InFlightFile:
    """The file. A thread writes it with a short delay: an attempt sent within a millisecond of a kill is missing, and
    one that ended within END_S of it may still be there.

    Its times are of a clock that continues from one process to the next. After a reboot that clock restarts, and HOSP
    has finished by then.

    :param worker: the thread.
    :param clock: monotonic time of this process.
    :param since_boot: monotonic seconds of the machine.
    """

    def __init__(
        self, path: Path, worker: TaskRunner, clock: IReactorTime, since_boot: Callable[[], float]
    ) -> None:
        self._path = path
        self._worker = worker
        self._clock = clock
        self._since_boot = since_boot
        self._apart_s = 0.0
        self.longest_s: float | None = None
        """Seconds within which HOSP responds, judged by recent responses; None: unknown."""
        self._descriptor: int | None = None
        self._sent: dict[Hashable, float] = {}
        self._writing = self._changed = self._ended = self._complained = False
        self._ends: IDelayedCall | None = None

    def open(self) -> list[float]:
        """Open the file. Returns when each attempt of an earlier process was sent, in monotonic seconds of this one.

        Blocks. Call it once, before the first request.
        """
        self._apart_s = self._since_boot() - self._clock.seconds()
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            found = read_from(os.pread(self._descriptor, MOST_BYTES, 0))
        except OSError as error:
            self._failed(Failure(error))
            return []
        # A process that is killed before it has enough samples passes on the value of its predecessor.
        self.longest_s = found.longest_s
        return [at - self._apart_s for at in found.sent]

    def begin(self, attempt: Hashable, sent: float) -> None:
        self._sent[attempt] = sent + self._apart_s
        self._write()

    def end(self, attempt: Hashable) -> None:
        if self._sent.pop(attempt, None) is None:
            return
        self._ended = True
        if self._ends is None and self._descriptor is not None:
            self._ends = self._clock.callLater(END_S, self._write_ends)

    def learn(self, longest_s: float | None) -> None:
        if longest_s is not None:
            self.longest_s = longest_s  # written with the next change

    def stop(self) -> None:
        """Stop writing. Attempts that are in flight now stay in the file."""
        if self._ends is not None:
            self._ends.cancel()
            self._write_ends()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            if self._changed:
                self._put_now(descriptor)
            self._worker.run(lambda: os.close(descriptor))
            self._worker.stop()

    def _write(self) -> None:
        descriptor = self._descriptor
        if self._writing or descriptor is None:
            self._changed = True
            return
        self._writing, self._changed = True, False
        self._put_now(descriptor).addCallback(self._written)

    def _write_ends(self) -> None:
        self._ends = None
        if self._ended:
            self._write()

    def _put_now(self, descriptor: int) -> Deferred[None]:
        self._ended = False
        content = (
            msgspec.json.encode(_InFlightContent(_VERSION, list(self._sent.values()), self.longest_s)) + b"\n"
        )
        return self._worker.run(lambda: _put(descriptor, content)).addErrback(self._failed)

    def _written(self, _: object) -> None:
        self._writing = False
        if self._changed:
            self._write()

    def _failed(self, failure: Failure) -> None:
        if not self._complained:
            self._complained = True
            _log.error(
                "cannot use {path}: {why}. After a kill, the next process will not know what is in "
                "flight at HOSP; check the disk",
                path=str(self._path),
                why=failure.getErrorMessage(),
            )


def _put(descriptor: int, content: bytes) -> None:
    # One call, so a kill leaves the old or the new content. No fsync: a power cut means a reboot, which makes the file
    # void.
    os.pwrite(descriptor, content, 0)
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, len(content))
