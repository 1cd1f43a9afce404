"""What ``benchmarks.hit`` computes from what it measures."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.hit import Cost, rows, spent


class HitCostTests(SynchronousTestCase):
    def test_the_ticks_of_a_process_whose_name_holds_anything(self) -> None:
        line = "7 (a ) b) S 1 7 7 0 -1 4194560 500 0 0 0 120 30 5 6 20 0 9 0 100"
        self.assertEqual(spent(line), (120, 30))

    def test_rows_compare_rounds_with_the_last_one(self) -> None:
        ours = [Cost(40.0, 10.0), Cost(60.0, 20.0), Cost(30.0, 10.0)]
        last = [Cost(10.0, 15.0), Cost(20.0, 20.0), Cost(10.0, 10.0)]
        found = rows({"this": ours, "nginx": last})
        self.assertEqual(found[0], ["this", "50.0", "40.0", "40.0", "10.0", "2.00 (2.00–2.00)"])
        self.assertEqual(found[1][-1], "1.00 (1.00–1.00)")
