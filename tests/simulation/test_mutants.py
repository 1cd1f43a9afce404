from __future__ import annotations

import sys
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from simulation.mutants import MUTANTS, Mutant, plant
from simulation.mutants.applying import ROOT, _Finder


class MutantTests(SynchronousTestCase):
    def test_theTextOfEachStandsExactlyOnceAndWhatComesOfItCanBeCompiled(self) -> None:
        for mutant in MUTANTS.values():
            source = mutant.applied((ROOT / mutant.file).read_text())
            self.assertNotEqual(mutant.old, mutant.new, mutant.name)
            compile(source, mutant.file, "exec")

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

    def test_itHasToBePlantedBeforeTheImport(self) -> None:
        mutant = Mutant("m", "hospproxy/errors.py", "x", "y", "nothing")
        with mock.patch.dict(sys.modules, {"hospproxy.errors": mock.Mock()}):
            self.assertRaises(RuntimeError, plant, mutant)
