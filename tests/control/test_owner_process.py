"""What the owner of the state folder does for the admin listener."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from hospproxy.checks import load_and_check
from hospproxy.control.owner_process import OwnerProcess
from hospproxy.options.source import source_of
from hospproxy.watch.reload_page import ReloadOutcome

from .test_commands import ANN
from .test_options_reload import AtOnce
from .test_options_reload import Case as ReloadCase


class FileReloadTests(ReloadCase):
    def setUp(self) -> None:
        super().setUp()
        source = source_of(self.file, self.flags)
        settings, _ = load_and_check(source, self.environment)
        self.process = OwnerProcess(
            MemoryReactorClock(), settings, source, self.environment, apply=self.apply, read_again=lambda: None,
            events=self.events,
            master=lambda: self.master, worker=AtOnce(), wall=lambda: self.now,
        )  # fmt: skip

    def reload(self) -> ReloadOutcome:
        return self.successResultOf(Deferred.fromCoroutine(self.process.reload(ANN)))

    def test_it_says_what_hospproxyctl_prints(self) -> None:
        self.set("[retry]\nmax_attempts = 3\n")
        change = {"key": "retry.max_attempts", "old": "5", "new": "3", "live": True}
        lines = ["retry.max_attempts: 5 → 3", "options reloaded: 1 changed"]
        self.assertEqual(self.reload(), ReloadOutcome(True, lines, [change]))
        self.assertEqual(self.applied[0].retry.max_attempts, 3)

    def test_an_error(self) -> None:
        self.set("[retry]\nmax_attempts = 0\n")
        outcome = self.reload()
        self.assertFalse(outcome.applied)
        self.assertRegex(outcome.lines[0], rf"^{self.file}:4: retry.max_attempts: expected a whole number")

    def test_one_change_at_a_time(self) -> None:
        running: Deferred[None] = Deferred()

        async def slow(_settings: object, _prepared: object) -> None:
            await running

        self.process.options._apply = slow
        first = Deferred.fromCoroutine(self.process.reload(ANN))
        self.assertNoResult(first)
        self.assertEqual(
            self.reload(), ReloadOutcome(False, ["reload is still running; try again when it has ended"])
        )
        running.callback(None)
        self.assertTrue(self.successResultOf(first).applied)

    def test_a_process_that_another_has_replaced(self) -> None:
        self.process.leave()
        self.assertFalse(self.reload().applied)
        self.assertEqual(self.applied, [])

    def test_start_and_stop_are_in_the_audit_trail(self) -> None:
        self.process.serves()
        self.successResultOf(self.process.stop())
        self.assertEqual(
            [(each["action"], each["operator"]["way"]) for each in self.noted],
            [("start", "process"), ("stop", "signal")],
        )
