"""SQLite's files: a VFS around the usual one, in the very library that Python's sqlite3 uses.

Only what changes a file or syncs it passes through here; all else goes straight to SQLite's own functions.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import os
import random
import sqlite3
import sqlite3.dbapi2
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define

from ..death import Killed
from ..interfaces import SimulatedProcess

if TYPE_CHECKING:
    from . import Disk
    from .calls import Calls

_OK, _IOERR, _FULL = 0, 10, 13
_IOERR_WRITE, _IOERR_FSYNC, _IOERR_TRUNCATE, _IOERR_DELETE = (10 | n << 8 for n in (3, 4, 6, 10))
_CREATES = 0x4
_JOURNALS = 0x800 | 0x4000 | 0x80000
"""MAIN_JOURNAL, SUPER_JOURNAL, WAL: when SQLite may have made one, its first sync is one of the folder too."""

_P, _I, _I64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_CLOSE = ctypes.CFUNCTYPE(_I, _P)
_READ = ctypes.CFUNCTYPE(_I, _P, _P, _I, _I64)
_WRITE = ctypes.CFUNCTYPE(_I, _P, _P, _I, _I64)
_TRUNCATE = ctypes.CFUNCTYPE(_I, _P, _I64)
_SYNC = ctypes.CFUNCTYPE(_I, _P, _I)
_SIZE = ctypes.CFUNCTYPE(_I, _P, ctypes.POINTER(_I64))
_OPEN = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, ctypes.POINTER(_I))
_DELETE = ctypes.CFUNCTYPE(_I, _P, _P, _I)
_RANDOMNESS = ctypes.CFUNCTYPE(_I, _P, _I, _P)
_SLEEP = ctypes.CFUNCTYPE(_I, _P, _I)


class _Methods(ctypes.Structure):
    """sqlite3_io_methods."""

    _fields_ = (
        ("iVersion", _I), ("xClose", _P), ("xRead", _P), ("xWrite", _P), ("xTruncate", _P), ("xSync", _P),
        ("xFileSize", _P), ("xLock", _P), ("xUnlock", _P), ("xCheckReservedLock", _P), ("xFileControl", _P),
        ("xSectorSize", _P), ("xDeviceCharacteristics", _P), ("xShmMap", _P), ("xShmLock", _P),
        ("xShmBarrier", _P), ("xShmUnmap", _P), ("xFetch", _P), ("xUnfetch", _P),
    )  # fmt: skip


class _Vfs(ctypes.Structure):
    """sqlite3_vfs."""

    _fields_ = (
        ("iVersion", _I), ("szOsFile", _I), ("mxPathname", _I), ("pNext", _P), ("zName", ctypes.c_char_p),
        ("pAppData", _P), ("xOpen", _P), ("xDelete", _P), ("xAccess", _P), ("xFullPathname", _P), ("xDlOpen", _P),
        ("xDlError", _P), ("xDlSym", _P), ("xDlClose", _P), ("xRandomness", _P), ("xSleep", _P),
        ("xCurrentTime", _P), ("xGetLastError", _P), ("xCurrentTimeInt64", _P), ("xSetSystemCall", _P),
        ("xGetSystemCall", _P), ("xNextSystemCall", _P),
    )  # fmt: skip


@define
class _File:
    process: SimulatedProcess
    disk: Disk
    path: str
    inode: int
    syncs_folder: bool


@define
class _Kind:
    """The functions of one kind of file, SQLite's own and ours."""

    close: Any
    read: Any
    write: Any
    truncate: Any
    sync: Any
    size: Any
    ours: _Methods


def _library() -> Any:
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = _P
    library.sqlite3_vfs_find.argtypes = (ctypes.c_char_p,)
    library.sqlite3_vfs_register.argtypes = (_P, _I)
    library.sqlite3_vfs_unregister.argtypes = (_P,)
    library.sqlite3_randomness.argtypes = (_I, _P)
    return library


