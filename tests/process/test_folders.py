"""A created folder survives a power cut, a file appears complete or not at all, and workers have their own files."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process import folders


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


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "new" / "file"

    def alone(self) -> bool:
        return [each.name for each in self.path.parent.iterdir()] == [self.path.name]

    def test_a_file_is_replaced(self) -> None:
        folders.write_whole(self.path, b"old", 0o640)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)
        folders.write_whole(self.path, b"new")
        self.assertEqual((self.path.read_bytes(), self.path.stat().st_mode & 0o777), (b"new", 0o600))
        self.assertTrue(self.alone())

    def test_only_those_who_ask_keep_the_owner(self) -> None:
        given: list[tuple[int, int]] = []
        self.patch(os, "fchown", lambda _, user, group: given.append((user, group)))
        folders.write_whole(self.path, b"first", keep_owner=True)
        folders.write_whole(self.path, b"second")
        self.assertEqual(given, [])
        folders.write_whole(self.path, b"third", keep_owner=True)
        self.assertEqual(given, [(self.path.stat().st_uid, self.path.stat().st_gid)])

    def test_a_file_that_is_there_stays(self) -> None:
        folders.create_whole(self.path, b"first")
        folders.create_whole(self.path, b"second")
        self.assertEqual((self.path.read_bytes(), self.path.stat().st_mode & 0o777), (b"first", 0o600))
        self.assertTrue(self.alone())


class WorkerFileTests(SynchronousTestCase):
    def test_the_first_has_the_name_that_a_process_alone_has(self) -> None:
        self.assertEqual(folders.of_slot(Path("a/answers.sqlite"), 0), Path("a/answers.sqlite"))
        self.assertEqual(folders.of_slot(Path("a/answers.sqlite"), 3), Path("a/answers-3.sqlite"))

    def test_what_workers_have_left_that_there_are_no_more(self) -> None:
        folder = Path(self.mktemp())
        self.assertEqual(list(folders.beyond(folder / "answers.sqlite", 1)), [])
        folder.mkdir()
        stay = (
            "answers.sqlite",
            "answers-1.sqlite",
            "answers-1.sqlite-wal",
            "other-2.sqlite",
            "answers-x.sqlite",
        )
        left = ("answers-2.sqlite", "answers-2.sqlite-shm", "answers-2.sqlite-wal", "answers-10.sqlite")
        for name in (*stay, *left):
            (folder / name).touch()
        self.assertEqual({each.name for each in folders.beyond(folder / "answers.sqlite", 2)}, set(left))
        alone = {each.name for each in folders.beyond(folder / "answers.sqlite", 1)}
        self.assertEqual(alone, {*left, "answers-1.sqlite", "answers-1.sqlite-wal"})
