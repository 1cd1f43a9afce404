from __future__ import annotations

from collections import Counter

from attrs import asdict
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.delays import Delay
from hosp_standin.faults import RATES, BadFaults, Faults, Planner, Scripted


def planner(seed: int = 1, **rates: float) -> Planner:
    return Planner(seed, Delay("uniform", 1, 2), 1.0, Faults.from_mapping(rates))


class FaultsTests(SynchronousTestCase):
    def test_read_from_an_option(self) -> None:
        self.assertEqual(
            Faults.parse(
                "error_before=0.015, error_after=0.015,only_methods=POST+PATCH,only_paths=/notes+/notes/*"
            ),
            Faults(
                error_before=0.015,
                error_after=0.015,
                only_methods=("POST", "PATCH"),
                only_paths=("/notes", "/notes/*"),
            ),
        )
        self.assertEqual(Faults.parse(""), Faults())

    def test_read_from_json(self) -> None:
        self.assertEqual(
            Faults.from_mapping({"stall": 1, "only_methods": ["GET"]}),
            Faults(stall=1.0, only_methods=("GET",)),
        )

    def test_nonsense_is_refused_with_words(self) -> None:
        for given_faults, words in [
            ({"eror": 0.1}, "eror"),
            ({"error_after": 1.5}, "error_after"),
            ({"error_after": -0.1}, "error_after"),
            ({"error_after": float("nan")}, "error_after"),
            ({"error_after": "0.1"}, "error_after"),
            ({"error_after": True}, "error_after"),
            ({"error_after": 0.6, "stall": 0.6}, "add up"),
            ({"late_commit_min_s": 5, "late_commit_max_s": 4}, "late_commit_min_s"),
            ({"late_commit_max_s": float("inf")}, "late_commit_max_s"),
            ({"late_commit_504": 2}, "late_commit_504"),
            ({"stall_s": -1}, "stall_s"),
            ({"only_methods": "POST"}, "only_methods"),
            ({"only_paths": [1]}, "only_paths"),
        ]:
            problem = self.assertRaises(BadFaults, Faults.from_mapping, given_faults)
            self.assertIn(words, str(problem))
        for text in ("error_after", "error_after=x", "x=1"):
            self.assertRaises(ValueError, Faults.parse, text)

    def test_ten_rates_of_a_tenth_are_not_above_one(self) -> None:
        self.assertEqual(len(RATES), 10)
        Faults.from_mapping(dict.fromkeys(RATES, 0.1))

    @given(st.dictionaries(st.sampled_from(RATES), st.floats(0, 0.1)))
    def test_what_is_shown_can_be_set_again(self, rates: dict[str, float]) -> None:
        faults = Faults.from_mapping(rates)
        self.assertEqual(Faults.from_mapping(asdict(faults)), faults)

    def test_restriction(self) -> None:
        faults = Faults(only_methods=("POST",), only_paths=("/notes", "/patients/*/screen"))
        self.assertTrue(faults.strikes("POST", "/notes"))
        self.assertTrue(faults.strikes("POST", "/patients/7/screen"))
        self.assertFalse(faults.strikes("GET", "/notes"))
        self.assertFalse(faults.strikes("POST", "/notes/7"))
        self.assertTrue(Faults().strikes("GET", "/"))


