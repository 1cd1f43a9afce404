"""Turn what trial printed into JUnit XML, which Jenkins reads.

    python scripts/trial_junit.py build/reports/trial.txt build/reports/junit/trial.xml

Trial has no reporter for JUnit, and with ``-j`` it uses its own in any case. So this reads its output. A run that did
not come to its end counts as one more test, which failed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

_BEGUN = re.compile(r"    (\w+) \.\.\.(?: .*)?")
_ENDED = re.compile(r".* \[(OK|FAIL|ERROR|SKIPPED|TODO|SUCCESS!\?!)\]")
_MODULE = re.compile(r"[A-Za-z_][\w.]*")
_CLASS = re.compile(r"  ([A-Za-z_]\w*)")
_RAN = re.compile(r"Ran (\d+) tests? in ([\d.]+)s")
_LINE = re.compile(r"={20,}|-{20,}")
_NOT_IN_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd]")
_LONGEST = 20_000


@dataclass
class Result:
    """One test.

    :param suite: module and class.
    :param text: why it did not succeed.
    """

    suite: str
    name: str
    word: str
    text: str = ""

    @property
    def id(self) -> str:
        return f"{self.suite}.{self.name}"


def results(output: str) -> list[Result]:
    """Read the tests of one run, in the order in which they ended."""
    found: list[Result] = []
    module = suite = begun = ""
    told: dict[str, str] = {}
    words: dict[str, str] = {}
    lines = output.splitlines()
    for number, line in enumerate(lines):
        if _LINE.fullmatch(line):
            _read_failure(lines[number + 1 :], told, words)
            continue
        if match := _BEGUN.fullmatch(line):
            begun = match[1]
        if begun:
            # What a test prints stands between its name and its result.
            if match := _ENDED.fullmatch(line):
                found.append(Result(suite, begun, match[1]))
                begun = ""
        elif match := _CLASS.fullmatch(line):
            suite = f"{module}.{match[1]}"
        elif not found or "." in line:
            module = line if _MODULE.fullmatch(line) else module
    for each in found:
        each.text = told.pop(each.id, "")
    # A module that cannot be imported is told of only here.
    found += [Result(*_split(name), words[name], text) for name, text in told.items()]
    ran = _RAN.search(output)
    if ran is None:
        found.append(
            Result("trial", "end", "ERROR", "The run did not come to its end:\n" + output[-_LONGEST:])
        )
    return found


def _split(name: str) -> tuple[str, str]:
    suite, _, last = name.rpartition(".")
    return suite or name, last


def _read_failure(lines: Sequence[str], told: dict[str, str], words: dict[str, str]) -> None:
    """Read one block: ``[FAIL]``, a text, an empty line, and the ids of the tests that it is about."""
    word = re.fullmatch(r"\[(\w+)\]", lines[0]) if lines else None
    if word is None:
        return
    block: list[str] = []
    for line in lines[1:]:
        if _LINE.fullmatch(line):
            break
        block.append(line)
    names: list[str] = []
    while block and block[-1] and re.fullmatch(r"[\w.]+", block[-1]):
        names.append(block.pop())
    for name in names:
        told.setdefault(name, "\n".join(block).strip())
        words[name] = word[1]


def junit(found: Sequence[Result], name: str) -> ElementTree.Element:
    """Make the document.

    :param name: of the run.
    """
    kinds = {
        "FAIL": "failure",
        "ERROR": "error",
        "SUCCESS!?!": "failure",
        "SKIPPED": "skipped",
        "TODO": "skipped",
    }
    root = ElementTree.Element("testsuite", name=name, tests=str(len(found)))
    for kind in ("failure", "error", "skipped"):
        number = sum(kinds.get(each.word) == kind for each in found)
        root.set({"failure": "failures", "error": "errors", "skipped": "skipped"}[kind], str(number))
    for each in found:
        case = ElementTree.SubElement(root, "testcase", classname=each.suite, name=each.name)
        if each.word in kinds:
            text = _NOT_IN_XML.sub("�", each.text)[-_LONGEST:]
            last = text.rstrip().rpartition("\n")[2]
            ElementTree.SubElement(case, kinds[each.word], message=last[:500]).text = text
    return root


def main(arguments: Sequence[str]) -> int:
    """Convert one file."""
    source, target = map(Path, arguments)
    target.parent.mkdir(parents=True, exist_ok=True)
    root = junit(results(source.read_text(errors="replace")), source.stem)
    ElementTree.ElementTree(root).write(target, encoding="utf-8", xml_declaration=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
