"""scripts/stops.py measures what requests, audit records and options pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests import test_walkthroughs
from tests.simulation import worlds

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import stops  # noqa: E402


def numbers() -> Iterator[int]:
    yield 1
    yield 2


@frozen
class Section:
    concurrency: int


def takes_section(section: Section) -> None:
    del section


class CounterTests(SynchronousTestCase):
    def test_a_function_that_goes_on_is_not_called_again(self) -> None:
        counter = stops.Counter()
        with stops.profiled_by(counter):
            list(numbers())
            list(numbers())
        counted = counter.stops("a journey", ROOT, "tests/test_stops.py")
        self.assertEqual(counted, stops.Stops("a journey", 1, 2, ("tests/test_stops.py",)))

    def test_what_follows_the_end_does_not_count(self) -> None:
        counter = stops.Counter()
        with stops.profiled_by(counter):
            counter.stop()
            list(numbers())
        self.assertEqual(counter.stops("", ROOT, "tests/").calls, 0)


class SeenTests(SynchronousTestCase):
    def calls(self, options: str) -> dict[str, int]:
        """How often a cache hit calls each function, with further options."""
        kept: list[stops.Counter] = []

        class Kept(stops.Counter):
            def __init__(self, counts: Callable[[], bool]) -> None:
                super().__init__(counts)
                kept.append(self)

        self.patch(stops, "Counter", Kept)
        self.patch(test_walkthroughs, "OPTIONS", worlds.OPTIONS + options)
        stops.of_scenario("cache-hit", [("hit", "hospproxy/")], ROOT)
        return {
            code.co_qualname: count for code, count in kept[0]._calls.items() if stops.file_of(code, ROOT)
        }

    def test_a_hit_costs_no_call_more_with_the_status_page_surges_and_a_log(self) -> None:
        self.calls("")  # caches fill
        unseen = self.calls('[status]\nenabled = false\n[log]\nlevel = "error"\n')
        self.assertEqual(self.calls('[status]\nenabled = true\n[log]\nlevel = "info"\n'), unseen)
        self.assertGreater(len(unseen), 100)


class FollowerTests(SynchronousTestCase):
    def followed(self, number: int) -> list[str]:
        follower = stops.Follower(number, ROOT)
        self.patch(stops, "PACKAGE", "tests")
        with stops.profiled_by(follower):
            takes_section(Section(947))
        return list(follower.files)

    def test_a_section_bears_its_fields(self) -> None:
        self.assertEqual(self.followed(947), ["tests/test_stops.py"])

    def test_another_number(self) -> None:
        self.assertEqual(self.followed(946), [])


class TableTests(SynchronousTestCase):
    def test_a_column_for_each_commit(self) -> None:
        hit = stops.Stops("hit", 3, 4, ("a.py",))
        option = stops.Stops("option", None, None, ("a.py", "b.py"))
        self.assertEqual(
            list(stops.table([("old", [hit, option]), ("new", [hit, option])])),
            [
                "| journey | figure | old | new |",
                "| --- | --- | ---: | ---: |",
                "| hit | files | 1 | 1 |",
                "| hit | functions | 3 | 3 |",
                "| hit | calls | 4 | 4 |",
                "| option | files | 2 | 2 |",
            ],
        )


class MeasureTests(SynchronousTestCase):
    def test_every_journey_of_this_checkout(self) -> None:
        hit, record, lost, option = stops.measure(ROOT)
        self.assertIn("hospproxy/arrival/http1.py", hit.files)
        self.assertIn("hospproxy/memory/cache.py", hit.files)
        self.assertNotIn("hospproxy/outward/upstream.py", hit.files)
        self.assertEqual(
            record.files, tuple(name for name in hit.files if name.startswith("hospproxy/record/"))
        )
        self.assertIn("hospproxy/record/trail/journal.py", record.files)
        self.assertNotIn("hospproxy/record/database/sink.py", record.files)
        self.assertIn("hospproxy/outward/writes/looks.py", lost.files)
        self.assertLess(len(hit.files), len(lost.files))
        self.assertIn("hospproxy/options/gate_section.py", option.files)
        self.assertIn("hospproxy/outward/gate/limit.py", option.files)
        self.assertNotIn("hospproxy/memory/cache.py", option.files)
