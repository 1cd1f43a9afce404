"""Check a declarative Jenkinsfile without a Jenkins: its Groovy brackets and strings, its sections, its steps.

    python scripts/check_jenkinsfile.py [Jenkinsfile]

It finds what a Jenkins rejects when it reads the file (unknown or duplicate sections, stages without steps …), and
what would go wrong only later: a ``make`` target that does not exist, a secret that Groovy would interpolate, a push
without a ``when``. Grammar: the Jenkins handbook, "Pipeline Syntax", declarative.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<string>'''(?:\\.|.)*?'''|\"\"\"(?:\\.|.)*?\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
  | (?P<word>[A-Za-z_]\w*)
  | (?P<newline>\n|;)
  | (?P<space>[ \t\r]+)
  | (?P<other>[^'"])
    """,
    re.VERBOSE | re.DOTALL,
)
_PAIRS = {"{": "}", "(": ")", "[": "]"}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PIPELINE = _words("agent stages environment options parameters triggers tools libraries post")
_STAGE = _words("agent environment tools input when options post steps stages parallel matrix")
_CONTENT = _words("steps stages parallel matrix")
_POST = _words("always changed fixed regression aborted failure success unstable unsuccessful cleanup")
_WHEN = _words(
    "branch buildingTag tag changelog changeset environment equals expression not allOf anyOf beforeInput"
)
_AGENT = _words("label node docker dockerfile kubernetes")
_INPUT = _words("message id ok submitter submitterParameter parameters")
_PARAMETERS = _words("string text booleanParam choice password")
_OPTIONS = _words("timeout buildDiscarder disableConcurrentBuilds timestamps retry skipDefaultCheckout")
_STEPS = _words(
    "sh echo junit archiveArtifacts withCredentials dir timeout retry stash unstash checkout error"
)


class Broken(Exception):
    """The file cannot be parsed."""


@dataclass
class Token:
    kind: str
    text: str
    line: int


@dataclass
class Node:
    """One statement: its first word, its arguments, and its block."""

    name: str
    line: int
    rest: list[Token] = field(default_factory=list)
    block: list[Node] | None = None

    def strings(self) -> list[str]:
        """String literals of the statement, with their quotes."""
        return [token.text for token in self.rest if token.kind == "string"]

    def walk(self) -> Iterator[Node]:
        """Yield this statement and all statements below it."""
        yield self
        for child in self.block or []:
            yield from child.walk()


def tokens(text: str) -> list[Token]:
    """Split Groovy into tokens, as far as this check needs.

    :raise Broken: a string does not end.
    """
    found, position, line = [], 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Broken(f"line {line}: a string does not end")
        kind = match.lastgroup or ""
        if kind not in ("comment", "space"):
            found.append(Token(kind, match.group(), line))
        line += match.group().count("\n")
        position = match.end()
    return found


def parse(text: str) -> list[Node]:
    """Parse a file into statements.

    :raise Broken: brackets do not match, or a statement does not begin with a word.
    """
    queue = tokens(text)
    nodes, rest = _block(queue, 0, None)
    if rest != len(queue):
        raise Broken(f"line {queue[rest].line}: a bracket closes that was never opened")
    return nodes


def _block(queue: list[Token], at: int, opened: Token | None) -> tuple[list[Node], int]:
    nodes: list[Node] = []
    while at < len(queue):
        token = queue[at]
        if token.text == "}":
            return nodes, at
        if token.kind == "newline":
            at += 1
            continue
        if token.kind != "word":
            raise Broken(f"line {token.line}: a word was expected, not {token.text[:20]!r}")
        node = Node(token.text, token.line)
        nodes.append(node)
        at = _statement(queue, at + 1, node)
    if opened is not None:
        raise Broken(f"line {opened.line}: a block does not end")
    return nodes, at


def _statement(queue: list[Token], at: int, node: Node) -> int:
    awaited: list[str] = []
    while at < len(queue):
        token = queue[at]
        if not awaited and (token.kind == "newline" or token.text == "}"):
            return at
        if token.text == "{" and not awaited:
            node.block, at = _block(queue, at + 1, token)
            return at + 1
        if token.kind == "other" and token.text in _PAIRS:
            awaited.append(_PAIRS[token.text])
        elif (
            token.kind == "other"
            and token.text in _PAIRS.values()
            and (not awaited or awaited.pop() != token.text)
        ):
            raise Broken(f"line {token.line}: {token.text} closes what was never opened")
        if token.kind != "newline":
            node.rest.append(token)
        at += 1
    if awaited:
        raise Broken(f"line {node.line}: {awaited[-1]} is missing")
    return at


