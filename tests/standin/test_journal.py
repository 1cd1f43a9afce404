from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from hosp_standin.journal import Journal, Stats


def journal(max_entries: int = 100) -> Journal:
    return Journal(lambda: 5.0, lambda: 0.0, max_entries)


class JournalTests(SynchronousTestCase):
    def test_an_entry(self) -> None:
        entry = journal().add("stored", request=1, resource="notes", id=7, in_flight=2)
        self.assertEqual((entry.seq, entry.at, entry.wall), (1, 5.0, "1970-01-01T00:00:00.000Z"))
        self.assertEqual(
            (entry.kind, entry.request, entry.resource, entry.id, entry.in_flight),
            ("stored", 1, "notes", 7, 2),
        )

    def test_found_by_what_it_is(self) -> None:
        book = journal()
        for kind, resource in [
            ("request", None),
            ("stored", "notes"),
            ("answered", None),
            ("stored", "patients"),
        ]:
            book.add(kind, resource=resource)
        self.assertEqual([entry.seq for entry in book.entries()], [1, 2, 3, 4])
        self.assertEqual([entry.seq for entry in book.entries(since=2)], [3, 4])
        self.assertEqual([entry.seq for entry in book.entries(kinds=["stored"])], [2, 4])
        self.assertEqual([entry.seq for entry in book.entries(kinds=["stored"], resource="notes")], [2])
        self.assertEqual([entry.seq for entry in book.entries(limit=2)], [1, 2])
        self.assertEqual(book.entries(limit=0), [])

    def test_bounded_and_says_what_it_lost(self) -> None:
        book = journal(3)
        for _ in range(5):
            book.add("request")
        self.assertEqual([entry.seq for entry in book.entries()], [3, 4, 5])
        self.assertEqual(book.dropped, 2)

    def test_numbers_go_on_over_a_clear(self) -> None:
        book = journal(3)
        for _ in range(5):
            book.add("request")
        book.clear()
        self.assertEqual((book.entries(), book.dropped), ([], 0))
        self.assertEqual(book.add("request").seq, 6)
        self.assertEqual(book.dropped, 0)


class StatsTests(SynchronousTestCase):
    def test_counts(self) -> None:
        stats = Stats()
        stats.arrived("GET /", "a")
        stats.arrived("GET /", "b")
        stats.left()
        stats.arrived("GET /notes", "a")
        self.assertEqual((stats.requests, stats.in_flight, stats.max_in_flight), (3, 2, 2))
        self.assertEqual(stats.by_route, {"GET /": 2, "GET /notes": 1})
        self.assertEqual(stats.by_staff, {"a": 2, "b": 1})

    def test_clear_keeps_what_is_in_flight(self) -> None:
        stats = Stats()
        for _ in range(3):
            stats.arrived("GET /", "a")
        stats.left()
        stats.clear()
        self.assertEqual((stats.requests, stats.in_flight, stats.max_in_flight), (0, 2, 2))
        self.assertEqual(stats.by_route, {})
