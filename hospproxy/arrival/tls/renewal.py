"""Files of certificates that are exchanged while the proxy runs: looked at, checked, then taken; a bad one never is.

What counts is content, not times: tools of renewal rename, copy or turn round a symbolic link.
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

from ...words import Reload
from ...worker import WorkerLike
from .certificates import CertificateError, read

_log = Logger()
T = TypeVar("T")


class Verdict(enum.Enum):
    """What came of a look."""

    SAME = enum.auto()
    RENEWED = enum.auto()
    WAITING = enum.auto()
    BAD = enum.auto()


@frozen(slots=True)
class Glance(Generic[T]):
    """What stands in files that have changed.

    :param digest: tells whether it is the same the next time.
    :param value: None if it cannot be used.
    :param error: why not.
    """

    digest: bytes
    value: T | None = None
    error: CertificateError | None = None


class Kept(Generic[T]):
    """What was last read well from some files.

    :param files: looked at; with none of them it changes only when it is asked to.
    :param parse: from their contents to the value; may raise CertificateError. Runs in a thread.
    :param judge: raises CertificateError where a value may not take the place of another.
    :raise CertificateError: it cannot be used at the start.
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

    def glance(self, *, anew: bool = False) -> Glance[T] | None:
        """Look at the files; changes nothing here, so that it may run in a thread. None: they are as they were.

        :param anew: read them even so.
        """
        try:
            contents = [read(file) for file in self.files]
        except CertificateError as error:
            return Glance(str(error).encode(), None, error)
        digest = hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in contents)).digest()
        if digest == self._digest and not anew:
            return None
        try:
            value = self._parse(*contents)
            if self._digest not in (None, digest):
                self._judge(value)
        except CertificateError as error:
            return Glance(digest, None, error)
        return Glance(digest, value)

    def take(self, glance: Glance[T] | None) -> Verdict:
        """Act on what was seen. What cannot be used is BAD the second time, once: a pair is written file by file."""
        if glance is not None and glance.value is None:
            known, self._bad = glance.digest == self._bad, glance.digest
            told, self._told = known and self._told, known
            return Verdict.SAME if told else Verdict.BAD if known else Verdict.WAITING
        self._bad, self._told = b"", False
        if glance is None or glance.value is None:
            return Verdict.SAME
        self.value, self._digest = glance.value, glance.digest
        return Verdict.RENEWED


class Renewal:
    """Looks at files again and again, in a thread.

    :param kept: all that is looked at.
    :param renewed: told when some were taken.
    :param count: told "renewed" or "failed" for each.
    :param round_done: called after each look.
    """

    def __init__(
        self,
        kept: Sequence[Kept[Any]],
        worker: WorkerLike,
        renewed: Callable[[], None],
        count: Callable[[Reload], None],
        round_done: Callable[[], None],
    ) -> None:
        self._kept = [each for each in kept if each.files]
        self._worker = worker
        self._renewed = renewed
        self._count = count
        self._round_done = round_done
        self._loop: LoopingCall | None = None
        self._generation = 0

    def start(self, clock: IReactorTime, every_s: float) -> None:
        """Look from now on.

        :param every_s: seconds between two looks.
        """
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock
        self._loop.start(every_s, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        self._loop = None
        self._generation += 1
        self._worker.stop()

    def forget(self) -> None:
        """They have been read otherwise: a look that is under way is out of date."""
        self._generation += 1

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._round()).addErrback(
            lambda failure: _log.failure("the files of certificates could not be looked at", failure)
        )

    async def _round(self) -> None:
        generation = self._generation
        if self._kept:
            glances = await self._worker.run(lambda: [each.glance() for each in self._kept])
            if generation != self._generation:
                return
            self._take(glances)
        self._round_done()

    def _take(self, glances: Sequence[Glance[Any] | None]) -> None:
        renewed = False
        for each, glance in zip(self._kept, glances, strict=True):
            verdict = each.take(glance)
            if verdict is Verdict.RENEWED:
                renewed = True
                self._count("renewed")
                _log.info("read anew: {files}", files=", ".join(map(str, each.files)))
            elif verdict is Verdict.BAD and glance is not None:
                self._count("failed")
                _log.error("{why}. What was read before stays in use.", why=str(glance.error))
        if renewed:
            self._renewed()


SOON_S: Final = 14 * 86400.0
"""A certificate that ends within this is spoken of, once a day."""
