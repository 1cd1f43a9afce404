"""The courier process as the service sees it: started, watched, replaced, and ended."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.courier.messages import (
    Claim,
    Claimed,
    Counted,
    Elsewhere,
    Failed,
    Finish,
    Keep,
    Kept,
    Notice,
    Noticed,
    Ready,
    Search,
    Start,
    Subjects,
    ToCourier,
    Told,
)
from hospproxy.courier.supervised import HUNG_S, CourierProcess
from hospproxy.courier.told import SILENT_S
from hospproxy.http.errors import RecordFailed
from hospproxy.process.channel import Channel, WorkerLogLine
from hospproxy.process.forked_process import CannotFork
from hospproxy.process.host import Host
from hospproxy.record.search.rows import IndexAway
from hospproxy.record.trail.ends import JournalEnds
from hospproxy.record.trail.follower import Cursor
from hospproxy.watch.metrics import Metrics


class Fake:
    """A fake process: keeps what it was told, and sends what the test wants."""

    def __init__(self, process: Any, command: list[str], env: dict[str, str], descriptors: Any) -> None:
        self.process, self.command, self.env, self.descriptors = process, command, env, descriptors
        self.pid = 100
        self.signals: list[str] = []
        process.makeConnection(self)

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def connect(self, channel: Channel) -> None:
        self.channel, self.line = channel, StringTransport()
        channel.makeConnection(self.line)

    def heard(self) -> list[Any]:
        """Messages since the last call."""
        got: list[Any] = []
        end = Channel(ToCourier, got.append)
        end.makeConnection(StringTransport())
        end.dataReceived(self.line.value())
        self.line.clear()
        return got

    def says(self, message: Any) -> None:
        self.channel._received(message)

    def ends(self, signal: int | None = None) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.process.processEnded(Failure(ProcessTerminated(None, signal) if signal else ProcessDone(0)))


class Reactor(MemoryReactorClock):
    """Starts fake processes."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Fake] = []
        self.unable: OSError | None = None

    def spawnProcess(self, process: Any, _executable: str, args: Any, env: Any, childFDs: Any) -> None:
        if self.unable is not None:
            raise self.unable
        self.started.append(Fake(process, args, env, childFDs))

    def adoptStreamConnection(self, _fd: int, _family: int, factory: Any) -> None:
        self.started[-1].connect(factory.buildProtocol(None))


class FakeJournal:
    """Keeps records, as the test says."""

    full = False

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.result: Any = succeed

    def append(self, record: Any, _disclosure: Any = None) -> Deferred[None]:
        self.records.append(record)
        result: Deferred[None] = self.result(None)
        return result


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor, self.metrics, self.journal = Reactor(), Metrics(strict=True), FakeJournal()
        self.ends = JournalEnds.make(1)
        self.addCleanup(os.close, self.ends.fileno())
        self.settings = Settings(
            upstream=UpstreamSettings(url="http://127.0.0.1:1"), state_dir=Path(self.mktemp())
        )
        self.courier = CourierProcess(self.settings, self.reactor, self.metrics, self.journal, self.ends)

    def begin(self) -> Fake:
        """Start it, until it follows the journal."""
        self.courier.start()
        self.reactor.run()
        [process] = self.reactor.started
        self.report(process)
        return process

    def report(self, process: Fake) -> None:
        process.says(Ready())
        process.says(Told([], []))
        process.heard()

    def value(self, name: str) -> float | None:
        return self.metrics.value(f"courier_{name}")

    def advance(self, seconds: float) -> None:
        """Let time pass in steps."""
        for _ in range(round(seconds / 0.05)):
            self.reactor.advance(0.05)


class Starting(Case):
    def test_it_starts_once_the_reactor_runs_and_inherits_no_socket_of_clients(self) -> None:
        self.courier.start()
        self.assertEqual(self.reactor.started, [])
        self.reactor.run()
        [process] = self.reactor.started
        self.assertEqual(sorted(process.descriptors), [0, 1, 2, 3, 4])
        self.assertEqual(process.descriptors[4], self.ends.fileno())
        self.assertEqual(process.command[1:4], ["-P", "-m", "hospproxy.courier.process"])
        [start] = process.heard()
        self.assertIsInstance(start, Start)
        self.assertEqual(pickle.loads(start.settings), self.settings)
        self.assertNotIn(b"127.0.0.1", repr(start).encode())
        self.assertEqual(self.value("up"), 0)
        self.report(process)
        self.assertEqual(self.value("up"), 1)

    def test_one_that_cannot_be_started_is_tried_again_ever_more_seldom(self) -> None:
        self.reactor.unable = OSError(11, "Resource temporarily unavailable")
        self.courier.start()
        self.reactor.run()
        self.advance(100.0)
        restarts = self.value("restarts_total") or 0
        self.assertTrue(6 <= restarts <= 10, restarts)
        self.reactor.unable = None
        self.advance(31.0)
        [process] = self.reactor.started
        self.report(process)
        self.assertEqual(self.value("up"), 1)


