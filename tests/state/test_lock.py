"""One proxy uses a state folder at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from hospproxy.state import lock
from hospproxy.state.lock import FILE, WAIT_S, FolderLock, LockError, take

ENDED = b"4194305"
"""Id of a process that has ended: Linux gives no process an id above 4194304."""


class LockTests(SynchronousTestCase):
    """``take`` on a real folder, with a clock that the test moves."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "state"
        self.now = 0.0
        self.said: list[str] = []
        self.on_sleep = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()

    def take(self, **more: object) -> FolderLock:
        taken = take(
            self.folder,
            orphans_s=40.0,
            say=self.said.append,
            clock=lambda: self.now,
            sleep=self.sleep,
            **more,  # type: ignore[arg-type]
        )
        self.addCleanup(self.released, taken)
        return taken

    def released(self, taken: FolderLock) -> None:
        with contextlib.suppress(OSError):  # the test has done it
            taken.release()

    def refused(self) -> str:
        return str(self.assertRaises(LockError, self.take))

    def test_the_second_is_refused_and_told_who_has_it_and_what_to_do(self) -> None:
        self.take()
        words = self.refused()
        self.assertIn(f"{self.folder} is in use by process {os.getpid()}: stop that proxy first", words)
        self.assertIn("--state", words)
        self.assertNotIn("\n", words)
        self.assertGreaterEqual(self.now, WAIT_S)
        self.assertEqual(self.said, [])

    def test_another_folder_is_another_lock(self) -> None:
        self.take()
        self.folder = self.folder.with_name("other")
        self.take()
        self.assertEqual(self.said, [])

    def test_once_it_is_released_the_next_has_it(self) -> None:
        self.take().release()
        self.take()
        self.assertEqual(self.now, 0.0)

    def test_a_start_waits_for_one_that_is_about_to_end(self) -> None:
        first = self.take()
        self.on_sleep = lambda: first.release() if self.now == lock._POLL_S else None
        self.take()
        self.assertEqual(self.now, lock._POLL_S)

    def test_what_has_inherited_it_holds_it_on(self) -> None:
        first = self.take()
        worker = os.dup(first.fileno())
        first.release()
        self.refused()
        os.close(worker)
        self.take()

    def test_workers_without_their_supervisor_are_waited_for_as_long_as_they_may_take(self) -> None:
        first = self.take()
        os.pwrite(first.fileno(), ENDED + f" {socket.gethostname()}\n".encode(), 0)
        self.on_sleep = lambda: self.now > 39.0 and self.released(first)  # type: ignore[func-returns-value]
        self.take()
        self.assertGreater(self.now, 39.0)
        self.assertIn("left behind", self.said[0])

    def test_workers_that_do_not_end_are_not_waited_for_for_ever(self) -> None:
        first = self.take()
        os.pwrite(first.fileno(), ENDED + f" {socket.gethostname()}\n".encode(), 0)
        self.assertIn("has left behind", self.refused())
        self.assertLess(self.now, 41.0)

    def test_the_process_of_another_host_is_named_with_it(self) -> None:
        first = self.take()
        os.ftruncate(first.fileno(), 0)
        os.pwrite(first.fileno(), b"7 elsewhere\n", 0)
        self.assertIn("in use by process 7 on host elsewhere", self.refused())

    def test_a_file_that_names_nobody(self) -> None:
        first = self.take()
        for content in (b"", b"\xff\x00", b"9" * 4000, b"-1 x", b"1"):
            os.ftruncate(first.fileno(), 0)
            os.pwrite(first.fileno(), content, 0)
            self.assertIn("in use by another process", self.refused())

    def test_a_pid_beyond_all_pids_is_of_nobody(self) -> None:
        first = self.take()
        os.pwrite(first.fileno(), b"9" * 30 + f" {socket.gethostname()}\n".encode(), 0)
        self.assertIn("left behind", self.refused())

    def test_a_file_that_is_removed_while_it_is_locked_is_not_taken_for_the_lock(self) -> None:
        locked = lock._locked

        def removed(descriptor: int) -> bool:
            (self.folder / FILE).unlink()
            self.patch(lock, "_locked", locked)
            return locked(descriptor)

        self.patch(lock, "_locked", removed)
        self.take()
        self.refused()

    def test_a_link_is_not_followed(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / FILE).symlink_to(self.folder / "elsewhere")
        self.assertIn(f"{self.folder} cannot be locked", self.refused())
        self.assertFalse((self.folder / "elsewhere").exists())

    def test_what_is_no_file_is_said(self) -> None:
        self.folder.mkdir(parents=True)
        os.mkfifo(self.folder / FILE)
        self.assertIn("it is not a regular file", self.refused())

    def test_a_folder_that_cannot_be_written_is_said_at_once(self) -> None:
        with mock.patch("os.open", side_effect=OSError(errno.EROFS, "Read-only file system", "lock")):
            self.assertIn("cannot be locked (lock: Read-only file system)", self.refused())
        self.assertEqual(self.now, 0.0)

    def test_a_file_system_without_locks_is_said_at_once(self) -> None:
        with mock.patch("fcntl.flock", side_effect=OSError(errno.ENOLCK, "No locks available")):
            self.assertIn("its file system has no file locks", self.refused())
        self.assertEqual(self.now, 0.0)

    def test_on_a_full_disk_it_is_held_and_only_nobody_is_named(self) -> None:
        with mock.patch("os.pwrite", side_effect=OSError(errno.ENOSPC, "full")):
            self.take()
        self.assertIn("in use by another process", self.refused())

    def test_it_is_private_and_of_the_user_who_comes_after(self) -> None:
        with mock.patch("os.fchown") as given:
            first = self.take(heir=(65534, 65534))
        given.assert_called_once_with(first.fileno(), 65534, 65534)
        self.assertEqual((self.folder / FILE).stat().st_mode & 0o777, 0o600)
        self.assertFalse(os.get_inheritable(first.fileno()))
