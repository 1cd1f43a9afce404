"""Create folders and replace files so that they survive a power cut: a name is on disk once its folder is synced."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


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


def write_whole(path: Path, content: bytes, mode: int = 0o600, *, keep_owner: bool = False) -> None:
    """Replace a file atomically (its folder gets mode 0700); the new content is on disk when this returns.

    :param keep_owner: the new file belongs to the owner of the one that it replaces, even if root replaces it.
    :raise OSError: it cannot be written; the old file is still there.
    """
    make_private(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if keep_owner and os.path.lexists(path):
                status = path.stat()
                os.fchown(descriptor, status.st_uid, status.st_gid)
            _write(file, content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def create_whole(path: Path, content: bytes) -> None:
    """Create a private file (0600, its folder 0700) that appears complete or not at all; an existing one stays.

    Processes that start together may call it for the same path.

    :raise OSError: it cannot be created.
    """
    make_private(path.parent)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(file, content)
        try:
            # A link, not a rename: it fails if another process was first, so that process's file stays.
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    sync_folder(path.parent)


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
