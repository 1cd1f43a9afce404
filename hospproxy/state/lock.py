"""The lock of a state folder: one proxy uses the folder at a time, together with its workers.

Each of two proxies on one folder would serve from its own cache what the other has changed. The lock is a ``flock`` on
a file in the folder. The kernel frees it when the last process that holds the descriptor has ended, even by a kill, so
nothing has to be cleaned up. It belongs to the open file, not to the process id: it survives the fork of a daemon,
workers inherit it from their supervisor, and a successor can be given the descriptor.
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

from ..process.folders import make_private

FILE = "lock"
WAIT_S = 5.0
"""Seconds that a start waits for a running process to free the lock: one that was just killed needs a moment."""
_POLL_S = 0.05
_MOST_BYTES = 300
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class LockError(Exception):
    """The state folder cannot be locked; the text says why and what to do."""


class FolderLock:
    """The lock. It is held until this process and all processes that inherited the descriptor have ended.

    :param descriptor: of the open, locked file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor, to pass to a worker."""
        return self._descriptor

    def name_holder(self) -> None:
        """Write this process's id and host into the file, for another start's message. Call it again after a fork."""
        text = f"{os.getpid()} {socket.gethostname()}\n".encode()[:_MOST_BYTES]
        with suppress(OSError):  # A full disk must not prevent the start; only that message suffers.
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Release the lock. A process that has inherited it still holds it."""
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
    """Lock a state folder, before anything in it is read. It blocks, so use it only during a start.

    Waits up to ``WAIT_S`` while another process has the lock. If the process that took it has ended, only workers that
    it left behind can hold it: they end by themselves, so the start waits up to ``orphans_s`` for them.

    :param folder: created if it does not exist.
    :param orphans_s: seconds within which a worker ends whose supervisor was killed.
    :param heir: user and group id that the process will have; they become the owner of the file.
    :param say: called once with a message when the start waits for orphaned workers.
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
    """Open the lock file, and create it if needed.

    :raise OSError: the file cannot be opened, or is not a regular file.
    """
    make_private(folder)
    # Root may lock a folder that another user controls: follow no link, and do not block on a fifo.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(folder / FILE, flags, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(folder / FILE))
        if heir is not None and status.st_uid == os.geteuid() and status.st_nlink == 1:
            os.fchown(descriptor, *heir)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _locked(descriptor: int) -> bool:
    """Try to lock the file; return whether it worked.

    :raise OSError: the file system has no locks; the descriptor is closed.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        os.close(descriptor)
        raise
    return True


def _is_named(folder: Path, descriptor: int) -> bool:
    """Whether the locked file is still the one in the folder, which the next process would lock."""
    try:
        there = os.stat(folder / FILE, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _holder(descriptor: int) -> tuple[str, bool]:
    """Describe the holder of the lock; also return whether the process that took it has ended."""
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
