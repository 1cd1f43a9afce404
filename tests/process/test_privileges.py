"""Privileges that the process gives up, and the owner of the state folder."""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.process import privileges
from hospproxy.process.privileges import OwnershipError


class HardenTests(SynchronousTestCase):
    def harden(self, answer: int) -> tuple[list[str], list[tuple[int, int]]]:
        asked: list[tuple[int, int]] = []

        def prctl(option: int, value: int) -> int:
            asked.append((option, value))
            return answer

        with mock.patch("os.umask") as umask, mock.patch("resource.setrlimit") as limit:
            troubles = privileges.harden(prctl)
        umask.assert_called_once_with(0o077)
        limit.assert_called_once_with(resource.RLIMIT_CORE, (0, 0))
        return troubles, asked

    def test_all_of_it(self) -> None:
        self.assertEqual(self.harden(0), ([], [(4, 0), (38, 1)]))

    def test_what_the_kernel_refuses_is_told(self) -> None:
        self.assertEqual(self.harden(-1)[0], ["PR_SET_DUMPABLE", "PR_SET_NO_NEW_PRIVS"])


class FolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = Path(folder.name) / "state"

    def test_who_stays_who_it_is(self) -> None:
        self.assertIsNone(privileges.heir(None, 5))
        self.assertIsNone(privileges.heir(os.geteuid(), None))
        self.assertEqual(privileges.heir(os.geteuid() + 1, 7), (os.geteuid() + 1, 7))

    def test_it_is_made_for_the_user_who_comes_after(self) -> None:
        with mock.patch("os.chown") as chown:
            privileges.prepare(self.state, 1234, 5678)
        chown.assert_called_once_with(self.state, 1234, 5678)
        self.assertEqual(self.state.stat().st_mode & 0o777, 0o700)

    def test_one_of_somebody_else(self) -> None:
        self.state.mkdir()
        error = self.assertRaises(OwnershipError, privileges.prepare, self.state, os.geteuid() + 1, 1)
        self.assertIn("chown -R", str(error))
        privileges.prepare(self.state, os.geteuid(), os.getegid())

    def test_only_what_was_made_here_is_handed_over(self) -> None:
        """A user who owns the folder may have put links there, to make root hand over their targets."""
        outside = self.state.with_name("outside")
        outside.mkdir(mode=0o700)
        (outside / "secret").write_text("x")
        (self.state / "admin").mkdir(parents=True)
        for path in ("master.key", "admin/self-signed.key"):
            (self.state / path).write_text("x")
        (self.state / "soft").symlink_to(outside)
        (self.state / "softer").symlink_to(outside / "secret")
        (self.state / "hard").hardlink_to(outside / "secret")
        given = []
        with mock.patch(
            "os.fchown", side_effect=lambda fd, *_who: given.append(os.readlink(f"/proc/self/fd/{fd}"))
        ):
            privileges.hand_over(self.state, 1, 1)
        there = [str(self.state / path) for path in ("admin/self-signed.key", "admin", "master.key")]
        self.assertEqual(given, [os.path.realpath(path) for path in there])
