"""Reload certificate files while the proxy runs: detect changes, check the new content, then use it.

Content that is not usable never replaces what is in use. Changes are detected by content, not by modification time:
renewal tools rename, copy or switch a symbolic link.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ...exchange.words import Reload
from ...process.background import Background
from ...process.worker import TaskRunner
from .certificates import CertificateError, read

_log = Logger()
T = TypeVar("T")


class FileVerdict(enum.Enum):
    """The result of checking files."""

    SAME = enum.auto()
    RENEWED = enum.auto()
    WAITING = enum.auto()
    BAD = enum.auto()


@frozen(slots=True)
class ChangedFiles(Generic[T]):
    """The new content of files that have changed.

    :param digest: of the content; tells whether it changes again.
    :param value: None if the content is not usable.
    :param error: why not.
    """

    digest: bytes
    value: T | None = None
    error: CertificateError | None = None


class WatchedFiles(Generic[T]):
    """The last usable value that was read from some files.

    :param files: the files to check; if empty, the value changes only when ``glance(anew=True)`` is taken.
    :param parse: turns their contents into the value; may raise CertificateError. Runs in a thread.
    :param judge: raises CertificateError if a value may not replace another one.
    :raise CertificateError: the files are not usable at the start.
    """

    def __init__(
        self,
        files: Sequence[Path],
        parse: Callable[..., T],
        judge: Callable[[T], None] = lambda _: None,
    ) -> None:
        self.files = tuple(files)
        self._parse = parse
        self._judge = judge
        self._digest: bytes | None = None
        self._bad = b""
        self._told = False
        glance = self.glance()
        if glance is None or glance.value is None:
            raise (glance and glance.error) or CertificateError("nothing to read")
        self.value: T = glance.value
        self._digest = glance.digest

    def glance(self, *, anew: bool = False) -> ChangedFiles[T] | None:
        """Read the files. Changes nothing in this object, so it may run in a thread.

        Returns None if they are unchanged.

        :param anew: parse them even if they are unchanged.
        """
        try:
            contents = [read(file) for file in self.files]
        except CertificateError as error:
            return ChangedFiles(str(error).encode(), None, error)
        digest = hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in contents)).digest()
        if digest == self._digest and not anew:
            return None
        try:
            value = self._parse(*contents)
            if self._digest not in (None, digest):
                self._judge(value)
        except CertificateError as error:
            return ChangedFiles(digest, None, error)
        return ChangedFiles(digest, value)

    def take(self, glance: ChangedFiles[T] | None) -> FileVerdict:
        """Use the result of ``glance``.

        Unusable content is WAITING at first, BAD at the second look, then SAME: renewal tools write the two files of
        a pair one after the other, and the error is reported once.
        """
        if glance is not None and glance.value is None:
            known, self._bad = glance.digest == self._bad, glance.digest
            told, self._told = known and self._told, known
            return FileVerdict.SAME if told else FileVerdict.BAD if known else FileVerdict.WAITING
        self._bad, self._told = b"", False
        if glance is None or glance.value is None:
            return FileVerdict.SAME
        self.value, self._digest = glance.value, glance.digest
        return FileVerdict.RENEWED


class FileRenewal:
    """Checks files at an interval, in a thread.

    :param kept: everything that is checked.
    :param renewed: called when at least one value was replaced.
    :param count: called with "renewed" or "failed" for each.
    :param round_done: called after each check.
    """

    def __init__(
        self,
        kept: Sequence[WatchedFiles[Any]],
        worker: TaskRunner,
        renewed: Callable[[], None],
        count: Callable[[Reload], None],
        round_done: Callable[[], None],
    ) -> None:
        self._kept = [each for each in kept if each.files]
        self._worker = worker
        self._renewed = renewed
        self._count = count
        self._round_done = round_done
        self._background = Background(
            _log, "certificate files could not be checked; trying again after certificate_check_s"
        )
        self._loop: LoopingCall | None = None
        self._generation = 0

    def start(self, clock: IReactorTime, every_s: float) -> None:
        """Check the files at an interval from now on; the first check comes after one interval.

        :param every_s: seconds between two checks.
        """
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock
        self._loop.start(every_s, now=False)

    def stop(self) -> None:
        """Stop checking, end the thread, and discard the result of a check in progress."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        self._loop = None
        self._generation += 1
        self._worker.stop()

    def forget(self) -> None:
        """The files were read by other code: discard the result of a check in progress."""
        self._generation += 1

    def _look(self) -> Deferred[None]:
        return self._background.run(self._round())

    async def _round(self) -> None:
        generation = self._generation
        if self._kept:
            glances = await self._worker.run(lambda: [each.glance() for each in self._kept])
            if generation != self._generation:
                return
            self._take(glances)
        self._round_done()

    def _take(self, glances: Sequence[ChangedFiles[Any] | None]) -> None:
        renewed = False
        for each, glance in zip(self._kept, glances, strict=True):
            verdict = each.take(glance)
            if verdict is FileVerdict.RENEWED:
                renewed = True
                self._count("renewed")
                _log.info("certificate files reloaded: {files}", files=", ".join(map(str, each.files)))
            elif verdict is FileVerdict.BAD and glance is not None:
                self._count("failed")
                _log.error(
                    "certificate files not reloaded, old ones kept: {why}",
                    why=str(glance.error),
                )
        if renewed:
            self._renewed()


SOON_S: Final = 14 * 86400.0
"""From this time before its expiry a certificate is warned about, once a day."""
