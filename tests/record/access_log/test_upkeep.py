"""Closed files reach the bucket once each, under the keys of Elastic Load Balancing, and stay within their bounds."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.record.access_log.closed_files import SHIPPED, ClosedFiles
from hospproxy.record.access_log.file_names import key_of
from hospproxy.record.access_log.upkeep import UPKEEP_S, Bucket, ClosedFileUpkeep
from hospproxy.watch.metrics import Metrics
from tests.outward.ledger.fakes import AtOnce
from tests.record.sinks.test_bucket import FakeS3, refusal

from .logs import NAMES, START


class UpkeepTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.s3 = FakeS3()
        self.connected = 0

    def start(self, *, ships: bool = True, most_files: int = 100, most_bytes: int = 1 << 20) -> None:
        self.clock, self.meter = Clock(), Metrics(strict=True)
        files = ClosedFiles(self.folder, ships, most_files, most_bytes)
        bucket = Bucket("trails", "ward", self.connect) if ships else None
        self.upkeep = ClosedFileUpkeep(files, bucket, AtOnce(), self.clock, self.meter)
        self.upkeep.start()

    def connect(self) -> Any:
        self.connected += 1
        return self.s3

    def close(self, number: int, content: bytes = b"line\n") -> str:
        """Close the nth file."""
        name = NAMES.closed("a" * 16, START + 300 * number, number.to_bytes(8, "big"))
        (self.folder / name).write_bytes(gzip.compress(content * 20, mtime=0))
        return name

    def files(self, event: str) -> float | None:
        return self.meter.value("access_log_files_total", event=event)

    def up(self) -> float | None:
        return self.meter.value("record_writer_up", writer="access_log_bucket")

    def waiting(self) -> float | None:
        return self.meter.value("access_log_waiting_files")

    def pass_s(self, seconds: float) -> None:
        self.clock.pump([UPKEEP_S] * round(seconds / UPKEEP_S))

    def test_each_closed_file_is_shipped_under_its_key(self) -> None:
        names = [self.close(number) for number in range(3)]
        self.start()
        self.assertEqual(sorted(self.s3.objects), sorted(key_of("ward", name) for name in names))
        self.assertEqual(sorted(path.name for path in (self.folder / SHIPPED).iterdir()), sorted(names))
        self.assertEqual((self.files("shipped"), self.waiting(), self.up()), (3, 0, 1))
        more = self.close(4)
        self.pass_s(UPKEEP_S)
        self.assertEqual(self.s3.objects[key_of("ward", more)]["Bucket"], "trails")
        self.assertEqual((self.s3.puts, self.connected), (4, 1))

    def test_a_response_that_is_lost_makes_no_second_object(self) -> None:
        self.close(1)
        self.s3.next = ["lost"]
        self.start()
        self.assertEqual((self.waiting(), self.up()), (1, 0))
        self.pass_s(10)
        self.assertEqual((self.s3.puts, len(self.s3.objects), self.waiting(), self.up()), (1, 1, 0, 1))

    def test_a_process_that_died_before_it_moved_the_file(self) -> None:
        name = self.close(1)
        self.start()
        (self.folder / SHIPPED / name).rename(self.folder / name)
        self.upkeep.stop()
        self.start()
        self.assertEqual((self.s3.puts, self.waiting()), (1, 0))
        self.assertTrue((self.folder / SHIPPED / name).exists())

    def test_while_the_bucket_is_away_files_wait_in_their_order(self) -> None:
        names = [self.close(number) for number in range(3)]
        self.s3.next = [
            None,
            refusal(503, "SlowDown"),
            refusal(503, "SlowDown"),
            refusal(403, "AccessDenied"),
        ]
        self.start()
        self.assertEqual(list(self.s3.objects), [key_of("ward", names[0])])
        self.assertEqual((self.waiting(), self.up()), (2, 0))
        self.pass_s(60)
        self.assertEqual(list(self.s3.objects), [key_of("ward", name) for name in names])
        self.assertEqual(self.meter.value("record_writer_failures_total", writer="access_log_bucket"), 3)
        self.assertEqual((self.waiting(), self.up()), (0, 1))

    def test_attempts_become_rare(self) -> None:
        self.close(1)
        self.s3.next = [refusal(503, "SlowDown")] * 1000
        self.start()
        self.pass_s(600)
        self.assertLess(self.s3.puts, 18)

    def test_a_client_that_cannot_be_made(self) -> None:
        self.close(1)
        self.start(ships=False)
        files = ClosedFiles(self.folder, ships=True, most_files=9, most_bytes=1 << 20)
        bucket = Bucket("trails", "ward", lambda: 1 / 0)
        upkeep = ClosedFileUpkeep(files, bucket, AtOnce(), self.clock, self.meter)
        upkeep.start()
        self.assertEqual((self.waiting(), self.up()), (1, 0))

    def test_the_oldest_go_first_and_shipped_ones_before_others(self) -> None:
        for number in range(4):
            self.close(number)
        self.start(most_files=5)
        self.s3.next = [refusal(503, "SlowDown")] * 100
        names = [self.close(number) for number in range(4, 8)]
        self.pass_s(UPKEEP_S)
        self.assertEqual((self.files("removed"), self.files("lost")), (3, None))
        kept = [path.name for path in self.folder.iterdir() if path.is_file()]
        self.assertEqual(sorted(kept), sorted(names))
        self.assertEqual(len(list((self.folder / SHIPPED).iterdir())), 1)

    def test_files_that_must_go_before_the_bucket_has_them_are_an_alarm(self) -> None:
        self.s3.next = [refusal(503, "SlowDown")] * 100
        names = [self.close(number) for number in range(4)]
        self.start(most_files=3)
        self.assertEqual((self.files("lost"), self.waiting()), (1, 3))
        self.assertFalse((self.folder / names[0]).exists())

    def test_bytes_are_bounded_too(self) -> None:
        size = (self.folder / self.close(0)).stat().st_size
        for number in range(1, 6):
            self.close(number)
        self.start(ships=False, most_bytes=3 * size)
        self.assertEqual(len(list(self.folder.iterdir())), 3)
        self.assertEqual((self.files("removed"), self.files("lost"), self.waiting()), (3, None, 0))

    def test_what_is_no_closed_file_stays(self) -> None:
        for name in ("access.log", "position.json", "notes.log.gz"):
            (self.folder / name).write_bytes(b"x" * 100)
        (self.folder / NAMES.closed("a" * 16, START, b"abcdefgh")).symlink_to("access.log")
        self.start(most_files=1, most_bytes=1)
        self.assertEqual(len(list(self.folder.iterdir())), 4)
        self.assertEqual(self.s3.objects, {})

    def test_a_folder_that_is_not_there_yet(self) -> None:
        self.folder.rmdir()
        self.start()
        self.assertEqual(self.waiting(), 0)
