"""Appends to a file through Linux io_uring, called by ctypes, without a Python thread.

A Python thread that writes for the reactor competes with it for the interpreter's lock each time it wakes; that
costs more than everything else that a record needs. Here a kernel thread writes, which needs no such lock. The
structures are described in io_uring(7), io_uring_setup(2) and io_uring_enter(2); the numbers are the same on
all common architectures.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import sys
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from .files import JournalFile

_SETUP, _ENTER = 425, 426
_ENTRIES = 8
_OFFSET_RINGS, _OFFSET_ENTRIES = 0, 0x10000000
_SINGLE_MMAP, _RW_CUR_POS = 1 << 0, 1 << 3
_OP_WRITE = 23
_ASYNC = 1 << 4
"""Makes a kernel thread do the write always; without this flag ``io_uring_enter`` may itself wait for the disk."""
_DSYNC = 0x2
"""RWF_DSYNC: the write completes when the bytes are on disk, however the file was opened."""
_ENTRY = struct.Struct("=BBHiQQIIQQQQ")
_COMPLETED = struct.Struct("=QiI")
_PARAMETERS = struct.Struct("=10I")
_PARAMETERS_BYTES, _SUBMISSION_AT, _COMPLETION_AT = 120, 40, 80

# PyDLL keeps the interpreter's lock: these calls take microseconds, and getting the lock back takes longer.
_libc = ctypes.PyDLL(None, use_errno=True)

Completed = Callable[[int], None]
"""Receives the number of bytes written, or a negative error number."""


def _call(number: int, *arguments: Any) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class WriteRing(Protocol):
    """Writes one block after another: ``Uring``, or a simulated one."""

    def write(self, file: JournalFile, data: bytes, offset: int, completed: Callable[[int], None]) -> None:
        """Begin to write; the previous write must have finished.

        :param completed: called with the number of bytes on disk, or with a negative error number.
        :raise OSError: nothing is written.
        """

    def close(self) -> None:
        """Release the ring's descriptor and memory; no write may be in flight."""


class _Rings:
    """The memory shared with the kernel; one request at a time.

    No memory barriers are needed. The kernel reads what is written here during ``io_uring_enter``, in the same
    thread; what the kernel writes is read here only after epoll has reported it.
    """

    def __init__(self) -> None:
        parameters = ctypes.create_string_buffer(_PARAMETERS_BYTES)
        self.descriptor = _call(_SETUP, ctypes.c_uint(_ENTRIES), parameters)
        try:
            self._share(parameters.raw)
        except BaseException:
            os.close(self.descriptor)
            raise

    def _share(self, parameters: bytes) -> None:
        entries, completions, _, _, _, features, *_ = _PARAMETERS.unpack_from(parameters)
        if features & (_SINGLE_MMAP | _RW_CUR_POS) != _SINGLE_MMAP | _RW_CUR_POS:
            raise OSError(errno.ENOSYS, "Linux 5.6 or later is needed")  # 5.6 also added IORING_OP_WRITE
        _, self._tail_at, _, _, _, _, array_at, *_ = _PARAMETERS.unpack_from(parameters, _SUBMISSION_AT)
        found = _PARAMETERS.unpack_from(parameters, _COMPLETION_AT)
        self._head_at, self._end_at, self._completed_at = found[0], found[1], found[5]
        self._mask, self._completed_mask = entries - 1, completions - 1
        size = max(array_at + 4 * entries, self._completed_at + _COMPLETED.size * completions)
        self._map = mmap.mmap(self.descriptor, size, offset=_OFFSET_RINGS)
        self._entries = mmap.mmap(self.descriptor, _ENTRY.size * entries, offset=_OFFSET_ENTRIES)
        self._words = memoryview(self._map).cast("I")
        one, none = ctypes.c_uint(1), ctypes.c_uint(0)  # to submit, to wait for
        self._enter = (_ENTER, ctypes.c_uint(self.descriptor), one, none, none, None, ctypes.c_size_t(0))
        for index in range(entries):
            self._words[array_at // 4 + index] = index

    def submit(self, descriptor: int, address: int, size: int, offset: int) -> None:
        """Hand a write to the kernel; ``completed`` returns its result later.

        :raise OSError: the kernel did not accept it.
        """
        at = self._tail_at // 4
        tail = self._words[at]
        place = (tail & self._mask) * _ENTRY.size
        _ENTRY.pack_into(
            self._entries, place, _OP_WRITE, _ASYNC, 0, descriptor, offset, address, size, _DSYNC, 0, 0, 0, 0
        )
        self._words[at] = (tail + 1) & 0xFFFFFFFF
        try:
            taken = _call(*self._enter)
        except OSError:
            self._words[at] = tail
            raise
        if taken != 1:
            self._words[at] = tail
            raise OSError(errno.EAGAIN, "io_uring did not accept the write")

    def completed(self) -> int | None:
        """The result of the write; None while it is in flight."""
        head = self._words[self._head_at // 4]
        if head == self._words[self._end_at // 4]:
            return None
        place = self._completed_at + (head & self._completed_mask) * _COMPLETED.size
        result: int = _COMPLETED.unpack_from(self._map, place)[1]
        self._words[self._head_at // 4] = (head + 1) & 0xFFFFFFFF
        return result

    def close(self) -> None:
        self._words.release()
        self._map.close()
        self._entries.close()
        os.close(self.descriptor)


@implementer(IReadDescriptor)
class Uring:
    """Writes one block after another. Make it in the process that uses it: it does not survive a fork.

    :param reactor: IReactorFDSet. The ring's descriptor becomes readable when a write has finished.
    :raise OSError: this kernel has no io_uring, or does not allow it here.
    """

    def __init__(self, reactor: Any) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError(errno.ENOSYS, "only Linux has io_uring")
        self._rings = _Rings()
        self._reactor = reactor
        self._flying: tuple[bytes, Completed] | None = None
        reactor.addReader(self)

    def write(self, file: JournalFile, data: bytes, offset: int, completed: Completed) -> None:
        """Begin to write; the previous write must have finished.

        :param offset: position in the file; ignored for a file opened for appending.
        :param completed: called by the reactor when the bytes are on disk.
        :raise OSError: nothing is written, and ``completed`` is not called.
        """
        assert self._flying is None
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        assert address is not None
        # The kernel reads these bytes later. If the interpreter shuts down in between, their memory must not be
        # reused: this extra reference, which no object owns, keeps them in place.
        _hold(data)
        try:
            self._rings.submit(file.fileno(), address, len(data), offset)
        except BaseException:
            _let_go(data)
            raise
        self._flying = (data, completed)

    def close(self) -> None:
        """Release the ring; no write may be in flight."""
        self._reactor.removeReader(self)
        self._rings.close()

    def fileno(self) -> int:
        return self._rings.descriptor

    def doRead(self) -> None:
        """Pass the result of a finished write to its callback. The reactor calls it; see IReadDescriptor."""
        result = self._rings.completed()
        if result is None or self._flying is None:
            return
        (data, completed), self._flying = self._flying, None
        _let_go(data)
        completed(result)

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing: ``close`` releases the ring. See IReadDescriptor."""

    def logPrefix(self) -> str:
        return "io_uring"


def _hold(data: bytes) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(data))


def _let_go(data: bytes) -> None:
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(data))
