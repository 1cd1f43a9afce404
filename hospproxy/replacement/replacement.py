"""One replacement of the running process, step by step. Until the successor serves, every failure leads back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from twisted.logger import Logger

from ..control.owner import ReplacementFailed
from ..service.chain import Diversion
from .hold import Hold
from .messages import TakeOver, ToSuccessor

_log = Logger()
PREPARE_S: Final = 90.0
"""Seconds that the successor has to import and read everything. Meanwhile the running process serves."""
TAKE_OVER_S: Final = 30.0
"""Seconds that the successor has to open the state folder. Meanwhile requests wait."""


class Predecessor(Protocol):
    """All processes of the running proxy that use the state folder."""

    async def quieten(self, check: Callable[[], None]) -> None:
        """Begin no request, and finish those in flight.

        :param check: raises what ends the wait.
        :raise ReplacementFailed: it took too long; all goes on.
        """

    async def close(self) -> None:
        """End everything that uses the state folder.

        :raise StateNotClosed: something may still use it.
        """

    async def reopen(self) -> None:
        """Open the state folder again, and let the requests go on here."""

    def give_up(self) -> None:
        """Let the successor respond to all requests; leave it the sockets and the lock."""


class SuccessorLike(Protocol):
    """What the steps need of ``SuccessorProcess``."""

    @property
    def pid(self) -> int | None: ...
    def say(self, message: ToSuccessor) -> None: ...
    async def prepared(self, timeout_s: float) -> str: ...
    async def serving(self, timeout_s: float) -> None: ...
    async def end(self) -> None: ...


class OneProcess:
    """The predecessor that is a single process.

    :param there: the successor's chain, for requests that come on connections of this process.
    """

    def __init__(self, hold: Hold, there: Diversion) -> None:
        self._hold = hold
        self._there = there

    async def quieten(self, check: Callable[[], None]) -> None:
        await self._hold.quieten(check)

    async def close(self) -> None:
        await self._hold.close()

    async def reopen(self) -> None:
        self._hold.reopen()

    def give_up(self) -> None:
        self._hold.leave_to(self._there)


class Replacement:
    """The steps that replace a proxy.

    :param proxy: the running one.
    :param successor: started.
    :param progress: gets a sentence for each step.
    :ivar committed: the state folder is being closed or is closed: the steps must not be interrupted.
    """

    def __init__(
        self, proxy: Predecessor, successor: SuccessorLike, progress: Callable[[str], object]
    ) -> None:
        self._proxy = proxy
        self._successor = successor
        self._progress = progress
        self.committed = False

    async def run(self) -> str:
        """Carry all steps out; return the version that serves now.

        :raise ReplacementFailed: this process serves as before.
        :raise StateNotClosed: this process must exit at once.
        """
        self._tell(f"a new process is started ({self._successor.pid})")
        try:
            version = await self._successor.prepared(PREPARE_S)
            self._tell(f"hospproxy {version} is prepared (process {self._successor.pid})")
            await self._proxy.quieten(self._check)
        except BaseException:
            await self._successor.end()
            raise
        self.committed = True
        await self._proxy.close()
        self._tell("the state folder is closed; the new process opens it")
        self._successor.say(TakeOver())
        try:
            await self._successor.serving(TAKE_OVER_S)
        except ReplacementFailed:
            await self._successor.end()
            await self._proxy.reopen()
            raise
        self._proxy.give_up()
        return version

    def _check(self) -> None:
        if self._successor.pid is None:
            raise ReplacementFailed("the new process is gone")

    def _tell(self, sentence: str) -> None:
        _log.info("replacement: {sentence}", sentence=sentence)
        self._progress(sentence)
