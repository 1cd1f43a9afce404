from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.delays import Delay
from hosp_standin.faults import Faults
from hosp_standin.testing import in_memory, settings


class SettingsTests(SynchronousTestCase):
    def test_a_test_wants_no_delay_and_no_limit(self) -> None:
        made = settings()
        self.assertEqual((made.delay, made.places, made.faults), (Delay("none"), 0, Faults()))

    def test_texts_and_dicts(self) -> None:
        self.assertEqual(settings(delay="fixed:1").delay, Delay("fixed", 1))
        self.assertEqual(settings(faults="stall=1").faults, Faults(stall=1))
        self.assertEqual(settings(faults={"stall": 1}).faults, Faults(stall=1))
        self.assertEqual(settings(faults=Faults(stall=1)).faults, Faults(stall=1))
        self.assertRaises(TypeError, settings, colour="red")

    def test_the_clock_is_the_wall_clock_where_none_is_given(self) -> None:
        clock = Clock()
        clock.advance(86400)
        created = in_memory(clock).store.create("notes", {})
        self.assertEqual(created["created_at"], "1970-01-02T00:00:00.000Z")
        created = in_memory(clock, wall=lambda: 0).store.create("notes", {})
        self.assertEqual(created["created_at"], "1970-01-01T00:00:00.000Z")
