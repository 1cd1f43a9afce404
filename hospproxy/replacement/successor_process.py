"""The successor's process, as the running one sees it: started, prepared, serving, or gone."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

from ..control.owner import ReplacementFailed
from ..process.channel import Channel, SingleProtocolFactory
from ..process.child_process import ChildProcess, no_input
from .hold import LOOK_S, StateNotClosed, has_event, pause
from .messages import MOST_BYTES, FromSuccessor, NoResponse, Prepared, RelayedResponse, Serving, ToSuccessor

_log = Logger()
CHANNEL_FD: Final = 3
LOCK_FD: Final = 4
"""The lock of the state folder. The successor only holds it, until it owns the folder."""
ERRORS_FD: Final = 5
"""Where the running process writes errors; the successor's own go to a pipe until it is prepared."""
LIFELINE_FD: Final = 6
"""The writing end of a pipe, which the new process and its workers hold: it is closed once all of them are gone."""
FIRST_SOCKET_FD: Final = 7
GONE_S: Final = 60.0
"""Seconds within which the workers of a dead process are gone: the kernel kills them with it."""


class SuccessorProcess:
    """Starts the successor, and tells what becomes of it.

    :param relayed: gets responses to relayed requests.
    :param lost: called when the channel is closed.
    """

    def __init__(
        self,
        reactor: Any,
        relayed: Callable[[RelayedResponse | NoResponse], None],
        lost: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._relayed = relayed
        self._lost = lost
        self._process: ChildProcess | None = None
        self._channel: Channel | None = None
        self._said: dict[type, Prepared | Serving] = {}
        self._waiting: dict[type, Deferred[None]] = {}
        self._exits: list[Deferred[None]] = []
        self._gone: str | None = None
        self._lifeline: int | None = None
        self._last_line = ""

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return None if self._process is None else self._process.pid

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        lock: int,
        descriptors: Sequence[int],
    ) -> None:
        """Start the program, with the lock and the listening sockets as descriptors.

        :param command: program and arguments.
        :param lock: descriptor of the folder's lock; both processes hold the same lock.
        :param descriptors: of the listening sockets of clients, then those of the admin listener, then as ``Prepare``
            says.
        :raise ReplacementFailed: the system cannot start it.
        """
        self._lifeline, held = os.pipe()
        try:
            self._start(command, environment, lock, descriptors, held)
        except BaseException:
            self._drop_lifeline()
            raise
        finally:
            os.close(held)

    def _start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        lock: int,
        further: Sequence[int],
        lifeline: int,
    ) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            process = ChildProcess(self)
            descriptors: dict[int, int | str] = {0: no_input(), 1: 1, 2: "r", CHANNEL_FD: theirs.fileno()}
            descriptors |= {LOCK_FD: lock, ERRORS_FD: 2, LIFELINE_FD: lifeline}
            descriptors |= dict(enumerate(further, FIRST_SOCKET_FD))
            try:
                self._reactor.spawnProcess(
                    process, command[0], list(command), env=dict(environment), childFDs=descriptors
                )
            except OSError as error:
                raise ReplacementFailed(f"{command[0]} cannot be started: {error.strerror}") from None
            self._process = process
            self._channel = Channel(FromSuccessor, self._received, self._cut_off, MOST_BYTES)
            self._reactor.adoptStreamConnection(
                ours.fileno(), socket.AF_UNIX, SingleProtocolFactory(self._channel)
            )

    def say(self, message: ToSuccessor) -> None:
        """Send it a message; does nothing if it is gone."""
        if self._channel is not None:
            self._channel.say(message)

    async def prepared(self, timeout_s: float) -> str:
        """Wait until it could take over; return its version.

        :raise ReplacementFailed: it exited, or was not prepared in time.
        """
        said = await self._until(Prepared, timeout_s, "prepared")
        assert isinstance(said, Prepared)
        return said.version

    async def serving(self, timeout_s: float) -> None:
        """Wait until it has taken over.

        :raise ReplacementFailed: it exited, or did not serve in time. It may be opening the state folder: kill it
            before the folder is used.
        """
        await self._until(Serving, timeout_s, "serving")

    async def _until(self, kind: type, timeout_s: float, what: str) -> Prepared | Serving:
        if kind not in self._said and self._gone is None:
            waiting = self._waiting[kind] = Deferred()
            try:
                await waiting.addTimeout(timeout_s, self._reactor)
            except TimeoutError:
                raise ReplacementFailed(f"the new process was not {what} within {timeout_s:g} s") from None
            finally:
                del self._waiting[kind]
        if self._gone is not None:
            raise ReplacementFailed(self._gone)
        return self._said[kind]

    async def end(self) -> None:
        """Kill it, and wait until it is gone with all its workers: then nothing of it touches the state folder.

        :raise StateNotClosed: a process of it still runs.
        """
        if self._process is not None:
            ended: Deferred[None] = Deferred()
            self._exits.append(ended)
            self._process.kill()
            await ended
        if self._lifeline is None:
            return
        until = self._reactor.seconds() + GONE_S
        while not has_event(self._lifeline):
            if self._reactor.seconds() >= until:
                raise StateNotClosed("a worker of the new process")
            await pause(self._reactor, LOOK_S)
        self._drop_lifeline()

    def _drop_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def fail(self, why: str) -> None:
        """Tell everything that waits for it that there is no use in waiting."""
        self._gone = why
        self._wake()

    def _received(self, message: FromSuccessor) -> None:
        if isinstance(message, RelayedResponse | NoResponse):
            self._relayed(message)
            return
        self._said[type(message)] = message
        self._wake()

    def _wake(self) -> None:
        for kind, waiting in list(self._waiting.items()):
            if not waiting.called and (self._gone is not None or kind in self._said):
                waiting.callback(None)

    def _cut_off(self) -> None:
        self._channel = None
        self._lost()

    def wrote(self, line: str) -> None:
        """Log a line that it wrote to stderr before it was prepared (ProcessOwner)."""
        _log.warn("new process: {line}", line=line)
        if not line.startswith("hospproxy: warning: "):
            self._last_line = line.strip() or self._last_line

    def ended(self, why: str) -> None:
        """The process has exited (ProcessOwner)."""
        self._process = None
        reason = self._last_line.removeprefix("hospproxy: ") or "its log may say why"
        self._gone = self._gone or f"the new process exited {why}: {reason}"
        self._wake()
        exits, self._exits = self._exits, []
        for each in exits:
            each.callback(None)
