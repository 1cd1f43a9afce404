"""Appends groups to the journal through io_uring where possible, and in the writing thread otherwise.

Only one of the two uses the keeper at a time.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...process.worker import TaskRunner
from ..disclosures import Disclosure
from .current import RingAppend
from .files import FULL
from .keeper import TrailKeeper

if TYPE_CHECKING:
    from .uring import WriteRing

_OF_THE_DISK = FULL | {errno.EIO, errno.EROFS, errno.ENOENT}
"""Error numbers that come from the disk; they are no reason to give up io_uring."""

T = TypeVar("T")

MakeRing = Callable[[], "WriteRing"]


@define(eq=False)
class Committer:
    """Runs the keeper. The ring takes the usual case: to append a group to an open file.

    The thread does everything else: beginning and closing files, digests, the reserve, and whatever failed.

    :param worker: the writing thread.
    :param make_ring: called at the start, after ``twistd`` has forked; None to use the thread only.
    """

    _log = Logger()

    _keeper: TrailKeeper
    _worker: TaskRunner
    _make_ring: MakeRing | None = None
    _ring: WriteRing | None = field(default=None, init=False)
    _flying: bool = field(default=False, init=False)
    _in_thread: int = field(default=0, init=False)
    _held: list[tuple[Callable[[], Any], Deferred[Any]]] = field(factory=list, init=False)

    def start(self) -> Deferred[Path]:
        """Open the ring and begin a file.

        :raise RecordFailed: no file can be made.
        """
        if self._make_ring is not None:
            try:
                self._ring = self._make_ring()
            except OSError as error:
                self._log.info(
                    "Audit records are written by a thread: io_uring is not available ({why})", why=str(error)
                )
            else:
                self._log.info("Audit records are written by io_uring")
        return self.run(self._keeper.open)

    def keep(self, lines: Sequence[bytes], named: Sequence[Disclosure | None]) -> Deferred[int]:
        """Commit a group; see ``TrailKeeper.keep``. Call it only after the previous group has finished."""
        if self._ring is not None and not self._in_thread:
            try:
                append = self._keeper.prepare(lines, named)
            except Exception:
                return fail(Failure())
            if append is not None:
                return self._append(self._ring, append, lines, named)
        return self.run(lambda: self._keeper.keep(lines, named))

    def run(self, task: Callable[[], T]) -> Deferred[T]:
        """Run a task in the thread, once the ring has no write in flight."""
        done: Deferred[T] = Deferred()
        self._held.append((task, done))
        if not self._flying:
            self._let_thread()
        return done

    def stop(self) -> None:
        """Release ring and thread. Nothing may be in flight, and nothing may follow."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        self._worker.stop()

    def _append(
        self, ring: WriteRing, append: RingAppend, lines: Sequence[bytes], named: Sequence[Disclosure | None]
    ) -> Deferred[int]:
        done: Deferred[int] = Deferred()

        def completed(result: int) -> None:
            self._flying = False
            try:
                kept = self._completed(append, result)
            except OSError as error:
                self._again(error if error.errno else None, lines, named, done)
            except Exception:  # a bug: fail the caller, and let the waiting tasks run
                failure = Failure()
                self._let_thread()
                done.errback(failure)
            else:
                self._let_thread()
                done.callback(kept)

        try:
            ring.write(append.file, append.group.data, append.at, completed)
        except OSError as error:
            self._leave_ring(error)
            return self.run(lambda: self._keeper.keep(lines, named))
        self._flying = True
        return done

    def _completed(self, append: RingAppend, result: int) -> int:
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        if result != len(append.group.data):
            raise OSError  # without a number: only a part was written
        return self._keeper.written(append)

    def _again(
        self,
        error: OSError | None,
        lines: Sequence[bytes],
        named: Sequence[Disclosure | None],
        done: Deferred[int],
    ) -> None:
        """Retry in the thread, before all other tasks: until then nobody knows what the file holds."""
        if error is not None and error.errno not in _OF_THE_DISK:
            self._leave_ring(error)
        self._held.insert(0, (lambda: self._keeper.keep_after(error, lines, named), done))
        self._let_thread()

    def _leave_ring(self, error: OSError) -> None:
        self._log.warn(
            "Audit records are written by a thread from now on: io_uring failed ({why})", why=str(error)
        )
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def _let_thread(self) -> None:
        held, self._held = self._held, []
        for task, done in held:
            self._in_thread += 1
            self._worker.run(task).addBoth(self._out_of_thread).chainDeferred(done)

    def _out_of_thread(self, result: T) -> T:
        self._in_thread -= 1
        return result
