"""What changed between two periods: three sentences that follow from the figures."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.report.cli import main
from hospproxy.report.comparison import Comparison
from hospproxy.report.figures import Report
from hospproxy.report.log_files import find
from hospproxy.report.measure import measure

from .log_lines import Request, alb_line, random_requests

BASE = [evolve(each, status=200, path="/staff/7", method="GET", ms=100) for each in random_requests(1, 2000)]


def failing(requests: list[Request], every: int, path: str = "/staff/7") -> list[Request]:
    """Every so many requests fail, and are of this path."""
    return [
        evolve(each, status=500, path=path) if number % every == 0 else each
        for number, each in enumerate(requests)
    ]


class ComparisonTests(SynchronousTestCase):
    def written(self, requests: list[Request]) -> Path:
        path = Path(self.mktemp())
        path.write_text("".join(f"{alb_line(request)}\n" for request in requests))
        return path

    def report(self, requests: list[Request]) -> Report:
        return measure(find([self.written(requests)]))

    def said(self, old: list[Request], new: list[Request]) -> tuple[str, str, str]:
        return Comparison(self.report(old), self.report(new)).sentences

    def test_better(self) -> None:
        old = [evolve(each, ms=4400) for each in failing(BASE, 20)]
        self.assertEqual(
            self.said(old, failing(BASE, 500)),
            (
                "More requests succeed: of 1 000, 2 fail now and 50 failed before.",
                "Requests are faster: half are done within 100 ms now and 4.40 s before, 95 % within 100 ms now"
                " and 4.40 s before.",
                "The largest change is at GET /staff/{id}: 0.20 % of its requests fail now, 5.00 % did before.",
            ),
        )

    def test_worse(self) -> None:
        new = [evolve(each, ms=4400) for each in failing(BASE, 20)]
        first, second, _ = self.said(BASE, new)
        self.assertEqual(first, "Fewer requests succeed: of 1 000, 50 fail now and 0 failed before.")
        self.assertTrue(second.startswith("Requests take longer: "))

    def test_the_same(self) -> None:
        first, second, third = self.said(BASE, BASE)
        self.assertEqual(first, "No request fails now, and none failed before.")
        self.assertTrue(second.startswith("Requests take about as long: "))
        self.assertEqual(third, "No route stands out: each fails about as often as before.")

    def test_chance_is_no_change(self) -> None:
        first, _, third = self.said(failing(BASE, 40), failing(BASE, 44))
        self.assertTrue(
            first.startswith("Success is about the same: 97.70 % of the requests succeed now, 97.50 %")
        )
        self.assertTrue(third.startswith("No route stands out"))

    def test_the_route_that_changed_is_named(self) -> None:
        new = [
            evolve(each, status=502) if each.path == "/notes/4" else each
            for each in failing(BASE, 5, "/notes/4")
        ]
        old = [evolve(each, status=200) for each in new]
        self.assertEqual(
            self.said(old, new)[2],
            "The largest change is at GET /notes/{id}: 100.00 % of its requests fail now, 0.00 % did before.",
        )

    def test_few_requests_are_said_to_be_few(self) -> None:
        self.assertIn("only 99 requests", self.said(BASE, BASE[:99])[2])

    def test_the_median_and_the_slow_ones_may_differ(self) -> None:
        new = [evolve(each, ms=50 if number % 10 else 900) for number, each in enumerate(BASE)]
        self.assertTrue(
            self.said(BASE, new)[1].startswith("Most requests are faster, the slow ones are not: ")
        )

    def test_no_durations(self) -> None:
        log = Path(self.mktemp())
        log.write_text(self.written(BASE).read_text().replace(" 0.100 ", " -1 "))
        compared = Comparison(self.report(BASE), measure(find([log])))
        self.assertEqual(
            compared.sentences[1], "One of the periods has no durations, so they cannot be compared."
        )

    def test_routes_of_one_period_only(self) -> None:
        other = [evolve(each, path="/notes/4") for each in BASE]
        _, routes = Comparison(self.report(BASE), self.report(other)).tables(5)
        self.assertEqual(
            routes.rows,
            [
                ("GET /notes/{id}", "–", "2 000", "–", "100.00 %", "–", "100 ms"),
                ("GET /staff/{id}", "2 000", "–", "100.00 %", "–", "100 ms", "–"),
            ],
        )

    def test_the_command(self) -> None:
        old, new = str(self.written(failing(BASE, 20))), str(self.written(BASE))
        for arguments, parts in (
            ((), ("1. More requests succeed", "Both periods", "95.00 %  ", "best")),
            (("--csv",), ("old,totals,,failed,100", "new,totals,,failed,0")),
        ):
            out = io.StringIO()
            with redirect_stdout(out):
                self.assertEqual(main(["--compare", old, new, *arguments]), 0)
            for part in parts:
                self.assertIn(part, out.getvalue())
        out = io.StringIO()
        with redirect_stdout(out):
            main(["--compare", old, new, "--json"])
        document = json.loads(out.getvalue())
        self.assertEqual(len(document["sentences"]), 3)
        self.assertEqual((document["old"]["counts"]["failed"], document["new"]["counts"]["failed"]), (100, 0))
        err = io.StringIO()
        with redirect_stderr(err):
            self.assertEqual(main([old, "--compare", old, new]), 2)
        self.assertEqual(err.getvalue(), "hospproxy-report: name logs or --compare OLD NEW, not both\n")
