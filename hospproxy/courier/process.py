"""The courier process. The service forks it at its start; ``python -P -m hospproxy.courier.process REACTOR`` later.

It inherits a channel and the memory with the journals' ends by number, and receives everything else through the
channel. When the channel closes it ends at once: all that it must remember is on disk.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import platform
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from twisted.internet import task
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from ..http.errors import RecordFailed
from ..interfaces import IJournal
from ..keys.secrets import KeyFileError
from ..process import clocks, collector, privileges
from ..process.background import Background
from ..process.channel import Channel, LogForwarder, SingleProtocolFactory
from ..process.folders import make_private, remove_left
from ..process.forked_process import log_only_to, name_process
from ..process.host import REAL, Host
from ..process.shutdown import leave
from ..record.alerts.build_alerts import FILE as LEARNT
from ..record.sinks.build_sinks import SinkError
from ..record.sinks.pace import JournalPace
from ..record.sinks.positions import FOLDER
from ..record.trail.ends import JournalEnds
from ..record.trail.files import lock_of, locked
from ..record.trail.record_line import encode_record
from .delivery import Delivery, pause
from .messages import (
    CHANNEL_FD,
    ENDS_FD,
    Claim,
    Claimed,
    Elsewhere,
    Finish,
    Forget,
    Keep,
    Kept,
    Notice,
    Noticed,
    Ready,
    Search,
    Start,
    Subjects,
    ToCourier,
)
from .meter import SentMeter
from .searches import Searches

if TYPE_CHECKING:
    from ..config import Settings
    from ..record.disclosures import Disclosure

_log = Logger()
LOCK: Final = "courier.lock"
"""In the folder of the positions. It is held until the process ends: a machine has one courier."""
NAME: Final = "hosp-courier"
"""What ``ps -o comm`` and ``top`` show."""
NICE: Final = 10
REPORT_S: Final = 1.0
"""Seconds between two reports. Each costs the service a tenth of a millisecond."""
EXCHANGE_S: Final = 5.0
"""Seconds between two exchanges with the other machines."""
CLAIM_S: Final = 5.0
"""Seconds to wait for the service's word on an alert."""
_MOST_KEPT: Final = 10_000
_POLL_S: Final = 0.1
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_LOWEST_BEST_EFFORT: Final = 2 << 13 | 7
_PR_SET_PDEATHSIG: Final = 1


@implementer(IJournal)
class SentJournal:
    """Lets the service write a record to its journal.

    :param meter: what it has counted is sent first, so that nobody sees a record before its count.
    """

    full = False

    def __init__(self, channel: Channel, meter: SentMeter) -> None:
        self._channel = channel
        self._meter = meter
        self._number = 0
        self._waiting: dict[int, Deferred[None]] = {}

    def append(
        self,
        record: Mapping[str, Any],
        disclosure: Disclosure | None = None,  # noqa: ARG002 - alerts name none
    ) -> Deferred[None]:
        if len(self._waiting) >= _MOST_KEPT:
            return fail(RecordFailed("too many records are waiting for the service"))
        self._number += 1
        done = self._waiting[self._number] = Deferred()
        self._meter.send()
        self._channel.say(Keep(self._number, encode_record(record)))
        return done

    def kept(self, message: Kept) -> None:
        """Take what became of a record."""
        done = self._waiting.pop(message.id, None)
        if done is None:
            return
        if message.trouble:
            done.errback(RecordFailed(message.trouble))
        else:
            done.callback(None)


