from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simulation.clients.habits import HABITS
from simulation.clients.more_habits import MORE
from simulation.clients.people import Wish
from simulation.faults import DRAWERS, SHAPES, Plan
from simulation.history import Trouble
from simulation.hosp.behaviour import FAULTS, HospPlan, key_of
from simulation.scenes import SCENES, scene_of

from .test_hosp import HospCase


class ScenesTests(SynchronousTestCase):
    def test_each_is_drawn_the_same_twice_and_can_be_kept(self) -> None:
        for name in SCENES:
            for shape in SHAPES:
                plan = scene_of(name, 7, shape)
                self.assertEqual(plan, scene_of(name, 7, shape))
                self.assertEqual(Plan.from_json(plan.to_json()).to_json(), plan.to_json())

    def test_they_name_habits_and_faults_that_there_are(self) -> None:
        for name, scene in SCENES.items():
            self.assertLessEqual({*scene.habits, *scene.args}, {*HABITS, *MORE}, name)
            self.assertLessEqual(set(scene.faults), set(FAULTS), name)
            self.assertLessEqual(set(scene.strikes), set(DRAWERS), name)

    def test_arguments_of_ascene_stand_instead_of_those_that_were_drawn(self) -> None:
        errands = [each for each in scene_of("late edits", 1).errands if each["habit"] == "edit"]
        self.assertEqual({each["args"]["target"] for each in errands}, {"/notes/1", "/notes/2"})


class OddAnswersTests(HospCase):
    def odd(self, fault: str, method: str = "GET", target: str = "/notes/1") -> None:
        key = key_of(method, target, "ann", b"", 1)
        self.world(HospPlan(mean_s=0.1, named={key: fault}))

    def test_statuses_that_nobody_asked_for(self) -> None:
        for fault, status in (("unasked_304", 304), ("unasked_206", 206), ("too_many", 429)):
            self.odd(fault)
            told = self.told(Wish("GET", "/notes/1"))
            self.assertEqual((told.status, "retry-after" in told.headers), (status, False))

    def test_it_names_atime_and_says_so_in_the_history(self) -> None:
        self.odd("busy_wait")
        told = self.told(Wish("GET", "/notes/1", headers=()))
        self.assertEqual((told.status, told.headers["retry-after"]), (503, "4"))
        (trouble,) = self.history.of(Trouble)
        self.assertEqual((trouble.kind, trouble.where), ("asked to wait", "GET sim-1"))

    def test_a_head_with_bare_line_feeds_cannot_be_read_as_http(self) -> None:
        self.odd("bare_lf")
        self.assertEqual(getattr(self.ask(Wish("GET", "/notes/1")), "why", ""), "patience")

    def test_what_it_says_in_aworld(self) -> None:
        self.world(HospPlan(mean_s=0.1), says=("no_date", "no_cache", "ranges"))
        fields = self.told(Wish("GET", "/notes/1")).headers
        self.assertNotIn("date", fields)
        self.assertEqual((fields["cache-control"], fields["accept-ranges"]), ("private, no-cache", "bytes"))

    def test_filters_that_it_passes_over(self) -> None:
        self.world(HospPlan(mean_s=0.1), passes_over=True)
        everything = len(self.told(Wish("GET", "/notes")).body)
        self.assertEqual(len(self.told(Wish("GET", "/notes?staff_id=1")).body), everything)
        self.assertLess(len(self.told(Wish("GET", "/notes?patient_id=1")).body), everything)

    def test_a_held_body_is_not_sent_without_aword(self) -> None:
        self.world(HospPlan(mean_s=0.1))
        result = self.ask(Wish("POST", "/notes", {"title": "T"}, held=True, fresh_line=True))
        self.assertEqual(getattr(result, "why", ""), "patience")
