"""The index becomes equal to the journal again, whatever happened to either."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.columns import manifest, segments, upkeep
from hospproxy.record.columns.engine import Engine, SearchLate
from hospproxy.record.columns.manifest import Segment
from hospproxy.record.columns.upkeep import _locked, mergeable
from hospproxy.record.search.filters import Filters
from hospproxy.record.search.rows import NoIndexYet

from ..random_records import any_record
from .trails import TRAIL, IndexedTrail

EVERYTHING = Filters(own=True)
OF_PATIENT = Filters(patient="4", own=True)


class KilledError(Exception):
    """The process ends here."""


def killed_at(number: int, call: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    """The call, until so many calls of all that share the list were made."""

    def called(*args: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] > number:
            raise KilledError
        return call(*args, **more)

    return called


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        for name, value in (("FAN", 3), ("AT_ONCE_ROWS", 40), ("_STEP", 9)):
            patch = mock.patch.object(upkeep, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        patch = mock.patch.object(segments, "BY_PATIENT_ROWS", 60)
        patch.start()
        self.addCleanup(patch.stop)
        self.chance = random.Random(5)
        self.trail = IndexedTrail(Path(self.mktemp()))

    def fill(self, files: int, count: int = 15) -> None:
        for _ in range(files):
            self.trail.fill(self.chance, count)
            self.trail.next_file()

    def segments(self) -> list[Segment]:
        found = manifest.load(self.trail.folder, TRAIL)
        return found.segments if found is not None else []

    def check(self) -> None:
        """The index has the same rows as the files, and no file that it does not need."""
        for filters in (EVERYTHING, OF_PATIENT, Filters(kind="unreadable"), Filters(kind="disclosure")):
            expected = self.trail.scanned(filters)  # which passes over lines that are not JSON
            found = [row.key for row in self.trail.pages(filters, 50) if row.record]
            self.assertEqual(found, [row.key for row in expected])
        named = {f"{each.name}.{ending}" for each in self.segments() for ending in each.files}
        there = {path.name for path in self.trail.folder.glob("s*")}
        self.assertEqual(there, named)


class Merging(Case):
    def test_there_are_never_many_segments(self) -> None:
        for _ in range(20):
            self.fill(1, 3)
            self.trail.upkeep.run()
        self.assertLess(len(self.segments()), 8)
        self.check()

    def test_a_full_one_is_left_alone(self) -> None:
        many = [Segment(f"s{n}", upkeep.FULL_ROWS, 0, 0, [], {}) for n in range(20)]
        self.assertIsNone(mergeable(many))
        few = [Segment(f"t{n}", 1 + n, 0, 0, [], {}) for n in range(2)]
        self.assertIsNone(mergeable([*many, *few]))
        same = [Segment(f"u{n}", 1000, 0, 0, [], {}) for n in range(3)]
        self.assertEqual(mergeable([*many, *few, *same]), same)


class Damage(Case):
    def damaged(self, damage: Callable[[Path], object]) -> None:
        """Damage each file of the index in turn; a process that starts then mends it."""
        self.fill(6)
        self.trail.upkeep.run()
        for path in sorted(self.trail.folder.glob("*.parquet")):
            if not path.exists():
                continue  # it was made again under another name
            damage(path)
            self.trail.index = self.trail.opened()
            done = self.trail.upkeep.run()
            assert done is not None
            self.assertEqual(done.mended, 1, path.name)
            self.check()

    def test_missing(self) -> None:
        self.damaged(Path.unlink)

    def test_torn(self) -> None:
        self.damaged(lambda path: path.write_bytes(path.read_bytes()[:-9]))

    def test_foreign(self) -> None:
        """A file of the same size with other bytes."""
        self.damaged(lambda path: path.write_bytes(bytes(path.stat().st_size)))

    def test_a_search_mends_what_it_cannot_read(self) -> None:
        self.fill(6)
        self.trail.upkeep.run()
        self.check()
        path = next(self.trail.folder.glob(f"*.{segments.RECORDS}"))
        path.write_bytes(bytes(path.stat().st_size))
        self.check()

    def test_another_trail(self) -> None:
        self.fill(4)
        self.trail.upkeep.run()
        content = (self.trail.folder / manifest.FILE).read_bytes().replace(TRAIL.encode(), b"f" * 16)
        for damage in (content, b"{", b'{"trail":"x"}', b"\xff", b'{"trail":"0123456789abcdef","v":2}'):
            (self.trail.folder / manifest.FILE).write_bytes(damage)
            self.trail.index = self.trail.opened()
            self.trail.upkeep.run()
            self.check()


class Crashes(Case):
    def test_at_every_step(self) -> None:
        """Killed at any call that changes a file; the next process finds everything."""
        self.fill(5)
        for number in range(60):
            calls = [0]
            self.trail.index = self.trail.opened()
            try:
                with (
                    mock.patch.object(upkeep, "save", killed_at(number, manifest.save, calls)),
                    mock.patch.object(segments, "_copy", killed_at(number, segments._copy, calls)),
                    mock.patch.object(Path, "unlink", killed_at(number, Path.unlink, calls)),
                    mock.patch.object(Path, "rename", killed_at(number, Path.rename, calls)),
                ):
                    self.trail.upkeep.run()
            except KilledError:
                self.trail.index = self.trail.opened()
                self.trail.upkeep.run()
                self.check()
                (self.trail.folder / manifest.FILE).unlink()  # begin from nothing
            else:
                self.assertGreater(number, 4)
                self.check()
                return
        raise self.failureException("no end")

    def test_another_process_has_the_lock(self) -> None:
        """A search does not wait for it."""
        self.fill(3)
        self.trail.upkeep.run()
        self.fill(2)
        with _locked(self.trail.folder, wait=True):
            self.assertIsNone(self.trail.upkeep.run(wait=False))
            found = self.trail.pages(EVERYTHING, 50)
        self.assertEqual(len(found), len(self.trail.scanned(EVERYTHING)))


class Journals(Case):
    def test_a_removed_file_goes_from_both(self) -> None:
        self.fill(3)
        self.trail.now += 10 * 86_400
        self.fill(3)
        self.trail.upkeep.run()
        before = len(self.trail.pages(EVERYTHING, 500))
        self.trail.pack(retention_days=5.0)
        self.assertLess(len(self.trail.pages(EVERYTHING, 500)), before)  # a line that is gone is not shown
        done = self.trail.upkeep.run()
        assert done is not None
        self.assertEqual(done.removed, 3)
        gone = {path.name.removesuffix(".tombstone") for path in self.trail.trail.glob("*.tombstone")}
        self.assertEqual(len(gone), 3)
        self.assertTrue(gone.isdisjoint(stem for each in self.segments() for stem in each.stems))
        self.check()

    def test_rows_past_their_retention_are_left_out_and_then_removed(self) -> None:
        self.fill(4)
        self.trail.upkeep.run()
        self.trail.now = 86_400.0 * 5  # the records are of 1970-01-01
        self.fill(1)
        self.trail.index = self.trail.opened(keep_ms=86_400_000)
        self.assertEqual(self.trail.pages(EVERYTHING, 50), [])
        self.trail.upkeep.run()
        self.assertEqual(sum(each.rows for each in self.segments()), 21)  # of the newest closed file
        done = self.trail.upkeep.run()
        assert done is not None
        self.assertEqual((done.records, done.removed), (0, 0))

    def test_a_line_that_was_taken_back(self) -> None:
        """A group that could not be synced is cut off again, when the index may have it already."""
        with mock.patch.object(upkeep, "TAIL_BYTES", 1):
            self.trail.fill(self.chance, 30)
            self.trail.upkeep.run()
            path = self.trail.paths[-1]
            lines = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join(lines[:-4]))
            self.check()
            path.write_bytes(b"".join([*lines[:-4], lines[-4].replace(b"1970", b"1971")]))
            self.check()

    def test_an_open_file_is_added_in_parts(self) -> None:
        with mock.patch.object(upkeep, "TAIL_BYTES", 3000):
            for _ in range(10):
                self.trail.fill(self.chance, 10)
                self.trail.upkeep.run()
                self.check()
        self.assertGreater(sum(each.rows for each in self.segments()), 80)

    def test_lines_that_nobody_can_read(self) -> None:
        self.fill(2)
        path = self.trail.paths[0]
        content = path.read_bytes().replace(b'"kind":"request"', b'"kind":"requ\xff\xfe"', 3)
        path.write_bytes(content.replace(b'"v":1', b'"v":[', 2))
        self.check()
        unreadable = self.trail.pages(Filters(kind="unreadable"), 50)
        self.assertIn(b"requ\xff\xfe", b"".join(row.line for row in unreadable))
        self.assertEqual({row.record.get("kind") for row in unreadable}, {None})

    def test_a_torn_line(self) -> None:
        self.trail.fill(self.chance, 10)
        with self.trail.paths[-1].open("ab") as file:
            file.write(b'{"v":1,"kind":"requ')
        self.check()

    def test_a_damaged_file_hides_no_other(self) -> None:
        self.fill(3, 200)
        self.trail.pack()
        packed = [path for path in self.trail.paths if path.suffix == ".gz"]
        whole = packed[0].read_bytes()
        packed[0].write_bytes(whole[:-300])
        done = self.trail.upkeep.run()
        assert done is not None
        self.assertEqual(len(done.troubles), 1)
        found = self.trail.pages(EVERYTHING, 500)
        self.assertTrue(self.trail.index.troubles)
        self.assertEqual([row.key for row in found], [row.key for row in self.trail.scanned(EVERYTHING)])
        packed[0].write_bytes(whole)  # restored from a backup
        self.check()


class Bounds(Case):
    def test_not_built_yet(self) -> None:
        self.fill(4)
        index = self.trail.opened(upkeep=False, most_behind=2000)
        with self.assertRaises(NoIndexYet):
            index.page(EVERYTHING, None, 10)
        self.trail.upkeep.run()
        self.assertEqual(len(index.page(EVERYTHING, None, 10).rows), 10)

    def test_late(self) -> None:
        self.trail.keep([any_record(self.chance) for _ in range(600)])
        with (
            mock.patch.object(Engine, "limited", lambda engine, _s: _expired(engine)),
            self.assertRaises(SearchLate),
        ):
            self.trail.index.page(EVERYTHING, None, 10)
        engine = Engine(self.trail.folder)
        with engine.limited(0.01), self.assertRaises(SearchLate):
            engine.run(
                "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"
            )

    def test_nothing_is_taken_from_a_network(self) -> None:
        engine = Engine(self.trail.folder)
        [[settings]] = engine.run(
            "SELECT list(name || '=' || value ORDER BY name) FROM duckdb_settings()"
            " WHERE name IN ('autoinstall_known_extensions', 'autoload_known_extensions', 'lock_configuration')"
        )
        self.assertEqual(
            settings,
            [
                "autoinstall_known_extensions=false",
                "autoload_known_extensions=false",
                "lock_configuration=true",
            ],
        )

    def test_files_are_private(self) -> None:
        self.fill(3)
        self.trail.upkeep.run()
        for path in self.trail.folder.iterdir():
            self.assertEqual(path.stat().st_mode & 0o077, 0, path.name)


class _expired:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __enter__(self) -> None:
        self.engine.expired = True

    def __exit__(self, *_: object) -> None:
        self.engine.expired = False