class Sqlite:
    """The VFS of one world, while it is installed.

    :param current: the process whose code runs at this moment.
    """

    def __init__(
        self, calls: Calls, current: Callable[[], SimulatedProcess | None], chance: random.Random
    ) -> None:
        self._calls = calls
        self._current = current
        self._chance = chance
        self._files: dict[int, _File] = {}
        self._kinds: dict[int, _Kind] = {}
        self._kept: list[Any] = []
        self._connect = sqlite3.connect
        self._library = _library()
        self._usual = self._library.sqlite3_vfs_find(None)
        self._theirs = _Vfs.from_address(self._usual)
        self._ours = self._vfs()

    def install(self) -> None:
        """Let every new connection use it."""
        self._library.sqlite3_vfs_register(ctypes.addressof(self._ours), 1)
        self._library.sqlite3_randomness(0, None)  # it begins anew, with our numbers
        sqlite3.connect = sqlite3.dbapi2.connect = self.connect  # type: ignore[assignment]

    def uninstall(self) -> None:
        """Give it back. Connections that are still open go on using it."""
        sqlite3.connect = sqlite3.dbapi2.connect = self._connect
        self._library.sqlite3_vfs_unregister(ctypes.addressof(self._ours))
        self._library.sqlite3_vfs_register(self._usual, 1)
        self._library.sqlite3_randomness(0, None)
        _immortal.append(self)

    def connect(self, *arguments: Any, **keywords: Any) -> sqlite3.Connection:
        """``sqlite3.connect``; the process's connections are known."""
        connection: sqlite3.Connection = self._connect(*arguments, **keywords)
        process = self._current()
        if process is not None:
            process.connections.append(connection)
        return connection

    def _vfs(self) -> _Vfs:
        ours = _Vfs()
        ctypes.pointer(ours)[0] = self._theirs
        theirs = self._theirs
        self._real_open = _OPEN(theirs.xOpen)
        self._real_delete = _DELETE(theirs.xDelete)
        ours.zName = b"hospital"
        ours.pNext = None
        ours.xOpen = self._keep(_OPEN(self._open))
        ours.xDelete = self._keep(_DELETE(self._delete))
        ours.xRandomness = self._keep(_RANDOMNESS(self._randomness))
        ours.xSleep = self._keep(_SLEEP(lambda _vfs, microseconds: microseconds))
        return ours

    def _keep(self, callback: Any) -> int | None:
        self._kept.append(callback)
        return ctypes.cast(callback, _P).value

    # The VFS's functions

    def _randomness(self, _vfs: int, size: int, where: int) -> int:
        ctypes.memmove(where, self._chance.randbytes(size), size)
        return size

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        process = self._current()
        # The name itself must go on: SQLite keeps it, and parameters stand behind it.
        path = os.fsdecode(ctypes.string_at(name)) if name else ""
        disk = self._calls.disk_of(path) if path else None
        is_new = disk is not None and bool(flags & _CREATES) and not os.path.lexists(path)
        if process is not None and not process.running:
            return _IOERR
        result: int = self._real_open(self._usual, name, file, flags, out)
        if result == _OK and disk is not None and process is not None:
            if is_new:
                disk.named("create", path)
            journal = bool(flags & _CREATES and flags & _JOURNALS)
            self._files[file] = _File(process, disk, path, os.stat(path).st_ino, journal)
            self._replace(file)
        return result

    def _replace(self, file: int) -> None:
        """Let a file's writes and syncs come here."""
        place = ctypes.cast(file, ctypes.POINTER(_P))
        theirs = place[0]
        assert theirs is not None
        kind = self._kinds.get(theirs)
        if kind is None:
            kind = self._kinds[theirs] = self._kind(theirs)
        place[0] = ctypes.addressof(kind.ours)

    def _kind(self, address: int) -> _Kind:
        theirs, ours = _Methods.from_address(address), _Methods()
        ctypes.pointer(ours)[0] = theirs
        kind = _Kind(
            _CLOSE(theirs.xClose), _READ(theirs.xRead), _WRITE(theirs.xWrite), _TRUNCATE(theirs.xTruncate),
            _SYNC(theirs.xSync), _SIZE(theirs.xFileSize), ours,
        )  # fmt: skip
        ours.xClose = self._keep(_CLOSE(lambda file: self._close(kind, file)))
        ours.xWrite = self._keep(_WRITE(lambda file, data, size, at: self._write(kind, file, data, size, at)))
        ours.xTruncate = self._keep(_TRUNCATE(lambda file, size: self._truncate(kind, file, size)))
        ours.xSync = self._keep(_SYNC(lambda file, flags: self._sync(kind, file, flags)))
        return kind

    def _delete(self, _vfs: int, name: int, syncs: int) -> int:
        path, process = os.fsdecode(ctypes.string_at(name)), self._current()
        disk = self._calls.disk_of(path)
        if disk is None or process is None:
            return int(self._real_delete(self._usual, name, syncs))
        if _denied(process, disk, "unlink", path):
            return _IOERR_DELETE
        kept = disk.unsynced.bury(path)
        result: int = self._real_delete(self._usual, name, syncs)
        if result == _OK and kept:
            disk.named("unlink", path, kept=kept)
            if syncs:
                disk.sync_folder(os.path.dirname(path))
        return result

    # The files' functions

    def _close(self, kind: _Kind, file: int) -> int:
        self._files.pop(file, None)
        return int(kind.close(file))

    def _write(self, kind: _Kind, file: int, data: int, size: int, at: int) -> int:
        found = self._files[file]
        before = _size(kind, file)
        denied = _denied(found.process, found.disk, "write", found.path, at + size - before)
        if denied:
            return _FULL if denied == errno.ENOSPC else _IOERR_WRITE
        old = _content(kind, file, at, min(size, before - at)) if at < before else b""
        result: int = kind.write(file, data, size, at)
        if result == _OK:
            found.disk.changed(found.inode, at, old, ctypes.string_at(data, size), before)
        return result

    def _truncate(self, kind: _Kind, file: int, size: int) -> int:
        found = self._files[file]
        before = _size(kind, file)
        if _denied(found.process, found.disk, "write", found.path, size - before):
            return _IOERR_TRUNCATE
        old = _content(kind, file, size, before - size) if size < before else b""
        result: int = kind.truncate(file, size)
        if result == _OK and size < before:
            found.disk.changed(found.inode, size, old, None, before)
        return result

    def _sync(self, kind: _Kind, file: int, flags: int) -> int:
        found = self._files[file]
        denied = _denied(found.process, found.disk, "sync", found.path)
        if denied:
            if denied > 0:
                found.disk.unsynced.sync_failed(found.inode)
            return _IOERR_FSYNC
        found.disk.sync(found.inode)
        if found.syncs_folder:
            found.syncs_folder = False
            found.disk.sync_folder(os.path.dirname(found.path))
        return _OK


_immortal: list[Sqlite] = []
"""A connection that is still open calls into its world's functions."""


def _denied(process: SimulatedProcess, disk: Disk, what: str, path: str, beyond: int = 0) -> int:
    """Why something cannot be done: 0 if it can, the number of an error, or -1 for a dead process.

    Nothing may be raised into SQLite.
    """
    try:
        disk.reach(process, what, path)
        disk.room(beyond, path)
    except Killed:
        return -1
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _size(kind: _Kind, file: int) -> int:
    size = _I64()
    kind.size(file, ctypes.byref(size))
    return size.value


def _content(kind: _Kind, file: int, at: int, size: int) -> bytes:
    if size <= 0:
        return b""
    content = ctypes.create_string_buffer(size)
    kind.read(file, content, size, at)
    return content.raw