class Checker:
    """Collects the problems of one Jenkinsfile.

    :param targets: targets of the Makefile.
    """

    def __init__(self, targets: frozenset[str]) -> None:
        self.targets = targets
        self.problems: list[str] = []

    def check(self, text: str) -> list[str]:
        """Every problem, with its line number."""
        try:
            nodes = parse(text)
        except Broken as problem:
            return [str(problem)]
        pipelines = [node for node in nodes if node.name == "pipeline"]
        if len(pipelines) != 1 or pipelines[0].block is None or len(nodes) != 1:
            return ["line 1: exactly one pipeline { … } was expected, and nothing beside it"]
        self._sections(pipelines[0], _PIPELINE, ("agent", "stages"))
        for node in pipelines[0].walk():
            self._node(node)
        return self.problems

    def _node(self, node: Node) -> None:
        children = node.block or []
        match node.name:
            case "stages" | "parallel":
                self._stages(node)
            case "post":
                self._only(node, _POST)
            case "when":
                self._only(node, _WHEN)
            case "steps":
                self._only(node, _STEPS)
            case "options":
                self._only(node, _OPTIONS)
            case "input" if node.block is not None:
                self._only(node, _INPUT)
                if "message" not in [child.name for child in children]:
                    self._say(node, "message is missing")
            case "parameters":
                self._only(node, _PARAMETERS)
            case "agent":
                self._agent(node)
            case "environment":
                for child in children:
                    if not child.rest or child.rest[0].text != "=":
                        self._say(child, "NAME = value was expected")
            case "sh":
                self._shell(node)
            case name if name in _POST and node.block is not None:
                self._only(node, _STEPS)

    def _say(self, node: Node, words: str) -> None:
        self.problems.append(f"line {node.line}: {node.name}: {words}")

    def _sections(self, node: Node, known: frozenset[str], required: tuple[str, ...]) -> None:
        names = [child.name for child in node.block or []]
        for child in node.block or []:
            if child.name not in known:
                self._say(child, f"there is no such section in {node.name}")
            elif names.count(child.name) > 1:
                self._say(child, f"stands more than once in {node.name}")
        for name in required:
            if name not in names:
                self._say(node, f"{name} is missing")

    def _only(self, node: Node, known: frozenset[str]) -> None:
        if not node.block:
            self._say(node, "is empty")
        for child in node.block or []:
            if child.name not in known:
                self._say(child, f"unknown in {node.name}")

    def _agent(self, node: Node) -> None:
        if node.block is not None:
            self._only(node, _AGENT)
        elif [token.text for token in node.rest] not in (["any"], ["none"]):
            self._say(node, "any, none or a block was expected")

    def _stages(self, node: Node) -> None:
        names = [stage.strings()[0] if stage.strings() else "" for stage in node.block or []]
        if not names:
            self._say(node, "is empty")
        for stage, name in zip(node.block or [], names, strict=True):
            if stage.name != "stage" or stage.block is None:
                self._say(stage, "a stage('…') { … } was expected")
                continue
            if len(name) < 3 or names.count(name) > 1:
                self._say(stage, "a name of its own was expected")
            self._sections(stage, _STAGE, ())
            inside = [child.name for child in stage.block]
            if sum(each in _CONTENT for each in inside) != 1:
                self._say(stage, "exactly one of steps, stages, parallel, matrix was expected")
            if "input" in inside and not any(each.name == "beforeInput" for each in stage.walk()):
                self._say(stage, "asks before it looks at its when: beforeInput true is missing")
            secret = any(each.name == "withCredentials" for each in stage.walk())
            if secret and "when" not in inside:
                self._say(stage, "uses credentials, and so needs a when")

    def _shell(self, node: Node) -> None:
        script = "\n".join(node.strings())
        if not script:
            self._say(node, "a script was expected")
        if any(text.startswith('"') and "$" in text for text in node.strings()):
            self._say(
                node, "Groovy would fill in the $: use single quotes, so that no secret stands in the log"
            )
        for target in re.findall(r"\bmake\s+([a-z][a-z-]*)", script):
            if target not in self.targets:
                self._say(node, f"the Makefile has no target {target}")


def makefile_targets(makefile: Path) -> frozenset[str]:
    """Targets that a Makefile defines."""
    return frozenset(re.findall(r"^([a-z][a-z-]*):", makefile.read_text(), re.MULTILINE))


def main(arguments: list[str]) -> int:
    """Print every problem; return 1 if there is one."""
    file = Path(arguments[0] if arguments else "Jenkinsfile")
    problems = Checker(makefile_targets(file.parent / "Makefile")).check(file.read_text())
    for problem in problems:
        print(f"{file}: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
