"""The file layer under the journal: small enough that a test can stand in for a disk that fails."""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ...folders import make_private, sync_folder

CLOSING_ROOM = 2048
"""Bytes at the end of a reserve for the digest that closes it."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors that say: no room."""

FILLER = b" "
"""What a reserve is filled with: no line ends, so that no reader takes it for a record, and none for damage."""


class JournalFile(Protocol):
    """One open file to which lines are appended."""

    def write(self, data: bytes) -> int:
        """Append bytes; how many were taken. Fewer than given is a failure to the journal.

        It may be on disk already when this returns, and so an error may be one of syncing.
        """

    def sync(self) -> None:
        """Return once everything written is on disk."""

    def truncate(self, size: int) -> None:
        """Cut the file back to so many bytes."""

    def fileno(self) -> int:
        """The open file's number."""

    def close(self) -> None:
        """Give the file back."""


class Files(Protocol):
    """Makes journal files."""

    def claim(self, directory: Path) -> str:
        """Take a journal that no other process writes ("w0", "w1", …); the folder is made if it is missing.

        :raise OSError: it cannot be used.
        """

    def release(self) -> None:
        """Leave the journal to whoever comes next."""

    def names(self, directory: Path) -> list[str]:
        """What is in the folder."""

    def read(self, directory: Path, name: str) -> BinaryIO:
        """A file's content, unpacked if it is packed."""

    def create(self, directory: Path, name: str, first: bytes = b"") -> JournalFile:
        """A new file that is on disk with its name and first bytes, or not there at all.

        :raise FileExistsError: the name is taken.
        :raise OSError: it cannot be made.
        """

    def make_reserve(self, directory: Path, name: str, size: int) -> None:
        """A file whose blocks are its own already.

        :raise OSError: there is no room.
        """

    def from_reserve(self, directory: Path, reserve: str, name: str, first: bytes) -> JournalFile:
        """The same as ``create``, in the room of a reserve, which is used up by that.

        :raise OSError: there is no reserve.
        """


class _OsFile:
    """Opened with O_DSYNC: a write returns when it is on disk.

    One call in the place of two, since each is a time at which a thread lets go of the interpreter's lock and then
    waits for it beside a busy reactor. That wait costs more than the disk does.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def sync(self) -> None:
        if os.fstat(self._descriptor).st_nlink == 0:
            # Somebody removed the file: what is written goes nowhere, however well it is synced.
            raise OSError(errno.ENOENT, "the journal's file was removed")

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)


class _ReserveFile(_OsFile):
    """Writes over the filler, in blocks that are there already, and never beyond them."""

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
    """Files of this machine, readable by their owner alone."""

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
            for left in (draft, path):  # or every further try leaves a file behind
                with suppress(OSError):
                    left.unlink()
            raise
        return _OsFile(descriptor)

    def make_reserve(self, directory: Path, name: str, size: int) -> None:
        draft = directory / f"{name}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # Allocated first, so that there is no half-filled one; filled, since blocks that were never written
            # may still need room of their own on the first write.
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
                raise OSError(errno.ENOSPC, "the reserve took only a part")
            (directory / reserve).rename(directory / name)
            sync_folder(directory)
        except OSError:
            os.close(descriptor)
            raise
        return _ReserveFile(descriptor, len(first))


def locked(directory: Path, journal: str) -> int | None:
    """The lock of a journal, or None while another process has it."""
    return lock_of(directory / f"audit-{journal}.lock")


def lock_of(path: Path) -> int | None:
    """A lock by a file's name, or None while another process has it.

    The kernel frees it however its owner ends; ``os.close`` gives it back.
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


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put a file (its folder 0700) in another's place, whole or not at all; on disk when this returns.

    :raise OSError: it cannot be written; the one before is still there.
    """
    make_private(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
