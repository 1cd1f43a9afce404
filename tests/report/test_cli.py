"""The command: what it prints, and how it ends."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.report.cli import main
from hospproxy.report.terminal import Screen, lines

from .log_lines import alb_line, random_requests


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.log = Path(self.mktemp())
        text = "".join(f"{alb_line(request)}\n" for request in random_requests(1, 500))
        self.log.write_text(f"{text}broken\n")

    def ran(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main(arguments)
        return status, out.getvalue(), err.getvalue()

    def test_text(self) -> None:
        status, out, err = self.ran(str(self.log))
        self.assertEqual((status, err), (0, ""))
        for part in ("500 requests, 2026-11-20", "Application Load Balancer (1 file)", "Routes", "/patients/{id}",
                     "460", "Slowest", "Surges", "192.0.2.3", "Hour by hour", "Lines that cannot be read: 1",
                     f"{self.log}:501: broken", "every five minutes and by best effort"):  # fmt: skip
            self.assertIn(part, " ".join(out.split()) if " best" in part else out)
        self.assertNotIn("\x1b", out)

    def test_the_width_of_the_screen_is_kept(self) -> None:
        _, out, _ = self.ran("--json", str(self.log))
        self.assertEqual(json.loads(out)["broken"], 1)
        _, out, _ = self.ran(str(self.log))
        self.assertLessEqual(max(len(line) for line in out.splitlines()), 100)

    def test_json(self) -> None:
        status, out, _ = self.ran(str(self.log), "--json", "--top", "3")
        report = json.loads(out)
        self.assertEqual((status, report["counts"]["requests"], len(report["routes"])), (0, 500, 3))
        self.assertEqual(report["examples"], [{"file": str(self.log), "line": 501, "text": "broken"}])

    def test_csv(self) -> None:
        status, out, _ = self.ran(str(self.log), "--csv")
        self.assertEqual((status, out.splitlines()[0]), (0, "report,table,row,figure,value"))
        self.assertIn("all,totals,,requests,500", out)
        self.assertIn("all,clients,192.0.2.3,requests,", out)

    def test_bad_input_is_one_clear_line(self) -> None:
        for arguments, said in (
            ((), "no logs were named"),
            (("/nowhere/at all",), "/nowhere/at all: there is no such file or folder"),
            ((__file__,), "unknown format"),
        ):
            status, out, err = self.ran(*arguments)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertTrue(err.startswith("hospproxy-report: "), err)
            self.assertIn(said, err)

    def test_colour_on_a_terminal_only(self) -> None:
        from hospproxy.report.log_files import find
        from hospproxy.report.measure import measure

        report = measure(find([self.log]))
        self.assertIn("\x1b[31m", "\n".join(lines(report, Screen(colour=True))))
        self.assertTrue("\n".join(lines(report, Screen(blocks=False))).replace("–", "-").isascii())
