"""A created folder still exists after a power cut."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy import folders


class FolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.top.mkdir()
        self.synced: list[Path] = []
        self.patch(folders, "sync_folder", self.synced.append)

    def test_each_new_name_is_synced_where_it_stands(self) -> None:
        folders.make_private(self.top / "state" / "audit")
        self.assertEqual(self.synced, [self.top / "state", self.top])
        self.assertEqual((self.top / "state" / "audit").stat().st_mode & 0o777, 0o700)

    def test_what_is_there_costs_nothing(self) -> None:
        folders.make_private(self.top)
        self.assertEqual(self.synced, [])
