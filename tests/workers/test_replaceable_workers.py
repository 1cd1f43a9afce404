"""A supervisor is replaced together with its workers: the steps, and what a death at each step leads to."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings
from hospproxy.control.owner import ReplacementFailed
from hospproxy.replacement.hold import StateNotClosed
from hospproxy.replacement.launch import Launch
from hospproxy.replacement.messages import Prepare, TakeOver
from hospproxy.state.lock import FolderLock
from hospproxy.workers import replaceable_workers
from hospproxy.workers.messages import LeaveToSuccessor, ReleaseRequests
from hospproxy.workers.replaceable_workers import KILLED_S, ReplaceableWorkers
from hospproxy.workers.worker_slot import EXITED, SILENT


class FakeSlot:
    """A worker that does what the test says."""

    def __init__(self, slot: int) -> None:
        self.slot, self.pid = slot, os.getpid()
        self.ready = self.running = True
        self.relay: socket.socket | None = socket.socket()
        self.said: list[Any] = []
        self.steps: dict[str, Deferred[str]] = {}
        self.killed = False

    def _step(self, name: str) -> Deferred[str]:
        step = self.steps[name] = Deferred()
        return step

    def hold(self, quiet_s: float, within_s: float) -> Deferred[str]:
        return self._step("hold")

    def close(self, within_s: float) -> Deferred[str]:
        return self._step("close")

    def reopen(self, within_s: float) -> Deferred[str]:
        return self._step("reopen")

    def say(self, message: Any) -> None:
        self.said.append(message)

    def kill(self) -> None:
        self.killed = True

    def close_relay(self) -> None:
        if self.relay is not None:
            self.relay.close()
            self.relay = None


class FakeProcess:
    """The successor; the test says what becomes of it."""

    made: list[FakeProcess]
    pid: int | None = 4711

    def __init__(self, *_: Any) -> None:
        self.is_prepared: Deferred[str] = Deferred()
        self.is_serving: Deferred[None] = Deferred()
        self.said: list[Any] = []
        self.made.append(self)

    def start(self, command: Any, environment: Any, lock: int, descriptors: Any) -> None:
        self.descriptors = [os.fstat(each) for each in descriptors]

    def say(self, message: Any) -> None:
        self.said.append(message)

    async def prepared(self, timeout_s: float) -> str:
        return await self.is_prepared

    async def serving(self, timeout_s: float) -> None:
        await self.is_serving

    def fail(self, why: str) -> None:
        for each in (self.is_prepared, self.is_serving):
            if not each.called:
                each.errback(ReplacementFailed(why))
                each.addErrback(lambda failure: failure)

    async def end(self) -> None:
        self.pid = None
        self.fail("killed")
        for each in (self.is_prepared, self.is_serving):
            each.addErrback(lambda _: None)


class ReplaceableWorkersTests(SynchronousTestCase):
    is_serving = True

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name in ("python", "twistd", "lock"):
            (Path(folder.name) / name).touch()
        self.python = Path(folder.name) / "python"
        self.settings = Settings(upstream=UpstreamSettings(url="http://127.0.0.1:1"), workers=2)
        self.lock: FolderLock | None = FolderLock(os.open(Path(folder.name) / "lock", os.O_RDWR))
        self.addCleanup(self.lock.release)
        self.slots: Any = [FakeSlot(0), FakeSlot(1)]
        for slot in self.slots:
            self.addCleanup(slot.close_relay)
        client = socket.socket()
        self.addCleanup(client.close)
        self.sockets: Any = (client,), ()
        self.clock = Clock()
        FakeProcess.made = []
        self.patch(replaceable_workers, "SuccessorProcess", FakeProcess)
        self.left_with: list[int] = []
        self.patch(replaceable_workers, "leave", self.left_with.append)
        self.successors: list[int | None] = []
        self.restarted: list[int] = []
        self.replaceable = ReplaceableWorkers(self.clock, self, Launch())

    def left(self, successor: int | None) -> None:
        self.successors.append(successor)
        self.is_serving = False

    def restart(self, slot: Any) -> None:
        self.restarted.append(slot.slot)

    def replace(self) -> tuple[Deferred[str], FakeProcess]:
        running = Deferred.fromCoroutine(self.replaceable.replace(self.python, lambda _line: None))
        return running, FakeProcess.made[-1]

    def do(self, step: str, *replies: str) -> None:
        """All workers reply to a step."""
        for slot, reply in zip(self.slots, replies or ("", ""), strict=True):
            slot.steps[step].callback(reply)
        self.clock.advance(0.1)

    def closed(self) -> tuple[Deferred[str], FakeProcess]:
        running, process = self.replace()
        process.is_prepared.callback("2.0")
        self.do("hold")
        self.do("close")
        self.assertEqual(process.said[1:], [TakeOver()])
        return running, process

    def exits(self, number: int) -> None:
        """A worker dies, as its slot and the supervisor see it."""
        slot = self.slots[number]
        slot.running = slot.ready = False
        for step in slot.steps.values():
            if not step.called:
                step.callback(EXITED)
        self.assertTrue(self.replaceable.exited(slot, "by signal 9"))

    def test_in_order(self) -> None:
        running, process = self.replace()
        [prepare] = process.said
        self.assertIsInstance(prepare, Prepare)
        self.assertEqual((prepare.workers, len(process.descriptors)), (2, 1 + 2 + 2))
        self.assertEqual(self.slots[0].steps, {})
        process.is_prepared.callback("2.0")
        self.slots[0].steps["hold"].callback("")
        self.clock.advance(0.1)
        self.assertNotIn("close", self.slots[0].steps)  # the other one has requests in flight
        self.slots[1].steps["hold"].callback("")
        self.clock.advance(0.1)
        self.do("close")
        process.is_serving.callback(None)
        self.assertEqual(self.successResultOf(running), "2.0")
        self.assertEqual(self.successors, [4711])
        for slot in self.slots:
            self.assertEqual((slot.said, slot.relay), ([LeaveToSuccessor()], None))

    def test_a_version_that_does_not_start_changes_nothing(self) -> None:
        running, process = self.replace()
        process.is_prepared.errback(ReplacementFailed("the new process exited with status 1: no key"))
        self.assertIn("no key", str(self.failureResultOf(running, ReplacementFailed).value))
        self.assertEqual([slot.steps for slot in self.slots], [{}, {}])
        self.assertEqual((self.successors, self.restarted), ([], []))

    def test_requests_that_do_not_end_in_one_worker_let_all_go_on(self) -> None:
        running, process = self.replace()
        process.is_prepared.callback("2.0")
        self.slots[1].steps["hold"].callback("1 requests were still in flight after 30 s")
        self.clock.advance(0.1)
        error = self.failureResultOf(running, ReplacementFailed).value
        self.assertEqual(str(error), "worker 1: 1 requests were still in flight after 30 s")
        self.assertEqual([slot.said for slot in self.slots], [[ReleaseRequests()]] * 2)
        self.assertIsNone(process.pid)

    def test_a_version_that_dies_while_it_opens_leaves_the_folder_to_the_old_one(self) -> None:
        running, process = self.closed()
        process.is_serving.errback(ReplacementFailed("the new process exited with status 1: worker 1 exited"))
        self.assertNoResult(running)
        self.assertIsNone(process.pid)  # it is gone before the folder is opened again
        self.do("reopen")
        self.failureResultOf(running, ReplacementFailed)
        self.assertEqual((self.successors, self.left_with), ([], []))

    def test_an_old_worker_that_dies_before_the_folder_is_closed_prevents_it(self) -> None:
        running, process = self.replace()
        self.exits(1)
        error = self.failureResultOf(running, ReplacementFailed).value
        self.assertEqual(str(error), "worker 1 of the running version exited by signal 9")
        self.assertIsNone(process.pid)
        self.assertEqual(self.restarted, [1])

    def test_an_old_worker_that_dies_while_requests_are_held_prevents_it_too(self) -> None:
        running, process = self.replace()
        process.is_prepared.callback("2.0")
        self.exits(0)
        self.clock.advance(0.1)
        self.failureResultOf(running, ReplacementFailed)
        self.assertEqual((self.restarted, self.slots[1].said), ([0], [ReleaseRequests()]))

    def test_an_old_worker_that_dies_at_the_close_has_closed(self) -> None:
        running, process = self.replace()
        process.is_prepared.callback("2.0")
        self.do("hold")
        self.exits(0)
        self.slots[1].steps["close"].callback("")
        self.assertEqual(process.said[1:], [TakeOver()])
        process.is_serving.callback(None)
        self.successResultOf(running)
        self.assertEqual(self.restarted, [])

    def test_one_that_died_at_the_close_is_started_again_if_the_successor_fails(self) -> None:
        running, process = self.closed()
        self.exits(0)
        process.is_serving.errback(ReplacementFailed("no"))
        self.slots[1].steps["reopen"].callback("")
        self.failureResultOf(running, ReplacementFailed)
        self.assertEqual(self.restarted, [0])

    def test_a_worker_that_does_not_close_is_killed_before_the_folder_is_handed_over(self) -> None:
        running, process = self.replace()
        process.is_prepared.callback("2.0")
        self.do("hold")
        self.slots[0].steps["close"].callback(SILENT)
        self.slots[1].steps["close"].callback("")
        self.assertEqual((self.slots[0].killed, self.slots[1].killed), (True, False))
        self.assertEqual(process.said[1:], [])
        self.exits(0)
        self.clock.advance(0.1)
        self.assertEqual(process.said[1:], [TakeOver()])
        process.is_serving.callback(None)
        self.successResultOf(running)

    def test_a_worker_that_cannot_be_killed_ends_the_supervisor(self) -> None:
        running, process = self.replace()
        process.is_prepared.callback("2.0")
        self.do("hold")
        self.do("close", "journal did not end", "")
        self.clock.pump([0.1] * round(10 * KILLED_S + 2))
        self.failureResultOf(running, StateNotClosed)
        self.assertEqual((self.left_with, process.said[1:]), ([1], []))

    def test_a_worker_that_does_not_open_again_is_killed(self) -> None:
        running, process = self.closed()
        process.is_serving.errback(ReplacementFailed("no"))
        self.do("reopen", SILENT, "")
        self.failureResultOf(running, ReplacementFailed)
        self.assertEqual([slot.killed for slot in self.slots], [True, False])

    def test_it_is_refused_while_a_worker_is_away_or_another_one_goes_on(self) -> None:
        self.slots[1].ready = False
        running = Deferred.fromCoroutine(self.replaceable.replace(self.python, lambda _line: None))
        self.assertIn("worker 1", str(self.failureResultOf(running, ReplacementFailed).value))
        self.slots[1].ready = True
        running, _ = self.replace()
        again = Deferred.fromCoroutine(self.replaceable.replace(self.python, lambda _line: None))
        self.failureResultOf(again, ReplacementFailed)
        self.successResultOf(Deferred.fromCoroutine(self.replaceable.give_up()))
        self.failureResultOf(running, ReplacementFailed)

    def test_a_stop_ends_the_successor_first(self) -> None:
        running, process = self.replace()
        self.successResultOf(Deferred.fromCoroutine(self.replaceable.give_up()))
        self.assertIsNone(process.pid)
        self.failureResultOf(running, ReplacementFailed)

    def test_without_a_replacement_a_worker_is_the_supervisors(self) -> None:
        self.assertFalse(self.replaceable.exited(self.slots[0], "by signal 9"))
        self.successResultOf(Deferred.fromCoroutine(self.replaceable.give_up()))
