"""One slot of the supervisor: the worker process that holds it now, and the channel to that process."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..process import forked_process
from ..process.channel import Channel, SingleProtocolFactory, WorkerLogLine, log_again
from ..process.child_process import ChildProcess, exits_in_a_row, no_input, restart_pause_s
from ..process.forked_process import CannotFork, Fork
from ..watch.merge import Snapshot
from . import child
from .child import CHANNEL_FD, ENDS_FD, FIRST_SOCKET_FD, LOCK_FD, RELAY_FD
from .messages import (
    CloseState,
    CommitReload,
    FileReloadQuestion,
    FromWorker,
    GatherQuestion,
    HoldRequests,
    PrepareReload,
    ReopenState,
    SnapshotQuestion,
    SnapshotReply,
    StartWorker,
    StepReply,
    ToWorker,
    WorkerPrepared,
    WorkerReady,
)

_log = Logger()
ANSWER_S: Final = 1.0
"""Seconds that a worker has to answer ``SnapshotQuestion``."""
STEP_S: Final = 10.0
"""Seconds that a worker has for each step of a reload."""
EXITED: Final = "it has exited"
SILENT: Final = "it does not answer"


class SlotSupervisor(Protocol):
    """What a post calls on its supervisor."""

    def prepared(self, post: WorkerSlot) -> None:
        """The post's worker could open the state folder, which an old proxy has."""

    def serves(self, post: WorkerSlot) -> None:
        """The post's worker accepts connections now."""

    def ended(self, post: WorkerSlot, why: str) -> None:
        """The post's worker process has exited."""

    def asked(self, post: WorkerSlot, question: GatherQuestion) -> None:
        """The post's worker asks for the snapshots of all workers."""

    def reload_asked(self, post: WorkerSlot, question: FileReloadQuestion) -> None:
        """The post's worker asks to apply the options file."""


