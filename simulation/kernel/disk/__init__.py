"""A machine's disk: it loses what was not synced, can be full, slow, or fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from attrs import define

from ..death import Killed
from ..interfaces import SimulatedProcess, World
from .unsynced import WRITTEN_BACK_S, Unsynced

_SYNC_S = (0.0002, 0.003)
_WRITE_BACK_EVERY_S = 10.0


@define
class _Fault:
    what: str
    name: str
    error: int
    left: int


@define
class _Sync:
    """:param upto: the number of the last change that is covered."""

    upto: int
    apply: Callable[[], None]


class Disk:
    """What a machine keeps. Every change of a file below its folder comes here: see calls.py and sqlite.py.

    :ivar full: nothing can be written but over what is there.
    :ivar slow: seconds that each sync takes longer.
    :ivar lost: what the last power cut took, in words.
    """

    def __init__(self, world: World, name: str, folder: Path) -> None:
        self.full = False
        self.slow = 0.0
        self.root = folder
        self.lost: list[str] = []
        graves = folder / ".graves"
        graves.mkdir()
        self.unsynced = Unsynced(graves)
        self._world = world
        self._name = name
        self._random = world.random(f"{name}/disk")
        self._faults: list[_Fault] = []
        self._syncs: list[_Sync] | None = None
        self._going_on: dict[int, list[_Sync]] = {}
        self._tasks = 0
        self._power = 0
        world.events.after(_WRITE_BACK_EVERY_S, None, self._write_back)

    # What a simulation sets

    def fail_next(self, what: str = "sync", name: str = "", error: int = errno.EIO, times: int = 1) -> None:
        """Let the next calls fail.

        :param what: "sync", "write", "open", "rename", "unlink" or "folder".
        :param name: only for files with this in their names.
        :param error: of errno; ENOSPC is another that disks give.
        """
        self._faults.append(_Fault(what, name, error, times))

    def power_cut(self) -> None:
        """Lose what was not synced. Nothing may run that has files open."""
        self._power += 1
        self._returned()
        reached = {task: syncs[0].upto for task, syncs in self._going_on.items()}
        self._going_on.clear()
        self.lost = self.unsynced.lose(self.root, self._world.seconds(), self._random, reached)
        for shared in sorted(self.root.rglob("*-shm")):  # memory of SQLite's, with a name
            shared.unlink()
        self._world.log("lost", machine=self._name, count=len(self.lost))

    # What a thread does

    def begin(self) -> None:
        """A task of a thread begins. It is done at one moment, but takes time: each sync, one after another."""
        self._returned()
        self._syncs = []
        self._tasks += 1
        self.unsynced.task = self._tasks

    def end(self) -> float:
        """The task is over.

        :return: seconds that it took.
        """
        syncs, self._syncs = self._syncs or [], None
        task, self.unsynced.task = self.unsynced.task, 0
        takes = 0.00005
        if syncs:
            self._going_on[task] = syncs
        for _ in syncs:
            takes += self._random.uniform(*_SYNC_S) + self.slow
            self._world.events.after(takes, None, self._durable, self._power, task)
        return takes

    def _durable(self, power: int, task: int) -> None:
        if power != self._power:
            return
        syncs = self._going_on[task]
        syncs.pop(0).apply()
        if not syncs:
            del self._going_on[task]

    def _returned(self) -> None:
        """A process died within a task: the syncs that it had called had returned."""
        syncs, self._syncs = self._syncs or [], None
        self.unsynced.task = 0
        for sync in syncs:
            sync.apply()

    # What calls come to

    def reach(self, process: SimulatedProcess, what: str, path: str) -> None:
        """A process is about to do something.

        :raise Killed: it is dead, or dies at it.
        :raise OSError: the disk fails.
        """
        if not process.running:
            raise Killed
        process.reach(f"{what} {process.task or 'main'}")
        name = os.path.basename(path)
        for fault in self._faults:
            if fault.what == what and fault.name in path:
                fault.left -= 1
                if not fault.left:
                    self._faults.remove(fault)
                self._world.log("disk fails", machine=self._name, what=what, error=fault.error)
                raise OSError(fault.error, os.strerror(fault.error), name)

    def room(self, beyond: int, path: str) -> None:
        """Ask for room.

        :param beyond: bytes that the file grows by.
        :raise OSError: there is none.
        """
        if self.full and beyond > 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.path.basename(path))

    def changed(self, inode: int, offset: int, old: bytes, new: bytes | None, size: int) -> None:
        """A file was changed."""
        self.unsynced.changed(inode, self._world.seconds(), offset, old, new, size)

    def named(self, kind: str, path: str, source: str = "", kept: str = "") -> None:
        """A name was changed."""
        self.unsynced.named(kind, self._world.seconds(), path, source, kept)

    def sync(self, inode: int) -> None:
        """A file is synced."""
        upto = self.unsynced.number()
        self._later(_Sync(upto, lambda: self.unsynced.synced(inode, upto)))

    def sync_folder(self, folder: str) -> None:
        """A folder is synced."""
        upto = self.unsynced.number()
        self._later(_Sync(upto, lambda: self.unsynced.folder_synced(folder, upto)))

    def _later(self, sync: _Sync) -> None:
        if self._syncs is None:
            sync.apply()
        else:
            self._syncs.append(sync)

    def _write_back(self) -> None:
        self.unsynced.written_back(self._world.seconds() - WRITTEN_BACK_S)
        self._world.events.after(_WRITE_BACK_EVERY_S, None, self._write_back)
