"""A batch is stored once, whole, and as it is in the journal."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy.exc import ProgrammingError
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.interfaces import IAuditWriter, ITrailReader
from hospproxy.record.database import reader as database_reader
from hospproxy.record.database import sink
from hospproxy.record.database.access import DatabaseFailed, NoTablesYet
from hospproxy.record.database.retention import Pruner
from hospproxy.record.database.sink import Anchor, DatabaseSink, OtherRecordError
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.rows import IndexRow, RowKey, RowName, RowPage
from hospproxy.record.trail.follower import Batch, Cursor

from .databases import Chain, access, reader, record, writer


class _UndefinedTableError(Exception):
    sqlstate = "42P01"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp()) / "audit.sqlite"
        self.writer = writer(self.file)
        self.reader = reader(self.file)
        self.addCleanup(lambda: (self.now(self.writer.close()), self.now(self.reader.close())))

    def now(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def fails(self, coroutine: Any, kind: type[Exception]) -> str:
        return str(self.failureResultOf(Deferred.fromCoroutine(coroutine), kind).value)

    def page(self, after: RowKey | None = None, limit: int = 100, **filters: Any) -> RowPage:
        found: RowPage = self.now(self.reader.page(Filters(**filters), after, limit))
        return found

    def seqs(self, **filters: Any) -> list[int]:
        return [row.key.name.seq for row in self.page(**filters).rows]

    def count(self, table: str) -> int:
        with sqlite3.connect(self.file) as connection:
            [[found]] = connection.execute(f"SELECT count(*) FROM {table}")
        return int(found)


class WriteTests(Case):
    """Tests of ``DatabaseSink``."""

    def test_interfaces(self) -> None:
        """Sink and reader implement their interfaces."""
        verifyObject(IAuditWriter, self.writer)
        verifyObject(ITrailReader, self.reader)

    def test_again(self) -> None:
        """The same batch, and one that begins with its records: no record is stored or counted twice."""
        chain = Chain()
        first, second = chain.batch([record(1), record(2)]), chain.batch([record(3)])
        longer = Batch(first.lines + second.lines, second.head, second.position, "t1")
        for batch in (first, first, longer, second, first):
            self.now(self.writer.write(batch))
        self.assertEqual(self.seqs(), [3, 2, 1])
        self.assertEqual((self.count("lines"), self.count("records")), (3, 3))
        self.assertEqual(self.now(self.reader.summary(0)).requests, 3)
        self.assertEqual(self.now(self.writer.anchors()), (Anchor("t1", "w0", 3, second.head),))

    def test_another_record_of_the_same_name(self) -> None:
        """The write fails, and nothing of the batch is stored."""
        self.now(self.writer.write(Chain().batch([record(1)])))
        other = Chain().batch([record(2), record(3)])
        self.assertIn("another hash", self.fails(self.writer.write(other), OtherRecordError))
        self.assertEqual(self.seqs(), [1])

    def test_two_trails(self) -> None:
        """Both have a journal w0."""
        for trail in ("t1", "t2"):
            self.now(self.writer.write(Chain(trail).batch([record(1)])))
        names = [row.key.name for row in self.page().rows]
        self.assertEqual(sorted(names), [RowName("t1", "w0", 1), RowName("t2", "w0", 1)])

    def test_as_it_stands(self) -> None:
        """Lines and records come back unchanged, by page and by name."""
        batch = Chain().batch([record(1500, who={"id": 1, "name": "Zoë\u202e\0'; DROP TABLE lines"})])
        self.now(self.writer.write(batch))
        [row] = self.page().rows
        self.assertEqual(row.line, batch.lines[0])
        self.assertEqual(row.key, RowKey(1500, RowName("t1", "w0", 1)))
        self.assertEqual(self.now(self.reader.row(row.key.name)), row)
        for name in (RowName("t1", "w0", 2), RowName("t2", "w0", 1), RowName("t1", "w0", 1 << 41)):
            self.assertIsNone(self.now(self.reader.row(name)))

    def test_unreadable(self) -> None:
        """A line that is not JSON gets the time of the line before; its row has a name and a kind."""
        chain = Chain()
        good = chain.batch([record(1000), record(3000)])
        lines = (good.lines[0], b"\xff\0 no JSON", b"[1]")
        self.now(self.writer.write(Batch(lines, "0" * 64, Cursor("w0", 1, 0, 3), "t1")))
        rows = self.page(kind="unreadable").rows
        self.assertEqual([(row.key.time_ms, row.line) for row in rows], [(1000, lines[2]), (1000, lines[1])])
        self.assertEqual(self.seqs(), [3, 2, 1])
        self.assertEqual(self.now(self.reader.row(RowName("t1", "w0", 3))), rows[0])

    def test_sets(self) -> None:
        """Sets in parts, repeated, and used by a record of a later batch."""
        chain = Chain()
        for patients in (["3"], ["4", 5], ["3", None]):
            self.now(
                self.writer.write(chain.batch([record(1, kind="disclosure", set="s", patients=patients)]))
            )
        self.now(
            self.writer.write(chain.batch([record(9, patient_id="6", disclosed={"set": "s", "count": 3})]))
        )
        self.assertEqual(self.count("members"), 3)
        for patient in ("3", "4", "5", "6"):
            [row] = [row for row in self.page(patient=patient).rows if row.key.name.seq == 4]
            self.assertEqual(row.by_list, patient != "6")
        self.assertEqual(self.page(patient="7").rows, ())

    def test_words_of_a_batch_that_was_rolled_back(self) -> None:
        """Numbers from a rolled-back batch are not used again."""
        chain = Chain()
        batch = chain.batch([record(1, outcome="new")])
        with mock.patch.object(sink, "_note_head", side_effect=DatabaseFailed("no")):
            self.fails(self.writer.write(batch), DatabaseFailed)
        self.now(self.writer.write(Chain("t0").batch([record(1, outcome="other")])))
        self.now(self.writer.write(batch))
        self.assertEqual([row.key.name.trail for row in self.page(outcome="new").rows], ["t1"])

    def test_of_another_version(self) -> None:
        """The file stays unchanged."""
        self.now(self.writer.open())
        with sqlite3.connect(self.file) as connection:
            connection.execute("UPDATE about SET value = '2'")
        self.assertIn("version 2", self.fails(writer(self.file).open(), DatabaseFailed))

    def test_no_tables(self) -> None:
        """PostgreSQL says so by a code; then the sink has not started yet."""
        missing = ProgrammingError("SELECT", {}, _UndefinedTableError("relation does not exist"))
        with mock.patch.object(database_reader, "page", side_effect=missing):
            self.fails(self.reader.page(Filters(), None, 1), NoTablesYet)

    def test_no_database(self) -> None:
        """An unreadable file does not count as an empty index."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(b"no database at all " * 100)
        asked = Deferred.fromCoroutine(self.reader.page(Filters(), None, 1))
        self.assertIs(self.failureResultOf(asked).type, DatabaseFailed)


