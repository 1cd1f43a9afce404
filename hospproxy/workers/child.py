"""The process of one worker. The supervisor forks it; ``python -P -m hospproxy.workers.child REACTOR SLOT`` otherwise.

It inherits sockets by number and receives everything else through the channel, so neither its arguments nor its
environment contain a secret. The slot is an argument only so that a list of processes shows it.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from ..keys.origin_secrets import SecretError
from ..options.source import OptionsState
from ..process import collector, privileges, signals
from ..process.channel import Channel, LogForwarder, SingleProtocolFactory
from ..process.forked_process import log_only_to, name_process
from ..process.shutdown import GRACE_S, end_within, leave
from ..record.admin_events import Operator
from ..record.sinks.build_sinks import SinkError
from ..record.trail.ends import JournalEnds
from ..service.worker_identity import Seat
from ..watch.merge import Overview, Snapshot
from ..watch.reload_page import ReloadOutcome
from .messages import (
    MOST_OF_ALL,
    AbandonReload,
    CloseState,
    CommitReload,
    FileReloadQuestion,
    FileReloadReply,
    GatherQuestion,
    GatherReply,
    HoldRequests,
    LeaveToSuccessor,
    OpenState,
    OptionsNews,
    PrepareReload,
    ReleaseRequests,
    ReloadWorker,
    ReopenState,
    ServeClients,
    SnapshotQuestion,
    SnapshotReply,
    StartWorker,
    StepReply,
    StopWorker,
    ToWorker,
    WorkerPrepared,
    WorkerReady,
)
from .worker_proxy import WorkerProxy

if TYPE_CHECKING:
    from ..service.service import ProxyService

CHANNEL_FD: Final = 3
LOCK_FD: Final = 4
"""The lock of the state folder. It is only held, until this process ends."""
ENDS_FD: Final = 5
"""The memory in which workers note how far their journals are on disk."""
RELAY_FD: Final = 6
"""A socket whose other end the supervisor keeps for a successor, which responds to what this worker relays then."""
FIRST_SOCKET_FD: Final = 7
_GATHER_S = 2.0
_RELOAD_S = 60.0
_GOODBYE_S = 2.0


class Child:
    """One worker process, from start to end.

    After losing the supervisor it has ``drain_s`` seconds to finish the requests in flight.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.channel = Channel(ToWorker, self._received, self._orphaned, MOST_OF_ALL)
        self._proxy: WorkerProxy | None = None
        self._asked = 0
        self._gathering: dict[int, Deferred[Overview]] = {}
        self._reloading: dict[int, Deferred[ReloadOutcome]] = {}
        self._drain_s = 0.0
        self._commit: Callable[[], None] | None = None

    @property
    def _service(self) -> ProxyService | None:
        return None if self._proxy is None else self._proxy.service

    def begin(self, forked: bool = False) -> None:
        """Connect to the supervisor and wait for its messages.

        :param forked: this process has the log observers of the supervisor.
        """
        forwarder = LogForwarder(self._reactor, self.channel)
        if forked:
            log_only_to(forwarder)
        else:
            globalLogBeginner.beginLoggingTo([forwarder], redirectStandardIO=False)
        for trouble in privileges.harden():
            print(f"hospproxy: warning: could not give up a privilege: {trouble}", file=sys.stderr)
        self._reactor.adoptStreamConnection(CHANNEL_FD, socket.AF_UNIX, SingleProtocolFactory(self.channel))
        os.close(CHANNEL_FD)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._end)

    def _received(self, message: ToWorker) -> None:
        match message:
            case StartWorker():
                self._start(message)
            case ReloadWorker():
                if self._service is not None:
                    self._service.reload()
            case PrepareReload():
                self.channel.say(StepReply(message.id, self._prepare(message.settings)))
            case CommitReload():
                commit, self._commit = self._commit, None
                if commit is not None:
                    commit()
                self.channel.say(StepReply(message.id))
            case AbandonReload():
                self._commit = None
            case OptionsNews():
                if self._service is not None:
                    state = OptionsState(message.generation, message.applied_at, message.refused_at)
                    self._service.status.note(state)
            case HoldRequests() | ReleaseRequests() | CloseState() | ReopenState() | LeaveToSuccessor():
                if self._proxy is not None:
                    self._replace(self._proxy, message)
            case OpenState() | ServeClients():
                if self._proxy is not None:
                    self._take_over(self._proxy, message)
            case StopWorker():
                signals.stop_once(self._reactor)
            case SnapshotQuestion():
                self._tell(message.id)
            case GatherReply():
                waiting = self._gathering.pop(message.id, None)
                if waiting is not None:
                    waiting.callback(message.overview)
            case FileReloadReply():
                reloading = self._reloading.pop(message.id, None)
                if reloading is not None:
                    reloading.callback(message.outcome)

    def _replace(
        self,
        proxy: WorkerProxy,
        message: HoldRequests | ReleaseRequests | CloseState | ReopenState | LeaveToSuccessor,
    ) -> None:
        """Do a step of a replacement in which this worker is the old one."""
        match message:
            case HoldRequests():
                proxy.hold(message.quiet_s, self._reply(message.id))
            case ReleaseRequests():
                proxy.release()
            case CloseState():
                proxy.close(self._reply(message.id))
            case ReopenState():
                proxy.reopen(self._reply(message.id))
            case LeaveToSuccessor():
                proxy.leave_to_successor()

    def _take_over(self, proxy: WorkerProxy, message: OpenState | ServeClients) -> None:
        """Do a step of a replacement in which this worker is the new one."""
        if isinstance(message, ServeClients):
            proxy.serve()
            return
        with _leaving():
            proxy.open(lambda: self.channel.say(WorkerReady()))

    def _reply(self, number: int) -> Callable[[str], None]:
        return lambda trouble: self.channel.say(StepReply(number, trouble))

    def _start(self, start: StartWorker) -> None:
        from ..service.service import build

        # Safe: it comes from our own parent, through a socket pair that no other process has.
        settings = pickle.loads(start.settings)  # noqa: S301
        self._drain_s = settings.drain_s
        total = start.listeners + start.admin + start.relays
        sockets = [socket.socket(fileno=FIRST_SOCKET_FD + index) for index in range(total)]
        for each in sockets:
            each.set_inheritable(False)
        relays = sockets[start.listeners + start.admin :]
        seat = Seat(
            start.slot,
            tuple(sockets[: start.listeners]),
            tuple(sockets[start.listeners : start.listeners + start.admin]),
            self._gather if start.slot == 0 else None,
            JournalEnds.at(ENDS_FD, settings.workers),
            self._reload_file if start.slot == 0 else None,
        )

        def build_again(before: ProxyService, given: Seat) -> ProxyService:
            return build(
                before.settings, self._reactor, evolve(seat, sockets=given.sockets, admin=given.admin)
            )

        with _leaving():
            service = build(settings, self._reactor, seat)
            proxy = self._proxy = WorkerProxy(service, self._reactor, build_again, RELAY_FD, LOCK_FD)
            if start.taking_over:
                proxy.take_over_later(relays)
            else:
                proxy.start()
        self.channel.say(WorkerPrepared() if start.taking_over else WorkerReady())

    def _prepare(self, pickled: bytes) -> str:
        """Prepare other options; return why they cannot be applied, "" if they can."""
        service = self._service
        if service is None:
            return "the worker has not started"
        settings = pickle.loads(pickled)  # noqa: S301 - as in _start
        try:
            commit = service.reloading.prepare(settings)
        except (SecretError, SinkError) as error:
            return str(error)

        def committed() -> None:
            commit()
            self._drain_s = settings.drain_s

        self._commit = committed
        return ""

    def _snapshot(self) -> Snapshot:
        assert self._service is not None
        return self._service.parts.metrics.snapshot(self._service.health.reasons())

    def _tell(self, number: int) -> None:
        if self._service is not None:
            self.channel.say(SnapshotReply(number, self._snapshot()))

    async def _gather(self, own: Snapshot) -> Overview:
        """Collect the snapshots of all workers.

        If the supervisor does not answer in time, return only this worker's.
        """
        assert self._service is not None
        self._asked += 1
        number = self._asked
        answer: Deferred[Overview] = Deferred()
        self._gathering[number] = answer
        answer.addTimeout(_GATHER_S, self._reactor)
        self.channel.say(GatherQuestion(number, own))
        try:
            return await answer
        except defer.TimeoutError:
            workers = range(1, self._service.settings.workers)
            return Overview({0: own}, dict.fromkeys(workers, "the supervisor does not answer"))
        finally:
            self._gathering.pop(number, None)

    async def _reload_file(self, operator: Operator) -> ReloadOutcome:
        """Let the supervisor apply the options file to all workers."""
        self._asked += 1
        number = self._asked
        answer: Deferred[ReloadOutcome] = Deferred()
        self._reloading[number] = answer
        answer.addTimeout(_RELOAD_S, self._reactor)
        self.channel.say(FileReloadQuestion(number, operator.user, operator.address, operator.request_id))
        try:
            return await answer
        except defer.TimeoutError:
            return ReloadOutcome(False, ["the supervisor does not answer; its log says more"])
        finally:
            self._reloading.pop(number, None)

    def _orphaned(self) -> None:
        """The supervisor is gone, so nothing would replace or stop this worker: stop in order.

        If that hangs, ``end_within`` ends the process.
        """
        if self._proxy is not None:
            self._proxy.orphaned()
            return
        end_within(self._drain_s + GRACE_S)
        signals.stop_once(self._reactor)

    @property
    def left(self) -> list[str]:
        """After the end: names of the steps of the stop that failed or did not end in time."""
        return self._service.left if self._service is not None else []

    async def _end_all(self) -> None:
        if self._proxy is not None:
            await self._proxy.stop()

    def _end(self) -> Deferred[None]:
        ended = Deferred.fromCoroutine(self._end_all())
        ended.addErrback(_said)
        return ended.addCallback(lambda _: self._goodbye())

    def _goodbye(self) -> Deferred[None]:
        """Send the last log lines before the process exits."""
        closed = self.channel.close().addTimeout(_GOODBYE_S, self._reactor)
        return closed.addErrback(lambda _failure: None)


@contextmanager
def _leaving() -> Iterator[None]:
    """End this process if what is done inside fails; stderr says why."""
    try:
        yield
    except SystemExit as ending:  # its message is on stderr already
        leave(ending.code if isinstance(ending.code, int) else 1)
    except Exception:
        traceback.print_exc()
        leave(1)


def _said(failure: Failure) -> None:
    failure.printTraceback(file=sys.stderr)


def run(slot: str, forked: bool = False) -> int:
    """Run a worker on this process's reactor; return the exit status.

    :param slot: for the name of the process.
    :param forked: this process was forked from the supervisor.
    """
    collector.begin_start()
    name_process(f"hosp-worker-{slot}")
    from twisted.internet import reactor

    running: Any = reactor
    child = Child(running)
    child.begin(forked)
    running.run()
    if child.left:
        leave(1)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run a worker in an interpreter of its own; return the exit status.

    :param arguments: the module of the supervisor's reactor, and the slot.
    """
    import_module(arguments[0]).install()
    return run(arguments[1])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