class SentClaims:
    """Asks the service whether an alert is this machine's to raise."""

    def __init__(self, reactor: Any, channel: Channel) -> None:
        self._reactor = reactor
        self._channel = channel
        self._number = 0
        self._waiting: dict[int, Deferred[bool]] = {}

    def claim(self, name: str, lasts_s: float) -> Deferred[bool]:
        """Fires with whether to raise the alert; without a reply in time it is raised."""
        self._number += 1
        number, done = self._number, Deferred[bool]()
        if len(self._waiting) >= _MOST_KEPT:
            return succeed(True)
        self._waiting[number] = done
        self._channel.say(Claim(number, name, lasts_s))

        def over(result: bool | Failure) -> bool:
            self._waiting.pop(number, None)
            return result if isinstance(result, bool) else True

        return done.addTimeout(CLAIM_S, self._reactor).addBoth(over)

    def claimed(self, message: Claimed) -> None:
        """Pass the service's reply to the alert that waits for it."""
        done = self._waiting.pop(message.id, None)
        if done is not None:
            done.callback(message.won)


def inherited_ends(workers: int) -> JournalEnds:
    """Use the memory with the journals' ends that this process has inherited.

    :raise OSError: the descriptor is of something else.
    """
    return JournalEnds.at(ENDS_FD, workers)


def cannot_start(error: Exception) -> None:
    """Say on stderr why the courier cannot start, and end the process."""
    if not is_expected(error):
        traceback.print_exc()
    print(f"it cannot start: {error}", file=sys.stderr)
    leave(1)


def is_expected(error: Exception) -> bool:
    """Whether an operator can mend what keeps the courier from starting: a disk, an option, a key."""
    return isinstance(error, OSError | SinkError | KeyFileError)


def give_way() -> None:
    """Let requests go first: lower this process's priority for processor and disk.

    Only once it has started: until then sinks and alerts wait for it.
    """
    with suppress(OSError):
        os.nice(NICE)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _LOWEST_BEST_EFFORT)


@frozen(slots=True, kw_only=True)
class OwnProcess:
    """What the courier does with the process that it runs in. The simulation hands in another.

    :param ends: returns the memory with the journals' ends, for so many workers.
    :param cannot_start: ends the process after an error at its start.
    :param give_way: lowers its priority.
    :param leave: ends it at once, with an exit status.
    """

    ends: Callable[[int], JournalEnds] = inherited_ends
    cannot_start: Callable[[Exception], None] = cannot_start
    give_way: Callable[[], None] = give_way
    leave: Callable[[int], None] = leave


