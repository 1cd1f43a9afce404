"""Each folder of hospproxy/ stands in a layer and imports only those below; no modules import each other in a circle.

Imports for a type checker count too. The functions of scripts/house.py read the imports from the source text.
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import house  # noqa: E402

LAYERS = (
    "http",
    "contract",
    "exchange",
    "interfaces own_requests",
    # What a process needs of its machine: clocks, threads, files, signals.
    "process",
    "keys",
    "options",
    "arrival",
    "config checks log_output",
    "sharing",
    "foundations",
    "memory",
    "guard",
    "outward",
    "record",
    "copy",
    "watch state traces report",
    "courier",
    # Commands for the running proxy; they see it as ``Owner``.
    "control",
    # The parts are connected here; nothing below knows all of them.
    "service",
    "replacement",
    "workers",
    "tap",
)
"""Folders and modules of hospproxy/ from the ground up. Each imports only what stands in a layer below it.

Modules beside the folders may also import modules of their own layer.
"""

UPWARD = {
    ("foundations", "watch.metrics"): "the meter is made first, since every part counts with it",
    (
        "process.host",
        "record.trail.uring",
    ): "a process takes its io_uring from Host, so that a simulation can hand in another",
    (
        "process.host",
        "record.columns.asker",
    ): "a process asks its index through Host, so that a simulation needs no process",
    ("process.host", "record.columns.questions"): "a type in the signature of what makes that",
    ("interfaces", "record.disclosures"): "a type in the signature of IJournal",
    ("interfaces", "record.search.filters"): "a type in the signature of ITrailReader",
    ("interfaces", "record.search.rows"): "types in the signature of ITrailReader",
    ("interfaces", "record.trail.follower"): "types in the signatures of IAuditWriter and IAuditFileWriter",
}
"""The imports from a lower layer of a higher one, each with the reason; docs/architecture.md names them."""

LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names.split()}


def top(name: str) -> str:
    """The folder of hospproxy/ that holds a module, or the module beside the folders."""
    return name.split(".")[1]


@functools.cache
def parsed(package: str) -> tuple[frozenset[str], tuple[house.Import, ...]]:
    """All modules of a package and the imports between them; reading them takes seconds."""
    files = sorted((ROOT / package).rglob("*.py"))
    modules = [house.module_of(file.relative_to(ROOT).as_posix(), file.read_text()) for file in files]
    names = frozenset(module.name for module in modules)
    return names, tuple(
        each for module in modules for each in house.imports_of(module, names - {house.PACKAGE})
    )


class SimulationTests(SynchronousTestCase):
    def test_no_modules_of_the_simulation_import_each_other_in_a_circle(self) -> None:
        names, imports = parsed("simulation")
        self.assertIn(
            house.Import("simulation.kernel.world", "simulation.kernel.network", house.When.RUNNING), imports
        )
        self.assertEqual(house.circles(house.graph_of(imports, names)), [])


class LayerTests(SynchronousTestCase):
    def setUp(self) -> None:
        names, self.imports = parsed(house.PACKAGE)
        self.names = names - {house.PACKAGE}
        self.folders = frozenset(top(name) for name in self.names if name.count(".") > 1)

    def upward(self) -> set[tuple[str, str]]:
        found = set()
        for each in self.imports:
            source, target = top(each.source), top(each.target)
            below = LEVELS[target] < LEVELS[source]
            beside = LEVELS[target] == LEVELS[source] and not {source, target} & self.folders
            if source != target and not below and not beside:
                found.add((each.source.partition(".")[2], each.target.partition(".")[2]))
        return found

    def test_no_modules_import_each_other_in_a_circle(self) -> None:
        self.assertEqual(house.circles(house.graph_of(self.imports, self.names)), [])

    def test_everything_stands_in_one_layer(self) -> None:
        named = [name for names in LAYERS for name in names.split()]
        self.assertEqual(sorted(named), sorted({top(name) for name in self.names}))

    def test_each_layer_imports_only_those_below(self) -> None:
        self.assertEqual(self.upward(), set(UPWARD))

    def test_the_page_names_the_layers_and_every_upward_import(self) -> None:
        page = (ROOT / "docs" / "architecture.md").read_text()
        section = page.partition("## Layers\n")[2].partition("\n## ")[0]
        told = [line.split() for line in section.splitlines() if line.startswith("    ")]
        layers = [names.split() for names in reversed(LAYERS)]
        self.assertEqual(told, layers)
        rows = re.findall(r"^\| `(.*?)` \| `(.*?)` \|", section, re.MULTILINE)
        self.assertEqual(rows, list(UPWARD))
