"""Where a backup may be restored."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.state.manifest import CONTENT, FORMAT, Manifest, measured, write
from hospproxy.state.restore import restore


class RestoreTests(SynchronousTestCase):
    """Tests of ``restore``."""

    def test_into_the_folder_that_one_stands_in(self) -> None:
        folder = Path(self.mktemp()).absolute()
        content, state = folder / "backup" / CONTENT, folder / "state"
        content.mkdir(parents=True)
        state.mkdir()
        (content / "noticing.json").write_bytes(b"{}")
        write(folder / "backup", Manifest(FORMAT, "2026-11-24T00:00:00Z", measured(content), [], []))
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(state)
        restore(folder / "backup", Path(), [])
        self.assertEqual((state / "noticing.json").read_bytes(), b"{}")
