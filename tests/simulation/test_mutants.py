from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from simulation.mutants import MUTANTS, Mutant, plant
from simulation.mutants.applying import ROOT, _Finder
from simulation.scenes import SCENES


class MutantTests(SynchronousTestCase):
    def test_theTextOfEachStandsExactlyOnceAndWhatComesOfItCanBeCompiled(self) -> None:
        for mutant in MUTANTS.values():
            source = mutant.applied((ROOT / mutant.file).read_text())
            self.assertNotEqual(mutant.old, mutant.new, mutant.name)
            if mutant.file.endswith(".py"):
                compile(source, mutant.file, "exec")
            self.assertIn(mutant.scene, ("", *SCENES), mutant.name)

    def test_aTextThatIsNotThereOnceIsRefused(self) -> None:
        mutant = Mutant("m", "hospproxy/errors.py", "x", "y", "nothing")
        self.assertRaises(ValueError, mutant.applied, "x x")
        self.assertRaises(ValueError, mutant.applied, "z")

    def test_anImportGetsTheChangedTextAndTheFileStaysAsItIs(self) -> None:
        old = "from collections import OrderedDict"
        mutant = Mutant("m", "hospproxy/memory/bounded.py", old, f"{old}, planted", "nothing")
        before = (ROOT / mutant.file).read_text()
        finder = _Finder(mutant)
        spec = finder.find_spec(mutant.module, [str(ROOT / "hospproxy" / "memory")])
        assert spec is not None and spec.loader is not None
        code = spec.loader.get_code(mutant.module)  # type: ignore[attr-defined]
        self.assertIn("planted", code.co_names)
        self.assertEqual((ROOT / mutant.file).read_text(), before)

    def test_aScriptThatIsReadHasTheChangedTextAndTheFileStaysAsItIs(self) -> None:
        mutant = Mutant(
            "m", "hospproxy/sharing/scripts/claims.lua", "local function takeable", "local function t", ""
        )
        self.patch(Path, "read_text", Path.read_text)
        plant(mutant)
        read = resources.files("hospproxy.sharing").joinpath("scripts", "claims.lua").read_text("utf-8")
        self.assertIn("local function t(", read)
        self.assertNotIn("local function t(", (ROOT / mutant.file).read_bytes().decode())

    def test_itHasToBePlantedBeforeTheImport(self) -> None:
        mutant = Mutant("m", "hospproxy/errors.py", "x", "y", "nothing")
        with mock.patch.dict(sys.modules, {"hospproxy.errors": mock.Mock()}):
            self.assertRaises(RuntimeError, plant, mutant)
