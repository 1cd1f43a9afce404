"""A test case with options that are right, for tests that change one of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.config import Settings, UpstreamSettings


class SettingsTestCase(SynchronousTestCase):
    """Gives a folder, and good options whose state folder is to be in it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.good = Settings(
            upstream=UpstreamSettings(url="http://127.0.0.1:3000"), state_dir=self.folder / "state"
        )
