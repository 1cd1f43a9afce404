"""Create folders and replace files so that they survive a power cut: a name is on disk once its folder is synced."""

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


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file atomically (its folder gets mode 0700); the new content is on disk when this returns.

    :raise OSError: it cannot be written; the old file is still there.
    """
    make_private(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
