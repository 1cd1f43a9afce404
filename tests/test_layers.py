"""The folders of hospproxy/ import each other one way, and no modules import each other in a circle.

Imports for a type checker count too. The functions of scripts/house.py read the imports from the source text.
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import house  # noqa: E402

BOTH_WAYS: dict[tuple[str, str], str] = {}
"""Pairs of folders that still import each other, each with the reason."""


class LayerTests(SynchronousTestCase):
    def setUp(self) -> None:
        files = sorted((ROOT / house.PACKAGE).rglob("*.py"))
        modules = [house.module_of(file.relative_to(ROOT).as_posix(), file.read_text()) for file in files]
        self.names = frozenset(module.name for module in modules)
        self.packages = frozenset(module.name for module in modules if module.is_package)
        self.imports = [each for module in modules for each in house.imports_of(module, self.names)]

    def test_no_modules_import_each_other_in_a_circle(self) -> None:
        self.assertEqual(house.circles(house.graph_of(self.imports, self.names)), [])

    def test_no_other_folders_import_each_other(self) -> None:
        pairs = house.both_ways(self.imports, self.packages)
        new = {pair: imports for pair, imports in pairs.items() if pair not in BOTH_WAYS}
        self.assertEqual(new, {})
        self.assertEqual(set(BOTH_WAYS) - set(pairs), set(), "remove the pair from BOTH_WAYS")
