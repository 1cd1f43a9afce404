"""The report's figures equal those of an independent computation, from each format, plain and packed."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.report.documents import mapping
from hospproxy.report.log_files import find
from hospproxy.report.measure import measure

from .log_lines import (
    CLOUDFRONT_HEAD,
    Request,
    alb_line,
    cloudfront_line,
    expected,
    journal_line,
    random_requests,
)

TOTALS = ("requests", "failed", "refused", "success", "p50_ms", "p95_ms", "p99_ms", "max_ms")


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


class FiguresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.requests = random_requests(1, 3000)

    def report(self) -> dict[str, Any]:
        return mapping(measure(find([self.folder]), top=200))

    def compare(self, left_as: int | None) -> None:
        report, own = self.report(), expected(self.requests, left_as)
        self.assertEqual({name: report["counts" if name in report["counts"] else "durations"][name] for name in TOTALS},
                         own["totals"])  # fmt: skip
        self.assertEqual(
            {(row["method"], row["route"]): without(row, "method", "route") for row in report["routes"]},
            own["routes"],
        )
        self.assertEqual({row["begin"]: without(row, "begin") for row in report["steps"]}, own["steps"])
        self.assertEqual({row["client"]: without(row, "client") for row in report["clients"]}, own["clients"])
        self.assertEqual(
            {(row["method"], row["route"], row["status"]): row["requests"] for row in report["errors"]},
            own["errors"],
        )
        self.assertEqual([row["ms"] for row in report["slowest"]], own["slowest"])
        self.assertEqual((report["first"], report["last"]), (own["first"], own["last"]))
        self.assertEqual(report["route_count"], len(own["routes"]))
        self.assertEqual((report["broken"], report["untimed"], report["damaged"]), (0, 0, []))

    def write(self, line: Callable[[Request], str], head: str = "") -> None:
        """Three files: plain, packed, and packed as two members in a folder below."""
        texts = [
            head + "".join(f"{line(request)}\n" for request in self.requests[start::3]) for start in range(3)
        ]
        (self.folder / "plain.log").write_text(texts[0])
        (self.folder / "packed.log.gz").write_bytes(gzip.compress(texts[1].encode()))
        (self.folder / "below").mkdir()
        half = len(texts[2]) // 2
        members = gzip.compress(texts[2][:half].encode()) + gzip.compress(texts[2][half:].encode())
        (self.folder / "below" / "members.log.gz").write_bytes(members)

    def test_from_a_load_balancer(self) -> None:
        self.write(alb_line)
        self.compare(460)

    def test_from_cloudfront(self) -> None:
        self.write(cloudfront_line, CLOUDFRONT_HEAD)
        self.compare(None)

    def test_from_the_audit_journal(self) -> None:
        self.write(journal_line)
        self.compare(460)

    def test_the_surge_is_found(self) -> None:
        self.write(alb_line)
        (surge,) = self.report()["surges"]
        minutes = Counter(each.moment.replace(second=0) for each in self.requests)
        busy = [minute for minute, count in minutes.items() if count > 100]
        self.assertEqual(surge["begin"], f"{min(busy).isoformat()}Z")
        self.assertEqual(surge["minutes"], len(busy))
        self.assertEqual(surge["requests"], sum(minutes[minute] for minute in busy))
        self.assertEqual(surge["peak"], max(minutes.values()))

    def test_several_formats_at_once(self) -> None:
        third = len(self.requests) // 3
        for name, line, head, start in (
            ("a.log", alb_line, "", 0),
            ("c.log", cloudfront_line, CLOUDFRONT_HEAD, third),
            ("j.jsonl", journal_line, "", 2 * third),
        ):
            lines = [line(each) for each in self.requests[start : start + third]]
            (self.folder / name).write_text(head + "\n".join(lines) + "\n")
        report = self.report()
        self.assertEqual(report["counts"]["requests"], len(self.requests))
        self.assertEqual([name for name, _ in report["sources"]],
                         ["Application Load Balancer", "CloudFront", "audit journal"])  # fmt: skip
        self.assertEqual(len(report["notes"]), 3)
        self.assertIn("best effort", report["notes"][0])

    def test_the_slowest_have_their_paths_whichever_file_they_are_in(self) -> None:
        """Paths are kept of slow requests only, and what is slow is said by the files before."""
        requests = [evolve(each, ms=each.ms // 200) for each in self.requests[:200]]  # many take as long
        for start in range(9):
            lines = "\n".join(map(alb_line, requests[start::9]))
            (self.folder / f"{start}.log").write_text(f"{lines}\n")
        for top in (1, 7, 300):
            found = measure(find([self.folder]), top=top).slowest
            own = sorted(requests, key=lambda each: (-each.ms, each.moment, each.path))[:top]
            self.assertEqual([(each.ms, each.path) for each in found], [(each.ms, each.path) for each in own])

    def test_lists_say_how_many_there_are(self) -> None:
        self.write(alb_line)
        report = measure(find([self.folder]), top=2)
        self.assertEqual((len(report.routes), report.route_count), (2, 12))
        self.assertEqual((len(report.clients), report.client_count), (2, 9))
