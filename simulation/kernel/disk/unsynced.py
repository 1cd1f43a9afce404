"""What of a disk would be lost if the power went now: changes of files and of names that were not synced.

A journalling file system with 512-byte sectors: names of one folder are lost from the newest backwards, and what was
written to a file is lost sector by sector, in no order.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from os import link, stat, unlink  # the system's own: calls.py takes the place of those in os
from pathlib import Path

from attrs import define, evolve, field

SECTOR = 512
WRITTEN_BACK_S = 30.0
"""Seconds after which the kernel has written a change by itself."""


@define(slots=True)
class Change:
    """One change of a file's content.

    :param number: in the order of all changes.
    :param task: of which it is a part; 0 for none.
    :param size: of the file before.
    :param old: what stood at the offset before, as far as there was anything.
    :param new: what stands there now; None if the file was cut off there.
    :ivar failed: a sync of it failed: the kernel has forgotten it, and no later sync writes it.
    """

    number: int
    task: int
    time: float
    offset: int
    old: bytes
    new: bytes | None
    size: int
    failed: bool = False


@define(slots=True)
class Naming:
    """One change of a folder.

    :param kind: "create", "rename", "link", "unlink" or "folder".
    :param folder: where the change shows.
    :param source: the name before, of a rename.
    :param kept: another link to what the name stood for before, to undo it.
    """

    number: int
    task: int
    time: float
    kind: str
    folder: str
    path: str
    source: str = ""
    kept: str = ""


@define
class Unsynced:
    """All changes of one disk that are not synced.

    :ivar task: that makes the changes of this moment.
    :param graves: a folder on the same file system, where removed files are kept until their removal is synced.
    """

    graves: Path
    files: dict[int, list[Change]] = field(factory=dict)
    names: list[Naming] = field(factory=list)
    buried: dict[int, int] = field(factory=dict)
    task: int = 0
    _number: int = 0
    _reached: Mapping[int, int] = field(factory=dict)

    def number(self) -> int:
        """Of the next change; a sync covers those before it."""
        self._number += 1
        return self._number

    # Files

    def changed(self, inode: int, time: float, offset: int, old: bytes, new: bytes | None, size: int) -> None:
        """Note a change of a file."""
        self.files.setdefault(inode, []).append(
            Change(self.number(), self.task, time, offset, old, new, size)
        )

    def synced(self, inode: int, upto: int) -> None:
        """What was written to a file before is on disk."""
        self._settled(inode, lambda change: change.number <= upto)

    def _settled(self, inode: int, is_on_disk: Callable[[Change], bool]) -> None:
        left: list[Change] = []
        for change in self.files.get(inode, ()):
            if change.failed or not is_on_disk(change):
                left.append(change)
            elif left:  # what stands where a sync had failed is good again
                left = [piece for each in left for piece in _without(each, change)]
        if left:
            self.files[inode] = left
        else:
            self.files.pop(inode, None)

    def sync_failed(self, inode: int) -> None:
        """Linux takes pages for written after it has said once that they could not be."""
        for each in self.files.get(inode, ()):
            each.failed = True

    # Names

    def named(self, kind: str, time: float, path: str, source: str = "", kept: str = "") -> None:
        """Note a change of a name."""
        self.names.append(
            Naming(self.number(), self.task, time, kind, os.path.dirname(path), path, source, kept)
        )

    def bury(self, path: str) -> str:
        """Keep what a name stands for, whatever becomes of the name. "" if it stands for nothing."""
        grave = str(self.graves / str(self.number()))
        try:
            link(path, grave)
        except FileNotFoundError:
            return ""
        inode = stat(grave).st_ino
        self.buried[inode] = self.buried.get(inode, 0) + 1
        return grave

    def folder_synced(self, folder: str, upto: int) -> None:
        """The names of a folder are on disk."""
        self._forget([each for each in self.names if each.folder == folder and each.number <= upto])

    def written_back(self, before: float) -> None:
        """All that is older than a moment is on disk."""
        self._forget([each for each in self.names if each.time < before])
        for inode in list(self.files):
            self._settled(inode, lambda change: change.time < before)

    def _forget(self, names: list[Naming]) -> None:
        gone = {each.number for each in names}
        self.names = [each for each in self.names if each.number not in gone]
        for each in names:
            self._unbury(each.kept)

    def _unbury(self, grave: str) -> None:
        if not grave:
            return
        with suppress(FileNotFoundError):
            inode = stat(grave).st_ino
            self.buried[inode] -= 1
            if not self.buried[inode]:
                del self.buried[inode]
            unlink(grave)

    # The power goes

    def lose(self, root: Path, now: float, chance: random.Random, reached: Mapping[int, int]) -> list[str]:
        """Make the files under a folder what they are after the power went.

        :param now: the moment.
        :param reached: how far tasks have come that are not over: by task, the number of the last change that they had
            made. What they did after that has not happened.
        :return: what was lost, in words.
        """
        self.written_back(now - chance.uniform(0, WRITTEN_BACK_S))
        self._reached = reached
        lost = list(self._lose_names(chance))
        files = [path for path in root.rglob("*") if self.graves not in path.parents and path.is_file()]
        places = {path.stat().st_ino: path for path in files}
        for inode, changes in self.files.items():
            place = places.get(inode)
            if place is not None:
                words = lose_content(place, changes, list(filter(self._happened, changes)), chance)
                if words:
                    lost.append(f"{place.relative_to(root)}: {words}")
        self.files.clear()
        self.buried.clear()
        self.names.clear()
        for grave in self.graves.iterdir():
            grave.unlink()
        return lost

    def _happened(self, change: Change | Naming) -> bool:
        return change.number <= self._reached.get(change.task, change.number)

    def _lose_names(self, chance: random.Random) -> Iterator[str]:
        folders: dict[str, list[Naming]] = {}
        for each in self.names:
            folders.setdefault(each.folder, []).append(each)
        undone: list[Naming] = []
        for changes in folders.values():
            kept = chance.randint(0, len(changes))
            undone += [each for n, each in enumerate(changes) if n >= kept or not self._happened(each)]
        for each in sorted(undone, key=lambda change: -change.number):
            with suppress(OSError):
                _undo(each)
                yield f"{each.kind} {os.path.basename(each.path)}"


def _undo(change: Naming) -> None:
    path = Path(change.path)
    match change.kind:
        case "create" | "link":
            path.unlink(missing_ok=True)
        case "folder":
            shutil.rmtree(path, ignore_errors=True)
        case "rename":
            path.rename(change.source)
    if change.kept:
        link(change.kept, path)


def lose_content(path: Path, changes: list[Change], happened: list[Change], chance: random.Random) -> str:
    """Leave of a file what was synced, and of what was not a part.

    :param changes: all that are not synced.
    :param happened: those that were made at all.
    :return: what was done, in words; "" if everything is still there.
    """
    now = path.read_bytes()
    before = bytearray(now)
    for change in reversed(changes):
        _take_back(before, change)
    how = chance.choice(("none", "none", "sectors", "prefix", "all", "zeros"))
    after = bytearray(before)
    if how == "zeros":
        size = max((each.offset + len(each.new or b"") for each in happened), default=0)
        after += bytes(max(0, size - len(after)))
    elif how in ("prefix", "all"):
        for change in happened[: chance.randint(0, len(happened)) if how == "prefix" else None]:
            _apply(after, change)
    elif how == "sectors":
        for change in happened:
            for piece in _sectors(change):
                if chance.random() < 0.5:
                    _apply(after, piece)
    if after == now:
        return ""
    path.write_bytes(after)
    return f"{how} of {len(changes)} changes"


def _take_back(content: bytearray, change: Change) -> None:
    if change.new is None:
        del content[change.offset :]
        content += bytes(change.offset - len(content)) + change.old
        return
    content[change.offset : change.offset + len(change.old)] = change.old
    del content[change.size :]


def _apply(content: bytearray, change: Change) -> None:
    if change.new is None:
        del content[change.offset :]
        return
    if len(content) < change.offset:
        content += bytes(change.offset - len(content))
    content[change.offset : change.offset + len(change.new)] = change.new


def _without(change: Change, later: Change) -> Iterator[Change]:
    """What is left of a change once a later one is on disk."""
    if change.new is None or later.new is None:
        return  # a file that was cut off after a failed sync: there is nothing to be known of it
    start, end = later.offset, later.offset + len(later.new)
    size = max(change.size, end)
    for first, last in ((change.offset, start), (max(end, change.offset), change.offset + len(change.new))):
        last = min(last, change.offset + len(change.new))
        if first < last:
            a, b = first - change.offset, last - change.offset
            yield evolve(change, offset=first, old=change.old[a:b], new=change.new[a:b], size=size)


def _sectors(change: Change) -> Iterator[Change]:
    """A change, in pieces that a disk writes as a whole."""
    if change.new is None:
        yield change
        return
    at = 0
    while at < len(change.new):
        end = min(len(change.new), at + SECTOR - (change.offset + at) % SECTOR)
        yield Change(change.number, change.task, change.time, change.offset + at, b"", change.new[at:end], 0)
        at = end
