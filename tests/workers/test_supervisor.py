"""The supervisor and its posts, with fake processes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.error import CannotListenError, ConnectionDone, ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import AuditSettings, ListenerSettings, RedisSettings, Settings, UpstreamSettings
from hospproxy.process.channel import Channel, WorkerLogLine
from hospproxy.process.forked_process import CannotFork
from hospproxy.record.admin_events import Operator
from hospproxy.watch.merge import MetricFamily, MetricSeries, Snapshot
from hospproxy.watch.reload_page import ReloadOutcome
from hospproxy.workers.child import LOCK_FD
from hospproxy.workers.messages import (
    FileReloadQuestion,
    FileReloadReply,
    GatherQuestion,
    GatherReply,
    ReloadWorker,
    SnapshotQuestion,
    SnapshotReply,
    StartWorker,
    StopWorker,
    ToWorker,
    WorkerReady,
)
from hospproxy.workers.supervisor import Supervisor


def snapshot(count: float) -> Snapshot:
    return Snapshot([MetricFamily("looks", "counter", "", [MetricSeries("looks_total", {}, count)])], {})


class Fake:
    """A fake process: keeps what it was told, and sends what the test wants."""

    def __init__(self, process: Any, command: list[str], env: dict[str, str], descriptors: Any) -> None:
        self.process, self.command, self.env, self.descriptors = process, command, env, descriptors
        self.pid = 100
        self.signals: list[str] = []
        self.got: list[Any] = []
        self.theirs: Any = None
        self._read = 0
        process.makeConnection(self)

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def connect(self, channel: Channel) -> None:
        """The supervisor's end of the channel."""
        self.channel, self.line = channel, StringTransport()
        channel.makeConnection(self.line)

    def heard(self) -> list[Any]:
        """Messages since the last call."""
        got: list[Any] = []
        end = Channel(ToWorker, got.append)
        end.makeConnection(StringTransport())
        end.dataReceived(self.line.value())
        self.line.clear()
        return got

    def says(self, message: Any) -> None:
        self.channel._received(message)

    def ends(self, signal: int | None = None, status: int | None = None) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))
        done = ProcessDone(0) if not signal and not status else ProcessTerminated(status, signal)
        self.process.processEnded(Failure(done))


def no_fork(*_: Any) -> None:
    """Make each worker a fake process of a new interpreter."""
    raise CannotFork


