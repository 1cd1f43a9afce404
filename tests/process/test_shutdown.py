"""A stop always ends: whatever one step does, the next one runs."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process import shutdown
from hospproxy.process.shutdown import Step, end_in_order


class Broken(Exception):
    """Raised by a step."""


class InOrderTests(SynchronousTestCase):
    """``end_in_order`` with steps that end, fail and hang."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log: list[tuple[str, float]] = []

    def step(self, name: str, result: Any = None, needs_s: float = 0.0) -> Step:
        def run(has_s: float) -> Any:
            self.log.append((name, round(has_s, 6)))
            if isinstance(result, Exception):
                raise result
            return result

        return Step(name, run, needs_s)

    def stop(self, *steps: Step, within_s: float = 10.0) -> Deferred[list[str]]:
        return Deferred.fromCoroutine(end_in_order(steps, self.clock, within_s))

    def test_all_that_ends(self) -> None:
        async def coroutine() -> None:
            return None

        stopping = self.stop(self.step("a"), self.step("b", succeed(1)), self.step("c", coroutine()))
        self.assertEqual(self.successResultOf(stopping), [])
        self.assertEqual([name for name, _ in self.log], ["a", "b", "c"])
        self.assertEqual(self.clock.calls, [])

    def test_one_that_fails_does_not_keep_the_others(self) -> None:
        async def coroutine() -> None:
            raise Broken

        failing = (Broken(), fail(Broken()), coroutine(), fail(BaseException()))
        steps = [self.step(str(number), each) for number, each in enumerate(failing)]
        self.assertEqual(self.successResultOf(self.stop(*steps, self.step("last"))), ["0", "1", "2", "3"])
        self.assertEqual(self.log[-1][0], "last")
        self.assertEqual(len(self.flushLoggedErrors(Broken, BaseException)), 4)

    def test_one_that_never_ends_is_left_after_its_time_and_is_not_cancelled(self) -> None:
        cancelled: list[Any] = []
        hangs: Deferred[None] = Deferred(cancelled.append)
        stopping = self.stop(self.step("hangs", hangs), self.step("last", needs_s=4.0))
        self.clock.advance(5.9)
        self.assertNoResult(stopping)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(stopping), ["hangs"])
        self.assertEqual(self.log, [("hangs", 6.0), ("last", 4.0)])
        self.assertEqual(cancelled, [])
        hangs.callback(None)  # much later, and ignored

    def test_a_failure_that_comes_late_is_said(self) -> None:
        hangs: Deferred[None] = Deferred()
        stopping = self.stop(self.step("hangs", hangs))
        self.clock.advance(10.0)
        self.successResultOf(stopping)
        hangs.errback(Broken())
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_time_that_is_not_needed_is_left_to_those_after_it(self) -> None:
        self.stop(self.step("a", needs_s=3.0), self.step("b", needs_s=2.0))
        self.assertEqual(self.log, [("a", 8.0), ("b", 10.0)])

    def test_where_every_step_hangs_it_ends_in_its_time(self) -> None:
        steps = [self.step(str(number), Deferred(), needs_s=number % 3) for number in range(10)]
        stopping = self.stop(*steps, within_s=9.0)
        self.clock.pump([0.01] * 950)
        self.assertEqual(len(self.successResultOf(stopping)), 10)

    def test_any_mix_ends_and_runs_each_step_once(self) -> None:
        kinds = {
            "ends": lambda: None,
            "raises": lambda: Broken(),
            "fails": lambda: fail(Broken()),
            "hangs": Deferred,
        }
        for mix in itertools.product(kinds, repeat=3):
            self.log.clear()
            stopping = self.stop(*[self.step(kind, kinds[kind](), 1.0) for kind in mix])
            self.clock.pump([0.1] * 110)
            self.assertEqual(self.successResultOf(stopping), [kind for kind in mix if kind != "ends"])
            self.assertEqual([name for name, _ in self.log], list(mix))
        self.flushLoggedErrors(Broken)


PROGRAM = """
import sys, threading, time
from hospproxy.process import shutdown
{begun}
shutdown.end_within({seconds})
{then}
"""
LONG = 3600
"""Seconds, for a process that ends by itself: however slow the machine is, it is sooner."""
THREAD = """
inside = threading.Event()
def on_a_dead_disk():
    inside.set()
    threading.Event().wait()
threading.Thread(target=on_a_dead_disk).start()
inside.wait()
"""


class ForcedTests(SynchronousTestCase):
    """``end_within`` in a process of its own."""

    def ended(self, seconds: float, then: str = "", begun: str = "") -> subprocess.CompletedProcess[str]:
        program = PROGRAM.format(begun=begun, seconds=seconds, then=then)
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    def test_a_thread_that_hangs_is_named_and_the_process_ends(self) -> None:
        done = self.ended(0.2, begun=THREAD)
        self.assertEqual(done.returncode, 1)
        self.assertIn("on_a_dead_disk", done.stderr)

    def test_so_does_one_whose_interpreter_hangs_at_its_end(self) -> None:
        hangs = (
            "class Hangs:\n  def __del__(self, sleep=time.sleep): sleep(3600)\nsys.modules['kept'] = Hangs()"
        )
        done = self.ended(0.2, begun=hangs)
        self.assertIn(done.returncode, (1, -signal.SIGALRM))

    def test_an_orderly_end_comes_first(self) -> None:
        done = self.ended(LONG)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_status_that_was_chosen(self) -> None:
        for chosen, status in (("1", 1), ("None", 0)):
            done = self.ended(LONG, f"print('said'); shutdown.leave_at_exit(lambda: {chosen})")
            self.assertEqual((done.returncode, done.stdout), (status, "said\n"))

    def test_streams_that_are_closed_do_not_matter(self) -> None:
        with mock.patch.object(os, "_exit") as left, mock.patch.object(sys, "stdout") as stream:
            stream.flush.side_effect = ValueError("closed")
            shutdown.leave(3)
        left.assert_called_once_with(3)
