"""Plan files, good and wrong."""

from __future__ import annotations

from pathlib import Path

from rollout.plan import Plan, read_plan, small_weight
from rollout.plan_table import PlanError
from twisted.trial.unittest import SynchronousTestCase

from .fake_system import OWN_COMMANDS, PLAN, REPLACEMENT

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "rollout" / "plan.example.toml"


class PlanTests(SynchronousTestCase):
    def read(self, text: str, old: str = "1.0", new: str = "2.0") -> Plan:
        return read_plan(text, old, new)

    def problems(self, text: str) -> list[str]:
        return self.assertRaises(PlanError, self.read, text).problems

    def test_versions_are_filled_in(self) -> None:
        plan = self.read(PLAN)
        assert plan.canary is not None and plan.baseline is not None
        self.assertEqual((plan.canary.start, plan.baseline.start), (("serve", "2.0"), ("serve", "1.0")))
        self.assertEqual((plan.canary.version, plan.baseline.version), ("2.0", "1.0"))
        plan = self.read(OWN_COMMANDS)
        self.assertEqual(plan.production.promote.words, ("upgrade", "{server}", "2.0"))
        self.assertEqual((plan.production.by_control, plan.production.drain), (False, True))

    def test_without_commands_it_is_hospproxyctl(self) -> None:
        text = PLAN.replace(
            "[production]", '[production]\ncontrol = ["ssh", "{instance}", "ctl"]\nversions = "/v"'
        )
        production = self.read(text).production
        ctl = ("ssh", "{instance}", "ctl", "--state", "{state}")
        self.assertEqual(production.promote.words, (*ctl, "upgrade", "--version", "2.0", "--versions", "/v"))
        self.assertEqual(production.rollback.words, (*ctl, "rollback", "--to", "1.0"))
        self.assertEqual([each.state for each in production.instances], ["one", "two"])
        self.assertEqual((production.by_control, production.drain), (True, False))

    def test_two_instances_that_hospproxyctl_cannot_tell_apart(self) -> None:
        text = PLAN.replace('state = "two"', 'state = "one"')
        [problem] = self.problems(text)
        self.assertIn("production.instances[2].state: two and another instance", problem)
        elsewhere = text.replace(
            "[production]", '[production]\ncontrol = ["ssh", "{instance}", "hospproxyctl"]'
        )
        self.read(elsewhere)

    def test_own_commands_are_a_pair_and_take_the_place_of_hospproxyctl(self) -> None:
        text = OWN_COMMANDS.replace('rollback = ["upgrade", "{server}", "{old}"]', 'versions = "/v"')
        self.assertEqual(
            [line.partition(":")[0] for line in self.problems(text)],
            ["production.versions", "production.rollback"],
        )

    def test_the_example(self) -> None:
        plan = self.read(EXAMPLE.read_text())
        self.assertEqual(len(plan.production.instances), 2)
        self.assertEqual(plan.production.rollback.words[-2:], ("--to", "1.0"))

    def test_the_example_has_every_key_of_the_rules(self) -> None:
        text = EXAMPLE.read_text()
        for name in self.read(text).rules.__slots__:
            self.assertIn(f"\n{name} =", text)

    def test_without_asplitter(self) -> None:
        plan = self.read(REPLACEMENT)
        self.assertEqual((plan.canary, plan.production.drain), (None, False))

    def test_every_error_at_once(self) -> None:
        wrong = PLAN.replace("percent = 10", 'percent = "much"').replace("[canary]", "[canary]\nsize = 1")
        wrong = wrong.replace('name = "two"', 'name = "one"').replace('admin = "http://two"', 'admin = "two"')
        self.assertEqual(
            self.problems(wrong),
            [
                "split.percent: a number was expected",
                "canary.size: there is no such key",
                "production.instances[2].admin: a URL was expected, such as https://127.0.0.1:9443",
                "production.instances: one stands there twice",
            ],
        )

    def test_each_mistake_names_its_key(self) -> None:
        for old, new, key in (
            ('state = "STATE"', "", "state"),
            ('run = ["test"]', 'run = "make test"', "test.run"),
            ('driver = "haproxy"', 'driver = "luck"', "split.driver"),
            ('socket = "admin.sock"\n', "", "split.socket"),
            ("min_s = 60", "min_s = 700", "rules.min_s"),
            ("min_s = 60", "alpha = 0", "rules.alpha"),
            ("percent = 10", "percent = 41", "split.percent"),
            ("[canary]", "[canaries]", "canary.admin"),
            ("[staging]", "[stage]", "smoke"),
            ('url = "http://staging/smoke"', 'url = "http://staging/smoke"\nstatus = 99', "smoke[1].status"),
            ('url = "http://staging/smoke"', 'url = "http://staging/smoke"\ntls = "SSLv3"', "smoke[1].tls"),
        ):
            self.assertIn(old, PLAN)
            found = self.problems(PLAN.replace(old, new, 1))
            self.assertTrue([line for line in found if line.startswith(f"{key}:")], found)

    def test_no_toml(self) -> None:
        self.assertIn("not TOML", self.problems("state =")[0])

    def test_the_same_version(self) -> None:
        found = self.assertRaises(PlanError, self.read, PLAN, "1.0", "1.0").problems
        self.assertIn("there is nothing to roll out", found[0])

    def test_weights(self) -> None:
        for percent, others in ((5, [100, 100]), (10, [100]), (1, [256, 256]), (25, [100, 100])):
            small = small_weight(percent, others)
            self.assertLess(abs(small / (sum(others) + 2 * small) - percent / 100), 0.004)
        found = self.problems(PLAN.replace("percent = 10", "percent = 39"))
        self.assertIn("needs a weight of 355", found[0])
