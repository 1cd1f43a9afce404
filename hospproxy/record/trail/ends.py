"""How far journals are on disk, in memory that the processes of a machine share.

A process that follows a journal's file must not read what is not synced yet: a crash, or a failed write, takes it back.
The process that writes the journal notes here how far it may be read. A note costs a microsecond, and needs no message.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final, Protocol
from zlib import crc32

from .follower import Cursor

_FIELDS: Final = struct.Struct("<IBQQQ")
_SUM: Final = struct.Struct("<I")
_SIZE: Final = 64
"""Bytes for each worker."""
_TRIES: Final = 5


class Publish(Protocol):
    """Tells others how far a journal is on disk."""

    def __call__(self, end: Cursor, /, *, closed: bool) -> None:
        """Note the end of what is on disk.

        :param closed: nothing follows.
        """


def unpublished(end: Cursor, /, *, closed: bool) -> None:
    """Publish no end: nobody follows this journal."""


class JournalEnds:
    """Shared memory in which each worker publishes the end of its journal.

    :param descriptor: of the shared memory; a process that is started may inherit it.
    :param workers: how many notes there is room for.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, workers * _SIZE)
        self._workers = workers
        self._seen: dict[int, tuple[Cursor, bool]] = {}

    @classmethod
    def make(cls, workers: int) -> JournalEnds:
        """Reserve shared memory with no end published yet.

        :raise OSError: the system has none left.
        """
        descriptor = os.memfd_create("hospproxy-ends", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, workers * _SIZE)
        return cls(descriptor, workers)

    @classmethod
    def at(cls, descriptor: int, workers: int) -> JournalEnds:
        """Use memory that was inherited. Processes that this one starts do not inherit it by themselves.

        :raise OSError: the descriptor is of something else.
        """
        os.set_inheritable(descriptor, False)
        return cls(descriptor, workers)

    def fileno(self) -> int:
        """Return the descriptor, to pass to a process that is started."""
        return self._descriptor

    @property
    def workers(self) -> int:
        """How many notes there is room for."""
        return self._workers

    def publish(self, worker: int, end: Cursor, *, closed: bool = False) -> None:
        """Note how far a worker's journal is on disk.

        :param worker: its number.
        :param closed: nothing follows.
        """
        fields = _FIELDS.pack(int(end.journal[1:]) + 1, closed, end.number, end.offset, end.seq)
        at = worker * _SIZE
        self._memory[at : at + _FIELDS.size + _SUM.size] = fields + _SUM.pack(crc32(fields))

    def of(self, worker: int) -> tuple[Cursor, bool] | None:
        """Return a worker's note, and whether its journal is closed; None if it has written none.

        The writer may be at it, or may have died at it: then the note before it is returned.
        """
        at = worker * _SIZE
        for _ in range(_TRIES):
            content = self._memory[at : at + _FIELDS.size + _SUM.size]
            fields, [total] = content[: _FIELDS.size], _SUM.unpack(content[_FIELDS.size :])
            journal, closed, number, offset, seq = _FIELDS.unpack(fields)
            if not journal:
                break
            if total == crc32(fields):
                self._seen[worker] = Cursor(f"w{journal - 1}", number, offset, seq), bool(closed)
                break
        return self._seen.get(worker)

    def live(self) -> dict[str, Cursor]:
        """Return how far each journal may be read that a worker writes, or was the last to write."""
        ends: dict[str, Cursor] = {}
        for worker in range(self._workers):
            note = self.of(worker)
            if note is None:
                continue
            end = note[0]
            known = ends.get(end.journal)
            # A worker that starts takes the journal of one that has ended, whose note remains.
            if known is None or (known.number, known.offset) < (end.number, end.offset):
                ends[end.journal] = end
        return ends

    def open(self) -> list[str]:
        """Return the journals that are not closed."""
        found = (self.of(worker) for worker in range(self._workers))
        return [note[0].journal for note in found if note is not None and not note[1]]
