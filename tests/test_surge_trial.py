"""What ``benchmarks.surge`` and ``benchmarks.visible`` make of what they measure."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.chaos.table import Table
from benchmarks.hit import Cost
from benchmarks.peers.instructions import Counted
from benchmarks.surge.__main__ import Watchers, judge
from benchmarks.surge.clients import Crowd, Sent
from benchmarks.visible import OFF, ON, TRACED, dearer, more
from hospproxy.checks import load_and_check
from hospproxy.options.source import NO_ENVIRONMENT, source_of


class TrialTests(SynchronousTestCase):
    def test_what_became_of_the_requests_of_a_time(self) -> None:
        crowd = Crowd((), (), (), random.Random(1))
        crowd.sent = [Sent(1.0, 200, 0.5), Sent(2.0, 503, 0.1), Sent(9.0, 200, 1.0)]
        self.assertEqual(crowd.outcomes(0.0, 5.0), "2: 200 × 1, 503 × 1; p50 0.50 s, p95 0.50 s")
        self.assertEqual(crowd.outcomes(5.0, 6.0), "0: ; p50 0.00 s, p95 0.00 s")

    def test_a_surge_that_is_noticed_late_is_missed(self) -> None:
        for seconds, met in ((12.0, True), (31.0, False)):
            watchers = Watchers(first={"machine0: status page": seconds}, posts=["surge begins (traffic): x"])
            table = Table("surge")
            judge(table, watchers, 1)
            late = [name for name in table.missed if "after, s" in name]
            self.assertEqual(not late, met)


class VisibleTests(SynchronousTestCase):
    def test_the_share_over_pairs(self) -> None:
        unseen = [Cost(50.0, 50.0)] * 5
        seen = [Cost(50.0, each) for each in (50.0, 51.0, 52.0, 53.0, 60.0)]
        middle, low, high = more(seen, unseen)
        self.assertEqual([round(each, 3) for each in (middle, low, high)], [0.02, 0.01, 0.03])

    def test_what_is_done_without_requests_is_divided_among_hits(self) -> None:
        alone, whole = dearer(Counted(1010, 30_000.0), Counted(1000, 10_000.0), 1000.0)
        self.assertEqual((round(alone, 3), round(whole, 3)), (0.01, 0.03))

    def test_its_options_exist(self) -> None:
        for text in (ON, TRACED.format(port=1), OFF):
            file = Path(self.mktemp())
            file.write_text('[upstream]\nurl = "http://127.0.0.1:1"\n' + text)
            file.chmod(0o600)
            settings, _ = load_and_check(source_of(file), NO_ENVIRONMENT)
            self.assertEqual(settings.status.enabled, text is not OFF)
