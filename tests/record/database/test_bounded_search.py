"""The database finds the same rows as the rule, for any query and any number of rows examined at a time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.database import bounded_search, conditions
from hospproxy.record.database import reader as database_reader
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.match import matches
from hospproxy.record.search.rows import IndexRow, RowKey

from ..random_records import FILTERS, SETS, any_record
from .databases import Chain, reader, record, writer


class SearchTests(SynchronousTestCase):
    """Compares ``search`` with ``matches``."""

    def setUp(self) -> None:
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}")
        chance = random.Random(seed)
        file = Path(self.mktemp()) / "audit.sqlite"
        self.records: dict[Any, dict[str, Any]] = {}
        into = writer(file)
        for trail, journal in (("t1", "w0"), ("t1", "w1"), ("t0", "w0")):
            chain, seq = Chain(trail, journal), 0
            for part in range(3):
                told = [record(0, kind="disclosure", set=name, patients=ids) for name, ids in SETS.items()]
                records = [*(told if part == 0 else []), *(any_record(chance) for _ in range(40))]
                self.successResultOf(self._now(into.write(chain.batch(records))))
                for each in records:
                    seq += 1
                    self.records[(trail, journal, seq)] = each
        self.reader = reader(file)
        self.addCleanup(lambda: self.successResultOf(self._now(self.reader.close())))
        self.successResultOf(self._now(into.close()))

    def _now(self, coroutine: Any) -> Any:
        from twisted.internet.defer import Deferred

        return Deferred.fromCoroutine(coroutine)

    def pages(self, filters: Filters, limit: int) -> list[IndexRow]:
        """All pages."""
        rows: list[IndexRow] = []
        after: RowKey | None = None
        for _ in range(2000):
            page = self.successResultOf(self._now(self.reader.page(filters, after, limit)))
            self.assertLessEqual(len(page.rows), limit)
            rows += page.rows
            after = page.more_after
            if after is None:
                self.assertIsNone(page.searched_until)
                return rows
        raise self.failureException("no end")

    def expected(self, filters: Filters) -> set[Any]:
        return {name for name, each in self.records.items() if matches(each, filters, SETS)}

    def check(self, filters: Filters, rows: list[IndexRow]) -> None:
        names = [(row.key.name.trail, row.key.name.journal, row.key.name.seq) for row in rows]
        self.assertEqual(len(names), len(set(names)), "twice")
        self.assertEqual(set(names), self.expected(filters))
        times = [row.key.time_ms for row in rows]
        self.assertEqual(times, sorted(times, reverse=True))
        for row, name in zip(rows, names, strict=True):
            self.assertEqual(row.record["request_id"], self.records[name]["request_id"])
            if filters.patient is not None:
                self.assertEqual(row.by_list, row.record["patient_id"] != filters.patient)

    @given(FILTERS, st.integers(1, 50), st.sampled_from([1, 2, 5, 2000]), st.sampled_from([1, 10, 3000]))
    @settings(max_examples=150, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
    def test_same_rows(self, filters: Filters, limit: int, step: int, few: int) -> None:
        """Page by page, with steps of any size, each row comes once, newest first."""
        with (
            mock.patch.object(bounded_search, "STEP", step),
            mock.patch.object(bounded_search, "WORK", step * 3),
            mock.patch.object(conditions, "FEW", few),
        ):
            self.check(filters, self.pages(filters, limit))

    def test_export(self) -> None:
        """All rows, in parts."""
        filters = Filters(own=True)

        async def all_rows() -> list[IndexRow]:
            return [row async for row in self.reader.rows(filters)]

        with mock.patch.object(database_reader, "EXPORT_ROWS", 7):
            self.check(filters, self.successResultOf(self._now(all_rows())))

    def test_sets_come_a_few_at_a_time(self) -> None:
        """A few at a time, because each may be long; all of them come."""
        filters = Filters(kind="disclosure")
        with mock.patch.object(database_reader, "MOST_SETS", 3):
            page = self.successResultOf(self._now(self.reader.page(filters, None, 500)))
            self.assertEqual(len(page.rows), 3)
            self.check(filters, self.pages(filters, 500))

    def test_bounded(self) -> None:
        """If filters match nothing, the search returns how far it looked, and continues from there."""
        filters = Filters(kind="own", action="log-in failure")
        with mock.patch.object(bounded_search, "STEP", 2), mock.patch.object(bounded_search, "WORK", 4):
            page = self.successResultOf(self._now(self.reader.page(filters, None, 10)))
        self.assertEqual(page.rows, ())
        assert page.more_after is not None
        self.assertEqual(page.searched_until, page.more_after.time_ms / 1000)
