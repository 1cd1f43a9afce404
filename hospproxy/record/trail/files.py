"""The file system layer of the journal, small enough for tests to replace it with a failing disk."""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ...process.folders import make_private, sync_folder

CLOSING_ROOM = 2048
"""Bytes at the end of a reserve, kept for the digest that closes it."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers that mean there is no space."""

FILLER = b" "
"""Fills a reserve. It contains no line ends, so readers see neither a record nor damage."""


class JournalFile(Protocol):
    """One open file that lines are appended to."""

    def write(self, data: bytes) -> int:
        """Append bytes; return how many were taken. The journal treats fewer than given as a failure.

        The bytes may be on disk already when this returns, so an error may come from the sync.
        """

    def sync(self) -> None:
        """Return once everything written is on disk."""

    def truncate(self, size: int) -> None:
        """Cut the file back to this many bytes."""

    def fileno(self) -> int:
        """The descriptor of the open file."""

    def close(self) -> None:
        """Close the file without syncing it; a reserve file loses what is left of its filler."""


class TrailFiles(Protocol):
    """Makes, reads and locks journal files."""

    def claim(self, directory: Path) -> str:
        """Lock the first journal ("w0", "w1", …) that no other process writes.

        Creates the folder if it is missing.

        :raise OSError: the folder cannot be used.
        """

    def release(self) -> None:
        """Unlock the journal for the next process."""

    def names(self, directory: Path) -> list[str]:
        """Names of all files in the folder, sorted."""

    def read(self, directory: Path, name: str) -> BinaryIO:
        """A file's content, uncompressed if the file is compressed."""

    def create(self, directory: Path, name: str, first: bytes = b"") -> JournalFile:
        """Create a file; its name and first bytes are on disk when this returns, or the file does not exist.

        :raise FileExistsError: the name is taken.
        :raise OSError: it cannot be made.
        """

    def make_reserve(self, directory: Path, name: str, size: int) -> None:
        """Create a file whose disk blocks are already allocated.

        :raise OSError: there is no space.
        """

    def from_reserve(self, directory: Path, reserve: str, name: str, first: bytes) -> JournalFile:
        """Like ``create``, but turns a reserve into the new file, which uses up the reserve.

        :raise OSError: there is no reserve.
        """


class _OsFile:
    """A file opened with O_DSYNC: a write returns when the bytes are on disk.

    One call replaces write and fsync. At each call the thread releases the interpreter's lock and must wait to
    get it back beside a busy reactor; that wait costs more than the disk does.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def sync(self) -> None:
        if os.fstat(self._descriptor).st_nlink == 0:
            # The file was removed: anything written goes nowhere, even if the sync succeeds.
            raise OSError(errno.ENOENT, "the audit file was removed while in use")

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)


class _ReserveFile(_OsFile):
    """Overwrites the filler, within the allocated blocks and never beyond them."""

    def __init__(self, descriptor: int, at: int) -> None:
        super().__init__(descriptor)
        self._size = os.fstat(descriptor).st_size
        self._at = at

    def write(self, data: bytes) -> int:
        kept_back = 0 if b'"closing":true' in data else CLOSING_ROOM
        if self._at + len(data) > self._size - kept_back:
            raise OSError(errno.ENOSPC, "the reserve is full")
        written = os.pwrite(self._descriptor, data, self._at)
        self._at += written
        return written

    def truncate(self, size: int) -> None:
        os.pwrite(self._descriptor, FILLER * (self._at - size), size)
        self._at = size

    def close(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._at)
        finally:
            super().close()


class OsFiles:
    """Files on this machine, readable by their owner only."""

    def __init__(self) -> None:
        self._lock: int | None = None

    def claim(self, directory: Path) -> str:
        make_private(directory)
        for number in count():
            journal = f"w{number}"
            lock = locked(directory, journal)
            if lock is not None:
                self._lock = lock
                _forget_drafts(directory, journal)
                return journal
        raise AssertionError

    def release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def names(self, directory: Path) -> list[str]:
        return sorted(os.listdir(directory))

    def read(self, directory: Path, name: str) -> BinaryIO:
        path = directory / name
        return cast(BinaryIO, gzip.open(path, "rb")) if name.endswith(".gz") else path.open("rb")

    def create(self, directory: Path, name: str, first: bytes = b"") -> JournalFile:
        path = directory / name
        if path.exists():
            raise FileExistsError(errno.EEXIST, "File exists", name)
        draft = directory / f"{name}.new"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_DSYNC
        descriptor = os.open(draft, flags, 0o600)
        try:
            _write_all(descriptor, first)
            draft.rename(path)
            sync_folder(directory)
        except OSError:
            os.close(descriptor)
            for left in (draft, path):  # else each further attempt leaves a file behind
                with suppress(OSError):
                    left.unlink()
            raise
        return _OsFile(descriptor)

    def make_reserve(self, directory: Path, name: str, size: int) -> None:
        draft = directory / f"{name}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # Allocated first, so that a reserve is never half filled. Filled as well, since blocks that were
            # never written may still need space of their own at the first write.
            os.posix_fallocate(descriptor, 0, size)
            _write_all(descriptor, FILLER * size)
            os.fsync(descriptor)
            draft.rename(directory / name)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise
        finally:
            os.close(descriptor)
        sync_folder(directory)

    def from_reserve(self, directory: Path, reserve: str, name: str, first: bytes) -> JournalFile:
        descriptor = os.open(directory / reserve, os.O_WRONLY | os.O_CLOEXEC | os.O_DSYNC)
        try:
            if os.fstat(descriptor).st_size < len(first) + CLOSING_ROOM:
                raise OSError(errno.ENOSPC, "the reserve is too small")
            if os.pwrite(descriptor, first, 0) != len(first):
                raise OSError(errno.ENOSPC, "only a part was written to the reserve")
            (directory / reserve).rename(directory / name)
            sync_folder(directory)
        except OSError:
            os.close(descriptor)
            raise
        return _ReserveFile(descriptor, len(first))


def locked(directory: Path, journal: str) -> int | None:
    """Lock a journal; return the lock's descriptor, or None while another process holds it."""
    return lock_of(directory / f"audit-{journal}.lock")


def lock_of(path: Path) -> int | None:
    """Lock a file by its path; return the descriptor, or None while another process holds the lock.

    The kernel frees the lock however its owner ends; ``os.close`` releases it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _forget_drafts(directory: Path, journal: str) -> None:
    for draft in (*directory.glob(f"audit-{journal}[.-]*.new"), *directory.glob(f"audit-{journal}-*.part")):
        with suppress(OSError):
            draft.unlink()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