class PlannerTests(SynchronousTestCase):
    def test_the_same_seed_gives_the_same_plans(self) -> None:
        rates = {"error_before": 0.3, "late_commit": 0.3}
        first, second, other = planner(7, **rates), planner(7, **rates), planner(8, **rates)
        plans = [[each.plan("POST", "/notes") for _ in range(50)] for each in (first, second, other)]
        self.assertEqual(plans[0], plans[1])
        self.assertNotEqual(plans[0], plans[2])

    def test_rates_are_kept(self) -> None:
        rates = dict.fromkeys(RATES, 0.05)
        hosp = planner(**rates)
        counts = Counter(hosp.plan("GET", "/").fault for _ in range(10_000))
        for name in RATES:
            self.assertApproximates(counts[name] / 10_000, 0.05, 0.01, name)

    def test_a_rate_of_one_strikes_always_and_of_zero_never(self) -> None:
        for name in RATES:
            hosp = planner(**{name: 1})
            self.assertEqual({hosp.plan("GET", "/").fault for _ in range(50)}, {name})
        hosp = planner()
        self.assertEqual({hosp.plan("GET", "/").fault for _ in range(50)}, {None})

    def test_faults_do_not_move_the_answer_times(self) -> None:
        calm, wild = planner(), planner(stall=1.0)
        self.assertEqual(
            [calm.plan("GET", "/").delay_s for _ in range(20)],
            [wild.plan("GET", "/").delay_s for _ in range(20)],
        )

    def test_time_scale_multiplies_answer_times_only(self) -> None:
        slow = Planner(1, Delay("fixed", 4.0), 1.0, Faults(late_commit=1))
        fast = Planner(1, Delay("fixed", 4.0), 0.1, Faults(late_commit=1))
        one, other = slow.plan("GET", "/"), fast.plan("GET", "/")
        self.assertEqual((one.delay_s, other.delay_s), (4.0, 0.4))
        self.assertEqual(one.late_s, other.late_s)

    @given(st.integers(), st.floats(0, 30), st.floats(0, 30))
    def test_late_commits_are_between_their_limits(self, seed: int, one: float, other: float) -> None:
        low, high = sorted((one, other))
        plan = planner(seed, late_commit=1, late_commit_min_s=low, late_commit_max_s=high).plan(
            "POST", "/notes"
        )
        self.assertTrue(low <= plan.late_s <= high * (1 + 1e-12))

    def test_half_of_the_late_commits_are_told_by_a_504(self) -> None:
        hosp = planner(late_commit=1)
        told = sum(hosp.plan("POST", "/notes").gateway_timeout for _ in range(1000))
        self.assertApproximates(told, 500, 60)
        for rate, expected in ((0, {False}), (1, {True})):
            hosp = planner(late_commit=1, late_commit_504=rate)
            self.assertEqual({hosp.plan("POST", "/notes").gateway_timeout for _ in range(50)}, expected)

    def test_a_script_goes_before_chance_in_its_order(self) -> None:
        hosp = planner(busy=1)
        hosp.script.extend([Scripted("stall"), Scripted(None), Scripted("cut_head", "POST", "/notes/*")])
        self.assertEqual(hosp.plan("GET", "/").fault, "stall")
        self.assertEqual(hosp.plan("POST", "/notes/7").fault, None)
        self.assertEqual(hosp.plan("POST", "/notes").fault, "busy")
        self.assertEqual(hosp.plan("POST", "/notes/7").fault, "cut_head")
        self.assertEqual(hosp.plan("POST", "/notes/7").fault, "busy")

    def test_restart_begins_again(self) -> None:
        hosp = planner(busy=0.5)
        plans = [hosp.plan("GET", "/") for _ in range(10)]
        hosp.faults = Faults(stall=1)
        hosp.script.append(Scripted("stall"))
        hosp.restart()
        self.assertEqual([hosp.plan("GET", "/") for _ in range(10)], plans)

    def test_clear_leaves_no_faults(self) -> None:
        hosp = planner(busy=1)
        hosp.clear()
        self.assertEqual(hosp.plan("GET", "/").fault, None)


class ScriptedTests(SynchronousTestCase):
    def test_read(self) -> None:
        self.assertEqual(
            Scripted.from_mapping({"fault": "stall", "method": "POST"}), Scripted("stall", "POST", None)
        )
        self.assertEqual(Scripted.from_mapping({}), Scripted(None))

    def test_nonsense(self) -> None:
        for mapping in (
            {"fault": "late"},
            {"fault": "stall", "times": 2},
            {"fault": "stall", "path": 7},
            {"fault": []},
        ):
            self.assertRaises(BadFaults, Scripted.from_mapping, mapping)
