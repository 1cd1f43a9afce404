"""The index finds the same rows as a plain scan of the files, for any records and filters, wherever lines are."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from unittest import mock

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.columns import segments, upkeep, view
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.match import is_login_failure
from hospproxy.record.search.rows import RowName

from ..random_records import FILTERS, SETS, any_record
from .trails import TRAIL, IndexedTrail


class SameRows(SynchronousTestCase):
    """A trail of three journals, of which some files are merged, some small, some packed, some not in the index."""

    def setUp(self) -> None:
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}")
        chance = random.Random(seed)
        for module, name, value in (
            (upkeep, "FAN", 3),
            (upkeep, "FULL_ROWS", 90),
            (upkeep, "AT_ONCE_ROWS", 30),
            (upkeep, "_STEP", 7),
            (upkeep, "TAIL_BYTES", 9000),
            (segments, "BY_PATIENT_ROWS", 40),
        ):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.trail = IndexedTrail(Path(self.mktemp()), journals=3)
        for part in range(14):
            journal = chance.randrange(3)
            self.trail.fill(chance, chance.choice([1, 5, 30]), journal)
            if chance.random() < 0.6:
                self.trail.next_file(journal)
            if chance.random() < 0.3:
                self.trail.pack()
            if part < 12 and chance.random() < 0.5:
                self.assertIsNotNone(self.trail.upkeep.run())
        self.trail.keep([any_record(chance) for _ in range(3)], 1)
        self.trail.index = self.trail.opened(upkeep=False)

    @given(FILTERS, st.sampled_from([1, 2, 7, 500]), st.sampled_from([1, 100, 10_000]))
    @settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
    def test_same_rows(self, filters: Filters, limit: int, first: int) -> None:
        """Page by page, each row comes once, newest first."""
        with mock.patch.object(view, "FIRST_ROWS", first):
            found = self.trail.pages(filters, limit)
        expected = self.trail.scanned(filters)
        self.assertEqual([row.key for row in found], [row.key for row in expected])
        self.assertEqual([row.line for row in found], [row.line for row in expected])
        if filters.patient is not None:
            self.assertEqual([row.by_list for row in found], [row.by_list for row in expected])
        self.assertEqual(self.trail.troubles, [])

    def test_each_row_by_its_name(self) -> None:
        rows = self.trail.scanned(Filters(own=True))
        for row in rows[::9]:
            found = self.trail.index.row(row.key.name)
            assert found is not None
            self.assertEqual((found.key, found.line), (row.key, row.line))
        self.assertIsNone(self.trail.index.row(RowName(TRAIL, "w0", 1 << 30)))
        self.assertIsNone(self.trail.index.row(RowName("another", "w0", rows[0].key.name.seq)))

    def test_members(self) -> None:
        for name, patients in SETS.items():
            found = self.trail.index.members(name, 10)
            self.assertEqual(found, tuple(patients) if patients else None)
        self.assertIsNone(self.trail.index.members("s4", 2))
        self.assertIsNone(self.trail.index.members("unknown", 2))

    def test_summary(self) -> None:
        kinds = ("request", "own", "intent", "finding", "alert", "begin", "digest", "look", "disclosure")
        everything = [row for kind in kinds for row in self.trail.scanned(Filters(kind=kind))]
        for since in (0.0, 2.0, 4.5):
            summary = self.trail.index.summary(since)
            rows = [row for row in everything if row.key.time_ms >= since * 1000]
            self.assertEqual(summary.requests, sum(row.record["kind"] == "request" for row in rows))
            failed = Counter(row.record["client"]["address"] for row in rows if is_login_failure(row.record))
            self.assertEqual(dict(summary.login_failures), dict(failed))
            refused = Counter(row.record["route"] for row in rows if row.record.get("outcome") == "refused")
            self.assertEqual(dict(summary.refusals), dict(refused))
            alerts = sorted((row.key for row in rows if row.record["kind"] == "alert"), reverse=True)
            self.assertEqual([row.key for row in summary.alerts], alerts[:10])
            assert summary.newest is not None
            self.assertEqual(round(summary.newest * 1000), max(row.key.time_ms for row in everything))
