"""The page: one file without script and without anything from elsewhere, in which no log line is markup."""

from __future__ import annotations

import io
import stat
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.report.charts import HEIGHT, LEFT, WIDTH, charts, nice
from hospproxy.report.cli import main
from hospproxy.report.log_files import find
from hospproxy.report.measure import measure

from .log_lines import alb_line, random_requests

BAD = "</td><script>alert(1)</script><img/src=x/onerror=alert(2)>\"'&{{7*7}}\u202e"
VOID = {"meta", "link", "br", "img", "input"}


class Elements(HTMLParser):
    """Collects elements, attributes and texts, and checks that the elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.log, self.file = Path(self.mktemp()), Path(self.mktemp())
        self.requests = random_requests(1, 500)
        lines = [alb_line(each) for each in self.requests]
        lines += [alb_line(self.requests[0], request_line=f"GET https://h{BAD} HTTP/1.1"), f"broken {BAD}"]
        self.log.write_text("\n".join(lines) + "\n")

    def page(self, *arguments: str) -> tuple[str, Elements]:
        with redirect_stdout(io.StringIO()):
            self.assertEqual(main([*arguments, "--html", str(self.file)]), 0)
        text = self.file.read_text()
        elements = Elements()
        elements.feed(text)
        self.assertEqual(elements.open, [])
        return text, elements

    def test_log_lines_are_text(self) -> None:
        text, elements = self.page(str(self.log))
        self.assertEqual(elements.names & {"script", "img", "link", "iframe", "object"}, set())
        self.assertIn(
            "/td><script>alert(1)</script><img/src=x/onerror=alert(2)>\"'&{{7*7}}\\u202e",
            "".join(elements.texts),
        )
        self.assertNotIn("\u202e", text)

    def test_nothing_comes_from_elsewhere(self) -> None:
        text, elements = self.page(str(self.log))
        names = {name for name, _ in elements.attributes}
        self.assertEqual(
            {name for name in names if name.startswith("on")} | names & {"src", "href", "style"}, set()
        )
        self.assertNotIn("http://", text)
        self.assertNotIn("url(", text)
        policy = next(value for name, value in elements.attributes if "default-src" in value)
        self.assertIn("default-src 'none'", policy)

    def test_it_fits_a_dark_screen_and_paper(self) -> None:
        text, _ = self.page(str(self.log))
        self.assertIn("prefers-color-scheme: dark", text)
        self.assertIn("@media print", text)

    def test_a_comparison_has_the_sentences_and_both_periods(self) -> None:
        _, elements = self.page("--compare", str(self.log), str(self.log))
        texts = "".join(elements.texts)
        for part in (
            "What changed",
            "Success is about the same",
            "Both periods",
            "New: 501 requests",
            "Old: 501 requests",
        ):
            self.assertIn(part, texts)

    def test_only_the_owner_may_read_the_file(self) -> None:
        self.page(str(self.log))
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)

    def test_a_file_that_cannot_be_written(self) -> None:
        err = io.StringIO()
        with redirect_stderr(err):
            self.assertEqual(main([str(self.log), "--html", "/nowhere/report.html"]), 2)
        self.assertEqual(
            err.getvalue(),
            "hospproxy-report: /nowhere/report.html: cannot be written (No such file or directory)\n",
        )

    def test_bars_stand_where_their_hours_are(self) -> None:
        report = measure(find([self.log]))
        requests, durations = charts(report)
        self.assertEqual(len(requests.bars), 5)
        width = (WIDTH - LEFT) / 5
        self.assertEqual([bar.x for bar in requests.bars], [round(LEFT + n * width, 2) for n in range(5)])
        for bar, step in zip(requests.bars, report.steps, strict=True):
            self.assertIn(f"{step.counts.requests} requests, {step.counts.failed} failed", bar.text)
            self.assertAlmostEqual(
                bar.failed_height / bar.height, step.counts.failed / step.counts.requests, 2
            )
            self.assertLess(bar.y + bar.height, HEIGHT)
        self.assertEqual([line.name for line in durations.lines], ["p99", "p95", "p50"])

    def test_many_years_are_drawn_in_months_with_gaps(self) -> None:
        far = [
            evolve(self.requests[0], moment=datetime(2016, 1, 31) + timedelta(days=days))
            for days in (0, 3600)
        ]
        self.log.write_text("".join(f"{alb_line(each)}\n" for each in far))
        report = measure(find([self.log]))
        self.assertEqual((report.step, len(report.steps)), ("month", 2))
        first, last = charts(report)[0].bars
        months = (2025 - 2016) * 12 + 12
        self.assertLess(abs((last.x - first.x) - (WIDTH - LEFT) * (months - 1) / months), 6)

    def test_the_scale_ends_at_a_round_value(self) -> None:
        self.assertEqual(
            [nice(value) for value in (1, 1.1, 3, 7, 10, 11, 999, 0.3, 0)],
            [1, 2, 5, 10, 10, 20, 1000, 0.5, 1],
        )
