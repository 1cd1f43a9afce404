"""The command line: what it prints, and its exit statuses."""

from __future__ import annotations

import contextlib
import io
import json
import signal
from pathlib import Path

from rollout.command import USAGE, Signals, main
from rollout.progress import AbortRequest, StateLock
from rollout.rollout import Aborted
from twisted.trial.unittest import SynchronousTestCase

from .fake_system import Crash, FakeSystem, plan_text


class CommandCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.state = self.folder / "state"
        self.plan = self.folder / "plan.toml"
        self.plan.write_text(plan_text(self.state))
        self.system = FakeSystem()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def run_it(self, *arguments: str) -> tuple[int, str]:
        """Run a command; return its exit status, and what it printed."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = main(arguments, lambda _folder: self.system)
        return status, out.getvalue()

    def begin(self, *more: str) -> tuple[int, str]:
        return self.run_it("run", str(self.plan), "--old", "1.0", "--new", "2.0", *more)


class StatusTests(CommandCase):
    def test_promoted(self) -> None:
        status, said = self.begin()
        self.assertEqual(status, 0, said)
        self.assertIn("result     promoted: 2.0 runs in production\n", said)
        status, said = self.run_it("status", str(self.state))
        self.assertEqual(status, 0)
        self.assertIn("promote    done in", said)
        self.assertEqual(self.run_it("resume", str(self.state))[0], 0)

    def test_how_far_the_promotion_is(self) -> None:
        self.system.failing_commands = {"upgrade two", "rollback one"}
        self.assertEqual(self.begin()[0], 2)
        said = self.run_it("status", str(self.state))[1]
        self.assertIn("promote    one runs 2.0\n", said)
        self.assertNotIn("two runs", said)

    def test_rolled_back(self) -> None:
        self.system.canary = {"failing": 0.2}
        self.assertEqual(self.begin()[0], 1)
        self.assertEqual(self.run_it("abort", str(self.state))[0], 1)

    def test_inconclusive(self) -> None:
        self.system.rate = 0.5
        status, said = self.begin()
        self.assertEqual(status, 2)
        self.assertIn("held, then rolled back: inconclusive: no verdict after", said)

    def test_usage(self) -> None:
        self.assertEqual(self.run_it("run", "--nothing")[0], USAGE)
        self.assertEqual(self.run_it("run", str(self.folder / "none"), "--old", "1", "--new", "2")[0], USAGE)
        self.assertEqual(self.run_it("resume", str(self.state))[0], USAGE)
        self.assertEqual(self.run_it("--help")[0], 0)
        self.assertEqual(self.system.done, [])

    def test_a_wrong_plan(self) -> None:
        self.plan.write_text('state = 1\n[split]\ndriver = "luck"\n')
        status, said = self.begin()
        self.assertEqual(status, USAGE)
        self.assertIn("split.driver: one of haproxy, command, none was expected", said)

    def test_check_does_nothing(self) -> None:
        self.assertEqual(self.begin("--check")[0], 0)
        self.assertEqual((self.system.done, self.state.exists()), ([], False))

    def test_json(self) -> None:
        lines = [json.loads(line) for line in self.begin("--json")[1].splitlines()]
        self.assertEqual(lines[-1]["stage"], "result")
        self.assertEqual(set(lines[0]), {"time", "stage", "text"})


class RollbackTests(CommandCase):
    def test_all_of_production_at_once(self) -> None:
        self.assertEqual(self.begin()[0], 0)
        status, said = self.run_it("rollback", str(self.plan), "--old", "1.0", "--new", "2.0")
        self.assertEqual(status, 0, said)
        self.assertEqual(self.system.versions, ["1.0", "1.0"])
        self.assertIn("production two runs 1.0 again", said)

    def test_what_runs_the_old_version_is_left_alone(self) -> None:
        self.system.instances["two"].version, one = "2.0", self.system.instances["one"]
        self.assertEqual(self.run_it("rollback", str(self.plan), "--old", "1.0", "--new", "2.0")[0], 0)
        self.assertIs(self.system.instances["one"], one)
        self.assertEqual(self.system.versions, ["1.0", "1.0"])

    def test_one_that_cannot_be_done(self) -> None:
        self.system.instances["two"].version = "2.0"
        self.system.failing_commands.add("rollback two")
        self.assertEqual(self.run_it("rollback", str(self.plan), "--old", "1.0", "--new", "2.0")[0], 2)


class TogetherTests(CommandCase):
    def test_one_at_a_time(self) -> None:
        lock = StateLock(self.state)
        lock.take()
        self.addCleanup(lock.free)
        for words in (self.begin(), self.run_it("resume", str(self.state))):
            self.assertEqual(words[0], USAGE)
            self.assertIn("another rollout runs", words[1])

    def test_abort_reaches_the_one_that_runs(self) -> None:
        lock = StateLock(self.state)
        lock.take()
        self.addCleanup(lock.free)
        self.assertEqual(self.run_it("abort", str(self.state))[0], 1)
        self.assertTrue(AbortRequest(self.state).is_made)

    def test_one_that_was_interrupted_must_end_first(self) -> None:
        self.system.crash_at = 6
        with self.assertRaises(Crash):
            self.begin()
        self.system.crash_at = 0
        self.assertIn("interrupted", self.run_it("status", str(self.state))[1])
        status, said = self.begin()
        self.assertEqual(status, USAGE)
        self.assertIn("holds a rollout that is not over", said)
        self.plan.unlink()  # it goes on with the plan that it began with
        self.assertEqual(self.run_it("resume", str(self.state))[0], 0)

    def test_an_old_request_to_abort_does_not_count(self) -> None:
        self.state.mkdir()
        AbortRequest(self.state).make()
        self.assertEqual(self.begin()[0], 0)


class SignalTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.state.mkdir()
        self.signals = Signals(AbortRequest(self.state))
        self.signals.install()

    def test_a_signal_asks_to_abort(self) -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        self.assertTrue(self.signals.is_asked)

    def test_it_interrupts_what_may_be_interrupted(self) -> None:
        with self.assertRaises(Aborted), self.signals.interruptible():
            signal.raise_signal(signal.SIGINT)
        with self.assertRaises(Aborted), self.signals.interruptible():
            self.fail("it was asked before")
