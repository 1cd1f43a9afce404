"""The commands on a page of docs/, and what the page says that they print.

Commands are in blocks marked ``sh``. A block marked ``text`` right beneath one is its output, in which ``…`` stands for
any text. The first block of a page only sets variables, which an operator sets to the values of the site.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parent.parent
RUNBOOKS = ROOT / "docs" / "runbooks"
ELLIPSIS = "…"
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_ASSIGNED = re.compile(r"^([A-Z_]+)=.*$", re.MULTILINE)
_HEADING = re.compile(r"^## (.*)$", re.MULTILINE)


@frozen
class Block:
    """Commands that are pasted together.

    :param section: the heading above them, without "## "; "" above the first heading.
    :param expected: what they print; None if the page does not say.
    """

    section: str
    commands: str
    expected: str | None = None

    def prints(self, output: str) -> bool:
        """Whether the output is what the page says."""
        if self.expected is None:
            return True
        return re.fullmatch(pattern(self.expected), output.replace("\r", "").strip(), re.DOTALL) is not None


@frozen
class Page:
    """One page.

    :param variables: the block that sets the variables.
    """

    text: str
    variables: Block
    blocks: tuple[Block, ...]

    @property
    def sections(self) -> list[str]:
        """The headings, in order."""
        return _HEADING.findall(_FENCE.sub("", self.text))

    def settings(self, values: Mapping[str, str]) -> str:
        """The assignments of the page, with the values of a site.

        :raise KeyError: the page has a variable that `values` lacks.
        """
        names = _ASSIGNED.findall(self.variables.commands)
        return "".join(f"{name}={quoted(values[name])}\n" for name in names)


def quoted(value: str) -> str:
    """A word for the shell."""
    return "'" + value.replace("'", "'\\''") + "'"


def pattern(expected: str) -> str:
    """A regular expression for an output with ellipses."""
    return ".*".join(re.escape(piece) for piece in expected.strip().split(ELLIPSIS))


def page(text: str) -> Page:
    """Take a page apart.

    :raise ValueError: it has no commands, or its first block does more than set variables.
    """
    found: list[Block] = []
    end = -1
    for fence in _FENCE.finditer(text):
        kind, content = fence[2], textwrap.dedent(fence[3])
        if kind == "sh":
            above = _HEADING.findall(_FENCE.sub("", text[: fence.start()]))
            found.append(Block(above[-1] if above else "", content))
        elif kind == "text" and found and not text[end : fence.start()].strip():
            found[-1] = Block(found[-1].section, found[-1].commands, content)
        end = fence.end()
    if not found or _ASSIGNED.sub("", found[0].commands).strip():
        raise ValueError("the first block must set the variables, and do nothing else")
    return Page(text, found[0], tuple(found[1:]))


def read(path: Path) -> Page:
    """Read a page from its file."""
    return page(path.read_text("utf-8"))
