"""Which files are logs, and what is said of those that are none."""

from __future__ import annotations

import gzip
import os
from datetime import datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.report.log_files import Format, ReportError, find
from hospproxy.report.measure import measure

from .log_lines import CLOUDFRONT_HEAD, Request, alb_line, cloudfront_line, journal_line

REQUEST = Request(datetime(2026, 11, 20, 22), "192.0.2.1", "GET", "/patients/17", 200, 5)


class LogFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def refused(self, *paths: Path) -> str:
        message = str(self.assertRaises(ReportError, find, list(paths)))
        self.assertNotIn("\n", message)
        return message

    def test_each_format_is_recognised_by_its_lines_whatever_the_name(self) -> None:
        (self.folder / "a").write_text("one broken line\n" + alb_line(REQUEST) + "\n")
        (self.folder / "c").write_text(CLOUDFRONT_HEAD + cloudfront_line(REQUEST) + "\n")
        (self.folder / "j").write_bytes(gzip.compress(journal_line(REQUEST).encode()))
        (self.folder / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
        (self.folder / "empty").touch()
        found = find([self.folder])
        self.assertEqual(
            [(each.path.name, each.format, each.packed) for each in found.files],
            [("a", Format.ALB, False), ("c", Format.CLOUDFRONT, False), ("j", Format.JOURNAL, True)],
        )
        self.assertEqual(found.skipped, (str(self.folder / "key.pem"),))

    def test_a_file_that_is_named_twice_is_read_once(self) -> None:
        (self.folder / "a").write_text(alb_line(REQUEST) + "\n")
        self.assertEqual(measure(find([self.folder, self.folder / "a"])).counts.requests, 1)

    def test_links_in_folders_are_not_followed(self) -> None:
        outside = Path(self.mktemp())
        outside.write_text(alb_line(REQUEST) + "\n")
        (self.folder / "link").symlink_to(outside.absolute())
        self.assertIn("no log files in", self.refused(self.folder))

    def test_no_such_file(self) -> None:
        self.assertIn("there is no such file or folder", self.refused(self.folder / "none"))

    def test_a_folder_without_logs(self) -> None:
        (self.folder / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
        self.assertIn("1 other files are no logs, such as", self.refused(self.folder))

    def test_an_unknown_format(self) -> None:
        path = self.folder / "a"
        for content in (b"hello\n", b"", b'{"a": 1}\n', b"\x1f\x8bnot gzip", b"\x00" * 100_000):
            path.write_bytes(content)
            self.assertIn("unknown format", self.refused(path))

    def test_a_file_that_is_no_file(self) -> None:
        os.mkfifo(self.folder / "pipe")
        self.assertIn("neither a file nor a folder", self.refused(self.folder / "pipe"))
        self.assertIn("no log files", self.refused(self.folder))

    def test_a_damaged_file_is_named_and_the_others_are_counted(self) -> None:
        packed = gzip.compress("".join(alb_line(REQUEST) + "\n" for _ in range(5000)).encode())
        (self.folder / "cut.gz").write_bytes(packed[:-20])
        (self.folder / "whole.gz").write_bytes(packed)
        report = measure(find([self.folder]))
        self.assertEqual(report.damaged, (str(self.folder / "cut.gz"),))
        self.assertEqual(report.counts.requests, 5000)
