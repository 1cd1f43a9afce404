"""The lock of a state folder: one proxy uses the folder at a time, together with its workers.

Two proxies on one folder would each answer from a memory of its own what the other has changed. The lock is a
``flock`` on a file in the folder. The kernel frees it when the last process that holds the descriptor has ended,
however it ended, so nothing has to be cleaned up. It stays with the open file, not with the process id: it survives the
fork of a daemon, workers inherit it from their supervisor, and a successor can be given the descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..folders import make_private

FILE = "lock"
WAIT_S = 5.0
"""Seconds that a start waits while a process that still runs holds the lock: one that was just killed needs some."""
_POLL_S = 0.05
_MOST_BYTES = 300
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class LockError(Exception):
    """The state folder cannot be locked; the text says why and what to do."""


class FolderLock:
    """A lock that this process holds until it, and each process that has inherited the descriptor, has ended.

    :param descriptor: the open, locked file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor, to hand to a worker."""
        return self._descriptor

    def name_holder(self) -> None:
        """Write into the file which process holds it, for the message of the next one; again after a fork."""
        text = f"{os.getpid()} {socket.gethostname()}\n".encode()[:_MOST_BYTES]
        with suppress(OSError):  # A full disk is no reason not to start: only the message would be poorer.
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Let another process have the folder, unless one that has inherited the lock still runs."""
        os.close(self._descriptor)


def take(
    folder: Path,
    *,
    orphans_s: float,
    heir: tuple[int, int] | None = None,
    say: Callable[[str], object] = lambda _words: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> FolderLock:
    """Lock a state folder, before anything in it is read. Blocks: only for a start.

    Waits for ``WAIT_S`` while another process has the lock. Where the process that took it has ended, only workers that
    it left behind can hold it: they end by themselves, so the start waits for them.

    :param folder: is made if it is not there.
    :param orphans_s: seconds in which a worker ends whose supervisor was killed.
    :param heir: user and group id that the process will have; the file will belong to them.
    :param say: told once that the start waits longer, and for whom.
    :param clock: monotonic, in seconds.
    :raise LockError: another proxy uses the folder, or it cannot be locked.
    """
    began, waited = clock(), False
    while True:
        try:
            descriptor = _open(folder, heir)
            if _locked(descriptor):
                if _is_named(folder, descriptor):
                    break
                os.close(descriptor)  # Removed by hand since it was opened.
                continue
        except OSError as error:
            raise LockError(_unusable(folder, error)) from None
        holder, gone = _holder(descriptor)
        os.close(descriptor)
        limit_s = orphans_s if gone else WAIT_S
        if clock() - began >= limit_s:
            raise LockError(
                f"{folder} is in use by {holder}: stop that proxy first, or name another folder for this one"
                " (state_dir, or --state)"
            )
        if gone and not waited:
            waited = True
            say(f"{folder} is in use by {holder}; waiting up to {limit_s:g} s until it is free")
        sleep(_POLL_S)
    lock = FolderLock(descriptor)
    lock.name_holder()
    return lock


def _open(folder: Path, heir: tuple[int, int] | None) -> int:
    """:raise OSError: the file cannot be opened, or is none."""
    make_private(folder)
    # Root may be about to lock a folder of somebody else: no link is followed, and a fifo does not hold it up.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(folder / FILE, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(folder / FILE))
        if heir is not None and status.st_uid == os.geteuid() and status.st_nlink == 1:
            os.fchown(descriptor, *heir)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _locked(descriptor: int) -> bool:
    """:raise OSError: the file system has no locks; the descriptor is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        os.close(descriptor)
        raise
    return True


def _is_named(folder: Path, descriptor: int) -> bool:
    """Whether the file that was locked is still the one that the next process would lock."""
    try:
        there = os.stat(folder / FILE, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _holder(descriptor: int) -> tuple[str, bool]:
    """Who holds the lock, in words, and whether the process that took it has ended."""
    pid, _, host = os.pread(descriptor, _MOST_BYTES, 0).decode("utf-8", "replace").strip().partition(" ")
    if not pid.isdecimal() or not host:
        return "another process", False
    here = host == socket.gethostname()
    if here and not _runs(int(pid)):
        return f"workers that process {pid} has left behind", True
    return f"process {pid}" + ("" if here else f" on host {host}"), False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _unusable(folder: Path, error: OSError) -> str:
    why = error.strerror or str(error)
    if error.errno in _NO_LOCKS and error.filename is None:
        return f"{folder} cannot be locked ({why}): its file system has no file locks. Use a local disk"
    return f"{folder} cannot be locked ({error.filename or FILE}: {why})"
