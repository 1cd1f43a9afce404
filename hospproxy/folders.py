"""Create folders that survive a power cut: a new name is on disk only once its parent folder is synced (fsync(2))."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk. Blocks.

    :raise OSError: it failed; the names may not be on disk.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(folder: Path) -> None:
    """Create a folder (mode 0700) and its missing parents, and sync their names to disk. Blocks.

    Without this, a power cut may remove the folder together with files in it that were synced.

    :raise OSError: the folder could not be created.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        # A parent that we may write to but not read cannot be synced by us.
        with suppress(PermissionError):
            sync_folder(made.parent)
