"""scripts/house.py counts what its docstrings say."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import house  # noqa: E402

FILES = {
    "hospproxy/__init__.py": "",
    "hospproxy/chain.py": "from .guard.who import Who\nimport hospproxy.errors\n",
    "hospproxy/errors.py": "class Error(Exception):\n    pass\n",
    "hospproxy/guard/__init__.py": "",
    "hospproxy/guard/who.py": "from ..memory import keeping\n\nclass Who:\n    class Error: ...\n",
    "hospproxy/memory/__init__.py": "",
    "hospproxy/memory/keeping.py": (
        "from typing import TYPE_CHECKING\nfrom ..errors import Error\n"
        "if TYPE_CHECKING:\n    from ..guard.who import Who\n"
    ),
}
MODULES = [house.module_of(path, text) for path, text in FILES.items()]
NAMES = frozenset(module.name for module in MODULES)
PACKAGES = frozenset(module.name for module in MODULES if module.is_package)
IMPORTS = [each for module in MODULES for each in house.imports_of(module, NAMES)]
RUNNING = [each for each in IMPORTS if each.when is house.When.RUNNING]


class SourceTests(SynchronousTestCase):
    def test_a_class_name_is_found_in_every_place(self) -> None:
        places = ["hospproxy/errors.py:1", "hospproxy/guard/who.py:4"]
        self.assertEqual(house.repeated_classes(MODULES), {"Error": places})

    def test_only_the_first_line_of_adocstring_counts(self) -> None:
        text = '"""Short.\n\nMore, and at length, below.\n"""\ndef f():\n    """' + "x" * 28 + '"""\n'
        self.assertEqual(house.short_docstrings(house.module_of("a.py", text)), ["a.py:1: Short."])

    def test_figures_count_packages_as_modules_only_once(self) -> None:
        figures = {figure.words: figure.number for figure in house.module_figures(MODULES)}
        self.assertEqual(figures["modules"], 7)
        self.assertEqual(figures["modules ending in -ing"], 1)
        self.assertEqual(figures["modules of 60 lines or fewer"], 4)


class ImportTests(SynchronousTestCase):
    def test_imports_are_named_by_their_module(self) -> None:
        self.assertEqual(
            {(each.source, each.target) for each in RUNNING},
            {
                ("hospproxy.chain", "hospproxy.guard.who"),
                ("hospproxy.chain", "hospproxy.errors"),
                ("hospproxy.guard.who", "hospproxy.memory.keeping"),
                ("hospproxy.memory.keeping", "hospproxy.errors"),
            },
        )

    def test_an_import_for_types_is_told_apart(self) -> None:
        self.assertEqual(house.circles(house.graph_of(RUNNING, NAMES)), [])
        self.assertEqual(
            house.circles(house.graph_of(IMPORTS, NAMES)),
            [["hospproxy.guard.who", "hospproxy.memory.keeping"]],
        )

    def test_folders_that_import_each_other(self) -> None:
        self.assertEqual(house.both_ways(RUNNING, PACKAGES), {})
        self.assertEqual(
            house.both_ways(IMPORTS, PACKAGES),
            {
                ("guard", "memory"): [
                    "hospproxy.guard.who -> hospproxy.memory.keeping",
                    "hospproxy.memory.keeping -> hospproxy.guard.who",
                ]
            },
        )

    def test_two_circles_that_share_amodule_are_one(self) -> None:
        graph = {"a": {"b", "c"}, "b": {"a"}, "c": {"a", "d"}, "d": {"d"}}
        self.assertEqual(
            house.circles({name: frozenset(targets) for name, targets in graph.items()}), [["a", "b", "c"]]
        )


class MarkdownTests(SynchronousTestCase):
    def test_only_prose_counts(self) -> None:
        long = "word " * 30
        text = f"{long}\n| {long} |\n```\n{long}\n```\n\n    {long}\n\n* item\n\n    {long}\n"
        self.assertEqual(house.long_lines(text), [1, 11])

    def test_the_target_of_alink_does_not_count(self) -> None:
        self.assertEqual(
            house.long_lines(f"See [this page]({'x' * 120}) and https://example.org/{'x' * 90}"), []
        )
