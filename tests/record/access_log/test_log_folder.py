"""Each request has one line, whenever a process is killed, the disk is full, or another process comes."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.access_log import position
from hospproxy.record.access_log.file_names import is_closed_name, key_of
from hospproxy.record.access_log.log_folder import OPEN, FolderInUse, RotationRule

from .logs import Log, closed_names, content, ids, wanted

STEPS = ("pwrite", "fdatasync", "fsync", "replace", "ftruncate")
"""What changes the disk. A process can die before each."""
_KILLED = 9


def die_before(step: int) -> Callable[[], int]:
    """Let this process die before its nth step on the disk; return how many steps it has taken."""
    count = 0

    def wrapped(call: Any, does: bool) -> Any:
        def stepping(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                os._exit(_KILLED)
            return call(*given, **named) if does else None

        return stepping

    for name in STEPS:
        setattr(os, name, wrapped(getattr(os, name), "sync" not in name))
    return lambda: count


def life(folder: Path, first: int, last: int, step: int, acknowledged: int) -> tuple[bool, int]:
    """Write records in a process that dies before a step.

    :return: whether it died, and the last record that the carrier would not give again.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            die_before(step)
            log = Log(folder, most_bytes=1500)
            log.open()
            for seq in range(first, last + 1, 2):
                log.now += 20.0
                log.write(seq, min(seq + 1, last))
                os.write(writes, bytes([min(seq + 1, last)]))
            log.files.close_file(only_due=False)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writes)
    _, status = os.waitpid(child, 0)
    told = os.read(reads, 100)
    os.close(reads)
    assert os.waitstatus_to_exitcode(status) in (0, _KILLED), status
    return os.waitstatus_to_exitcode(status) == _KILLED, told[-1] if told else acknowledged


class KilledTests(SynchronousTestCase):
    def test_killed_before_every_step_on_the_disk(self) -> None:
        for step in range(1, 500):
            folder = Path(self.mktemp())
            died, at = life(folder, 1, 12, step, 0)
            life(folder, at + 1, 12, -1, at)
            self.assertEqual(ids(folder), wanted(12), step)
            if not died:
                self.assertGreater(step, 30)
                return
        self.fail("it always died")

    def test_killed_again_and_again_with_a_carrier_that_forgets(self) -> None:
        chance = Random(7)
        for _ in range(15):
            folder, at = Path(self.mktemp()), 0
            for _ in range(6):
                _, at = life(folder, at + 1, 12, chance.randrange(1, 60), at)
                at = max(0, at - chance.randrange(0, 5))
            life(folder, at + 1, 12, -1, at)
            self.assertEqual(ids(folder), wanted(12))


class LogFolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.log = Log(self.folder)
        self.log.open()

    def reborn(self, **more: Any) -> None:
        now = self.log.now
        self.log.die()
        self.log = Log(self.folder, now=now, **more)
        self.log.open()

    def test_only_its_user_can_read_it(self) -> None:
        self.log.write(1, 3)
        self.log.files.close_file(only_due=False)
        self.log.write(4, 4)
        for path in (self.folder / OPEN, *(self.folder / name for name in closed_names(self.folder))):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)

    def test_a_file_holds_one_interval_and_is_named_by_its_end(self) -> None:
        self.log.write(1, 2)
        self.log.now += 299
        self.log.write(3, 3)
        self.assertEqual(closed_names(self.folder), [])
        self.log.now += 1
        self.log.write(4, 4)
        [name] = closed_names(self.folder)
        self.assertEqual(
            name,
            "123456789012_elasticloadbalancing_eu-central-1_app.hosp.0123456789abcdef_20261129T0525Z_192.0.2.1"
            "_00000001.log.gz",
        )
        self.assertEqual(
            key_of("ward/logs", name),
            f"ward/logs/AWSLogs/123456789012/elasticloadbalancing/eu-central-1/2026/11/29/{name}",
        )
        self.assertEqual(key_of("", name)[:8], "AWSLogs/")
        self.assertEqual(len(gzip.decompress((self.folder / name).read_bytes()).splitlines()), 3)
        self.assertEqual(ids(self.folder), wanted(4))
        self.assertEqual(self.log.files_closed(), 1)

    def test_the_clock_alone_closes_a_file(self) -> None:
        self.log.write(1, 2)
        self.log.sink.start()
        self.assertIsNone(self.log.files_closed())
        self.log.now += 300
        self.log.clock.advance(5)
        self.assertEqual(self.log.files_closed(), 1)
        self.log.clock.advance(5)
        self.assertEqual(len(closed_names(self.folder)), 1, "an empty file is not closed")

    def test_a_clock_that_was_set_back_keeps_no_file_open(self) -> None:
        self.log.write(1, 1)
        self.log.now -= 200
        self.log.write(2, 2)
        self.assertEqual(closed_names(self.folder), [])
        self.log.now -= 200
        self.log.write(3, 3)
        self.assertEqual(len(closed_names(self.folder)), 1)

    def test_a_large_file_is_closed(self) -> None:
        self.reborn(most_bytes=700)
        for seq in range(1, 9):
            self.log.write(seq, seq)
        self.assertEqual(len(closed_names(self.folder)), 2)
        self.assertEqual(ids(self.folder), wanted(8))

    def test_no_closed_file_is_replaced_by_one_of_the_same_interval(self) -> None:
        for seq in range(1, 5):
            self.log.write(seq, seq)
            self.log.files.close_file(only_due=False)
            if seq == 2:
                [*_, name] = closed_names(self.folder)
                (self.folder / "shipped").mkdir()
                (self.folder / name).rename(self.folder / "shipped" / name)
            self.reborn()  # and draws the same random numbers
        self.assertEqual(ids(self.folder), wanted(4))

    def test_another_format_begins_another_file(self) -> None:
        self.log.write(1, 2)
        self.reborn(format="json")
        self.log.write(3, 3)
        self.assertEqual(len(closed_names(self.folder)), 1)
        self.assertTrue((self.folder / OPEN).read_bytes().startswith(b"{"))

    def test_records_that_come_again_make_no_second_line(self) -> None:
        self.log.write(1, 4)
        self.reborn()
        for first, last in ((1, 4), (2, 3), (3, 6), (1, 6)):
            self.log.write(first, last)
        self.assertEqual(ids(self.folder), wanted(6))

    def test_each_workers_journal_and_each_trail_counts_for_itself(self) -> None:
        self.log.write(1, 2)
        self.log.write(1, 2, journal="w1")
        self.log.write(1, 2, trail="f" * 32)
        self.assertEqual(ids(self.folder), [*wanted(2), *wanted(2, "w1"), *wanted(2)])

    def test_other_records_make_no_line(self) -> None:
        self.log.write(1, 3, kind="own")
        self.assertEqual(content(self.folder), [])
        self.log.write(1, 3)
        self.assertEqual(ids(self.folder), wanted(3))

    def test_a_record_that_cannot_be_read_holds_nothing_up(self) -> None:
        self.log.write(1, 1, status="no number")
        self.log.write(2, 2)
        self.assertEqual(ids(self.folder), ["w0-2"])

    def test_one_process_at_a_time(self) -> None:
        other = Log(self.folder)
        with self.assertRaises(FolderInUse):
            other.open()
        self.log.die()
        other.open()
        other.die()

    def test_a_damaged_position(self) -> None:
        self.log.write(1, 2)
        for damage in (b"", b"{", b'{"v":2}', b'{"v":1,"bytes":-4}', b'{"v":1,"closing":"../../x"}', b"\xff"):
            (self.folder / position.FILE).write_bytes(damage)
            self.reborn()
            self.log.write(1, 2)
            self.assertEqual(ids(self.folder), wanted(2), "what does not count is cut off")

    def test_what_a_killed_process_wrote_without_counting_it_is_gone_at_once(self) -> None:
        self.log.write(1, 2)
        self.log.die()
        with (self.folder / OPEN).open("ab") as file:
            file.write(b"x" * 5000)
        self.reborn()
        self.assertEqual(ids(self.folder), wanted(2))
        self.log.write(3, 3)
        self.assertEqual(ids(self.folder), wanted(3))

    def test_a_file_that_somebody_cut(self) -> None:
        self.log.write(1, 2)
        os.truncate(self.folder / OPEN, 10)
        self.reborn()
        self.log.write(3, 3)
        self.assertIn("w0-3", content(self.folder)[-1])

    def test_other_files_of_the_folder_are_no_closed_files(self) -> None:
        for name in ("access.log", "position.json", "closing.draft", "a.log.gz", "x" * 50 + ".log.gz"):
            self.assertFalse(is_closed_name(name))
            with self.assertRaises(ValueError):
                key_of("p", name)

    @given(st.floats(0, 4e9), st.floats(60, 86400))
    def test_an_interval_has_an_end_after_its_start(self, begun: float, every: float) -> None:
        rule = RotationRule(1000, every)
        self.assertLess(begun, rule.end(begun))
        self.assertFalse(rule.is_due(10, begun, begun))
        self.assertTrue(rule.is_due(10, begun, rule.end(begun)))
        self.assertTrue(rule.is_due(1000, begun, begun))
        self.assertFalse(rule.is_due(0, begun, begun + 10 * every))


class FullDiskTests(SynchronousTestCase):
    """The disk is full at one step; the carrier tries the same batch again."""

    def test_at_every_step(self) -> None:
        steps = 0
        for name in STEPS:
            for nth in range(1, 12):
                steps += self.once(name, nth)
        self.assertGreater(steps, 12)

    def once(self, name: str, nth: int) -> bool:
        folder, failed, count = Path(self.mktemp()), False, 0
        log = Log(folder, most_bytes=1500)
        log.open()
        real = getattr(os, name)

        def full(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == nth:
                if name == "pwrite":  # a part of it still has room
                    real(given[0], bytes(given[1])[:20], given[2])
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*given, **named)

        patched = self.patch(os, name, full)
        for seq in range(1, 7):
            try:
                log.write(seq, seq)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
                failed = True
                log.write(seq, seq)
        patched.restore()
        self.assertEqual(ids(folder), wanted(6), (name, nth))
        log.die()
        return failed
