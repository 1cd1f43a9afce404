"""Which minutes are a surge."""

from __future__ import annotations

from datetime import datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.report.bars import bar, duration, line, percent, size
from hospproxy.report.figures import Surge
from hospproxy.report.surges import LEAST, TIMES, surges

START = datetime(2026, 11, 20)


def minutes(*requests: int) -> list[tuple[datetime, int, int]]:
    return [(START + timedelta(minutes=number), count, 1) for number, count in enumerate(requests) if count]


class SurgeTests(SynchronousTestCase):
    def test_minutes_in_a_row_are_one_surge_and_a_gap_ends_it(self) -> None:
        found = surges(minutes(100, 400, 300, 100, 900, 0, 301), 100)
        self.assertEqual(
            found,
            [
                Surge(START + timedelta(minutes=4), 1, 900, 1, 900, 100),
                Surge(START + timedelta(minutes=1), 2, 700, 2, 400, 100),
                Surge(START + timedelta(minutes=6), 1, 301, 1, 301, 100),
            ],
        )

    def test_the_bound(self) -> None:
        self.assertEqual(len(surges(minutes(100 * TIMES - 1), 100)), 0)
        self.assertEqual(len(surges(minutes(100 * TIMES), 100)), 1)

    def test_few_requests_are_no_surge(self) -> None:
        self.assertEqual(len(surges(minutes(LEAST - 1), 1)), 0)
        self.assertEqual(len(surges(minutes(LEAST), 1)), 1)


class TextTests(SynchronousTestCase):
    def test_bars(self) -> None:
        self.assertEqual(bar(50, 100, 4, blocks=True), "██")
        self.assertEqual(bar(0.01, 100, 4, blocks=True), "▏")
        self.assertEqual(bar(100, 100, 4, blocks=False), "####")
        self.assertEqual(bar(0, 100, 4, blocks=True), "")
        self.assertEqual(line([0, 1, 8], blocks=True), " ▂█")

    def test_a_share_is_never_rounded_to_all_or_nothing(self) -> None:
        self.assertEqual([percent(share) for share in (0, 0.00001, 0.5, 0.99999, 1)],
                         ["0.00 %", "< 0.01 %", "50.00 %", "> 99.99 %", "100.00 %"])  # fmt: skip

    def test_units(self) -> None:
        self.assertEqual([duration(ms) for ms in (None, 0, 0.25, 12.3, 1500, 90_000)],
                         ["–", "0 ms", "0.2 ms", "12 ms", "1.50 s", "1.5 min"])  # fmt: skip
        self.assertEqual(
            [size(count) for count in (0, 999, 1500, 2e9, 3e12)], ["0 B", "999 B", "1.5 kB", "2 GB", "3 TB"]
        )