class Forking(Case):
    """The first process is forked by the service, before it has threads."""

    def setUp(self) -> None:
        super().setUp()
        self.trouble: Exception | None = None
        host = Host(fork=self.fork)
        self.courier = CourierProcess(
            self.settings, self.reactor, self.metrics, self.journal, self.ends, host
        )

    def fork(self, _reactor: Any, process: Any, run: Any, descriptors: Any) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.assertEqual(run, self.courier._run)
        self.reactor.started.append(Fake(process, ["fork"], {}, descriptors))

    def test_it_waits_until_the_ports_are_open(self) -> None:
        self.courier.fork()
        [process] = self.reactor.started
        self.assertEqual(sorted(process.descriptors), [0, 1, 2, 3, 4])
        self.assertEqual(process.heard(), [])
        self.courier.start()
        self.assertEqual(process.heard(), [])
        self.reactor.run()
        self.assertEqual(process.heard(), [Start(None)])
        self.assertEqual(len(self.reactor.started), 1)

    def test_its_successor_is_a_new_interpreter(self) -> None:
        self.courier.fork()
        process = self.begin()
        process.ends(signal=9)
        self.reactor.advance(0)
        self.assertEqual([each.command[0] for each in self.reactor.started], ["fork", sys.executable])
        [start] = self.reactor.started[1].heard()
        self.assertEqual(pickle.loads(start.settings), self.settings)

    def test_where_no_fork_is_possible_a_new_interpreter_is_started(self) -> None:
        for self.trouble in (CannotFork(), OSError(11, "Resource temporarily unavailable")):
            self.courier.fork()
            self.assertEqual(self.reactor.started, [])
        process = self.begin()
        self.assertEqual(process.command[0], sys.executable)


class Watching(Case):
    def test_one_that_ends_is_replaced_at_once_and_then_later(self) -> None:
        process = self.begin()
        process.ends(signal=9)
        self.assertEqual(self.value("up"), 0)
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.started), 2)
        self.reactor.started[1].ends()
        self.reactor.advance(0.4)
        self.assertEqual(len(self.reactor.started), 2)
        self.reactor.advance(0.1)
        self.assertEqual(len(self.reactor.started), 3)
        self.assertEqual(self.value("restarts_total"), 2)
        self.assertEqual([type(each) for each in self.reactor.started[2].heard()], [Start])

    def test_one_that_is_silent_is_shown_and_later_killed(self) -> None:
        process = self.begin()
        self.advance(SILENT_S + 1)
        self.assertEqual((self.value("up"), process.signals), (0, []))
        process.says(Told([], []))
        self.assertEqual(self.value("up"), 1)
        self.advance(HUNG_S + 6)
        self.assertEqual(process.signals, ["KILL"])

    def test_one_that_sends_nonsense_is_killed(self) -> None:
        process = self.begin()
        process.line.abortConnection = lambda: process.channel.connectionLost(Failure(ConnectionDone()))
        process.channel.dataReceived(b"\0\0\0\3abc")
        self.assertEqual(process.signals, ["KILL"])

    def test_the_last_words_of_one_do_not_touch_its_successor(self) -> None:
        process = self.begin()
        process.ends(signal=9)
        self.reactor.advance(0)
        process.says(Ready())
        process.says(WorkerLogLine("info", "a.b", "late"))
        self.assertEqual(self.value("up"), 0)

    def test_what_it_counts_is_shown(self) -> None:
        process = self.begin()
        carried = Counted("record_writer_carried_total", {"writer": "http"}, 4)
        behind = Counted("record_writer_behind_records", {"writer": "http"}, 2)
        process.says(Told([carried], [behind]))
        self.assertEqual(self.metrics.value("record_writer_carried_total", writer="http"), 4)
        self.ends.publish(0, Cursor("w0", 1, 100, 30))
        process.ends(signal=9)
        self.assertEqual(self.metrics.value("record_writer_behind_records", writer="http"), 32)


