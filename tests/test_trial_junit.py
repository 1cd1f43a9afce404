"""scripts/trial_junit.py reads what trial prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from trial_junit import junit, main, results  # noqa: E402

TESTS = """
from twisted.trial.unittest import SkipTest, SynchronousTestCase
class A(SynchronousTestCase):
    def test_good(self): print("some.output")
    def test_bad(self): self.assertEqual(1, 2)
    def test_error(self): raise ValueError("<&>\\x07")
    def test_skipped(self): raise SkipTest("no")
    def test_todo(self): self.fail("later")
    test_todo.todo = "some day"
class B(SynchronousTestCase):
    def setUp(self): raise KeyError("x")
    def test_one(self): pass
    def test_two(self): pass
"""


class TrialTests(SynchronousTestCase):
    """Trial itself makes the output, alone and with several processes."""

    def test_every_result(self) -> None:
        folder = Path(self.mktemp()).absolute()
        (folder / "pk").mkdir(parents=True)
        (folder / "pk" / "__init__.py").touch()
        (folder / "pk" / "test_a.py").write_text(TESTS)
        (folder / "pk" / "test_b.py").write_text("x = (")
        for more in ((), ("-j2",)):
            ran = subprocess.run(
                [sys.executable, "-m", "twisted.trial", *more, "pk"],
                cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
            found = {each.id: each.word for each in results(ran.stdout)}
            self.assertEqual(
                found,
                {
                    "pk.test_a.A.test_good": "OK",
                    "pk.test_a.A.test_bad": "FAIL",
                    "pk.test_a.A.test_error": "ERROR",
                    "pk.test_a.A.test_skipped": "SKIPPED",
                    "pk.test_a.A.test_todo": "TODO",
                    "pk.test_a.B.test_one": "ERROR",
                    "pk.test_a.B.test_two": "ERROR",
                    "pk.test_b": "ERROR",
                },
                ran.stdout,
            )
            (folder / "trial.txt").write_text(ran.stdout)
            main([str(folder / "trial.txt"), str(folder / "junit" / "trial.xml")])
            root = ElementTree.parse(folder / "junit" / "trial.xml").getroot()
            self.assertEqual((root.get("tests"), root.get("failures"), root.get("errors")), ("8", "1", "4"))
            self.assertEqual(root.get("skipped"), "2")
            bad = root.find("testcase[@name='test_bad']/failure")
            assert bad is not None
            self.assertTrue((bad.get("message") or "").endswith("1 != 2"))
            self.assertIn("Traceback", bad.text or "")


class EndTests(SynchronousTestCase):
    def test_a_run_that_was_killed_has_failed(self) -> None:
        found = results("tests.test_x\n  A\n    test_one ...    [OK]\n    test_two ...")
        self.assertEqual([each.word for each in found], ["OK", "ERROR"])
        self.assertEqual(junit(found, "trial").get("errors"), "1")
