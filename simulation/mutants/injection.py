"""Applies a mutant to a module at its import, or to a data file as it is read. The files on disk stay unchanged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
STORIES = Path(__file__).parent / "stories"


@frozen
class Mutant:
    """A planted defect.

    :param name: for the command line and the table.
    :param file: of the repository: a Python module, or a text file that the process reads with ``Path.read_text``.
    :param old: text that occurs in it exactly once.
    :param new: its replacement.
    :param breaks: what it breaks, for people.
    :param shapes: worlds in which it is searched for.
    :param habits: of the people there; empty: any.
    :param seeds: it must be found within so many.
    :param scene: of `simulation.scenes`, with people and faults of its own; empty: worlds as they are drawn for all.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    shapes: tuple[str, ...] = ("one",)
    habits: tuple[str, ...] = ()
    seeds: int = 40
    scene: str = ""

    @property
    def story(self) -> Path:
        """A plan that is tried before any world: one where this defect shows, if random worlds show it too seldom."""
        return STORIES / f"{self.name}.json"

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def applied(self, source: str) -> str:
        """The module's text with the defect.

        :raise ValueError: the old text does not occur exactly once.
        """
        if source.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.name}: its text stands {source.count(self.old)} times in {self.file}"
            )
        return source.replace(self.old, self.new)


class _Loader(SourceFileLoader):
    """Compiles the changed text, bypassing any cached bytecode."""

    def __init__(self, mutant: Mutant, path: str) -> None:
        super().__init__(mutant.module, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        text = self._mutant.applied(Path(self.path).read_text())
        code: CodeType = compile(text, self.path, "exec", dont_inherit=True)
        return code


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(self._mutant, spec.origin)
        return spec


def plant(mutant: Mutant) -> None:
    """Make later imports of its module use the changed text, or later reads of its data file return it.

    :raise RuntimeError: the module was imported already.
    """
    if not mutant.file.endswith(".py"):
        _change_reading(mutant)
        return
    if mutant.module in sys.modules:
        raise RuntimeError(f"{mutant.module} is imported already; a mutant has to be planted before")
    sys.meta_path.insert(0, _Finder(mutant))


def _change_reading(mutant: Mutant) -> None:
    """Scripts and the contract are read as resources of their package, which are paths."""
    changed, read_text = ROOT / mutant.file, Path.read_text

    def read(path: Path, *args: Any, **more: Any) -> str:
        text = read_text(path, *args, **more)
        return mutant.applied(text) if path.resolve() == changed else text

    Path.read_text = read  # type: ignore[method-assign,assignment]
