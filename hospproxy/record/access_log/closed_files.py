"""Closed files of the access log: which are to be shipped to the bucket, and which must go. All of this blocks.

A file that the bucket has is moved into a folder of its own. So a process that is killed knows what is left to ship.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from ...process.folders import make_private, sync_folder
from .file_names import end_of, is_closed_name

SHIPPED: Final = "shipped"


@frozen(slots=True)
class Removed:
    """What was removed to stay within the bounds.

    :param unshipped: files of these that no bucket has.
    """

    files: int = 0
    unshipped: int = 0


@define(eq=False)
class ClosedFiles:
    """The closed files of a folder.

    :param ships: a bucket gets them.
    :param most_files, most_bytes: that are kept.
    """

    folder: Path
    ships: bool
    most_files: int
    most_bytes: int
    _sizes: dict[str, int] = field(factory=dict, init=False)
    """By name. A closed file never changes, so its size is asked for once."""

    def waiting(self) -> list[Path]:
        """Files to ship, the oldest first."""
        return _sorted(self.folder) if self.ships else []

    def shipped(self, path: Path) -> None:
        """Note that the bucket has a file.

        :raise OSError: that failed; it is shipped again, which changes nothing in the bucket.
        """
        target = self.folder / SHIPPED
        if not target.is_dir():
            make_private(target)
        path.replace(target / path.name)
        sync_folder(target)
        sync_folder(self.folder)

    def bound(self) -> Removed:
        """Remove the oldest files beyond the bounds. Those that the bucket has go first.

        :raise OSError: one cannot be removed.
        """
        paths = [*_sorted(self.folder / SHIPPED), *_sorted(self.folder)]
        self._sizes = {path.name: self._size(path) for path in paths}
        files, size, removed, unshipped = len(paths), sum(self._sizes.values()), 0, 0
        for path in paths:
            if files <= self.most_files and size <= self.most_bytes:
                break
            path.unlink()
            files, size, removed = files - 1, size - self._sizes[path.name], removed + 1
            unshipped += self.ships and path.parent == self.folder
        return Removed(removed, unshipped)

    def _size(self, path: Path) -> int:
        known = self._sizes.get(path.name)
        return path.stat().st_size if known is None else known


def _sorted(folder: Path) -> list[Path]:
    """The closed files of a folder, by the end of their interval."""
    return [folder / name for name in sorted(_closed(folder), key=lambda name: (end_of(name), name))]


def _closed(folder: Path) -> Iterator[str]:
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        for each in found:
            if is_closed_name(each.name) and each.is_file(follow_symlinks=False):
                yield each.name
