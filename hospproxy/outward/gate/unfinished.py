"""What HOSP has in hand, in a file: a process that is killed leaves it there, and the next one holds those places.

HOSP works on for the dead. Several workers tell each other through Redis (sharing.places); this is for one alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Protocol

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...worker import WorkerLike

FILE = "at-hosp.json"
"""In ``state_dir``."""
MOST_BYTES = 64 << 10
_VERSION = 1

_log = Logger()


class InHand(Protocol):
    """Who remembers what HOSP has in hand."""

    def begin(self, attempt: Hashable, sent: float) -> None:
        """HOSP gets an attempt.

        :param sent: monotonic seconds.
        """

    def end(self, attempt: Hashable) -> None:
        """It has that in hand no longer."""

    def learn(self, longest_s: float | None) -> None:
        """HOSP answers within so many seconds, by what was seen of late; None: too little was seen."""


class Nowhere:
    """Nothing of it outlives the process."""

    def begin(self, attempt: Hashable, sent: float) -> None:
        pass

    def end(self, attempt: Hashable) -> None:
        pass

    def learn(self, longest_s: float | None) -> None:
        pass


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    sent: list[float]
    longest_s: float | None = None


def read_from(content: bytes) -> _Content:
    """What a file says: when what was in hand had been sent; nothing, where it is no good."""
    try:
        # What a longer content before it has left behind the first line belongs to nothing.
        said = msgspec.json.decode(content.partition(b"\n")[0], type=_Content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Content(_VERSION, [])
    return said if said.v == _VERSION else _Content(_VERSION, [])


class Unfinished:
    """The file. It is written in a thread, a moment late: what is sent within a millisecond of a kill is not in it.

    Its moments are of a clock that goes on from one process to the next. After a boot that begins anew, and HOSP has
    finished.

    :param worker: the thread.
    :param clock: monotonic time of this process.
    :param since_boot: monotonic seconds of the machine.
    """

    def __init__(
        self, path: Path, worker: WorkerLike, clock: IReactorTime, since_boot: Callable[[], float]
    ) -> None:
        self._path = path
        self._worker = worker
        self._clock = clock
        self._since_boot = since_boot
        self._apart_s = 0.0
        self.longest_s: float | None = None
        """Seconds within which HOSP answers, by all that was seen of late; None: nobody knows."""
        self._descriptor: int | None = None
        self._sent: dict[Hashable, float] = {}
        self._writing = self._changed = self._complained = False

    def open(self) -> list[float]:
        """When that was sent which an earlier process had in hand, in monotonic seconds of this one.

        Blocks; called once, before the first request.
        """
        self._apart_s = self._since_boot() - self._clock.seconds()
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            found = read_from(os.pread(self._descriptor, MOST_BYTES, 0))
        except OSError as error:
            self._failed(Failure(error))
            return []
        # A process that is killed before it has seen enough hands on what the one before it had seen.
        self.longest_s = found.longest_s
        return [at - self._apart_s for at in found.sent]

    def begin(self, attempt: Hashable, sent: float) -> None:
        self._sent[attempt] = sent + self._apart_s
        self._write()

    def end(self, attempt: Hashable) -> None:
        if self._sent.pop(attempt, None) is not None:
            self._write()

    def learn(self, longest_s: float | None) -> None:
        if longest_s is not None:
            self.longest_s = longest_s  # written with what comes next

    def stop(self) -> None:
        """Write nothing any more. What HOSP has in hand now stays in the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._worker.run(lambda: os.close(descriptor))
            self._worker.stop()

    def _write(self) -> None:
        descriptor = self._descriptor
        if self._writing or descriptor is None:
            self._changed = True
            return
        self._writing, self._changed = True, False
        content = msgspec.json.encode(_Content(_VERSION, list(self._sent.values()), self.longest_s)) + b"\n"
        done = self._worker.run(lambda: _put(descriptor, content))
        done.addErrback(self._failed)
        done.addCallback(self._written)

    def _written(self, _: object) -> None:
        self._writing = False
        if self._changed:
            self._write()

    def _failed(self, failure: Failure) -> None:
        if not self._complained:
            self._complained = True
            _log.error(
                "{path} cannot be written; the next process will not know what HOSP has in hand: {why}",
                path=str(self._path),
                why=failure.getErrorMessage(),
            )


def _put(descriptor: int, content: bytes) -> None:
    # One call, so that a kill leaves either what was there or this; no sync, since a power cut is a boot.
    os.pwrite(descriptor, content, 0)
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, len(content))
