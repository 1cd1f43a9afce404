"""A worker's end of the channel, with a fake service."""

from __future__ import annotations

import pickle
import socket
from contextlib import redirect_stderr
from io import StringIO
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.process.channel import LONGEST_LINE, MOST_BYTES, Channel, LogForwarder, WorkerLogLine
from hospproxy.process.shutdown import GRACE_S
from hospproxy.record.admin_events import Operator
from hospproxy.watch.merge import Overview, Snapshot
from hospproxy.watch.reload_page import ReloadOutcome
from hospproxy.workers.child import ENDS_FD, FIRST_SOCKET_FD, Child
from hospproxy.workers.messages import (
    FileReloadQuestion,
    FileReloadReply,
    FromWorker,
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

OWN = Snapshot([], {"journal": "full"})
SETTINGS = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:1"), workers=3, drain_s=7.0)


class Left(Exception):
    """Raised where the process would exit."""


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.stopped = 0
        self.reactor.stop = self.stop  # type: ignore[method-assign]
        self.child = Child(self.reactor)
        self.line = StringTransportWithDisconnection()
        self.line.protocol = self.child.channel
        self.child.channel.makeConnection(self.line)

    def stop(self) -> None:
        self.stopped += 1

    def heard(self) -> list[Any]:
        got: list[Any] = []
        end = Channel(FromWorker, got.append)
        end.makeConnection(StringTransportWithDisconnection())
        end.dataReceived(self.line.value())
        self.line.clear()
        return got

    def start(self, slot: int = 0, **service: Any) -> tuple[mock.Mock, mock.Mock]:
        """Start a worker; return its service, and the mock of ``service.build``."""
        made = mock.Mock(settings=SETTINGS, running=True, **service)
        made.parts.metrics.snapshot = lambda reasons: Snapshot([], reasons)
        made.health.reasons.return_value = {"journal": "full"}
        made.stopService.return_value = succeed(None)
        message = StartWorker(slot, pickle.dumps(SETTINGS), 2, 1 if slot == 0 else 0)
        with (
            mock.patch("hospproxy.service.service.build", return_value=made) as build,
            mock.patch("hospproxy.workers.child.JournalEnds") as ends,
            mock.patch.object(socket, "socket", side_effect=lambda fileno: mock.Mock(number=fileno)),
            mock.patch("os._exit", side_effect=Left),
        ):
            self.child._received(message)
        ends.at.assert_called_once_with(ENDS_FD, 3)
        return made, build


class Starting(Case):
    def test_it_is_built_on_what_it_was_given(self) -> None:
        service, build = self.start()
        settings, reactor, seat = build.call_args.args
        self.assertEqual((settings, reactor, seat.slot), (SETTINGS, self.reactor, 0))
        numbers = [each.number for each in (*seat.sockets, *seat.admin)]
        self.assertEqual(numbers, [FIRST_SOCKET_FD, FIRST_SOCKET_FD + 1, FIRST_SOCKET_FD + 2])
        names = [call[0] for call in service.method_calls[:2]]
        self.assertEqual(names, ["privilegedStartService", "startService"])
        self.assertEqual(self.heard(), [WorkerReady()])

    def test_only_the_first_asks_the_others(self) -> None:
        self.assertIsNotNone(self.start(0)[1].call_args.args[2].gather)
        _, build = self.start(1)
        seat = build.call_args.args[2]
        self.assertEqual((seat.slot, seat.admin, seat.gather, seat.reload), (1, (), None, None))

    def test_what_cannot_start_ends_and_serves_nobody(self) -> None:
        for wrong in (SystemExit(1), ValueError("broken")):
            said = StringIO()
            with redirect_stderr(said):
                self.assertRaises(Left, self.start, startService=mock.Mock(side_effect=wrong))
            self.assertEqual(self.heard(), [])
            self.assertEqual("broken" in said.getvalue(), isinstance(wrong, ValueError))


class Talking(Case):
    def test_it_does_what_it_is_told(self) -> None:
        service, _ = self.start()
        self.heard()
        self.child._received(ReloadWorker())
        service.reload.assert_called_once_with()
        self.child._received(SnapshotQuestion(9))
        self.assertEqual(self.heard(), [SnapshotReply(9, OWN)])
        self.child._received(StopWorker())
        self.assertEqual(self.stopped, 1)

    def test_before_it_has_begun_it_says_nothing_of_itself(self) -> None:
        self.child._received(ReloadWorker())
        self.child._received(SnapshotQuestion(9))
        self.assertEqual(self.heard(), [])

    def test_it_asks_for_all(self) -> None:
        self.start()
        self.heard()
        asked = Deferred.fromCoroutine(self.child._gather(OWN))
        [gather] = self.heard()
        self.assertEqual(gather, GatherQuestion(gather.id, OWN))
        overview = Overview({0: OWN, 1: OWN}, {})
        self.child._received(GatherReply(gather.id + 1, overview))  # another's
        self.assertNoResult(asked)
        self.child._received(GatherReply(gather.id, overview))
        self.assertEqual(self.successResultOf(asked), overview)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_many_say_is_not_taken_for_nonsense(self) -> None:
        """Otherwise it would think that the supervisor is gone, and exit at each read of the metrics."""
        self.start()
        self.heard()
        asked = Deferred.fromCoroutine(self.child._gather(OWN))
        big = Snapshot([], {"journal": "x" * (MOST_BYTES // 2)})
        sender = Channel(ToWorker, lambda _: None)
        line = StringTransportWithDisconnection()
        sender.makeConnection(line)
        sender.say(GatherReply(1, Overview(dict.fromkeys(range(4), big), {})))
        self.child.channel.dataReceived(line.value())
        self.assertEqual(len(self.successResultOf(asked).seen), 4)

    def test_a_supervisor_that_is_silent(self) -> None:
        self.start()
        asked = Deferred.fromCoroutine(self.child._gather(OWN))
        self.reactor.advance(2.0)
        overview = self.successResultOf(asked)
        self.assertEqual((overview.seen, sorted(overview.missing)), ({0: OWN}, [1, 2]))
        self.child._received(GatherReply(1, Overview({}, {})))  # too late

    def test_the_supervisor_reloads_for_a_client_of_the_admin_listener(self) -> None:
        self.start()
        self.heard()
        asked = Deferred.fromCoroutine(
            self.child._reload_file(Operator("admin listener", "eve", None, "192.0.2.1", "r1"))
        )
        [question] = self.heard()
        self.assertEqual(question, FileReloadQuestion(question.id, "eve", "192.0.2.1", "r1"))
        outcome = ReloadOutcome(True, ["options reloaded: 0 changed"])
        self.child._received(FileReloadReply(question.id + 1, outcome))  # another's
        self.assertNoResult(asked)
        self.child._received(FileReloadReply(question.id, outcome))
        self.assertEqual(self.successResultOf(asked), outcome)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_supervisor_that_does_not_reload(self) -> None:
        self.start()
        asked = Deferred.fromCoroutine(
            self.child._reload_file(Operator("admin listener", "eve", None, "192.0.2.1", "r1"))
        )
        self.reactor.advance(60.0)
        self.assertFalse(self.successResultOf(asked).applied)


class Ending(Case):
    def test_without_a_supervisor_it_drains_and_the_kernel_sees_to_it(self) -> None:
        self.start()
        with mock.patch("hospproxy.workers.worker_proxy.end_within") as timer:
            self.line.loseConnection()
        timer.assert_called_once_with(SETTINGS.drain_s + GRACE_S)
        self.assertEqual(self.stopped, 1)

    def test_the_service_ends_first_and_then_the_channel(self) -> None:
        service, _ = self.start()
        under_way: Deferred[None] = Deferred()
        service.stopService.return_value = under_way
        ended = self.child._end()
        self.assertTrue(self.line.connected)
        under_way.callback(None)
        self.successResultOf(ended)
        self.assertFalse(self.line.connected)
        self.assertEqual(self.stopped, 0)

    def test_what_did_not_end_is_known_afterwards(self) -> None:
        self.assertEqual(self.child.left, [])
        service, _ = self.start()
        service.left = ["journal"]
        self.assertEqual(self.child.left, ["journal"])

    def test_one_that_never_began_ends_too(self) -> None:
        self.successResultOf(self.child._end())


class Logging(Case):
    def log(self, text: str, **more: Any) -> None:
        Logger("a.b", observer=self.saying).warn(text, **more)

    def setUp(self) -> None:
        super().setUp()
        self.saying = LogForwarder(self.reactor, self.child.channel)
        inside = mock.patch("hospproxy.process.channel.isInIOThread", return_value=True)
        self.inside = inside.start()
        self.addCleanup(inside.stop)

    def test_a_line_goes_to_the_supervisor(self) -> None:
        self.log("it rains {how}", how="hard")
        self.assertEqual(self.heard(), [WorkerLogLine("warn", "a.b", "it rains hard")])

    def test_a_traceback_goes_with_it(self) -> None:
        try:
            raise ValueError("broken")
        except ValueError:
            Logger("a.b", observer=self.saying).failure("that failed")
        [said] = self.heard()
        self.assertEqual(said.level, "critical")
        self.assertIn("ValueError: broken", said.text)

    def test_other_threads_do_not_touch_the_channel(self) -> None:
        self.inside.return_value = False
        self.reactor.callFromThread = mock.Mock()  # type: ignore[method-assign]
        self.log("from a thread")
        self.assertEqual(self.heard(), [])
        call = self.reactor.callFromThread.call_args.args
        call[0](*call[1:])
        self.assertEqual(self.heard(), [WorkerLogLine("warn", "a.b", "from a thread")])

    def test_nobody_waits_for_a_log_that_is_not_read(self) -> None:
        self.child.channel.pauseProducing()
        for _ in range(3):
            self.log("lost")
        self.child.channel.resumeProducing()
        self.log("kept")
        dropped, kept = self.heard()
        self.assertIn("3 log lines were dropped", dropped.text)
        self.assertEqual(kept.text, "kept")

    def test_long_lines_are_cut(self) -> None:
        self.log("x" * (LONGEST_LINE + 5))
        self.assertEqual(len(self.heard()[0].text), LONGEST_LINE)