class CourierMain:
    """The process, from start to end.

    :param settings: of the service that it was forked from; None in an interpreter of its own.
    :param host: the system.
    :param own: the process.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings | None = None,
        host: Host = REAL,
        own: OwnProcess = OwnProcess(),
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._own = own
        self.channel = Channel(ToCourier, self._received, lambda: own.leave(0))
        self._meter = SentMeter(self.channel.say)
        self._journal = SentJournal(self.channel, self._meter)
        self._claims = SentClaims(reactor, self.channel)
        self._ends: JournalEnds | None = None
        self._settings = settings
        self._forked = settings is not None
        self._delivery: Delivery | None = None
        self._searches: Searches | None = None
        self._early: list[Search | Forget] = []
        self._reporting = task.LoopingCall(self._meter.send)
        self._exchanging = task.LoopingCall(self._tell_subjects)
        self._background = Background(_log, "the courier failed (a bug)")

    def begin(self) -> None:
        """Connect to the service and wait for its messages."""
        # Counts before log lines: who reads of a failure must find it counted.
        forwarder = LogForwarder(self._reactor, self.channel, self._meter.send)
        if self._forked:  # it has the log observers of the service
            log_only_to(forwarder)
        else:
            globalLogBeginner.beginLoggingTo([forwarder], redirectStandardIO=False)
        privileges.harden()
        self._reactor.adoptStreamConnection(CHANNEL_FD, socket.AF_UNIX, SingleProtocolFactory(self.channel))
        os.close(CHANNEL_FD)
        self.report()

    def report(self) -> None:
        """Report to the service from now on; its channel may connect later."""
        self._reporting.clock = self._reactor
        self._reporting.start(REPORT_S)

    def _received(self, message: ToCourier) -> None:
        match message:
            case Start():
                if message.settings is not None:
                    # Safe: it comes from our own parent, through a socket pair that no other process has.
                    self._settings = pickle.loads(message.settings)  # noqa: S301
                assert self._settings is not None
                self._background.run(self._start(self._settings))
            case Kept():
                self._journal.kept(message)
            case Claimed():
                self._claims.claimed(message)
            case Elsewhere():
                if self._delivery is not None and self._delivery.noticer is not None:
                    self._delivery.noticer.elsewhere(message.values)
            case Search() | Forget():
                self._early.append(message)
                self._search()
            case Notice():
                self._background.run(self._notice(message.within_s))
            case Finish():
                self._background.run(self._finish(message.within_s), lambda _outcome: self._own.leave(0))

    async def _start(self, settings: Settings) -> None:
        """Wait until an earlier courier has ended, then follow the journals."""
        try:
            self._ends = self._own.ends(settings.workers)
            await self._lock(settings.audit_path)
            self._delivery = delivery = Delivery(
                settings,
                self._reactor,
                self._meter,
                self._journal,
                self._ends.live,
                host=self._host,
                pace=lambda: JournalPace(apart=True),
                claim=self._claims.claim if settings.redis.enabled else None,
            )
        except Exception as error:
            self._own.cannot_start(error)
            return
        if delivery.reader is not None:
            self._searches = Searches(delivery.reader, self.channel.say)
            self._search()
        # Each worker used to learn for itself. What worker 0 has learnt goes on.
        remove_left([settings.state_dir / LEARNT], 1)
        self._own.give_way()
        delivery.start()
        self.channel.say(Ready())
        if settings.redis.enabled and settings.alerts.enabled and settings.audit.enabled:
            self._exchanging.clock = self._reactor
            self._exchanging.start(EXCHANGE_S, now=False)
        collector.end_start()

        self._host.settle()

    def _tell_subjects(self) -> None:
        if self._delivery is not None and self._delivery.noticer is not None:
            self.channel.say(Subjects(self._delivery.noticer.subjects()))

    def _search(self) -> None:
        """Begin the searches that have arrived; those from before the start have waited for it."""
        if self._searches is not None:
            early, self._early = self._early, []
            for each in early:
                self._searches.received(each)

    async def _lock(self, directory: Path) -> None:
        folder = directory / FOLDER
        make_private(folder)
        said = False
        while lock_of(folder / LOCK) is None:
            if not said:
                _log.info("waiting for an earlier courier to end")
            said = True
            await pause(self._reactor, _POLL_S)

    async def _notice(self, within_s: float) -> None:
        if self._delivery is not None:
            await self._delivery.noticed(within_s)
        self.channel.say(Noticed())

    async def _finish(self, within_s: float) -> None:
        """Deliver what is on disk. Other workers may be a little later than the one that told us."""
        until = self._reactor.seconds() + within_s
        while self._reactor.seconds() < until - within_s / 2 and self._is_written():
            await pause(self._reactor, _POLL_S)
        if self._delivery is not None:
            await self._delivery.stop(max(0.0, until - self._reactor.seconds()))
        self._meter.send()
        await self.channel.close()

    def _is_written(self) -> bool:
        """Whether a worker still writes to its journal."""
        if self._ends is None or self._settings is None:
            return False
        for journal in self._ends.open():
            lock = locked(self._settings.audit_path, journal)
            if lock is None:
                return True
            os.close(lock)  # its process has died
        return False


def run(settings: Settings | None = None) -> int:
    """Run the courier on this process's reactor; return the exit status.

    :param settings: if this process was forked from the service.
    """
    collector.begin_start()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    name_process(NAME)
    # A signal to the whole process group is for the service, which then tells us.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    from twisted.internet import reactor

    running: Any = reactor
    clocks.install_monotonic(running)
    CourierMain(running, settings).begin()
    running.run(installSignalHandlers=False)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run the courier in an interpreter of its own; return the exit status.

    :param arguments: the module of the service's reactor.
    """
    import_module(arguments[0]).install()
    return run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
