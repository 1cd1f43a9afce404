"""A whole rollout with a system in memory: good and bad canaries, crashes at every step, aborts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import define
from rollout.plan import Command, read_plan
from rollout.progress import Journal
from rollout.rollout import Aborted, Outcome, Rollout
from rollout.splitter import splitter_for
from rollout.system import CommandFailed
from twisted.trial.unittest import SynchronousTestCase

from .fake_system import OWN_COMMANDS, PLAN, REPLACEMENT, Crash, FakeSystem, plan_text


@define(eq=False)
class Abort:
    """Asked to abort from a point in time on."""

    system: FakeSystem
    at: float = 1e18

    @property
    def is_asked(self) -> bool:
        return self.system.time >= self.at

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        if self.is_asked:
            raise Aborted
        yield


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[str] = []

    def rollout(
        self, system: FakeSystem, text: str = PLAN, *, goes_on: bool = False, abort_at: float = 1e18
    ) -> Rollout:
        """A rollout on this system, new or from its journal."""
        if not goes_on:
            self.folder = Path(self.mktemp())
            self.folder.mkdir()
        plan = read_plan(plan_text(self.folder, text), "1.0", "2.0")
        journal = Journal(self.folder, lambda _number: None)
        if goes_on:
            journal.read()
        else:
            journal.begin({})
        return Rollout(
            plan,
            system,
            splitter_for(plan.split, system),
            journal,
            Abort(system, abort_at),
            lambda stage, words: self.lines.append(f"{stage}: {words}"),
        )

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def is_as_before(self, system: FakeSystem) -> None:
        """Check that the old version has all of the traffic, and that nothing else runs."""
        self.assertEqual(system.versions, ["1.0", "1.0"], self.said)
        self.assertEqual(system.started, set(), self.said)
        self.assertEqual(system.weights, {"one": 100, "two": 100, "canary": 0, "baseline": 0}, self.said)

    def is_promoted(self, system: FakeSystem) -> None:
        self.assertEqual(system.versions, ["2.0", "2.0"], self.said)
        self.assertEqual(system.started, set(), self.said)
        self.assertEqual(system.weights, {"one": 100, "two": 100, "canary": 0, "baseline": 0}, self.said)


class CanaryTests(Case):
    def test_a_good_one_is_promoted(self) -> None:
        system = FakeSystem()
        self.assertEqual(self.rollout(system).go(), Outcome.PROMOTED, self.said)
        self.is_promoted(system)
        self.assertIn("watch: canary gets 10 % (weight 25)", self.said)

    def bad(self, because: str, **how: object) -> FakeSystem:
        system = FakeSystem(canary=how)
        self.assertEqual(self.rollout(system).go(), Outcome.ROLLED_BACK, self.said)
        self.assertIn(because, self.said)
        self.is_as_before(system)
        self.assertFalse([words for words in system.done if words.startswith("upgrade")])
        return system

    def test_one_that_fails_is_rolled_back(self) -> None:
        self.bad("failed: ", failing=0.05)

    def test_one_that_is_slow(self) -> None:
        self.bad("slower than 0.1 s", slow=0.3)

    def test_one_that_hangs(self) -> None:
        system = FakeSystem()
        rollout = self.rollout(system)
        start = system.start

        def hangs_later(name: str, words: tuple[str, ...]) -> int:
            pid = start(name, words)
            if name == "canary":
                sleep = system.sleep

                def sleep_and_hang(seconds: float) -> None:
                    sleep(seconds)
                    if "canary" in system.instances and system.weights["canary"]:
                        system.instances["canary"].is_silent = True

                system.sleep = sleep_and_hang  # type: ignore[method-assign]
            return pid

        system.start = hangs_later  # type: ignore[method-assign, assignment]
        self.assertEqual(rollout.go(), Outcome.ROLLED_BACK)
        self.assertIn("no reply for 20 s: canary: timed out", self.said)
        self.is_as_before(system)

    def test_one_that_ends_by_itself(self) -> None:
        system = FakeSystem()
        rollout = self.rollout(system)

        def end() -> None:
            if system.weights["canary"]:
                system.started.discard("canary")
                system.instances.pop("canary", None)

        system.after_each_sleep(end)
        self.assertEqual(rollout.go(), Outcome.ROLLED_BACK)
        self.assertIn("canary has ended by itself", self.said)
        self.is_as_before(system)

    def test_one_that_starts_again(self) -> None:
        system = FakeSystem()
        rollout = self.rollout(system)

        def forget() -> None:
            if system.weights["canary"] and system.instances["canary"].requests > 50:
                system.instances["canary"].requests = 0.0
                system.instances["canary"].sent = -4.0

        system.after_each_sleep(forget)
        self.assertEqual(rollout.go(), Outcome.ROLLED_BACK)
        self.assertIn("has started again", self.said)

    def test_one_doubled_write_among_many(self) -> None:
        system = FakeSystem()
        rollout = self.rollout(system)

        def double() -> None:
            if system.weights["canary"]:
                system.instances["canary"].doubled = 1

        system.after_each_sleep(double)
        self.assertEqual(rollout.go(), Outcome.ROLLED_BACK)
        self.assertIn("a write was doubled", self.said)
        self.is_as_before(system)

    def test_too_little_traffic_holds_and_then_rolls_back(self) -> None:
        system = FakeSystem(rate=1.0)
        self.assertEqual(self.rollout(system).go(), Outcome.HELD)
        self.assertIn("no verdict after 600 s; too few requests", self.said)
        self.assertGreaterEqual(system.time, 1600.0)
        self.is_as_before(system)

    def test_a_check_of_the_plan_fails_it(self) -> None:
        text = PLAN.replace("[baseline]", '[[canary.checks]]\nrun = ["count-notes"]\n[baseline]')
        system = FakeSystem(failing_commands={"count-notes"})
        self.assertEqual(self.rollout(system, text).go(), Outcome.ROLLED_BACK)
        self.assertIn("a check failed: count-notes", self.said)

    def test_abort_while_it_is_watched(self) -> None:
        system = FakeSystem()
        self.assertEqual(self.rollout(system, abort_at=1030.0).go(), Outcome.ROLLED_BACK)
        self.assertIn("rollback: aborted", self.said)
        self.is_as_before(system)


class EarlierStageTests(Case):
    def fails(self, because: str, **how: object) -> None:
        system = FakeSystem(**how)  # type: ignore[arg-type]
        self.assertEqual(self.rollout(system).go(), Outcome.ROLLED_BACK)
        self.assertIn(because, self.said)
        self.is_as_before(system)
        self.assertNotIn("start canary", system.done)

    def test_tests_that_fail(self) -> None:
        self.fails("test: exit status 1", failing_commands={"test"})

    def test_a_version_that_does_not_start(self) -> None:
        self.fails("staging cannot be started", failing_commands={"serve"})

    def test_a_smoke_test_that_fails(self) -> None:
        self.fails("root: status 500, not 200", smoke_status=500)

    def test_production_of_another_version(self) -> None:
        system = FakeSystem()
        system.instances["two"].version = "0.9"
        self.assertEqual(self.rollout(system).go(), Outcome.ROLLED_BACK)
        self.assertIn("two runs 0.9, not 1.0", self.said)
        self.assertNotIn("test", system.done)


class PromotionTests(Case):
    def test_one_instance_after_the_other_by_hospproxyctl(self) -> None:
        system = FakeSystem()
        self.assertEqual(self.rollout(system).go(), Outcome.PROMOTED)
        asked = [words for words in system.done if words.startswith("hospproxyctl")]
        self.assertEqual(
            asked, [f"hospproxyctl --state {name} upgrade --version 2.0" for name in ("one", "two")]
        )
        # An upgrade loses no request, so no instance is taken out.
        self.assertNotIn("set server hosp/one weight 0", system.done)

    def test_it_stops_at_the_first_that_does_not_come_up(self) -> None:
        system = FakeSystem(failing_commands={"upgrade one"})
        self.assertEqual(self.rollout(system).go(), Outcome.ROLLED_BACK)
        self.assertFalse([words for words in system.done if "hospproxyctl --state two" in words])
        self.is_as_before(system)

    def test_an_upgrade_that_fails_brings_the_old_version_back(self) -> None:
        system = FakeSystem(failing_commands={"upgrade two"})
        self.assertEqual(self.rollout(system).go(), Outcome.ROLLED_BACK)
        self.assertIn("production: one runs 1.0 again", self.said)
        self.is_as_before(system)

    def test_an_upgrade_that_goes_on_after_its_command_has_failed_is_taken_back(self) -> None:
        system = FakeSystem(failing_commands={"upgrade two"})
        rollout = self.rollout(system)
        control = system._control

        def fails_and_goes_on(words: Sequence[str]) -> None:
            try:
                control(words)
            except CommandFailed:
                if words[2] == "upgrade" and "two" not in system.goes_on:
                    system.goes_on["two"] = system.time + 100.0, "2.0"
                raise

        system._control = fails_and_goes_on  # type: ignore[method-assign]
        self.assertEqual(rollout.go(), Outcome.ROLLED_BACK, self.said)
        self.assertIn("two: rollback: upgrade is still running", self.said)
        self.assertEqual(system.goes_on, {})
        self.is_as_before(system)

    def test_an_instance_that_the_splitter_does_not_see_again(self) -> None:
        system = FakeSystem()
        system.is_down = lambda name: name == "two" and system.instances["two"].version == "2.0"
        self.assertEqual(self.rollout(system).go(), Outcome.ROLLED_BACK)
        self.assertIn("two is ready, but not in the eyes of the splitter", self.said)
        self.is_as_before(system)

    def test_a_rollback_that_fails_is_held_and_can_be_repeated(self) -> None:
        system = FakeSystem(failing_commands={"upgrade two", "rollback one"})
        self.assertEqual(self.rollout(system).go(), Outcome.HELD)
        self.assertIn("NOT DONE: one: rollback one: exit status 1", self.said)
        self.assertEqual(system.versions, ["2.0", "1.0"])
        system.failing_commands.clear()
        self.assertEqual(self.rollout(system, goes_on=True).abort(), Outcome.ROLLED_BACK)
        self.is_as_before(system)

    def test_a_rollback_that_succeeds_later_is_complete(self) -> None:
        system = FakeSystem(failing_commands={"upgrade two", "rollback one"})
        rollout = self.rollout(system)

        def mend() -> None:
            if "tried again for" in self.said:
                system.failing_commands.clear()

        system.after_each_sleep(mend)
        self.assertEqual(rollout.go(), Outcome.ROLLED_BACK)
        self.assertEqual(self.said.count("tried again for"), 1)
        self.is_as_before(system)


class OwnCommandTests(Case):
    def test_an_instance_that_never_ran_the_new_version_is_left_alone(self) -> None:
        system = FakeSystem()
        rollout = self.rollout(system, OWN_COMMANDS)
        run = system.run

        def fails_at_two(command: Command) -> str:
            if command.words[:3] == ("upgrade", "two", "2.0"):
                system.failing_commands.add("upgrade 2.0")
            return run(command)

        system.run = fails_at_two  # type: ignore[method-assign]
        self.assertEqual(rollout.go(), Outcome.ROLLED_BACK)
        self.assertIn("set server hosp/one weight 0", system.done)
        # A rollback there would go back one version too far.
        self.assertNotIn("upgrade two 1.0", system.done)
        self.is_as_before(system)


class CrashTests(Case):
    """The rollout is killed before and after each of its effects, and then continued or aborted."""

    def crashed(self, at: int, after: bool, text: str = PLAN) -> FakeSystem | None:
        """Run until the crash; None if the rollout has fewer effects."""
        system = FakeSystem(crash_at=at, crash_after=after)
        try:
            self.rollout(system, text).go()
        except Crash:
            system.crash_at = 0
            return system
        return None

    def test_it_goes_on_from_everywhere(self) -> None:
        for text in (PLAN, OWN_COMMANDS, REPLACEMENT):
            for after in (False, True):
                at = 1
                while (system := self.crashed(at, after, text)) is not None:
                    outcome = self.rollout(system, text, goes_on=True).go()
                    self.assertEqual(outcome, Outcome.PROMOTED, f"{at} {system.done}\n{self.said}")
                    self.is_promoted(system)
                    at += 1
                self.assertGreater(at, 4 if text is REPLACEMENT else 15)

    def test_it_rolls_back_from_everywhere(self) -> None:
        for text in (PLAN, OWN_COMMANDS):
            for after in (False, True):
                at = 1
                while (system := self.crashed(at, after, text)) is not None:
                    outcome = self.rollout(system, text, goes_on=True).abort()
                    self.assertEqual(outcome, Outcome.ROLLED_BACK, f"{at} {system.done}\n{self.said}")
                    self.is_as_before(system)
                    at += 1

    def test_killed_between_two_upgrades_it_goes_on_with_the_second_or_takes_the_first_back(self) -> None:
        upgrades = [f"hospproxyctl --state {name} upgrade --version 2.0" for name in ("one", "two")]
        for how, outcome, asked in (
            ("go", Outcome.PROMOTED, upgrades),
            ("abort", Outcome.ROLLED_BACK, [upgrades[0], "hospproxyctl --state one rollback --to 1.0"]),
        ):
            system = FakeSystem()
            rollout = self.rollout(system)
            tell = rollout._production._say

            def killed(words: str, tell: Callable[[str], None] = tell) -> None:
                tell(words)
                raise Crash(words)

            rollout._production._say = killed
            self.assertRaises(Crash, rollout.go)
            self.assertEqual(system.versions, ["2.0", "1.0"])
            self.assertIs(getattr(self.rollout(system, goes_on=True), how)(), outcome)
            self.assertEqual([words for words in system.done if words.startswith("hospproxyctl")], asked)

    def test_an_upgrade_that_went_on_while_nobody_saw_it_is_no_half_promotion(self) -> None:
        for how in ("go", "abort"):
            system = FakeSystem()
            rollout = self.rollout(system)

            def killed(words: Sequence[str], system: FakeSystem = system) -> None:
                system.goes_on[words[1]] = system.time + 50.0, words[4]
                raise Crash

            system._control = killed  # type: ignore[method-assign]
            self.assertRaises(Crash, rollout.go)
            del system._control
            outcome = getattr(self.rollout(system, goes_on=True), how)()
            self.assertEqual((outcome, system.goes_on), (Outcome.ROLLED_BACK, {}), self.said)
            self.is_as_before(system)

    def test_a_rollback_that_was_killed_goes_on_as_a_rollback(self) -> None:
        killed = 0
        for at in range(1, 40):
            system = FakeSystem(crash_at=at)
            try:
                self.rollout(system, abort_at=1030.0).go()
            except Crash:
                system.crash_at = 0
                going_back = '"decided"' in (self.folder / "rollout.jsonl").read_text()
                killed += going_back
                # Nobody asks to abort any more; what was decided stays.
                outcome = self.rollout(system, goes_on=True).go()
                self.assertIs(outcome, Outcome.ROLLED_BACK if going_back else Outcome.PROMOTED, self.said)
        self.assertGreater(killed, 3)


class ReplacementTests(Case):
    def test_it_says_what_it_cannot_compare(self) -> None:
        system = FakeSystem()
        self.assertEqual(self.rollout(system, REPLACEMENT).go(), Outcome.PROMOTED, self.said)
        self.assertIn("compared with the time before it", self.said)
        self.is_promoted(system)

    def test_a_version_that_fails_is_taken_back(self) -> None:
        system = FakeSystem()
        rollout = self.rollout(system, REPLACEMENT)
        sleep = system.sleep

        def sleep_and_fail(seconds: float) -> None:
            for instance in system.instances.values():
                instance.failing = 0.1 if instance.version == "2.0" else 0.0
            sleep(seconds)

        system.sleep = sleep_and_fail  # type: ignore[method-assign]
        self.assertEqual(rollout.go(), Outcome.ROLLED_BACK, self.said)
        self.is_as_before(system)