class PruneTests(Case):
    """Tests of ``Pruner``."""

    def test_prune(self) -> None:
        """The oldest records are deleted, a few at each write; younger ones stay."""
        now = [10.0]
        into = DatabaseSink(access(self.file), Pruner(8.0, lambda: now[0], 0.0, at_once=2))
        chain = Chain()
        told = record(0, kind="disclosure", set="s", patients=["4"])
        used = record(500, disclosed={"set": "s", "count": 1})
        old = [record(time_ms) for time_ms in (1000, 1500, 1999)]
        self.now(into.write(chain.batch([told, used, *old, record(2000)])))
        self.assertEqual(self.seqs(), [6, 5, 4, 3])
        self.assertEqual(self.count("members"), 0)
        self.now(into.write(chain.batch([record(3000)])))
        self.assertEqual(self.seqs(), [7, 6, 5])
        self.now(into.write(chain.batch([record(3001)])))
        self.assertEqual(self.seqs(), [8, 7, 6])
        self.assertEqual(self.count("lines"), 3)
        now[0] = 69.0  # the next look is a minute later
        self.now(into.write(chain.batch([record(3002)])))
        self.assertEqual(self.count("records"), 4)
        now[0] = 71.0
        self.now(into.write(chain.batch([record(3003)])))
        self.assertEqual(self.count("records"), 3)
        self.now(into.close())


class SummaryTests(Case):
    """Tests of ``summary``."""

    def test_empty(self) -> None:
        """Nothing happened."""
        self.now(self.writer.open())
        summary = self.now(self.reader.summary(0))
        self.assertEqual((summary.requests, summary.newest, summary.alerts), (0, None, ()))

    def test_summary(self) -> None:
        """Counts start at the given millisecond and span hours."""
        hour = 3_600_000
        times = [hour - 2, hour - 1, hour, hour + 1]
        rows = [record(time_ms, time=f"1970-01-01T0{time_ms // hour}:{time_ms // 60000 % 60:02d}:"
                       f"{time_ms // 1000 % 60:02d}.{time_ms % 1000:03d}Z") for time_ms in times]  # fmt: skip
        rows += [{**rows[3], "kind": "own"}, {**rows[3], "kind": "alert"}]
        rows += [{**rows[2], "status": 401, "client": {"address": f"192.0.2.{n % 2}"}} for n in range(3)]
        rows += [{**rows[2], "status": 403, "outcome": "refused", "route": "/notes"}]
        self.now(self.writer.write(Chain().batch(rows)))
        summary = self.now(self.reader.summary((hour - 1) / 1000))
        self.assertEqual(summary.requests, 7)
        self.assertEqual(summary.login_failures, (("192.0.2.0", 2), ("192.0.2.1", 1)))
        self.assertEqual(summary.refusals, (("/notes", 1),))
        self.assertEqual([row.key.name.seq for row in summary.alerts], [6])
        self.assertEqual(summary.newest, (hour + 1) / 1000)
        self.assertEqual(self.now(self.reader.summary((hour + 2) / 1000)).requests, 0)


class PageTests(Case):
    """Tests of ``page``."""

    def test_a_key_of_an_unknown_journal(self) -> None:
        """A page's key from another database: no record of that time is skipped."""
        self.now(self.writer.write(Chain().batch([record(1), record(2), record(3)])))
        page = self.page(after=RowKey(2, RowName("t9", "w0", 1)))
        self.assertEqual([row.key.name.seq for row in page.rows], [2, 1])

    def test_rows_are_what_the_interface_says(self) -> None:
        """A page announces more rows only if there are more."""
        self.now(self.writer.write(Chain().batch([record(1), record(2)])))
        page = self.page(limit=1)
        self.assertIsInstance(page.rows[0], IndexRow)
        self.assertEqual(page.more_after, page.rows[0].key)
        self.assertIsNone(self.page(after=page.more_after, limit=1).more_after)
