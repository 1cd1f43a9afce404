"""Whose file locks can tell whether a worker is alive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.sharing.siblings import FILE, dead_among, machine_id, member_id


class MachineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_it_is_the_same_for_all_workers_and_starts(self) -> None:
        first = machine_id(self.folder, os.urandom)
        self.assertRegex(first, "^[0-9a-f]{16}$")
        self.assertEqual(machine_id(self.folder, os.urandom), first)
        self.assertEqual([path.name for path in self.folder.iterdir()], [FILE])

    def test_a_copy_of_the_folder_is_another_machine(self) -> None:
        first = machine_id(self.folder, os.urandom)
        other = self.folder.with_name("copy")
        shutil.copytree(self.folder, other)
        self.assertNotEqual(machine_id(other, os.urandom), first)

    def test_what_is_damaged_is_made_anew(self) -> None:
        (self.folder / FILE).write_bytes(b"\xff\x00 nonsense")
        self.assertRegex(machine_id(self.folder, os.urandom), "^[0-9a-f]{16}$")

    def test_only_siblings_are_judged(self) -> None:
        own = member_id("aa", "1-x")
        asked: list[str] = []

        def is_gone(name: str) -> bool:
            asked.append(name)
            return name == "2-x"

        found = dead_among([own, b"aa.2-x", b"aa.3-x", b"bb.2-x"], own, is_gone)
        self.assertEqual(found, [b"aa.2-x"])
        self.assertEqual(asked, ["2-x", "3-x"])
