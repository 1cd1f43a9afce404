"""The threat model names only tests that exist, and has a test for everything that it promises."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "security.md"
_TEST = re.compile(r"`((?:tests|integration)/[\w/]+\.py)::(\w+)`")

# The page names these already, though they do not exist yet. Remove a name here when you add the thing.
NOT_HERE_YET: frozenset[str] = frozenset()


@cache
def defined(path: Path) -> frozenset[str]:
    """The tests of a file, by name."""
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name for node in nodes if isinstance(node, functions) and node.name.startswith("test_")
    )


def rows(text: str) -> dict[str, list[str]]:
    """Threats (A1) and risks (API1) with the tests that their rows name."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := re.match(r"\| ([A-Z]\d+|API\d+)\b", line):
            assert match[1] not in found, f"{match[1]} stands there twice"
            found[match[1]] = ["::".join(each) for each in _TEST.findall(line)]
    return found


def dangling(text: str, root: Path, awaited: set[str]) -> list[str]:
    """Tests that a page names and that do not exist."""
    missing = []
    for path, name in _TEST.findall(text):
        if path not in awaited and not ((root / path).exists() and name in defined(root / path)):
            missing.append(f"{path}::{name}")
    return missing


class SecurityPageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = PAGE.read_text()

    def test_each_named_test_is_there(self) -> None:
        self.assertEqual(dangling(self.text, ROOT, NOT_HERE_YET), [])

    def test_what_has_come_is_not_waited_for_any_longer(self) -> None:
        self.assertEqual([name for name in sorted(NOT_HERE_YET) if (ROOT / name).exists()], [])
        self.assertEqual(NOT_HERE_YET - {path for path, _ in _TEST.findall(self.text)}, set())

    def test_each_threat_has_atest(self) -> None:
        found = rows(self.text)
        self.assertGreater(len(found), 70)
        self.assertEqual([number for number, tests in found.items() if not tests], [])

    def test_all_ten_risks_of_owasp_are_there(self) -> None:
        numbers = {name for name in rows(self.text) if name.startswith("API")}
        self.assertEqual(numbers, {f"API{number}" for number in range(1, 11)})

    def test_threats_that_are_referred_to_are_there(self) -> None:
        known = set(rows(self.text))
        named = set(re.findall(r"(?<![\w`.])([A-L]\d{1,2})(?![\w`])", self.text))
        self.assertEqual(named - known, set())

    def test_each_letter_of_stride_is_there(self) -> None:
        letters = re.findall(r"^\| [A-L]\d+ \| ([STRIDE ]+) \|", self.text, re.MULTILINE)
        self.assertEqual({each for row in letters for each in row.split()}, set("STRIDE"))
        self.assertEqual(len(letters), len([name for name in rows(self.text) if not name.startswith("API")]))

    def test_that_which_is_missing_is_found(self) -> None:
        text = (
            "`tests/test_security_page.py::test_each_named_test_is_there` `tests/test_security_page.py::test_none` "
            "`tests/test_nowhere.py::test_x` `tests/test_later.py::test_x`"
        )
        self.assertEqual(
            dangling(text, ROOT, {"tests/test_later.py"}),
            ["tests/test_security_page.py::test_none", "tests/test_nowhere.py::test_x"],
        )
