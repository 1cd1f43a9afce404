"""Puts a mutant into a module as it is imported: the files on disk stay as they are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]


@frozen
class Mutant:
    """A planted defect.

    :param name: for the command line and the table.
    :param file: of the repository.
    :param old: text that stands there exactly once.
    :param new: what takes its place.
    :param breaks: what it breaks, for people.
    :param shapes: in which worlds it is looked for.
    :param habits: of the people there; empty: any.
    :param seeds: within so many it has to be found.
    :param world: options of the world that it needs.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    shapes: tuple[str, ...] = ("one",)
    habits: tuple[str, ...] = ()
    seeds: int = 40

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def applied(self, source: str) -> str:
        """The module's text with the defect.

        :raise ValueError: the old text is not there exactly once.
        """
        if source.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.name}: its text stands {source.count(self.old)} times in {self.file}"
            )
        return source.replace(self.old, self.new)


class _Loader(SourceFileLoader):
    """Compiles the changed text, past any bytecode that is kept."""

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
    """From now on imports of its module give the changed one.

    :raise RuntimeError: the module was imported already.
    """
    if mutant.module in sys.modules:
        raise RuntimeError(f"{mutant.module} is imported already; a mutant has to be planted before")
    sys.meta_path.insert(0, _Finder(mutant))
