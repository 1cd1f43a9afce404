"""Starts, watches and restarts the courier process. The service goes on without it."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..interfaces import IJournal, IMeter, ITrailReader
from ..options.changes import changes, touches
from ..process.background import Background
from ..process.channel import Channel, SingleProtocolFactory, WorkerLogLine, log_again
from ..process.child_process import ChildProcess, exits_in_a_row, no_input, restart_pause_s
from ..process.forked_process import CannotFork
from ..process.host import REAL, Host
from ..record.sinks.build_sinks import check_writers
from ..record.trail.ends import JournalEnds
from . import process as courier_process
from .alert_exchange import AlertExchange
from .delivery import has_searches, pause
from .messages import (
    CHANNEL_FD,
    ENDS_FD,
    Claim,
    Claimed,
    Elsewhere,
    Failed,
    Finish,
    Forget,
    FromCourier,
    Keep,
    Kept,
    Notice,
    Noticed,
    Part,
    Ready,
    Search,
    Start,
    Subjects,
    ToCourier,
    Told,
)
from .searches import RemoteReader
from .told import Reported

if TYPE_CHECKING:
    from ..config import Settings

_log = Logger()
HUNG_S: Final = 120.0
"""Seconds without a report after which the process is killed and replaced."""
FINISH_S: Final = 5.0
"""Seconds that a courier with former options has to deliver what is on disk; its successor delivers the rest."""
_OPTIONS: Final = (
    "audit_database", "audit_syslog", "audit_http", "audit_bucket", "audit_plugins", "alerts", "audit.retention_days",
    "access_log", "access_log_bucket",
)  # fmt: skip
"""Options that only the courier uses."""
_LOOK_S: Final = 5.0
_POLL_S: Final = 0.05
Descriptors = dict[int, int | str]
"""Of a process, as ``childFDs`` of ``spawnProcess``."""


class CourierProcess:
    """The machine's courier, as the service sees it; see ``Courier``.

    :param journal: keeps the records of alerts.
    :param ends: how far the journals of this machine may be read.
    :param host: forks the first process.
    :param exchange: with other machines; None: there are none.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        meter: IMeter,
        journal: IJournal,
        ends: JournalEnds,
        host: Host = REAL,
        exchange: AlertExchange | None = None,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._host = host
        self._meter = meter
        self._journal = journal
        self._ends = ends
        self._exchange = exchange
        self._background = Background(_log, "counting alerts over machines failed (a bug)", meter)
        self._process: ChildProcess | None = None
        self._channel: Channel | None = None
        self._ready = self._silent = self._closing = self._stopping = self._replacing = False
        self._knows_settings = False
        self._exits = 0
        self._began = 0.0
        self._restart: IDelayedCall | None = None
        self._noticed: Deferred[None] | None = None
        self._ended: list[Deferred[None]] = []
        self._reported = Reported(meter, reactor, self._records)
        self._looking = task.LoopingCall(self._look)
        self._looking.clock = reactor
        self._remote: RemoteReader | None = None
        if has_searches(settings):
            # The database gives up after its own time limit; this one is for a courier that hangs.
            timeout_s = 2 * settings.audit_database.timeout_s + 5.0
            self._remote = RemoteReader(self._say, reactor, timeout_s)
        self.reader: ITrailReader | None = self._remote
        meter.gauge("courier_up", lambda: float(self._ready and not self._reported.is_silent))

    @property
    def pid(self) -> int | None:
        """The process id; None without a process."""
        return None if self._process is None else self._process.pid

    def fork(self) -> None:
        """Fork the first process, while this one has no threads. It waits until ``start`` lets it begin.

        Where that is impossible ``start`` runs a new interpreter, as it does for each later process.
        """
        with suppress(OSError, CannotFork):
            self._connect(self._fork)

    def start(self) -> None:
        """Let the process begin once the reactor runs: the ports are open by then."""
        self._reactor.callWhenRunning(self._begin)
        self._looking.start(_LOOK_S, now=False)

    def check(self, settings: Settings) -> None:
        """Check the sinks: the process could not start with one that cannot be made.

        :raise SinkError: a sink cannot be made.
        """
        check_writers(settings, self._reactor, self._host)

    def reload(self, settings: Settings) -> None:
        """Let a successor with these options take over; nothing happens if none of them is the courier's."""
        different = touches(changes(self._settings, settings), *_OPTIONS)
        self._settings = settings
        if not different or self._process is None or self._replacing:
            return
        self._replacing = True
        if not self._ready:
            self._kill()
            return
        self._say(Finish(FINISH_S))
        self._reactor.callLater(FINISH_S * 1.1 + 0.1, self._kill_old, self._process)

    def _kill_old(self, process: ChildProcess) -> None:
        if self._process is process:
            self._kill()

    async def noticed(self, timeout_s: float) -> None:
        """Let the alert rules see each record on disk; see ``Courier``."""
        until = self._reactor.seconds() + timeout_s
        while self._process is not None and not self._ready and self._reactor.seconds() < until:
            await pause(self._reactor, _POLL_S)
        left_s = until - self._reactor.seconds()
        if left_s > 0 and self._say(Notice(left_s)):
            noticed = self._noticed = Deferred()
            late = self._reactor.callLater(left_s * 1.1, self._all_noticed)
            await noticed
            if late.active():
                late.cancel()
        self._closing = True

    async def stop(self, timeout_s: float) -> None:
        """Let the process deliver what is on disk and exit; kill it if it does not.

        :param timeout_s: seconds; records left after that are delivered after the next start.
        """
        self._stopping = True
        if self._looking.running:
            self._looking.stop()
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if self._process is None:
            return
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)
        self._say(Finish(timeout_s))
        late = self._reactor.callLater(timeout_s * 1.1 + 0.1, self._kill)
        try:
            await ended
        finally:
            if late.active():
                late.cancel()

    def _begin(self) -> None:
        self._restart = None
        if self._stopping:
            return
        self._began = self._reactor.seconds()
        try:
            if self._process is None:
                self._connect(self._spawn)
        except OSError as error:
            why = f"before it started: {error.filename or 'cannot start a process'}: {error.strerror}"
            self._reactor.callLater(0, self.ended, why)
            return
        assert self._channel is not None
        self._reported.at = self._reactor.seconds()
        settings = None if self._knows_settings else pickle.dumps(self._settings)
        self._knows_settings = False
        self._channel.say(Start(settings))

    def _connect(self, begin: Callable[[ChildProcess, Descriptors], None]) -> None:
        """Start a process with a channel to it.

        :raise OSError: the process cannot be started, or there are too many open files or processes.
        """
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            process = ChildProcess(self)
            descriptors: Descriptors = {0: no_input(), 1: "r", 2: "r"}
            begin(process, descriptors | {CHANNEL_FD: theirs.fileno(), ENDS_FD: self._ends.fileno()})
            self._process = process
            # Bound to this channel: late messages of the old process may arrive after its successor has started.
            channel: Channel = Channel(
                FromCourier,
                lambda message: self._received(channel, message),
                lambda: self._cut_off(channel),
            )
            self._channel = channel
            self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, SingleProtocolFactory(channel))

    def _fork(self, process: ChildProcess, descriptors: Descriptors) -> None:
        """:raise CannotFork: this process has threads."""
        self._host.fork(self._reactor, process, self._run, descriptors)
        self._knows_settings = True

    def _run(self) -> int:
        """Be the courier, in the forked process; return the exit status."""
        return courier_process.run(self._settings)

    def _spawn(self, process: ChildProcess, descriptors: Descriptors) -> None:
        # -P: import nothing from the current folder.
        module = type(self._reactor).__module__
        command = [sys.executable, "-P", "-m", "hospproxy.courier.process", module]
        self._reactor.spawnProcess(process, command[0], command, env=dict(os.environ), childFDs=descriptors)

    def _say(self, message: ToCourier) -> bool:
        """Send a message to the process; return False if there is none, or it is just starting.

        A search waits for one that is starting.
        """
        waits = isinstance(message, Finish | Search | Forget)
        if self._channel is None or not (self._ready or waits):
            return False
        self._channel.say(message)
        return True

    def _received(self, channel: Channel, message: FromCourier) -> None:
        if isinstance(message, WorkerLogLine):
            log_again(message, "courier")
        elif channel is self._channel:
            self._heard(message)

    def _heard(self, message: FromCourier) -> None:
        match message:
            case Told():
                self._reported.received(message)
            case Keep():
                self._keep(message)
            case Part() | Failed():
                if self._remote is not None:
                    self._remote.received(message)
            case Noticed():
                self._all_noticed()
            case Subjects():
                self._background.run(self._exchanged(message.value))
            case Claim():
                self._background.run(self._claimed(message))
            case Ready():
                self._ready = True
                _log.info("The courier follows the audit trail (pid={pid})", pid=self.pid)

    async def _exchanged(self, value: bytes) -> None:
        if self._exchange is not None:
            self._say(Elsewhere(await self._exchange.exchange(value)))

    async def _claimed(self, claim: Claim) -> None:
        won = self._exchange is None or await self._exchange.claim(claim.name, claim.lasts_s)
        self._say(Claimed(claim.id, won))

    def _keep(self, keep: Keep) -> None:
        if self._closing:
            return  # without a reply its records are shown to the rules again, after the next start

        def over(result: Failure | None) -> None:
            trouble = "" if result is None else result.getErrorMessage() or "it could not be written"
            self._say(Kept(keep.id, trouble))

        self._journal.append(msgspec.json.decode(keep.record, type=dict[str, Any])).addBoth(over)

    def _all_noticed(self) -> None:
        noticed, self._noticed = self._noticed, None
        if noticed is not None:
            noticed.callback(None)

    def _records(self) -> int:
        return sum(end.seq for end in self._ends.live().values())

    def _look(self) -> None:
        """Log when the process falls silent. Replace one that hangs: its carriers would never go on."""
        if self._process is None:
            return
        silent_s = self._reactor.seconds() - self._reported.at
        silent = self._ready and self._reported.is_silent
        if silent_s > HUNG_S:
            _log.error(
                "The courier has not reported for {silent_s:.0f} s; sending SIGKILL", silent_s=silent_s
            )
            self._kill()
        elif silent and not self._silent:
            _log.warn("The courier is silent: no report for {silent_s:.0f} s", silent_s=silent_s)
        elif self._silent and not silent:
            _log.info("The courier reports again")
        self._silent = silent

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _cut_off(self, channel: Channel) -> None:
        """The process sent an invalid message, or is about to be found dead."""
        if channel is self._channel and not self._stopping:
            self._kill()

    def wrote(self, line: str) -> None:
        """Log a line of its stdout or stderr: why it cannot start, or an interpreter crash (ProcessOwner)."""
        _log.error("courier: {line}", line=line)

    def ended(self, why: str) -> None:
        """The process has exited (ProcessOwner). Start another, unless the service stops."""
        self._process = self._channel = None
        self._ready = False
        self._reported.ended()
        if self._remote is not None:
            self._remote.lost("the courier process has ended")
        self._all_noticed()
        if self._stopping:
            ended, self._ended = self._ended, []
            for each in ended:
                each.callback(None)
            return
        if self._replacing:
            self._replacing = False
            _log.info("The courier is started again with changed options")
            self._restart = self._reactor.callLater(0, self._begin)
            return
        self._exits = exits_in_a_row(self._exits, self._reactor.seconds() - self._began)
        self._meter.count("courier_restarts_total")
        pause_s = restart_pause_s(self._exits)
        _log.error(
            "The courier exited {why}; audit records wait in the journal. Starting another in {pause_s:g} s",
            why=why,
            pause_s=pause_s,
        )
        self._restart = self._reactor.callLater(pause_s, self._begin)