class WorkerSlot:
    """One slot and its current worker process.

    :param sockets: for the worker: those for clients, those of the admin listener.
    :param settings: pickled; successors start with those that are here then.
    :param lock: descriptor of the state folder's lock, which the worker holds too.
    :param ends: descriptor of the memory in which workers note how far their journals are on disk.
    :param fork: starts a process; see ``forked_process.fork``.
    :ivar relay: this end of the worker's socket for a replacement. A successor inherits it, and responds to what the
        worker relays then.
    :ivar last_line: what the process wrote last to stdout or stderr.
    :ivar restarts: how often the worker was replaced.
    :ivar failures: how often the worker did not answer ``SnapshotQuestion`` in time.
    :ivar served: a process in this slot has served at some time.
    """

    def __init__(
        self,
        slot: int,
        reactor: Any,
        chief: SlotSupervisor,
        settings: bytes,
        sockets: tuple[Sequence[socket.socket], Sequence[socket.socket]],
        lock: int | None = None,
        ends: int | None = None,
        fork: Fork = forked_process.fork,
    ) -> None:
        self.slot = slot
        self._fork = fork
        self._reactor = reactor
        self._chief = chief
        self.settings = settings
        self._sockets = sockets
        self._lock = lock
        self._ends = ends
        self._process: ChildProcess | None = None
        self._channel: Channel | None = None
        self._waiting: IDelayedCall | None = None
        self._asked: dict[int, Deferred[Snapshot]] = {}
        self._steps: dict[int, Deferred[str]] = {}
        self._number = 0
        self._began = 0.0
        self._deaths = 0
        self._inherits: tuple[int, tuple[socket.socket, ...]] | None = None
        self.relay: socket.socket | None = None
        self.last_line = ""
        self.ready = self.served = False
        self.restarts = self.failures = 0

    @property
    def running(self) -> bool:
        """Whether the slot has a process."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The process id; None without a process."""
        return None if self._process is None else self._process.pid

    def take_over(self, lifeline: int, relays: Sequence[socket.socket]) -> None:
        """Start a process that builds everything, and opens nothing until ``OpenState``: an old proxy has the folder.

        :param lifeline: descriptor that it holds until it ends.
        :param relays: on which old processes will relay requests to it.
        """
        self._inherits = lifeline, tuple(relays)
        try:
            self.start()
        finally:
            self._inherits = None

    def start(self) -> None:
        """Start a process. If the system cannot start one, report it like a process that exited at once."""
        self._waiting = None
        self._began = self._reactor.seconds()
        try:
            self._start()
        except OSError as error:
            why = f"before it started: {error.filename or 'cannot start a process'}: {error.strerror}"
            self._reactor.callLater(0, self.ended, why)

    def _start(self) -> None:
        """:raise OSError: the interpreter cannot be run, or there are too many open files or processes."""
        ours, theirs = socket.socketpair()
        clients, admin = self._sockets
        lifeline, relays = self._inherits or (None, ())
        self.close_relay()
        self.relay, outgoing = socket.socketpair()
        with ours, theirs, outgoing:
            for each in (ours, theirs, self.relay, outgoing):
                each.setblocking(False)
            self._process = ChildProcess(self)
            descriptors: dict[int, int | str] = {0: no_input(), 1: "r", 2: "r", CHANNEL_FD: theirs.fileno()}
            descriptors[LOCK_FD] = no_input() if self._lock is None else self._lock
            descriptors[ENDS_FD] = no_input() if self._ends is None else self._ends
            descriptors[RELAY_FD] = outgoing.fileno()
            given = [each.fileno() for each in (*clients, *admin, *relays)]
            given += [] if lifeline is None else [lifeline]
            descriptors |= dict(enumerate(given, FIRST_SOCKET_FD))
            try:
                self._fork(self._reactor, self._process, self._run, descriptors)
            except CannotFork:
                self._spawn(self._process, descriptors)
            # Bound to this channel: late messages of the old process may arrive after its successor has started.
            channel: Channel = Channel(
                FromWorker,
                lambda message: self._received(channel, message),
                lambda: self._cut_off(channel),
            )
            self._channel = channel
            self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, SingleProtocolFactory(channel))
        channel.say(
            StartWorker(
                self.slot, self.settings, len(clients), len(admin), self._inherits is not None, len(relays)
            )
        )

    def _run(self) -> int:
        """Be a worker, in the forked process; return the exit status."""
        return child.run(str(self.slot), forked=True)

    def _spawn(self, process: ChildProcess, descriptors: dict[int, int | str]) -> None:
        # -P: import nothing from the current folder.
        module = type(self._reactor).__module__
        command = [sys.executable, "-P", "-m", "hospproxy.workers.child", module, str(self.slot)]
        self._reactor.spawnProcess(process, command[0], command, env=dict(os.environ), childFDs=descriptors)

    def start_again(self) -> float:
        """Replace a process that has exited, at once or after a pause; return the pause in seconds."""
        self._deaths = exits_in_a_row(self._deaths, self._reactor.seconds() - self._began)
        self.restarts += 1
        pause_s = restart_pause_s(self._deaths)
        self._waiting = self._reactor.callLater(pause_s, self.start)
        return pause_s

    def stay_away(self) -> None:
        """Cancel a start that ``start_again`` has scheduled: the supervisor is stopping."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def say(self, message: ToWorker) -> None:
        """Send a message to the process, if there is one."""
        if self._channel is not None:
            self._channel.say(message)

    def kill(self) -> None:
        """Kill the process at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()

    def ask(self) -> Deferred[Snapshot]:
        """Return the worker's snapshot; fails if it does not answer within ``ANSWER_S``."""
        self._number += 1
        number = self._number
        answer: Deferred[Snapshot] = Deferred()
        self._asked[number] = answer

        def forget(result: Any) -> Any:
            self._asked.pop(number, None)
            return result

        answer.addTimeout(ANSWER_S, self._reactor).addBoth(forget)
        self.say(SnapshotQuestion(number))
        return answer

    def prepare(self, settings: bytes) -> Deferred[str]:
        """Let the worker prepare other options; fires with why it cannot apply them, "" if it can."""
        return self._step(lambda number: PrepareReload(number, settings))

    def commit(self) -> Deferred[str]:
        """Let the worker apply what it has prepared; fires with "" once it has."""
        return self._step(CommitReload)

    def hold(self, quiet_s: float, within_s: float) -> Deferred[str]:
        """Let the worker hold its requests; fires with why it cannot, "" if nothing is in flight any more.

        :param quiet_s: seconds for the requests in flight.
        :param within_s: seconds until it must have answered.
        """
        return self._step(lambda number: HoldRequests(number, quiet_s), within_s)

    def close(self, within_s: float) -> Deferred[str]:
        """Let the worker close the state folder; fires with why it has not, "" if it has."""
        return self._step(CloseState, within_s)

    def reopen(self, within_s: float) -> Deferred[str]:
        """Let the worker open the state folder again; fires with why it has not, "" if it has."""
        return self._step(ReopenState, within_s)

    def close_relay(self) -> None:
        """Close this process's end of the worker's relay."""
        if self.relay is not None:
            self.relay.close()
            self.relay = None

    def _step(self, message: Callable[[int], ToWorker], within_s: float = STEP_S) -> Deferred[str]:
        self._number += 1
        number = self._number
        answer: Deferred[str] = Deferred()
        self._steps[number] = answer

        def over(result: Any) -> Any:
            self._steps.pop(number, None)
            return SILENT if isinstance(result, Failure) else result

        answer.addTimeout(within_s, self._reactor).addBoth(over)
        self.say(message(number))
        return answer

    def _received(self, channel: Channel, message: FromWorker) -> None:
        if isinstance(message, WorkerLogLine):
            log_again(message, "worker {slot}", slot=self.slot)
        elif channel is self._channel:
            self._heard(message)

    def _heard(self, message: FromWorker) -> None:
        match message:
            case WorkerPrepared():
                self._chief.prepared(self)
            case WorkerReady():
                self.ready = self.served = True
                self._chief.serves(self)
            case SnapshotReply():
                answer = self._asked.pop(message.id, None)
                if answer is not None:
                    answer.callback(message.snapshot)
            case StepReply():
                step = self._steps.pop(message.id, None)
                if step is not None:
                    step.callback(message.trouble)
            case GatherQuestion():
                self._chief.asked(self, message)
            case FileReloadQuestion():
                self._chief.reload_asked(self, message)

    def _cut_off(self, channel: Channel) -> None:
        """The worker sent an invalid message or closed its end: it is stopping, or will soon be found dead."""
        if channel is self._channel:
            self._channel = None
            self.ready = False

    def wrote(self, line: str) -> None:
        """Log a line of the process's stdout or stderr: why it cannot start, or an interpreter crash."""
        self.last_line = line.strip() or self.last_line
        _log.error("worker {slot}: {line}", slot=self.slot, line=line)

    def ended(self, why: str) -> None:
        """Handle the exit of the process: clear the slot and tell the supervisor."""
        self._process = self._channel = None
        self.ready = False
        self.close_relay()
        for step in list(self._steps.values()):
            step.callback(EXITED)
        self._chief.ended(self, why)
