"""Asks the process that has the index: starts it when it is needed, ends it when it is idle or hangs."""

from __future__ import annotations

import os
import sys
from typing import Any, Final, Protocol

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..search.rows import IndexAway, NoIndexYet
from .questions import LENGTH, MOST_BYTES, Answer, Question, Setup, framed, unframed

IDLE_S: Final = 60.0
"""Seconds after its last answer until the process is ended."""
GRACE_S: Final = 5.0
"""Seconds beyond the time limit of a search in which the process interrupts the search by itself."""
_MOST_LOGGED: Final = 2000
_REAP_S: Final = 0.2


class Asker(Protocol):
    """Answers questions from the index: the process of this module, or another that holds the index."""

    async def ask(self, question: Question, timeout_s: float | None = None) -> Answer:
        """Send a question to the process of the index, and wait for its answer.

        :param timeout_s: seconds until it is given up; None for the usual time of a search.
        :raise NoIndexYet: the index is still being built.
        :raise IndexAway: there is no answer.
        """

    async def close(self) -> None:
        """End what is in flight; no question may follow."""


class _IndexProcess(ProcessProtocol):
    """One run of the process that answers from the index.

    :param reactor: IReactorTime.
    :ivar answer: fires with the next answer; None while there is no question.
    """

    _log = Logger()
    transport: Any

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.answer: Deferred[Answer] | None = None
        self.ended = False
        self._received = bytearray()

    def ask(self, question: Question) -> Deferred[Answer]:
        """Send a question; cancelling ends the process."""
        self.answer = Deferred(lambda _answer: self.kill())
        self.transport.write(framed(question))
        return self.answer

    def kill(self) -> None:
        """Kill the process, because it answers nothing any more."""
        self.ended = True
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return

    def finish(self) -> None:
        """Let the process end by itself: it does at the end of its input."""
        self.ended = True
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._received += data
        if len(self._received) < LENGTH.size:
            return
        [length] = LENGTH.unpack_from(self._received)
        if length > MOST_BYTES:
            self.kill()
            return
        if len(self._received) < LENGTH.size + length:
            return
        content = bytes(self._received[LENGTH.size : LENGTH.size + length])
        self._received.clear()
        try:
            answer = unframed(content, Answer)
        except msgspec.DecodeError:
            self.kill()
        else:
            self._fire(answer)

    def errReceived(self, data: bytes) -> None:
        self._log.warn("the audit index: {said}", said=data[:_MOST_LOGGED].decode(errors="replace").strip())

    def outConnectionLost(self) -> None:
        """The process ends. A reactor that handles no signals does not learn of it in another way."""
        self.ended = True
        self._fire(Failure(IndexAway("the process of the audit index ended")))
        self._reap()

    def processEnded(self, reason: Failure) -> None:
        self.ended = True
        self._fire(Failure(IndexAway(f"the process of the audit index ended: {reason.getErrorMessage()}")))

    def _reap(self) -> None:
        """Take the exit status, so that no zombie stays."""
        if self.transport.pid is not None:
            self.transport.reapProcess()
        if self.transport.pid is not None:
            self._reactor.callLater(_REAP_S, self._reap)

    def _fire(self, result: Answer | Failure) -> None:
        answer, self.answer = self.answer, None
        if answer is not None and not answer.called:
            answer.callback(result)


@define(eq=False)
class ProcessAsker:
    """Asks one question at a time.

    :param reactor: IReactorProcess and IReactorTime.
    :param idle_s: seconds after the last answer until the process is ended.
    """

    _reactor: Any
    _setup: Setup
    _idle_s: float = IDLE_S
    _process: _IndexProcess | None = field(default=None, init=False)
    _lock: DeferredLock = field(factory=DeferredLock, init=False)
    _idle: Any = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    async def ask(self, question: Question, timeout_s: float | None = None) -> Answer:
        await self._lock.acquire()
        try:
            answer = await self._ask(question, timeout_s or self._setup.timeout_s + GRACE_S)
        finally:
            self._lock.release()
        if answer.problem == "not yet":
            raise NoIndexYet(answer.words)
        if answer.problem:
            raise IndexAway(answer.words)
        return answer

    async def close(self) -> None:
        self._closed = True
        self._forget_idle()
        if self._process is not None and not self._process.ended:
            self._process.kill()

    async def _ask(self, question: Question, timeout_s: float) -> Answer:
        if self._closed:
            raise IndexAway("the audit index was closed")
        self._forget_idle()
        process = self._process
        if process is None or process.ended:
            process = self._process = self._started()
        answer = process.ask(question)
        late = self._reactor.callLater(timeout_s, process.kill)
        try:
            return await answer
        finally:
            if late.active():
                late.cancel()
            if not process.ended:
                self._idle = self._reactor.callLater(self._idle_s, process.finish)

    def _started(self) -> _IndexProcess:
        process = _IndexProcess(self._reactor)
        # -P: import nothing from the current folder.
        command = [sys.executable, "-P", "-m", "hospproxy.record.columns.process"]
        try:
            self._reactor.spawnProcess(process, command[0], command, env=dict(os.environ))
        except OSError as error:
            raise IndexAway(f"the process of the audit index cannot be started: {error.strerror}") from None
        process.transport.write(framed(self._setup))
        return process

    def _forget_idle(self) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        self._idle = None
