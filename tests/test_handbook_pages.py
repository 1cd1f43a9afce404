"""The runbooks have one shape, and name only alerts, log lines and texts of the status page that exist."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.handbook_pages import ELLIPSIS, ROOT, RUNBOOKS, Block, page, read

HEADINGS = [
    "What you see",
    "What is safe now",
    "What to do",
    "How to know that it is over",
    "Afterwards",
]
_ROW = re.compile(r"^\| (\S.*?) \| (.*) \|$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_ALERT = re.compile(r"`(Hosp[A-Za-z]+)`")


def runbooks() -> dict[str, str]:
    """The text of each runbook."""
    return {each.name: each.read_text() for each in sorted(RUNBOOKS.glob("*.md")) if each.stem != "README"}


def seen(text: str) -> dict[str, str]:
    """The table below "What you see": where → what."""
    section = text.partition("## What you see\n")[2].partition("\n## ")[0]
    return dict(_ROW.findall(section))


def alerts() -> set[str]:
    """The names of the rules in deploy/prometheus."""
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    return {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


@functools.cache
def strings(folder: Path) -> list[str]:
    """Every string in the Python files of a folder; what is formatted into it is an ellipsis."""
    found = []
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"\{[^{}]*\}", ELLIPSIS, node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = (
                    str(each.value) if isinstance(each, ast.Constant) else ELLIPSIS for each in node.values
                )
                found.append("".join(parts))
    return found


def is_said(words: str, texts: list[str]) -> bool:
    """Whether these words stand in one of the texts. An ellipsis stands for what is filled in."""
    return any(words.strip(ELLIPSIS) in text for text in texts)


class RunbookTests(SynchronousTestCase):
    def test_each_has_the_same_headings(self) -> None:
        for name, text in runbooks().items():
            self.assertEqual(page(text).sections, HEADINGS, name)

    def test_alerts_exist(self) -> None:
        known = alerts()
        for name, text in runbooks().items():
            self.assertEqual(set(_ALERT.findall(text)) - known, set(), name)

    def test_the_list_names_every_alert(self) -> None:
        listed = set(_ALERT.findall((RUNBOOKS / "README.md").read_text()))
        self.assertEqual(listed, alerts())

    def test_the_list_links_every_page(self) -> None:
        linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (RUNBOOKS / "README.md").read_text()))
        self.assertEqual(linked, set(runbooks()))

    def test_the_program_says_what_they_quote(self) -> None:
        static = ROOT / "hospproxy" / "watch" / "static"
        shown = [(static / name).read_text() for name in ("status.js", "status.html")]
        said = strings(ROOT / "hospproxy")
        for name, text in runbooks().items():
            rows = seen(text)
            for words in _CODE.findall(rows["status page"]):
                for piece in filter(None, words.split(ELLIPSIS)):
                    self.assertTrue(any(piece.strip() in each for each in shown), f"{name}: {piece}")
            quoted = [*_CODE.findall(rows["log"]), *_CODE.findall(rows.get("users", ""))]
            for words in quoted:
                if " " in words:
                    self.assertTrue(is_said(words, said), f"{name}: {words}")

    def test_what_nothing_says_is_noticed(self) -> None:
        said = strings(ROOT / "hospproxy")
        self.assertTrue(is_said("Redis at … is away: …", said))
        self.assertFalse(is_said("Redis at … is gone: …", said))


SMALL = """# A page

```sh
NAME=here               # a comment
```

## Do it
1. First.

   ```sh
   echo "$NAME"
   date
   ```
   ```text
   here
   …day
   ```

## Then
```sh
true
```

Not output:
```text
true
```
"""


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.page = page(SMALL)

    def test_blocks_have_their_heading_and_output(self) -> None:
        first = Block("Do it", 'echo "$NAME"\ndate\n', "here\n…day\n")
        self.assertEqual(self.page.blocks, (first, Block("Then", "true\n")))
        self.assertEqual(self.page.sections, ["Do it", "Then"])

    def test_variables_get_the_values_of_the_site(self) -> None:
        self.assertEqual(self.page.settings({"NAME": "it's", "OTHER": "no"}), "NAME='it'\\''s'\n")
        self.assertRaises(KeyError, self.page.settings, {})

    def test_output_is_compared_as_a_whole(self) -> None:
        block = self.page.blocks[0]
        self.assertTrue(block.prints("here\nSun\nday\n"))
        for wrong in ("here", "there\nSunday", "here\nSunday and more", "here Sunday"):
            self.assertFalse(block.prints(wrong), wrong)

    def test_the_first_block_only_sets_variables(self) -> None:
        self.assertRaises(ValueError, page, "```sh\nNAME=x\ntrue\n```\n")
        self.assertRaises(ValueError, page, "no commands")

    def test_every_page_of_the_handbook_can_be_read(self) -> None:
        self.assertGreater(len(runbooks()), 10)
        for name in runbooks():
            read(RUNBOOKS / name)
