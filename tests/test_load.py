"""The load benchmark's own arithmetic: a measurement that cannot see a lost note proves nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.load import show, table
from benchmarks.load_clients import Told
from benchmarks.outcome_counts import Counts, count, quantile
from benchmarks.plan import STAFF, Planned, make_plan, world_of
from hosp_standin.app import screening
from hosp_standin.service import load_seed

WORLD = world_of(load_seed())
NOTE = Planned("note", "POST", "/notes", 3, marker="one of its kind", patient=7)
SCREENING = Planned("screening", "POST", "/patients/7/screen", 3, patient=7)
RESULT = screening(["first", "second"])


def stored(body: str = "one of its kind", staff: int | None = 3, title: str = "Visit") -> dict[str, Any]:
    return {"title": title, "body": body, "patient_id": 7, "staff_id": staff}


def result_note(staff: int = 3) -> dict[str, Any]:
    return stored(" ".join([RESULT["overall"], *RESULT["results"]]), staff, "Screening result")  # type: ignore


class PlanTests(SynchronousTestCase):
    def test_the_mix(self) -> None:
        plan = make_plan(3000, 1, WORLD)
        self.assertEqual(
            Counter(each.kind for each in plan),
            {"hospitals": 1350, "patients": 900, "note": 300, "screening": 100, "record": 290, "bad": 60},
        )
        self.assertEqual(len({each.staff for each in plan if each.valid}), STAFF)
        self.assertEqual(len({each.marker for each in plan if each.marker}), 300)
        pairs = {(each.staff, each.patient) for each in plan if each.kind == "screening"}
        self.assertEqual(len(pairs), 100)

    def test_the_same_seed_gives_the_same_plan_and_another_another(self) -> None:
        self.assertEqual(make_plan(150, 5, WORLD), make_plan(150, 5, WORLD))
        self.assertNotEqual(make_plan(150, 5, WORLD), make_plan(150, 6, WORLD))


class CountTests(SynchronousTestCase):
    def count(self, told: list[Told], notes: list[dict[str, Any]]) -> Counts:
        return count(told, notes, upstream=1, seconds=1.0)

    def test_a_note_that_is_there_once_under_its_author(self) -> None:
        counts = self.count([Told(NOTE, 201, 0.1)], [stored(), stored("somebody else's", 9)])
        self.assertEqual((counts.lost, counts.doubled, counts.another, counts.denied), (0, 0, 0, 0))
        self.assertEqual(counts.rate, 1.0)

    def test_lost(self) -> None:
        self.assertEqual(self.count([Told(NOTE, 201, 0.1)], [stored("another")]).lost, 1)

    def test_doubled(self) -> None:
        self.assertEqual(self.count([Told(NOTE, 201, 0.1)], [stored(), stored(), stored()]).doubled, 2)

    def test_in_anothers_name_or_nobodys(self) -> None:
        for author in (9, None):
            self.assertEqual(self.count([Told(NOTE, 201, 0.1)], [stored(staff=author)]).another, 1)

    def test_denied_though_it_is_there(self) -> None:
        self.assertEqual(self.count([Told(NOTE, 500, 0.1, {"status": 500})], [stored()]).denied, 1)
        self.assertEqual(self.count([Told(NOTE, 0, 0.1)], [stored()]).denied, 1)
        honest = self.count([Told(NOTE, 504, 0.1, {"outcome": "unknown"})], [stored()])
        self.assertEqual((honest.denied, honest.unknown, honest.rate), (0, 1, 0.0))

    def test_a_screening_has_exactly_one_note(self) -> None:
        answered, failed = Told(SCREENING, 200, 0.1, RESULT), Told(SCREENING, 500, 0.1)
        for told, notes, wrong in (
            (answered, [result_note()], 0),
            (answered, [], 1),
            (answered, [result_note(), result_note()], 1),
            (answered, [result_note(staff=9)], 1),
            (answered, [stored("something else", title="Screening result")], 1),
            (failed, [], 0),
            (failed, [result_note()], 0),
            (failed, [result_note(), result_note()], 1),
        ):
            self.assertEqual(self.count([told], notes).screenings_wrong, wrong, notes)

    def test_a_missed_target_is_said(self) -> None:
        good = self.count([Told(NOTE, 201, 0.1)], [stored()])
        self.assertTrue(all(row[4] for row in table(good, good)))
        for change in (
            {"rate": 0.998}, {"lost": 1}, {"doubled": 1}, {"another": 1}, {"denied": 1}, {"screenings_wrong": 1},
            {"bad": 1},
        ):  # fmt: skip
            rows = table(evolve(good, **change), good)
            self.assertEqual(sum(not row[4] for row in rows), 1, change)
            self.assertIn("MISSED", show(rows))
            # Failures of requests sent directly to HOSP miss no target.
            self.assertNotIn("MISSED", show(table(good, evolve(good, **change))))


class QuantileTests(SynchronousTestCase):
    def test_by_nearest_rank(self) -> None:
        self.assertEqual([quantile([3.0, 1.0, 2.0, 4.0], share) for share in (0.5, 0.75, 0.99)], [2, 3, 4])
        self.assertEqual(quantile([], 0.5), 0.0)

    @given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
    def test_it_is_one_of_them_and_enough_are_not_above(self, values: list[float], share: float) -> None:
        found = quantile(values, share)
        self.assertIn(found, values)
        self.assertGreaterEqual(sum(value <= found for value in values), share * len(values) - 1e-9)
