"""The file layer under the journal: small enough that a test can stand in for a disk that fails."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol


class JournalFile(Protocol):
    """One open file to which lines are appended."""

    def write(self, data: bytes) -> int:
        """Append bytes; how many were taken. Fewer than given is a failure to the journal."""

    def sync(self) -> None:
        """Return once everything written is on disk."""

    def truncate(self, size: int) -> None:
        """Cut the file back to so many bytes."""

    def close(self) -> None:
        """Give the file back."""


class Files(Protocol):
    """Makes journal files."""

    def create(self, directory: Path, name: str) -> JournalFile:
        """A new, empty file whose name is on disk too.

        :raise FileExistsError: the name is taken.
        :raise OSError: it cannot be made.
        """


class _OsFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)
        if os.fstat(self._descriptor).st_nlink == 0:
            # Somebody removed the file: what is written goes nowhere, however well it is synced.
            raise OSError(errno.ENOENT, "the journal's file was removed")

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


class OsFiles:
    """Files of this machine, readable by their owner alone."""

    def create(self, directory: Path, name: str) -> JournalFile:
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_folder(directory.parent)
        path = directory / name
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            _sync_folder(directory)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()  # or every further try leaves an empty file behind
            raise
        return _OsFile(descriptor)


def _sync_folder(directory: Path) -> None:
    """A file is on disk only when its name in the folder is (fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
