"""What a backup may contain."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.state.manifest import StateError, measured


class MeasuredTests(SynchronousTestCase):
    """Tests of ``measured``."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        (self.folder / "audit").mkdir(parents=True)
        (self.folder / "audit" / "trail-id").write_bytes(b"x\n")

    def test_files_in_folders(self) -> None:
        [file] = measured(self.folder)
        self.assertEqual((file.path, file.bytes), ("audit/trail-id", 2))

    def test_links_and_pipes_are_refused(self) -> None:
        """A restore by root would copy the target of a link, and wait for a pipe for ever."""
        place = self.folder / "audit" / "other"
        for make in (
            lambda: place.symlink_to(self.folder / "audit" / "trail-id"),
            lambda: place.symlink_to(self.folder),
            lambda: place.symlink_to("/nowhere"),
            lambda: os.mkfifo(place),
        ):
            make()
            self.assertIn(
                "neither a file nor a folder", str(self.assertRaises(StateError, measured, self.folder))
            )
            place.unlink()
