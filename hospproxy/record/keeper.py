"""What the writing thread does: one group of lines at a time, on disk whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from ..errors import RecordFailed
from .files import Files, JournalFile, OsFiles


class Keeper:
    """Appends groups of lines to a file of its own. Everything here blocks: only one thread at a time may call it.

    Each start begins a new file, and so does a file that can no longer be trusted; a line that a crash tore is
    therefore always the last of its file and is never merged with another. Hash-chaining a group belongs in
    ``keep``, between the lines and the write.

    :param directory: where the files go; made, mode 0700, if it is missing.
    :param wall: seconds since the epoch, for the files' names.
    """

    def __init__(self, directory: Path, wall: Callable[[], float], files: Files | None = None) -> None:
        self._directory = directory
        self._wall = wall
        self._files: Files = files if files is not None else OsFiles()
        self._file: JournalFile | None = None
        self._good = 0
        self.path: Path | None = None

    def open(self) -> Path:
        """Begin a file, unless one is open; which one it is.

        :raise RecordFailed: none can be made.
        """
        try:
            self._open()
        except OSError as error:
            raise RecordFailed(f"no file could be begun in {self._directory}: {error.strerror}") from error
        assert self.path is not None
        return self.path

    def keep(self, lines: Sequence[bytes]) -> None:
        """Put a group on disk; when this returns, it is there.

        :param lines: without line ends.
        :raise RecordFailed: none of them may be counted as kept.
        """
        self.open()
        file = self._file
        assert file is not None
        data = b"\n".join((*lines, b""))
        try:
            written = file.write(data)
        except OSError as error:
            self._cut_back(file)
            raise RecordFailed(f"write: {error.strerror}") from error
        if written != len(data):
            self._cut_back(file)
            raise RecordFailed("write: only a part was taken")
        try:
            file.sync()
        except OSError as error:
            # The kernel may call these pages clean from now on, and the next sync succeed although they never
            # reached the disk: a file that failed to sync once is not used again.
            self._cut_back(file)
            self.close()
            raise RecordFailed(f"sync: {error.strerror}") from error
        self._good += len(data)

    def close(self) -> None:
        """Let go of the file; the next group begins another."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _cut_back(self, file: JournalFile) -> None:
        try:
            file.truncate(self._good)
        except OSError:
            self.close()

    def _open(self) -> None:
        if self._file is not None:
            return
        moment = datetime.fromtimestamp(self._wall(), UTC)
        stem = f"audit-{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z-{os.getpid()}"
        for number in count(1):
            name = f"{stem}.jsonl" if number == 1 else f"{stem}-{number}.jsonl"
            with suppress(FileExistsError):
                self._file = self._files.create(self._directory, name)
                self._good = 0
                self.path = self._directory / name
                return
