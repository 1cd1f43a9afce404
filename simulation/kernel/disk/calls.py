"""The system's calls for files, as a simulated process makes them.

The proxy writes files in many places, by ``os``, ``pathlib`` and ``open``. An interface for all of them would only show
what goes through it; here every call for a file below a machine's folder is seen, also one that forgot to sync. Calls
for other files, and those of the simulation itself, go to the system untouched.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import define

from ..death import Killed
from ..interfaces import SimulatedProcess

if TYPE_CHECKING:
    from . import Disk

_WRITES = os.O_WRONLY | os.O_RDWR
_NAMES = (
    "open", "close", "write", "pwrite", "ftruncate", "posix_fallocate", "fsync", "fdatasync", "fstat", "rename",
    "replace", "link", "unlink", "remove", "mkdir", "rmdir", "getpid",
)  # fmt: skip
_real: dict[str, Any] = {name: getattr(os, name) for name in _NAMES}
_real_open = io.open


@define
class _Open:
    process: SimulatedProcess
    disk: Disk
    inode: int
    path: str
    flags: int


class Calls:
    """The calls of all simulated processes of one world, while it is installed.

    :param current: the process whose code runs at this moment; None for code of the simulation.
    """

    def __init__(self, current: Callable[[], SimulatedProcess | None]) -> None:
        self._current = current
        self._disks: list[tuple[str, Disk]] = []
        self._open: dict[int, _Open] = {}

    def install(self) -> None:
        """Take the place of the system's calls."""
        for name in _NAMES:
            setattr(os, name, getattr(self, name))
        io.open = self.open_file

    def uninstall(self) -> None:
        """Give it back."""
        for name, function in _real.items():
            setattr(os, name, function)
        io.open = _real_open

    def add(self, disk: Disk) -> None:
        """See a disk's files."""
        self._disks.append((str(disk.root), disk))

    def disk_of(self, path: str) -> Disk | None:
        """Where a path is."""
        for root, disk in self._disks:
            if path.startswith(root) and path[len(root) : len(root) + 1] in ("", os.sep):
                return disk
        return None

    def orphaned(self, process: SimulatedProcess) -> None:
        """Close what a dead process has open: with it go its locks."""
        for number, found in list(self._open.items()):
            if found.process is process:
                del self._open[number]
                with suppress(OSError):
                    _real["close"](number)

    def _asked(self, path: Any, what: str | None) -> tuple[SimulatedProcess, Disk, str] | None:
        """Whose call it is, and for which disk; None if it is none of ours.

        :raise Killed: the process is dead.
        :raise OSError: the disk fails.
        """
        process = self._current()
        if process is None or isinstance(path, int):
            return None
        path = os.path.abspath(os.fsdecode(path))
        disk = self.disk_of(path)
        if disk is None:
            return None
        if not process.running:
            raise Killed
        if what is not None:
            disk.reach(process, what, path)
        return process, disk, path

    # Open and close

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        asked = self._asked(path, "open" if flags & (_WRITES | os.O_CREAT) else None)
        if asked is None:
            return _real["open"](path, flags, mode, dir_fd=dir_fd)  # type: ignore[no-any-return]
        process, disk, path = asked
        is_new = bool(flags & os.O_CREAT) and not os.path.lexists(path)
        before = b""
        if flags & os.O_TRUNC and not is_new:
            with suppress(FileNotFoundError):
                before = _content(path)
        number: int = _real["open"](path, flags, mode)
        inode = _real["fstat"](number).st_ino
        self._open[number] = _Open(process, disk, inode, path, flags)
        if is_new:
            disk.named("create", path)
        if before:
            disk.changed(inode, 0, before, None, len(before))
        return number

    def close(self, fd: int) -> None:
        self._open.pop(fd, None)
        _real["close"](fd)

    def close_if_open(self, fd: int) -> None:
        """Close what a file object has, unless its process is dead: then it is closed, and the number is another's."""
        if fd in self._open:
            self.close(fd)

    def open_file(self, file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        """``open``: what is written passes ``os.write``, as the rest does."""
        found = self._open.get(file) if isinstance(file, int) else None
        is_written = any(each in mode for each in "wxa+")
        if not is_written:
            if found is not None:
                del self._open[file]  # the file object closes it, by a call of its own
            self._asked(file, None)
            return _real_open(file, mode, *rest, **more)
        if found is None:
            if self._asked(file, None) is None:
                return _real_open(file, mode, *rest, **more)
            file = self.open(file, _flags(mode), 0o666)
        assert "+" not in mode, "no file is read and written by open()"
        buffered = io.BufferedWriter(_Raw(self, file))
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(
            buffered, encoding=more.get("encoding") or (rest[1] if len(rest) > 1 else None)
        )

    # Write

    def write(self, fd: int, data: Any) -> int:
        found = self._open.get(fd)
        if found is None:
            return _real["write"](fd, data)  # type: ignore[no-any-return]
        size = _real["fstat"](fd).st_size
        at = size if found.flags & os.O_APPEND else os.lseek(fd, 0, os.SEEK_CUR)
        return self._written(found, fd, bytes(data), at, size, lambda: _real["write"](fd, data))

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        found = self._open.get(fd)
        if found is None:
            return _real["pwrite"](fd, data, offset)  # type: ignore[no-any-return]
        size = _real["fstat"](fd).st_size
        at = size if found.flags & os.O_APPEND else offset
        return self._written(found, fd, bytes(data), at, size, lambda: _real["pwrite"](fd, data, offset))

    def _written(
        self, found: _Open, fd: int, data: bytes, at: int, size: int, write: Callable[[], int]
    ) -> int:
        found.disk.reach(found.process, "write", found.path)
        found.disk.room(at + len(data) - size, found.path)
        old = _part(fd, at, min(len(data), size - at)) if at < size else b""
        written = write()
        found.disk.changed(found.inode, at, old, data[:written], size)
        if found.flags & os.O_DSYNC:
            self._sync(found)
        return written

    def ftruncate(self, fd: int, length: int) -> None:
        found = self._open.get(fd)
        if found is None:
            _real["ftruncate"](fd, length)
            return
        found.disk.reach(found.process, "write", found.path)
        size = _real["fstat"](fd).st_size
        found.disk.room(length - size, found.path)
        if length > size:
            found.disk.changed(found.inode, size, b"", bytes(length - size), size)
        elif length < size:
            found.disk.changed(found.inode, length, _part(fd, length, size - length), None, size)
        _real["ftruncate"](fd, length)

    def posix_fallocate(self, fd: int, offset: int, len: int) -> None:
        found = self._open.get(fd)
        if found is None:
            _real["posix_fallocate"](fd, offset, len)
            return
        size = _real["fstat"](fd).st_size
        if offset + len > size:
            self.ftruncate(fd, offset + len)

    # Sync

    def fsync(self, fd: int) -> None:
        found = self._open.get(fd)
        if found is None:
            _real["fsync"](fd)
        elif found.flags & os.O_DIRECTORY:
            found.disk.reach(found.process, "sync", found.path)
            found.disk.sync_folder(found.path)
        else:
            self._sync(found)

    fdatasync = fsync

    def _sync(self, found: _Open) -> None:
        try:
            found.disk.reach(found.process, "sync", found.path)
        except OSError:
            found.disk.unsynced.sync_failed(found.inode)
            raise
        found.disk.sync(found.inode)

    # Names

    def rename(self, src: Any, dst: Any, **more: Any) -> None:
        asked = self._asked(dst, "rename")
        if asked is None:
            _real["rename"](src, dst, **more)
            return
        _, disk, path = asked
        kept = disk.unsynced.bury(path)
        _real["rename"](src, dst, **more)
        disk.named("rename", path, os.path.abspath(os.fsdecode(src)), kept)

    replace = rename

    def link(self, src: Any, dst: Any, **more: Any) -> None:
        asked = self._asked(dst, "link")
        _real["link"](src, dst, **more)
        if asked is not None:
            asked[1].named("link", asked[2])

    def unlink(self, path: Any, **more: Any) -> None:
        asked = self._asked(path, "unlink")
        if asked is None:
            _real["unlink"](path, **more)
            return
        _, disk, name = asked
        kept = disk.unsynced.bury(name)
        _real["unlink"](path, **more)
        disk.named("unlink", name, kept=kept)

    remove = unlink

    def mkdir(self, path: Any, mode: int = 0o777, **more: Any) -> None:
        asked = self._asked(path, "folder")
        _real["mkdir"](path, mode, **more)
        if asked is not None:
            asked[1].named("folder", asked[2])

    def rmdir(self, path: Any, **more: Any) -> None:
        self._asked(path, "folder")
        _real["rmdir"](path, **more)

    # And what else a process asks

    def fstat(self, fd: int) -> Any:
        status = _real["fstat"](fd)
        found = self._open.get(fd)
        hidden = 0 if found is None else found.disk.unsynced.buried.get(status.st_ino, 0)
        return status if not hidden else _Hidden(status, hidden)

    def getpid(self) -> int:
        process = self._current()
        return _real["getpid"]() if process is None else process.pid


class _Hidden:
    """A file's status, without the links that only the simulation knows of."""

    def __init__(self, status: os.stat_result, hidden: int) -> None:
        self._status = status
        self.st_nlink = status.st_nlink - hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self._status, name)


class _Raw(io.RawIOBase):
    """A file that is written by ``os.write``."""

    def __init__(self, calls: Calls, number: int) -> None:
        self._calls = calls
        self._number = number

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        return self._calls.write(self._number, bytes(data))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._calls.close_if_open(self._number)


def _flags(mode: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    if "x" in mode:
        return flags | os.O_EXCL
    return flags | (os.O_APPEND if "a" in mode else os.O_TRUNC)


def _content(path: str) -> bytes:
    with _real_open(path, "rb") as file:
        return file.read()


def _part(fd: int, at: int, size: int) -> bytes:
    """What stands in a file that may be open for writing only."""
    number = _real["open"](f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(number, size, at)
    finally:
        _real["close"](number)
