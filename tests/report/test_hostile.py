"""Lines that a client has made to break the report, to lie in it, or to control who reads it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.report.documents import as_csv, as_json, mapping
from hospproxy.report.figures import Report
from hospproxy.report.log_files import ReportError, find
from hospproxy.report.measure import measure
from hospproxy.report.terminal import Screen, lines

from .log_lines import TAIL, Request, alb_line, journal_line

GOOD = Request(datetime(2026, 11, 20, 22), "192.0.2.1", "GET", "/patients/17", 200, 5)
ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e\x7f"


def line_of(request_line: str, tail: str = TAIL) -> str:
    return alb_line(GOOD, request_line=request_line, tail=tail)


class HostileTests(SynchronousTestCase):
    def report(self, *broken: str | bytes) -> Report:
        """The report of some lines, each between two good ones."""
        folder = Path(self.mktemp())
        folder.mkdir()
        good = alb_line(GOOD).encode()
        raw = [line.encode() if isinstance(line, str) else line for line in broken]
        (folder / "a.log").write_bytes(b"".join(good + b"\n" + line + b"\n" for line in raw) + good + b"\n")
        self.place = folder / "a.log"
        return measure(find([self.place]))

    def assertRoutes(self, report: Report, **routes: int) -> None:
        self.assertEqual({each.route: each.counts.requests for each in report.routes}, routes)

    def test_a_quote_swallows_no_other_line(self) -> None:
        report = self.report(
            '"not an entry, and never closed',
            line_of('GET https://h:443/a"b HTTP/1.1'),
            line_of("GET https://h:443/c HTTP/1.1", ' ""never closed'),
            line_of("GET https://h:443/d HTTP/1.1", TAIL.replace("Mozilla", 'Mo"zilla\\" "')),
        )
        self.assertEqual((report.counts.requests, report.broken), (8, 1))
        self.assertRoutes(report, **{"/patients/{id}": 5, '/a"b': 1, "/c": 1, "/d": 1})

    def test_a_forged_entry_in_a_url_or_user_agent_changes_no_figure(self) -> None:
        forged = alb_line(Request(datetime(2001, 1, 1), "203.0.113.9", "POST", "/notes", 500, 99_999))
        report = self.report(
            line_of(f'GET https://h:443/a" "x" {forged}'),
            line_of("GET https://h:443/b HTTP/1.1", f' "{forged}"{TAIL}'),
        )
        self.assertEqual((report.counts.requests, report.counts.failed, report.broken), (5, 0, 0))
        self.assertEqual({each.client for each in report.clients}, {GOOD.client})
        self.assertEqual(report.durations.max_ms, 5)
        self.assertEqual(report.first, GOOD.moment)

    def test_numbers_that_are_none(self) -> None:
        good = alb_line(GOOD)
        for place, value in ((1, "infinity"), (1, "epoch"), (1, "2026-13-01T00:00:00Z"), (1, "9999-01-01T00:00:00Z"),
                             (8, "nan"), (8, "70000"), (8, "1000"), (8, "-5"), (8, "2e2e2")):  # fmt: skip
            fields = good.split(" ")
            fields[place] = value
            with self.subTest(value):
                report = self.report(" ".join(fields))
                self.assertEqual((report.counts.requests, report.broken), (2, 1))
                self.assertEqual((report.examples[0].file, report.examples[0].line), (str(self.place), 2))

    def test_a_duration_that_is_none_is_not_known(self) -> None:
        for value in ("nan", "inf", "-1", "99999999999", "x"):
            fields = alb_line(GOOD).split(" ")
            fields[6] = value
            with self.subTest(value):
                report = self.report(" ".join(fields))
                self.assertEqual((report.counts.requests, report.untimed, report.durations.max_ms), (3, 1, 5))

    def test_lines_that_no_reader_takes_are_counted_with_their_numbers(self) -> None:
        report = self.report("x" * 3_000_000, b"\xff\xfe not UTF-8", "short", "", "\x00", f"colour {ESCAPE}")
        self.assertEqual((report.counts.requests, report.broken), (7, 5))
        self.assertEqual([each.line for each in report.examples], [2, 4, 6, 10, 12])
        self.assertTrue(all(len(each.text) <= 160 for each in report.examples))

    def test_a_long_line_within_the_bound_is_a_request(self) -> None:
        report = self.report(line_of(f"GET https://h:443/{'a' * 1_000_000} HTTP/1.1"))
        self.assertEqual((report.counts.requests, report.broken), (3, 0))
        self.assertEqual(max(len(each.route) for each in report.routes), 500)

    def test_nothing_controls_a_terminal(self) -> None:
        report = self.report(line_of(f"GET https://h:443/{ESCAPE}'=1+1 HTTP/1.1"), f"broken {ESCAPE}")
        for text in (
            "\n".join(lines(report, Screen())),
            as_json(mapping(report)),
            as_csv({"all": report}).replace("\r\n", "\n"),
        ):
            self.assertNotIn("\x1b", text)
            self.assertNotIn("\u202e", text)
            self.assertTrue(all(character == "\n" or character.isprintable() for character in text))

    def test_a_cell_is_no_formula(self) -> None:
        folder = Path(self.mktemp())
        folder.write_text(journal_line(GOOD, client={"address": "=cmd|' /C calc'!A0"}) + "\n")
        text = as_csv({"all": measure(find([folder]))})
        self.assertIn("'=cmd", text)
        self.assertNotIn(",=cmd", text)

    def test_a_file_name_is_no_pattern(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("a.log", "[a].log", "*.log", "{a}'?.log"):
            (folder / name).write_text(f"{alb_line(GOOD)}\nbroken {name}\n")
        report = measure(find([folder]))
        self.assertEqual((report.counts.requests, report.broken), (4, 4))
        self.assertEqual({(each.file, each.text) for each in report.examples},
                         {(str(path), f"broken {path.name}") for path in folder.iterdir()})  # fmt: skip

    def test_only_broken_lines(self) -> None:
        folder = Path(self.mktemp())
        fields = alb_line(GOOD).split(" ")
        fields[8] = "many"
        folder.write_text(" ".join(fields) + "\n")
        error = self.assertRaises(ReportError, measure, find([folder]))
        self.assertEqual(str(error), "no requests in 1 log files, 1 lines that cannot be read")

    def test_an_entry_whose_url_is_far_from_its_start_is_read_to_its_url(self) -> None:
        far = alb_line(GOOD, request_line="GET https://h:443/far?a=1 HTTP/1.1").replace(
            "app/", f"app/{'x' * 300}"
        )
        blanks = f"{'x' * 300}{' ' * 100_000}"
        report = self.report(
            far, line_of(f"GET https://h:443/{'b' * 400}?c=/d HTTP/1.1"), blanks, "   ", "  x"
        )
        self.assertEqual((report.counts.requests, report.broken), (8, 2))
        self.assertRoutes(report, **{"/patients/{id}": 6, "/far": 1, f"/{'b' * 400}": 1})

    def test_a_url_without_a_url(self) -> None:
        report = self.report(line_of("GET  HTTP/1.1"), line_of("GET https://h:443?a=/b HTTP/1.1"))
        self.assertEqual((report.counts.requests, report.broken), (4, 1))
