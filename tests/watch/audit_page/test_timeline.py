"""The drawing of a patient's looks counts each look once, and stays small."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.watch.audit_page.timeline import HEIGHT, MOST_BARS, WIDTH, Timeline, timeline

from .readers import FakeReader, record

DAY = 86_400


def drawn(*days: float, **more: object) -> Timeline | None:
    return timeline(FakeReader([record(DAY * day, **more) for day in days]).kept)


class TimelineTests(SynchronousTestCase):
    def test_a_bar_for_each_day(self) -> None:
        found = drawn(0, 0.01, 2)
        assert found is not None
        self.assertEqual([bar.count for bar in found.bars], [1, 0, 2])
        self.assertEqual((found.most, found.days), (2, 1))
        self.assertEqual([bar.height for bar in found.bars], [HEIGHT / 2, 0, HEIGHT])

    def test_what_showed_nothing_does_not_count(self) -> None:
        self.assertIsNone(drawn(0, outcome="refused"))
        self.assertIsNone(drawn(0, kind="look"))
        self.assertIsNone(drawn())

    def test_a_long_period_has_few_bars_and_loses_nothing(self) -> None:
        for length in (MOST_BARS - 1, MOST_BARS, 400, 4000):
            found = drawn(*range(0, length + 1, 3))
            assert found is not None
            self.assertLessEqual(len(found.bars), MOST_BARS, length)
            self.assertEqual(sum(bar.count for bar in found.bars), len(range(0, length + 1, 3)))
            self.assertLessEqual(found.bars[-1].x + found.bars[-1].width, WIDTH)