class Alerts(Case):
    def test_their_records_are_written_and_it_hears_when(self) -> None:
        process = self.begin()
        done: Deferred[None] = Deferred()
        self.journal.result = lambda _: done
        process.says(Keep(7, b'{"kind":"alert","rule":"r"}'))
        self.assertEqual(self.journal.records, [{"kind": "alert", "rule": "r"}])
        self.assertEqual(process.heard(), [])
        done.callback(None)
        self.assertEqual(process.heard(), [Kept(7, "")])

    def test_it_hears_of_a_failure(self) -> None:
        process = self.begin()
        self.journal.result = lambda _: fail(RecordFailed("the disk is full"))
        process.says(Keep(7, b"{}"))
        self.assertEqual(process.heard(), [Kept(7, "the disk is full")])

    def test_without_other_machines_every_alert_is_its_own(self) -> None:
        process = self.begin()
        process.says(Subjects(b"counted"))
        process.says(Claim(3, "rule subject", 60.0))
        self.assertEqual(process.heard(), [Claimed(3, True)])

    def test_other_machines_are_asked_for_it(self) -> None:
        process = self.begin()

        async def exchange(value: bytes) -> list[bytes]:
            return [value + b" elsewhere"]

        async def claim(name: str, lasts_s: float) -> bool:
            return (name, lasts_s) != ("rule subject", 60.0)

        self.courier._exchange = mock.Mock(exchange=exchange, claim=claim)
        process.says(Subjects(b"counted"))
        process.says(Claim(3, "rule subject", 60.0))
        self.assertEqual(process.heard(), [Elsewhere([b"counted elsewhere"]), Claimed(3, False)])

    def test_before_a_stop_the_rules_see_what_is_on_disk(self) -> None:
        process = self.begin()
        seen = Deferred.fromCoroutine(self.courier.noticed(4.0))
        [notice] = process.heard()
        self.assertEqual(notice, Notice(4.0))
        process.says(Keep(7, b"{}"))
        self.assertEqual(process.heard(), [Kept(7, "")])
        self.assertNoResult(seen)
        process.says(Noticed())
        self.successResultOf(seen)

    def test_what_they_see_later_is_left_to_the_next_start(self) -> None:
        """Nothing is kept any more, and the courier does not learn that it failed: it saves no position."""
        process = self.begin()
        seen = Deferred.fromCoroutine(self.courier.noticed(1.0))
        self.advance(1.2)
        self.successResultOf(seen)
        process.heard()
        process.says(Keep(7, b"{}"))
        self.assertEqual((process.heard(), self.journal.records), ([], []))
        process.says(Noticed())  # late

    def test_one_that_is_just_starting_is_waited_for(self) -> None:
        self.courier.start()
        self.reactor.run()
        [process] = self.reactor.started
        seen = Deferred.fromCoroutine(self.courier.noticed(4.0))
        self.advance(1.0)
        self.report(process)
        self.advance(0.1)
        [notice] = process.heard()
        self.assertTrue(2.5 < notice.within_s <= 3.0)
        process.ends(signal=9)
        self.successResultOf(seen)


class Stopping(Case):
    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.courier.stop(4.0))

    def test_it_has_time_to_deliver(self) -> None:
        process = self.begin()
        stopping = self.stop()
        self.assertEqual(process.heard(), [Finish(4.0)])
        self.advance(3.9)
        self.assertNoResult(stopping)
        process.ends()
        self.successResultOf(stopping)
        self.advance(60.0)
        self.assertEqual((len(self.reactor.started), process.signals), (1, []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_is_late_is_killed(self) -> None:
        process = self.begin()
        stopping = self.stop()
        self.advance(4.6)
        self.assertEqual(process.signals, ["KILL"])
        process.ends(signal=9)
        self.successResultOf(stopping)

    def test_one_that_was_to_be_replaced_is_not(self) -> None:
        for process in (self.begin(), None):
            (process or self.reactor.started[-1]).ends(signal=9)
            if process is not None:
                self.reactor.advance(0)
        self.successResultOf(self.stop())
        self.advance(60.0)
        self.assertEqual(len(self.reactor.started), 2)

    def test_before_it_has_begun(self) -> None:
        self.successResultOf(self.stop())


class Searching(Case):
    def test_a_search_goes_to_it_and_fails_at_once_while_it_is_away(self) -> None:
        reader: Any = self.courier.reader
        self.failureResultOf(Deferred.fromCoroutine(reader.summary(0.0)), IndexAway)
        process = self.begin()
        asked = Deferred.fromCoroutine(reader.summary(0.0))
        [search] = process.heard()
        self.assertIsInstance(search, Search)
        process.says(Failed(search.id, "busy", False))
        self.failureResultOf(asked, IndexAway)
        asked = Deferred.fromCoroutine(reader.summary(0.0))
        process.ends(signal=9)
        self.failureResultOf(asked, IndexAway)
