"""Logs in a bucket: downloaded under harmless names, and called by their place in the bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import define, field
from botocore.exceptions import ClientError
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.report.bucket import MOST_BYTES, fetch
from hospproxy.report.cli import main
from hospproxy.report.log_files import ReportError, find
from hospproxy.report.measure import measure

from .log_lines import Request, alb_line

LINE = alb_line(Request(datetime(2026, 11, 20, 22), "192.0.2.1", "GET", "/patients/17", 200, 5))


@define
class FakeClient:
    """The part of boto3's client that is used; two objects on each page."""

    objects: dict[str, bytes]
    sizes: dict[str, int] = field(factory=dict)

    def get_paginator(self, name: str) -> FakeClient:
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        if Bucket != "logs":
            raise ClientError(
                {"Error": {"Code": "NoSuchBucket", "Message": "The bucket\ndoes not exist"}}, "List"
            )
        keys = [key for key in self.objects if key.startswith(Prefix)]
        for start in range(0, len(keys), 2):
            page: Sequence[str] = keys[start : start + 2]
            yield {
                "Contents": [
                    {"Key": key, "Size": self.sizes.get(key, len(self.objects[key]))} for key in page
                ]
            }
        yield {}

    def download_file(self, bucket: str, key: str, path: str) -> None:
        Path(path).write_bytes(self.objects[key])


class BucketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.client = FakeClient(
            {
                "day/a.log": f"{LINE}\nbroken\n".encode(),
                "day/../../../etc/b": f"{LINE}\n".encode(),
                "day/": b"",
                "day/other": b"hello\n",
                "night/c.log": LINE.encode(),
            }
        )

    def refused(self, url: str) -> str:
        message = str(self.assertRaises(ReportError, fetch, url, self.folder, self.client))
        self.assertNotIn("\n", message)
        return message

    def test_the_objects_below_a_prefix_are_read(self) -> None:
        names = fetch("s3://logs/day/", self.folder, self.client)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["000000", "000001", "000002"])
        found = find([self.folder], names)
        self.assertEqual(
            [file.shown for file in found.files], ["s3://logs/day/a.log", "s3://logs/day/../../../etc/b"]
        )
        self.assertEqual(found.skipped, ("s3://logs/day/other",))
        report = measure(found)
        self.assertEqual((report.counts.requests, report.examples[0].file), (2, "s3://logs/day/a.log"))

    def test_nothing_there(self) -> None:
        self.assertEqual(self.refused("s3://logs/week"), "s3://logs/week: there are no objects")

    def test_too_much(self) -> None:
        self.client.sizes["day/a.log"] = MOST_BYTES + 1
        self.assertIn("name a longer prefix", self.refused("s3://logs/day"))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_no_bucket(self) -> None:
        self.assertIn("expected s3://BUCKET/PREFIX", self.refused("s3:///x"))
        self.assertIn("cannot be read (An error occurred (NoSuchBucket)", self.refused("s3://other/x"))

    def test_the_command_removes_what_it_downloaded(self) -> None:
        asked = []

        def fake(url: str, folder: Path) -> dict[Path, str]:
            asked.append(folder)
            return fetch(url, folder, self.client)

        with patch("hospproxy.report.cli.fetch", fake):
            self.assertEqual(main(["s3://logs/day/", "--html", str(self.folder / "report.html")]), 0)
        self.assertIn("s3://logs/day/a.log:2", (self.folder / "report.html").read_text())
        self.assertFalse(asked[0].exists())