class Reactor(MemoryReactorClock):
    """Starts fake processes."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Fake] = []
        self.unable: OSError | None = None
        self.stopped = 0

    def spawnProcess(self, process: Any, _executable: str, args: Any, env: Any, childFDs: Any) -> None:
        if self.unable is not None:
            raise self.unable
        self.started.append(Fake(process, args, env, childFDs))

    def adoptStreamConnection(self, _fd: int, _family: int, factory: Any) -> None:
        self.started[-1].connect(factory.buildProtocol(None))

    def run(self) -> None:
        super().run()
        self.stopped = 0  # this reactor stops as soon as it has started

    def stop(self) -> None:
        self.stopped += 1


class Case(SynchronousTestCase):
    workers = 3

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.statuses: list[int] = []
        self.settings = Settings(
            upstream=UpstreamSettings(url="http://127.0.0.1:1"),
            workers=self.workers,
            redis=RedisSettings(enabled=True),
            listeners=(ListenerSettings(url="https://127.0.0.1:0"), ListenerSettings(url="http://127.0.0.1:0")),
            state_dir=Path(self.mktemp()),
            audit=AuditSettings(enabled=False),
        )  # fmt: skip
        self.opened: list[Any] = []
        bound = mock.patch("hospproxy.workers.listening_sockets.bound", self.bound)
        signals = mock.patch("hospproxy.process.signals.install")
        for each in (bound, signals):
            each.start()
            self.addCleanup(each.stop)
        self.supervisor = Supervisor(self.settings, self.reactor, self.statuses.append, fork=no_fork)

    def bound(self, urls: Any, given: Any) -> tuple[Any, ...]:
        made = []
        for number, _ in enumerate(urls, len(self.opened)):
            each = mock.Mock()
            each.fileno.return_value = 50 + number
            each.getsockname.return_value = ("127.0.0.1", 4000 + number)
            made.append(each)
        self.opened += made
        return tuple(made)

    def begin(self) -> list[Fake]:
        """Start all workers, until they serve."""
        self.supervisor.privilegedStartService()
        self.supervisor.startService()
        self.reactor.run()
        for number in range(self.workers):
            self.reactor.started[number].says(WorkerReady())
        for each in self.reactor.started:
            each.heard()
        return list(self.reactor.started)


class Starting(Case):
    def test_the_first_serves_before_the_others_begin(self) -> None:
        self.supervisor.privilegedStartService()
        self.supervisor.startService()
        self.assertEqual(self.reactor.started, [])
        self.reactor.run()
        [first] = self.reactor.started
        first.says(WorkerReady())
        self.assertEqual(len(self.reactor.started), 3)
        [start] = self.reactor.started[2].heard()
        self.assertEqual((start.slot, start.listeners, start.admin), (2, 2, 0))
        self.assertEqual(pickle.loads(start.settings), self.settings)

    def test_the_first_alone_has_the_admin_listener(self) -> None:
        first, second, _ = self.begin()
        self.assertEqual([first.descriptors[number] for number in (7, 8, 9)], [50, 51, 52])
        self.assertEqual(sorted(second.descriptors), [0, 1, 2, 3, 4, 5, 6, 7, 8])

    def test_every_worker_holds_the_lock_of_the_state_folder_too(self) -> None:
        lock = mock.Mock()
        lock.fileno.return_value = 77
        self.supervisor = Supervisor(self.settings, self.reactor, self.statuses.append, lock, fork=no_fork)
        self.assertEqual([each.descriptors[LOCK_FD] for each in self.begin()], [77] * self.workers)
        lock.name_holder.assert_called_once_with()

    def test_nothing_secret_is_on_the_command_line(self) -> None:
        for slot, each in enumerate(self.begin()):
            self.assertEqual(each.command[1:4], ["-P", "-m", "hospproxy.workers.child"])
            self.assertEqual(each.command[5:], [str(slot)])

    def test_who_cannot_start_at_first_ends_all(self) -> None:
        self.supervisor.privilegedStartService()
        self.supervisor.startService()
        self.reactor.run()
        self.reactor.started[0].ends(status=1)
        self.assertEqual((self.statuses, self.reactor.stopped), ([1], 1))
        self.assertEqual(len(self.reactor.started), 1)

    def test_an_interpreter_that_cannot_be_run(self) -> None:
        self.reactor.unable = PermissionError(13, "Permission denied", "python")
        self.supervisor.privilegedStartService()
        self.supervisor.startService()
        self.reactor.run()
        self.reactor.advance(0)
        self.assertEqual((self.statuses, self.reactor.stopped), ([1], 1))
        self.successResultOf(self.supervisor.stopService())

    def test_a_port_that_is_taken(self) -> None:
        taken = CannotListenError("127.0.0.1", 1, OSError("taken"))
        with mock.patch("hospproxy.workers.listening_sockets.bound", side_effect=taken):
            ending = self.assertRaises(SystemExit, self.supervisor.privilegedStartService)
        self.assertEqual(ending.code, 1)


class Replacing(Case):
    def test_who_ends_is_replaced_at_once_and_then_later(self) -> None:
        _, second, _ = self.begin()
        second.ends(signal=9)
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.started), 4)
        [start] = self.reactor.started[3].heard()
        self.assertEqual(start.slot, 1)
        self.reactor.started[3].ends(status=1)  # it never served, but another worker has
        self.reactor.advance(0.4)
        self.assertEqual(len(self.reactor.started), 4)
        self.reactor.advance(0.1)
        self.assertEqual(len(self.reactor.started), 5)
        self.assertEqual((self.statuses, self.reactor.stopped), ([], 0))

    def test_a_process_that_cannot_be_started_is_tried_again(self) -> None:
        _, second, _ = self.begin()
        self.reactor.unable = OSError(24, "Too many open files")
        second.ends(signal=9)
        self.reactor.advance(0)
        self.reactor.unable = None
        self.reactor.pump([0, 0.5])
        self.assertEqual([each.command[5] for each in self.reactor.started], ["0", "1", "2", "1"])

    def test_the_last_words_of_one_do_not_touch_its_successor(self) -> None:
        first, second, _ = self.begin()
        done = Failure(ProcessTerminated(None, 9))
        second.process.processEnded(done)  # before the supervisor knows that its channel is closed
        self.reactor.advance(0)
        successor = self.reactor.started[3]
        second.says(WorkerReady())
        self.assertFalse(second.process._owner.ready)
        second.channel.connectionLost(Failure(ConnectionDone()))
        successor.says(WorkerReady())
        successor.heard()
        self.supervisor.reload()
        self.assertEqual((successor.heard(), first.heard()), ([ReloadWorker()], [ReloadWorker()]))

    def test_one_that_ends_while_others_begin(self) -> None:
        """The first has served, so it is replaced; the others are not started twice."""
        self.supervisor.privilegedStartService()
        self.supervisor.startService()
        self.reactor.run()
        self.reactor.started[0].says(WorkerReady())
        self.reactor.started[0].ends(signal=9)
        self.reactor.advance(0)
        self.reactor.started[3].says(WorkerReady())
        self.assertEqual([each.command[5] for each in self.reactor.started], ["0", "1", "2", "0"])

    def test_one_that_serves_goes_on_whatever_ends_another_at_its_start(self) -> None:
        """The kernel may have killed it for its memory; a common problem would have stopped the first one, too."""
        self.supervisor.privilegedStartService()
        self.supervisor.startService()
        self.reactor.run()
        self.reactor.started[0].says(WorkerReady())
        self.reactor.started[1].ends(signal=9)
        self.assertEqual((self.statuses, self.reactor.stopped), ([], 0))
        self.reactor.advance(0)
        self.assertEqual([each.command[5] for each in self.reactor.started], ["0", "1", "2", "1"])

    def test_certificates_are_read_again_by_all(self) -> None:
        workers = self.begin()
        self.supervisor.reload()
        self.assertEqual([each.heard() for each in workers], [[ReloadWorker()]] * 3)

    def test_lines_have_their_level_and_their_worker(self) -> None:
        events: list[Any] = []
        _, second, _ = self.begin()
        with mock.patch("hospproxy.process.channel.Logger") as logger:
            logger.return_value.emit.side_effect = lambda level, _format, **more: events.append(
                (level.name, more)
            )
            second.says(WorkerLogLine("warn", "a.b", "it rains"))
            second.says(WorkerLogLine("nonsense", "a.b", "so"))
        self.assertEqual(
            events, [("warn", {"slot": 1, "text": "it rains"}), ("info", {"slot": 1, "text": "so"})]
        )

    def test_what_is_written_past_the_log(self) -> None:
        first, *_ = self.begin()
        with mock.patch("hospproxy.workers.worker_slot._log") as log:
            first.process.childDataReceived(2, b"hospproxy: no ke")
            first.process.childDataReceived(2, b"y\nrest")
            first.ends(status=1)
        self.assertEqual(
            [call.kwargs["line"] for call in log.error.mock_calls], ["hospproxy: no key", "rest"]
        )

    def test_a_line_without_an_end_takes_no_more_than_its_share(self) -> None:
        first, *_ = self.begin()
        with mock.patch("hospproxy.workers.worker_slot._log") as log:
            for _ in range(40):
                first.process.childDataReceived(1, b"x" * 4096)
        self.assertGreaterEqual(len(log.error.mock_calls), 2)


class FileReload(Case):
    outcome = ReloadOutcome(True, ["options reloaded: 0 changed"])

    def test_the_worker_that_asks_is_told(self) -> None:
        async def reload(operator: Operator) -> ReloadOutcome:
            self.assertEqual(operator, Operator("admin listener", "eve", None, "192.0.2.1", "r1"))
            return self.outcome

        first, second, _ = self.begin()
        self.supervisor.owner = mock.Mock(reload=reload)
        first.says(FileReloadQuestion(7, "eve", "192.0.2.1", "r1"))
        self.assertEqual((first.heard(), second.heard()), ([FileReloadReply(7, self.outcome)], []))

    def test_without_options_to_read_again(self) -> None:
        first, _, _ = self.begin()
        first.says(FileReloadQuestion(7))
        [reply] = first.heard()
        self.assertEqual((reply.id, reply.outcome.applied), (7, False))


class Gathering(Case):
    def ask(self, worker: Fake, own: Snapshot) -> None:
        worker.says(GatherQuestion(7, own))

    def answer(self, worker: Fake, own: Snapshot) -> None:
        [ask] = worker.heard()
        self.assertIsInstance(ask, SnapshotQuestion)
        worker.says(SnapshotReply(ask.id, own))

    def test_all_answer(self) -> None:
        first, second, third = self.begin()
        self.ask(first, snapshot(1))
        self.answer(second, snapshot(2))
        self.assertEqual(first.heard(), [])
        self.answer(third, snapshot(3))
        [gathered] = first.heard()
        self.assertIsInstance(gathered, GatherReply)
        self.assertEqual(gathered.id, 7)
        self.assertEqual(gathered.overview.seen, {0: snapshot(1), 1: snapshot(2), 2: snapshot(3)})
        self.assertEqual(gathered.overview.missing, {})

    def test_who_is_silent_is_left_out_after_a_second(self) -> None:
        first, second, third = self.begin()
        self.ask(first, snapshot(1))
        self.answer(second, snapshot(2))
        self.reactor.advance(1.0)
        [gathered] = first.heard()
        self.assertEqual(sorted(gathered.overview.seen), [0, 1])
        self.assertEqual(gathered.overview.missing, {2: "it does not answer"})
        self.assertEqual(gathered.overview.failures, {0: 0, 1: 0, 2: 1})
        [ask] = third.heard()
        third.says(SnapshotReply(ask.id, snapshot(3)))  # too late; it has no effect
        self.assertEqual(first.heard(), [])

    def test_what_a_worker_has_counted_stays(self) -> None:
        first, second, third = self.begin()
        for _ in range(2):
            self.ask(first, snapshot(1))
            self.answer(third, snapshot(3))
            if second in self.reactor.started[:3] and not second.process._owner.restarts:
                self.answer(second, snapshot(2))
                second.ends(signal=9)
            *_, gathered = first.heard()
        self.assertEqual(gathered.overview.missing, {1: "it is being started"})
        self.assertEqual(gathered.overview.restarts, {0: 0, 1: 1, 2: 0})
        self.assertEqual([each.series[0].value for each in gathered.overview.rest], [2])

    def test_who_ends_while_others_are_asked_counts_once(self) -> None:
        first, second, third = self.begin()
        for count in (2, 5):
            self.ask(first, snapshot(1))
            self.answer(second, snapshot(count))
            if count == 5:
                second.ends(signal=9)
            self.answer(third, snapshot(3))
            *_, gathered = first.heard()
        self.assertEqual(gathered.overview.seen, {0: snapshot(1), 2: snapshot(3)})
        self.assertEqual(gathered.overview.missing, {1: "it is being started"})
        self.assertEqual([each.series[0].value for each in gathered.overview.rest], [2])
        self.ask(first, snapshot(1))
        self.answer(third, snapshot(3))
        *_, gathered = first.heard()
        self.assertEqual([each.series[0].value for each in gathered.overview.rest], [2])


class Stopping(Case):
    def test_all_are_told_and_waited_for(self) -> None:
        workers = self.begin()
        stopping = self.supervisor.stopService()
        for each in self.opened:
            each.close.assert_called_once_with()
        self.assertEqual([each.heard() for each in workers], [[StopWorker()]] * 3)
        for each in workers:
            self.assertNoResult(stopping)
            each.ends()
        self.successResultOf(stopping)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((len(self.reactor.started), self.statuses), (3, []))

    def test_who_hangs_is_killed(self) -> None:
        first, second, third = self.begin()
        stopping = self.supervisor.stopService()
        first.ends()
        third.ends()
        self.reactor.advance(self.settings.drain_s + 9.9)
        self.assertEqual(second.signals, [])
        self.reactor.advance(0.1)
        self.assertEqual((second.signals, first.signals), (["KILL"], []))
        second.ends(signal=9)
        self.successResultOf(stopping)

    def test_one_that_even_the_kernel_cannot_end_is_left(self) -> None:
        first, _, third = self.begin()
        stopping = self.supervisor.stopService()
        first.ends()
        third.ends()
        self.reactor.advance(self.settings.drain_s + 10.0)
        self.assertNoResult(stopping)
        self.reactor.advance(2.0)
        self.successResultOf(stopping)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_nobody_is_replaced_any_more(self) -> None:
        first, second, third = self.begin()
        second.ends(signal=9)
        stopping = self.supervisor.stopService()
        first.ends()
        third.ends(signal=9)
        self.reactor.advance(60)
        self.successResultOf(stopping)
        self.assertEqual(len(self.reactor.started), 3)

    def test_one_that_begins_meanwhile_is_told_too(self) -> None:
        self.supervisor.privilegedStartService()
        self.supervisor.startService()
        self.reactor.run()
        [first] = self.reactor.started
        stopping = self.supervisor.stopService()
        first.says(WorkerReady())
        start, stop = first.heard()
        self.assertIsInstance(start, StartWorker)
        self.assertEqual(stop, StopWorker())
        self.assertEqual(len(self.reactor.started), 1)
        first.ends()
        self.successResultOf(stopping)
