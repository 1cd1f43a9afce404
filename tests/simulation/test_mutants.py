from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from simulation.mutants import MUTANTS, Mutant, plant, table
from simulation.mutants.injection import ROOT, _Finder
from simulation.scenes import SCENES


class MutantTests(SynchronousTestCase):
    def test_the_text_of_each_stands_exactly_once_and_what_comes_of_it_can_be_compiled(self) -> None:
        for mutant in MUTANTS.values():
            source = mutant.applied((ROOT / mutant.file).read_text())
            self.assertNotEqual(mutant.old, mutant.new, mutant.name)
            if mutant.file.endswith(".py"):
                compile(source, mutant.file, "exec")
            self.assertIn(mutant.scene, ("", *SCENES), mutant.name)

    def test_a_text_that_is_not_there_once_is_refused(self) -> None:
        mutant = Mutant("m", "hospproxy/http/errors.py", "x", "y", "nothing")
        self.assertRaises(ValueError, mutant.applied, "x x")
        self.assertRaises(ValueError, mutant.applied, "z")

    def test_an_import_gets_the_changed_text_and_the_file_stays_as_it_is(self) -> None:
        old = "from collections import OrderedDict"
        mutant = Mutant("m", "hospproxy/memory/bounded.py", old, f"{old}, planted", "nothing")
        before = (ROOT / mutant.file).read_text()
        finder = _Finder(mutant)
        spec = finder.find_spec(mutant.module, [str(ROOT / "hospproxy" / "memory")])
        assert spec is not None and spec.loader is not None
        code = spec.loader.get_code(mutant.module)  # type: ignore[attr-defined]
        self.assertIn("planted", code.co_names)
        self.assertEqual((ROOT / mutant.file).read_text(), before)

    def test_a_script_that_is_read_has_the_changed_text_and_the_file_stays_as_it_is(self) -> None:
        mutant = Mutant(
            "m", "hospproxy/sharing/scripts/claims.lua", "local function takeable", "local function t", ""
        )
        self.patch(Path, "read_text", Path.read_text)
        plant(mutant)
        read = resources.files("hospproxy.sharing").joinpath("scripts", "claims.lua").read_text("utf-8")
        self.assertIn("local function t(", read)
        self.assertNotIn("local function t(", (ROOT / mutant.file).read_bytes().decode())

    def test_it_has_to_be_planted_before_the_import(self) -> None:
        mutant = Mutant("m", "hospproxy/http/errors.py", "x", "y", "nothing")
        with mock.patch.dict(sys.modules, {"hospproxy.http.errors": mock.Mock()}):
            self.assertRaises(RuntimeError, plant, mutant)


class HuntTests(SynchronousTestCase):
    """The story of a mutant is tried before any world."""

    def hunted(self, planted: str, without: str = "") -> tuple[table.Row, list[list[str]]]:
        ran: list[list[str]] = []

        def output(arguments: list[str]) -> str:
            ran.append(arguments)
            told = planted if "--mutant" in arguments else without
            return told if "--plan" in arguments else "seed 1 (one): reads.stale; repeat:"

        self.patch(table, "_output", output)
        return table.hunt(MUTANTS["sent-when-begun"], 1, 1), ran

    def test_it_is_found_by_its_story(self) -> None:
        row, ran = self.hunted("writes.doubled: stored twice\n\n   1.000  ann asks\n")
        self.assertEqual((row.rules, row.seeds, len(ran)), ("writes.doubled", 0, 2))

    def test_what_breaks_without_it_too_does_not_count(self) -> None:
        broken = "writes.doubled: stored twice"
        row, ran = self.hunted(broken, broken)
        self.assertIsNone(row.seeds)
        self.assertGreater(len(ran), 2)
