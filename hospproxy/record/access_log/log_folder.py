"""The folder of the access log: the file that grows, and how it is closed under its final name. All of this blocks.

Each step is safe to repeat, because a process may be killed after any of them: a line counts once the position says so
(``position.py``), a closed file has its name before it has its content, and the same content is made again.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from attrs import define, field, frozen
from twisted.logger import Logger

from ...process.folders import make_private, sync_folder
from ..trail.files import lock_of
from . import position
from .closed_files import SHIPPED
from .file_names import FileNames, is_closed_name
from .position import Position

OPEN: Final = "access.log"
"""The file that grows."""
_DRAFT: Final = "closing.draft"
_LOCK: Final = "access.lock"
_BLOCK: Final = 1 << 18
_log = Logger()


class FolderInUse(Exception):
    """Another process writes to this folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process writes the access log in {folder}")


@frozen(slots=True)
class RotationRule:
    """When the open file is closed: by its size or its age.

    :param most_bytes: once it has this size.
    :param every_s: intervals in seconds, counted from midnight UTC; a file holds lines of one interval.
    """

    most_bytes: int
    every_s: float

    def end(self, begun: float) -> float:
        """The end of the interval of a file whose first line was written then, in seconds since the epoch."""
        return (begun // self.every_s + 1) * self.every_s

    def is_due(self, size: int, begun: float, now: float) -> bool:
        """Whether a file is to be closed. A clock that was set back does not keep it open for ever."""
        if size == 0:
            return False
        return size >= self.most_bytes or not begun - self.every_s <= now < self.end(begun)


@define(eq=False)
class LogFolder:
    """Writes each line once, and closes the file that it is in.

    :param format: of the lines; a file of another format is closed first.
    :param wall: seconds since the epoch.
    :param entropy: returns that many random bytes.
    """

    folder: Path
    format: str
    rule: RotationRule
    names: FileNames
    wall: Callable[[], float]
    entropy: Callable[[int], bytes]
    _lock: int | None = field(default=None, init=False)
    _file: int | None = field(default=None, init=False)
    _position: Position = field(factory=Position, init=False)

    def open(self) -> None:
        """Lock the folder, and find out where the log ends.

        :raise FolderInUse: another process has locked it.
        :raise OSError: it cannot be used.
        """
        if self._lock is None:
            make_private(self.folder)
            self._lock = lock_of(self.folder / _LOCK)
            if self._lock is None:
                raise FolderInUse(self.folder)
        self._reopened()

    def close(self) -> None:
        """Let another process write. The open file stays open for it."""
        self._forget()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def missing(self, journal: str, first_seq: int, count: int) -> int:
        """How many of the last of these records have no line yet.

        :param journal: trail and journal.
        :raise OSError: the log cannot be used.
        """
        self._reopened()
        last = first_seq + count - 1
        return max(0, min(count, last - self._position.seqs.get(journal, 0)))

    def add(self, lines: Sequence[bytes], journal: str, seq: int, machine: str) -> int:
        """Add lines; they are on disk and counted when this returns. Return how many files were closed.

        :param journal: trail and journal of their records.
        :param seq: number of the last record.
        :param machine: for the file's name.
        :raise OSError: nothing was added; another attempt may follow.
        """
        closed = int(self.close_file(only_due=True))
        file = self._reopened()
        before = self._position
        content = b"".join(line + b"\n" for line in lines)
        begun = before.begun if before.bytes else self.wall()
        try:
            _write(file, content, before.bytes)
            os.fdatasync(file)
            after = before.with_lines(before.bytes + len(content), begun, machine, self.format, journal, seq)
            position.save(self.folder, after)
        except BaseException:
            # The new position may or may not be on disk: read it again before the next attempt.
            self._forget()
            raise
        self._position = after
        return closed

    def close_file(self, *, only_due: bool) -> bool:
        """Close the open file under its final name; return False if there is nothing to close.

        :param only_due: only when it is large or old enough, or has lines of another format.
        :raise OSError: it is still open.
        """
        file, at = self._reopened(), self._position
        if not at.bytes:
            return False
        now = self.wall()
        if only_due and at.format == self.format and not self.rule.is_due(at.bytes, at.begun, now):
            return False
        try:
            name = self._free_name(at.machine, self.rule.end(at.begun))
            position.save(self.folder, msgspec.structs.replace(at, closing=name))
            self._finish(file, name, at)
        except BaseException:
            self._forget()
            raise
        return True

    def _free_name(self, machine: str, end: float) -> str:
        """A name that no closed file has: it would be replaced."""
        while True:
            name = self.names.closed(machine, end, self.entropy(8))
            if not ((self.folder / name).exists() or (self.folder / SHIPPED / name).exists()):
                return name

    def _finish(self, file: int, name: str, at: Position) -> None:
        draft = self.folder / _DRAFT
        with os.fdopen(_private(draft), "wb") as target:
            with gzip.GzipFile(filename="", fileobj=target, mode="wb", compresslevel=6, mtime=0) as packed:
                for offset in range(0, at.bytes, _BLOCK):
                    packed.write(os.pread(file, min(_BLOCK, at.bytes - offset), offset))
            target.flush()
            os.fsync(target.fileno())
        draft.replace(self.folder / name)
        sync_folder(self.folder)
        after = msgspec.structs.replace(at, bytes=0, begun=0.0, closing="")
        position.save(self.folder, after)
        self._position = after
        os.ftruncate(file, 0)

    def _reopened(self) -> int:
        """The open file, as far as the position counts it."""
        if self._file is not None:
            return self._file
        at = position.load(self.folder)
        file = os.open(self.folder / OPEN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(file).st_size
            if size < at.bytes:
                _log.error(
                    "The access log {file} was cut from {before} to {after} bytes by somebody else",
                    file=str(self.folder / OPEN),
                    before=at.bytes,
                    after=size,
                )
                at = msgspec.structs.replace(at, bytes=size)
            elif size > at.bytes:
                os.ftruncate(file, at.bytes)
            self._position = at
            if at.closing:
                if is_closed_name(at.closing):
                    self._finish(file, at.closing, at)
                else:
                    self._position = msgspec.structs.replace(at, closing="")
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return file

    def _forget(self) -> None:
        """Read position and file again before the next step."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.close(file)


def _write(file: int, content: bytes, offset: int) -> None:
    """Write all of it at this offset. A full disk may take only a part: the rest fails, and that part never counts."""
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


def _private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
