"""Folders that outlive a power cut: a new name is on disk only once the folder that holds it is synced (fsync(2))."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk. Blocks.

    :raise OSError: they may not be.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(folder: Path) -> None:
    """Make a folder that only this user can enter, and those above it, and have them on disk. Blocks.

    Files in it can be synced as often as one likes: without this a power cut may take the folder away with them.

    :raise OSError: it is not there afterwards.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        # A folder that we may write to and not read cannot be synced by us.
        with suppress(PermissionError):
            sync_folder(made.parent)
